"""Where runs went: paths over the contours of a surface, and its critical points."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from optbench.comparison import label_runs
from optbench.plot.cells import Cells, draw_cells
from optbench.plot.style import PALETTE, footnote, legend_outside, natural, new_figure, styles
from optbench.plot.translate import as_typed
from optbench.records import Run
from optbench.records.curves import Columns
from optbench.records.run import read_columns

Floats = npt.NDArray[np.float64]

SHAPES = {"minimum": ("*", 190), "saddle": ("X", 80), "maximum": ("^", 80), "degenerate": ("D", 55)}
_ABOVE_ENDS = 6.5  # zorder: a path that ends in a minimum would hide its star
_SMALL_STAR = 75  # beside which the corners of such an end are seen
_TERMINALS = {"start": "o", "end": "s"}
_PLURALS = {"minimum": "minima", "saddle": "saddles", "maximum": "maxima", "degenerate": "degenerate points"}
_CURVES = {1: ("curves up (eigenvalue > 0)", "#0072B2"), -1: ("curves down (eigenvalue < 0)", "#D55E00"),
           0: ("flat (eigenvalue 0)", "#E69F00")}  # fmt: skip
_OPEN = ("near flat (sign of the eigenvalue not sure)", "#CC79A7")
_ZERO, _NEAR = 1e-12, 1e-6  # of the largest eigenvalue of a degenerate point: 0 to rounding; too small for its place
_NUMBERED = 30  # critical points; beyond, numbers and arrows hide each other
_DOTTED = 80  # steps; beyond, a dot a step hides the path
_NEARBY = 1 / 150  # of the box; closer paths are one line on paper
_MANY = 24  # paths that are compared with each other
_COVERED = 0.3  # of a path, beneath paths drawn later: it is drawn wider, so that it shows on both sides of them
_FAR = 50.0  # boxes away: farther points are drawn here, in their direction; the renderer overflows on 1e300


@dataclass(frozen=True)
class Mark:
    """A critical point to draw.

    Attributes:
        x: its dim coordinates.
        type: "minimum", "maximum", "saddle" or "degenerate".
        eigenvalues: of the Hessian, (dim,); empty when not known.
        eigenvectors: one a row, in the order of the eigenvalues; empty when not known.
    """

    x: tuple[float, ...]
    type: str
    eigenvalues: tuple[float, ...] = ()
    eigenvectors: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Landscape:
    """A surface of one or two coordinates as arrays.

    Attributes:
        x: (nx,) grid of the first coordinate, ascending.
        z: (ny, nx) values, z[j, i] at (x[i], y[j]); (nx,) for one coordinate.
        y: (ny,) grid of the second coordinate, ascending; None for one coordinate.
        points: critical points.
        title: name of the surface.
    """

    x: Floats
    z: Floats
    y: Floats | None = None
    points: tuple[Mark, ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        expected = (len(self.x),) if self.y is None else (len(self.y), len(self.x))
        if self.z.shape != expected:
            raise ValueError(f"z has shape {self.z.shape}, the grid {expected}")

    @property
    def box(self) -> tuple[tuple[float, float], ...]:
        """(low, high) of each axis."""
        axes = [self.x] if self.y is None else [self.x, self.y]
        return tuple((float(axis[0]), float(axis[-1])) for axis in axes)

    def inside(self, x: Sequence[float]) -> bool:
        """Whether a point lies in the box."""
        return all(low <= v <= high for v, (low, high) in zip(x, self.box, strict=True))


def path_on_contours(landscape: Landscape, runs: Sequence[Run], labels: Sequence[str] | None = None) -> Figure:
    """The paths of runs over a surface: contours for two coordinates, the graph for one.

    A dot marks the start, a square the end; a path that leaves the box is cut at its edge and says so in the legend.
    Paths that lie on one another are drawn as stripes, the first outermost.

    Args:
        landscape: the surface, with its critical points.
        runs: runs that recorded x0 (and x1); others are not drawn.
        labels: one a run; runs with the same label share a colour. None: what differs.
    """
    labels = label_runs(runs) if labels is None else labels
    figure, ax = ground(landscape)
    style = styles(labels)
    handles: dict[str, Artist] = {}
    shown = recorded_paths(landscape, runs, labels)
    points_of = [drawable(path, landscape) for _, path in shown]
    depths, above = stripes(points_of, landscape)
    for (label, path), points, depth, over in zip(shown, points_of, depths, above, strict=True):
        handle = draw_path(ax, points, style[label], depth, over)
        handles.setdefault(named(label, path, landscape), handle)
    footnote(figure, overlap(depths, above))
    if handles:
        handles |= terminals()
    handles |= draw_marks(ax, landscape, ends=True)
    legend_outside(figure, handles)
    return figure


def recorded_paths(landscape: Landscape, runs: Sequence[Run], labels: Sequence[str]) -> list[tuple[str, Floats]]:
    """Label and recorded points (see `recorded`) of the runs that have some, the labels in natural order."""
    paths = zip(labels, (recorded(curve, landscape) for curve in read_columns(runs)), strict=True)
    return sorted(((label, path) for label, path in paths if len(path)), key=lambda one: natural(one[0]))


def named(label: str, path: Floats, landscape: Landscape) -> str:
    """What a path is called: its label, and whether it left the box for good."""
    left = not landscape.inside(path[-1, : len(landscape.box)].tolist())
    return label + (" (left the box)" if left else "")


def overlap(depths: Sequence[int], above: Sequence[bool]) -> str:
    """The note on paths that lie on one another, of what `stripes` found; empty where none do."""
    if any(depths):
        return "Paths that lie on one another are drawn as stripes, the first of the legend outermost."
    return "Where paths lie on one another, the later of the legend hide the earlier." if any(above) else ""


def terminals() -> dict[str, Artist]:
    """The legend's handles of where paths start and end."""
    return {name: Line2D([], [], marker=shape, linestyle="", color="0.4") for name, shape in _TERMINALS.items()}


