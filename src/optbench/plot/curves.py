"""How runs went: loss, accuracy and learning rate over the steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optbench.comparison import named_runs
from optbench.comparison.learning import LOSSES, loss_scale, measures_in, over_epochs
from optbench.plot.blocks import blocks
from optbench.plot.style import drawable, legend_outside, styles
from optbench.records import Run
from optbench.records.curves import Columns
from optbench.records.run import read_columns

_MARKED = 40  # epochs; of fewer each has a dot on the line
_VALIDATION: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linestyle": "--", "linewidth": 1.0}
_BEST: dict[str, Any] = {
    "marker": "*",
    "markersize": 11,
    "linestyle": "",
    "markeredgecolor": "black",
    "markeredgewidth": 0.6,
}
_MEANINGS: dict[str, dict[str, Any]] = {
    "training: mean over an epoch": {"linestyle": "-", "linewidth": 1.6},
    "training: each batch": {"linestyle": "-", "linewidth": 0.6, "alpha": 0.4},
    "validation": _VALIDATION,
    "best epoch on validation": _BEST,
}
"""What the lines and marks of networks mean, by name, in grey."""


_LOSS_HEIGHT = 2.2  # of the panel of the loss, beside the others'
_ENOUGH = 30  # runs of a problem; beyond, lines are thinner


def loss_curves(
    runs: Sequence[Run], labels: Sequence[str] | None = None, problems: Sequence[str] | None = None
) -> Figure:
    """Loss over steps; below it the accuracies and metrics of networks, and the learning rate where it changes. Each
    problem has axes of its own.

    The loss axis is logarithmic where no loss is negative and the losses differ by more than a factor of 3; a diverged
    run leaves through the edge. Of networks the line is the mean of the batch losses of an epoch, in the middle of the
    epoch, where it belongs: it is measured on weights that move meanwhile. The losses of single batches are pale behind
    it where one run is drawn, and all there is within the first epoch. Beside it the validation loss, with a star at
    the best epoch: that of best.pt.

    Args:
        runs: the runs, at least one.
        labels: one a run; runs with the same label share a colour and a place in the legend. None: what differs among
            the runs of a problem.
        problems: the name of each run's problem. None: as the runs have them, or all the same where labels are given.
    """
    if labels is None:
        problems, labels = zip(*named_runs(runs), strict=True)
    curves, style = read_columns(runs), styles(labels)
    members = by_problem(problems, len(runs))
    panels = {problem: _panels([curves[i] for i in own]) for problem, own in members.items()}
    rows = max(map(len, panels.values()))
    heights = dict.fromkeys(("loss", *measures_in(curves), "lr"), 1.0) | {"loss": _LOSS_HEIGHT}
    figure, axes = blocks(panels, heights, 2.6 + 1.7 * rows)
    handles: dict[str, Artist] = {}
    for problem, own in axes.items():
        these = [(runs[i], labels[i], curves[i]) for i in members[problem]]
        handles |= _draw_problem(own, these, style)
    drawn = [ax for own in axes.values() for ax in own.values()]
    legend_outside(figure, _meanings(drawn) | {label: handles[label] for label in style if label in handles})
    return figure


def by_problem(problems: Sequence[str] | None, n: int) -> dict[str, list[int]]:
    """The places of the runs of each problem, of n runs; None: all are of one."""
    names = [""] * n if problems is None else problems
    return {problem: [i for i, name in enumerate(names) if name == problem] for problem in dict.fromkeys(names)}


def _panels(curves: Sequence[Columns]) -> list[str]:
    panels = ["loss"]
    panels += [name for name in measures_in(curves) if name not in LOSSES]
    return panels + (["lr"] if any("lr" in curve and _changes(curve["lr"]) for curve in curves) else [])


def _draw_problem(
    axes: Mapping[str, Axes], of: Sequence[tuple[Run, str, Columns]], style: Mapping[str, dict[str, Any]]
) -> dict[str, Artist]:
    """Draws runs, their labels and curves into the panels of their problem; returns the legend's handles."""
    titles = measures_in(curve for *_, curve in of)
    handles: dict[str, Artist] = {}
    ordered = sorted(of, key=lambda one: -_ending(one[2]))
    for run, label, curve in ordered:  # the best above the others
        if "loss" in curve:
            few = len(of) <= len({name for _, name, _ in of})
            handles.setdefault(label, _draw_loss(axes["loss"], curve, style[label], few, len(of)))
            _draw_validation(axes["loss"], curve, "val_loss", style[label], _best_step(run, curve))
    scale_loss(axes["loss"], [curve for *_, curve in of])
    for name, ax in list(axes.items())[1:]:
        for run, label, curve in ordered:
            _draw_extra(ax, curve, name, titles.get(name, "learning rate"), style[label], _best_step(run, curve))
    list(axes.values())[-1].set_xlabel("step")
    return handles


