"""Loss against learning rate, a curve a size, the optimum of each marked; the parametrisations side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optbench.plot.style import footnote, legend_outside, new_figure
from optbench.plot.translate import as_typed

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sized:
    """The curve of one size.

    Attributes:
        size: as the legend has it.
        losses: of each seed and rate, infinite without a result, (seeds, rates).
        best: the optimum, its interval's ends, and the loss there; None where there is none.
    """

    size: int
    losses: Floats
    best: tuple[float, float, float, float] | None


def transfer_figure(
    title: str, axis: str, loss: str, rates: Sequence[float], panels: Sequence[tuple[str, Sequence[Sized]]], note: str
) -> Figure:
    """A panel a parametrisation, on shared axes.

    Args:
        title: what was trained.
        axis: what sizes are of: width, depth, batch.
        loss: what the losses are.
        rates: ascending, (rates,).
        panels: name and curves of each.
        note: below the figure.
    """
    figure = new_figure(3.9 * len(panels) + 1.7, 4.1)
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    sizes = sorted({one.size for _, curves in panels for one in curves})
    shades = dict(zip(sizes, colormaps["viridis"](np.linspace(0.92, 0.0, len(sizes))), strict=True))
    handles: dict[str, Artist] = {}
    for ax, (name, curves) in zip(axes, panels, strict=True):
        for one in curves:
            handles[f"{axis} {one.size}"] = _curve(ax, np.asarray(rates), one, shades[one.size])
        ax.set_title(name, fontsize=10)
        ax.set_xscale("log")
        ax.set_xlabel("learning rate")
        ax.grid(True, alpha=0.25)
    shown = [np.median(one.losses, axis=0) for _, curves in panels for one in curves]
    _limits(axes[0], np.concatenate([one[np.isfinite(one)] for one in shown]) if shown else np.zeros(0))
    axes[0].set_ylabel(loss)
    as_typed(figure.suptitle(title, fontsize=11))
    handles["best, and its interval"] = Line2D([], [], color="0.3", marker="o", markersize=6, linewidth=2)
    legend_outside(figure, handles)
    footnote(figure, note)
    return figure


def _curve(ax: Axes, rates: Floats, one: Sized, color: npt.NDArray[np.float64]) -> Artist:
    median = np.median(one.losses, axis=0)
    finite = np.isfinite(median)
    low, high = (np.quantile(one.losses, q, axis=0, method="closest_observation") for q in (0.0, 1.0))
    whole = finite & np.isfinite(high)
    ax.fill_between(rates[whole], low[whole], high[whole], color=color, alpha=0.13, linewidth=0)
    (line,) = ax.plot(rates[finite], median[finite], color=color, linewidth=1.6)
    if one.best is not None:
        best, first, last, least = one.best
        ends = max(first, rates[0]), min(last, rates[-1])
        ax.plot(ends, [least, least], color=color, linewidth=2.2, alpha=0.8)
        ax.plot([best], [least], "o", color=color, markersize=6, markeredgecolor="white", zorder=3)
    return line


def _limits(ax: Axes, values: Floats) -> None:
    """A logarithmic axis where losses are positive and span a factor of 5; what is far above the rest leaves it."""
    if not values.size:
        return
    low, high = float(values.min()), float(np.quantile(values, 0.95))
    if low > 0 and high > 5 * low:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.3, high * 1.5)
    elif high > low:
        ax.set_ylim(low - 0.08 * (high - low), high + 0.15 * (high - low))
