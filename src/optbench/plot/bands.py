"""Learning curves of repeated runs: of each configuration the median run at every moment, and its interval as a band.

What a run has at a moment is the last that was recorded of it until then. A run that has ended keeps what it ended
with, and one that diverged is the worst that there is from then on: it stays in the median, and no number looks better
because a run was lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench import metrics
from optbench.comparison import label_runs
from optbench.errors import UserError
from optbench.plot.curves import over_epochs, scale_loss
from optbench.plot.style import drawable, footnote, legend_outside, natural, new_figure, styles
from optbench.records import Run
from optbench.records.curves import Columns
from optbench.records.run import read_columns
from optbench.statistics import has_result

Floats = npt.NDArray[np.float64]
Series = tuple[Floats, Floats]

ALONG = {"step": "step", "epoch": "epoch", "seconds": "seconds of training"}
"""What a curve may be drawn over: a column of it, and the name of the axis."""
_MOST = 400  # moments of a line
_PANELS = {"loss": "loss", "val_loss": "validation loss", "val_accuracy": "validation accuracy, %"}


def band_curves(runs: Sequence[Run], labels: Sequence[str] | None = None, along: str = "step") -> Figure:
    """Loss over steps, epochs or seconds, below it validation loss and accuracy of networks: medians with bands.

    The loss of a network is the mean of the batches of an epoch, as `loss_curves` has it.

    Args:
        runs: at least one.
        labels: one a run; runs with the same label are one line. None: what differs.
        along: one of ALONG.

    Raises:
        UserError: not one of ALONG, or a run whose curve does not have it.
    """
    if along not in ALONG:
        raise UserError(f"curves over {along!r}: expected {', '.join(ALONG)}")
    labels = label_runs(runs) if labels is None else labels
    curves = read_columns(runs)
    _check(curves, along)
    names = [name for name in _PANELS if any(name in curve for curve in curves)]
    figure = new_figure(8.0, 1.0 + 2.3 * len(names))
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    look = styles(sorted(set(labels), key=natural))
    handles: dict[str, Artist] = {}
    members = {label: [i for i, one in enumerate(labels) if one == label] for label in look}
    for ax, name in zip(axes, names, strict=True):
        for label, own in members.items():
            series = [found for i in own if len((found := _series(runs[i], curves[i], name, along))[0])]
            if series:
                handles[label] = _draw(ax, series, look[label])
        if name != "val_accuracy":
            scale_loss(ax, [{"loss": curve[name]} for curve in curves if name in curve])
        ax.set_ylabel(_PANELS[name])
        ax.grid(True, alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(ALONG[along])
    legend_outside(figure, {label: handles[label] for label in look if label in handles})
    footnote(figure, _note({len(own) for own in members.values()}))
    return figure


def _note(sizes: set[int]) -> str:
    if max(sizes) == 1:
        return "each line: one run"
    each = f"{min(sizes)}" if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"
    return f"each line: median of {each} runs; band: its interval, at least 95 %, below 6 runs their range"


def _check(curves: Sequence[Columns], along: str) -> None:
    without = sum(along not in curve for curve in curves)
    if without:
        why = {"seconds": "rows of a batch have no clock of their own", "epoch": "a surface has no epochs"}[along]
        raise UserError(f"{without} of {len(curves)} runs have no {along} in their curve", why)


def _series(run: Run, curve: Columns, name: str, along: str) -> Series:
    """Moments, rising, and a column of a run's curve at them; infinite or NaN at the end of one without a result."""
    if name not in curve:
        return np.empty(0), np.empty(0)
    x, values = curve[along].astype(float), drawable(curve[name])
    if name == "loss" and "epoch" in curve:
        middles, means = over_epochs(curve["epoch"], x, values)
        if len(means) > 1:
            x, values = middles, means
    values = 100.0 * values if name == "val_accuracy" else values
    known = np.isfinite(values) & np.isfinite(x)
    x, values = x[known], values[known]
    if len(x) and not has_result(run.status):
        worst = -math.inf if name == "val_accuracy" else math.inf
        end = max(float(np.nanmax(curve[along].astype(float))), x[-1])
        x, values = np.append(x, np.nextafter(end, math.inf)), np.append(values, worst)
    return x, values


def _draw(ax: Axes, series: Sequence[Series], look: dict[str, Any]) -> Artist:
    """The median and its interval, from the moment at which every run has something."""
    moments = np.unique(np.concatenate([x for x, _ in series]))
    moments = moments[moments >= max(x[0] for x, _ in series)]
    if len(moments) > _MOST:
        moments = moments[np.unique(np.linspace(0, len(moments) - 1, _MOST).astype(int))]
    each = np.stack([values[np.searchsorted(x, moments, side="right") - 1] for x, values in series], axis=1)
    found = metrics.median_intervals(each)
    middle = drawable([one.value for one in found])
    (handle,) = ax.plot(moments, middle, linewidth=1.6, marker="." if len(moments) <= 40 else "", **look)
    if each.shape[1] > 1:
        low, high = (drawable([getattr(one, end) for one in found]) for end in ("low", "high"))
        finite = each[np.isfinite(each)]
        low = np.where(np.isnan(low), finite.min(initial=0.0), low)
        high = np.where(np.isnan(high), finite.max(initial=0.0), high)
        ax.fill_between(moments, low, high, where=np.isfinite(middle), color=look["color"], alpha=0.15, linewidth=0)
    return handle
