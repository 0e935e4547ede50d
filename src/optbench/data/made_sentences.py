"""Sentences of the made language of `data.made_text`, each a row by itself: texts that differ in length.

The loss a letter of a model that knows the grammar is known (`MadeSentences.entropy`), and can be reached, as every
row begins where a sentence begins. It is a mean over letters: one over padding too would lie far below.
"""

from __future__ import annotations

import torch

from optbench.data.made_text import ALPHABET, DRAWS, codes_of, longest_sentence, of_a_sentence, sentence
from optbench.errors import DataError
from optbench.problem import AbstractData, Ragged, Split, stream


class MadeSentences(AbstractData):
    """Sentences letter by letter; the target of each letter is the next one, of the last but one the full stop. The
    input begins with a full stop, that of a sentence before it.

    Splits are drawn one by one, by `text_seed`; short sentences stand in several of them.

    Args:
        n_classes: how many different letters there are.
        context: letters of the longest sentence, for models that have to know.
        train_sentences, validation_sentences, test_sentences: of each split, at least 1.
        text_seed: names the text.

    Raises:
        DataError: another value than what is written above.
    """

    def __init__(
        self,
        n_classes: int = len(ALPHABET),
        context: int = 40,
        train_sentences: int = 1000,
        validation_sentences: int = 200,
        test_sentences: int = 200,
        text_seed: int = 0,
    ) -> None:
        if n_classes != len(ALPHABET):
            raise DataError(f"n_classes={n_classes}: the language has {len(ALPHABET)} letters")
        if context != longest_sentence():
            raise DataError(f"context={context}: the longest sentence has {longest_sentence()} letters")
        self._counts = {"train": train_sentences, "validation": validation_sentences, "test": test_sentences}
        for name, count in self._counts.items():
            if count < 1:
                raise DataError(f"{name}_sentences={count}: expected a whole number of at least 1")
        if text_seed < 0:
            raise DataError(f"text_seed={text_seed}: expected 0 or more")
        self.n_classes, self.class_names, self._seed = n_classes, ALPHABET, text_seed

    @property
    def entropy(self) -> float:
        """Nats a letter that a sentence carries."""
        nats, letters = of_a_sentence()
        return nats / letters

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split; DataError where there is none."""
        if split not in self._counts:
            raise DataError(f"made_sentences: no split {split!r} (expected train, validation or test)")
        count, generator = self._counts[split], stream(self._seed, "sentences", list(self._counts).index(split))
        numbers = torch.rand(count, DRAWS, generator=generator, dtype=torch.float64).tolist()
        texts = [sentence(iter(row)) for row in numbers]
        targets = Ragged.of([codes_of(text) for text in texts])
        inputs = targets.with_values(codes_of("".join("." + text[:-1] for text in texts)))
        return Split(inputs, targets, tuple(f"{k}" for k in range(count)))
