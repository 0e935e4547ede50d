"""The rank tests: scipy where it is exact, enumeration of all signs and divisions where it is not, published tables."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from optbench.metrics import rank_tests

FEW = st.lists(st.integers(-4, 4) | st.just(math.inf) | st.just(-math.inf), min_size=1, max_size=9)


def every_sign(d: list[float]) -> tuple[float, float]:
    """Both tails of the signed-rank statistic, all signs of the differences that are not 0 written down."""
    d = [x for x in d if x]
    if not d:
        return 1.0, 1.0
    own = scipy.stats.rankdata(np.abs(d))
    found = sum(r for r, x in zip(own, d, strict=True) if x > 0)
    sums = [sum(r for r, s in zip(own, signs, strict=True) if s) for signs in itertools.product((0, 1), repeat=len(d))]
    return float(np.mean([s <= found for s in sums])), float(np.mean([s >= found for s in sums]))


def every_division(a: list[float], b: list[float]) -> tuple[float, float]:
    """Both tails of the rank sum, all divisions of the pooled runs written down."""
    own = scipy.stats.rankdata([*a, *b])
    sums = [sum(some) for some in itertools.combinations(own, len(a))]
    found = sum(own[: len(a)])
    return float(np.mean([s <= found for s in sums])), float(np.mean([s >= found for s in sums]))


@given(FEW)
def test_signed_ranks_are_those_of_every_sign_with_ties_zeros_and_infinities(d: list[float]) -> None:
    lower, upper = rank_tests.signed_rank_tails(np.array([d], dtype=float))
    assert (lower[0], upper[0]) == pytest.approx(every_sign(d), abs=1e-12)


@given(FEW, FEW)
def test_rank_sums_are_those_of_every_division_with_ties_and_infinities(a: list[float], b: list[float]) -> None:
    a, b = a[:6], b[:6]
    lower, upper = rank_tests.rank_sum_tails(np.array([a], dtype=float), np.array([b], dtype=float))
    assert (lower[0], upper[0]) == pytest.approx(every_division(a, b), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 12, 30, 31, 50])
def test_untied_pairs_have_scipys_exact_p(n: int) -> None:
    d = np.random.default_rng(n).normal(0.3, 1, (20, n))
    p = rank_tests.two_sided(*rank_tests.signed_rank_tails(d))
    assert p == pytest.approx([scipy.stats.wilcoxon(one, method="exact").pvalue for one in d], rel=1e-9)


@pytest.mark.parametrize(("n_a", "n_b"), [(1, 1), (1, 9), (5, 5), (12, 7), (30, 30), (3, 60)])
def test_untied_samples_have_scipys_exact_p(n_a: int, n_b: int) -> None:
    draw = np.random.default_rng(n_a).normal
    a, b = draw(0.5, 1, (20, n_a)), draw(0, 1, (20, n_b))
    p = rank_tests.two_sided(*rank_tests.rank_sum_tails(a, b))
    found = [scipy.stats.mannwhitneyu(x, y, method="exact").pvalue for x, y in zip(a, b, strict=True)]
    assert p == pytest.approx(found, rel=1e-9)


def test_the_published_critical_values() -> None:
    # Hollander, Wolfe & Chicken, tables A.4 and A.6: P(T+ >= 47) = .024 for n = 10, P(T+ >= 25) = .031 for n = 7...
    below = rank_tests.signed_rank_below(10)
    assert round(1 - below[46], 3) == 0.024
    assert round(1 - rank_tests.signed_rank_below(5)[14], 3) == 0.031
    # Mann & Whitney (1947): n = m = 4: P(U <= 0) = 1/70, P(U <= 1) = 2/70
    assert rank_tests.rank_sum_below(4, 4)[:3] * 70 == pytest.approx([1, 2, 4])


@pytest.mark.parametrize("grid", [0.1, 0.25, 0.5, 2.0])
@pytest.mark.parametrize("n", [101, 130])
def test_p_of_many_tied_pairs_is_that_of_all_signs_or_nearly(n: int, grid: float) -> None:
    d = np.round(np.random.default_rng(n).normal(0.2, 1, (4, n)) / grid) * grid
    lower, upper = rank_tests.signed_rank_tails(d)
    for row, tails in zip(d, zip(lower, upper, strict=True), strict=True):
        own = np.abs(rank_tests.signed_ranks(row[None]))[0]
        exact = rank_tests._tails_of_sums(tuple(own[own > 0].tolist()))
        t = int(own[row > 0].sum())
        assert tails == pytest.approx((exact[0][t], exact[1][t]), abs=1e-9 if grid == 2 else 5e-3)


@pytest.mark.parametrize("steps", [0.6, 1, 2, 4])
@pytest.mark.parametrize(("n_a", "n_b"), [(16, 16), (10, 30), (5, 96)])
def test_p_of_many_tied_runs_is_that_of_all_divisions_or_nearly(n_a: int, n_b: int, steps: float) -> None:
    rng = np.random.default_rng(n_a)
    a, b = np.round(rng.normal(0.4, 1, (4, n_a)) * steps), np.round(rng.normal(0, 1, (4, n_b)) * steps)
    lower, upper = rank_tests.rank_sum_tails(a, b)
    for x, y, tails in zip(a, b, zip(lower, upper, strict=True), strict=True):
        own = rank_tests.doubled_midranks(np.concatenate([x, y])[None])[0]
        exact = rank_tests._tails_of_parts(tuple(own.tolist()), n_a)
        t = int(own[:n_a].sum())
        assert tails == pytest.approx((exact[0][t], exact[1][t]), abs=1e-9 if steps == 0.6 else 5e-3)


def test_more_pairs_than_are_enumerated_have_p_within_a_thousandth_of_scipys() -> None:
    d = np.random.default_rng(0).normal(0.08, 1, (5, 700))
    p = rank_tests.two_sided(*rank_tests.signed_rank_tails(d))
    assert p == pytest.approx([scipy.stats.wilcoxon(one, method="exact").pvalue for one in d], abs=1e-4)


@given(st.lists(st.integers(-3, 3).map(float) | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=8))
def test_midranks_are_scipys_and_missing_ones_come_last(values: list[float]) -> None:
    found = rank_tests.doubled_midranks(np.array([values]))[0] / 2
    known = ~np.isnan(values)
    assert found[known] == pytest.approx(scipy.stats.rankdata(np.array(values)[known]))
    assert (found[~known] > known.sum()).all()


def test_a_missing_pair_changes_nothing_and_swapped_sides_swap_the_tails() -> None:
    d = np.random.default_rng(3).normal(0.4, 1, (6, 9))
    with_gaps = np.insert(d, [2, 5], np.nan, axis=1)
    assert rank_tests.signed_rank_tails(with_gaps)[0] == pytest.approx(rank_tests.signed_rank_tails(d)[0], abs=0)
    assert rank_tests.signed_rank_tails(-d)[0] == pytest.approx(rank_tests.signed_rank_tails(d)[1], rel=1e-12)
    assert rank_tests.rank_sum_tails(d[:, :4], d[:, 4:])[0] == pytest.approx(
        rank_tests.rank_sum_tails(-d[:, :4], -d[:, 4:])[1], rel=1e-12
    )


def test_the_same_infinity_on_both_sides_is_no_difference() -> None:
    inf, nan = math.inf, math.nan
    found = rank_tests.differences(np.array([inf, inf, -inf, 1.0, nan]), np.array([inf, 1.0, -inf, inf, inf]))
    assert found[:4].tolist() == [0.0, inf, 0.0, -inf]
    assert math.isnan(found[4])
