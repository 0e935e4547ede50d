"""The bootstrap as all scores use it: one stream, so that the same runs give the same interval whatever their order.

What is resampled is put in order first (`in_order`, `rows_in_order`); a permutation of the input changes no bit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Estimate, Floats

DRAWS = 2000
"""Resamples of an interval where nothing else is asked for."""


def stream() -> np.random.Generator:
    """The random numbers of one interval: the same ones for each."""
    return np.random.default_rng(0)


def drawn(random: np.random.Generator, n: int, draws: int) -> npt.NDArray[np.int64]:
    """Which of n runs each resample has, (draws, n)."""
    return random.integers(0, n, size=(draws, n))


@functools.lru_cache(maxsize=16)
def counted(n: int, draws: int) -> Floats:
    """How often each of n runs is in each resample, (draws, n), whole numbers; not to be written to."""
    counts = stream().multinomial(n, np.full(n, 1 / n), size=draws).astype(float)
    counts.flags.writeable = False
    return counts


def in_order(problems: Sequence[npt.ArrayLike]) -> list[Floats]:
    """Runs of each problem ascending, and the problems by number and values of their runs.

    Raises:
        ValueError: there is no problem, a problem without runs, or a value that is no number.
    """
    arrays = [np.sort(np.asarray(values, dtype=float).ravel()) for values in problems]
    if not arrays or any(not len(values) or np.isnan(values[-1]) for values in arrays):
        raise ValueError("a score needs at least one problem, at least one run of each, and numbers only")
    return sorted(arrays, key=lambda values: (len(values), values.tolist()))


def rows_in_order(*columns: Floats) -> list[Floats]:
    """The same runs in an order of their own: arrays (n,) or (n, t), sorted together by all their entries."""
    keys = [key for column in columns for key in (column.T if column.ndim == 2 else [column])]
    order = np.lexsort(keys)
    return [column[order] for column in columns]


_MEANS = {2: 0.42, 3: 0.64, 4: 0.75, 5: 0.81, 6: 0.82, 8: 0.835, 10: 0.845, 15: 0.86, 20: 0.87, 30: 0.88, 50: 0.9,
          100: 0.915, 200: 0.93, 500: 0.94, 1000: 0.95}  # fmt: skip
"""Of numbers of runs, how often 95 % intervals of their mean covered it, see `of_means`."""


def of_means(n: int, level: float = 0.95) -> float:
    """How often an interval of level 95 % of the mean of n runs covers it: what can be promised whatever the losses.

    The least that was measured of Student's interval and of the bootstrap's, of plain means, of means up to a limit
    and of expected running times with three runs in ten that fail, for normal, lognormal (sigma 1) and t_3 numbers;
    the lognormal ones are covered least. tests/metrics/test_covering.py measures it again. Between the numbers of runs
    of the table it is interpolated in their logarithm.

    Args:
        n: number of runs, at least 2.
        level: of the interval; what was measured is of 0.95, and no less is promised of another.
    """
    if level != 0.95:
        return level
    return _interpolated(_MEANS, n)


_MIDDLES = {6: 0.96, 7: 0.966, 8: 0.966, 9: 0.972, 10: 0.973, 11: 0.967, 12: 0.965, 16: 0.964, 20: 0.961, 30: 0.958,
            50: 0.95}  # fmt: skip
_POOLED = {
    2: {2: 0.65, 3: 0.885, 4: 0.945, 5: 0.965, 10: 0.963, 30: 0.956},
    3: {2: 0.75, 3: 0.927, 4: 0.953, 5: 0.958, 10: 0.961, 30: 0.955},
    6: {2: 0.875, 3: 0.95, 5: 0.956, 10: 0.955, 30: 0.95},
    12: {2: 0.925, 3: 0.945, 5: 0.953, 10: 0.953, 30: 0.95},
    20: {2: 0.94, 3: 0.943, 5: 0.95},
}
_RATIOS = {2: 0.67, 3: 0.9, 4: 0.92, 5: 0.967, 10: 0.961}
_SURVIVORS = {2: 0.988, 3: 0.979, 5: 0.975, 10: 0.969, 20: 0.964, 30: 0.96, 50: 0.954}
_CONTRASTS = {2: 0.7, 3: 0.86, 5: 0.92, 10: 0.9, 30: 0.905}
_PROFILES = {2: 0.73, 3: 0.93, 4: 0.96, 5: 0.974, 10: 0.968, 30: 0.969}
"""Of numbers of runs, how often intervals covered that say 95 %, see the functions below."""


def of_middles(n: int, level: float = 0.95) -> float | None:
    """How often expanded percentile intervals of the interquartile mean of n runs of one problem cover it.

    From 6 runs on a little oftener than 95 %, for normal, lognormal (sigma 1) and t_3 numbers alike within 0.006; fewer
    runs cover as `percentiles` says. Measured in 4,000 to 6,000 samples each. None where nothing was measured.
    """
    return _interpolated(_MIDDLES, n) if level == 0.95 and n >= min(_MIDDLES) else None


def of_pooled(problems: int, n: int, level: float = 0.95) -> float | None:
    """The same of the runs of several problems, n of each (the fewest, where they differ): of few problems with two or
    three runs each far less than 95 %, since resamples of them have few values. Normal, lognormal and t_3 numbers alike
    within 0.015; interpolated in both logarithms. None where nothing was measured."""
    if level != 0.95 or n < 2 or problems < 2:
        return None
    known = [_interpolated(table, n) for table in _POOLED.values()]
    return float(np.interp(math.log(problems), [math.log(size) for size in _POOLED], known))


def of_ratios(n: int, level: float = 0.95) -> float | None:
    """How often percentile intervals (not expanded) of a ratio of two medians cover it, the smaller sample of n runs.

    For absolute normal, lognormal and t_3 numbers and samples of equal sizes within 0.01; of unequal ones (2 and 10:
    0.79, 3 and 10: 0.92, 5 and 30: 0.96) at least so often. None where nothing was measured.
    """
    return _interpolated(_RATIOS, n) if level == 0.95 and n >= min(_RATIOS) else None


def of_profiles(n: int, level: float = 0.95) -> float | None:
    """How often percentile intervals (not expanded) of AlgoPerf's score cover it, on two problems on which it takes 2.2
    times as long as the fastest, n runs of each: within 0.02 for the same three kinds of numbers. None where nothing
    was measured."""
    return _interpolated(_PROFILES, n) if level == 0.95 and n >= min(_PROFILES) else None


def of_contrasts(n: int, level: float = 0.95) -> float:
    """How often the interval of a sensitivity covers, n the fewest runs of a rate (`tuned.sensitivity_interval`): the
    least that was found. `level` where nothing was measured."""
    return _interpolated(_CONTRASTS, n) if level == 0.95 else level


def of_survivors(n: int, level: float = 0.95) -> float:
    """How often the log-log interval of Kaplan and Meier's share of n runs covers it, on average over all shares,
    where it exists; the same without censoring and with three runs in ten that are stopped. `level` where nothing was
    measured."""
    return _interpolated(_SURVIVORS, n) if level == 0.95 and n >= min(_SURVIVORS) else level


def _interpolated(table: dict[int, float], n: int) -> float:
    """Between the numbers of runs of a table in their logarithm; beyond its ends, the end."""
    return float(np.interp(math.log(n), [math.log(size) for size in table], list(table.values())))


def percentiles(
    values: npt.ArrayLike,
    samples: Floats,
    level: float,
    n: int,
    strata: int = 1,
    measured: float = 1.0,
    *,
    covers: float | None = None,
    expanded: bool = True,
) -> list[Estimate]:
    """Expanded percentile intervals of statistics (t,) from their resamples (draws, t).

    Resamples of few runs spread too little: by sqrt((n - strata) / n), and their spread is itself uncertain. So the
    percentiles are those with which the mean of normal numbers is covered exactly, z' = sqrt(n / f) t_f with
    f = n - strata degrees of freedom, further out than `level` says. No resample lies beyond the runs themselves, which
    miss the middle of a symmetric distribution with probability 2^-f: the coverage is 1 - 2^-f where that is less.
    Without degrees of freedom there is no interval.

    That is so of middles: medians, interquartile means and what is made of them are covered at least so often, within
    0.01, for n = 5, 10 and 30 normal, lognormal and t_3 runs; where it is oftener, `of_middles` says so. Skewed means
    are not, see `of_means`. Ratios of medians are covered too often so: their percentiles are not `expanded`.

    Both ends are resamples themselves, so infinite ones are no obstacle; the interval is widened to the value.

    Args:
        n: number of runs.
        strata: number of groups that were resampled each by itself.
        measured: how often such intervals were found to cover, where it is less.
        covers: how often they were found to cover, less or more; None: as above.
        expanded: whether the percentiles are those further out, and not those that `level` says.

    Source: T. C. Hesterberg, What Teachers Should Know About the Bootstrap, Am. Stat. 69 (2015) 371, section 5.3.
    """
    given = np.atleast_1d(np.asarray(values, dtype=float))
    if n <= strata:
        return [Estimate(value, n=n) for value in given.tolist()]
    draws = len(samples)
    end = outside(level, n, n - strata, draws) if expanded else int((1 - level) / 2 * draws)
    ends = [end, draws - 1 - end]
    low, high = np.partition(samples.reshape(draws, -1).T, ends, axis=1)[:, ends].T
    low, high = np.minimum(low, given), np.maximum(high, given)
    coverage = min(level, 1 - 2.0 ** (strata - n), measured) if covers is None else covers
    found = zip(given.tolist(), low.tolist(), high.tolist(), strict=True)
    return [Estimate(value, least, most, coverage, n) for value, least, most in found]


@functools.lru_cache(maxsize=256)
def outside(level: float, n: int, freedom: int, draws: int) -> int:
    """How many of the resamples of n runs lie beyond each end of an expanded interval, see `percentiles`."""
    return int(NormalDist().cdf(-math.sqrt(n / freedom) * student_quantile(level, freedom)) * draws)


@functools.lru_cache(maxsize=256)
def student_quantile(level: float, freedom: int) -> float:
    """t with P(|T| <= t) = level, T of Student's distribution: here, so that reading results need not import scipy.

    With theta = arctan(t / sqrt(f)), the probability is a finite sum of powers of its cosine; beyond 200 degrees of
    freedom, Cornish and Fisher's expansion to f^-4 has 9 digits.

    Source: M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions, 26.7.3, 26.7.4, 26.7.5.
    """
    if freedom > 200:
        z = NormalDist().inv_cdf((1 + level) / 2)
        terms = (
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
        )
        return float(z + sum(term / freedom**k for k, term in enumerate(terms, 1)))
    odd = freedom % 2
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        theta = (low + high) / 2
        total, term, squared = 0.0, math.cos(theta) if odd else 1.0, math.cos(theta) ** 2
        for k in range(freedom // 2):
            total += term
            term *= squared * (2 * k + 1 + odd) / (2 * k + 2 + odd)
        reached = 2 / math.pi * (theta + math.sin(theta) * total) if odd else math.sin(theta) * total
        low, high = (theta, high) if reached < level else (low, theta)
    return math.sqrt(freedom) * math.tan((low + high) / 2)
