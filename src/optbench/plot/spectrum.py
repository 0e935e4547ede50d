"""The spectrum of a Hessian, and how its ends moved while a network was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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


def curvature_curves(curves: Sequence[Mapping[str, Array]], labels: Sequence[str], title: str = "") -> Figure:
    """Loss, gradient norm and smallest eigenvalue over the steps: why a run stopped getting better.

    A flat loss with a large gradient is not at a critical point; a small gradient with lambda_min < 0 is at a saddle; a
    small gradient with lambda_min near 0 or above is in a minimum or a flat valley.

    Args:
        curves: one a run: `step`, `loss`, and, where they were measured, `full_grad_norm`, `lambda_min` and
            `lambda_max`; NaN where they were not.
        labels: one a run.
        title: of the figure.
    """
    figure = new_figure(8.0, 6.4)
    axes = figure.subplots(3, 1, sharex=True)
    for i, (curve, label) in enumerate(zip(curves, labels, strict=True)):
        colour = PALETTE[i % len(PALETTE)]
        axes[0].plot(curve["step"], curve["loss"], color=colour, linewidth=1.0, alpha=0.8, label=label)
        for ax, name in zip(axes[1:], ("full_grad_norm", "lambda_min"), strict=True):
            values = np.asarray(curve.get(name, np.full(len(curve["step"]), np.nan)), dtype=float)
            at = np.isfinite(values)
            ax.plot(np.asarray(curve["step"])[at], values[at], ".-", color=colour, linewidth=1.2, markersize=5)
    for ax in axes[:2]:
        if _positive(ax):
            ax.set_yscale("log")
    axes[2].axhline(0.0, color="0.4", linewidth=0.8)
    _scale_signed(axes[2])
    for ax, name in zip(axes, ("loss", "gradient norm\nof the whole objective", r"$\lambda_{\min}$"), strict=True):
        ax.set_ylabel(name)
        ax.grid(True, alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    axes[2].set_xlabel("step")
    axes[0].set_title(title, fontsize=10)
    if len(labels) > 1:
        axes[0].legend(frameon=False, fontsize=9)
    return figure


def _values(ax: Axes) -> Array:
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in ax.get_lines()]
    values: Array = np.concatenate([np.array([]), *lines])
    known: Array = values[np.isfinite(values)]
    return known


def _positive(ax: Axes) -> bool:
    values = _values(ax)
    return bool(values.size) and bool((values > 0).all()) and bool(values.max() > 3 * values.min())


def _scale_signed(ax: Axes) -> None:
    # eigenvalues change by orders of magnitude on both sides of zero
    values = np.abs(_values(ax))
    values = values[values > 0]
    if values.size and values.max() > 100 * np.median(values):
        ax.set_yscale("symlog", linthresh=float(np.median(values)))
