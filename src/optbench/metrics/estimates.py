"""A statistic with its interval, and the few that need nothing but numpy.

The binomial distribution at probability 1/2 is summed here, in whole numbers or by ratios of its terms.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_EXACT_UP_TO = 2000
"""Runs up to which the coverage of a median's interval is summed in whole numbers."""


@dataclass(frozen=True)
class Estimate:
    """A statistic and its interval.

    Attributes:
        value: the statistic; infinite where too many runs have no result.
        low, high: the interval, low <= value <= high; None where the statistic has no interval.
        coverage: probability that the interval covers the true value; None without an interval.
        n: number of runs that it is of; None where that was not said.
    """

    value: float
    low: float | None = None
    high: float | None = None
    coverage: float | None = None
    n: int | None = field(default=None, compare=False)


def median_interval(values: npt.ArrayLike, level: float = 0.95) -> Estimate:
    """The median and its distribution-free confidence interval, from the order statistics.

    The interval [y_(k), y_(n+1-k)] covers the median of any continuous distribution with probability
    1 - 2 P(Bin(n, 1/2) <= k - 1). k is the largest for which that is at least `level`. For n < 6 no k reaches 95 %: the
    range (k = 1) is returned with the coverage that it has, 1 - 2^(1-n); for n = 1 that is 0, and there is no interval.

    Args:
        values: (n,) one value per run, n >= 1; infinities take part: halfway between -inf and +inf is +inf.
        level: the least coverage.

    Source: H. A. David and H. N. Nagaraja, Order Statistics, 3rd ed. (2003), section 7.1.
    """
    return median_intervals(np.asarray(values, dtype=float).reshape(1, -1), level)[0]


def median_intervals(values: npt.ArrayLike, level: float = 0.95) -> list[Estimate]:
    """`median_interval` of each of g groups of n runs, (g, n) -> g."""
    given = np.asarray(values, dtype=float)
    n = given.shape[1]
    if n == 0 or np.isnan(given).any():
        raise ValueError("a median needs at least one value, and numbers only")
    if n == 1:
        return [Estimate(value, n=1) for value in given[:, 0].tolist()]
    rank, coverage = _median_rank(n, level)
    places = [rank - 1, n - rank, n // 2 - 1 + n % 2, n // 2]
    low, high, left, right = np.partition(given, places, axis=1)[:, places].T
    middle = left if n % 2 else _halfway(left, right)
    found = zip(middle.tolist(), low.tolist(), high.tolist(), strict=True)
    return [Estimate(value, least, most, coverage, n) for value, least, most in found]


def _halfway(left: Floats, right: Floats) -> Floats:
    """(left + right) / 2, rounded once, so that it lies between them: halves of the smallest numbers are 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        both = left + right
        middle = np.where(np.isinf(both), left / 2 + right / 2, both / 2)
    return np.where(np.isnan(middle), right, middle)


@functools.lru_cache(maxsize=256)
def _median_rank(n: int, level: float) -> tuple[int, float]:
    """The largest k whose interval covers the median with at least `level`, and its coverage; 1 where none does."""
    if n > _EXACT_UP_TO:
        return _median_rank_of_many(n, level)
    rank, coverage = 1, 1 - 2.0 ** (1 - n)
    term, below = 1, 1  # C(n, rank - 1), sum_{i < rank} C(n, i)
    while 2 * (rank + 1) <= n + 1:
        term = term * (n - rank + 1) // rank
        below += term
        reached = 1 - 2 * below / 2**n
        if reached < level:
            break
        rank, coverage = rank + 1, reached
    return rank, coverage


def _median_rank_of_many(n: int, level: float) -> tuple[int, float]:
    """The same from the ratios of neighbouring binomial coefficients, relative to the middle one."""
    middle = n // 2
    reach = min(middle, 7 * math.isqrt(n))  # beyond, all terms together are below 1e-40
    i = np.arange(middle, middle - reach, -1).astype(np.longdouble)  # extended where there is such a type
    terms = np.concatenate([[np.longdouble(1)], np.cumprod(i / (n - i + 1))])[::-1]  # C(n, i), i = middle - reach ...
    below = np.cumsum(terms)  # up to and with i
    whole = 2 * below[-1] - (0 if n % 2 else 1)  # n odd: there are two in the middle
    reached = (1 - 2 * below / whole).astype(float)
    last = int(np.flatnonzero(reached >= level)[-1])
    return middle - reach + last + 1, float(reached[last])


def success_rate(successes: int, n: int, level: float = 0.95) -> Estimate:
    """Share of successes with Wilson's score interval.

    Its coverage goes up and down with the true share, for successes are whole: the mean over all shares is 0.955,
    0.954 and 0.953 for n = 5, 10 and 30 at 95 %, and the least, at shares beside 0 and 1, is 0.83, 0.84 and 0.86
    (between 0.2 and 0.8: 0.91, 0.92 and 0.93).

    Args:
        successes: number of runs that succeeded.
        n: number of runs, at least 1.
        level: nominal coverage.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes in {n} runs")
    return wilson(successes / n, n, level)


def wilson(share: float, n: int, level: float = 0.95) -> Estimate:
    """A share of n and its score interval; the share may count ties as halves. Source: as success_rate."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    weight = 1 / (1 + z * z / n)
    centre = weight * (share + z * z / (2 * n))
    half = weight * z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))  # at 0 and 1 up to rounding
    return Estimate(share, low, high, level, n)


def expected_running_time(hits: Sequence[float | None] | Floats, ends: Sequence[float] | Floats) -> float:
    """COCO's ERT: cost spent by all runs until they hit or ended, divided by the number of hits; inf without a hit.

    Args:
        hits: cost at which each run reached the target; None or NaN for a run that did not.
        ends: cost at which each run ended.

    Source: N. Hansen et al., COCO: Performance Assessment, arXiv:1605.03560.
    """
    if len(hits) != len(ends):
        raise ValueError(f"{len(hits)} hits for {len(ends)} runs")
    if not len(hits):
        return math.inf
    return expected_running_times(np.asarray(hits, dtype=float)[None], np.asarray(ends, dtype=float)[None])[0]


def expected_running_times(hits: Floats, ends: Floats) -> list[float]:
    """`expected_running_time` of each of g groups of n runs, (g, n) and (g, n) -> g; NaN for a run that did not hit."""
    missed = np.isnan(hits)
    spent = np.where(missed, ends, hits).sum(axis=1)
    reached = (~missed).sum(axis=1)
    return np.where(reached > 0, spent / np.maximum(reached, 1), np.inf).tolist()  # type: ignore[no-any-return]
