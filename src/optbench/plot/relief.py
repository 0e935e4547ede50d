"""A surface as a relief with the paths of runs on it.

Height is what the contours show: f, or the logarithm of f - min f where the values span orders of magnitude. Points
have the recorded loss as their height, and the line between two of them lies on the surface. matplotlib does not know
which of two artists is before the other, so paths are drawn above the surface; where it hides them they are thin and
dotted, as hidden edges are in technical drawings. What is hidden is computed: the ray from a point to the eye is
followed over the grid. Of twelve views round the surface that one is taken which hides least of the paths; from higher
up, where even that hides more than a twentieth of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.colors import LightSource
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from optbench.comparison import label_runs
from optbench.errors import UserError
from optbench.plot.landscape import (
    SHAPES,
    Floats,
    Landscape,
    Levels,
    counted,
    drawable,
    levels_of,
    named,
    overlap,
    paper,
    recorded_paths,
    stripes,
    terminals,
)
from optbench.plot.style import footnote, legend_outside, new_figure, styles
from optbench.plot.translate import as_typed
from optbench.records import Run

_ELEVATIONS = (40.0, 52.0, 64.0)  # degrees of the eye above the ground; the lowest that hides little
View = tuple[float, float]
"""Degrees of the eye above the ground, and round the surface."""
_LITTLE = 0.05  # of the points of paths
_VIEWS = tuple(float(angle) for angle in range(-60, 300, 30))  # degrees round the surface; the first wins a draw
_HIGH = 0.62  # of the box's height to its sides, in the picture
_ZOOM = 0.86  # so that no corner is cut off
_PALE = 0.35  # opacity of a critical point that the surface hides
_PIECES, _POINTS = 12, 3000  # of a line between two recorded points; of a path in all, about
_RAY, _LIFT = 160, 0.006  # places on a ray; of the height: a point on the surface is not hidden by its own facet


class Relief:
    """Heights of a surface in the unit cube: where its points are, and what it hides."""

    def __init__(self, landscape: Landscape, levels: Levels) -> None:
        """Takes the values on the grid; those that are not numbers are as high as the highest."""
        (self._x, self._y), self._levels = landscape.box, levels
        z = np.where(np.isfinite(landscape.z), landscape.z, np.nanmax(landscape.z[np.isfinite(landscape.z)]))
        self.z = self.scaled(z)
        self.low, self.high = float(self.z.min()), float(self.z.max())
        self._unit = (self.z - self.low) / (self.high - self.low)

    def scaled(self, values: Floats) -> Floats:
        """Values of the surface as the vertical axis has them: logarithms to the base 10, or themselves."""
        height = self._levels.height(values)
        found: Floats = np.log10(height) if self._levels.logarithmic else height
        return found

    def _height(self, u: Floats, v: Floats) -> Floats:
        """Height in the unit cube over (u, v) in the unit square, between the points of the grid."""
        rows, columns = self._unit.shape
        i, j = np.clip(v, 0, 1) * (rows - 1), np.clip(u, 0, 1) * (columns - 1)
        i0, j0 = np.minimum(i.astype(int), rows - 2), np.minimum(j.astype(int), columns - 2)
        a, b, z = i - i0, j - j0, self._unit
        found: Floats = ((1 - a) * ((1 - b) * z[i0, j0] + b * z[i0, j0 + 1])
                         + a * ((1 - b) * z[i0 + 1, j0] + b * z[i0 + 1, j0 + 1]))  # fmt: skip
        return found

    def unit(self, points: Floats) -> Floats:
        """Points (n, 3) of the axes in the unit cube."""
        low = np.array([self._x[0], self._y[0], self.low])
        found: Floats = (points - low) / (np.array([self._x[1], self._y[1], self.high]) - low)
        return found

    def heights(self, places: Floats) -> Floats:
        """Of the surface at places (n, 2) of the axes, between grid points too, as the vertical axis has them."""
        low, high = np.array([self._x, self._y]).T
        u, v = ((places - low) / (high - low)).T
        found: Floats = self.low + (self.high - self.low) * self._height(u, v)
        return found

    def draped(self, path: Floats) -> Floats:
        """A recorded path on the surface.

        Args:
            path: x0, x1 and loss, a row each, (n, 3).

        Returns:
            (m, 3) points of the axes: the recorded ones, and between two of them some of the surface; NaN outside the
            box.
        """
        pieces = max(1, min(_PIECES, _POINTS // max(1, len(path))))
        t = np.arange(pieces)[:, None] / pieces
        between = [a + t * (b - a) for a, b in zip(path[:-1, :2], path[1:, :2], strict=True)]
        places = np.concatenate([*between, path[-1:, :2]])
        low, high = np.array([self._x, self._y]).T
        with np.errstate(over="ignore", invalid="ignore"):
            square = (places - low) / (high - low)
            own = self.scaled(path[:, 2])
        z = self.heights(places)
        z[::pieces] = np.where(np.isfinite(own), own, z[::pieces])
        inside = ((square >= 0) & (square <= 1)).all(axis=1)
        found: Floats = np.where(inside[:, None], np.column_stack([places, z]), np.nan)
        return found

    def hidden(self, points: Floats, view: View) -> npt.NDArray[np.bool_]:
        """Which points of the axes (n, 3) the surface hides from an eye far away."""
        up, around = map(math.radians, view)
        # the picture's box has sides 1, 1 and _HIGH; along the ray, one unit of ground is so much of height
        towards = np.array([math.cos(around), math.sin(around), math.tan(up) / _HIGH])
        t = np.linspace(0.0, math.sqrt(2), _RAY + 1)[1:]
        ray = self.unit(points)[:, None, :] + t[:, None] * towards
        inside = ((ray[..., :2] >= 0) & (ray[..., :2] <= 1)).all(axis=-1)
        above = self._height(np.nan_to_num(ray[..., 0]), np.nan_to_num(ray[..., 1])) > ray[..., 2] + _LIFT
        found: npt.NDArray[np.bool_] = (inside & above).any(axis=1)
        return found

    def view(self, points: Floats) -> View:
        """Of the views that there are, the one that hides least of the points (n, 3) of the axes."""
        some = points[:: max(1, len(points) // _POINTS)]
        for elevation in _ELEVATIONS:
            hidden = {(elevation, angle): float(self.hidden(some, (elevation, angle)).mean()) for angle in _VIEWS}
            best = min(hidden, key=lambda view: hidden[view])
            if hidden[best] <= _LITTLE:
                break
        return best


def path_on_relief(landscape: Landscape, runs: Sequence[Run], labels: Sequence[str] | None = None) -> Figure:
    """The paths of runs on a surface of two coordinates as a relief.

    Args:
        landscape: the surface, with its critical points.
        runs: runs that recorded x0, x1 and loss; others are not drawn.
        labels: one a run; runs with the same label share a colour. None: what differs.

    Raises:
        UserError: one coordinate; a surface without relief; no run with such a path.
    """
    labels = label_runs(runs) if labels is None else labels
    if landscape.y is None:
        raise UserError(f"{landscape.title or 'the surface'} has one coordinate; a 3-D view needs two")
    levels, paths = levels_of(landscape), recorded_paths(landscape, runs, labels)
    if levels is None:
        raise UserError(f"{landscape.title or 'the surface'} has no relief: its values are all the same, or not finite")
    if not paths:
        raise UserError("none of these runs recorded a path over the surface")
    relief, look = Relief(landscape, levels), styles(labels)
    draped = [relief.draped(path[:, :3]) for _, path in paths]
    figure = new_figure(8.6, 6.0)
    ax = _axes(figure, landscape, relief, levels)
    view = relief.view(np.concatenate(draped))
    ax.view_init(elev=view[0], azim=view[1])
    handles: dict[str, Artist] = {}
    dotted = False
    for (label, path), points in zip(paths, draped, strict=True):
        hidden = relief.hidden(points, view)
        dotted |= bool(hidden.any())
        handles.setdefault(named(label, path, landscape), _draw(ax, points, hidden, look[label]))
    handles |= terminals() | _marks(ax, landscape, relief, view)
    if dotted:
        footnote(figure, "Dotted and pale: behind the surface.")
    _, above = stripes([drawable(path, landscape) for _, path in paths], landscape)
    footnote(figure, overlap([], above))
    legend_outside(figure, handles)
    return figure


def _axes(figure: Figure, landscape: Landscape, relief: Relief, levels: Levels) -> Axes3D:
    ax = figure.add_subplot(projection="3d", computed_zorder=False)
    assert isinstance(ax, Axes3D)
    assert landscape.y is not None
    ax.set_proj_type("ortho")
    ax.set_box_aspect((1, 1, _HIGH), zoom=_ZOOM)
    x, y = np.meshgrid(landscape.x, landscape.y)
    colours = paper()(levels.norm(levels.height(np.nan_to_num(landscape.z, nan=np.inf, posinf=np.finfo(float).max))))
    light = LightSource(315, 45)
    unit = (relief.z - relief.low) / (relief.high - relief.low)
    shaded = light.shade_rgb(
        colours[..., :3], unit, blend_mode="soft", dx=1 / len(landscape.x), dy=1 / len(landscape.y)
    )
    stride = max(1, len(landscape.x) // 100)
    ax.plot_surface(x, y, relief.z, facecolors=shaded, rstride=stride, cstride=stride, linewidth=0, antialiased=False,
                    shade=False, zorder=1, rasterized=True)  # fmt: skip
    ax.set(xlabel="x0", ylabel="x1", xlim=landscape.box[0], ylim=landscape.box[1], zlim=(relief.low, relief.high))
    ax.set_zlabel(levels.label)
    if levels.logarithmic:
        ax.zaxis.set_major_locator(MaxNLocator(6, integer=relief.high - relief.low > 2))
        ax.zaxis.set_major_formatter(FuncFormatter(lambda value, _: f"$10^{{{value:g}}}$"))
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_pane_color((1, 1, 1, 0))
    as_typed(ax.set_title(landscape.title, fontsize=11))
    return ax


def _draw(ax: Axes3D, points: Floats, hidden: npt.NDArray[np.bool_], look: dict[str, Any]) -> Artist:
    """Draws a path; returns the legend's handle."""
    seen = np.where(hidden[:, None], np.nan, points)
    ax.plot(*seen.T, color="white", linewidth=3.4, zorder=4)
    ax.plot(*points.T, color=look["color"], linestyle=":", linewidth=1.0, zorder=5)
    (line,) = ax.plot(*seen.T, linewidth=2.0, zorder=6, **look)
    there = points[~np.isnan(points).any(axis=1)]
    for point, shape in ((there[:1], "o"), (there[-1:], "s")):
        ax.scatter(*point.T, s=46, marker=shape, color=look["color"], edgecolors="white", depthshade=False, zorder=7)
    handle: Artist = Line2D([], [], linewidth=line.get_linewidth(), **look)
    return handle


def _marks(ax: Axes3D, landscape: Landscape, relief: Relief, view: View) -> dict[str, Artist]:
    handles: dict[str, Artist] = {}
    for kind, name, marks in counted(landscape):
        places = np.array([mark.x for mark in marks])
        points = np.column_stack([places, relief.heights(places)])
        hidden = relief.hidden(points, view)
        look: dict[str, Any] = {"s": 60, "marker": SHAPES[kind][0], "color": "white", "edgecolors": "black"}
        for of, opacity in ((hidden, _PALE), (~hidden, 1.0)):
            if of.any():
                ax.scatter(*points[of].T, alpha=opacity, depthshade=False, zorder=8, **look)
        handles[name] = Line2D([], [], linestyle="", marker=SHAPES[kind][0], color="white", markeredgecolor="black",
                               markersize=8)  # fmt: skip
    return handles
