"""Scores of common targets: what share of them was reached, and what the hardest that matters cost.

They are computed from recorded curves, where that is asked for, of the runs of one problem; `comparison.targets` says
which targets. A run that missed a target has an infinite time and stays in every denominator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from optbench import metrics
from optbench.metrics import Estimate
from optbench.records.columns import Bools, Floats, Ints
from optbench.statistics.numbers import alone, interval
from optbench.statistics.statistic import Found, Groups, Statistic


@dataclass(frozen=True)
class Grid:
    """The values of the runs of a group at costs at which all of them were measured.

    Attributes:
        costs: (k,) ascending; of a schedule that decays to its end, that end alone.
        values: (runs, k) in the direction of losses; infinite where a run has no result.
        target: the value that times are of.
        sigma: known standard deviation of a run's value; None: it is estimated.
    """

    costs: Floats
    values: Floats
    target: float
    sigma: float | None = None


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
        lost: which will never reach more, since they ended by themselves, (n,); the others were stopped.
        restartable: whether to start a run that failed again is what one would do: on a surface.
        grids: of each group where all its runs were measured, see Grid; None where times are no numbers of updates.
    """

    codes: Ints
    count: int
    hits: Floats
    ends: Floats
    relevant: int | None
    allowed: float
    lost: Bools
    restartable: bool = False
    grids: Sequence[Grid | None] = ()

    def times(self, group: int) -> tuple[float, ...] | None:
        """Of each observation of a group, the cost of the relevant target; None of a group without runs."""
        own = self.hits[self.codes == group]
        if not len(own):
            return None
        return tuple(own[:, self.relevant].tolist()) if self.relevant is not None else (np.inf,) * len(own)

    @cached_property
    def stopped(self) -> Floats:
        """Cost at which each observation met the relevant target or was stopped, (n,); inf: it never will."""
        hits = self.hits[:, self.relevant] if self.relevant is not None else np.full(len(self.ends), np.inf)
        return np.where(np.isfinite(hits), hits, np.where(self.lost, np.inf, self.ends))

    @cached_property
    def watched(self) -> float | None:
        """The cost up to which every group was watched; None where none was stopped earlier than the others."""
        missed = ~np.isfinite(self.hits[:, self.relevant]) & ~self.lost if self.relevant is not None else self.lost
        if self.relevant is None or len(np.unique(self.ends[missed])) < 2:
            return None
        longest = np.full(self.count, -np.inf)
        np.maximum.at(longest, self.codes, self.stopped)
        return float(min(longest[np.isfinite(longest)].min(initial=np.inf), self.allowed))

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


def _by_cost(runtimes: Runtimes, of: Callable[[Floats, Bools, float], Estimate]) -> Found:
    """What is made of costs and successes of each group up to the cost that all were watched to; None without one."""
    limit = runtimes.watched
    if limit is None:
        return [None] * runtimes.count
    costs, solved = runtimes.stopped, np.isfinite(runtimes.hits[:, runtimes.relevant or 0])
    starts = np.searchsorted(runtimes.codes, range(runtimes.count + 1)).tolist()
    return [of(costs[a:b], solved[a:b], limit) if b > a else None for a, b in itertools.pairwise(starts)]


def _kaplan_meier(runtimes: Runtimes) -> Found:
    from optbench.metrics.censored import kaplan_meier
    from optbench.metrics.resampling import of_survivors

    def of(costs: Floats, solved: Bools, limit: float) -> Estimate:
        found = kaplan_meier(costs, solved)
        at = int(np.searchsorted(found.costs, limit, side="right")) - 1
        if at < 0:
            return Estimate(0.0, n=len(costs))
        ends = (float(found.low[at]), float(found.high[at]), of_survivors(len(costs)))
        return Estimate(float(found.shares[at]), *ends, len(costs))

    return _by_cost(runtimes, of)


def _restricted(runtimes: Runtimes) -> Found:
    from optbench.metrics.censored import restricted_mean

    return _by_cost(runtimes, restricted_mean)


