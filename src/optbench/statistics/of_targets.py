"""Scores of common targets: what share of them was reached, and what the hardest that matters cost.

They are computed from recorded curves, where that is asked for, of the runs of one problem; `comparison.targets` says
which targets. A run that missed a target has an infinite time and stays in every denominator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from optbench import metrics
from optbench.metrics import Estimate
from optbench.records.columns import Floats, Ints
from optbench.statistics.numbers import alone, interval
from optbench.statistics.statistic import Found, Groups, Statistic


@dataclass(frozen=True)
class Runtimes:
    """The observations of a problem that have a curve, those of a group next to each other.

    Attributes:
        codes: number of each one's group, (n,), ascending.
        count: number of groups.
        hits: cost at which each first reached each target, (n, t); inf for never.
        ends: cost at which each ended, (n,).
        relevant: the target that times are of, by number; None where no group reaches any often enough.
        allowed: the largest cost that any run spent: the budget that a penalty is a multiple of.
    """

    codes: Ints
    count: int
    hits: Floats
    ends: Floats
    relevant: int | None
    allowed: float

    def times(self, group: int) -> tuple[float, ...] | None:
        """Of each observation of a group, the cost of the relevant target; None of a group without runs."""
        own = self.hits[self.codes == group]
        if not len(own):
            return None
        return tuple(own[:, self.relevant].tolist()) if self.relevant is not None else (np.inf,) * len(own)

    def each(self, of: Callable[[Floats, Floats], Estimate | None]) -> Found:
        """What a function makes of the hits, (n, t), and ends of each group; None of a group without runs."""
        starts = np.searchsorted(self.codes, range(self.count + 1)).tolist()
        return [of(self.hits[a:b], self.ends[a:b]) if b > a else None for a, b in itertools.pairwise(starts)]


def _solved(runtimes: Runtimes) -> Found:
    return runtimes.each(lambda hits, _: metrics.wilson(float(np.isfinite(hits).mean()), len(hits)))


def _time(runtimes: Runtimes) -> Found:
    at = runtimes.relevant
    return runtimes.each(lambda hits, _: None if at is None else metrics.median_interval(hits[:, at]))


def _ert(runtimes: Runtimes) -> Found:
    from optbench.metrics.runtimes import ert_intervals

    at = runtimes.relevant
    return runtimes.each(lambda hits, ends: None if at is None else ert_intervals(hits[:, at], ends)[0])


def _penalised(runtimes: Runtimes) -> Found:
    from optbench.metrics.runtimes import penalised

    def of(hits: Floats, _: Floats) -> Estimate | None:
        at = runtimes.relevant
        return None if at is None else Estimate(float(penalised(hits[:, at], runtimes.allowed)[0]), n=len(hits))

    return runtimes.each(of)


def _nothing(groups: Groups) -> Found:
    return [None] * groups.count


_HARDEST = "the hardest target that more than half of the runs of some configuration reach, the same for all"
_NEEDS = ("metrics.csv", "curves.parquet")
_LIST = (
    (Statistic(
        "targets_solved", "targets, %", "pairs of a run and a target that was reached / all pairs, over common "
        "targets, with Wilson's interval for as many trials as runs", _NEEDS, _nothing, 1,
        partial(interval, share=True), place=11, spare=8, noted=True,
    ), _solved),
    (Statistic(
        "time_to_hardest", "time to hardest", f"median cost (--cost) until {_HARDEST}; a run that misses counts as "
        "+inf",
        _NEEDS, _nothing, -1, interval, place=12, spare=9, noted=True,
    ), _time),
    (Statistic(
        "ert_of_hardest", "ERT of hardest", "expected running time to that target: cost of all runs until it or their "
        "end / number of successes, with bootstrap interval over runs", _NEEDS, _nothing, -1, interval, place=13,
        spare=7, noted=True,
    ), _ert),
    (Statistic(
        "par10_of_hardest", "PAR10", "mean cost to that target, a run that misses counting as 10 times the largest "
        "cost that any run of the problem spent", _NEEDS, _nothing, -1, alone, place=14, spare=1, noted=True,
    ), _penalised),
)  # fmt: skip
OF_TARGETS = {one.name: one for one, _ in _LIST}
"""The scores by name; they stand beside STATISTICS where they were computed."""


def of_targets(runtimes: Runtimes) -> list[dict[str, Estimate | None]]:
    """OF_TARGETS of each group of a problem, by name."""
    found = [compute(runtimes) for _, compute in _LIST]
    return [dict(zip(OF_TARGETS, own, strict=True)) for own in zip(*found, strict=True)]
