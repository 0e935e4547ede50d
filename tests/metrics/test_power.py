"""Numbers of seeds: against the noncentral t distribution, simulated tests, and enumeration of the probabilities."""

from __future__ import annotations

import itertools
import math
import sys
from typing import Any

import numpy as np
import pytest
import scipy.stats

from optbench.metrics import power, rank_tests


def by_t(effect: float, alpha: float, wanted: float) -> int:
    """Pairs with which the two-sided t test finds normal differences of that mean, in deviations."""
    for n in range(2, 10_000):
        critical = scipy.stats.t.ppf(1 - alpha / 2, n - 1)
        if 1 - scipy.stats.nct.cdf(critical, n - 1, effect * math.sqrt(n)) >= wanted:
            return n
    raise AssertionError


@pytest.mark.parametrize("effect", [0.2, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("comparisons", [1, 15])
def test_normal_differences_need_pi_thirds_of_what_t_needs(effect: float, comparisons: int) -> None:
    # the asymptotic relative efficiency of the signed-rank test at the normal distribution is 3 / pi
    found = power.seeds_needed(effect * 7, 7.0, comparisons=comparisons)
    assert found == pytest.approx(by_t(effect, 0.05 / comparisons, 0.9) * math.pi / 3, rel=0.04, abs=1.5)


@pytest.mark.parametrize(("effect", "paired"), [(0.5, True), (1.0, True), (0.8, False), (1.5, False)])
def test_so_many_seeds_find_it_in_nine_of_ten_simulations(effect: float, paired: bool) -> None:
    n = power.seeds_needed(effect, 1.0, paired=paired)
    assert n is not None
    draw = np.random.default_rng(n).normal
    if paired:
        tails = rank_tests.signed_rank_tails(draw(effect, 1, (4000, n)))
    else:
        tails = rank_tests.rank_sum_tails(draw(effect, 1, (4000, n)), draw(0, 1, (4000, n)))
    assert (rank_tests.two_sided(*tails) <= 0.05).mean() == pytest.approx(0.9, abs=0.04)


def test_a_table_of_seeds() -> None:
    # Machin et al., Sample Size Tables, 4th ed., and any power calculator: t needs 44 pairs for 0.5 at 90 %
    assert by_t(0.5, 0.05, 0.9) == 44
    assert power.seeds_needed(0.5, 1.0) in (45, 46, 47)
    assert power.seeds_needed(100.0, 1.0) == 6  # 2^(1-6) <= 0.05
    assert power.seeds_needed(100.0, 1.0, comparisons=15) == 10
    assert power.seeds_needed(100.0, 1.0, paired=False) == 4  # 2 / C(8, 4) <= 0.05
    assert power.seeds_needed(1.0, 0.0) == 6
    assert power.seeds_needed(0.0, 1.0) is None
    assert power.seeds_needed(-0.5, 1.0) == power.seeds_needed(0.5, 1.0)
    assert power.seeds_needed(1e-6, 1.0) is None


def test_less_alpha_more_power_and_more_comparisons_need_more() -> None:
    usual = power.seeds_needed(0.5, 1.0)
    assert usual is not None
    for more in ({"alpha": 0.01}, {"power": 0.99}, {"comparisons": 3}):
        found = power.seeds_needed(0.5, 1.0, **more)  # type: ignore[arg-type]
        assert found is not None
        assert found > usual
    for wrong in ({"alpha": 0.0}, {"power": 1.0}, {"comparisons": 0}):
        with pytest.raises(ValueError, match="no power of"):
            power.seeds_needed(0.5, 1.0, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [9, 40])
@pytest.mark.parametrize("form", [{}, {"paired": False}, {"diverged": 0.01}, {"comparisons": 3, "alpha": 0.1}])
def test_the_difference_that_is_found_is_the_smallest(n: int, form: dict[str, Any]) -> None:
    found = power.difference_found(n, 2.5, **form)
    assert found is not None
    assert power.seeds_needed(found * 1.0001, 2.5, **form) == n
    fewer = power.seeds_needed(found * 0.999, 2.5, **form)
    assert fewer is not None
    assert fewer > n
    assert power.difference_found(5, 1.0) is None
    assert power.difference_found(30, 0.0) == 0


def test_chances_of_pairs_are_counts() -> None:
    d = [1.0, -0.5, 0.0, 2.0, -1.0, math.inf, -math.inf]

    def above(x: float) -> float:
        return 0.5 if math.isnan(x) or x == 0 else float(x > 0)

    found = power.pair_chances(np.array(d))
    assert found.one == pytest.approx(np.mean([above(x) for x in d]))
    assert found.two == pytest.approx(np.mean([above(x + y) for x, y in itertools.permutations(d, 2)]))
    assert found.three == pytest.approx(
        np.mean([above(x + y) * above(x + z) for x, y, z in itertools.permutations(d, 3)])
    )


def test_chances_of_samples_are_counts() -> None:
    a, b = np.array([1.0, 2.0, 0.5, 3.0]), np.array([0.5, 2.5, 1.0])
    found = power.sample_chances(a[:, None] - b[None, :])

    def above(x: float, y: float) -> float:
        return 0.5 if x == y else float(x > y)

    assert found.one == pytest.approx(np.mean([above(x, y) for x in a for y in b]))
    assert found.two == pytest.approx(
        np.mean([above(x, y) * above(x, z) for x in a for y, z in itertools.permutations(b, 2)])
    )
    assert found.three == pytest.approx(
        np.mean([above(x, y) * above(z, y) for y in b for x, z in itertools.permutations(a, 2)])
    )


def test_chances_with_diverged_runs_are_those_of_many() -> None:
    quantiles = scipy.stats.norm.ppf((np.arange(400) + 0.5) / 400)
    d = np.concatenate([quantiles + 0.7, np.full(50, math.inf), np.full(50, -math.inf)])  # one pair in five
    a, b = (np.concatenate([quantiles + shift, np.full(100, math.inf)]) for shift in (0.7, 0.0))
    with np.errstate(invalid="ignore"):
        gaps = np.nan_to_num(a[:, None] - b[None, :], nan=0.0, posinf=math.inf, neginf=-math.inf)
    for name in ("one", "two", "three"):
        counted = getattr(power.pair_chances(d), name), getattr(power.sample_chances(gaps), name)
        assert getattr(power.normal_pair_chances(0.7, 0.2), name) == pytest.approx(counted[0], abs=4e-3)
        assert getattr(power.normal_sample_chances(0.7, 0.2), name) == pytest.approx(counted[1], abs=4e-3)
    few, many = (power.seeds_needed(1.0, 1.0, diverged=share) for share in (0.0, 0.3))
    assert few is not None
    assert many is not None
    assert few < many


@pytest.mark.parametrize("effect", [0.0, 0.4, 1.3])
def test_chances_of_normal_differences_are_those_of_many(effect: float) -> None:
    quantiles = scipy.stats.norm.ppf((np.arange(600) + 0.5) / 600)
    pairs, samples = power.normal_pair_chances(effect), power.normal_sample_chances(effect)
    counted = power.pair_chances(quantiles + effect), power.sample_chances((quantiles + effect)[:, None] - quantiles)
    for name in ("one", "two", "three"):
        assert getattr(pairs, name) == pytest.approx(getattr(counted[0], name), abs=3e-3)
        assert getattr(samples, name) == pytest.approx(getattr(counted[1], name), abs=3e-3)


@pytest.mark.parametrize(("n_a", "n_b"), [(0, 9), (3, 4), (600, 600), (600, 5000)])
def test_orders_of_two_samples_are_counted_exactly_as_far_as_floats_go(n_a: int, n_b: int) -> None:
    assert power.ways(n_a, n_b) == math.comb(n_a + n_b, n_a) == power.ways(n_b, n_a)
    assert power.ways(601, 601) == math.inf
    assert math.comb(1202, 601) > sys.float_info.max
