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
from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Estimate, Floats
from optbench.metrics.intervals import root, thinned
from optbench.metrics.rank_tests import Ints, signed_ranks
from optbench.metrics.sums import Sums, parts

BETS = np.array([0.1, 0.2, 0.3, 0.45, 0.65, 0.9, 1.3, 2.0, 8.0])
"""Sizes of effect, in deviations of the differences, that the stake is spread over."""
_TABLED = 500
"""Seeds up to which normal scores are looked up: scipy, which takes longer to import, is not needed."""
_GUESS = 2.0
"""Times 1 / sqrt(n): how far beyond the middle one, as a share of all averages, a limit is first looked for."""
_AWAY = 0.03
"""How much further than the line says, as a share of what is left."""
_NEAR = 4
"""Averages of quantiles that may lie between the bounds within which all averages are made."""
_ALL_FACTORS = 256
"""Seeds up to which what scores multiply stakes by is looked up too: 19 MB."""
_NORMAL = NormalDist()


def scores(d: Floats) -> Floats:
    """The signed normal score of each difference among those up to it, (rows, n); 0 where d is 0 or NaN."""
    known = ~((d == 0) | np.isnan(d))
    rank = _ranks_so_far(np.where(known, np.abs(d), np.nan)).T
    found: Floats = np.where(known, np.sign(d), 0.0) * _normal_scores(rank, np.cumsum(known, axis=1))
    return found


