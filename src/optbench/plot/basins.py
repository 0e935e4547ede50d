"""Where each start of a grid ends, one panel per optimizer: the colour shows where, the brightness how fast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize, hsv_to_rgb, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from optbench.plot.landscape import Landscape, draw_marks
from optbench.plot.style import PALETTE, legend_outside, new_figure
from optbench.plot.translate import as_typed

_STATES = {
    "at rest elsewhere": "#B8A77A",
    "outside the box": "#9A9A9A",
    "still moving": "#DDDDDD",
    "diverged": "#222222",
}
_DARKEST, _TINT = 0.7, 0.65
_ACROSS = 3


@dataclass(frozen=True)
class Panel:
    """One optimizer's picture; row j, column i is the start in the i-th cell along x0, the j-th along x1.

    Attributes:
        title: of the panel.
        ending: (ny, nx) index into the names of endings.
        steps: (ny, nx) how long it took; negative where that is not known.
    """

    title: str
    ending: npt.NDArray[np.int16]
    steps: npt.NDArray[np.int32]


def basins_figure(landscape: Landscape, names: Sequence[str], panels: Sequence[Panel]) -> Figure:
    """Basins of attraction.

    Args:
        landscape: the surface with its critical points; its box is that of the starts.
        names: of the endings. Those in grey are not critical points.
        panels: one an optimizer; brightness is one scale for all.
    """
    across = min(len(panels), _ACROSS)
    down = math.ceil(len(panels) / across)
    figure = new_figure(3.3 * across + 2.8, 3.4 * down + 1.2)
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    counts = np.sum([np.bincount(p.ending.ravel(), minlength=len(names)) for p in panels], axis=0)
    order = sorted(range(len(names)), key=lambda code: (names[code] in _STATES, -counts[code]))
    colours = _colours(names, order)
    scale = _scale(names, panels)
    handles = {}
    for ax, panel in zip(axes, panels, strict=False):
        _draw(ax, panel, landscape, names, colours, scale)
        marks = draw_marks(ax, landscape)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[max(0, len(panels) - across) : len(panels)]:  # nothing is below them
        ax.xaxis.set_tick_params(labelbottom=True)
        ax.set_xlabel("x0")
    shades = ListedColormap([str(v) for v in np.linspace(1.0, _DARKEST, 64)])
    bar = ScalarMappable(scale, shades)
    key = figure.colorbar(bar, ax=list(axes), shrink=0.7, pad=0.02, location="bottom", aspect=40)
    key.set_label("steps to the minimum")
    key.ax.xaxis.set_minor_formatter(NullFormatter())
    for code in order:
        if counts[code]:
            handles[names[code]] = Patch(color=colours[code])
    as_typed(figure.suptitle(landscape.title, fontsize=11))
    legend_outside(figure, {**handles, **marks})
    return figure


def _colours(names: Sequence[str], order: Sequence[int]) -> npt.NDArray[np.float64]:
    """(names, 3); the larger basins get the colours that are easiest to tell apart."""
    colours = np.empty((len(names), 3))
    for rank, code in enumerate(order):
        if names[code] in _STATES:
            colours[code] = to_rgb(_STATES[names[code]])
        elif rank < len(PALETTE) - 1:  # without black
            colours[code] = to_rgb(PALETTE[rank])
        else:
            colours[code] = hsv_to_rgb((0.618034 * rank % 1.0, 0.55 + 0.3 * (rank % 2), 0.9))
    return colours


def _scale(names: Sequence[str], panels: Sequence[Panel]) -> Normalize:
    """Steps to brightness: the fastest and the slowest hundredth are cut off; logarithmic over orders of magnitude."""
    points = [code for code, name in enumerate(names) if name not in _STATES]
    steps = np.concatenate([p.steps[np.isin(p.ending, points) & (p.steps >= 0)] for p in panels])
    low, high = np.quantile(steps, (0.01, 0.99)) if steps.size else (1.0, 2.0)
    low, high = max(1.0, float(low)), max(2.0, float(low) + 1.0, float(high))
    return LogNorm(low, high, clip=True) if high > 30 * low else Normalize(low, high, clip=True)


def _draw(
    ax: Axes,
    panel: Panel,
    landscape: Landscape,
    names: Sequence[str],
    colours: npt.NDArray[np.float64],
    scale: Normalize,
) -> None:
    colour = colours[panel.ending]
    speed = 1.0 - np.asarray(scale(np.maximum(panel.steps, 1)))[..., None]
    # a light tint when fast, through the colour itself, to a dark shade when slow
    slow_half = colour * (_DARKEST + (1.0 - _DARKEST) * 2.0 * speed)
    fast_half = colour + (2.0 * speed - 1.0) * _TINT * (1.0 - colour)
    state = np.isin(panel.ending, [code for code, name in enumerate(names) if name in _STATES])[..., None]
    image = np.where(state, colour, np.where(speed < 0.5, slow_half, fast_half))
    (left, right), (bottom, top) = landscape.box
    ax.imshow(image, origin="lower", extent=(left, right, bottom, top), interpolation="nearest", aspect="auto")
    if max(right - left, top - bottom) < 3 * min(right - left, top - bottom):
        ax.set_aspect("equal")
    as_typed(ax.set_title(panel.title, fontsize=10))
    ax.set_xlabel("x0")
    ax.set_ylabel("x1")
    ax.label_outer()