def _ending(curve: Columns) -> float:
    """The last loss of a curve; infinite where it is no number, or there is none."""
    last = float(curve["loss"][-1]) if "loss" in curve and len(curve["loss"]) else math.inf
    return last if math.isfinite(last) else math.inf


def _meanings(axes: Iterable[Axes]) -> dict[str, Artist]:
    """What the lines and marks that networks have stand for."""
    drawn = {line.get_gid() for ax in axes for line in ax.lines}
    return {name: Line2D([], [], color="0.45", **look) for name, look in _MEANINGS.items() if name in drawn}


def _changes(values: Any) -> bool:
    """Whether a column has two values."""
    return len(np.unique(values[~np.isnan(values)])) > 1


def _draw_loss(ax: Axes, curve: Columns, style: dict[str, Any], few: bool, n: int) -> Artist:
    step, loss = curve["step"].astype(float), drawable(curve["loss"])
    look: dict[str, Any] = {"linewidth": 1.6 if few else 1.1 if n <= _ENOUGH else 0.8, "alpha": 1.0 if few else 0.75}
    if "epoch" in curve:
        mean, batch, *_ = _MEANINGS
        middles, means = over_epochs(curve["epoch"], step, loss)
        if len(means) < 2:
            look["gid"] = batch
        else:
            if n == 1:
                ax.plot(step, loss, linewidth=0.6, alpha=0.25, gid=batch, **style)
            step, loss = middles, means
            look |= {"gid": mean, "marker": "." if len(means) <= _MARKED else ""}
    (line,) = ax.plot(step, loss, **look, **style)
    handle: Artist = line
    return handle


def _best_step(run: Run, curve: Columns) -> float | None:
    """The step of a network's best evaluation: as recorded, else by the curve; None where there was none."""
    recorded = run.summary.get("best_val_step")
    if recorded is not None or "val_loss" not in curve:
        return recorded
    columns = [name for name in ("val_accuracy", "val_loss") if name in curve]
    known = ~np.isnan([curve[name] for name in columns]).any(axis=0)
    worse = [(1.0 if name == "val_loss" else -1.0) * curve[name][known] for name in columns]
    return float(curve["step"][known][np.lexsort(worse[::-1])[0]]) if known.any() else None


def _draw_validation(ax: Axes, curve: Columns, name: str, style: dict[str, Any], best: float | None) -> None:
    """A column of evaluations as a dashed line with dots, and a star at the best one."""
    if name not in curve:
        return
    step, values = curve["step"].astype(float), drawable(curve[name])
    values = 100.0 * values if name == "val_accuracy" else values
    at = np.isfinite(values)
    ax.plot(step[at], values[at], gid="validation", color=style["color"], **_VALIDATION)
    if best is not None and (here := at & (step == best)).any():
        ax.plot(
            step[here][:1], values[here][:1], gid="best epoch on validation", color=style["color"], zorder=5, **_BEST
        )


def scale_loss(ax: Axes, curves: Sequence[Columns]) -> None:
    """The axis of the losses of some curves: logarithmic or not, and so far that one that diverged does not fill it."""
    scale = loss_scale([curve["loss"] for curve in curves if "loss" in curve])
    ax.set_ylabel("loss")
    if scale.log:
        ax.set_yscale("log", nonpositive="mask")
    if scale.limits:
        ax.set_ylim(*scale.limits)


def _draw_extra(ax: Axes, curve: Columns, name: str, title: str, style: dict[str, Any], best: float | None) -> None:
    ax.set_ylabel("accuracy, %" if name == "val_accuracy" else title.removeprefix("validation "))
    if name != "lr":
        _draw_validation(ax, curve, name, style, best)
        if (
            name == "val_accuracy" and "train_accuracy" in curve
        ):  # stands in the row that ends its epoch; it belongs in the middle, as the loss
            at = ~np.isnan(curve["train_accuracy"])
            end = curve["step"].astype(float)[at]
            middle = end - np.diff(end, prepend=0.0) / 2
            ax.plot(middle, 100.0 * curve["train_accuracy"][at], linewidth=1.3, **style)
    elif name in curve:
        at = ~np.isnan(curve[name])
        ax.plot(curve["step"][at], curve[name][at], linewidth=1.3, **style)
