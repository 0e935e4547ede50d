"""Where each start of a grid ends, one panel an optimizer: colour says where, brightness how fast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, hsv_to_rgb, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from optbench.plot.landscape import Landscape, draw_marks
from optbench.plot.style import PALETTE, legend_outside, new_figure

_STATES = {
    "at rest elsewhere": "#B8A77A",
    "outside the box": "#9A9A9A",
    "still moving": "#DDDDDD",
    "diverged": "#222222",
}
_DARKEST = 0.3
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
        panels: one an optimizer; brightness is one scale for all, black at the slowest.
    """
    across = min(len(panels), _ACROSS)
    down = math.ceil(len(panels) / across)
    figure = new_figure(3.9 * across + 2.9, 3.7 * down + 0.5)
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    counts = np.sum([np.bincount(p.ending.ravel(), minlength=len(names)) for p in panels], axis=0)
    order = sorted(range(len(names)), key=lambda code: (names[code] in _STATES, -counts[code]))
    colours = _colours(names, order)
    slowest = _slowest(names, panels)
    handles = {}
    for ax, panel in zip(axes, panels, strict=False):
        _draw(ax, panel, landscape, names, colours, slowest)
        marks = draw_marks(ax, landscape)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    shades = ListedColormap([str(v) for v in np.linspace(1.0, _DARKEST, 64)])
    bar = ScalarMappable(Normalize(0, slowest), shades)
    figure.colorbar(
        bar, ax=list(axes), label="steps to the minimum", shrink=0.7, pad=0.02, location="bottom", aspect=40
    )
    for code in order:
        if counts[code]:
            handles[names[code]] = Patch(color=colours[code])
    figure.suptitle(landscape.title, fontsize=11)
    legend_outside(figure, {**handles, **marks})
    return figure


def _colours(names: Sequence[str], order: Sequence[int]) -> npt.NDArray[np.float64]:
    """(names, 3); the larger basins get the colours that are told apart best."""
    colours = np.empty((len(names), 3))
    for rank, code in enumerate(order):
        if names[code] in _STATES:
            colours[code] = to_rgb(_STATES[names[code]])
        elif rank < len(PALETTE) - 1:  # without black
            colours[code] = to_rgb(PALETTE[rank])
        else:
            colours[code] = hsv_to_rgb((0.618034 * rank % 1.0, 0.55 + 0.3 * (rank % 2), 0.9))
    return colours


def _slowest(names: Sequence[str], panels: Sequence[Panel]) -> float:
    points = [code for code, name in enumerate(names) if name not in _STATES]
    steps = np.concatenate([p.steps[np.isin(p.ending, points) & (p.steps >= 0)] for p in panels])
    return float(max(1.0, np.quantile(steps, 0.99))) if steps.size else 1.0


def _draw(
    ax: Axes,
    panel: Panel,
    landscape: Landscape,
    names: Sequence[str],
    colours: npt.NDArray[np.float64],
    slowest: float,
) -> None:
    shade = 1.0 - (1.0 - _DARKEST) * np.clip(panel.steps / slowest, 0.0, 1.0)
    state = np.isin(panel.ending, [code for code, name in enumerate(names) if name in _STATES])
    shade[state] = 1.0
    # towards white when fast, towards black when slow, so that brightness alone carries the steps
    light = 0.55 + 0.45 * colours[panel.ending]
    pure = colours[panel.ending] * _DARKEST
    weight = ((shade - _DARKEST) / (1.0 - _DARKEST))[..., None]
    image = np.where(state[..., None], colours[panel.ending], _mix(pure, colours[panel.ending], light, weight))
    (left, right), (bottom, top) = landscape.box
    ax.imshow(image, origin="lower", extent=(left, right, bottom, top), interpolation="nearest", aspect="auto")
    if max(right - left, top - bottom) < 3 * min(right - left, top - bottom):
        ax.set_aspect("equal")
    ax.set_title(panel.title, fontsize=10)
    ax.set_xlabel("x0")
    ax.set_ylabel("x1")
    ax.label_outer()


def _mix(
    dark: npt.NDArray[np.float64],
    middle: npt.NDArray[np.float64],
    light: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """dark at weight 0, middle at 1/2, light at 1."""
    below = dark + 2.0 * weight * (middle - dark)
    above = middle + (2.0 * weight - 1.0) * (light - middle)
    mixed: npt.NDArray[np.float64] = np.where(weight < 0.5, below, above)
    return mixed
