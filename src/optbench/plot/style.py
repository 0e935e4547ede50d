"""What all figures share: colours, legends, and how they become files."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.ticker import NullFormatter

from optbench.comparison.labels import natural as natural
from optbench.comparison.learning import drawable as drawable
from optbench.errors import UserError
from optbench.language import Phrases, language
from optbench.plot.translate import NOTES, as_typed, chinese_font, is_typed, translated
from optbench.records import write_bytes

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.")
SUFFIXES = (".png", ".svg", ".pdf")
_LEGEND_LINES = 24
_LETTERS, _LEAST_LETTERS = 9.0, 5.5  # points, of a legend
_LINE_OF_LEGEND = 1.68  # of its letters: a line with the blank below it
_LINE_ABOVE, _SHARE_ABOVE = 1.4, 0.3  # of a legend above the axes: a line of its letters, the height it may take
_POINTS_AN_INCH = 72.0
_FOOTNOTE_WIDTH = 130
_FOOTNOTE_AN_INCH, _TITLE_AN_INCH, _LETTERS_AN_INCH = 18, 10, 18  # characters
_FOOTNOTE_SIZE, _FOOTNOTE_NARROW, _SMALL = 7.0, 6.0, 7.0  # points
_MARK, _STAR, _EDGE, _THIN = 2.5, 6.0, 0.5, 1.1  # points, of marks and lines in a narrow figure
_NARROW = 5.0  # inches; a column of a paper is narrower
_HANDLE = 6  # characters that a mark of the legend takes
_LEAST, _MOST = 1.5, 40.0  # inches
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*x\s*(\d+(?:\.\d+)?)\s*(in|cm)")
_END_OF_NOTE = re.compile(r"(?<! )\n")
_LEGEND_WIDTH = 48  # characters; a longer name continues on the next line, or it would leave no room for the axes
_TRUETYPE = 42  # letters of a PDF, which journals ask for
# no dates, no random ids: the same data gives the same file
_METADATA: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, whose parts make room for each other."""
    return Figure(figsize=(width, height), layout="constrained")


