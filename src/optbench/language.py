"""The language of pages and figures: which one is meant, and what an English phrase is called in it.

Figures are drawn in English and translated as they are written, by a list of phrases. So the code that draws knows one
language, what is missing in a list can be found by drawing, and a language is a file.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from optbench.errors import UserError

LANGUAGES = ("en", "zh")
VARIABLE = "OPTBENCH_LANG"
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set decides, as in POSIX
_asked: list[str] = []
"""What --lang asked for; empty where it was not given."""


def choose(asked: str | None) -> str:
    """Takes the language that the command line asks for, None: the usual one; returns what holds from now on.

    Raises:
        UserError: a language that there is not.
    """
    _asked[:] = [] if asked is None else [_known("--lang", asked)]
    return language()


def language() -> str:
    """The language of pages and figures: en or zh; by --lang, else the variable OPTBENCH_LANG, else the locale.

    Raises:
        UserError: OPTBENCH_LANG names a language that there is not.
    """
    if _asked:
        return _asked[0]
    if name := os.environ.get(VARIABLE):
        return _known(f"{VARIABLE}=", name)
    locale = next((value for value in map(os.environ.get, _LOCALE) if value), "")
    return "zh" if locale.startswith("zh") else "en"


def _known(where: str, name: str) -> str:
    if name not in LANGUAGES:
        raise UserError(f"{where}{'' if where.endswith('=') else ' '}{name}: expected {' or '.join(LANGUAGES)}")
    return name


class Phrases:
    """English phrases and what they are in Chinese, from a YAML file.

    `{}` in a phrase stands for a number, `{name}` for one word as it is and `{text}` for anything, itself translated
    where the file has it; the translation names them `{}`, or `{0}`, `{1}` where their order differs.

    Args:
        path: of the file, a mapping.
    """

    def __init__(self, path: Path) -> None:
        self.known: Mapping[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
        forms = [key for key in self.known if re.search(r"\{(?:name|text)?\}", key)]
        # the most particular first: {text} fits anything
        self._forms = [_Form(key, self.known[key]) for key in sorted(forms, key=lambda key: "{text}" in key)]

    def find(self, text: str) -> str | None:
        """The phrase in Chinese; None where the file does not have it."""
        if (exact := self.known.get(text)) is not None:
            return exact
        for form in self._forms:
            if (parts := form.parts(text)) is not None:
                return form.translation.format(*(self(part) if free else part for part, free in parts))
        return None

    def __call__(self, text: str) -> str:
        """The phrase in Chinese; as it is where the file does not have it."""
        found = self.find(text)
        return text if found is None else found


_PARTS = {"{}": r"(-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)", "{name}": r"(\S+)", "{text}": r"(.+)"}


class _Form:
    """A phrase with gaps."""

    def __init__(self, key: str, translation: str) -> None:
        pieces = re.split(r"(\{(?:name|text)?\})", key)
        self._pattern = re.compile("".join(_PARTS.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)
        self._free = [piece == "{text}" for piece in pieces if piece in _PARTS]
        self.translation = translation

    def parts(self, text: str) -> list[tuple[str, bool]] | None:
        """What stands in the gaps, and whether that is text; None where the phrase is another."""
        found = self._pattern.fullmatch(text)
        return None if found is None else list(zip(found.groups(), self._free, strict=True))


@functools.cache
def phrases(path: Path) -> Phrases:
    """The phrases of a file, read once."""
    return Phrases(path)
