"""Every score against its written rule: closed forms, scipy, and enumeration."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from optbench import metrics


@pytest.mark.parametrize("n", range(2, 41))
def test_median_interval_has_the_ranks_that_the_binomial_gives(n: int) -> None:
    found = metrics.median_interval(np.arange(1, n + 1)[::-1])
    assert found.value == (n + 1) / 2
    ranks = range(1, (n + 1) // 2 + 1)
    best = max((k for k in ranks if 1 - 2 * scipy.stats.binom.cdf(k - 1, n, 0.5) >= 0.95), default=1)
    assert (found.low, found.high) == (best, n + 1 - best)
    exact = 1 - 2 * scipy.stats.binom.cdf(best - 1, n, 0.5)
    assert found.coverage == pytest.approx(exact, abs=1e-12)
    assert (exact >= 0.95) == (n >= 6)


def test_one_run_has_no_interval() -> None:
    assert metrics.median_interval([3.0]) == metrics.Estimate(3.0, None, None, None)


def test_median_interval_against_the_published_table() -> None:
    # Conover, Practical Nonparametric Statistics: n = 10 -> (2, 9) at 97.85 %; n = 20 -> (6, 15) at 95.86 %
    ten, twenty = metrics.median_interval(range(1, 11)), metrics.median_interval(range(1, 21))
    assert (ten.low, ten.high, round(ten.coverage or 0, 4)) == (2, 9, 0.9785)
    assert (twenty.low, twenty.high, round(twenty.coverage or 0, 4)) == (6, 15, 0.9586)


def test_a_diverged_run_stays_in_the_median() -> None:
    assert metrics.median_interval([1.0, math.inf, 2.0]).value == 2.0
    assert metrics.median_interval([1.0, math.inf]).value == math.inf
    assert metrics.median_interval([1.0, math.inf, 2.0]).high == math.inf
    assert metrics.median_interval([-math.inf, 0.5, 0.7]).value == 0.5
    assert metrics.median_interval([1.7e308, 1.7e308]).value == 1.7e308
    for wrong in ([], [math.nan]):
        with pytest.raises(ValueError, match="median needs"):
            metrics.median_interval(wrong)


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=12))
@example([5e-324, 5e-324])
@example([5e-324, 1e-323])
@example([-math.inf, math.inf])
@example([1.7e308, -1.7e308])
def test_a_median_of_any_numbers_lies_in_its_interval_and_is_rounded_once(values: list[float]) -> None:
    found = metrics.median_interval(values)
    assert (found.low is None) == (len(values) == 1)
    if found.low is None:
        return
    assert found.high is not None
    assert found.low <= found.value <= found.high
    ordered = sorted(values)
    left, right = ordered[(len(values) - 1) // 2], ordered[len(values) // 2]
    if math.isfinite(left) and math.isfinite(right):
        assert found.value == float((Fraction(left) + Fraction(right)) / 2)
    else:
        assert found.value == (left if math.isfinite(right) else right)


@given(st.integers(1, 500), st.data())
def test_wilson_interval_is_scipys(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    exact = scipy.stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    found = metrics.success_rate(k, n)
    assert found.value == k / n
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_success_rate_refuses_impossible_counts() -> None:
    for k, n in ((2, 1), (-1, 3), (0, 0)):
        with pytest.raises(ValueError, match="successes in"):
            metrics.success_rate(k, n)


def test_expected_running_time_is_cocos_example() -> None:
    assert metrics.expected_running_time([100, 150, None, None], [400, 400, 400, 400]) == 525
    assert metrics.expected_running_time([None, None], [10, 10]) == math.inf
    assert metrics.expected_running_time([7], [7]) == 7
    with pytest.raises(ValueError, match="1 hits for 2"):
        metrics.expected_running_time([1], [1, 2])


@pytest.mark.parametrize("n", [2001, 2002, 33_333, 10**6])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_the_interval_of_many_runs_has_scipys_ranks(n: int, level: float) -> None:
    found = metrics.median_interval(np.random.default_rng(n).permutation(np.arange(1, n + 1)), level)
    rank = int(scipy.stats.binom.ppf((1 - level) / 2, n, 0.5))
    assert (found.value, found.low, found.high) == ((n + 1) / 2, rank, n + 1 - rank)
    assert found.coverage == pytest.approx(1 - 2 * scipy.stats.binom.cdf(rank - 1, n, 0.5), abs=1e-12)


def test_an_estimate_says_of_how_many_runs_it_is_and_how_sure() -> None:
    assert [one.n for one in metrics.median_intervals([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])] == [3, 3]
    assert (metrics.median_interval([1.0]).n, metrics.median_interval([1.0]).coverage) == (1, None)
    rate = metrics.success_rate(2, 4, level=0.9)
    assert (rate.n, rate.coverage, rate.value) == (4, 0.9, 0.5)
    wide = metrics.success_rate(2, 4)
    assert wide.low is not None
    assert rate.low is not None
    assert wide.low < rate.low < 0.5
    tied = metrics.wilson(0.375, 4)
    assert (tied.value, tied.n, tied.coverage) == (0.375, 4, 0.95)
    assert metrics.median_interval(range(1, 21), level=0.5).low == 8
    assert metrics.expected_running_time([], []) == math.inf
    assert metrics.expected_running_times(np.array([[3.0, np.nan], [np.nan] * 2]), np.full((2, 2), 9.0)) == [
        12,
        math.inf,
    ]


@pytest.mark.parametrize("n", [8, 9, 40, 2000, 2001, 2002])
def test_a_level_that_is_just_reached_is_reached(n: int) -> None:
    values = range(n)
    found = metrics.median_interval(values, 0.9)
    assert found.coverage is not None
    assert found.low is not None
    assert metrics.median_interval(values, found.coverage) == found
    assert metrics.median_interval(values, math.nextafter(found.coverage, 1.0)).low == found.low - 1
