"""Which of two configurations is better, and how sure that is: a verdict on each pair, from the same seeds where they
share them.

    better, worse   the first is, by the signed-rank test of the seeds that both have, or by the rank-sum test
                    where they share fewer than half; p is exact for as many seeds as people have (`rank_tests`)
    equivalent      they differ by less than a difference that the user named: two one-sided tests (Schuirmann 1987)
    undecided       not enough evidence; `more_seeds` says how many more would decide, were the effect what it now seems

A run that diverged is infinitely bad and takes part: as the worst rank, not as a number. Both diverged is a tie.

The family: all pairs that are judged together, whatever their problems and metrics, adjusted so that at most a share
alpha of whole comparisons says anything false (`multiplicity`: Bergmann and Hommel's procedure, Shaffer's for many
configurations, Holm's where neither applies). Where equivalence is asked for too, there are two hypotheses a pair, of
which one at most is true; as many as there are pairs can be true at once, any number of them (Shaffer 1986), and so
both are judged at once by Holm's steps.

Which test: the least p of the signed-rank test is 2^(1-n), whatever is seen. Seeds that could decide a pair alone
decide none of many pairs, not even where ten runs diverged and the other ten did not; so where it cannot pass the
first step, alpha by the number of pairs, and the rank-sum test can, whose least p is 2 n!^2 / (2n)!, the runs are
compared by that. The choice looks at the numbers of seeds and pairs alone. The rank-sum test takes the runs of two
configurations to be independent, which is cautious where shared seeds make them alike.

With `anytime`, p and intervals hold while seeds are added and looked at (`anytime`); they are wider.

Runs that are copies of each other, since the seed changes nothing, are one observation: whoever calls this leaves one.

Source: S. Holm, Scand. J. Statist. 6 (1979) 65; J. P. Shaffer, J. Am. Stat. Assoc. 81 (1986) 826; D. J. Schuirmann,
J. Pharmacokin. Biopharm. 15 (1987) 657.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optbench.metrics import anytime as at_all_times
from optbench.metrics.estimates import Estimate, Floats, wilson
from optbench.metrics.intervals import paired_shifts, superiority, thinned, unpaired_shifts
from optbench.metrics.multiplicity import adjust
from optbench.metrics.power import MOST, pair_chances, pairs_needed, runs_needed, sample_chances, ways
from optbench.metrics.rank_tests import Ints, differences, rank_sum_tails, rank_sums, signed_rank_tails, two_sided

VERDICTS = ("better", "worse", "equivalent", "undecided")
POWER = 0.9
"""With which probability `more_seeds` would decide."""
_COUNTED = 500
"""Runs beyond which so many of their quantiles are what `more_seeds` is counted in."""
_NONE = np.empty(0)


@dataclass(frozen=True)
class Pair:
    """Two configurations compared on one problem by one metric.

    Attributes:
        a, b: their numbers, rows of the values.
        paired: whether they are compared seed by seed.
        test: what p is of: signed-rank, rank-sum, or bets (valid under every way of looking).
        n: seeds that both have; of unpaired ones, runs of the one that has fewer.
        p: two-sided, of there being no difference.
        p_equivalent: of the difference being `within` or more; None where nothing was named.
        effect_of: gives `effect`: a - b in units of the metric, Hodges and Lehmann's, with the interval that belongs to
            the test; it is computed where it is asked for, see _Effects.
        beats: the probability that a run of a is better than one of b (on the same seed), ties as halves, and interval.
        ahead: whether a is the better one in ranks, +1, or b, -1; 0 neither.
        within: what counts as no difference; None: nothing does.
        p_adjusted, p_equivalent_adjusted: p-values among all that were judged together.
        verdict: of a against b, one of VERDICTS.
        more_seeds: how many further seeds of both would decide with probability POWER if the effect is as observed;
            None where it is decided, or where there is no effect to find.
        values: of a and b in the direction of losses, (2, n), or (n_a,) and (n_b,); what more_seeds is counted in.
    """

    a: int
    b: int
    paired: bool
    test: str
    n: int
    p: float
    p_equivalent: float | None
    effect_of: Callable[[], Estimate] = field(repr=False, compare=False)
    beats: Estimate
    ahead: int
    within: float | None = None
    p_adjusted: float = 1.0
    p_equivalent_adjusted: float | None = None
    verdict: str = "undecided"
    more_seeds: int | None = None
    values: tuple[Floats, Floats] = field(default=(_NONE, _NONE), repr=False, compare=False)

    @property
    def effect(self) -> Estimate:
        """See `effect_of`."""
        return self.effect_of()


def verdicts(
    values: npt.ArrayLike,
    direction: int = -1,
    *,
    alpha: float = 0.05,
    equivalent_within: float | None = None,
    anytime: bool = False,
    against: int | None = None,
    paired: bool | None = None,
) -> list[Pair]:
    """The verdict on each pair of configurations of one problem; `measure` and `judge` are its halves.

    Args:
        values: (configurations, seeds), a column a seed in the order in which they were run; NaN where a configuration
            lacks a seed, infinite where a run has no result.
        direction: what is better: -1 small values, 1 large ones.
        alpha: probability of any false verdict; intervals have the level 1 - alpha.
        equivalent_within: the difference below which two are called equivalent; None: none ever is.
        anytime: whether p and intervals shall hold though seeds are added and looked at until the result pleases.
        against: the one configuration that all others are compared with; None: all pairs.
        paired: whether seeds are shared; None: where at least half of each one's are, and the test can decide.
    """
    given = (equivalent_within, anytime, against, paired)
    count = len(np.asarray(values))
    family = max(count - 1 if against is not None else count * (count - 1) // 2, 1)
    return judge(measure(values, direction, alpha, *given, family=family), alpha)


def measure(
    values: npt.ArrayLike,
    direction: int = -1,
    alpha: float = 0.05,
    equivalent_within: float | None = None,
    anytime: bool = False,
    against: int | None = None,
    paired: bool | None = None,
    family: int = 1,
) -> list[Pair]:
    """All pairs with their p-values and effects, not yet judged; arguments as `verdicts` has them.

    Pairs of several problems and metrics may be measured apart and judged together; `family` is how many these are.
    """
    losses = np.asarray(values, dtype=float) * -direction
    if losses.ndim != 2 or direction not in (-1, 1) or not 0 < alpha < 1:
        raise ValueError("verdicts need values (configurations, seeds), a direction of -1 or 1, and 0 < alpha < 1")
    if equivalent_within is not None and not 0 < equivalent_within < math.inf:
        raise ValueError(f"no two are equivalent within {equivalent_within}: a difference above 0 is needed")
    known = ~np.isnan(losses)
    counts, shared = known.sum(axis=1), _shared(known)
    first, second = _chosen(len(losses), against)
    enough = 2 * shared[first, second] >= np.maximum(counts[first], counts[second])
    if not anytime:
        enough &= ~_only_rank_sums_decide(shared[first, second], family, alpha)
    by_seed = enough if paired is None else np.full(len(first), paired)
    sizes = np.where(by_seed, [shared[first, second]] * 2, [counts[first], counts[second]]).T
    rule = _Rule(direction, 1 - alpha, equivalent_within, anytime)
    found: dict[int, Pair] = {}
    kinds, which = np.unique(np.column_stack([by_seed, sizes]), axis=0, return_inverse=True)
    for kind, (seedwise, n_a, n_b) in enumerate(kinds.tolist()):
        places = np.flatnonzero(which.reshape(-1) == kind)
        i, j = first[places], second[places]
        if seedwise:
            both = known[i] & known[j]
            x, y = _packed(losses[i], both, n_a), _packed(losses[j], both, n_b)
        else:
            x, y = _all_of(i, losses, known), _all_of(j, losses, known)
        found |= zip(places.tolist(), _compared(i, j, x, y, rule, bool(seedwise)), strict=True)
    return [found[place] for place in range(len(first))]


def least_p(test: str, n_a: int, n_b: int) -> float:
    """The least two-sided p that a test of so many runs can have, whatever they are; 1 of a test of none.

    Args:
        test: as `Pair` has it.
        n_a, n_b: runs of both; of pairs the same number.
    """
    n = min(n_a, n_b)
    if test == "none" or n == 0:
        return 1.0
    if test == "rank-sum":
        return min(1.0, 2 / ways(n_a, n_b))
    if test == "signed-rank":
        return min(1.0, 2.0 ** (1 - n))
    larger_and_larger = np.arange(1.0, n + 1)[None]
    return min(1.0, 2 * float(at_all_times.tails(larger_and_larger)[1][0, -1]))


def seeds_that_could(family: int, alpha: float = 0.05, *, paired: bool = True, anytime: bool = False) -> int:
    """The fewest seeds of each configuration with which `verdicts` could tell any two apart, however far they are.

    Args:
        family: how many pairs are judged together.
        alpha: probability of any false verdict.
        paired, anytime: as for `measure`.
    """
    n = 1
    while True:
        by_runs = not paired or bool(_only_rank_sums_decide(np.array([n]), family, alpha)[0])
        test = "bets" if anytime else "rank-sum" if by_runs else "signed-rank"
        if family * least_p(test, n, n) <= alpha:
            return n
        n += 1


def _only_rank_sums_decide(n: Ints, family: int, alpha: float) -> npt.NDArray[np.bool_]:
    """Where signed ranks of n seeds decide nothing among so many pairs, but rank sums might, (pairs,)."""
    unique, where = np.unique(n, return_inverse=True)
    signed = {k: least_p("signed-rank", k, k) for k in unique.tolist()}
    ranked = {k: least_p("rank-sum", k, k) for k in unique.tolist()}
    never = [signed[k] <= alpha < family * signed[k] and family * ranked[k] <= alpha for k in unique.tolist()]
    return np.array(never, dtype=np.bool_)[where.reshape(-1)]


class _Rule(NamedTuple):
    direction: int
    level: float
    within: float | None
    anytime: bool


_Tails = Callable[[Floats, Floats], tuple[Floats, Floats]]


def _chosen(count: int, against: int | None) -> tuple[Ints, Ints]:
    """The pairs: all of them, a before b, or each against one."""
    if against is None:
        first, second = np.triu_indices(count, 1)
        return first, second
    if not 0 <= against < count:
        raise ValueError(f"no configuration {against} among {count}")
    others = np.delete(np.arange(count), against)
    return others, np.full(count - 1, against)


def _shared(known: npt.NDArray[np.bool_]) -> Ints:
    """How many seeds each two rows have both, (rows, rows): a product of floats is BLAS's, and exact up to 2 ** 53."""
    present = known.astype(float)
    shared: Ints = (present @ present.T).astype(int)
    return shared


