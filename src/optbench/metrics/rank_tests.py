"""Rank tests by their permutation distributions: the signed-rank test of pairs and the rank-sum test of two samples.

Under the hypothesis that two configurations are the same, exchanging them changes nothing: within a pair each sign of
the difference is as likely as the other, and of two samples each division of the pooled runs is as likely as any.
Given the ranks, this is the exact distribution of the statistic, with ties as with none; no value is assumed to have
a mean, or to be finite. All ranks are midranks, doubled: whole numbers, so that the distributions are sums over whole
numbers.

The exact distribution is enumerated by adding one rank after the other, for all rows with the same ranks at once.
Beyond the sizes named below Edgeworth's expansion takes its place, unless the ranks have so few values that all ways to
draw them can be counted: its error is below 1e-4 without ties and below 0.005 with any
(tests/metrics/test_rank_tests.py).

Source: E. L. Lehmann, Nonparametrics (1975), sections 1.4, 3.2 and the appendix; the expansion for two samples is
that of E. Fix and J. L. Hodges, Ann. Math. Statist. 26 (1955) 301.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Floats

Ints = npt.NDArray[np.int64]

EXACT_PAIRS, EXACT_PAIRS_UNTIED = 100, 200
"""Pairs with a difference up to which the signed-rank distribution is exact: with ties among them, and with none."""
EXACT_RUNS, EXACT_RUNS_UNTIED = 30, 100
"""Runs of both samples together up to which the rank-sum distribution is exact: with ties, and with none."""
_WAYS = 50_000
"""Ways to draw from few distinct ranks, up to which they are all counted."""


def differences(a: Floats, b: Floats) -> Floats:
    """a - b, where the same infinity on both sides is no difference; NaN where either is missing."""
    with np.errstate(invalid="ignore"):
        found = a - b
    found[np.isinf(a) & (a == b)] = 0.0
    return found


def doubled_midranks(values: Floats) -> Ints:
    """Twice the midrank of each value in its row, (..., n) -> (..., n); ties share one, NaN comes last."""
    n = values.shape[-1]
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    place = np.arange(n)
    other = ordered[..., 1:] != ordered[..., :-1]
    edge = np.ones((*values.shape[:-1], 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, other], axis=-1), place, 0), axis=-1)
    ends = np.where(np.concatenate([other, edge], axis=-1), place, n - 1)
    last = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    found = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(found, order, first + last + 2, axis=-1)
    return found


def signed_ranks(d: Floats) -> Ints:
    """Doubled midranks of |d| among the differences that are not 0, with the sign of d; 0 where d is 0 or NaN."""
    with np.errstate(invalid="ignore"):
        sizes = np.where(d == 0, np.nan, np.abs(d))
        signs = np.where(np.isnan(d), 0.0, np.sign(d))
    return doubled_midranks(sizes) * signs.astype(np.int64)


def signed_rank_tails(d: Floats) -> tuple[Floats, Floats]:
    """The one-sided p-values of the signed-rank test: that the differences are small, and that they are large.

    Args:
        d: differences of pairs, (rows, n); infinite ones take part, zeros have no rank (Wilcoxon), NaN is no pair.

    Returns:
        lower, upper: P(T <= t) and P(T >= t) of the sum T of the positive differences' ranks, (rows,) each; 1 without
        any difference.
    """
    signed = signed_ranks(d)
    return _tails_of_patterns(np.sort(np.abs(signed), axis=1), np.where(signed > 0, signed, 0).sum(axis=1), _signed_one)


def rank_sum_tails(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """The one-sided p-values of the rank-sum test: that a is smaller than b, and that it is larger.

    Args:
        a, b: two samples a row, (rows, n_a) and (rows, n_b), without NaN.

    Returns:
        lower, upper: P(R <= r) and P(R >= r) of the sum R of a's ranks in both together, (rows,) each.
    """
    n_a = a.shape[1]
    ranks = doubled_midranks(np.concatenate([a, b], axis=1))
    return _tails_of_patterns(np.sort(ranks, axis=1), ranks[:, :n_a].sum(axis=1), functools.partial(_rank_sum_one, n_a))


def rank_sums(a: Floats, b: Floats) -> Floats:
    """The sum of a's midranks in both samples together, (rows, n_a) and (rows, n_b) -> (rows,)."""
    found: Floats = doubled_midranks(np.concatenate([a, b], axis=1))[:, : a.shape[1]].sum(axis=1) / 2
    return found


