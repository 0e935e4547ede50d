"""The loss of networks on a line or a plane through their weights; plain arrays in, a figure out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, ScalarFormatter

from optbench.plot.landscape import draw_path, paper
from optbench.plot.style import PALETTE, footnote, legend_outside, natural, new_figure, styles
from optbench.plot.translate import as_typed

Floats = npt.NDArray[np.float64]

_LEVELS = 24
_RATIO = 3.0  # losses that differ by more have a logarithmic scale
_FAR = 1e6  # times the least: what is higher is drawn as if it were that high
_CHORD: dict[str, Any] = {"color": "0.55", "linestyle": (0, (1, 1.5)), "linewidth": 1.0}
_NAMES = {"train": "training", "validation": "validation", "f": "f"}
_FEW = 300.0  # times the least: powers of ten alone would be too few numbers beside a colour bar
_BESIDE = 0.012  # of the line
_MARK = 90  # area of the star of a checkpoint


class Shadow(Protocol):
    """The path of a run on a plane, as `slices.plane.Path`: name, places (k, 2), share of the path that is in it."""

    @property
    def name(self) -> str: ...
    @property
    def places(self) -> Floats: ...
    @property
    def share(self) -> float: ...


def line_figure(
    alphas: Floats,
    losses: Mapping[str, Floats],
    accuracies: Mapping[str, Floats],
    barriers: Mapping[str, tuple[float, float]],
    ends: tuple[str, str],
    notes: Sequence[str] = (),
) -> Figure:
    """The loss on a straight line, and below it the accuracy where there is one; dotted the chord of the ends, from
    which the barrier is measured, an arrow at its highest.

    Args:
        alphas: (m,), from 0 to 1.
        losses: (m,) by split.
        accuracies: (m,) by split, in [0, 1].
        barriers: height and alpha by split.
        ends: what they are called.
        notes: to stand below the figure.
    """
    rows = 2 if accuracies else 1
    figure = new_figure(7.5, 3.4 + 1.6 * (rows - 1))
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=[2.0, 1.0][:rows])[:, 0]
    handles: dict[str, Artist] = {}
    for beside, (colour, (split, values)) in enumerate(zip(PALETTE, losses.items(), strict=False)):
        (line,) = axes[0].plot(alphas, values, color=colour, marker=".", markersize=4, linewidth=1.6)
        height, at = barriers[split]
        handles[f"{_NAMES.get(split, split)}: barrier {height:.3g}"] = line
        chord = (1.0 - alphas) * values[0] + alphas * values[-1]
        axes[0].plot(alphas, chord, **_CHORD)
        if height > 0 and math.isfinite(height):
            low, high = np.interp(at, alphas, chord), np.interp(at, alphas, values)
            place = at + _BESIDE * beside  # so that one arrow does not hide the other
            arrow = {"arrowstyle": "<->", "color": colour, "lw": 1.0, "shrinkA": 0, "shrinkB": 0}
            axes[0].annotate("", (place, high), (place, low), arrowprops=arrow)
        if split in accuracies:
            axes[1].plot(alphas, 100.0 * accuracies[split], color=colour, marker=".", markersize=4, linewidth=1.4)
    handles["chord of the ends"] = Line2D([], [], **_CHORD)
    axes[0].set_ylabel("f" if set(losses) == {"f"} else "loss")
    if rows == 2:
        axes[1].set_ylabel("accuracy, %")
    axes[-1].set_xlabel(r"$\alpha$")
    for ax in axes:
        ax.grid(True, alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    for side, name in zip(("left", "right"), ends, strict=True):
        as_typed(axes[0].set_title(name, fontsize=9, loc=side), whole=True)
    legend_outside(figure, handles)
    footnote(figure, "barrier: the highest rise of the loss above the chord of its ends (Entezari et al. 2022)")
    for note in notes:
        footnote(figure, note)
    return figure


def plane_figure(
    x: Floats,
    y: Floats,
    z: Floats,
    paths: Sequence[Shadow],
    marks: Mapping[str, tuple[float, float]],
    labels: tuple[str, str],
    split: str,
    notes: Sequence[str] = (),
) -> Figure:
    """The loss on a plane as contours, on a logarithmic scale where no loss is 0 or negative, with the shadows of
    training paths and, in the legend, the share of each path that the plane explains.

    Args:
        x, y: (m,) coordinates, ascending.
        z: (m, m), z[j, i] at (x[i], y[j]); what is not finite is left white.
        paths: what runs left on it.
        marks: checkpoints by name; there is a star.
        labels: of the axes.
        split: whose loss it is.
        notes: to stand below the figure.
    """
    figure = new_figure(8.6, 5.6)
    ax = figure.subplots()
    _contours(figure, ax, x, y, z, f"{_NAMES.get(split, split)} loss")
    look = styles(path.name for path in paths)
    handles: dict[str, Artist] = {}
    for path in sorted(paths, key=lambda one: natural(one.name)):
        share = "" if math.isnan(path.share) else f" ({100 * path.share:.3g} % of its path)"
        handle = draw_path(ax, path.places, look[path.name])
        handles[f"{path.name}{share}"] = handle
    places = np.array(list(marks.values()))
    handles["checkpoint"] = ax.scatter(places[:, 0], places[:, 1], s=_MARK, marker="*", color="white",
                                       edgecolors="black", linewidths=0.9, zorder=6.5)  # fmt: skip
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.set_aspect("equal")
    legend_outside(figure, handles)
    for note in notes:
        footnote(figure, note)
    return figure


def _contours(figure: Figure, ax: Axes, x: Floats, y: Floats, z: Floats, label: str) -> None:
    finite = z[np.isfinite(z)]
    if not finite.size or finite.max() <= finite.min():
        return
    low, high = float(finite.min()), float(finite.max())
    log = low > 0 and high > _RATIO * low
    high = min(high, _FAR * low) if log else high
    levels = np.geomspace(low, high, _LEVELS) if log else np.linspace(low, high, _LEVELS)
    shown = np.ma.masked_invalid(np.minimum(z, high))
    norm = LogNorm(low, high) if log else Normalize(low, high)
    painted = ax.contourf(x, y, shown, levels=levels, norm=norm, cmap=paper())
    ax.contour(x, y, shown, levels=levels, colors="white", linewidths=0.5, alpha=0.7, linestyles="solid")
    bar = figure.colorbar(painted, ax=ax, label=label, pad=0.02)
    few = log and high < _FEW * low
    bar.locator = LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=9) if log else MaxNLocator(7)
    bar.minorlocator = NullLocator()
    if few:
        bar.formatter = ScalarFormatter()
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.update_ticks()
