"""How runs went: loss, accuracy and learning rate over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.comparison import label_runs
from optbench.plot.style import drawable, legend_outside, new_figure, styles
from optbench.records import Run, read_curves

if TYPE_CHECKING:
    import pandas as pd

_SMOOTHED_FROM = 200  # recorded steps; below, a curve of mini-batch losses is readable as it is
_FAR = 100.0  # how many times the largest starting loss is still shown
_FLAT = 1e-4  # of its size: the least that the axes of a loss span


def loss_curves(runs: Sequence[Run], labels: Sequence[str] | None = None) -> Figure:
    """Loss over steps; below it the validation accuracy of networks, and the learning rate where it changes.

    The loss axis is logarithmic where no loss is negative and the losses differ by more than a factor of 3; a diverged
    run leaves through the edge. Networks record the loss of single batches: long curves are drawn pale, with their
    rolling mean on top, and the validation loss in dots.

    Args:
        runs: the runs, at least one.
        labels: one a run; runs with the same label share a colour and a place in the legend. None: what differs.
    """
    labels = label_runs(runs) if labels is None else labels
    curves = read_curves(runs)
    panels = ["loss"]
    panels += ["val_accuracy"] if any("val_accuracy" in curve for curve in curves) else []
    panels += ["lr"] if any("lr" in curve and curve["lr"].nunique() > 1 for curve in curves) else []
    figure = new_figure(8.0, 2.6 + 1.7 * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=[2.2] + [1.0] * (len(panels) - 1))[
        :, 0
    ]
    style = styles(labels)
    handles: dict[str, Artist] = {}
    for label, curve in zip(labels, curves, strict=True):
        if "loss" in curve:
            handles.setdefault(label, _draw_loss(axes[0], curve, style[label], alone=len(runs) <= len(style)))
    _scale_loss(axes[0], curves)
    for ax, name in zip(axes[1:], panels[1:], strict=True):
        for label, curve in zip(labels, curves, strict=True):
            _draw_extra(ax, curve, name, style[label])
    axes[-1].set_xlabel("step")
    for ax in axes:
        ax.grid(True, alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    legend_outside(figure, handles)
    return figure


def _draw_loss(ax: Axes, curve: pd.DataFrame, style: dict[str, Any], alone: bool) -> Artist:
    step, loss = curve["step"].to_numpy(), drawable(curve["loss"])
    by_batch = "epoch" in curve and len(curve) >= _SMOOTHED_FROM
    if by_batch:
        ax.plot(step, loss, linewidth=0.6, alpha=0.25, **style)
        loss = _rolling_mean(loss, len(loss) // 50)
    (line,) = ax.plot(step, loss, linewidth=1.6 if alone else 1.1, alpha=1.0 if alone else 0.75, **style)
    if "val_loss" in curve:
        at = curve["val_loss"].notna().to_numpy()
        ax.plot(step[at], curve["val_loss"].to_numpy(dtype=float)[at], "o", markersize=3.5, color=style["color"])
    handle: Artist = line
    return handle


def _rolling_mean(values: np.ndarray, half: int) -> np.ndarray:
    # over the steps within `half` of each; at the ends over those that there are, gaps left out
    known = np.isfinite(values)
    sums = np.cumsum(np.concatenate([[0.0], np.where(known, values, 0.0)]))
    counts = np.cumsum(np.concatenate([[0], known]))
    i = np.arange(len(values))
    low, high = np.maximum(i - half, 0), np.minimum(i + half + 1, len(values))
    n = counts[high] - counts[low]
    return np.where(n > 0, (sums[high] - sums[low]) / np.maximum(n, 1), np.nan)


def _scale_loss(ax: Axes, curves: Sequence[pd.DataFrame]) -> None:
    losses = [drawable(curve["loss"]) for curve in curves if "loss" in curve]
    values = np.concatenate(losses) if losses else np.array([])
    values = values[np.isfinite(values)]
    ax.set_ylabel("training loss" if any("epoch" in c for c in curves) else "loss")
    if any("val_loss" in c for c in curves):
        ax.set_ylabel("loss: training (line), validation (dots)")
    if not values.size:
        return
    starts = [loss[np.isfinite(loss)][0] for loss in losses if np.isfinite(loss).any()]
    positive = values[values > 0]
    if values.min() >= 0 and positive.size and positive.max() > 3 * positive.min():
        ax.set_yscale("log", nonpositive="mask")
        top = _FAR * max(starts)
        if values.max() > top > positive.min():
            ax.set_ylim(positive.min() / 2, top)
        return
    reach = _FAR * max(1.0, *map(abs, starts))
    low, high = max(values.min(), min(starts) - reach), min(values.max(), max(starts) + reach)
    if (floor := _FLAT * max(abs(low), abs(high))) > high - low:  # its last digits would fill the axes
        ax.set_ylim((low + high - floor) / 2, (low + high + floor) / 2)
        return
    if (low, high) != (values.min(), values.max()):
        ax.set_ylim(low - 0.03 * (high - low), high)


def _draw_extra(ax: Axes, curve: pd.DataFrame, name: str, style: dict[str, Any]) -> None:
    ax.set_ylabel({"val_accuracy": "validation\naccuracy, %", "lr": "learning rate"}[name])
    if name not in curve:
        return
    at = curve[name].notna().to_numpy()
    scale, marker = (100.0, ".") if name == "val_accuracy" else (1.0, "")
    ax.plot(
        curve["step"].to_numpy()[at],
        scale * curve[name].to_numpy(dtype=float)[at],
        marker=marker,
        linewidth=1.3,
        **style,
    )
