"""Curvature along training: why a run stopped getting better, told apart by gradient and eigenvalues.

The lecture's three answers to a loss that has gone flat are a gradient that is large all the same (the run bounces
between the walls of a valley), a saddle, and a minimum. What counts as a small gradient must not depend on how loss and
weights are scaled: one step of gradient descent of length 1 / max |lambda| is sure to lower a quadratic by
|g|^2 / (2 max |lambda|) at least, and the gradient is called small where that is less than 0.1 % of the whole fall that
the run has seen. A saddle has lambda_min below -0.1 % of the largest |lambda|. The figure says how a run looks at its
measured points; `optbench curvature` says how sure that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from optbench.comparison import label_runs
from optbench.errors import UserError
from optbench.plot.style import drawable, legend_outside, natural, new_figure, styles
from optbench.records import CURVATURE_COLUMNS, Run
from optbench.records.run import read_columns

Array = NDArray[np.float64]
State = Literal["large gradient", "saddle", "minimum"]

SMALL = 1e-3  # of the fall of the loss, of the largest |lambda|
_STATES: dict[State, tuple[str, str]] = {
    "large gradient": ("gradient large", "#cfe2f1"),
    "saddle": ("gradient small, curves down: a saddle", "#f9d3b4"),
    "minimum": ("gradient small, curves up or is flat: a minimum", "#c4e6d6"),
}
_STUCK = "loss no longer falls"


@dataclass(frozen=True)
class Span:
    """Steps that one measurement of the curvature stands for.

    Attributes:
        first, last: where it begins and ends: half-way to the measurements beside it.
        state: what the measurement says.
        stuck: the loss fell by less than 0.1 % of its whole fall below the best of the spans before.
    """

    first: float
    last: float
    state: State
    stuck: bool


def curvature_curves(runs: Sequence[Run], labels: Sequence[str] | None = None) -> Figure:
    """Loss, norm of the whole gradient, and both ends of the Hessian's spectrum over the steps, shaded by state.

    Args:
        runs: the runs; those without measurements are left out.
        labels: one a run; None: what differs.

    Raises:
        UserError: no run has any measurements.
    """
    labels = label_runs(runs) if labels is None else labels
    each = sorted(zip(labels, read_columns(runs), strict=True), key=lambda one: natural(one[0]))
    measured = [(label, curve) for label, curve in each if _is_measured(curve)]
    if not measured:
        raise UserError(
            f"no curvature was measured along {'this run' if len(runs) == 1 else 'these runs'}",
            "run again with trainer.curvature_every=10, or another number of steps between measurements",
        )
    alone = len(measured) == 1
    figure = new_figure(8.6, 6.6 if alone else 6.6 + 0.22 * len(measured))
    rows = [2.0, 1.3, 1.6] if alone else [2.0, 1.3, 1.6, 0.12 * len(measured) + 0.1]
    axes = figure.subplots(len(rows), 1, sharex=True, height_ratios=rows)
    style = styles([label for label, _ in measured])
    handles: dict[str, Artist] = {}
    states: dict[str, Artist] = {}
    for i, (label, curve) in enumerate(measured):
        handles[label] = _draw(axes[:3], curve, style[label])
        for span in spans(curve):
            for ax in axes if alone else axes[3:]:
                states |= _shade(ax, span, None if alone else i)
    _finish(axes, [style[label]["color"] for label, _ in measured])
    order = [*(name for name, _ in _STATES.values()), _STUCK]
    legend_outside(figure, handles | {name: states[name] for name in order if name in states})
    return figure


def spans(curve: Mapping[str, Any]) -> list[Span]:
    """What each measurement says, by the rule of this module.

    Args:
        curve: columns step, loss, lambda_min, lambda_max, full_grad_norm; rows without measurements hold NaN.
    """
    step, loss = np.asarray(curve["step"], dtype=float), drawable(curve["loss"])
    fall = float(np.nanmax(loss) - np.nanmin(loss)) if np.isfinite(loss).any() else 0.0
    rows = _measured(curve)
    at, low, high, norm = (np.asarray(curve[name], dtype=float)[rows] for name in ("step", *CURVATURE_COLUMNS))
    size = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(all="ignore"):
        promised = np.where(norm > 0, norm**2 / (2 * size), 0.0)
    edges = np.concatenate([at[:1], 0.5 * (at[1:] + at[:-1]), step[-1:]])
    found, best = [], np.inf
    for i in range(len(at)):
        state: State = "saddle" if low[i] < -SMALL * size[i] else "minimum"
        if not promised[i] <= SMALL * fall:
            state = "large gradient"
        inside = loss[(step >= edges[i]) & (step <= edges[i + 1])]
        typical = float(np.nanmedian(inside)) if np.isfinite(inside).any() else np.inf
        found.append(Span(float(edges[i]), float(edges[i + 1]), state, bool(i) and typical >= best - SMALL * fall))
        best = min(best, typical)
    return found


def _measured(curve: Mapping[str, Any]) -> NDArray[np.bool_]:
    """(steps,) which rows of a curve have a measurement."""
    known: NDArray[np.bool_] = ~np.isnan([np.asarray(curve[name], dtype=float) for name in CURVATURE_COLUMNS])
    return np.asarray(known.all(axis=0))


def _is_measured(curve: Mapping[str, Any]) -> bool:
    return set(CURVATURE_COLUMNS) <= set(curve) and bool(_measured(curve).any())


def _draw(axes: Sequence[Axes], curve: Mapping[str, Any], style: dict[str, Any]) -> Artist:
    step = np.asarray(curve["step"])
    (line,) = axes[0].plot(step, drawable(curve["loss"]), linewidth=1.0, **style)
    for ax, name, marker in zip(
        [axes[1], axes[2], axes[2]], ("full_grad_norm", "lambda_max", "lambda_min"), ".^v", strict=True
    ):
        values = drawable(curve[name])
        known = np.isfinite(values)
        ax.plot(step[known], values[known], linewidth=1.1, marker=marker, markersize=4.5, **style)
    handle: Artist = line
    return handle


def _shade(ax: Axes, span: Span, row: int | None) -> dict[str, Artist]:
    """Paints a span behind the curves, or as a piece of a row of its own; returns what the legend says of it."""
    name, colour = _STATES[span.state]
    style: dict[str, Any] = {"facecolor": colour, "linewidth": 0, "zorder": 0}
    if span.stuck:
        style |= {"hatch": "////", "edgecolor": "white"}
    if row is None:
        ax.axvspan(span.first, span.last, **style)
    else:
        ax.fill_between([span.first, span.last], row + 0.1, row + 0.9, **style)
    found: dict[str, Artist] = {name: Patch(facecolor=colour)}
    return found | ({_STUCK: Patch(facecolor="0.85", edgecolor="white", hatch="////")} if span.stuck else {})


def _finish(axes: Sequence[Axes], colours: Sequence[str]) -> None:
    """Scales and names of the axes."""
    for ax in axes[:2]:
        values = _drawn(ax)
        if values.size and values.min() > 0 and values.max() > 3 * values.min():
            ax.set_yscale("log")
    values = np.abs(_drawn(axes[2]))
    values = values[values > 0]
    if values.size and values.max() > 100 * (least := np.quantile(values, 0.1)):  # orders of magnitude, of both signs
        low, high = 2.0 * _drawn(axes[2]).min(), 2.0 * _drawn(axes[2]).max()
        axes[2].set_yscale("symlog", linthresh=max(float(least), 1e-4 * float(values.max())))
        axes[2].set_ylim(min(low, -least), max(high, least))
    axes[2].axhline(0.0, color="0.3", linewidth=0.8)
    names = ("loss", "gradient norm\nof the whole objective", r"$\lambda_{\max}$ ($\blacktriangle$), "
             r"$\lambda_{\min}$ ($\blacktriangledown$)")  # fmt: skip
    for ax, name in zip(axes, names, strict=False):
        ax.set_ylabel(name)
        ax.grid(True, alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[3:]:
        ax.set_ylim(len(colours), 0)
        ax.set_yticks(np.arange(len(colours)) + 0.5, ["\u25a0"] * len(colours))
        for mark, colour in zip(ax.get_yticklabels(), colours, strict=True):
            mark.set_color(colour)
        ax.tick_params(axis="y", length=0)
        ax.spines[:].set_visible(False)
    axes[-1].set_xlabel("step")


def _drawn(ax: Axes) -> Array:
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in ax.get_lines()]
    values: Array = np.concatenate([np.array([]), *lines])
    known: Array = values[np.isfinite(values)]
    return known
