"""Effects with intervals: against all averages written down, the tests that they belong to, and simulated coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from optbench.metrics import anytime, intervals, rank_tests


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=12))
def test_the_shift_of_pairs_is_the_median_of_the_walsh_averages(d: list[int]) -> None:
    found = intervals.paired_shifts(np.array([d], dtype=float))[0]
    averages = [(x + y) / 2 for x, y in itertools.combinations_with_replacement(d, 2)]
    assert found.value == pytest.approx(np.median(averages), abs=1e-9)
    assert (found.low is None) == (len(d) == 1)
    if found.low is not None and found.high is not None:
        assert found.low <= found.value <= found.high


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=7), st.lists(st.integers(-50, 50), min_size=1, max_size=7))
def test_the_shift_of_samples_is_the_median_of_all_differences(a: list[int], b: list[int]) -> None:
    found = intervals.unpaired_shifts(np.array([a], dtype=float), np.array([b], dtype=float))[0]
    assert found.value == pytest.approx(np.median([x - y for x in a for y in b]), abs=1e-9)


@pytest.mark.parametrize("n", [5, 6, 9, 17, 30])
def test_the_interval_of_pairs_holds_the_shifts_that_the_exact_test_does_not_reject(n: int) -> None:
    d = np.random.default_rng(n).normal(size=(1, n))
    found = intervals.paired_shifts(d)[0]
    alpha = 0.05 if n >= 6 else 2.0 ** (1 - n)
    assert found.low is not None
    assert found.high is not None
    for end, outward in ((found.low, -1e-9), (found.high, 1e-9)):
        inside = scipy.stats.wilcoxon(d[0] - (end - outward), method="exact").pvalue
        outside = scipy.stats.wilcoxon(d[0] - (end + outward), method="exact").pvalue
        assert outside <= alpha < inside
    assert found.coverage == pytest.approx(1 - outside, abs=1e-9)


@pytest.mark.parametrize(("n_a", "n_b"), [(4, 4), (6, 9), (20, 12)])
def test_the_interval_of_samples_holds_the_shifts_that_the_exact_test_does_not_reject(n_a: int, n_b: int) -> None:
    draw = np.random.default_rng(n_a).normal
    a, b = draw(size=(1, n_a)), draw(size=(1, n_b))
    found = intervals.unpaired_shifts(a, b)[0]
    assert found.low is not None
    assert found.high is not None
    for end, outward in ((found.low, -1e-9), (found.high, 1e-9)):
        inside = scipy.stats.mannwhitneyu(a[0] - (end - outward), b[0], method="exact").pvalue
        outside = scipy.stats.mannwhitneyu(a[0] - (end + outward), b[0], method="exact").pvalue
        assert outside <= 0.05 < inside
    assert found.coverage == pytest.approx(1 - outside, abs=1e-9)


def test_the_shift_of_hollander_and_wolfes_patients() -> None:
    # Hollander, Wolfe & Chicken, examples 3.1 and 3.4: nine patients, estimate -0.46, interval (-0.786, -0.010), 96 %
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    found = intervals.paired_shifts(np.subtract([after], [before]), 0.95)[0]
    assert found.value == pytest.approx(-0.46)
    assert (found.low, found.high) == pytest.approx((-0.786, -0.010))
    assert found.coverage == pytest.approx(0.961, abs=5e-4)


def test_diverged_runs_make_an_end_infinite_and_take_nothing_else_away() -> None:
    inf = math.inf
    d = np.array([[-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, -inf, 0.3, -0.7, -inf]])
    found = intervals.paired_shifts(d)[0]
    assert found.low == -inf
    assert math.isfinite(found.value)
    assert found.high is not None
    assert math.isfinite(found.high)
    assert intervals.paired_shifts(np.array([[inf, -inf]]))[0].value == 0
    shifted = intervals.unpaired_shifts(np.array([[1.0, 2.0, inf, inf]]), np.array([[0.0, inf]]))[0]
    assert not math.isnan(shifted.value)


def test_the_quantiles_of_many_values_stand_for_them() -> None:
    rng = np.random.default_rng(1)
    d = rng.standard_cauchy((1, 2500))
    whole = np.add.outer(d[0], d[0])[np.triu_indices(2500)] / 2
    found = intervals.paired_shifts(d)[0]
    k, _ = intervals._pairs_rank(2500, 0.95)
    assert found.value == pytest.approx(np.median(whole), abs=1e-3)
    assert found.low == pytest.approx(np.partition(whole, k - 1)[k - 1], abs=1e-3)
    assert found.coverage == pytest.approx(0.95, abs=1e-3)


def test_the_probability_to_win_has_newcombes_interval() -> None:
    # by its equation: both limits solve |p - U| = z * spread(p)
    n_a, n_b, wins = 12, 15, 0.7
    found = intervals.superiority(wins, n_a, n_b)
    z, middle = scipy.stats.norm.ppf(0.975), (n_a + n_b) / 2 - 1
    for p in (found.low, found.high):
        assert p is not None
        spread = p * (1 - p) * (1 + middle * ((1 - p) / (2 - p) + p / (1 + p))) / (n_a * n_b)
        assert abs(wins - p) == pytest.approx(z * math.sqrt(spread), abs=1e-9)
    assert intervals.superiority(1.0, 5, 5).high == 1.0
    low = intervals.superiority(1.0, 5, 5).low
    assert low is not None
    assert 0.5 < low < 1


def test_bets_are_fair_for_every_sign() -> None:
    # given the sizes, the wealth averaged over all signs is 1 after each difference: a martingale, whatever the sizes
    sizes = np.array([0.3, 7.0, 1.0, 1.0, math.inf, 0.2, 2.0])
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(sizes))))
    wealth = np.cumprod(anytime.factors(anytime.scores(signs * sizes)), axis=2).mean(axis=(0, 1))
    assert wealth == pytest.approx(np.ones(len(sizes)), rel=1e-12)


def test_scores_are_normal_scores_of_ranks_so_far() -> None:
    d = np.array([[0.5, -2.0, 0.0, 1.0, np.nan, 1.0, -np.inf]])
    found = anytime.scores(d)[0]
    expected = []
    for t, x in enumerate(d[0]):
        so_far = [abs(y) for y in d[0][: t + 1] if y and not math.isnan(y)]
        if not x or math.isnan(x):
            expected.append(0.0)
            continue
        rank = scipy.stats.rankdata(so_far)[-1]
        expected.append(float(np.sign(x) * scipy.stats.norm.ppf((1 + rank / (len(so_far) + 1)) / 2)))
    assert found == pytest.approx(expected)


def test_scores_of_many_seeds_are_those_that_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    d = np.random.default_rng(4).normal(size=(3, 40))
    looked_up = anytime.scores(d)
    monkeypatch.setattr(anytime, "_TABLED", 10)
    assert anytime.scores(d) == pytest.approx(looked_up, abs=1e-9)


def test_as_many_differences_as_the_bets_are_said_to_need_make_them_rich() -> None:
    rng = np.random.default_rng(9)
    seen = rng.normal(0.7, 1, 60)
    n = int(np.ceil(anytime.further(seen, 0.025, 0.9)))
    p = anytime.tails(rng.choice(seen, (2000, n)) + rng.normal(0, 1e-6, (2000, n)))[1][:, -1]
    assert 0.85 <= (p <= 0.025).mean() <= 0.99
    assert anytime.further(-seen, 0.025, 0.9) == math.inf


def test_the_limits_at_all_times_are_the_shifts_that_the_bets_do_not_rule_out() -> None:
    d = np.random.default_rng(5).normal(0.8, 1, (30, 25))
    low, high = anytime.limits(d)
    assert np.isfinite(low).all()
    for end, outward in ((low, -1e-9), (high, 1e-9)):
        for shift, wanted in ((end - outward, False), (end + outward, True)):
            p = rank_tests.two_sided(*anytime.tails(d - shift[:, None]))[:, -1]
            assert ((p <= 0.05) == wanted).all()


def test_with_few_seeds_or_all_diverged_the_limits_are_infinite() -> None:
    low, high = anytime.limits(np.array([[1.0, 2.0, 3.0]]))
    assert (low[0], high[0]) == (-math.inf, math.inf)
    low, high = anytime.limits(np.full((1, 12), -math.inf))
    assert (low[0], high[0]) == (-math.inf, -math.inf)
    low, high = anytime.limits(np.array([[-math.inf] * 3 + [-1.0 - 0.1 * i for i in range(9)]]))
    assert low[0] == -math.inf
    assert -2 <= high[0] < 0


def test_a_share_at_all_times_is_the_beta_mixture() -> None:
    found = anytime.share(0.8, 20)
    for p in (found.low, found.high):
        assert p is not None
        mixture = scipy.special.beta(16.5, 4.5) / scipy.special.beta(0.5, 0.5)
        assert mixture / (p**16 * (1 - p) ** 4) == pytest.approx(20, rel=1e-6)
    assert anytime.share(1.0, 9).high == 1.0
    assert anytime.share(0.0, 9).low == 0.0
