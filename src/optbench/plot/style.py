"""What all figures share: colours, legends, and how they become files."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from numpy.typing import NDArray

from optbench.errors import UserError
from optbench.language import Phrases, language
from optbench.plot.translate import translated
from optbench.records import write_bytes

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.")
SUFFIXES = (".png", ".svg", ".pdf")
_LARGEST = 1e100  # no axis reaches it; beyond, matplotlib's own arithmetic overflows
_LEGEND_LINES = 24
_FOOTNOTE_WIDTH = 130
_LEGEND_WIDTH = 48  # characters; a longer name continues on the next line, or it would leave no room for the axes
# no dates, no random ids: the same data gives the same file
_METADATA: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, whose parts make room for each other."""
    return Figure(figsize=(width, height), layout="constrained")


def styles(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A colour and a line for each different label, in order of appearance; 28 before any repeats."""
    return {
        label: {"color": PALETTE[i % len(PALETTE)], "linestyle": LINES[i // len(PALETTE) % len(LINES)]}
        for i, label in enumerate(dict.fromkeys(labels))
    }


def drawable(values: Any) -> NDArray[np.float64]:
    """Numbers as an axis takes them: gaps where they are not finite, the largest cut."""
    values = np.asarray(values, dtype=float)
    return np.where(np.isfinite(values), np.clip(values, -_LARGEST, _LARGEST), np.nan)


def legend_outside(figure: Figure, handles: dict[str, Artist]) -> None:
    """A legend to the right of the axes, where it hides nothing; what does not fit is counted."""
    wrapped = [(textwrap.fill(name, _LEGEND_WIDTH), artist) for name, artist in handles.items()]
    lines = np.cumsum([name.count("\n") + 1 for name, _ in wrapped])
    shown = wrapped[: max(1, int(np.searchsorted(lines, _LEGEND_LINES, side="right")))]
    left = len(handles) - len(shown)
    if not shown:
        return
    artists, names = [artist for _, artist in shown], [name for name, _ in shown]
    title = f"first {len(shown)} of {len(handles)}" if left else None
    figure.legend(artists, names, loc="outside right upper", frameon=False, fontsize=9, title=title, title_fontsize=9)


def footnote(figure: Figure, text: str) -> None:
    """A small text below the axes, part of the figure, so that a note on what is left out travels with it; further
    ones go below it."""
    if text:
        text = "\n".join(filter(None, (figure.get_supxlabel(), text)))
        lines = [line for part in text.splitlines() for line in textwrap.wrap(part, _FOOTNOTE_WIDTH)]
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7, color="0.35")


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
    with mpl.rc_context({"svg.hashsalt": "optbench"}), translated(figure, tongue or language(), more):
        figure.savefig(buffer, format=suffix[1:], dpi=150, metadata=_METADATA[suffix])
    write_bytes(path, buffer.getvalue())
    return path
