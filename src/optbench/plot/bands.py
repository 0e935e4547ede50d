"""Learning curves of repeated runs: of each configuration the median run at every moment, and its interval as a band.

The numbers are those of `comparison.learning`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.comparison import named_runs
from optbench.comparison.learning import ALONG, LOSSES, WITHOUT, Band, band, measures_in, series
from optbench.errors import UserError
from optbench.plot.blocks import blocks
from optbench.plot.curves import by_problem, scale_loss
from optbench.plot.style import footnote, legend_outside, styles
from optbench.records import Run
from optbench.records.curves import Columns
from optbench.records.run import read_columns

_OPACITY, _OVERLAID = 0.15, 6  # of a band; beyond so many, each is fainter, so that all of them are as dark together


def band_curves(
    runs: Sequence[Run],
    labels: Sequence[str] | None = None,
    along: str = "step",
    problems: Sequence[str] | None = None,
) -> Figure:
    """Loss over steps, evaluations, epochs or seconds, below it what validates networks: loss, metrics; medians. Each
    problem has axes of its own, in which the configuration that ends best is drawn last.

    The loss of a network is the mean of the batches of an epoch, as `loss_curves` has it.

    Args:
        runs: at least one.
        labels: one a run; runs of a problem with the same label are one line. None: what differs among them.
        along: one of ALONG.
        problems: the name of each run's problem, as `loss_curves` has it.

    Raises:
        UserError: not one of ALONG, or a run whose curve does not have it.
    """
    if along not in ALONG:
        raise UserError(f"curves over {along!r}: expected {', '.join(ALONG)}")
    if labels is None:
        problems, labels = zip(*named_runs(runs), strict=True)
    curves = read_columns(runs)
    _check(curves, along)
    look, handles, sizes = styles(labels), dict[str, Artist](), set[int]()
    members, titles = by_problem(problems, len(runs)), measures_in(curves)
    panels = {
        problem: [name for name in titles if any(name in curves[i] for i in own)] for problem, own in members.items()
    }
    figure, axes = blocks(panels, dict.fromkeys(titles, 1.0), 1.0 + 2.3 * max(map(len, panels.values())))
    for problem, by_name in axes.items():
        own = members[problem]
        groups = {label: [i for i in own if labels[i] == label] for label in look}
        groups = {label: these for label, these in groups.items() if these}
        sizes |= {len(these) for these in groups.values()}
        for name, ax in by_name.items():
            found = {
                label: [known for i in these if len((known := series(runs[i], curves[i], name, along))[0])]
                for label, these in groups.items()
            }
            handles |= _draw_all(ax, {label: band(each) for label, each in found.items() if each}, look, name)
            if name in LOSSES:
                scale_loss(ax, [{"loss": curves[i][name]} for i in own if name in curves[i]])
            ax.set_ylabel(titles[name])
        list(by_name.values())[-1].set_xlabel(ALONG[along])
    legend_outside(figure, {label: handles[label] for label in look if label in handles})
    footnote(figure, _note(sizes))
    return figure


def _draw_all(ax: Axes, lines: Mapping[str, Band], look: Mapping[str, dict[str, Any]], name: str) -> dict[str, Artist]:
    """Draws lines into the same axes, the best last; returns their handles."""
    better = 1.0 if name == "val_accuracy" else -1.0

    def ending(label: str) -> tuple[bool, float]:
        last = float(lines[label].middle[-1])
        return np.isfinite(last), better * last if np.isfinite(last) else 0.0

    opacity = _OPACITY * min(1.0, _OVERLAID / max(1, len(lines)))
    return {label: _draw(ax, lines[label], look[label], opacity) for label in sorted(lines, key=ending)}


def _note(sizes: set[int]) -> str:
    if max(sizes) == 1:
        return "each line: one run"
    each = f"{min(sizes)}" if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"
    return f"each line: median of {each} runs; band: its interval, at least 95 %, below 6 runs their range"


def _check(curves: Sequence[Columns], along: str) -> None:
    without = sum(along not in curve for curve in curves)
    if without:
        raise UserError(f"{without} of {len(curves)} runs have no {along} in their curve", WITHOUT[along])


def _draw(ax: Axes, line: Band, look: dict[str, Any], opacity: float) -> Artist:
    (handle,) = ax.plot(line.moments, line.middle, linewidth=1.6, marker="." if len(line.moments) <= 40 else "", **look)
    if line.low is not None and line.high is not None:
        ax.fill_between(line.moments, line.low, line.high, where=np.isfinite(line.middle), color=look["color"],
                        alpha=opacity, linewidth=0)  # fmt: skip
    return handle
