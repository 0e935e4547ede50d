"""The boxes of a branch and bound, under the contours of the surface that was searched: how a proof covers a box.

On two coordinates they are rectangles, on one a band of intervals along the axis, cut at every end. What is smaller
than can be seen is drawn as large as can be seen, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch

Floats = npt.NDArray[np.float64]
Cells = Mapping[str, tuple[Floats, Floats]]
"""Low and high corners, (n, d) each, by what became of the boxes: excluded, emptied, proved, undecided or split."""

_FATES = {  # name in the legend, colour, least width shown (as a share of the axis), layer
    "excluded": ("gradient has no zero", "#e9e9e9", 1 / 500, 0.6),
    "proved": ("one point, proved", "#b5e0cd", 1 / 500, 0.6),
    "undecided": ("undecided", "#ee9a63", 1 / 120, 2.5),  # over the contours: it is what to look at
}
_EMPTIED = ("emptied by Newton", "#cfe2f1")
_EDGE = "#a9a9a9"
_BAND = 0.07  # of the figure's height, on one coordinate
_MANY = 5000  # shapes; beyond, they become an image within a vector file


def draw_cells(ax: Axes, cells: Cells, box: Sequence[tuple[float, float]]) -> dict[str, Artist]:
    """Draws the boxes below everything else; returns the legend's handles, with the number of boxes of each fate.

    Args:
        ax: with two coordinates as its axes, or one and the value.
        cells: what became of the boxes. The ground stands for what was emptied: whole boxes, and what became of a split
            box where none of its parts lies.
        box: (low, high) of each axis, one or two.
    """
    if len(box) == 1:
        low, high = ax.get_ylim()
        ax.set_ylim(low - _BAND * (high - low), high)
    name, colour = _EMPTIED
    _paint(ax, np.zeros((1, len(box))), np.ones((1, len(box))), box, facecolors=colour, edgecolors="none", zorder=0.5)
    handles: dict[str, Artist] = {name: Patch(facecolor=colour)}
    origin, width = np.array([low for low, _ in box]), np.array([high - low for low, high in box])
    for fate, (name, colour, least, layer) in _FATES.items():
        corners = [(end - origin) / width for end in cells.get(fate, ())]
        if corners and (n := len(corners[0])):
            shown = _visible(corners[0], corners[1], least)
            _paint(ax, *shown, box, facecolors=colour, edgecolors=_EDGE, linewidths=0.3, zorder=layer)
            handles[f"{name}: {n:,} box{'es' * (n > 1)}"] = Patch(facecolor=colour, edgecolor=_EDGE, linewidth=0.5)
    return handles


def _visible(low: Floats, high: Floats, least: float) -> tuple[Floats, Floats]:
    # the boxes in units of the axes; sides too small to be seen lie on a grid, and equal boxes are there once
    low, high = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
    small = high - low < least
    first = np.floor(np.minimum(low, 1.0 - least / 2) / least) * least
    low, high = np.where(small, first, low), np.where(small, first + least, high)
    both = np.unique(np.concatenate([low, high], axis=1), axis=0)
    return both[:, : low.shape[1]], both[:, low.shape[1] :]


def _paint(ax: Axes, low: Floats, high: Floats, box: Sequence[tuple[float, float]], **style: Any) -> None:
    band = len(box) == 1
    if band:  # at the foot of the figure
        low, high = np.insert(low, 1, 0.0, axis=1), np.insert(high, 1, _BAND, axis=1)
        box = (*box, (0.0, 1.0))
    origin, width = np.array([low for low, _ in box]), np.array([high - low for low, high in box])
    (x0, y0), (x1, y1) = (origin + low * width).T, (origin + high * width).T
    shapes = np.stack([np.stack(p, axis=1) for p in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))], axis=1)
    drawn = PolyCollection(list(shapes), rasterized=len(shapes) > _MANY, **style)
    if band:
        drawn.set_transform(ax.get_xaxis_transform())
    ax.add_collection(drawn, autolim=False)