def two_sided(lower: Floats, upper: Floats) -> Floats:
    """Twice the smaller tail, 1 at most."""
    found: Floats = np.minimum(1.0, 2 * np.minimum(lower, upper))
    return found


_OneRow = Callable[[Ints, Ints], tuple[Floats, Floats]]


def _tails_of_patterns(ranks: Ints, found: Ints, tails: _OneRow) -> tuple[Floats, Floats]:
    """The tails of each row, (rows,) each: rows with the same ranks (all of them, where nothing is tied) at once.

    Args:
        ranks: sorted, (rows, n).
        found: the statistic of each row, (rows,).
        tails: from one row of ranks and the statistics found with it to both tails of each.
    """
    lower, upper = np.ones(len(ranks)), np.ones(len(ranks))
    members: dict[bytes, list[int]] = {}
    for place, row in enumerate(ranks):
        members.setdefault(row.tobytes(), []).append(place)
    for rows in members.values():
        lower[rows], upper[rows] = tails(ranks[rows[0]], found[rows])
    return lower, upper


def _signed_one(ranks: Ints, found: Ints) -> tuple[Floats, Floats]:
    ranks = ranks[ranks > 0]
    n = len(ranks)
    if n == 0:
        return np.ones(len(found)), np.ones(len(found))
    step = int(np.gcd.reduce(ranks))
    untied = bool((np.diff(ranks) > 0).all())
    if n <= (EXACT_PAIRS_UNTIED if untied else EXACT_PAIRS):
        lower, upper = _tails_of_sums(tuple((ranks // step).tolist()))
        return lower[found // step], upper[found // step]
    whole, squares = float(ranks.sum()), float((ranks.astype(float) ** 2).sum())
    excess = -2 * float((ranks.astype(float) ** 4).sum()) / squares**2
    return _counted(ranks, found, None) or _edgeworth(found, whole / 2, math.sqrt(squares) / 2, excess, step)


def _rank_sum_one(n_a: int, ranks: Ints, found: Ints) -> tuple[Floats, Floats]:
    n, n_b = len(ranks), len(ranks) - n_a
    gaps = np.diff(ranks)
    if not gaps.any():
        return np.ones(len(found)), np.ones(len(found))
    step = int(np.gcd.reduce(gaps))
    untied = bool((gaps > 0).all())
    if n <= (EXACT_RUNS_UNTIED if untied else EXACT_RUNS):
        lower, upper = _tails_of_parts(tuple(((ranks - ranks[0]) // step).tolist()), n_a)
        at = (found - n_a * ranks[0]) // step
        return lower[at], upper[at]
    spread = float(np.var(ranks)) * n_a * n_b / (n - 1)
    excess = -1.2 * (n_a * n_a + n_b * n_b + n_a * n_b + n) / (n_a * n_b * (n + 1))
    mean = n_a * float(ranks.mean())
    return _counted(ranks, found, n_a) or _edgeworth(found, mean, math.sqrt(spread), excess, step)


def _counted(ranks: Ints, found: Ints, size: int | None) -> tuple[Floats, Floats] | None:
    """Both tails where the ranks have few values: all ways in which each value may be drawn so often; None for many.

    Args:
        ranks: of which each is drawn or not; `size` of them, where that is said.
        found: sums of which the tails are wanted.
    """
    values, counts = np.unique(ranks, return_counts=True)
    if size is None and np.log(counts + 1.0).sum() > math.log(2 * _WAYS):
        return None  # as would be found below, after most of them
    order = np.argsort(
        counts, kind="stable"
    )  # the most frequent one last: given the others, `size` leaves it no choice
    sums, drawn, mass = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), np.zeros(1)
    for place, value, m in zip(range(len(order)), values[order].tolist(), counts[order].tolist(), strict=True):
        i = np.arange(min(m, m if size is None else size) + 1)
        if size is not None and place == len(order) - 1:
            fits = (drawn <= size) & (size - drawn <= m)
            i = size - drawn[fits]
            sums, mass = sums[fits] + value * i, mass[fits] + _log_binomial(m)[i]
            break
        if len(mass) * len(i) > _WAYS:
            return None
        sums, drawn = ((x[:, None] + y).reshape(-1) for x, y in ((sums, value * i), (drawn, i)))
        mass = (mass[:, None] + _log_binomial(m)[i]).reshape(-1)
        possible = drawn <= (len(ranks) if size is None else size)
        sums, drawn, mass = sums[possible], drawn[possible], mass[possible]
    order = np.argsort(sums, kind="stable")
    sums, mass = sums[order], np.exp(mass - mass.max())[order]
    below, above = np.append(0.0, np.cumsum(mass)), np.append(np.cumsum(mass[::-1])[::-1], 0.0)
    return below[np.searchsorted(sums, found, "right")] / below[-1], above[np.searchsorted(sums, found)] / below[-1]


def _log_binomial(m: int) -> Floats:
    """The logarithms of the binomial coefficients of m."""
    factorials = np.append(0.0, np.cumsum(np.log(np.arange(1, m + 1))))
    found: Floats = factorials[-1] - factorials - factorials[::-1]
    return found


def _edgeworth(found: Ints, mean: float, spread: float, excess: float, step: int) -> tuple[Floats, Floats]:
    """Both tails of a symmetric lattice variable from its mean, standard deviation and excess kurtosis."""

    def above(x: Floats) -> Floats:
        density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        normal = np.array([math.erfc(one / math.sqrt(2)) / 2 for one in x.tolist()])
        tail: Floats = normal + density * excess / 24 * (x**3 - 3 * x)
        return np.minimum(np.maximum(tail, 0.0), 1.0)

    at = found.astype(float)
    return above((mean - at - step / 2) / spread), above((at - mean - step / 2) / spread)


def signed_rank_below(n: int) -> Floats:
    """P(T <= t), t = 0 ... n (n + 1) / 2, of the signed-rank statistic of n untied pairs."""
    return _tails_of_sums(tuple(range(1, n + 1)))[0]


def rank_sum_below(n_a: int, n_b: int) -> Floats:
    """P(U <= u), u = 0 ... n_a n_b, of the Mann-Whitney statistic of untied samples."""
    least = n_a * (n_a - 1) // 2
    return _tails_of_parts(tuple(range(n_a + n_b)), n_a)[0][least : least + n_a * n_b + 1]


@functools.lru_cache(maxsize=4096)
def _tails_of_sums(weights: tuple[int, ...]) -> tuple[Floats, Floats]:
    """P(sum <= t) and P(sum >= t), t = 0 ... the sum of all weights; each is in it with probability 1/2."""
    mass = np.zeros(sum(weights) + 1)
    mass[0], reach = 1.0, 0
    for weight in weights:
        mass[weight : reach + weight + 1] += mass[: reach + 1].copy()
        reach += weight
    return _tails(mass * 0.5 ** len(weights))


@functools.lru_cache(maxsize=4096)
def _tails_of_parts(weights: tuple[int, ...], size: int) -> tuple[Floats, Floats]:
    """The same of the sum of `size` of the weights, drawn without replacement."""
    mass = np.zeros((size + 1, sum(weights) + 1))
    mass[0, 0] = 1.0
    # of n weights k are looked at and i of them drawn: the next one is drawn with probability (size - i) / (n - k)
    drawn, n = np.arange(size + 1)[:, None], len(weights)
    for k, weight in enumerate(weights):
        taken = mass * np.clip((size - drawn) / (n - k), 0.0, 1.0)
        mass -= taken
        mass[1:, weight:] += taken[:-1, : mass.shape[1] - weight]
    return _tails(mass[size])


def _tails(mass: Floats) -> tuple[Floats, Floats]:
    return np.minimum(np.cumsum(mass), 1.0), np.minimum(np.cumsum(mass[::-1])[::-1], 1.0)
