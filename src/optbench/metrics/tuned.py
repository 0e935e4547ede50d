"""What tuning gained, what it cost, and by how much its own number flatters.

The best of k trials is better than it will be again: the winner was lucky too. So a tuned value is shown by the number
of trials that it took (`best_of`), and measured on seeds that did not choose it (`choose`, or `nested` where none were
put aside). How much the choice of a learning rate matters at all is `sensitivity` and `share_within`; `edge` says when
the best one may lie outside of what was tried.

`direction` is what is better: -1 small values, 1 large ones. A trial without result has the worst value, infinite; none
is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Estimate, Floats, median_interval
from optbench.metrics.resampling import DRAWS, drawn, of_contrasts, outside, percentiles, stream

_NOT_BEST = 0.01
"""Chance that a rate that is the best is taken for none, see `sensitivity_interval`."""


@dataclass(frozen=True)
class BestOf:
    """The best value of k trials, by k.

    Attributes:
        trials: (m,) numbers of trials k.
        expected: (m,) mean of the best of k; infinite as long as all k may be without result.
        low, high: (m,) its bootstrap band over trials.
        median: (m,) median of the best of k, which the trials without result leave finite sooner.
    """

    trials: npt.NDArray[np.int64]
    expected: Floats
    low: Floats
    high: Floats
    median: Floats


def best_of(
    values: npt.ArrayLike,
    trials: npt.ArrayLike | None = None,
    *,
    direction: int = -1,
    start: float | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
) -> BestOf:
    """What the best of k of N random trials is, drawn without replacement, in closed form.

    With the values ascending, the best of k is the i-th with probability C(N - i, k - 1) / C(N, k), so that
    E_k = sum_i y_(i) C(N - i, k - 1) / C(N, k). For m trials without result, E_k is infinite for k <= m; the median is
    y_(i) for the first i with 1 - C(N - i, k) / C(N, k) >= 1/2. The trials must be an order that knows nothing of the
    values: random or quasi-random search, not one that learns.

    Args:
        values: (N,) of the trials.
        trials: numbers of trials k, from 1 to N; all of them where none are given.
        start: the value before training: worse ones, infinite ones among them, count as it, and all are finite.
        level, draws: of the band.

    Raises:
        ValueError: no trials, a value that is no number or infinitely good, or k beyond N.

    Source: J. Dodge et al., Show Your Work, EMNLP 2019, with replacement there; P. T. Sivaprasad et al., Optimizer
    Benchmarking Needs to Account for Hyperparameter Tuning, ICML 2020, arXiv:1910.11758.
    """
    given = -direction * np.asarray(values, dtype=float).ravel()
    if start is not None:
        given = np.minimum(given, -direction * start)
    n = len(given)
    ks = np.arange(1, n + 1) if trials is None else np.atleast_1d(np.asarray(trials, dtype=np.int64))
    if not n or np.isnan(given).any() or np.isneginf(given).any():
        raise ValueError("the best of trials needs at least one value, numbers only, and none infinitely good")
    if len(ks) and not 1 <= ks.min() <= ks.max() <= n:
        raise ValueError(f"numbers of trials from 1 to {n}, not {ks.min()} to {ks.max()}")
    given = np.sort(given)
    chances = _chances(n, ks)
    expected = _expected(given[None], chances, ks)
    samples = _expected(np.sort(given[drawn(stream(), n, draws)], axis=1), chances, ks)
    band = percentiles(expected[0], samples, level, n)
    low, high = (
        np.array([math.nan if end is None else end for end in ends])
        for ends in ([one.low for one in band], [one.high for one in band])
    )
    median = given[np.argmax(np.cumsum(chances, axis=1) >= 0.5 - 1e-12, axis=1)]
    if direction > 0:
        low, high = high, low
    turned = (-direction * part + 0.0 for part in (expected[0], low, high, median))
    return BestOf(ks, *turned)


def _chances(n: int, ks: npt.NDArray[np.int64]) -> Floats:
    """Probability that the best of k is the i-th of n, (m, n), by the ratio of neighbours (n - i - k + 1) / (n - i)."""
    i = np.arange(1, n)
    ratios = np.maximum(n - i - ks[:, None] + 1, 0) / (n - i)
    return np.asarray(np.cumprod(np.column_stack([ks / n, ratios]), axis=1))


def _expected(ordered: Floats, chances: Floats, ks: npt.NDArray[np.int64]) -> Floats:
    """E_k of rows of values, (b, n) -> (b, m)."""
    infinite = np.isinf(ordered)
    finite = np.where(infinite, 0.0, ordered) @ chances.T
    return np.where(infinite.sum(axis=1)[:, None] >= ks, np.inf, finite)


@dataclass(frozen=True)
class Sensitivity:
    """How much a wrong learning rate costs.

    Attributes:
        value: mean over the learning rates of the loss that each ends with, less the least of these.
        low, high: the smallest and the largest learning rate that took part.
        n: how many learning rates did.
    """

    value: float
    low: float
    high: float
    n: int


def sensitivity(rates: npt.ArrayLike, losses: npt.ArrayLike, initial: float, decades: float = 3.0) -> Sensitivity:
    """Wortsman's clipped sensitivity to the learning rate: E min(final loss, loss at the start) - best loss.

    The mean is over the learning rates that were tried within `decades` around the best one, half on either side, which
    are to be evenly spaced on a logarithmic axis or drawn so. Runs of the same rate are averaged first. Clipping at
    the start keeps diverged runs finite: they have learned nothing, no less.

    Args:
        rates: (n,) positive.
        losses: (n,) final losses; infinite or no number where a run diverged.
        initial: loss at the start.
        decades: width of the range.

    Source: M. Wortsman et al., Small-scale proxies for large-scale Transformer training instabilities, ICLR 2024,
    arXiv:2309.14322, section 2.
    """
    if not math.isfinite(initial):
        raise ValueError("the loss at the start is a number")
    tried, runs = _rates_apart(rates, losses, 1)
    clipped = np.array([np.minimum(own, initial).mean() for own in runs])
    best = int(np.argmin(clipped))
    inside = _around(tried, decades)[best]
    low, high = tried[inside][[0, -1]].tolist()
    return Sensitivity(float(clipped[inside].mean() - clipped[best]), low, high, int(inside.sum()))


def _around(tried: Floats, decades: float) -> npt.NDArray[np.bool_]:
    """Which rates lie within so many decades around each, half on either side, (m, m)."""
    found: npt.NDArray[np.bool_] = np.abs(np.log10(tried[:, None] / tried)) <= decades / 2 + 1e-9
    return found


def sensitivity_interval(
    rates: npt.ArrayLike,
    losses: npt.ArrayLike,
    initial: float,
    decades: float = 3.0,
    level: float = 0.95,
    draws: int = DRAWS,
) -> Estimate:
    """`sensitivity` with a bootstrap interval: the runs of each learning rate are drawn anew.

    Which rate is best is not known: of those that no resample test at 1 %, over all rates together, finds worse than
    the one that looks best, each is taken to be it in turn. What the others around it cost more than it does is a
    difference of means, with its expanded percentiles (`resampling.outside`), and the interval is from the least to
    the largest of them, not below 0. Were the best found anew in each resample instead, an optimizer that ends alike
    whatever the rate would never be covered: the least of several equal means is below all of them.

    How often it covers is by the fewest runs of a rate, and the least that was found of normal, lognormal and t_3
    losses, of valleys, of plateaus and of rates that are all alike (`resampling.of_contrasts`,
    tests/metrics/test_covering.py).

    Args:
        rates, losses, initial, decades: as in `sensitivity`.
        level, draws: of the interval.

    Returns:
        Without an interval where a rate has one run alone.
    """
    found = sensitivity(rates, losses, initial, decades)
    tried, runs = _rates_apart(rates, losses, 1)
    runs = [np.minimum(own, initial) for own in runs]
    n, fewest = sum(map(len, runs)), min(map(len, runs))
    if fewest < 2:
        return Estimate(found.value, n=n)
    random = stream()
    means = np.column_stack([own[drawn(random, len(own), draws)].mean(axis=1) for own in runs])
    centres = np.array([own.mean() for own in runs])
    inside = _around(tried, decades)
    best = int(np.argmin(centres))
    worse = outside(1 - 2 * _NOT_BEST / max(len(tried) - 1, 1), fewest, fewest - 1, draws)
    behind = np.partition(means - means[:, [best]], worse, axis=0)[worse] > 0
    end = outside(level, fewest, fewest - 1, draws)
    low, high = np.transpose([
        np.partition(means[:, inside[at]].mean(axis=1) - means[:, at], [end, draws - 1 - end])[[end, draws - 1 - end]]
        for at in np.flatnonzero(~behind).tolist()
    ])  # fmt: skip
    least, most = min(max(float(low.min()), 0.0), found.value), max(float(high.max()), found.value)
    return Estimate(found.value, least, most, of_contrasts(fewest, level), n)


def share_within(
    rates: npt.ArrayLike, losses: npt.ArrayLike, fraction: float = 0.05, scale: float | None = None
) -> float:
    """Share of the tried range, on a logarithmic axis, where the loss is within 5 % of the best.

    That is loss <= best + fraction * scale, with the loss linear in log(rate) between rates that were tried. Beside a
    diverged run nothing counts. Of several runs at a rate, the median.

    Args:
        rates: (n,) positive, at least two different ones.
        losses: (n,) final losses; infinite or no number where a run diverged.
        fraction: 5 %.
        scale: what it is of: |best| where not given; loss at the start - best where losses come close to 0.
    """
    tried, runs = _rates_apart(rates, losses)
    x = np.log(tried)
    y = np.array([np.median(own) for own in runs])
    least = float(y.min())
    return _share_below(x, y, least + fraction * (abs(least) if scale is None else scale))


def share_interval(
    rates: npt.ArrayLike, losses: npt.ArrayLike, initial: float, fraction: float = 0.05, level: float = 0.95
) -> Estimate:
    """`share_within` of the way from the start to the best, with an interval that assumes nothing of the losses.

    Of each rate the median has its order-statistic interval (`median_intervals`) of level 1 - (1 - level) / m, m rates,
    so that all of them hold their medians with probability 1 - the sum of what each misses, whatever the losses and
    whether seeds are shared: that is the coverage, and less than `level` where runs are few (five rates: 0.69 for 5
    runs each, 0.84 for 6, 0.95 from 8 on). The interval is what the share can be if they do. Where several rates are
    equally good, the least of their medians is too low in every sample and every resample, and the bootstrap's interval
    covers in a tenth of cases (tests/metrics/test_covering.py has this one).

    Within these limits the share is largest where all medians are as low as they can be but no best one is: the least
    at the least of the upper ends; it is smallest where one rate is as good as it can be and the others as bad. What
    ends above the start counts there as 0, and at the start here: limits by `fraction` of a step between rates at most.

    Args:
        rates, losses, fraction: as in `share_within`.
        initial: loss at the start; where no median is below it, `fraction` is of the best's size.
        level: the least coverage where the numbers of runs allow it.

    Returns:
        Without an interval where less than one half can be promised.
    """
    tried, runs = _rates_apart(rates, losses)
    x = np.log(tried)
    medians = [median_interval(own, 1 - (1 - level) / len(x)) for own in runs]
    y = np.array([one.value for one in medians])
    least, n = float(y.min()), sum(map(len, runs))
    value = _share_below(x, y, least + fraction * (initial - least if initial > least else abs(least)))
    coverage = 1 - math.fsum(1 - (one.coverage or 0.0) for one in medians)
    if coverage < 0.5:
        return Estimate(value, n=n)
    low, high = (np.array([getattr(one, end) for one in medians]) for end in ("low", "high"))
    best = min(float(high.min()), initial)
    most = _share_below(x, np.maximum(np.minimum(low, initial), best), best + fraction * (initial - best))
    bad = np.where(high <= initial, high, np.inf)
    fewest = 0.0
    if (high < initial).any():
        one_good = np.where(np.eye(len(x), dtype=np.bool_), np.minimum(low, initial), bad)
        fewest = min(_share_below(x, own, (1 - fraction) * float(own.min()) + fraction * initial) for own in one_good)
    return Estimate(value, min(fewest, value), max(most, value), coverage, n)


def _rates_apart(rates: npt.ArrayLike, losses: npt.ArrayLike, least: int = 2) -> tuple[Floats, list[Floats]]:
    """The different rates and the losses of each, all ascending. Raises ValueError for fewer than `least` rates."""
    at, ended = _by_rate(rates, losses)
    ended = np.where(np.isnan(ended), np.inf, ended)
    tried = np.unique(at)
    if len(tried) < least:
        raise ValueError("a range of at least two different rates")
    return tried, [np.sort(ended[at == rate]) for rate in tried]


def _share_below(x: Floats, y: Floats, limit: float) -> float:
    """Share of the range of x in which y, linear between the points, is at most `limit`; beside an infinite y nothing
    is, and nowhere where all are infinite."""
    if math.isinf(float(y.min())):
        return 0.0
    lower, upper = np.minimum(y[:-1], y[1:]), np.maximum(y[:-1], y[1:])
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(upper <= limit, 1.0, np.clip((limit - lower) / (upper - lower), 0.0, 1.0))
    return float((np.where(np.isinf(lower), 0.0, part) * np.diff(x)).sum() / (x[-1] - x[0]))


def _by_rate(rates: npt.ArrayLike, losses: npt.ArrayLike) -> tuple[Floats, Floats]:
    at, ended = np.asarray(rates, dtype=float).ravel(), np.asarray(losses, dtype=float).ravel()
    if not len(at) or at.shape != ended.shape or not (np.isfinite(at) & (at > 0)).all():
        raise ValueError(f"positive rates, at least one, and a loss of each, not {at.shape} and {ended.shape}")
    return at, ended


@dataclass(frozen=True)
class Chosen:
    """What was chosen, and how it did where it was not chosen.

    Attributes:
        settings: numbers of those with the best value on the tuning seeds; more than one where they are equal.
        tuned: that value.
        reported: value on the other seeds, the mean over equal ones.
        optimism: by how much `tuned` is better than `reported`, positive where it flatters.
    """

    settings: tuple[int, ...]
    tuned: float
    reported: float
    optimism: float


Centre = Literal["median", "mean"]


def choose(tune: npt.ArrayLike, report: npt.ArrayLike, *, direction: int = -1, centre: Centre = "median") -> Chosen:
    """The setting with the best median on tuning seeds, and its median on the report seeds.

    Args:
        tune: (settings, seeds).
        report: (settings, other seeds); of settings that were not run again, infinite or NaN, which is never read.
    """
    first, second = _settings(tune, direction), -direction * np.asarray(report, dtype=float)
    if second.ndim != 2 or len(second) != len(first) or not second.shape[1]:
        raise ValueError(f"values of {len(first)} settings on at least one report seed, not {second.shape}")
    centres = _centres(first, centre)
    best = np.flatnonzero(centres == centres.min())
    reported = float(np.sort(_centres(second[best], centre)).mean())
    if math.isnan(reported):
        raise ValueError(f"setting {best[0]} was chosen and has no value on some report seed")
    return _chosen(best, float(centres.min()), reported, direction)


def nested(values: npt.ArrayLike, *, direction: int = -1, centre: Centre = "median") -> Chosen:
    """What choosing is worth where no seeds were put aside: each seed in turn judges what the others chose.

    The reported value is the median (or mean) over seeds of the value, on that seed, of the setting that is best by the
    median on all the other seeds. With the mean it is unbiased for choosing by one seed fewer. `settings` and `tuned`
    are the choice by all seeds and its value there, which flatters by `optimism`.

    Args:
        values: (settings, seeds), at least 2 seeds; the seeds of all settings are the same, or independent.

    Source: M. Stone, J. R. Stat. Soc. B 36 (1974) 111; G. C. Cawley and N. L. C. Talbot, J. Mach. Learn. Res. 11 (2010)
    2079.
    """
    given = _settings(values, direction)
    n = given.shape[1]
    if n < 2:
        raise ValueError("seeds that judge and seeds that choose: at least 2")
    held = np.empty(n)
    for seed in range(n):
        centres = _centres(np.delete(given, seed, axis=1), centre)
        held[seed] = np.sort(given[centres == centres.min(), seed]).mean()
    centres = _centres(given, centre)
    best = np.flatnonzero(centres == centres.min())
    return _chosen(best, float(centres.min()), float(_centres(held[None], centre)[0]), direction)


def _centres(values: Floats, centre: Centre) -> Floats:
    """Of each row; sorted first, so that a sum is the same whatever the order of the seeds."""
    ordered = np.sort(values, axis=1)
    return np.asarray(np.median(ordered, axis=1) if centre == "median" else ordered.mean(axis=1))


def _settings(values: npt.ArrayLike, direction: int) -> Floats:
    given = -direction * np.asarray(values, dtype=float)
    if given.ndim != 2 or not given.size or np.isnan(given).any():
        raise ValueError(f"values of settings by seeds, numbers only, not {given.shape}")
    return given


def _chosen(best: npt.NDArray[np.int64], tuned: float, reported: float, direction: int) -> Chosen:
    optimism = 0.0 if tuned == reported else reported - tuned
    return Chosen(tuple(best.tolist()), -direction * tuned, -direction * reported, optimism)


@dataclass(frozen=True)
class Edge:
    """The best value of a setting lies at the end of its range: a better one may lie beyond.

    Attributes:
        best: it.
        side: which end.
        wider: where a wider range could end.
    """

    best: float
    side: Literal["low", "high"]
    wider: float


def edge(
    tried: npt.ArrayLike,
    results: npt.ArrayLike,
    bounds: Sequence[float] | None = None,
    *,
    direction: int = -1,
    log: bool = True,
    margin: float = 0.05,
) -> Edge | None:
    """Whether the best value of a setting lies at the end of its range; None where it does not, or none has a result.

    Without bounds (a grid): the best is the first or the last value, and no value inside does as well; `wider` is one
    step further. With bounds (a random search): the best is within `margin` of the range's length of an end;
    `wider` is a third of the range further.

    Args:
        tried: (n,) values of the setting, one a trial.
        results: (n,) results; of several trials with the same value, the best counts.
        bounds: ends of the range that was drawn from.
        direction: what is better: -1 small results, 1 large ones.
        log: whether the axis is logarithmic; all values are positive then.
        margin: see above.
    """
    given, found = np.asarray(tried, dtype=float).ravel(), -direction * np.asarray(results, dtype=float).ravel()
    if not len(given) or given.shape != found.shape or not np.isfinite(given).all() or (log and (given <= 0).any()):
        raise ValueError("finite values, positive on a logarithmic axis, and a result of each")
    found = np.where(np.isnan(found), np.inf, found)
    if math.isinf(found.min()):
        return None
    scale = np.log if log else np.asarray
    best, values = np.unique(given[found == found.min()]), np.unique(given)
    ends = np.array([values[0], values[-1]] if bounds is None else bounds, dtype=float)
    length = float(np.diff(scale(ends))[0])
    if length <= 0:
        return None
    reach = 0.0 if bounds is None else margin * length
    sides: tuple[tuple[Literal["low", "high"], int, int], ...] = (("low", 0, 1), ("high", -1, -2))
    for side, end, before in sides:
        if (np.abs(scale(best) - scale(ends[end])) <= reach).all():
            if bounds is None:
                wider = values[end] ** 2 / values[before] if log else 2 * values[end] - values[before]
            else:
                last, first = ends[end], ends[before]
                wider = last * (last / first) ** (1 / 3) if log else last + (last - first) / 3
            return Edge(float(best[end]), side, float(wider))
    return None