def critical_points_figure(landscape: Landscape, cells: Cells | None = None) -> Figure:
    """A surface with its critical points, numbered in order, and the directions in which it curves up and down.

    Numbers and directions (where eigenvectors are known, on two coordinates) are left out beyond 30 points.

    Args:
        landscape: the surface, with its critical points.
        cells: boxes that a certified search examined, to be drawn beneath contour lines; None: filled contours.
    """
    figure, ax = ground(landscape, filled=cells is None)
    handles = draw_marks(ax, landscape) | ({} if cells is None else draw_cells(ax, cells, landscape.box))
    if len(landscape.points) <= _NUMBERED:
        handles |= _draw_directions(ax, landscape)
        for i, mark in enumerate(landscape.points, start=1):
            if landscape.inside(mark.x):
                ax.annotate(str(i), _place(mark, landscape), (7, 7), textcoords="offset points", fontsize=9, zorder=7,
                            path_effects=_halo(2.5), annotation_clip=True)  # fmt: skip
    legend_outside(figure, handles)
    return figure


def ground(landscape: Landscape, filled: bool = True) -> tuple[Figure, Axes]:
    """A figure with a surface, titled by its name: contours for two coordinates, the graph for one."""
    figure = new_figure(8.6, 5.4)
    ax = figure.subplots()
    draw_ground(figure, [ax], landscape, filled)
    as_typed(ax.set_title(landscape.title, fontsize=11))
    return figure, ax


def draw_ground(figure: Figure, axes: Sequence[Axes], landscape: Landscape, filled: bool = True) -> None:
    """Draws a surface into each of some axes, at the same levels and with one bar for all."""
    painted = [_draw_ground(ax, landscape, filled) for ax in axes]
    if painted and painted[0] is not None:
        _bar(figure, axes, *painted[0])


