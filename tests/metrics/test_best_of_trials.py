"""Tuning by enumeration of all draws, by simulation of the null case, and by worked examples."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.metrics import tuned

INF = math.inf
values = st.lists(st.sampled_from([0.1, 0.5, 0.5, 1.0, 2.0, 7.0, INF]), min_size=1, max_size=7)


@settings(max_examples=40)
@given(values, st.sampled_from([-1, 1]))
def test_the_best_of_k_is_the_mean_over_all_choices_of_k(losses: list[float], direction: int) -> None:
    results = [-direction * value for value in losses]
    found = tuned.best_of(results, direction=direction, draws=20)
    for k, expected, median in zip(found.trials, found.expected, found.median, strict=True):
        bests = sorted(min(c) for c in combinations(losses, int(k)))
        assert -direction * expected == pytest.approx(np.mean(bests))
        assert -direction * median == bests[(len(bests) - 1) // 2]
    again = tuned.best_of(results[::-1], direction=direction, draws=20)
    assert all(np.array_equal(getattr(found, f), getattr(again, f), equal_nan=True) for f in vars(found))


def test_failed_trials_and_the_start() -> None:
    found = tuned.best_of([INF, 3.0, INF, 1.0], [1, 2, 3, 4])
    assert found.expected.tolist() == [INF, INF, pytest.approx((1 + 1 + 1 + 3) / 4), 1]
    assert found.median.tolist() == [3, 1, 1, 1]
    clipped = tuned.best_of([INF, 3.0, INF, 1.0], [1, 2, 4], start=5.0)
    assert clipped.expected == pytest.approx([(5 + 5 + 3 + 1) / 4, (5 + 3 * 2 + 1 * 3) / 6, 1])
    worse = tuned.best_of([INF, 3.0, INF, 1.0, INF])
    assert (worse.median[:4] >= found.median).all()
    accuracies = tuned.best_of([0.2, 0.9, -INF], [3], direction=1)
    assert accuracies.expected.tolist() == [0.9]
    for wrong in ([], [math.nan], [-INF]):
        with pytest.raises(ValueError, match="best of trials"):
            tuned.best_of(wrong)
    with pytest.raises(ValueError, match="from 1 to 2"):
        tuned.best_of([1.0, 2.0], [3])


def test_many_trials_keep_their_digits_and_the_band_holds_the_curve() -> None:
    n = 1000  # values 1 ... n: the best of k is (n + 1) / (k + 1) on average
    found = tuned.best_of(np.arange(1, n + 1), [1, 10, 500, 1000], draws=400)
    assert found.expected == pytest.approx((n + 1) / (np.array([1, 10, 500, 1000]) + 1), rel=1e-12)
    assert (found.low <= found.expected).all()
    assert (found.high >= found.expected).all()
    up = tuned.best_of(-np.arange(1, n + 1), [1, 10], direction=1, draws=400)
    assert up.expected == pytest.approx(-found.expected[:2])
    assert (up.low, up.high) == (pytest.approx(-found.high[:2]), pytest.approx(-found.low[:2]))
    assert np.isnan(tuned.best_of([2.0]).low).all()


def test_sensitivity_is_the_mean_loss_above_the_best_clipped_at_the_start() -> None:
    rates = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    found = tuned.sensitivity(rates, [2.2, 1.0, 0.5, INF, math.nan], initial=2.3)
    # three decades round 1e-2: from 10^-3.5 to 10^-0.5
    assert found == tuned.Sensitivity(pytest.approx((0.5 + 0 + 1.8) / 3), 1e-3, 1e-1, 3)
    whole = tuned.sensitivity(rates, [2.2, 1.0, 0.5, INF, math.nan], initial=2.3, decades=8)
    assert whole.value == pytest.approx((1.7 + 0.5 + 0 + 1.8 + 1.8) / 5)
    doubled = tuned.sensitivity(rates * 2, [2.2, 1.0, 0.5, INF, 9, 2.2, 1.0, 0.5, INF, 9], initial=2.3, decades=8)
    assert doubled == whole
    never = tuned.sensitivity(rates, [INF] * 5, initial=2.3)
    assert never.value == 0.0  # nothing learned anywhere: that is what the best loss says
    with pytest.raises(ValueError, match="positive rates"):
        tuned.sensitivity([0.0], [1.0], 2.0)
    with pytest.raises(ValueError, match="start"):
        tuned.sensitivity([1.0], [1.0], INF)


def test_share_of_the_range_within_five_percent() -> None:
    rates = [1e-3, 1e-2, 1e-1, 1.0]
    assert tuned.share_within(rates, [2.0, 1.0, 1.0, 2.0]) == pytest.approx((0.05 + 1 + 0.05) / 3)
    assert tuned.share_within(rates, [INF, 1.0, 1.04, math.nan]) == pytest.approx(1 / 3)
    assert tuned.share_within(rates, [1, 1, 1, 1]) == 1
    assert tuned.share_within(rates, [INF, INF, INF, 1.0]) == 0
    assert tuned.share_within(rates, [INF] * 4) == 0
    assert tuned.share_within(rates, [1.0, 0.0, 1.0, 1.0], scale=1.0) == pytest.approx(0.1 / 3)
    assert tuned.share_within(rates + rates[1:2] * 2, [2, 1, 1, 2, 50, 1]) == pytest.approx(
        1.1 / 3
    )  # the median counts
    with pytest.raises(ValueError, match="two different"):
        tuned.share_within([0.1, 0.1], [1.0, 2.0])


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([1e-3, 1e-2, 0.1, 0.2, 1.0]), st.sampled_from([0.5, 0.52, 0.6, 2.0, INF])),
                min_size=2, max_size=8).filter(lambda rows: len({rate for rate, _ in rows}) > 1))  # fmt: skip
def test_the_share_is_that_of_a_fine_grid(rows: list[tuple[float, float]]) -> None:
    rates, losses = np.array([r for r, _ in rows]), np.array([v for _, v in rows])
    tried = np.unique(rates)
    middle = np.array([np.median(losses[rates == rate]) for rate in tried])
    fine = np.linspace(np.log(tried[0]), np.log(tried[-1]), 20_001)
    curve = np.interp(fine, np.log(tried), np.minimum(middle, 1e9))
    share = 0.0 if np.isinf(middle).all() else float((curve <= 1.05 * middle.min()).mean())
    assert tuned.share_within(rates, losses) == pytest.approx(share, abs=2e-3)


def test_what_was_chosen_is_reported_on_other_seeds() -> None:
    tune, report = [[1.0, 3.0, 2.0], [1.5, 1.6, 1.4]], [[math.nan, math.nan], [1.9, 2.1]]
    found = tuned.choose(tune, report)
    assert found == tuned.Chosen((1,), 1.5, 2.0, 0.5)
    assert tuned.choose(tune, [[5.0], [6.0]], direction=1, centre="mean") == tuned.Chosen((0,), 2.0, 5.0, -3.0)
    equal = tuned.choose([[1.0], [1.0]], [[3.0], [5.0]])
    assert equal == tuned.Chosen((0, 1), 1.0, 4.0, 3.0)
    with pytest.raises(ValueError, match="setting 0 was chosen"):
        tuned.choose([[1.0], [2.0]], [[math.nan], [1.0]])
    with pytest.raises(ValueError, match="report seed"):
        tuned.choose(tune, [[1.0]])


def test_nested_choice_by_a_worked_example() -> None:
    table = [[1.0, 5.0, 3.0], [2.0, 2.0, 4.0]]
    # without seed 0: means 4, 3 -> second: 2; without 1: 2, 3 -> first: 5; without 2: 3, 2 -> second: 4
    found = tuned.nested(table, centre="mean")
    assert (found.settings, found.tuned) == ((1,), pytest.approx(8 / 3))
    assert found.reported == pytest.approx(11 / 3)
    assert found.optimism == pytest.approx(1.0)
    assert tuned.nested([[1.0, 1.0], [1.0, 1.0]]).optimism == 0
    never = tuned.nested([[INF, INF], [INF, INF]])
    assert (never.reported, never.optimism) == (INF, 0)
    with pytest.raises(ValueError, match="at least 2"):
        tuned.nested([[1.0], [2.0]])


@settings(max_examples=40)
@given(st.integers(0, 1000), st.sampled_from([-1, 1]), st.sampled_from(["median", "mean"]))
def test_the_order_of_seeds_and_settings_does_not_matter(seed: int, direction: int, centre: tuned.Centre) -> None:
    random = np.random.default_rng(seed)
    table = random.integers(0, 6, (4, 6)) / 8
    found = tuned.nested(table, direction=direction, centre=centre)
    seeds, rows = random.permutation(6), random.permutation(4)
    turned = tuned.nested(table[rows][:, seeds], direction=direction, centre=centre)
    assert (turned.tuned, turned.reported, turned.optimism) == (found.tuned, found.reported, found.optimism)
    assert sorted(rows[list(turned.settings)]) == list(found.settings)
    mirrored = tuned.nested(-table, direction=-direction, centre=centre)
    assert mirrored.optimism == found.optimism


def test_the_nested_value_does_not_flatter_where_nothing_differs() -> None:
    # 20 settings that are all the same, loss 0 on average: choosing gains nothing, and the naive value says it does
    random = np.random.default_rng(11)
    found = [tuned.nested(random.normal(0, 1, (20, 5)), centre="mean") for _ in range(400)]
    reported = np.array([one.reported for one in found])
    assert abs(reported.mean()) < 3 * reported.std() / 20
    best = np.mean([one.tuned for one in found])
    assert best == pytest.approx(-1.8675 / math.sqrt(5), abs=0.05)  # E min of 20 normal numbers (Tippett, 1925)
    assert np.mean([one.optimism for one in found]) == pytest.approx(-best, abs=0.1)


def test_the_best_value_at_the_end_of_its_range() -> None:
    grid = [1e-4, 1e-3, 1e-2, 1e-1]
    assert tuned.edge(grid, [3, 2, 1, 2]) is None
    assert tuned.edge(grid, [4, 3, 2, 1]) == tuned.Edge(0.1, "high", pytest.approx(1.0))
    assert tuned.edge(grid, [1, 2, INF, INF]) == tuned.Edge(1e-4, "low", pytest.approx(1e-5))
    assert tuned.edge(grid, [0.9, 0.8, 0.8, 0.9], direction=1) is None  # either end: no direction to widen in
    assert tuned.edge(grid, [1, 1, 2, 3]) is None  # one inside does as well
    assert tuned.edge(grid, [INF, math.nan, INF, INF]) is None
    assert tuned.edge([0.1, 0.1], [1, 2]) is None
    assert tuned.edge([0.0, 0.5, 0.9], [3, 2, 1], log=False) == tuned.Edge(0.9, "high", pytest.approx(1.3))
    assert tuned.edge(grid * 2, [4, 3, 2, 1, 4, 3, 0.5, 5]) is None  # of several trials the best
    drawn = [0.0011, 0.02, 0.3]
    assert tuned.edge(drawn, [1, 2, 3], bounds=[1e-3, 1.0]) == tuned.Edge(0.0011, "low", pytest.approx(1e-4))
    assert tuned.edge(drawn, [2, 3, 1], bounds=[1e-3, 1.0]) is None
    with pytest.raises(ValueError, match="positive"):
        tuned.edge([0.0, 1.0], [1, 2])


@pytest.mark.parametrize("start", [6.0, 2.0, 0.5])
def test_the_share_is_within_its_limits_for_all_medians_that_the_runs_allow(start: float) -> None:
    """Held to medians drawn within the order statistics of each rate, some of them at the ends."""
    rng = np.random.default_rng(2)
    rates = np.array([1e-4, 1e-3, 1e-2, 3e-2, 1.0])
    for spread in (0.05, 0.5, 2.0):
        runs = np.array([3.0, 1.0, 0.5, 0.7, 2.0])[:, None] + spread * rng.standard_normal((5, 8))
        runs[4, :3] = INF
        found = tuned.share_interval(np.repeat(rates, 8), runs.ravel(), start)
        # level 0.99 each: of 8 runs the range, which misses with 2 / 256
        assert found.coverage == pytest.approx(1 - 5 * 2 / 256)
        low, high = runs.min(axis=1), np.minimum(runs.max(axis=1), 50.0)
        drawn = low + np.clip(rng.uniform(-0.5, 1.5, (300, 5)), 0, 1) * (high - low)
        alike = np.maximum(low, high.min())  # as many as can be are equally good
        one_good = np.where(np.eye(5, dtype=bool), low, high)
        shares = []
        for medians in (*drawn, alike, *one_good):
            best = medians.min()
            shares.append(tuned.share_within(rates, medians, scale=start - best if start > best else None))
        assert found.low is not None
        assert found.high is not None
        assert found.low - 1e-12 <= min(shares) <= max(shares) <= found.high + 1e-12
        if start == 6.0:  # and no further than they must be
            assert max(shares) == pytest.approx(found.high)
            assert min(shares) <= found.low + 0.04


def test_a_share_or_a_sensitivity_of_too_few_runs_has_no_interval() -> None:
    rates = np.repeat([0.01, 0.1, 1.0], 3)
    losses = np.arange(9.0)
    assert tuned.share_interval(rates, losses, 10.0).low is None  # three rates, each missing in one of four cases
    assert tuned.share_interval(rates[::3], losses[::3], 10.0).coverage is None
    assert tuned.sensitivity_interval(rates[::3], losses[::3], 10.0).low is None
    assert tuned.sensitivity_interval(rates, losses, 10.0).low is not None
    alike = tuned.sensitivity_interval(rates, np.tile([1.0, 2.0, 3.0], 3), 10.0)
    assert (alike.value, alike.low) == (0.0, 0.0)
