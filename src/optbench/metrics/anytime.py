"""Tests and intervals that may be looked at after every seed: a bet on the sign of each next difference.

Where exchanging two configurations changes nothing, the sign of a difference is a fair coin, whatever its size and
all that came before. So a bet that multiplies the stake by 2 / (1 + exp(-2 l z)) on a signed score z is fair, and a
gambler who has 1 at the start has, with probability at least 1 - alpha, never 1 / alpha or more: not after any seed,
wherever one stops (Ville's inequality). p = 1 / (the most the gambler ever had) holds under every way of looking and
of adding seeds, and the shifts against which no gambler got rich are an interval that holds at all times together, a
confidence sequence.

The score of the t-th difference is the normal score of the rank of its size among the first t, with its sign; were the
differences normal with mean m and deviation s, the bet with l = m / s would be the likelihood ratio of their signs. The
gambler spreads the stake evenly over both signs of l and over BETS, sizes of effect from a tenth to all on one sign.

Source: the likelihood ratio of signs, H. Robbins, Ann. Math. Statist. 41 (1970) 1397, and A. Ramdas, P. Gruenwald, V.
Vovk and G. Shafer, Game-theoretic statistics and safe anytime-valid inference, Statist. Sci. 38 (2023) 576, sections
2 and 5.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Estimate, Floats
from optbench.metrics.intervals import parts, root, thinned
from optbench.metrics.rank_tests import Ints, signed_ranks

BETS = np.array([0.1, 0.2, 0.3, 0.45, 0.65, 0.9, 1.3, 2.0, 8.0])
"""Sizes of effect, in deviations of the differences, that the stake is spread over."""
_TABLED = 200
"""Seeds up to which normal scores are looked up: scipy, which takes longer to import, is not needed."""
_NORMAL = NormalDist()


def scores(d: Floats) -> Floats:
    """The signed normal score of each difference among those up to it, (rows, n); 0 where d is 0 or NaN."""
    known = ~((d == 0) | np.isnan(d))
    size = np.where(known, np.abs(d), np.nan).T.copy()  # a row a seed: what lies side by side is compared at once
    rank = np.empty(size.shape, dtype=np.int64)
    for t, now in enumerate(size):
        rank[t] = _counted(size[: t + 1] < now) + _counted(size[: t + 1] <= now) + 1  # twice the midrank
    found: Floats = np.where(known, np.sign(d), 0.0) * _normal_scores(rank.T, np.cumsum(known, axis=1))
    return found


def _counted(hits: npt.NDArray[np.bool_]) -> Ints:
    """How many of each column are true, (n, rows) -> (rows,); in bytes, as many at a time as these can count."""
    ones = hits.view(np.uint8)
    found: Ints = np.add.reduce(ones[:255], axis=0, dtype=np.uint8).astype(np.int64)
    for start in range(255, len(ones), 255):
        found += np.add.reduce(ones[start : start + 255], axis=0, dtype=np.uint8)
    return found


def _normal_scores(rank: Ints, among: Ints) -> Floats:
    """The normal quantile of (1 + r / (n + 1)) / 2 for ranks r, given doubled, among n; anything where n is 0."""
    n = among.shape[-1]
    if n <= _TABLED:
        return _table(n)[among, np.minimum(rank, 2 * among)]
    from scipy.special import ndtri

    found: Floats = ndtri((1 + np.minimum(rank, 2 * among) / (2 * among + 2)) / 2)
    return found


@functools.lru_cache(maxsize=128)
def _table(n: int) -> Floats:
    """The scores of doubled ranks 0 ... 2 k among each k = 0 ... n, (n + 1, 2 n + 1)."""
    found = np.zeros((n + 1, 2 * n + 1))
    for k in range(1, n + 1):
        found[k, : 2 * k + 1] = [_NORMAL.inv_cdf((1 + r / (2 * k + 2)) / 2) for r in range(2 * k + 1)]
    return found


def factors(z: Floats) -> Floats:
    """What each bet on positive differences multiplies its stake by, (rows, n) -> (rows, bets, n)."""
    found: Floats = 2 / (1 + np.exp(-2 * z[:, None, :] * BETS[:, None]))
    return found


def most_wealth(z: Floats) -> Floats:
    """The most that the bets on positive differences had made of 1 by then, (rows, n) -> (rows, n)."""
    wealth = np.cumprod(factors(z), axis=2).mean(axis=1)  # a bet that is lost may well come to 0
    found: Floats = np.maximum.accumulate(np.maximum(wealth, 1.0), axis=1)
    return found


def tails(d: Floats) -> tuple[Floats, Floats]:
    """The one-sided p-values after each difference: each holds at all times together; twice the smaller is two-sided.

    Args:
        d: differences in the order in which they were looked at, (rows, n); zeros and NaN change nothing.

    Returns:
        lower, upper: of the differences being small, and large, (rows, n) each.
    """
    lower, upper = np.ones(d.shape), np.ones(d.shape)
    for part in parts(len(d), d.shape[1] * len(BETS)):
        z = scores(d[part])
        lower[part], upper[part] = 1 / most_wealth(-z), 1 / most_wealth(z)
    return lower, upper


def limits(d: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """The shifts that the bets did not get rich against, low and high for each row: they hold after every seed at once.

    The scores of d - shift fall as the shift grows and change where it passes a Walsh average: the limits are found by
    halving the sorted list of these. They are infinite where n is too small.

    Args:
        d: differences, (rows, n), without NaN, n >= 1, in the order in which they were looked at.
        level: with this probability the centre is never outside.
    """
    low, high = np.empty(len(d)), np.empty(len(d))
    for part in parts(len(d), d.shape[1] ** 2):
        high[part], low[part] = _limits(d[part], level)
    return low, high


def _limits(d: Floats, level: float) -> tuple[Floats, Floats]:
    """The upper limits of some rows, and the lower ones: minus the upper limits of -d, searched for beside them."""
    finite = np.isfinite(d)
    reach = np.abs(np.where(finite, d, 0.0)).max(axis=1, keepdims=True)
    d = np.where(finite, d, np.sign(d) * (16 * np.minimum(reach, 1e300) + 1))  # far beyond every finite one
    some = thinned(d)
    left, right = np.triu_indices(some.shape[1])
    averages = np.sort(some[:, left] / 2 + some[:, right] / 2, axis=1)
    last, rows, enough = averages.shape[1] - 1, np.arange(len(d)), 2 / (1 - level)

    def average(place: Ints) -> Floats:
        """The place-th average of each row, and of each row of -d, from the least: (2 rows,) -> (2 rows,)."""
        of_d, of_minus_d = place.reshape(2, -1)
        return np.concatenate([averages[rows, of_d], -averages[rows, last - of_minus_d]])

    d, reach = np.concatenate([d, -d]), np.tile(reach[:, 0], 2)
    least, most = np.zeros(len(d), dtype=int), np.full(len(d), last + 1)  # the first that is ruled out
    while (least < most).any():
        middle = np.minimum((least + most) // 2, last)
        here, beyond = average(middle), average(np.minimum(middle + 1, last))
        shift = np.where(middle == last, here + 2 * reach + 1, here / 2 + beyond / 2)
        out = most_wealth(-scores(d - shift[:, None]))[:, -1] >= enough
        least, most = np.where(out | (least == most), least, middle + 1), np.where(out & (least < most), middle, most)
    found = average(np.minimum(most, last))
    found = np.where(np.abs(found) > reach, np.copysign(np.inf, found), found)
    upper, lower = np.where(most == last + 1, np.inf, found).reshape(2, -1)
    return upper, -lower


@functools.lru_cache(maxsize=4096)
def share(wins: float, n: int, level: float = 0.95) -> Estimate:
    """A share of n, ties as halves, with limits that hold after every further one at once.

    They are the shares against which a beta mixture (1/2, 1/2) of bets did not get rich: H. Robbins, as above.
    """
    k, goal = wins * n, -math.log(1 - level)
    mixture = math.lgamma(k + 0.5) + math.lgamma(n - k + 0.5) - math.lgamma(n + 1) - math.log(math.pi)

    def beyond(p: float) -> float:
        own = (k * math.log(p) if k else 0.0) + ((n - k) * math.log1p(-p) if k < n else 0.0)
        return mixture - own - goal

    least, most = 1e-15, 1 - 1e-15
    low = 0.0 if beyond(least) <= 0 else root(beyond, least, min(max(wins, least), most))
    high = 1.0 if beyond(most) <= 0 else root(beyond, most, min(max(wins, least), most))
    return Estimate(wins, min(low, wins), max(high, wins), level, n)


def further(d: Floats, level: float, power: float) -> float:
    """The number of differences with which the best bet makes 1 / level of its share with the given probability.

    Args:
        d: differences, positive in the direction that is hoped for, (n,); what follows is expected to be like them.
        level: of the one-sided test.

    Returns:
        A total, which may be infinite: where no bet grows.
    """
    ranks = signed_ranks(d[None])
    z = np.sign(ranks) * _normal_scores(np.abs(ranks), np.full(ranks.shape, (ranks != 0).sum()))
    steps = np.log(factors(z)[0])
    growth, spread = steps.mean(axis=1), steps.std(axis=1) * _NORMAL.inv_cdf(power)
    goal = -np.log(level / len(BETS))
    with np.errstate(divide="ignore", invalid="ignore"):
        root = (spread + np.sqrt(spread**2 + 4 * growth * goal)) / (2 * growth)
    return float(np.where(growth > 0, root**2, np.inf).min())
