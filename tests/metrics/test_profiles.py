"""Profiles and AlgoPerf's scores: worked examples, quadrature, and the numbers that AlgoPerf's own program gave."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from optbench.metrics import profiles

INF = math.inf
# Times of three submissions on eight workloads in three studies. compute_performance_profiles and
# compute_leaderboard_score(normalize=True) of mlcommons/algorithmic-efficiency at 2c90454 were run on these.
TIMES = np.array([
    [[10, 12, 11], [100, 90, 95], [50, 52, INF], [7, INF, INF],
     [20, 20, 20], [300, 310, 305], [INF, INF, INF], [41, 40, 42]],
    [[12, 14, 13], [80, 85, 90], [210, 200, 190], [9, 8, 10],
     [20, 20, 20], [INF, INF, INF], [INF, INF, INF], [39, 39, 39]],
    [[45, 44, 43], [95, INF, 96], [60, INF, 61], [INF, INF, 8],
     [INF, 25, 24], [301, 299, 300], [INF, INF, INF], [170, 150, 160]],
])  # fmt: skip

tables = st.integers(2, 4).flatmap(
    lambda s: st.lists(
        st.lists(st.sampled_from([1.0, 2.0, 2.0, 3.0, 5.0, 9.0, 40.0, INF]), min_size=s, max_size=s),
        min_size=1,
        max_size=6,
    ).map(lambda rows: np.array(rows).T)
)


@pytest.mark.parametrize(
    ("asked", "published"),
    [
        ({}, [0.7430555555555548, 0.6250000000000012, 0.4772727272727273]),
        ({"reference": 0}, [0.7499999999999991, 0.6250000000000012, 0.4823232323232323]),
        ({"reference": 1}, [0.743686868686868, 0.7499999999999991, 0.5094696969696976]),
        ({"max_tau": 2.0}, [0.7266414141414138, 0.6029040404040411, 0.4311868686868687]),
    ],
)
def test_the_code_path_is_that_of_algoperf(asked: dict[str, float], published: list[float]) -> None:
    assert profiles.algoperf_code(TIMES, **asked) == pytest.approx(published, abs=1e-12)  # type: ignore[arg-type]


def test_even_studies_and_partial_sets_are_as_in_algoperf() -> None:
    two = [0.7417929292929287, 0.618055555555557, 0.125]  # studies 0 and 1 alone: one miss makes the median inf
    assert profiles.algoperf_code(TIMES[:, :, :2]) == pytest.approx(two, abs=1e-12)
    three = [0.3705808080808078, 0.24999999999999997, 0.23800505050505052]  # three workloads, counted as eight
    assert profiles.algoperf_code(TIMES[:, :3], workloads=8) == pytest.approx(three, abs=1e-12)
    assert profiles.algoperf_code(TIMES[:, :3]) == pytest.approx(np.array(three) * 8 / 3, abs=1e-12)


def test_a_time_that_is_no_number_is_not_reached() -> None:
    times = np.array([[[1.0]], [[math.nan]], [[2.0]]])
    found = profiles.algoperf_code(times)
    assert (found[0], found[1]) == (pytest.approx(1), 0)
    assert profiles.algoperf_code(np.full((2, 1, 1), INF)).tolist() == [0, 0]


def test_the_trial_of_the_earliest_evaluation_counts() -> None:
    # get_best_trial_index says (1, 1): the second trial hits at its second evaluation, at 10 s; the third too, at 4
    assert profiles.algoperf_trial([2, 1, 1], [3, 10, 4]) == 10
    assert profiles.algoperf_trial([INF, INF], [3, 10]) == INF


def test_ratios_and_the_profile_of_a_worked_example() -> None:
    times = np.array([[1, 20, INF, 3], [2, 10, INF, INF]])
    assert profiles.ratios(times).tolist() == [[1, 2, INF, 1], [2, 1, INF, INF]]
    first, second = profiles.performance_profile(times)
    assert first.at([0.99, 1, 1.9, 2, 1e9]).tolist() == [0, 0.5, 0.5, 0.75, 0.75]
    assert second.at([1, 2, 1e9]).tolist() == [0.25, 0.5, 0.5]
    assert profiles.algoperf(times) == pytest.approx([(1 + 2 / 3 + 0 + 1) / 4, (2 / 3 + 1) / 4])
    assert profiles.ratios([[0.0, 0.0], [0.0, 1.0]]).tolist() == [[1, 1], [1, INF]]
    assert profiles.ratios([[2.0, 2.0], [1.0, INF]], reference=1).tolist() == [[2, 0], [1, INF]]
    for wrong in ([[math.nan]], [[-1.0]], [], [1.0]):
        with pytest.raises(ValueError, match="times"):
            profiles.ratios(wrong)


@given(tables)
def test_the_closed_form_is_the_integral_of_the_profile(times: np.ndarray) -> None:
    taus = np.linspace(1, 4, 30_001)
    for score, profile in zip(profiles.algoperf(times), profiles.performance_profile(times), strict=True):
        assert score == pytest.approx(scipy.integrate.trapezoid(profile.at(taus), taus) / 3, abs=2e-4)
    assert profiles.algoperf_code(times[:, :, None]) == pytest.approx(profiles.algoperf(times), abs=0.006)


@given(tables, st.sampled_from([0.5, 3.0]))
def test_what_changes_no_score(times: np.ndarray, scale: float) -> None:
    score = profiles.algoperf(times)
    assert profiles.algoperf(times * scale) == pytest.approx(score)
    assert profiles.algoperf(np.tile(times, (1, 2))) == pytest.approx(score)
    order = np.random.default_rng(times.size).permutation(times.shape[1])
    assert profiles.algoperf(times[:, order]) == pytest.approx(score)
    never = np.append(times[0], INF)
    assert profiles.algoperf(np.vstack([never, np.column_stack([times[1:], times[1:, 0]])]))[0] <= score[0] + 1e-12


def test_the_interval_covers_seeds_and_forgets_their_order() -> None:
    random = np.random.default_rng(0)
    seeds = random.lognormal(0, 0.4, (3, 5, 9)) * np.array([1.0, 1.3, 2.0])[:, None, None]
    found = profiles.algoperf_intervals(seeds.tolist(), draws=500)
    assert [one.value for one in found] == pytest.approx(profiles.algoperf(np.median(seeds, axis=2)))
    assert all(one.low < one.value < one.high for one in found)
    turned = seeds[:, random.permutation(5)][:, :, random.permutation(9)]
    assert profiles.algoperf_intervals(turned.tolist(), draws=500) == found
    order = [2, 0, 1]
    assert profiles.algoperf_intervals(seeds[order].tolist(), draws=500) == [found[i] for i in order]
    single = profiles.algoperf_intervals([[[1.0]], [[2.0]]], draws=10)
    assert [one.value for one in single] == pytest.approx([1, 2 / 3])
    with pytest.raises(ValueError, match="every configuration"):
        profiles.algoperf_intervals([[[1.0]], []])


def test_speed_up_is_the_geometric_mean_of_the_written_rule() -> None:
    ours, reference, budgets = [10.0, 30.0, INF, INF], [20.0, 10.0, 50.0, INF], [100, 100, 99, 40]
    expected = scipy.stats.gmean([2.0, 1 / 3, 0.5, 1.0])  # 50 / (99 + 1); both missed: 1
    assert profiles.speed_up(ours, reference, budgets) == pytest.approx(expected)
    assert profiles.speed_up(reference, ours, budgets) == pytest.approx(1 / expected)
    with pytest.raises(ValueError, match="same problems"):
        profiles.speed_up([1.0], [1.0, 2.0], 3)


def curves(*runs: list[tuple[float, float]]) -> profiles.Curves:
    rows = [row for run in runs for row in run]
    return [c for c, _ in rows], [v for _, v in rows], np.cumsum([0, *map(len, runs)])


def test_share_of_the_cost_at_which_the_final_value_is_reached() -> None:
    baseline = curves([(0, 9.0), (100, 2.0)], [(0, 9.0), (100, 4.0)], [(0, 9.0), (100, 3.0)])
    ours = curves([(0, 9.0), (30, 3.0), (100, 1.0)], [(0, 9.0), (60, 2.9)], [(0, 9.0), (70, 3.0), (80, 5.0)])
    found = profiles.share_of_cost(ours, baseline)
    assert found.value == 0.6
    assert (found.low or 0) <= 0.6 <= (found.high or 0)
    slow = profiles.share_of_cost(curves([(0, 9.0), (100, 5.0)], [(0, 9.0), (100, 5.0)]), baseline)
    assert slow.value == slow.high == INF
    same = profiles.share_of_cost(baseline, baseline)
    assert same.value == 1.0
    with pytest.raises(ValueError, match="no final value"):
        profiles.share_of_cost(ours, curves([(0, 9.0), (5, INF)]))
    with pytest.raises(ValueError, match="at least one row"):
        profiles.share_of_cost(ours, ([], [], [0, 0]))


def test_the_share_of_cost_takes_the_noise_of_the_target_into_account() -> None:
    # Losses 1 / (1 + cost / c): a run of ours is twice as fast; the target varies with the baseline's own c.
    random = np.random.default_rng(2)
    costs = np.arange(0, 101.0)
    base, mine = random.uniform(8, 12, 15), random.uniform(4, 6, 15)
    runs = lambda scales: curves(*[[(c, 1 / (1 + c / s)) for c in costs] for s in scales])  # noqa: E731
    found = profiles.share_of_cost(runs(mine), runs(base), draws=400)
    expected = np.median(mine) / np.median(base)  # of the same final loss, were costs not whole numbers
    assert found.value == pytest.approx(expected, abs=0.01)
    alone = [np.median(random.choice(mine, 15)) / np.median(base) for _ in range(2000)]
    assert (found.high or 0) - (found.low or 0) > np.quantile(alone, 0.975) - np.quantile(alone, 0.025)
    order = random.permutation(15)
    assert profiles.share_of_cost(runs(mine[order]), runs(base[order[::-1]]), draws=400) == found
