"""Ranks against scipy and against the example and the tables of Demsar's paper."""

from __future__ import annotations

import math
from itertools import combinations, pairwise, permutations, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from optbench.metrics import ranks

# Demsar, J. Mach. Learn. Res. 7 (2006) 1, table 6: AUC of four variants of C4.5 on 14 data sets, one a line. Of the two
# 0.975 of the thirteenth, both as printed, its ranks have the first one above.
AUC = np.array([
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],
    [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip

tables = st.integers(2, 5).flatmap(
    lambda k: st.lists(
        st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.0, 7.0, math.inf]), min_size=k, max_size=k), min_size=2, max_size=7
    )
)


def test_the_example_of_demsar() -> None:
    averages = ranks.average_ranks(-AUC)
    assert averages == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    n, k = AUC.shape
    assert 12 * n / (k * (k + 1)) * ((averages**2).sum() - k * (k + 1) ** 2 / 4) == pytest.approx(9.28, abs=5e-3)
    difference = ranks.critical_difference(14, 4)
    assert difference == pytest.approx(1.25, abs=5e-3)
    assert ranks.critical_difference(14, 4, 0.1) == pytest.approx(1.12, abs=5e-3)
    assert ranks.cliques(averages, difference) == [[3, 1, 2, 0]]
    assert ranks.cliques(averages, 1.12) == [[3, 1, 2], [2, 0]]  # figure 1(a)


@pytest.mark.parametrize(("k", "q5", "q10"), [(3, 2.343, 2.052), (5, 2.728, 2.459), (10, 3.164, 2.920)])
def test_critical_values_are_the_published_ones(k: int, q5: float, q10: float) -> None:
    unit = math.sqrt(k * (k + 1) / 6)  # one problem; Demsar, table 5
    assert ranks.critical_difference(1, k) / unit == pytest.approx(q5, abs=1.1e-3)
    assert ranks.critical_difference(1, k, 0.1) / unit == pytest.approx(q10, abs=1.1e-3)


@given(tables)
def test_friedman_is_that_of_scipy(values: list[list[float]]) -> None:
    table = np.array(values)
    found = ranks.friedman(table)
    if (table == table[:, :1]).all():
        assert (found.statistic, found.p, found.p_f) == (0, 1, 1)
        return
    own = scipy.stats.rankdata(table, axis=1)
    assert ranks.average_ranks(table) == pytest.approx(own.mean(axis=0))
    n, k = own.shape
    if k > 2:
        statistic, p = scipy.stats.friedmanchisquare(*own.T)
        assert (found.statistic, found.p) == pytest.approx((statistic, p), abs=1e-9)
    # Iman and Davenport's F is the analysis of variance of the ranks, problems as blocks
    grand = own.mean()
    between = n * ((own.mean(axis=0) - grand) ** 2).sum()
    left = ((own - own.mean(axis=0) - own.mean(axis=1, keepdims=True) + grand) ** 2).sum()
    if left > 1e-9:
        assert found.f == pytest.approx(between / (k - 1) / (left / ((k - 1) * (n - 1))), rel=1e-9, abs=1e-12)
        assert found.p_f == pytest.approx(scipy.stats.f.sf(found.f, k - 1, (k - 1) * (n - 1)))
    else:
        assert (found.f, found.p_f) == (math.inf, 0)
    assert 0 < found.best <= 1
    if k == 2:
        untied = own[own[:, 0] != 1.5]
        ahead = int((untied[:, 0] == 1).sum())
        assert found.p_exact == pytest.approx(scipy.stats.binomtest(ahead, len(untied)).pvalue)
    if math.factorial(k) ** n <= 300:
        orders = [[sum(order) for order in zip(*each, strict=True)] for each in product(*map(permutations, own))]
        as_far = [sum(x * x for x in one) >= (own.sum(axis=0) ** 2).sum() - 1e-9 for one in orders]
        assert found.p_exact == pytest.approx(np.mean(as_far))


@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_of_two_the_critical_difference_is_of_the_sign_test(alpha: float) -> None:
    for n in range(1, 40):
        told = [2 * wins / n - 1 for wins in range(n + 1)
                if 2 * wins > n and scipy.stats.binomtest(wins, n).pvalue <= alpha]  # fmt: skip
        assert ranks.critical_difference(n, 2, alpha) == pytest.approx(min(told, default=2.0))


@given(tables)
def test_what_changes_no_average_rank(values: list[list[float]]) -> None:
    table = np.array(values)
    averages = ranks.average_ranks(table)
    scales = np.array([3.0, 0.5, 1e6, 1.0, 2.0, 7.0, 1e-3])[: len(table), None]
    assert ranks.average_ranks(table * scales) == pytest.approx(averages)
    assert ranks.average_ranks(np.tile(table, (2, 1))) == pytest.approx(averages)
    assert ranks.average_ranks(table[::-1, ::-1]) == pytest.approx(averages[::-1])
    worse = table.copy()
    worse[:, 0] = math.inf
    assert ranks.average_ranks(worse)[0] >= averages[0] - 1e-12


@given(st.lists(st.floats(1, 9), min_size=1, max_size=9), st.floats(0.1, 4))
def test_cliques_are_the_maximal_groups(averages: list[float], difference: float) -> None:
    found = ranks.cliques(averages, difference)
    groups = [set(c) for size in range(2, len(averages) + 1) for c in combinations(range(len(averages)), size)
              if max(averages[i] for i in c) <= min(averages[i] for i in c) + difference]  # fmt: skip
    maximal = [group for group in groups if not any(group < other for other in groups)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, maximal))
    assert all(averages[a] <= averages[b] for group in found for a, b in pairwise(group))


def test_ranks_want_numbers() -> None:
    for wrong in ([[math.nan, 1.0]], [], [1.0, 2.0]):
        with pytest.raises(ValueError, match="problems by configurations"):
            ranks.ranks(wrong)
    with pytest.raises(ValueError, match="at least 2"):
        ranks.friedman([[1.0, 2.0]])
    with pytest.raises(ValueError, match="at least 1 problem"):
        ranks.critical_difference(5, 1)


@pytest.mark.parametrize("k", [3, 5, 10, 40])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
def test_the_critical_difference_is_of_the_studentized_range(k: int, alpha: float) -> None:
    q = scipy.stats.studentized_range.ppf(1 - alpha, k, np.inf) / math.sqrt(2)
    assert ranks.critical_difference(7, k, alpha) == pytest.approx(q * math.sqrt(k * (k + 1) / 42), rel=1e-6)
