"""How many seeds a difference needs, from the spread that existing runs have: what to plan before a study.

Each configuration is held against one other, by default the best. What counts is the spread of their differences on
shared seeds, or of their runs where they share none, and the share of runs that diverge; the numbers of seeds are those
with which the rank tests of a comparison find the difference, corrected for all its pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from optbench.comparison.by_seed import Floats, by_seed
from optbench.comparison.comparison import Comparison
from optbench.comparison.filters import resolve_key
from optbench.comparison.groups import Group
from optbench.comparison.ranked_by import Ranked
from optbench.errors import UserError
from optbench.metrics.pairs import Pair, measure
from optbench.metrics.power import difference_found, seeds_needed
from optbench.statistics import STATISTICS
from optbench.statistics.each import of_single_runs


@dataclass(frozen=True)
class Need:
    """The seeds that tell one configuration from another.

    Attributes:
        problem, metric: where, and by which score.
        configuration, against: which from which; None where a problem has one configuration alone.
        paired: whether on shared seeds.
        n: seeds that there are; of unpaired ones, of the one that has fewer.
        comparisons: pairs that p-values are corrected for.
        diverged: share of those seeds, or runs, without a result.
        spread: standard deviation of the differences on one seed, or of a run of one configuration; None where fewer
            than two are finite.
        seeds: of each configuration, needed for the difference; None where a million would not do, or nothing is known.
        at_most: the same if the spread is at the upper end of its 95 % interval, as it may be of so few runs.
        finds: the smallest difference that n seeds find; None where they find none.
    """

    problem: str
    metric: str
    configuration: str
    against: str | None
    paired: bool
    n: int
    comparisons: int
    diverged: float
    spread: float | None
    seeds: int | None
    at_most: int | None
    finds: float | None

    @property
    def more(self) -> int | None:
        """Seeds to add to those that there are."""
        return None if self.seeds is None else max(0, self.seeds - self.n)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "more": self.more}


def seeds_of(
    found: Comparison,
    difference: float,
    metric: str | None = None,
    against: str | None = None,
    alpha: float = 0.05,
    power: float = 0.9,
) -> list[Need]:
    """The seeds that a difference needs, for each configuration of each problem against one other.

    Args:
        found: the runs.
        difference: in units of the metric, above 0.
        metric: a score that single runs have, one of `of_single_runs`; None: what each problem is ranked by.
        against: label of the configuration to hold the others against, or a part of it that one alone has; None: the
            first of each problem, and the correction is for all pairs, since it was chosen by looking.
        alpha: probability of any false verdict.
        power: with which probability the difference is found.

    Raises:
        UserError: no such score or configuration, or numbers that make no sense.
    """
    _check(difference, alpha, power)
    name = None if metric is None else resolve_key(metric, of_single_runs(), "score of single runs")
    needs: list[Need] = []
    for problem, groups in found.problems.items():
        score = name or Ranked(found.checkpoint).first(groups)
        values = by_seed(groups, score)
        base = _place(problem, groups, against)
        pairs = len(groups) - 1 if against else len(groups) * (len(groups) - 1) // 2
        rule = _Rule(difference, alpha, power)
        measured = measure(values, STATISTICS[score].direction, against=base)
        if len(groups) == 1:
            needs.append(_alone(problem, score, groups[0].label, values[0], rule))
        for pair in measured:
            names = (problem, score, groups[pair.a].label, groups[pair.b].label)
            needs.append(_need(names, pair, pairs, rule))
    return needs


def rule_of(needs: Sequence[Need], difference: str, alpha: float, power: float) -> list[str]:
    """What the numbers mean, a sentence each."""
    share, found = f"{100 * alpha:g} %", f"{100 * power:g} %"
    lines = [
        f"Seeds: of each configuration, to find a difference of {difference} with probability {found} by a two-sided "
        f"rank test at {share} over all comparisons of its problem (the first step of the adjustment); a run without a "
        "result is the worst.",
        "At most: the same if the true spread is at the upper end of its 95 % interval; few seeds know little of it.",
        "Finds: the smallest difference that as many seeds as there are find with that probability; "
        "- where they find none, however large.",
    ]
    if any(one.paired for one in needs):
        lines.append("Compared by seed: spread is the standard deviation of the differences on one seed, where finite.")
    if any(not one.paired for one in needs):
        lines.append("Compared by runs, where seeds are not shared: spread is that of the runs of one configuration.")
    if any(one.diverged for one in needs):
        lines.append(
            "Diverged: share of those seeds or runs without a result, taken to be as many of both configurations."
        )
    return lines


class _Rule(NamedTuple):
    difference: float
    alpha: float
    power: float


def _check(difference: float, alpha: float, power: float) -> None:
    if not 0 < difference < math.inf:
        raise UserError(f"--difference {difference:g}: expected a number above 0, in units of the score")
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise UserError(f"--{name} {value:g}: expected a probability between 0 and 1")


def _place(problem: str, groups: Sequence[Group], against: str | None) -> int:
    """The number of the configuration that the others are held against."""
    if against is None:
        return 0  # groups come the best first
    labels = [group.label for group in groups]
    if against in labels:
        return labels.index(against)
    named = [place for place, label in enumerate(labels) if against in label]
    if len(named) == 1:
        return named[0]
    what = f"{against!r} may be any of {len(named)} configurations" if named else f"no configuration {against!r}"
    more = ", ..." if len(labels) > 8 else ""
    raise UserError(f"{what} of {problem}", f"configurations: {', '.join(labels[:8])}{more}")


def _need(names: tuple[str, str, str, str], pair: Pair, comparisons: int, rule: _Rule) -> Need:
    a, b = pair.values
    if not pair.n:  # of one of them nothing is known
        return Need(*names, pair.paired, 0, comparisons, 0.0, None, None, None, None)
    if pair.paired:
        both_end = np.isfinite(a) & np.isfinite(b)  # where both diverge nothing is learnt, not that they are alike
        d = np.where(both_end, a, np.inf) - np.where(both_end, b, 0.0)
        spread, degrees = _deviation(d)
        diverged = _share_infinite(d)
    else:
        both = [(own, k) for own, k in map(_deviation, (a, b)) if own is not None]
        spread = math.sqrt(sum(own * own for own, _ in both) / len(both)) if both else None
        degrees, diverged = sum(k for _, k in both), _share_infinite(np.concatenate([a, b]))
    figures = _figures(spread, degrees, diverged, pair.paired, pair.n, comparisons, rule)
    return Need(*names, pair.paired, pair.n, comparisons, diverged, spread, *figures)


def _alone(problem: str, metric: str, label: str, values: Floats, rule: _Rule) -> Need:
    """One configuration with itself: two like it, without shared seeds."""
    known = values[~np.isnan(values)]
    (spread, degrees), diverged, n = _deviation(known), _share_infinite(known), len(known)
    figures = _figures(spread, degrees, diverged, False, n, 1, rule)
    return Need(problem, metric, label, None, False, n, 1, diverged, spread, *figures)


def _figures(
    spread: float | None, degrees: int, diverged: float, paired: bool, n: int, comparisons: int, rule: _Rule
) -> tuple[int | None, int | None, float | None]:
    """Seeds, seeds at most, and the difference that n seeds find."""
    if spread is None:
        return None, None, None
    from scipy.special import chdtri

    wider = math.sqrt(degrees / float(chdtri(degrees, 0.975)))
    seeds, at_most = (
        seeds_needed(rule.difference, own, rule.alpha, rule.power, comparisons, paired=paired, diverged=diverged)
        for own in (spread, spread * wider)
    )
    finds = difference_found(n, spread, rule.alpha, rule.power, comparisons, paired=paired, diverged=diverged)
    return seeds, at_most, finds


def _deviation(values: Floats) -> tuple[float | None, int]:
    """Standard deviation of those that are finite, None of fewer than two; and its degrees of freedom."""
    finite = values[np.isfinite(values)]
    return (float(np.std(finite, ddof=1)), len(finite) - 1) if len(finite) > 1 else (None, 0)


def _share_infinite(values: Floats) -> float:
    return float(np.isinf(values).mean()) if len(values) else 0.0
