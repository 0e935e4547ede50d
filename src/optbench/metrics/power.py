"""How many seeds a difference needs: the power of the rank tests, from what is known of the differences.

What decides the power of the signed-rank test is not the spread as such but three probabilities of the differences:
p1 = P(d > 0), p2 = P(d + d' > 0) and p3 = P(d + d' > 0 and d + d'' > 0), of which the mean and the variance of its
statistic are made; likewise for two samples P(a > b) and the chance that one beats two others. They are counted in
runs, whatever the distribution and with infinite values, or computed for normal ones. The number of seeds is the
least with which the statistic passes the critical value of its test with the power that is asked for, and never below
what the exact test needs at all: with n pairs p is at least 2^(1-n), so that no 5 seeds decide anything at 5 %.

Source: E. L. Lehmann, Nonparametrics (1975), sections 2.3 and 4.2; G. E. Noether, J. Am. Stat. Assoc. 82 (1987) 645.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from optbench.metrics.estimates import Floats

MOST = 1_000_000
"""Seeds beyond which a difference counts as none."""
_BEYOND_FLOATS = 600
"""Runs of the smaller of two samples from which on more orders than any float are possible."""


@dataclass(frozen=True)
class Chances:
    """What the power of a rank test depends on.

    Attributes:
        one: of pairs P(d > 0); of samples P(a > b), ties as halves.
        two: of pairs P(d + d' > 0); of samples P(a > b and a > b').
        three: of pairs P(d + d' > 0 and d + d'' > 0); of samples P(a > b and a' > b).
    """

    one: float
    two: float
    three: float


def pair_chances(d: Floats) -> Chances:
    """The probabilities counted in differences of pairs, (n,) without NaN, n >= 1; a sum of 0 is half of each."""
    n = len(d)
    one = float(_above(d).mean())
    if n == 1:
        return Chances(one, one, one)
    # d + d' > 0 is d' > -d, counted in the sorted differences; every count is of wholes and halves, and so exact
    ordered, itself = np.sort(d), _above(d)
    left, right = (np.searchsorted(ordered, -d, side) for side in ("left", "right"))
    larger, tied = n - right, right - left
    own, squares = larger + tied / 2 - itself, larger + tied / 4 - itself**2
    two = float(own.sum() / (n * (n - 1)))
    three = float((own**2 - squares).sum() / (n * (n - 1) * (n - 2))) if n > 2 else two
    return Chances(one, two, three)


def sample_chances(d: Floats) -> Chances:
    """The probabilities counted in all differences between two samples, (n_a, n_b) without NaN."""
    above = _above(d)
    n_a, n_b = d.shape
    one, squares = float(above.mean()), float((above**2).sum())

    def both(own: Floats, other: int) -> float:
        return float(((own**2).sum() - squares) / (n_a * n_b * (other - 1))) if other > 1 else one

    return Chances(one, both(above.sum(axis=1), n_b), both(above.sum(axis=0), n_a))


def _above(d: Floats) -> Floats:
    found: Floats = (np.sign(d) + 1) / 2
    return found


def normal_pair_chances(effect: float, diverged: float = 0.0) -> Chances:
    """Those of normal differences whose mean is `effect` standard deviations.

    Args:
        effect: in standard deviations.
        diverged: share of pairs of which one run has no result, the first as often as the second.
    """
    from scipy.special import ndtr

    two, both = _normal(math.sqrt(2) * effect)
    q, r = diverged / 2, 1 - diverged
    one = r * float(ndtr(effect)) + q
    # with +inf in the first place the sum is positive unless the other is -inf, which is a tie; and so on
    three = q * (r + 1.5 * q) ** 2 + q * (q / 2) ** 2 + r * (q * q + 2 * q * r * two + r * r * both)
    return Chances(one, r * r * two + 2 * r * q + 2 * q * q, three)


def normal_sample_chances(effect: float, diverged: float = 0.0) -> Chances:
    """Those of two normal samples of one standard deviation, `effect` of them apart.

    Args:
        effect: in standard deviations.
        diverged: share of the runs of either that have no result.
    """
    beats, both = _normal(effect / math.sqrt(2))
    q, r = diverged, 1 - diverged
    one = r * r * beats + q * r + q * q / 2
    two = q * (r + q / 2) ** 2 + r**3 * both
    return Chances(one, two, q * (q / 2) ** 2 + r * (q * q + 2 * q * r * beats + r * r * both))


def _normal(effect: float) -> tuple[float, float]:
    """P(Z < effect), and that two such Z of correlation 1/2 are."""
    from scipy.special import ndtr, owens_t

    return float(ndtr(effect)), float(ndtr(effect) - 2 * owens_t(effect, 1 / math.sqrt(3)))


def pairs_needed(chances: Chances, level: float, power: float = 0.9) -> float:
    """The least number of pairs with which the one-sided signed-rank test decides.

    Args:
        chances: of the differences, counted in the direction that is hoped for.
        level: of the one-sided test.
        power: with which probability it decides.

    Returns:
        A whole number, or infinity where there is no effect or it would take more than MOST.
    """
    p1, p2, p3 = chances.one, chances.two, chances.three
    z, hope = NormalDist().inv_cdf(1 - level), NormalDist().inv_cdf(power)
    least = math.ceil(-math.log2(level) - 1e-12)
    if p2 <= 0.5:
        return math.inf

    def surplus(n: int) -> float:
        ways = n * (n - 1)
        mean = n * p1 + ways / 2 * p2
        variance = n * p1 * (1 - p1) + ways / 2 * (2 * (p1 - p2) ** 2 + 3 * p2 * (1 - p2))
        variance += ways * (n - 2) * (p3 - p2 * p2)
        critical = n * (n + 1) / 4 + z * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return mean - min(critical, n * (n + 1) / 2) - hope * math.sqrt(max(variance, 0.0))

    return _least(surplus, least)


def runs_needed(chances: Chances, level: float, power: float = 0.9, have: tuple[int, int] = (0, 0)) -> float:
    """The least number of runs to add to each of two samples with which the one-sided rank-sum test decides.

    Args:
        chances, level, power: as for `pairs_needed`.
        have: runs that each has.
    """
    p, two, three = chances.one, chances.two, chances.three
    z, hope = NormalDist().inv_cdf(1 - level), NormalDist().inv_cdf(power)
    if p <= 0.5:
        return math.inf

    def surplus(more: int) -> float:
        n_a, n_b = have[0] + more, have[1] + more
        whole = n_a * n_b
        variance = whole * (p * (1 - p) + (n_b - 1) * (two - p * p) + (n_a - 1) * (three - p * p))
        critical = min(whole / 2 + z * math.sqrt(whole * (n_a + n_b + 1) / 12), whole)
        return whole * p - critical - hope * math.sqrt(max(variance, 0.0))

    least = 1
    while ways(have[0] + least, have[1] + least) < 1 / level:
        least += 1
    return _least(surplus, least)


def ways(n_a: int, n_b: int) -> float:
    """In how many orders the runs of two samples can lie, exact; infinity where that is beyond every float."""
    return math.inf if min(n_a, n_b) > _BEYOND_FLOATS else math.comb(n_a + n_b, n_a)


def _least(surplus: Callable[[int], float], least: int) -> float:
    """The least n from `least` on with a surplus of at least 0."""
    below, n = least - 1, least
    while surplus(n) < 0:
        if n >= MOST:
            return math.inf
        below, n = n, 2 * n
    while n - below > 1:
        middle = (below + n) // 2
        below, n = (below, middle) if surplus(middle) >= 0 else (middle, n)
    return n


def seeds_needed(
    difference: float,
    spread: float,
    alpha: float = 0.05,
    power: float = 0.9,
    comparisons: int = 1,
    *,
    paired: bool = True,
    diverged: float = 0.0,
) -> int | None:
    """How many seeds of each configuration find a difference.

    Args:
        difference: between the two, in units of the metric; its sign does not matter.
        spread: standard deviation, of the differences between the two on one seed where seeds are shared (`paired`),
            else of a run of one configuration.
        alpha: of the two-sided test, over all comparisons together (Bonferroni, Holm's first step).
        power: with which probability the difference is found.
        comparisons: pairs of configurations that are compared.
        paired: whether the two run on the same seeds.
        diverged: share of the seeds (`paired`), else of the runs, without a result; both configurations alike.

    Returns:
        None where more than MOST seeds would not do, or the difference is 0.
    """
    if spread < 0 or not 0 < alpha < 1 or not 0 < power < 1 or comparisons < 1:
        raise ValueError(f"no power of spread {spread}, alpha {alpha}, power {power}, {comparisons} comparisons")
    effect = abs(difference) / spread if spread > 0 else (math.inf if difference else 0.0)
    found = _needed(min(effect, _ALL), alpha / (2 * comparisons), power, paired, diverged)
    return None if math.isinf(found) else int(found)


def difference_found(
    n: int,
    spread: float,
    alpha: float = 0.05,
    power: float = 0.9,
    comparisons: int = 1,
    *,
    paired: bool = True,
    diverged: float = 0.0,
) -> float | None:
    """The smallest difference that n seeds of each configuration find; arguments as `seeds_needed` has them.

    Returns:
        None where they find none, however large.
    """
    effect = _effect_found(n, alpha / (2 * comparisons), power, paired, diverged)
    return None if effect is None else effect * spread


_ALL = 40.0
"""An effect, in standard deviations, beyond which each run of one is better than any of the other."""


def _needed(effect: float, level: float, power: float, paired: bool, diverged: float) -> float:
    if paired:
        return pairs_needed(normal_pair_chances(effect, diverged), level, power)
    return runs_needed(normal_sample_chances(effect, diverged), level, power)


@functools.lru_cache(maxsize=4096)
def _effect_found(n: int, level: float, power: float, paired: bool, diverged: float) -> float | None:
    low, high = 0.0, _ALL
    if _needed(high, level, power, paired, diverged) > n:
        return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if _needed(middle, level, power, paired, diverged) <= n else (middle, high)
    return high