def _draw_ground(ax: Axes, landscape: Landscape, filled: bool) -> tuple[ContourSet, str] | None:
    painted = None
    if landscape.y is None:
        ax.plot(landscape.x, landscape.z, color="0.45", linewidth=1.5, zorder=1)
        ax.set_ylabel("f(x0)")
        ax.grid(True, alpha=0.25)
        low, high = _value_range(landscape)
        margin = 0.08 * (high - low) or 1.0
        ax.set_ylim(low - margin, high + margin)
    else:
        painted = _contours(ax, landscape, filled)
        ax.set_ylabel("x1")
        ax.set_ylim(*landscape.box[1])
        widths = [high - low for low, high in landscape.box]
        if max(widths) < 3 * min(widths):
            ax.set_aspect("equal")  # right angles look right, such as those between eigenvectors
    ax.set_xlim(*landscape.box[0])
    ax.set_xlabel("x0")
    return painted


def _value_range(landscape: Landscape) -> tuple[float, float]:
    finite = landscape.z[np.isfinite(landscape.z)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


@dataclass(frozen=True)
class Levels:
    """How the values of a surface are seen.

    Attributes:
        levels: of contours, ascending.
        norm: of their colours.
        floor: what counts as height 0: the least value where the scale is logarithmic, else 0.
        low: no height is shown as less; -inf on a linear scale.
        label: what is shown.
    """

    levels: Floats
    norm: Normalize
    floor: float
    low: float
    label: str

    @property
    def logarithmic(self) -> bool:
        """Whether heights are shown by their logarithms."""
        return isinstance(self.norm, LogNorm)

    def height(self, values: Floats) -> Floats:
        """Values of the surface as they are shown, on the scale of the levels."""
        found: Floats = np.maximum(values - self.floor, self.low)
        return found


def levels_of(landscape: Landscape) -> Levels | None:
    """The levels at which a surface is drawn; None: its values are too close, or too far apart, for any."""
    values = landscape.z[np.isfinite(landscape.z)]
    if not values.size or values.max() <= values.min():
        return None
    with np.errstate(over="ignore"):
        height = values - values.min()
    least, low = float(values.min()), max(float(np.quantile(height, 0.005)), 1e-12 * float(height.max()))
    # Many orders of magnitude between the low tenth and the top: equal levels would show one dark valley. Of more than
    # six (the tails of a softmax) the logarithm shows nothing but the tails, and neither slope nor plateau above them.
    tenth = max(float(np.quantile(height, 0.1)), 1e-300)
    if not np.isfinite(height).all() or values.min() + height.max() / 44 <= values.min():
        return None  # so wide or so narrow a range that levels in it are not numbers, or not apart
    if 30 * tenth < height.max() < 1e6 * tenth:
        norm = LogNorm(low, height.max())
        return Levels(np.geomspace(low, height.max(), 22), norm, least, low, "f - min f, in the box")
    return Levels(np.linspace(least, values.max(), 22), Normalize(least, values.max()), 0.0, -math.inf, "f")


def _contours(ax: Axes, landscape: Landscape, filled: bool) -> tuple[ContourSet, str] | None:
    found = levels_of(landscape)
    if found is None:
        return None
    z = np.ma.masked_invalid(landscape.z)
    shown = np.ma.maximum(z - found.floor, found.low) if found.logarithmic else z
    levels = found.levels
    if not filled:
        ax.contour(landscape.x, landscape.y, shown, levels=levels, colors="0.5", linewidths=0.5, linestyles="solid")
        return None
    painted = ax.contourf(landscape.x, landscape.y, shown, levels=levels, norm=found.norm, cmap=paper(),
                          extend="min" if found.logarithmic else "neither")  # fmt: skip
    ax.contour(landscape.x, landscape.y, shown, levels=levels, colors="white", linewidths=0.5, alpha=0.7,
               linestyles="solid")  # fmt: skip
    return painted, found.label


def _bar(figure: Figure, axes: Sequence[Axes], painted: ContourSet, label: str) -> None:
    bar = figure.colorbar(painted, ax=axes if len(axes) > 1 else axes[0], label=label, pad=0.02)
    bar.locator = LogLocator(numticks=9) if isinstance(painted.norm, LogNorm) else MaxNLocator(7)
    bar.minorlocator = NullLocator()
    bar.update_ticks()


def paper() -> Colormap:
    """The colours of surfaces beneath paths."""
    # pale, so that paths stand out; light where the loss is low, where the paths end
    return LinearSegmentedColormap.from_list("paper", colormaps["bone_r"](np.linspace(0.04, 0.62, 64)))


def recorded(curve: Columns, landscape: Landscape) -> Floats:
    """The recorded points of a run up to the step that leaves the box for good.

    Args:
        curve: the columns of a run.
        landscape: the surface.

    Returns:
        x0, x1, loss and step, a row each, (n, 4); x0, loss, loss and step on one coordinate. NaN is what was not
        recorded; empty where that is a coordinate.
    """
    columns = ["x0", "loss" if landscape.y is None else "x1", "loss", "step"]
    if any(column not in curve for column in columns[:2]):
        return np.empty((0, 4))
    unknown = np.full(len(curve["x0"]), math.nan)
    places = np.stack([curve.get(name, unknown) for name in columns], axis=1).astype(np.float64)
    path: Floats = np.clip(places, -1e150, 1e150)  # so that no product overflows
    path = path[~np.isnan(path[:, :2]).any(axis=1)]
    within = [i for i, point in enumerate(path) if landscape.inside(point[: len(landscape.box)].tolist())]
    return path[: within[-1] + 2 if within else 1]


def drawable(path: Floats, landscape: Landscape) -> Floats:
    """The places of recorded points, (n, 2); those far outside are pulled towards the box along their direction from
    its middle."""
    path = path[:, :2]
    second = _value_range(landscape) if landscape.y is None else landscape.box[1]
    low, high = np.array([landscape.box[0], second]).T
    away: Floats = (path - (low + high) / 2) / np.maximum(high - low, 1e-12)
    distance = np.abs(away).max(axis=1, keepdims=True)
    near: Floats = (low + high) / 2 + away * np.minimum(1.0, _FAR / np.maximum(distance, 1e-300)) * (high - low)
    return near


def _halo(width: float) -> list[Any]:
    return [Stroke(linewidth=width, foreground="white"), Normal()]


def _cells(path: Floats, size: Floats) -> set[tuple[int, int]]:
    """The cells of a grid that a polyline inside or near the box passes through; size: (2,) of a cell."""
    steps = np.abs(np.diff(path, axis=0)) / size
    cells: set[tuple[int, int]] = set(map(tuple, np.floor(path[-1:] / size).astype(int).tolist()))
    for a, b, n in zip(path, path[1:], np.ceil(steps.max(axis=1)).astype(int), strict=False):
        between = a + np.linspace(0.0, 1.0, max(1, min(int(n), 4 * round(1 / _NEARBY))), endpoint=False)[:, None] * (
            b - a
        )
        cells |= set(map(tuple, np.floor(between / size).astype(int).tolist()))
    return cells


def stripes(paths: Sequence[Floats], landscape: Landscape) -> tuple[list[int], list[bool]]:
    """How many of the later paths hide each path, passing over a good part of its cells; and who hides another.

    Where more paths than a palette has colours lie on one another, none counts as hidden: such stripes are no lines any
    more. Very many paths are not compared with each other: all count as hiding.
    """
    if len(paths) > _MANY:
        return [0] * len(paths), [True] * len(paths)
    second = _value_range(landscape) if landscape.y is None else landscape.box[1]
    low, high = np.array([landscape.box[0], second]).T
    size = _NEARBY * np.maximum(high - low, 1e-12)
    cells = [_cells(path, size) for path in paths]
    around = [{(i + di, j + dj) for i, j in c for di in (-1, 0, 1) for dj in (-1, 0, 1)} for c in cells]
    hides = [
        (index, later)
        for index, own in enumerate(cells)
        for later in range(index + 1, len(paths))
        if len(own & around[later]) > _COVERED * len(own)
    ]
    depth, above = Counter(index for index, _ in hides), {later for _, later in hides}
    if max(depth.values(), default=0) >= len(PALETTE):
        depth.clear()
    return [depth[index] for index in range(len(paths))], [index in above for index in range(len(paths))]


def draw_path(ax: Axes, path: Floats, style: dict[str, Any], depth: int = 0, above: bool = False) -> Artist:
    """Draws a path with its ends; returns the legend's handle.

    Args:
        ax: where.
        path: places, (n, 2).
        style: of the line.
        depth: how many later paths lie on it: it is drawn so much wider.
        above: whether it lies on another.
    """
    width = 1.4 + 3.2 * depth
    halo = [] if above else _halo(width + 1.2)  # it would eat the stripe beneath
    (line,) = ax.plot(path[:, 0], path[:, 1], linewidth=width, zorder=4, path_effects=halo, **style)
    if len(path) <= _DOTTED:
        ax.plot(path[:, 0], path[:, 1], ".", markersize=5 + 1.5 * depth, zorder=4, color=style["color"])
    for point, shape in zip((path[:1], path[-1:]), _TERMINALS.values(), strict=True):
        ax.scatter(point[:, 0], point[:, 1], s=(6.8 + 3.0 * depth) ** 2, marker=shape, color=style["color"],
                   edgecolors="white", zorder=6)  # fmt: skip
    handle: Artist = Line2D([], [], linewidth=1.8, **style) if depth else line
    return handle


def _place(mark: Mark, landscape: Landscape) -> tuple[float, float]:
    if landscape.y is None:
        return mark.x[0], float(np.interp(mark.x[0], landscape.x, landscape.z))
    return mark.x[0], mark.x[1]


def draw_marks(ax: Axes, landscape: Landscape, ends: bool = False, scale: float = 1.0) -> dict[str, Artist]:
    """Draws the critical points in the box, a shape for each type; returns the legend's handles.

    Args:
        ax: where.
        landscape: the surface.
        ends: whether paths end here: the star of a minimum is then above their ends, and too small to hide them.
        scale: of their areas.
    """
    found = counted(landscape)
    handles: dict[str, Artist] = {}
    shrink = scale * min(1.0, math.sqrt(_NUMBERED / max(1, sum(len(marks) for *_, marks in found))))
    for kind, name, marks in found:
        above, (shape, size) = ends and kind == "minimum", SHAPES[kind]
        places = np.array([_place(mark, landscape) for mark in marks])
        handles[name] = ax.scatter(places[:, 0], places[:, 1], s=shrink * (_SMALL_STAR if above else size),
                                   marker=shape, color="white", edgecolors="black", linewidths=0.9 * shrink,
                                   zorder=_ABOVE_ENDS if above else 5)  # fmt: skip
    return handles


def counted(landscape: Landscape) -> list[tuple[str, str, list[Mark]]]:
    """The critical points in the box by their type: the type, what the legend says of them, and the points."""
    inside = [mark for mark in landscape.points if landscape.inside(mark.x)]
    by_type = [(kind, [mark for mark in inside if mark.type == kind]) for kind in SHAPES]
    return [
        (kind, f"{len(marks)} {_PLURALS[kind]}" if len(marks) > 1 else kind, marks) for kind, marks in by_type if marks
    ]


def _curve(mark: Mark, value: float) -> tuple[str, str]:
    """Name and colour of one direction: only a degenerate point has eigenvalues whose sign is not sure."""
    size = abs(value) / (max(map(abs, mark.eigenvalues)) or 1.0)
    if value == 0 or (mark.type == "degenerate" and size <= _ZERO):
        return _CURVES[0]
    return _OPEN if mark.type == "degenerate" and size <= _NEAR else _CURVES[int(math.copysign(1, value))]


def _draw_directions(ax: Axes, landscape: Landscape) -> dict[str, Artist]:
    if landscape.y is None:
        return {}
    length = 0.07 * min(high - low for low, high in landscape.box)
    drawn: dict[str, Artist] = {}
    for mark in landscape.points:
        if not landscape.inside(mark.x):
            continue
        for value, vector in zip(mark.eigenvalues, mark.eigenvectors, strict=False):
            name, colour = _curve(mark, value)
            direction = length * np.asarray(vector, dtype=float) / (np.linalg.norm(vector) or 1.0)
            ends = np.array([mark.x - direction, mark.x + direction])
            ax.plot(ends[:, 0], ends[:, 1], color=colour, linewidth=2.0, zorder=4)
            drawn.setdefault(name, Line2D([], [], color=colour, linewidth=2.0))
    return drawn
