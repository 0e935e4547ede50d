"""How much two configurations differ: Hodges and Lehmann's estimates with the intervals that belong to the rank tests.

Of pairs, the median of the Walsh averages (d_i + d_j) / 2, i <= j, of their differences; of two samples, the median
of all differences a_i - b_j. The ends of each interval are order statistics of the same numbers: it holds the shifts
that the exact rank test does not reject, and covers with the probability that the test's distribution gives, which is
said with it (`coverage`), for differences of any continuous distribution that is symmetric (of samples: that differ
by a shift). Nothing is assumed of means or variances, so that Cauchy losses and diverged runs have intervals too; an
end may be infinite. Below six pairs no order statistic reaches 95 %: the whole range is given, with the probability
that it has.

No interval of a mean is offered: with five runs of lognormal losses Student's covers 82 % where it says 95 %, and the
bootstrap's 71 % (tests/metrics/test_null_simulations.py prints the figures).

Source: J. L. Hodges and E. L. Lehmann, Ann. Math. Statist. 34 (1963) 598; M. Hollander, D. A. Wolfe and E. Chicken,
Nonparametric Statistical Methods, 3rd ed. (2014), sections 3.2, 3.3, 4.2 and 4.3.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from optbench.metrics.estimates import Estimate, Floats
from optbench.metrics.rank_tests import (
    EXACT_PAIRS_UNTIED,
    EXACT_RUNS_UNTIED,
    rank_sum_below,
    signed_rank_below,
)
from optbench.metrics.sums import Sums, quantiles

_MANY = 2000
"""Values of a row from which on so many of its quantiles stand for it: an error of a millionth of the spread."""


def paired_shifts(d: Floats, level: float = 0.95) -> list[Estimate]:
    """The median of the Walsh averages of each row's differences, and its interval.

    Args:
        d: differences, (rows, n), without NaN, n >= 1; +inf and -inf average to 0.
        level: the least coverage where n allows it.

    Returns:
        One estimate a row; without an interval for n = 1.
    """
    n = d.shape[1]
    k, coverage = _pairs_rank(n, level)
    return _ordered(Sums.of_pairs(thinned(d)), k / (n * (n + 1) // 2), coverage, n)


def unpaired_shifts(a: Floats, b: Floats, level: float = 0.95) -> list[Estimate]:
    """The median of all differences between two samples, and its interval.

    Args:
        a, b: two samples a row, (rows, n_a) and (rows, n_b), without NaN; inf - inf is 0.
        level: the least coverage where the numbers of runs allow it.

    Returns:
        One estimate a row, of n_a + n_b runs; without an interval where the test has none.
    """
    n_a, n_b = a.shape[1], b.shape[1]
    k, coverage = _runs_rank(n_a, n_b, level)
    return _ordered(Sums.of_samples(thinned(a), thinned(b)), k / (n_a * n_b), coverage, n_a + n_b)


@functools.lru_cache(maxsize=4096)
def superiority(wins: float, n_a: int, n_b: int, level: float = 0.95) -> Estimate:
    """The probability that a run of a beats one of b, from two samples, with Newcombe's interval.

    Args:
        wins: share of the n_a n_b comparisons that a wins, ties as halves.

    Source: R. G. Newcombe, Statistics in Medicine 25 (2006) 559, method 5.
    """
    z, middle = NormalDist().inv_cdf((1 + level) / 2), (n_a + n_b) / 2 - 1

    def beyond(p: float) -> float:
        spread = p * (1 - p) * (1 + middle * ((1 - p) / (2 - p) + p / (1 + p))) / (n_a * n_b)
        return (wins - p) ** 2 - z * z * spread

    return Estimate(wins, root(beyond, 0.0, wins), root(beyond, 1.0, wins), level, n_a + n_b)


def root(beyond: Callable[[float], float], end: float, inside: float) -> float:
    """Where `beyond` changes its sign between an end, where it is above 0 unless nothing is beyond, and inside."""
    if beyond(end) <= 0:
        return end
    for _ in range(60):
        middle = (end + inside) / 2
        end, inside = (middle, inside) if beyond(middle) > 0 else (end, middle)
    return inside


def thinned(values: Floats, most: int = _MANY) -> Floats:
    """The values, or so many of their quantiles where there are more, (..., n) -> (..., most at most)."""
    return values if values.shape[-1] <= most else quantiles(np.sort(values, axis=-1), most)


def _ordered(sums: Sums, share: float, coverage: float | None, n: int) -> list[Estimate]:
    """The median of each row of sums, and those in the places `share` of all from either end."""
    count = sums.count
    k = max(1, round(share * count))
    low, high, left, right = sums.at([k - 1, count - k, (count - 1) // 2, count // 2]).T.tolist()
    middle = map(halfway, left, right)
    if coverage is None:
        return [Estimate(value, n=n) for value in middle]
    return [Estimate(*found, coverage, n) for found in zip(middle, low, high, strict=True)]


def halfway(left: float, right: float) -> float:
    """Their mean; 0 of both infinities."""
    middle = left if left == right else left / 2 + right / 2
    return 0.0 if math.isnan(middle) else middle


@functools.lru_cache(maxsize=4096)
def _pairs_rank(n: int, level: float) -> tuple[int, float | None]:
    """The largest k whose interval [W_(k), W_(M+1-k)] covers with at least `level`; 1 where none does."""
    if n == 1:
        return 1, None
    if n <= EXACT_PAIRS_UNTIED:
        return _rank(signed_rank_below(n), level)
    spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return _normal_rank(n * (n + 1) / 4, spread, level)


@functools.lru_cache(maxsize=4096)
def _runs_rank(n_a: int, n_b: int, level: float) -> tuple[int, float | None]:
    if n_a * n_b == 1:
        return 1, None
    if n_a + n_b <= EXACT_RUNS_UNTIED:
        return _rank(rank_sum_below(n_a, n_b), level)
    return _normal_rank(n_a * n_b / 2, math.sqrt(n_a * n_b * (n_a + n_b + 1) / 12), level)


def _rank(below: Floats, level: float) -> tuple[int, float]:
    # the interval of rank k misses where the statistic is below k, or as far above its middle
    k = max(1, int((1 - 2 * below[: (len(below) + 1) // 2] >= level).sum()))
    return k, float(1 - 2 * below[k - 1])


def _normal_rank(mean: float, spread: float, level: float) -> tuple[int, float]:
    k = int(mean + 0.5 - NormalDist().inv_cdf((1 + level) / 2) * spread)
    return k, 1 - 2 * NormalDist().cdf((k - 0.5 - mean) / spread)