def _ranks_so_far(size: Floats) -> Ints:
    """Twice the midrank of each size among those up to it in its row, (rows, n) -> (n, rows); of NaN, which come last,
    anything.

    Each row's sizes are numbered in their order first: small whole numbers are compared many at a time.
    """
    rows, n = size.shape
    order = np.argsort(size, axis=1)
    ordered = np.take_along_axis(size, order, axis=1)
    number = np.zeros(size.shape, dtype=np.uint8 if n <= 256 else np.uint16 if n <= 65536 else np.uint32)
    np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1, dtype=number.dtype, out=number[:, 1:])
    codes = np.empty_like(number)
    np.put_along_axis(codes, order, number, axis=1)
    found = np.empty((n, rows), dtype=np.int64)
    codes = codes.T.copy()  # a row a seed: what lies side by side is compared at once
    hits = np.empty(codes.shape, dtype=np.bool_)
    for t, now in enumerate(codes):
        so_far, here = codes[: t + 1], hits[: t + 1]
        found[t] = _counted(np.less(so_far, now, out=here))
        found[t] += _counted(np.less_equal(so_far, now, out=here)) + 1
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

    The scores of d - shift fall as the shift grows and change where it passes a Walsh average, so the upper limit is
    the least average beyond which a shift is ruled out. It is searched for among those of a few quantiles first, and
    then among all that lie between the two neighbours found (`sums`). They are infinite where n is too small.

    Args:
        d: differences, (rows, n), without NaN, n >= 1, in the order in which they were looked at.
        level: with this probability the centre is never outside.
    """
    low, high = np.empty(len(d)), np.empty(len(d))
    for part in parts(len(d), d.shape[1] * 16):
        ends = _upper_limits(np.concatenate([d[part], -d[part]]), level)
        high[part], low[part] = ends[: len(ends) // 2], -ends[len(ends) // 2 :]
    return low, high


def _upper_limits(d: Floats, level: float) -> Floats:
    """The upper limit of each row, (rows,)."""
    finite = np.isfinite(d)
    reach = np.abs(np.where(finite, d, 0.0)).max(axis=1)
    d = np.where(finite, d, np.sign(d) * (16 * np.minimum(reach, 1e300) + 1)[:, None])  # far beyond every finite one
    averages = Sums.of_pairs(thinned(d))
    coarse, beyond = averages.coarse(), 2 * reach + 1
    last = coarse.shape[1] - 1
    ends = _Ends(np.zeros(len(d), dtype=np.int64), np.full(len(d), last + 1), *_expected(len(d), d.shape[1]))
    _narrow(ends, d, coarse, beyond, level, _NEAR)
    outer = _just_right_of(coarse, np.minimum(ends.most, last), beyond)
    inner = np.where(ends.least > 0, _just_right_of(coarse, np.maximum(ends.least - 1, 0), beyond), -np.inf)
    known, found = ends.most <= last, np.empty(len(d))
    outer = np.where(known, outer, 2 * averages.u[:, -1] + 2 * beyond)  # none of them is there: nothing is ruled out
    for part in parts(len(d), averages.count // 16):
        own = averages.some(part)
        # what equals a bound may be many averages: it stands once beside those between the two
        _, between, counts = own.within(np.nextafter(inner[part], np.inf), np.nextafter(outer[part], -np.inf))
        rows, filled = np.arange(len(counts)), np.full((len(counts), 1), np.inf)
        candidates = np.concatenate([inner[part][:, None], between, filled], axis=1)
        candidates[rows, counts + 1] = outer[part]
        least = np.isinf(inner[part]).astype(np.int64)
        left = _Ends(least, counts + 1, ends.below[part], ends.above[part])
        _narrow(left, d[part], candidates, beyond[part], level)
        never = ~known[part] & (left.most == counts + 1)
        found[part] = np.where(never, np.inf, candidates[rows, left.most])
    return np.where(np.abs(found) > reach, np.copysign(np.inf, found), found)


def _just_right_of(ordered: Floats, place: Ints, beyond: Floats) -> Floats:
    """A shift between the value in this place of each row and the next one; beyond the last one, as far as is said."""
    rows, last = np.arange(len(ordered)), ordered.shape[1] - 1
    here, following = ordered[rows, place], ordered[rows, np.minimum(place + 1, last)]
    return np.where(place == last, here + beyond, here / 2 + following / 2)


class _Ends(NamedTuple):
    """What is known of a place that is searched for in each row: it is in [least, most], (rows,) each.

    `below` and `above` are heights, see `_narrow`, of the places least - 1 and most: negative and not.
    """

    least: Ints
    most: Ints
    below: Floats
    above: Floats


def _expected(rows: int, n: int) -> tuple[Floats, Floats]:
    """The heights before the first and after the last of all averages, were they as usual."""
    above = np.full(rows, 0.5 / min(_GUESS / math.sqrt(n), 0.45) - 1)
    return -above - 2, above


def _narrow(ends: _Ends, d: Floats, ordered: Floats, beyond: Floats, level: float, enough_left: int = 0) -> None:
    """Finds the first place of each row just right of which a shift is ruled out: moves the ends until they meet.

    The height of a place, the root of the logarithm of what the bets made against that of what is enough, less 1, is
    nearly linear in the place: it is looked for where a line from end to end passes 0, a little further than that from
    the nearer end, and now and then in the middle.

    Args:
        ends: what is known.
        d: the differences, (rows, n).
        ordered: averages, ascending, (rows, k).
        beyond, level: as `_just_right_of` and `limits` have them.
        enough_left: how far from each other the ends may stay.
    """
    goal, turn = 2 / (1 - level), 0
    least, most, below, above = ends
    while len(left := np.flatnonzero(most - least > enough_left)):
        low, high, turn = least[left], most[left], turn + 1
        width = high - low + 1
        share = below[left] / (below[left] - above[left]) if turn % 4 else np.full(len(left), 0.5)
        share += np.where(share < 0.5, 1, -1) * np.maximum(_AWAY, 1 / width) * (turn % 4 > 0)
        place = np.clip(np.rint(low - 1 + share * width).astype(np.int64), low, high - 1)
        wealth = _most_wealth_against(d[left] - _just_right_of(ordered[left], place, beyond[left])[:, None])
        height = np.sqrt(np.log(np.minimum(wealth, 1e300)) / math.log(goal)) - 1
        out = wealth >= goal
        most[left], above[left] = np.where(out, place, high), np.where(out, height, above[left])
        least[left], below[left] = np.where(out, low, place + 1), np.where(out, below[left], height)


def _most_wealth_against(d: Floats) -> Floats:
    """The most that the bets on negative differences ever had, as `most_wealth` has it of -scores, (rows,)."""
    wealth, most = np.ones((len(BETS), len(d))), np.ones(len(d))
    for factor in _factors_in_turn(d):
        wealth *= factor
        np.maximum(most, np.add.reduce(wealth, axis=0) / len(BETS), out=most)
    return most


def _factors_in_turn(d: Floats) -> Iterator[Floats]:
    """What each difference in turn multiplies the stakes of bets on negative ones by, n times (bets, rows)."""
    n = d.shape[1]
    if n > _ALL_FACTORS:
        for z in scores(d).T:
            yield 2 / (1 + np.exp(2 * z * BETS[:, None]))
        return
    known = ~((d == 0) | np.isnan(d))
    among = np.cumsum(known, axis=1).T
    rank = np.minimum(_ranks_so_far(np.where(known, np.abs(d), np.nan)), 2 * among)
    place = np.where(known.T, (np.where(d.T > 0, n + 1, 0) + among) * (2 * n + 1) + rank, 0)
    table, made = _factors(n), np.empty((len(BETS), len(d)))
    for now in place:
        yield np.take(table, now, axis=1, out=made, mode="clip")


@functools.lru_cache(maxsize=2)
def _factors(n: int) -> Floats:
    """Those of negative and then of positive differences, each of all that `_table` has, (bets, 2 (n + 1) (2 n + 1));
    the first is 1."""
    z = np.stack([-_table(n), _table(n)]).reshape(-1)
    return np.stack([2 / (1 + np.exp(2 * z * bet)) for bet in BETS])


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
