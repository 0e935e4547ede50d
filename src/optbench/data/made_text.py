"""Text of a made language, letter by letter: sentences of a small grammar in which every choice is drawn evenly.

    sentence -> subject verb object. | subject sleeps.            the old cat sees a bird.   a dog sleeps.
    subject, object -> the noun | a noun | the adjective noun | a adjective noun

How well a text can be predicted is known of it, which it is of no natural one: a sentence carries
H = ln 2 + H(phrase) + ... nats, over its mean number of letters (`MadeText.entropy`). A model that knew the grammar and
where in a sentence it stands would have that loss a letter; one that forgets has more.

Source: the entropy of a source of independent words is that of Shannon, A mathematical theory of communication (1948),
section 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from optbench.errors import DataError
from optbench.problem import AbstractData, Split, stream

_ARTICLES = ("the", "a")
_ADJECTIVES = ("old", "red", "small", "quiet", "happy", "tall", "young", "blue")
_NOUNS = ("cat", "dog", "bird", "child", "king", "fish", "horse", "queen", "tree", "ship", "river", "house")
_VERBS = ("sees", "likes", "finds", "follows", "hears", "paints", "leads", "wants")
_LAST = "sleeps"

ALPHABET = tuple(sorted({letter for words in (_ARTICLES, _ADJECTIVES, _NOUNS, _VERBS, (_LAST,)) for word in words
                         for letter in word} | {" ", "."}))  # fmt: skip
"""The letters, in the order of their numbers."""


class MadeText(AbstractData):
    """Windows of `context` letters that follow one another without overlap; the target of each letter is the next one.

    Splits are texts of their own, drawn by `text_seed`.

    Args:
        n_classes: how many different letters there are.
        context: letters of a window, at least 1.
        train_windows, validation_windows, test_windows: of each split, at least 1.
        text_seed: names the text.

    Raises:
        DataError: another value than what is written above.
    """

    def __init__(
        self,
        n_classes: int = len(ALPHABET),
        context: int = 32,
        train_windows: int = 1000,
        validation_windows: int = 200,
        test_windows: int = 200,
        text_seed: int = 0,
    ) -> None:
        if n_classes != len(ALPHABET):
            raise DataError(f"n_classes={n_classes}: the language has {len(ALPHABET)} letters")
        self._windows = {"train": train_windows, "validation": validation_windows, "test": test_windows}
        for name, value in (("context", context), *((f"{k}_windows", v) for k, v in self._windows.items())):
            if value < 1:
                raise DataError(f"{name}={value}: expected a whole number of at least 1")
        if text_seed < 0:
            raise DataError(f"text_seed={text_seed}: expected 0 or more")
        self.n_classes, self.class_names, self._context, self._seed = n_classes, ALPHABET, context, text_seed

    @property
    def entropy(self) -> float:
        """Nats a letter that the language carries: entropy of a sentence over its mean length, blank included."""
        nats, letters = of_a_sentence()
        return nats / (letters + 1)

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split; DataError where there is none."""
        if split not in self._windows:
            raise DataError(f"made_text: no split {split!r} (expected train, validation or test)")
        n, number = self._windows[split], list(self._windows).index(split)
        text = written(n * self._context + 1, stream(self._seed, "text", number))
        codes = codes_of(text)
        inputs, targets = (codes[a : a + n * self._context].reshape(n, self._context) for a in (0, 1))
        return Split(inputs, targets, tuple(f"{k * self._context}" for k in range(n)))


def of_a_sentence() -> tuple[float, float]:
    """The nats that a sentence carries, and its mean number of letters, full stop included."""
    mean = _mean_length
    phrase = math.log(2) + math.log(2) + 0.5 * math.log(len(_ADJECTIVES)) + math.log(len(_NOUNS))
    letters = mean(_ARTICLES) + 1 + 0.5 * (mean(_ADJECTIVES) + 1) + mean(_NOUNS)
    nats = math.log(2) + phrase + 0.5 * (math.log(len(_VERBS)) + phrase)
    return nats, letters + 1 + 0.5 * (mean(_VERBS) + 1 + letters) + 0.5 * len(_LAST) + 1


def codes_of(text: str) -> Tensor:
    """The numbers of its letters, int64 (t,)."""
    place = {letter: k for k, letter in enumerate(ALPHABET)}
    return torch.tensor([place[letter] for letter in text])


def longest_sentence() -> int:
    """Letters of the longest sentence, full stop included."""
    phrase = sum(max(map(len, words)) + 1 for words in (_ARTICLES, _ADJECTIVES, _NOUNS))
    return phrase + max(map(len, _VERBS)) + 1 + phrase


def _mean_length(words: tuple[str, ...]) -> float:
    return sum(map(len, words)) / len(words)


def written(length: int, generator: torch.Generator) -> str:
    """The first letters of a text, sentence after sentence with a blank between them."""
    draws = iter(torch.rand(length, generator=generator, dtype=torch.float64).tolist())
    text = ""
    while len(text) < length:
        text += sentence(draws) + " "
    return text[:length]


DRAWS = 10
"""Numbers that a sentence takes at most."""


def sentence(draws: Iterator[float]) -> str:
    """A sentence with its full stop, by numbers that are drawn evenly from [0, 1)."""

    def one_of(words: tuple[str, ...]) -> str:
        return words[int(next(draws) * len(words))]

    def phrase() -> list[str]:
        article, described = one_of(_ARTICLES), next(draws) < 0.5
        return [article, *([one_of(_ADJECTIVES)] if described else []), one_of(_NOUNS)]

    words = phrase()
    words += [one_of(_VERBS), *phrase()] if next(draws) < 0.5 else [_LAST]
    return " ".join(words) + "."
