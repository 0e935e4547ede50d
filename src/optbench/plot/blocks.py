"""Axes of curves: a block a problem, a row of it a column of the curves.

Losses of different problems are never set side by side, so each problem has axes of its own; a configuration has its
colour in all of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.plot.style import footnote, new_figure
from optbench.plot.translate import as_typed

MOST = 12
"""Problems; beyond, each block is too small to be read."""
_ACROSS = 3
_ONE = 8.0  # inches, with the legend
_BLOCK, _LEGEND = 3.9, 2.2  # inches: a block of several, the legend beside them
_TITLE = 36  # characters in a line
_LOW, _LEAST = 0.8, 3.0  # of a block among several: of the height of one by itself, and inches at least

Blocks = dict[str, dict[str, Axes]]
"""The axes of each problem, by panel."""


def blocks(panels: Mapping[str, Sequence[str]], heights: Mapping[str, float], height: float) -> tuple[Figure, Blocks]:
    """A figure with axes for each problem, above each other for its panels and sharing their x axis.

    Beyond MOST problems the first are drawn, and a note below the figure says so.

    Args:
        panels: of each problem, in order; the first is the largest.
        heights: of every panel that there may be, in order, relative to each other.
        height: of a block that is by itself, in inches.
    """
    shown = list(panels)[:MOST]
    across = min(len(shown), 2 if len(shown) == 4 else _ACROSS)
    # a row of blocks is as high as its own problems need, so that few panels leave no gap below them
    rows = [[name for name in heights if any(name in panels[one] for one in shown[i : i + across])]
            for i in range(0, len(shown), across)]  # fmt: skip
    ratios = [heights[name] for names in rows for name in names]
    whole = sum(heights[name] for name in heights if any(name in panels[one] for one in shown))
    tall = [max(_LEAST, _LOW * height * sum(heights[name] for name in names) / whole) for names in rows]
    figure = new_figure(*((_ONE, height) if len(shown) == 1 else (_BLOCK * across + _LEGEND, sum(tall))))
    grid = figure.subplots(len(ratios), across, squeeze=False, height_ratios=ratios)
    found: Blocks = {}
    for i, problem in enumerate(shown):
        row, column = divmod(i, across)
        above = sum(map(len, rows[:row]))
        place = {name: grid[above + k, column] for k, name in enumerate(rows[row])}
        found[problem] = {name: ax for name, ax in place.items() if name in panels[problem]}
        _finish(found[problem], problem if len(shown) > 1 else "")
    kept = {ax for axes in found.values() for ax in axes.values()}
    for ax in grid.ravel():
        if ax not in kept:
            ax.remove()
    if len(shown) < len(panels):
        footnote(figure, f"{len(shown)} of {len(panels)} problems are drawn")
    return figure, found


def _finish(axes: Mapping[str, Axes], title: str) -> None:
    first, *others = axes.values()
    for ax in others:
        ax.sharex(first)
    for ax in list(axes.values())[:-1]:
        ax.tick_params(labelbottom=False)
    for ax in axes.values():
        ax.grid(True, alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    if title:
        as_typed(first.set_title(textwrap.fill(title, _TITLE), fontsize=9), whole=True)
