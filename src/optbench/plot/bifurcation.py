"""A bifurcation diagram: every coordinate of the critical points over the parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from optbench.plot.style import PALETTE, legend_outside, new_figure

_TYPES: dict[str, dict[str, Any]] = {
    "minimum": {"color": PALETTE[0], "linestyle": "-", "linewidth": 1.8},
    "saddle": {"color": PALETTE[4], "linestyle": "--", "linewidth": 1.8},
    "maximum": {"color": PALETTE[1], "linestyle": "-.", "linewidth": 1.8},
    "undecided": {"color": "0.45", "linestyle": ":", "linewidth": 1.8},
}
_PLURALS = {"minimum": "minima", "saddle": "saddles", "maximum": "maxima", "undecided": "type open"}
_MARKS = {"fold": "o", "transcritical": "X", "pitchfork": "D", "multiple": "*"}
_OPEN = "#9a9a9a"
_LEAST = 1 / 250  # of an axis: a region smaller than can be seen is drawn so large


@dataclass(frozen=True)
class Branch:
    """A curve to draw.

    Attributes:
        points: (n, 1 + d): the parameter, then the coordinates.
        type: "minimum", "maximum", "saddle" or "undecided".
    """

    points: npt.NDArray[np.float64]
    type: str


@dataclass(frozen=True)
class Meeting:
    """A bifurcation to draw: its kind, the parameter and the coordinates."""

    kind: str
    a: float
    x: tuple[float, ...]


def bifurcation_figure(
    branches: Sequence[Branch],
    meetings: Sequence[Meeting],
    unresolved: Sequence[Sequence[tuple[float, float]]],
    box: Sequence[tuple[float, float]],
    span: tuple[float, float],
    parameter: str,
    title: str,
) -> Figure:
    """One panel a coordinate, side by side.

    Args:
        branches: curves of critical points.
        meetings: bifurcations.
        unresolved: places where nothing is proved: (low, high) of the parameter, then of each coordinate.
        box: (low, high) of each coordinate.
        span: (low, high) of the parameter.
        parameter: its name.
        title: of the figure.
    """
    figure = new_figure(2.6 + 4.6 * len(box), 4.4)
    handles: dict[str, Artist] = {}
    names = ["x"] if len(box) == 1 else [f"x{i + 1}" for i in range(len(box))]
    for i, (name, (low, high)) in enumerate(zip(names, box, strict=True)):
        ax = figure.add_subplot(1, len(box), i + 1)
        _draw_unresolved(ax, unresolved, i, (low, high), span, handles)
        for branch in branches:
            ax.plot(branch.points[:, 0], branch.points[:, 1 + i], zorder=2, **_TYPES[branch.type])
        _draw_meetings(ax, meetings, i, handles)
        ax.set(xlim=span, ylim=(low, high), xlabel=parameter, ylabel=name)
        ax.grid(alpha=0.25, linewidth=0.5)
    for kind, style in _TYPES.items():
        n = sum(branch.type == kind for branch in branches)
        if n:
            handles[f"{_PLURALS[kind]}: {n} curve{'s' * (n > 1)}, proved"] = Line2D([], [], **style)
    figure.suptitle(title, fontsize=11)
    legend_outside(figure, handles)
    return figure


def _draw_meetings(ax: Axes, meetings: Sequence[Meeting], i: int, handles: dict[str, Artist]) -> None:
    style: dict[str, Any] = {"linestyle": "", "color": "black", "markerfacecolor": "white", "markeredgewidth": 1.3}
    for kind, shape in _MARKS.items():
        here = [m for m in meetings if m.kind == kind]
        if here:
            size = 11 if shape == "*" else 7
            ax.plot([m.a for m in here], [m.x[i] for m in here], marker=shape, markersize=size, zorder=4, **style)
            name = f"{kind} (verified exactly)" if kind == "multiple" else f"{kind}, proved"
            handles[f"{name}: {len(here)}"] = Line2D([], [], marker=shape, markersize=size, **style)


def _draw_unresolved(
    ax: Axes,
    unresolved: Sequence[Sequence[tuple[float, float]]],
    i: int,
    side: tuple[float, float],
    span: tuple[float, float],
    handles: dict[str, Artist],
) -> None:
    for region in unresolved:
        (a0, a1), (x0, x1) = _seen(region[0], span), _seen(region[1 + i], side)
        ax.add_patch(Rectangle((a0, x0), a1 - a0, x1 - x0, facecolor=_OPEN, edgecolor="none", zorder=3))
    if unresolved:
        handles[f"not decided: {len(unresolved)} place{'s' * (len(unresolved) > 1)}"] = Patch(facecolor=_OPEN)


def _seen(side: tuple[float, float], axis: tuple[float, float]) -> tuple[float, float]:
    """The side, made as long as can be seen."""
    least = _LEAST * (axis[1] - axis[0])
    if side[1] - side[0] >= least:
        return side
    middle = 0.5 * (side[0] + side[1])
    return middle - 0.5 * least, middle + 0.5 * least
