"""A figure's words in another language, for as long as it takes to write it.

What a figure says is in its texts, so it is translated there and not where it is drawn. Numbers, formulas and names as
one types them stay. Chinese needs a font that has it; where the machine has none, the figure is written in English and
says so once, since boxes in place of characters say nothing.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from optbench.language import Phrases, phrases

log = logging.getLogger(__name__)

PHRASES = Path(__file__).with_name("phrases.zh.yaml")
_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "Microsoft YaHei", "SimHei",
    "Noto Sans CJK JP", "Noto Serif CJK SC", "Songti SC", "SimSun", "Arial Unicode MS", "Droid Sans Fallback",
)  # fmt: skip
"""Families with the characters of simplified Chinese, the plainest first."""
_TYPED = "as typed"
NOTES = "notes"
"""The gid of a text that is several sentences, each for itself: those below a figure (see `style.footnote`)."""
_END_OF_NOTE = re.compile(r"(?<! )\n")
_WORD, _FORMULA = re.compile(r"[A-Za-z]{2}"), re.compile(r"\$[^$]*\$")


def as_typed(text: Text, whole: bool = False) -> None:
    """Marks a text that is one name as somebody typed it, such as that of a surface: no language changes it.

    Args:
        text: of a figure.
        whole: whether it is so whatever words it has, as a title is.
    """
    if whole or " " not in text.get_text():
        text.set_label(_TYPED)


def is_typed(text: Text) -> bool:
    """Whether a text is marked by `as_typed`."""
    return bool(text.get_label() == _TYPED)


@functools.cache
def chinese_font() -> str | None:
    """The font family in which Chinese is written; None where the machine has none, which is logged once."""
    there = set(fontManager.get_font_names())
    found = next((name for name in _FONTS if name in there), None)
    if found is None:
        log.warning("no font with Chinese characters was found (such as fonts-noto-cjk): figures are in English")
    return found


@contextlib.contextmanager
def translated(figure: Figure, language: str, more: Iterable[Phrases] = ()) -> Iterator[Figure]:
    """The figure with its texts in a language, and in its own again afterwards.

    Args:
        figure: drawn in English.
        language: en or zh.
        more: phrases beside those of optbench's own figures; they come first.
    """
    before = translate(figure, language, more)
    try:
        yield figure
    finally:
        for text, words, families in before:
            text.set_text(words)
            text.set_fontfamily(families)


def translate(figure: Figure, language: str, more: Iterable[Phrases] = ()) -> list[tuple[Text, str, list[str]]]:
    """Puts a figure's texts into a language; returns each with its words and font families before. See `translated`."""
    font = chinese_font() if language == "zh" else None
    if font is None:
        return []
    lists = [*more, phrases(PHRASES)]
    before = [(text, text.get_text(), text.get_fontfamily()) for text in worded(figure)]
    for text, words, families in before:
        text.set_text(in_chinese(words, lists, text.get_gid() == NOTES))
        text.set_fontfamily([*families, font])  # a character that the first does not have comes from the next
    return before


def worded(figure: Figure) -> list[Text]:
    """The texts of a figure that hold words, without those that are hidden or as typed."""
    texts = [artist for artist in figure.findobj(Text) if isinstance(artist, Text) and artist.get_visible()]
    return [text for text in texts if _says(text)]


def _says(text: Text) -> bool:
    return not is_typed(text) and _WORD.search(_FORMULA.sub("", text.get_text())) is not None


def in_chinese(words: str, lists: Iterable[Phrases], notes: bool = False) -> str:
    """A text in Chinese: as a whole, unwrapped, else line by line; what no list has stays as it is.

    Args:
        words: the text.
        lists: of phrases; the first that has one counts.
        notes: whether it is several sentences, which are never one phrase.
    """
    lists = list(lists)
    whole = None if notes else _first(" ".join(words.split()), lists)
    if whole is not None:
        return whole
    return "\n".join(_note(note, lists) for note in _END_OF_NOTE.split(words))


def _note(words: str, lists: list[Phrases]) -> str:
    """A line, or one that goes on over several, each of which but the last ends with a space (see `style.wrapped`)."""
    lines = words.split(" \n")
    found = _first(" ".join(lines), lists)
    if found is None or len(lines) == 1:
        return words if found is None else found
    return "\n".join(textwrap.wrap(found, max(map(len, lines)) * 6 // 10))  # such characters are nearly twice as wide


def _first(words: str, lists: Iterable[Phrases]) -> str | None:
    return next((found for one in lists if (found := one.find(words)) is not None), None)