def _restarts(runtimes: Runtimes) -> Found:
    from optbench.metrics.ecdf import restarts

    def of(hits: Floats, ends: Floats) -> Estimate | None:
        at = runtimes.relevant
        if at is None or not runtimes.restartable:
            return None
        spent = restarts(hits[:, at], ends)[:, 0]
        low, middle, high = np.quantile(spent, [0.1, 0.5, 0.9], method="inverted_cdf").tolist()
        return Estimate(middle, low, high, None, len(hits))

    return runtimes.each(of)


def _certified(runtimes: Runtimes) -> Found:
    from optbench.metrics.steps_to import certified_steps

    def of(grid: Grid | None) -> Estimate | None:
        if grid is None or not len(grid.costs):
            return None
        return Estimate(certified_steps(grid.costs, grid.values, grid.target, sigma=grid.sigma)[0], n=len(grid.values))

    return [of(grid) for grid in runtimes.grids] if runtimes.grids else [None] * runtimes.count


def _nothing(groups: Groups) -> Found:
    return [None] * groups.count


_HARDEST = "the hardest target that more than half of the runs of some configuration reach, the same for all"
_NEEDS = ("metrics.csv", "curves.parquet")
_LIST = (
    (Statistic(
        "targets_solved", "targets, %", "pairs of a run and a target that was reached / all pairs, over common "
        "targets, with Wilson's interval for as many trials as runs", _NEEDS, _nothing, 1,
        partial(interval, share=True), place=11, spare=12, noted=True,
    ), _solved),
    (Statistic(
        "time_to_hardest", "time to hardest", f"median cost (--cost) until {_HARDEST}; a run that misses counts as "
        "+inf",
        _NEEDS, _nothing, -1, interval, place=12, spare=11, noted=True,
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
    (Statistic(
        "km_solved", "solved (KM), %", "Kaplan and Meier's share of runs that met that target, by the cost up to which "
        "every configuration was watched, with log-log interval; a run that its budget stopped before may have met it "
        "later (censored), one that ended by itself (diverged, converged, failed, skipped) never; only where budgets "
        "differ", _NEEDS, _nothing, 1, partial(interval, share=True), place=15, spare=8, noted=True,
    ), _kaplan_meier),
    (Statistic(
        "restricted_mean", "mean time (KM)", "mean of the cost to that target, or of the cost up to which every "
        "configuration was watched where that comes first, by Kaplan and Meier's estimate; only where budgets differ",
        _NEEDS, _nothing, -1, interval, place=16, spare=3, noted=True,
    ), _restricted),
    (Statistic(
        "restarts_of_hardest", "with restarts", "median cost to that target of 1000 simulated restarts, as COCO makes "
        "them: a run is drawn, and after a failure another one, until one succeeds; first each run equally often; "
        "[10th, 90th percentile]: how the time varies, no interval of confidence; on surfaces alone, since a network "
        "is not trained again until it pleases", _NEEDS, _nothing, -1, interval, place=17, spare=2, noted=True,
    ), _restarts),
    (Statistic(
        "certified_steps", "certified", "least cost K, one for all seeds, from which on (target - mean) sqrt(n) >= t s "
        "at every recorded K: a one-sided t-test of p <= 0.001, as modded-nanogpt's track 3 asks (with --spread its "
        "z-test of a known spread); at costs where all runs were measured; of a schedule that decays to its end that "
        "end alone, and nothing where it was cut; a run without a result is infinitely far; inf: not shown; there is "
        "none in seconds, of which no number is that of all runs",
        _NEEDS, _nothing, -1, alone, place=18, spare=9, noted=True,
    ), _certified),
)  # fmt: skip
OF_TARGETS = {one.name: one for one, _ in _LIST}
"""The scores by name; they stand beside STATISTICS where they were computed."""


def of_targets(runtimes: Runtimes) -> list[dict[str, Estimate | None]]:
    """OF_TARGETS of each group of a problem, by name."""
    found = [compute(runtimes) for _, compute in _LIST]
    return [dict(zip(OF_TARGETS, own, strict=True)) for own in zip(*found, strict=True)]
