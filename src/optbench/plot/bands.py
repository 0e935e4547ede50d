"""Learning curves of repeated runs: of each configuration the median run at every moment, and its interval as a band.

The numbers are those of `comparison.learning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.comparison import label_runs
from optbench.comparison.learning import ALONG, MEASURES, WITHOUT, Series, band, series
from optbench.errors import UserError
from optbench.plot.curves import scale_loss
from optbench.plot.style import footnote, legend_outside, natural, new_figure, styles
from optbench.records import Run
from optbench.records.curves import Columns
from optbench.records.run import read_columns


def band_curves(runs: Sequence[Run], labels: Sequence[str] | None = None, along: str = "step") -> Figure:
    """Loss over steps, evaluations, epochs or seconds, below it validation loss and accuracy of networks; medians.

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
    names = [name for name in MEASURES if any(name in curve for curve in curves)]
    figure = new_figure(8.0, 1.0 + 2.3 * len(names))
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    look = styles(sorted(set(labels), key=natural))
    handles: dict[str, Artist] = {}
    members = {label: [i for i, one in enumerate(labels) if one == label] for label in look}
    for ax, name in zip(axes, names, strict=True):
        for label, own in members.items():
            known = [found for i in own if len((found := series(runs[i], curves[i], name, along))[0])]
            if known:
                handles[label] = _draw(ax, known, look[label])
        if name != "val_accuracy":
            scale_loss(ax, [{"loss": curve[name]} for curve in curves if name in curve])
        ax.set_ylabel(MEASURES[name])
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
        raise UserError(f"{without} of {len(curves)} runs have no {along} in their curve", WITHOUT[along])


def _draw(ax: Axes, found: Sequence[Series], look: dict[str, Any]) -> Artist:
    line = band(found)
    (handle,) = ax.plot(line.moments, line.middle, linewidth=1.6, marker="." if len(line.moments) <= 40 else "", **look)
    if line.low is not None and line.high is not None:
        ax.fill_between(line.moments, line.low, line.high, where=np.isfinite(line.middle), color=look["color"],
                        alpha=0.15, linewidth=0)  # fmt: skip
    return handle
