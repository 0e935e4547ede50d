"""What a page says, in the language that is meant: whole phrases from lists, names as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from optbench.language import phrases
from optbench.statistics.numbers import printable

PHRASES = Path(__file__).with_name("phrases.zh.yaml")
FIGURES = Path(__file__).parents[1] / "plot" / "phrases.zh.yaml"
"""Those of figures: axes and titles are called alike in both."""
SCRIPT = Path(__file__).with_name("page.js")
_IN_SCRIPT = re.compile(r'\bsay\("((?:[^"\\]|\\.)*)"')


class Words:
    """Phrases of a page in one language.

    Args:
        language: en or zh.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._lists = [phrases(PHRASES), phrases(FIGURES)] if language == "zh" else []

    def __call__(self, phrase: str, *parts: object) -> str:
        """A phrase with its gaps {0}, {1} ... filled; the phrase is translated and the parts are not. One without parts
        may be made of others, as the title of a score of a metric is."""
        found = next((one.known[phrase] for one in self._lists if phrase in one.known), None)
        if found is None:
            return phrase.format(*parts) if parts else self._made(phrase)
        return found.format(*parts) if parts else found

    def _made(self, phrase: str) -> str:
        return next((found for one in self._lists if (found := one.find(phrase)) is not None), phrase)

    def sentence(self, text: str) -> str:
        """A sentence of another room, names and numbers in it; as it is where no list has it."""
        return self._made(clean(text))

    def listed(self, sentences: Sequence[str]) -> str:
        """Sentences one after the other on a line."""
        return ("；" if self.language == "zh" else "; ").join(sentences)

    def refusal(self, message: str, hint: str) -> str:
        """What was refused, and in brackets what would help where that is known."""
        around = "（{}）" if self.language == "zh" else " ({})"
        return self.sentence(message) + (around.format(self.sentence(hint)) if hint else "")

    def of_script(self) -> dict[str, str]:
        """The phrases that the script shows, by what they are called in it; empty in its own language."""
        return {key: self(key) for key in script_phrases()} if self._lists else {}


def script_phrases() -> list[str]:
    """The phrases that the script asks for."""
    return sorted(set(_IN_SCRIPT.findall(SCRIPT.read_text(encoding="utf-8"))))


def clean(text: str) -> str:
    """A text of one line, "?" in place of what orders signs or is none: it may come from files that anyone wrote."""
    return printable(" ".join(str(text).split()))
