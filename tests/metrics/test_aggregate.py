"""Scores over problems against scipy's trimmed mean, Mann and Whitney's U, and the exact bootstrap of tiny samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.metrics import aggregate

number = st.sampled_from([0.0, 0.25, 0.25, 0.5, 1.0, 3.0])
runs = st.lists(number, min_size=1, max_size=5)
problems = st.lists(st.lists(number, min_size=1, max_size=6), min_size=1, max_size=5)


@given(st.lists(st.lists(number, min_size=4, max_size=4), min_size=1, max_size=5))
def test_with_a_multiple_of_four_runs_it_is_the_trimmed_mean(scores: list[list[float]]) -> None:
    # rliable: scipy.stats.trim_mean(scores, proportiontocut=0.25, axis=None)
    assert aggregate.interquartile_mean(scores) == pytest.approx(scipy.stats.trim_mean(np.ravel(scores), 0.25))


@given(problems)
def test_the_middle_half_is_a_mean_of_quantiles(scores: list[list[float]]) -> None:
    # Runs repeated until problems have equally many, and four times over: the trimmed mean is then exact.
    many = math.lcm(*map(len, scores))
    repeated = [value for own in scores for value in own * (4 * many // len(own))]
    assert aggregate.interquartile_mean(scores) == pytest.approx(scipy.stats.trim_mean(repeated, 0.25))


@settings(max_examples=25, deadline=None)
@given(problems)
def test_neither_copies_nor_order_change_a_score(scores: list[list[float]]) -> None:
    turned = [own[::-1] for own in scores[::-1]]
    for score in (aggregate.iqm, aggregate.optimality_gap, aggregate.mean_score):
        found = score(scores, draws=50)
        assert score(scores * 2, draws=50).value == pytest.approx(found.value)
        assert score(turned, draws=50) == found
    other = [[value + 0.25 for value in own[:3]] for own in scores]
    found = aggregate.improvement(scores, other)
    assert aggregate.improvement(turned, other[::-1]) == found
    assert aggregate.improvement(scores * 2, other * 2).value == pytest.approx(found.value)


@given(problems)
def test_a_run_without_result_improves_nothing(scores: list[list[float]]) -> None:
    worse = [[*own, -math.inf] for own in scores]
    for score, sign in ((aggregate.iqm, 1), (aggregate.mean_score, 1), (aggregate.optimality_gap, -1)):
        assert sign * score(worse, draws=2).value <= sign * score(scores, draws=2).value + 1e-12
    lost = [[*own, math.inf] for own in scores]  # losses
    before = aggregate.improvement(scores, scores)
    assert aggregate.improvement(lost, scores).value <= before.value


def test_the_gap_counts_what_is_missing_to_gamma() -> None:
    found = aggregate.optimality_gap([[0.5, 1.5], [0.0]])
    assert found.value == pytest.approx((0.25 + 1.0) / 2)  # rliable: gamma - mean(min(scores, gamma))
    assert aggregate.optimality_gap([[0.5, 1.5], [0.0]], gamma=2.0).value == pytest.approx((1.0 + 2.0) / 2)
    assert aggregate.mean_score([[0.0, 1.0], [2.0]]).value == pytest.approx(1.25)


@given(st.lists(st.tuples(runs, runs), min_size=1, max_size=4))
def test_improvement_is_mann_and_whitneys_u(pairs: list[tuple[list[float], list[float]]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    shares = [scipy.stats.mannwhitneyu(b, a, method="exact").statistic / (len(a) * len(b))
              for a, b in pairs]  # fmt: skip
    found = aggregate.improvement(ours, theirs)
    assert found.value == pytest.approx(np.mean(shares))
    more = aggregate.improvement(ours, theirs, direction=1)
    assert more.value == pytest.approx(1 - found.value)


def test_the_interval_of_improvement_is_newcombes() -> None:
    # the limits solve (found - theta)^2 = z^2 V(theta): found here by scipy, on either side
    ours, theirs = [[1.0, 2.0, 4.0, 4.5], [0.0, 1.0]], [[3.0, 5.0, 6.0], [0.5, 0.7, 2.0]]
    found = aggregate.improvement(ours, theirs)
    z = scipy.stats.norm.ppf(0.975)

    def variance(x: float) -> float:
        of = lambda n, m: x * (1 - x) * (1 + ((n + m) / 2 - 1) * ((1 - x) / (2 - x) + x / (1 + x))) / (n * m)  # noqa: E731
        return (of(4, 3) + of(2, 3)) / 4

    assert found.value == pytest.approx((10 / 12 + 4 / 6) / 2)
    for end in (found.low, found.high):
        assert (found.value - end) ** 2 == pytest.approx(z**2 * variance(end), rel=1e-9)  # type: ignore[operator]
    sure = aggregate.improvement([[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]])
    assert (sure.value, sure.high) == (1, 1)
    assert 0.3 < (sure.low or 0) < 0.9
    assert aggregate.improvement([[1.0] * 3], [[1.0] * 3]).value == 0.5
    worse = aggregate.improvement(theirs, ours)
    assert (worse.low, worse.high) == pytest.approx((1 - found.high, 1 - found.low))  # type: ignore[operator]


def test_every_problem_is_resampled_by_itself() -> None:
    # the variance of the mean over problems is the sum of those within problems / P^2: chance is not shared
    random = np.random.default_rng(4)
    scores = [random.normal(0, 1, 8).tolist() for _ in range(30)]
    found = aggregate.mean_score(scores, level=0.6826894921370859, draws=4000)
    error = math.sqrt(sum(np.var(own, ddof=1) / 8 for own in scores)) / 30
    assert (found.high - found.low) / 2 == pytest.approx(error, rel=0.08)  # type: ignore[operator]
    assert aggregate.mean_score([[3.0]]).low is None


def test_nothing_to_score_is_refused() -> None:
    for wrong in ([], [[]], [[math.nan]]):
        with pytest.raises(ValueError, match="at least one problem"):
            aggregate.iqm(wrong)
    with pytest.raises(ValueError, match="same problems"):
        aggregate.improvement([[1.0]], [])
