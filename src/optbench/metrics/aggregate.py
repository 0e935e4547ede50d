"""One number over many problems, with the uncertainty that few seeds leave.

Every problem counts alike, however many seeds it has. Seeds are resampled within each problem (a stratified bootstrap),
for the problems are the question and the seeds the chance. Scores are put on one scale by whoever calls (0 the start,
1 the best known, say); a run without a result has the worst score of that scale, not none.

Source: R. Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, NeurIPS 2021,
arXiv:2108.13264.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Estimate, Floats
from optbench.metrics.resampling import DRAWS, drawn, in_order, of_means, of_middles, of_pooled, percentiles, stream

_AT_ONCE = 2_000_000
"""Numbers of resamples held at a time."""


def interquartile_mean(problems: Sequence[npt.ArrayLike]) -> float:
    """Mean of the middle half of all runs.

    Runs are weighted so that problems count alike, and sorted; those between the quarters of the total weight count,
    one that lies across a quarter in part. With equally many seeds and a number of runs that 4 divides, it is the
    trimmed mean of rliable, which rounds the cut down otherwise, so that two copies of a problem change it.

    Args:
        problems: the scores of each problem's runs.
    """
    values, weights = _pooled(in_order(problems))
    return float(_middle(values[None], weights[None])[0])


def iqm(problems: Sequence[npt.ArrayLike], level: float = 0.95, draws: int = DRAWS) -> Estimate:
    """`interquartile_mean` with its stratified bootstrap interval; n is the number of runs. Its coverage is that which
    was measured (`resampling.of_middles`, of several problems `of_pooled`)."""
    return _estimate(problems, _middle, level, draws, covers=_of_middles)


def optimality_gap(
    problems: Sequence[npt.ArrayLike], gamma: float = 1.0, level: float = 0.95, draws: int = DRAWS
) -> Estimate:
    """Mean amount by which a run stays below gamma, more being better: mean of max(0, gamma - score), with interval."""
    return _estimate(
        problems, lambda values, weights: _mean(np.maximum(gamma - values, 0.0), weights), level, draws, of_means
    )


def mean_score(problems: Sequence[npt.ArrayLike], level: float = 0.95, draws: int = DRAWS) -> Estimate:
    """Mean over problems of the mean over runs, with the same interval: one outlier moves it at will."""
    return _estimate(problems, _mean, level, draws, of_means)


def improvement(
    ours: Sequence[npt.ArrayLike], theirs: Sequence[npt.ArrayLike], level: float = 0.95, *, direction: int = -1
) -> Estimate:
    """Probability that a run of ours is better than one of theirs, the mean over problems; equal ones count a half.

    Of each problem it is Mann and Whitney's U / (n m). It says how often, not by how much. The interval holds all theta
    that are within z standard errors, by their own variance, of what was found:
    V(theta) = theta (1 - theta) (1 + N (1 - theta) / (2 - theta) + N theta / (1 + theta)) / (n m), N = (n + m) / 2 - 1,
    summed over problems / P^2. So it has a width also where every run of ours wins, where all resamples of a bootstrap
    are the same.

    Args:
        ours, theirs: values of the runs of each problem, the problems in the same order; infinite ones take part.
        direction: what is better: -1 small values, 1 large ones.

    Source: R. G. Newcombe, Stat. Med. 25 (2006) 559, method 5.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"values of the same problems, at least one, not {len(ours)} and {len(theirs)}")
    pairs = [in_order([a]) + in_order([b]) for a, b in zip(ours, theirs, strict=True)]
    shares = [np.where(a[:, None] == b, 0.5, (a[:, None] > b) == (direction > 0)).mean() for a, b in pairs]
    value = min(math.fsum(shares) / len(shares), 1.0)
    sizes = sorted(Counter((len(a), len(b)) for a, b in pairs).items())
    width = NormalDist().inv_cdf((1 + level) / 2)
    low, high = _score_limit(value, sizes, width), 1 - _score_limit(1 - value, sizes, width)
    n = sum(count * min(size) for size, count in sizes)
    return Estimate(value, min(low, value), max(high, value), level, n)


def _score_limit(value: float, sizes: list[tuple[tuple[int, int], int]], width: float) -> float:
    """The least theta with value - theta <= width sqrt(V(theta)), by halving; `sizes`: problems by n and m."""
    problems = sum(count for _, count in sizes)

    def beyond(theta: float) -> bool:
        slope = (1 - theta) / (2 - theta) + theta / (1 + theta)
        parts = sum(count * (1 + ((n + m) / 2 - 1) * slope) / (n * m) for (n, m), count in sizes)
        return value - theta > width * math.sqrt(theta * (1 - theta) * parts) / problems

    low, high = 0.0, value
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) else (low, middle)
    return low


Score = Callable[[Floats, Floats], Floats]
"""From values and weights of runs, (b, n) each, to one number a row."""


def _estimate(
    problems: Sequence[npt.ArrayLike],
    score: Score,
    level: float,
    draws: int,
    measured: Callable[[int, float], float] = lambda n, level: level,
    covers: Callable[[list[Floats], float], float | None] = lambda problems, level: None,
) -> Estimate:
    given = in_order(problems)
    values, weights = _pooled(given)
    random = stream()
    at_once = max(1, _AT_ONCE // len(values))
    samples = [
        score(_resampled(given, random, size), np.broadcast_to(weights, (size, len(weights))))
        for size in np.diff([*range(0, draws, at_once), draws]).tolist()
    ]
    value = score(values[None], weights[None])
    n = len(values)
    found, least = np.concatenate(samples)[:, None], measured(max(n - len(given) + 1, 2), level)
    return percentiles(value, found, level, n, len(given), least, covers=covers(given, level))[0]


def _of_middles(problems: list[Floats], level: float) -> float | None:
    if len(problems) == 1:
        return of_middles(len(problems[0]), level)
    return of_pooled(len(problems), min(map(len, problems)), level)


def _pooled(problems: list[Floats]) -> tuple[Floats, Floats]:
    sizes = [len(values) for values in problems]
    return np.concatenate(problems), np.repeat([1 / (n * len(problems)) for n in sizes], sizes)


def _resampled(problems: list[Floats], random: np.random.Generator, draws: int) -> Floats:
    """The runs of each problem, drawn with replacement, side by side, (draws, n)."""
    return np.concatenate([values[drawn(random, len(values), draws)] for values in problems], axis=1)


def _mean(values: Floats, weights: Floats) -> Floats:
    return np.asarray((values * weights).sum(axis=1))


def _middle(values: Floats, weights: Floats) -> Floats:
    """Mean of what lies between the quarters of the weight, of each row."""
    if (weights == weights[0, 0]).all():
        ordered, own = np.sort(values, axis=1), weights[:1]  # one row stands for all
    else:
        order = np.argsort(values, axis=1, kind="stable")
        ordered, own = np.take_along_axis(values, order, axis=1), np.take_along_axis(weights, order, axis=1)
    above = np.cumsum(own, axis=1)
    inside = np.clip(np.minimum(above, 0.75) - np.maximum(above - own, 0.25), 0.0, None)
    taken = np.where(inside > 1e-12, inside, 0.0)  # what rounding leaves of a run beside a quarter
    some = (taken > 0).any(axis=0)
    ordered, taken = ordered[:, some], taken[:, some]
    return np.asarray((np.where(taken > 0, ordered, 0.0) * taken).sum(axis=1) / taken.sum(axis=1))