def styles(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A colour and a line for each different label, in natural order, so that a configuration has the same in every
    figure of the same runs; 28 before any repeats."""
    return {
        label: {"color": PALETTE[i % len(PALETTE)], "linestyle": LINES[i // len(PALETTE) % len(LINES)]}
        for i, label in enumerate(sorted(set(labels), key=natural))
    }


def legend_outside(figure: Figure, handles: dict[str, Artist]) -> None:
    """A legend to the right of the axes, where it hides nothing; what does not fit is counted. Many names in a low
    figure have smaller letters."""
    wrapped = [(textwrap.fill(name, _LEGEND_WIDTH), artist) for name, artist in handles.items()]
    lines = np.cumsum([name.count("\n") + 1 for name, _ in wrapped])
    room = _POINTS_AN_INCH * figure.get_figheight()
    size = max(_LEAST_LETTERS, min(_LETTERS, room / (_LINE_OF_LEGEND * (min(lines[-1], _LEGEND_LINES) + 2)))) \
        if wrapped else _LETTERS  # fmt: skip
    most = min(_LEGEND_LINES, int(room / (_LINE_OF_LEGEND * size)) - 2)
    shown = wrapped[: max(1, int(np.searchsorted(lines, most, side="right")))]
    left = len(handles) - len(shown)
    if not shown:
        return
    artists, names = [artist for _, artist in shown], [name for name, _ in shown]
    title = f"first {len(shown)} of {len(handles)}" if left else None
    figure.legend(artists, names, loc="outside right upper", frameon=False, fontsize=size, title=title,
                  title_fontsize=size)  # fmt: skip


def footnote(figure: Figure, text: str) -> None:
    """A small text below the axes, part of the figure, so that a note on what is left out travels with it; further
    ones go below it."""
    if text:
        notes = [*notes_of(figure.get_supxlabel()), *text.splitlines()]
        size = _FOOTNOTE_SIZE if figure.get_figwidth() >= _NARROW else _FOOTNOTE_NARROW
        width = min(_FOOTNOTE_WIDTH, int(_FOOTNOTE_AN_INCH * figure.get_figwidth() * _FOOTNOTE_SIZE / size))
        figure.supxlabel("\n".join(wrapped(note, width) for note in notes if note), x=0.01, ha="left", fontsize=size,
                         color="0.35", gid=NOTES)  # fmt: skip


def wrapped(note: str, width: int) -> str:
    """A note in lines; those that it goes on after end with a space, by which `notes_of` knows them."""
    return " \n".join(textwrap.wrap(note, width))


def notes_of(text: str) -> list[str]:
    """The notes below a figure, each in one line again."""
    return [note.replace(" \n", " ") for note in _END_OF_NOTE.split(text) if note]


def entitle(figure: Figure, title: str) -> None:
    """A title above everything, from the left; as it is in every language."""
    narrow = figure.get_figwidth() < _NARROW
    size = 8 if narrow else 11
    title = textwrap.fill(title, int(_TITLE_AN_INCH * figure.get_figwidth() * 11 / size))
    if narrow and figure.legends:  # the legend is above the axes, and the title above it
        text = figure.legends[0].get_title()
        counted = text.get_text()
        figure.legends[0].set_title("\n".join(filter(None, (title, counted))), prop=FontProperties(size=size))
    else:
        text = figure.suptitle(title, x=0.01, ha="left", fontsize=size)
    if not title.isascii() and (font := chinese_font()):
        text.set_fontfamily([*text.get_fontfamily(), font])
    as_typed(text, whole=True)
    _fit_labels(figure)


def resize(figure: Figure, width: float, height: float) -> None:
    """Another size, in inches. What is as narrow as a column of a paper has smaller letters, its legend above the axes
    instead of beside them, and its notes wrapped anew. Call it before `entitle`."""
    figure.set_size_inches(width, height)
    if width >= _NARROW:
        return
    for ax in figure.axes:
        ax.tick_params(labelsize=_SMALL)
        _without_minor_labels(ax)
        for line in ax.lines:
            line.set_linewidth(min(line.get_linewidth(), _THIN))
            line.set_markersize(min(line.get_markersize(), _STAR if line.get_marker() == "*" else _MARK))
            line.set_markeredgewidth(min(line.get_markeredgewidth(), _EDGE))
        for text in ax.findobj(Text):
            if isinstance(text, Text):
                text.set_fontsize(min(text.get_fontsize(), _SMALL))
    title_above = figure.get_suptitle()
    above = next((text for text in figure.texts if title_above and text.get_text() == title_above), None)
    name, typed = (above.get_text(), is_typed(above)) if above else ("", False)
    if above and figure.legends:  # they would share a place
        figure.suptitle("")
    for legend in list(figure.legends):
        names = [text.get_text() for text in legend.get_texts()]
        artists, title = legend.legend_handles, legend.get_title().get_text()
        legend.remove()
        size, columns = _packed(names, width, height)
        most = columns * max(1, int(_SHARE_ABOVE * _POINTS_AN_INCH * height / (_LINE_ABOVE * size)))
        if most < len(names):
            of = re.search(r" of (\d+)$", title)
            names, title = names[:most], f"first {most} of {of[1] if of else len(names)}"
        title = title or name
        there = [one for one in artists if one is not None]
        made = figure.legend(there[: len(names)], names, loc="outside upper left", frameon=False,
                      fontsize=size, ncols=columns, alignment="left", title=title or None, title_fontsize=_SMALL,
                      handlelength=1.6, columnspacing=1.0, borderpad=0.1, labelspacing=0.2)  # fmt: skip
        if typed:
            as_typed(made.get_title(), whole=True)
    notes = notes_of(figure.get_supxlabel())
    figure.supxlabel("")
    footnote(figure, "\n".join(notes))
    _fit_labels(figure)


def _without_minor_labels(ax: Axes) -> None:
    """Leaves out what a logarithmic axis writes between its powers of ten, where one of these is in view: in a small
    figure they lie on each other."""
    for axis, view in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        low, high = sorted(view)
        if axis.get_scale() == "log" and any(low <= place <= high for place in axis.get_majorticklocs()):
            axis.set_minor_formatter(NullFormatter())


def _packed(names: Sequence[str], width: float, height: float) -> tuple[float, int]:
    """Size of the letters, in points, and columns of a legend above the axes: as large as leaves these most of the
    height."""
    longest = max(len(line) for name in names for line in name.splitlines())
    for size in np.arange(_SMALL, _LEAST_LETTERS - 1e-9, -0.5):
        columns = max(1, min(len(names), int(_LETTERS_AN_INCH * width * _SMALL / size / (longest + _HANDLE))))
        if math.ceil(len(names) / columns) * _LINE_ABOVE * size <= _SHARE_ABOVE * _POINTS_AN_INCH * height:
            break
    return float(size), columns


def _fit_labels(figure: Figure) -> None:
    """Wraps the names of vertical axes that are longer than their axes, where the parts of the figure have left room
    for these."""
    figure.draw_without_rendering()
    for ax in figure.axes:
        words = " ".join(ax.get_ylabel().split())
        height = ax.yaxis.label.get_window_extent().height
        if words and height > ax.bbox.height:
            lines = math.ceil(height / ax.bbox.height)
            ax.set_ylabel(textwrap.fill(words, max(1, math.ceil(1.2 * len(words) / lines)), break_long_words=False))
            figure.draw_without_rendering()
            longest = ax.yaxis.label.get_window_extent().height
            if longest > ax.bbox.height:  # no word is broken: smaller letters
                size = float(ax.yaxis.label.get_fontsize()) * ax.bbox.height / longest
                ax.yaxis.label.set_fontsize(max(_LEAST_LETTERS - 1, size))


def parse_size(given: str) -> tuple[float, float]:
    """ "3.4x2.5in" or "16x9cm" as inches.

    Raises:
        UserError: it is no such size, or one that no figure has.
    """
    match = _SIZE.fullmatch(given.strip().lower())
    if match is None:
        raise UserError(f"--size {given}: expected width x height with its unit, such as 3.4x2.5in or 16x9cm")
    unit = 1.0 if match[3] == "in" else 1 / 2.54
    width, height = float(match[1]) * unit, float(match[2]) * unit
    if not (_LEAST <= width <= _MOST and _LEAST <= height <= _MOST):
        raise UserError(f"--size {given}: expected {_LEAST:g} to {_MOST:g} in (2.54 cm each) to both sides")
    return width, height


def check_suffix(path: Path) -> str:
    """The figure's format as a suffix; UserError for one that is not .png, .svg or .pdf. Call it before long work."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: expected a figure ending in {', '.join(SUFFIXES)}, got {suffix or 'no suffix'}")
    return suffix


def save(figure: Figure, path: Path | str, tongue: str | None = None, more: Sequence[Phrases] = ()) -> Path:
    """Writes a figure, whole or not at all; the suffix says the format.

    Args:
        figure: drawn in English.
        path: of the file.
        tongue: en or zh; None: what --lang, OPTBENCH_LANG or the locale say (see `optbench.language`).
        more: phrases beside those of optbench's own figures.

    Raises:
        UserError: a suffix that is not .png, .svg or .pdf.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    suffix = check_suffix(path)
    buffer = io.BytesIO()
    if any(ax.get_aspect() != "auto" for ax in figure.axes):
        figure.draw_without_rendering()  # beside a colour bar such axes find their place at the second time
    context = mpl.rc_context({"svg.hashsalt": "optbench", "pdf.fonttype": _TRUETYPE})
    with context, translated(figure, tongue or language(), more):
        figure.savefig(buffer, format=suffix[1:], dpi=150, metadata=_METADATA[suffix])
    write_bytes(path, buffer.getvalue())
    return path