def _packed(values: Floats, where: npt.NDArray[np.bool_], n: int) -> Floats:
    """The n values of each row where that is said, in their order."""
    return values[where].reshape(len(values), n)


def _all_of(rows: Ints, values: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """All known values of each of these rows, which have equally many; a row that comes again is searched once: of runs
    that share no seed, a row of `values` has as many places as all of them have runs."""
    unique, where = np.unique(rows, return_inverse=True)
    return np.stack([values[row, known[row]] for row in unique.tolist()])[where.reshape(-1)]


class _Effects:
    """The effects of many pairs, computed when they are asked for: with the first one those of all pairs that share a
    configuration with it, which are the ones that a table shows of its best; with one that is not among these, all.

    Args:
        first, second: the configurations of each pair, (pairs,).
        compute: gives the effects of some pairs, by their numbers.
    """

    def __init__(self, first: Ints, second: Ints, compute: Callable[[Ints], list[Estimate]]) -> None:
        self._pairs, self._compute = np.stack([first, second]), compute
        self._found: dict[int, Estimate] = {}

    def of(self, place: int) -> Estimate:
        """The effect of a pair."""
        if place not in self._found:
            near = np.isin(self._pairs, self._pairs[:, place]).any(axis=0)
            wanted = range(self._pairs.shape[1]) if self._found else np.flatnonzero(near).tolist()
            missing = np.array([one for one in wanted if one not in self._found])
            self._found |= zip(missing.tolist(), self._compute(missing), strict=True)
        return self._found[place]


def _compared(first: Ints, second: Ints, x: Floats, y: Floats, rule: _Rule, seedwise: bool) -> list[Pair]:
    """Each pair of a and b, of which the losses are (pairs, n_a) and (pairs, n_b)."""
    numbers = list(zip(first.tolist(), second.tolist(), strict=True))
    n = min(x.shape[1], y.shape[1])
    if n == 0:
        none, same = Estimate(math.nan, n=0), None if rule.within is None else 1.0
        return [
            Pair(a, b, seedwise, "none", 0, 1.0, same, lambda: none, none, 0, rule.within, values=(own, other))
            for (a, b), own, other in zip(numbers, x, y, strict=True)
        ]
    if rule.anytime:
        x, y = x[:, :n], y[:, :n]  # samples: the runs in turn, which are as exchangeable as those of one seed
    test = "bets" if rule.anytime else "signed-rank" if seedwise else "rank-sum"
    effects = _Effects(first, second, lambda at: _effects(test, x[at], y[at], rule))
    tails = _TAILS[test]
    lower, upper = tails(x, y)
    alike: Sequence[float | None] = [None] * len(x)
    if rule.within is not None:
        alike = np.maximum(tails(x - rule.within, y)[0], tails(x + rule.within, y)[1]).tolist()
    ahead = np.sign(upper - lower).astype(int).tolist()
    rows = zip(two_sided(lower, upper).tolist(), alike, _beats(x, y, rule, seedwise), ahead, x, y, strict=True)
    return [
        Pair(*numbers[place], seedwise, test, n, p, same, functools.partial(effects.of, place), chance, sign,
             rule.within, values=(own, other))
        for place, (p, same, chance, sign, own, other) in enumerate(rows)
    ]  # fmt: skip


def _effects(test: str, x: Floats, y: Floats, rule: _Rule) -> list[Estimate]:
    """The effect of each pair, in units of the metric."""
    if test == "bets":
        found = _sequence(x, y, rule.level)
    elif test == "signed-rank":
        found = paired_shifts(differences(x, y), rule.level)
    else:
        found = unpaired_shifts(x, y, rule.level)
    return [_oriented(one, rule) for one in found]


def _signed(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    return signed_rank_tails(differences(x, y))


def _bets(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    lower, upper = at_all_times.tails(differences(x, y))
    return lower[:, -1], upper[:, -1]


_TAILS: dict[str, _Tails] = {"signed-rank": _signed, "rank-sum": rank_sum_tails, "bets": _bets}


def _sequence(x: Floats, y: Floats, level: float) -> list[Estimate]:
    """Hodges and Lehmann's estimates with limits that hold at all times, widened to hold the estimate itself."""
    d = differences(x, y)
    found = zip(paired_shifts(d, level), *map(np.ndarray.tolist, at_all_times.limits(d, level)), strict=True)
    return [
        Estimate(one.value, min(low, one.value), max(high, one.value), level, d.shape[1]) for one, low, high in found
    ]


def _beats(x: Floats, y: Floats, rule: _Rule, seedwise: bool) -> list[Estimate]:
    if seedwise or rule.anytime:
        wins = ((x < y) + (x == y) / 2).mean(axis=1).tolist()
        share = at_all_times.share if rule.anytime else wilson
        return [share(one, x.shape[1], rule.level) for one in wins]
    n_a, n_b = x.shape[1], y.shape[1]
    wins = 1 - (rank_sums(x, y) - n_a * (n_a + 1) / 2) / (n_a * n_b)
    return [superiority(one, n_a, n_b, rule.level) for one in wins.tolist()]


def _oriented(effect: Estimate, rule: _Rule) -> Estimate:
    """From losses to the units of the metric."""
    if rule.direction < 0 or effect.low is None or effect.high is None:
        return effect if rule.direction < 0 else replace(effect, value=0.0 - effect.value)  # no difference is 0, not -0
    return Estimate(0.0 - effect.value, 0.0 - effect.high, 0.0 - effect.low, effect.coverage, effect.n)


def holm(p: npt.ArrayLike, at_once: int | None = None) -> Floats:
    """Holm's adjusted p-values of a family, (..., m) -> (..., m).

    Args:
        p: the p-values of one family a row.
        at_once: how many of the hypotheses can be true together (Shaffer); None: all of them.
    """
    given = np.asarray(p, dtype=float)
    m = given.shape[-1]
    order = np.argsort(given, axis=-1, kind="stable")
    weights = np.minimum(np.arange(m, 0, -1), at_once or m)
    raised = np.maximum.accumulate(np.take_along_axis(given, order, axis=-1) * weights, axis=-1)
    found = np.empty(given.shape)
    np.put_along_axis(found, order, np.minimum(raised, 1.0), axis=-1)
    return found


def judge(pairs: Sequence[Pair], alpha: float = 0.05, problems: Sequence[int] | None = None) -> list[Pair]:
    """The pairs with their adjusted p-values, verdicts and seeds to add: one family, in the order in which they came.

    Args:
        pairs: of `measure`, of one or several problems and metrics: all that are shown together.
        alpha: the probability of any false verdict among them.
        problems: number of the problem of each; None: all are of one.
    """
    if not pairs:
        return []
    different, same, share = _adjusted(pairs, alpha, problems or [0] * len(pairs))
    found: list[Pair] = []
    for one, p, p_alike, left in zip(pairs, different, same, share, strict=True):
        verdict = "undecided"
        if p_alike is not None and p_alike <= alpha:
            verdict = "equivalent"
        elif p <= alpha and one.ahead:
            verdict = "better" if one.ahead > 0 else "worse"
        more = _more_seeds(one, alpha / left) if verdict == "undecided" else None
        found.append(replace(one, p_adjusted=p, p_equivalent_adjusted=p_alike, verdict=verdict, more_seeds=more))
    return found


def _adjusted(
    pairs: Sequence[Pair], alpha: float, problems: Sequence[int]
) -> tuple[list[float], list[float | None], list[int]]:
    """Adjusted p-values of a difference and of equivalence, and how many tests share alpha with that of each pair."""
    asked = [place for place, one in enumerate(pairs) if one.p_equivalent is not None]
    if not asked:
        found = adjust([one.p for one in pairs], [(one.a, one.b) for one in pairs], problems, alpha)
        return found.p.tolist(), [None] * len(pairs), found.left.tolist()
    every = [one.p for one in pairs] + [one.p_equivalent for one in pairs if one.p_equivalent is not None]
    adjusted = holm(every, len(pairs)).tolist()
    alike: dict[int, float] = dict(zip(asked, adjusted[len(pairs) :], strict=True))
    left = max(1, min(len(pairs), sum(one > alpha for one in adjusted)))
    return adjusted[: len(pairs)], [alike.get(place) for place in range(len(pairs))], [left] * len(pairs)


def _more_seeds(pair: Pair, level: float) -> int | None:
    """Seeds to add to both, at the two-sided level that the next undecided pair must pass."""
    if pair.n == 0:
        return None
    a, b = pair.values
    # of one direction at least it is infinite: the one that is behind
    either = ((b, a), (a, b)) if pair.ahead > 0 else ((a, b), (b, a))
    found = (_further(pair, *both, level / 2) for both in either)
    ways = [next((seeds for seeds in found if seeds < math.inf), math.inf)]
    if pair.within is not None:
        # both one-sided tests must pass, and either outcome decides
        ways.append(max(_further(pair, a + pair.within, b, level), _further(pair, b + pair.within, a, level)))
    more = min(ways)
    return None if more > MOST else max(1, math.ceil(more))


def _further(pair: Pair, a: Floats, b: Floats, level: float) -> float:
    """Seeds to add until the one-sided test finds that a is larger; infinity where it does not seem to be."""
    if pair.test == "bets":
        return at_all_times.further(differences(a, b), level, POWER) - pair.n
    if pair.paired:
        return pairs_needed(pair_chances(thinned(differences(a, b), _COUNTED)), level, POWER) - pair.n
    gaps = differences(*np.broadcast_arrays(thinned(a, _COUNTED)[:, None], thinned(b, _COUNTED)[None, :]))
    return runs_needed(sample_chances(gaps), level, POWER, (len(a), len(b)))
