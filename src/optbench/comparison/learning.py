"""Learning curves of repeated runs: of each configuration the median run at every moment, and its interval as a band.

What a run has at a moment is the last that was recorded of it until then. A run that has ended keeps what it ended
with, and one that diverged is the worst that there is from then on: it stays in the median, and no number looks better
because a run was lost. These are plain numbers; figures and pages draw them.

A line has fewer moments than were recorded where an eye cannot tell: of each stretch of moments the two at which its
median is lowest and highest (min-max). Every number of a line is one that was computed, at a moment that was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optbench import metrics
from optbench.records import Run, Status
from optbench.records.columns import Floats, Ints
from optbench.records.curves import Columns
from optbench.statistics import STATISTICS, has_result

Series = tuple[Floats, Floats]
"""Moments, rising, and what a run has from each of them on."""

ALONG = {"step": "step", "evals": "evaluations", "epoch": "epoch", "seconds": "seconds of training"}
"""What a curve may be drawn over: a column of it, and the name of the axis."""
WITHOUT = {
    "evals": "evaluations are not in these curves",
    "seconds": "rows of a batch have no clock of their own",
    "epoch": "a surface has no epochs",
}
"""Why a curve may not have one of them."""
MEASURES = {"loss": "loss", "val_loss": "validation loss", "val_accuracy": "validation accuracy, %"}
LOSSES = ("loss", "val_loss")
"""Of these, those whose axis may be logarithmic."""
MOST = 400  # moments of a line
_AT_ONCE = 4_000_000  # numbers of a line whose moments are all looked at
_LARGEST = 1e100  # no axis reaches it; beyond, the arithmetic of those who draw overflows
_FAR = 100.0  # how many times the largest starting loss is still shown
_FLAT = 1e-4  # of its size: the least that the axes of a loss span


@dataclass(frozen=True)
class Band:
    """A line: the median of some runs and its interval.

    Attributes:
        moments: (m,), rising, from the moment at which every run has something.
        middle: (m,) medians; NaN where it is infinite.
        low, high: (m,) the interval, cut to the finite numbers of the runs; None of one run.
    """

    moments: Floats
    middle: Floats
    low: Floats | None
    high: Floats | None


@dataclass(frozen=True)
class Scale:
    """The axis of some losses: logarithmic or not, and between which values; None: as the numbers need."""

    log: bool
    limits: tuple[float, float] | None


def measures_in(curves: Iterable[Columns]) -> dict[str, str]:
    """Columns of some curves that are drawn, with what their axis is called: MEASURES, and metrics."""
    names = dict.fromkeys(name for curve in curves for name in curve)
    metrics = (name for name in names if name.startswith("val_") and name not in MEASURES)
    known = {name: title for name, title in MEASURES.items() if name in names}
    return known | {name: f"validation {name.removeprefix('val_')}" for name in metrics}


def drawable(values: Any) -> Floats:
    """Numbers as an axis takes them: gaps where they are not finite, the largest cut."""
    values = np.asarray(values, dtype=float)
    return np.where(np.isfinite(values), np.clip(values, -_LARGEST, _LARGEST), np.nan)


def over_epochs(epoch: Floats, step: Floats, loss: Floats) -> tuple[Floats, Floats]:
    """For each epoch with a loss, the mean of its steps and of its losses; of one that is not over, so far."""
    known = np.isfinite(loss) & np.isfinite(epoch)
    number = np.floor(epoch[known] + 1e-9).astype(int)
    which, place = np.unique(number, return_inverse=True)
    count = np.bincount(place, minlength=len(which))
    return (np.bincount(place, step[known]) / count, np.bincount(place, loss[known]) / count)


def series(run: Run, curve: Columns, name: str, along: str) -> Series:
    """Moments, rising, and a column of a run's curve at them; infinite at the end of one without a result.

    Args:
        run, curve: the run and what was recorded of it.
        name: of the column; the loss of a network is the mean of the batches of an epoch, an accuracy is in %. Of a run
            without a result the end is the worst there is, by the direction that `statistics` has of it.
        along: one of ALONG; empty where the curve lacks either.
    """
    return all_series([run.status], [curve], name, along)[0]


def all_series(statuses: Sequence[Status], curves: Sequence[Columns], name: str, along: str) -> list[Series]:
    """`series` of each of some runs: how each ended, and what was recorded of it."""
    found: list[Series] = [(np.empty(0), np.empty(0))] * len(curves)
    at = [place for place, curve in enumerate(curves) if name in curve and along in curve]
    if not at:
        return found
    x = np.concatenate(
        [curves[place][along].astype(float) for place in at]
    )  # one behind the other: there are thousands
    values = drawable(np.concatenate([np.asarray(curves[place][name], dtype=float) for place in at]))
    known = np.isfinite(values) & np.isfinite(x)
    gaps, start = not known.all(), 0
    for place, end in zip(at, np.cumsum([len(curves[place][along]) for place in at]).tolist(), strict=True):
        curve, here, start = curves[place], slice(start, end), end
        own, there, kept = x[here], values[here], known[here]
        if name == "loss" and "epoch" in curve:
            middles, means = over_epochs(curve["epoch"], own, there)
            if len(means) > 1:
                own, there, kept = middles, means, np.isfinite(means) & np.isfinite(middles)
        if gaps:
            own, there = own[kept], there[kept]
        found[place] = own, 100.0 * there if name == "val_accuracy" else there
        if len(own) and not has_result(statuses[place]):
            found[place] = _lost(*found[place], name, float(np.nanmax(x[here])))
    return found


def _lost(x: Floats, values: Floats, name: str, last: float) -> Series:
    """The series of a run without a result, which was recorded up to a last moment."""
    score = STATISTICS.get(name)
    worst = -np.inf if score is not None and score.direction > 0 else np.inf
    end = max(last, x[-1])
    return np.append(x, np.nextafter(end, np.inf)), np.append(values, worst)


def band(found: Sequence[Series], most: int = MOST) -> Band:
    """The median of some runs and its interval, from the moment at which every run has something.

    Args:
        found: one a run, none of them empty.
        most: moments of the line.
    """
    moments = np.unique(np.concatenate([x for x, _ in found]))
    moments = moments[moments >= max(x[0] for x, _ in found)]
    if len(moments) * len(found) > _AT_ONCE:
        moments = moments[np.unique(np.linspace(0, len(moments) - 1, _AT_ONCE // len(found) + 2).astype(int))]
    each = _at(found, moments)
    if len(moments) > most:
        with np.errstate(invalid="ignore"):
            kept = extremes(np.median(each, axis=1), most)
        moments, each = moments[kept], each[kept]
    middles = metrics.median_intervals(each)
    middle = drawable([one.value for one in middles])
    if each.shape[1] == 1:
        return Band(moments, middle, None, None)
    low, high = (drawable([getattr(one, end) for one in middles]) for end in ("low", "high"))
    finite = each[np.isfinite(each)]
    low = np.where(np.isnan(low), finite.min(initial=0.0), low)
    high = np.where(np.isnan(high), finite.max(initial=0.0), high)
    return Band(moments, middle, low, high)


def _at(found: Sequence[Series], moments: Floats) -> Floats:
    """What each run has at each moment, (m, runs)."""
    return np.stack([values[np.searchsorted(x, moments, side="right") - 1] for x, values in found], axis=1)


def extremes(values: npt.NDArray[np.float64], most: int) -> Ints:
    """At most so many positions, rising: the ends, and of each of some stretches those of its least and largest value.

    Half of the stretches are equally long and half begin at equal ratios, so that nothing is lost on a logarithmic
    axis either.

    Args:
        values: (n,).
        most: 8 or more.
    """
    n, half = len(values), max(most - 2, 6) // 4
    if n <= most:
        return np.arange(n)
    even, ratio = np.linspace(0, n, half + 1)[:-1], np.geomspace(1, n, half + 1)[:-1]
    starts = np.unique(np.concatenate([[0.0], even, ratio]).astype(np.int64))
    stretch = np.repeat(np.arange(len(starts)), np.diff(starts, append=n))
    order = np.lexsort((np.nan_to_num(values, nan=np.inf), stretch))
    ends = np.append(starts[1:], n) - 1
    return np.unique(np.concatenate([[0], order[starts], order[ends], [n - 1]]))


def loss_scale(losses: Sequence[Any]) -> Scale:
    """The axis of the losses of some runs, which reaches so far that one that diverged does not fill it.

    Args:
        losses: one array a run.
    """
    drawn = drawable(np.concatenate([np.empty(0), *losses]))
    finite = np.flatnonzero(np.isfinite(drawn))
    if not len(finite):
        return Scale(False, None)
    values, ends = drawn[finite], np.cumsum(list(map(len, losses)))
    first = np.searchsorted(finite, np.concatenate([[0], ends[:-1]]))  # of the numbers of each that are finite
    starts = values[first[first < np.searchsorted(finite, ends)]].tolist()
    positive = values[values > 0]
    if values.min() >= 0 and positive.size and positive.max() > 3 * positive.min():
        top = _FAR * max(starts)
        return Scale(True, (float(positive.min()) / 2, top) if values.max() > top > positive.min() else None)
    reach = _FAR * max([1.0, *map(abs, starts)])
    low, high = max(float(values.min()), min(starts) - reach), min(float(values.max()), max(starts) + reach)
    if (floor := _FLAT * max(abs(low), abs(high))) > high - low:  # its last digits would fill the axes
        return Scale(False, ((low + high - floor) / 2, (low + high + floor) / 2))
    if (low, high) != (values.min(), values.max()):
        return Scale(False, (low - 0.03 * (high - low), high))
    return Scale(False, None)
