"""The bootstrap as all scores use it: one stream, so that the same runs give the same interval whatever their order.

What is resampled is put in order first (`in_order`, `rows_in_order`); a permutation of the input changes no bit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

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


def percentiles(values: npt.ArrayLike, samples: Floats, level: float, n: int) -> list[Estimate]:
    """Percentile intervals: of each value, (t,), the middle `level` of its resamples, (draws, t).

    Both ends are resamples themselves, so infinite ones are no obstacle. Where the middle lies aside of the value, the
    interval is widened to it. The coverage is nominal: with few runs (below 10) the bootstrap covers less.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    given = np.atleast_1d(np.asarray(values, dtype=float))
    if n < 2:
        return [Estimate(value, n=n) for value in given.tolist()]
    draws = len(samples)
    outside = int((1 - level) / 2 * draws)
    ends = [outside, draws - 1 - outside]
    low, high = np.partition(samples.reshape(draws, -1).T, ends, axis=1)[:, ends].T
    low, high = np.minimum(low, given), np.maximum(high, given)
    found = zip(given.tolist(), low.tolist(), high.tolist(), strict=True)
    return [Estimate(value, least, most, level, n) for value, least, most in found]
