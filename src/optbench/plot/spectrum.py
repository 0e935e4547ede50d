"""The spectrum of a Hessian."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from optbench.plot.style import PALETTE, new_figure

_LEAST = 1e-12  # of the density's peak: the axis ends there at the latest
_LINEAR = 0.5  # decades that the linear part takes on either side of zero
_NEGATIVE, _POSITIVE = PALETTE[1], PALETTE[0]

Array = NDArray[np.float64]


def spectral_density(
    grid: Array,
    density: Array,
    ends: tuple[float, float],
    tau: float,
    title: str = "",
) -> Figure:
    """Spectral density over lambda: linear within tau of zero, logarithmic beyond, on both sides.

    Args:
        grid: lambda, (m,), ascending.
        density: share of the eigenvalues per unit of lambda, (m,).
        ends: smallest and largest eigenvalue, marked.
        tau: |lambda| <= tau counts as zero; shaded.
        title: of the figure.
    """
    figure = new_figure(8.0, 4.2)
    ax = figure.subplots()
    tau = tau or 1.0
    ax.set_xscale("symlog", linthresh=tau, linscale=_LINEAR)
    ax.set_yscale("log")
    top = float(density.max())
    # low enough to show a single eigenvalue at either end
    floor = float(np.clip(np.interp(ends, grid, density).min() / 5, _LEAST * top, 1e-4 * top))
    ax.axvspan(-tau, tau, color="0.92", linewidth=0, label="counted as zero")
    shown = np.where(density > floor, density, np.nan)
    for where, colour, name in ((grid <= 0, _NEGATIVE, "negative"), (grid >= 0, _POSITIVE, "positive")):
        ax.fill_between(grid, floor, shown, where=where, color=colour, alpha=0.25, linewidth=0)
        ax.plot(grid[where], shown[where], color=colour, linewidth=1.4, label=f"{name} curvature")
    for end, name, side in zip(ends, ("min", "max"), (-1, 1), strict=True):
        ax.axvline(end, color="0.2", linestyle="--", linewidth=1.0)
        ax.annotate(
            rf"$\lambda_{{\mathrm{{{name}}}}}$ = {end:.3g}", (end, 1.0), xycoords=("data", "axes fraction"),
            xytext=(4 * side, -4), textcoords="offset points", ha="left" if side > 0 else "right", va="top", fontsize=9,
        )  # fmt: skip
    ax.set_ylim(floor, 5 * top)
    _room_for_labels(ax, ends, tau)
    ax.set_xlabel(r"eigenvalue $\lambda$ of the Hessian")
    ax.set_ylabel("share of eigenvalues\nper unit")
    ax.set_title(title, fontsize=10)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    ax.grid(True, alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _room_for_labels(ax: Axes, ends: tuple[float, float], tau: float) -> None:
    """Sides of the axis: beyond the ends by enough for what is written there."""
    low, high = ends
    left, right = min(20 * low, -5 * tau), max(20 * high, 5 * tau)
    ax.set_xlim(left, right)
    first = math.ceil(math.log10(tau) + 0.3)  # nearer to zero, the labels would cover each other
    powers = 10.0 ** np.arange(first, math.floor(math.log10(max(-left, right))) + 1)
    powers = powers[:: 1 + len(powers) // 7]
    ax.set_xticks([-p for p in powers[::-1] if -p >= left] + [0.0] + [p for p in powers if p <= right])
    ax.minorticks_off()
