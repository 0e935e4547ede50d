"""Verdicts on pairs: hand-worked cases, scipy's tests, statsmodels' corrections, and what must not change them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from optbench.metrics import anytime, pairs, power, rank_tests

INF = math.inf


def losses(n: int, *shifts: float, seed: int = 0) -> np.ndarray:
    """Losses of one configuration a shift, on n shared seeds."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(shifts), n)) + rng.normal(size=n) + np.array(shifts)[:, None]


def by_hand(p: list[float]) -> list[float]:
    """Holm's adjusted p-values, by the words of his paper: the i-th smallest counts m - i + 1 times, and no less."""
    adjusted, most = [0.0] * len(p), 0.0
    for i, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        most = max(most, min(1.0, (len(p) - i) * p[place]))
        adjusted[place] = most
    return adjusted


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_holms(p: list[float]) -> None:
    assert pairs.holm(p) == pytest.approx(by_hand(p), abs=1e-12)


def test_holm_is_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(1).uniform(0, 0.1, (5, 15))
    for own, found in zip(p, pairs.holm(p), strict=True):
        assert found == pytest.approx(multitest.multipletests(own, method="holm")[1], abs=1e-12)


def test_of_hypotheses_of_which_half_can_be_true_fewer_count() -> None:
    # Shaffer (1986): of two pairs, each different or equivalent, at most two of the four hypotheses are true
    assert pairs.holm([0.01, 0.02, 0.03, 0.04], 2) == pytest.approx([0.02, 0.04, 0.06, 0.06])


def test_a_pair_on_shared_seeds_is_tested_by_signed_ranks() -> None:
    values = losses(12, 0.0, 0.6, 2.0)
    found = pairs.verdicts(values)
    assert [(one.a, one.b) for one in found] == [(0, 1), (0, 2), (1, 2)]
    for one in found:
        d = values[one.a] - values[one.b]
        assert one.p == pytest.approx(scipy.stats.wilcoxon(d, method="exact").pvalue, rel=1e-9)
        averages = np.add.outer(d, d)[np.triu_indices(12)] / 2
        assert one.effect.value == pytest.approx(np.median(averages))
        assert one.beats.value == pytest.approx((d < 0).mean())
        assert (one.test, one.paired, one.n) == ("signed-rank", True, 12)
    assert [one.p_adjusted for one in found] == pytest.approx(by_hand([one.p for one in found]))
    assert found[1].verdict == "better"
    assert found[1].more_seeds is None


def test_where_few_seeds_are_shared_runs_are_compared_and_it_is_said() -> None:
    values = np.full((2, 40), np.nan)
    a, b = losses(40, 0.0, 1.5)
    values[0, :15], values[1, 10:] = a[:15], b[10:]
    found = pairs.verdicts(values)[0]
    exact = scipy.stats.mannwhitneyu(a[:15], b[10:], method="exact")
    assert (found.test, found.paired, found.n) == ("rank-sum", False, 15)
    assert found.p == pytest.approx(exact.pvalue, rel=1e-9)
    assert found.beats.value == pytest.approx(1 - exact.statistic / (15 * 30))
    values[1, :10] = b[:10]
    assert pairs.verdicts(values)[0].n == 15  # of 15 and 40: less than half of the 40
    values[0, 15:22] = a[15:22]
    assert pairs.verdicts(values)[0].test == "signed-rank"
    assert pairs.verdicts(values, paired=False)[0].test == "rank-sum"
    assert pairs.verdicts(values[:, :22], paired=True)[0].n == 22


def test_configurations_that_share_no_seed_are_compared_by_their_own_runs() -> None:
    """Four of 12 runs each, on seeds 0-11, 12-23, 24-35, 36-47, beside scipy on these runs alone."""
    own = losses(12, 0.0, 0.5, 1.0, 1.5)
    values = np.full((4, 48), np.nan)
    for i, runs in enumerate(own):
        values[i, 12 * i : 12 * i + 12] = runs
    found = pairs.verdicts(values)
    assert [(one.a, one.b) for one in found] == list(itertools.combinations(range(4), 2))
    for one in found:
        exact = scipy.stats.mannwhitneyu(own[one.a], own[one.b], method="exact")
        assert (one.test, one.n) == ("rank-sum", 12)
        assert one.p == pytest.approx(exact.pvalue, rel=1e-9)
        assert np.array_equal(one.values[0], own[one.a])
        assert np.array_equal(one.values[1], own[one.b])


def test_three_seeds_are_not_enough_evidence_and_six_are_needed() -> None:
    found = pairs.verdicts([[1.0, 2.0, 3.0], [5.0, 7.0, 9.0]])[0]
    assert (found.verdict, found.p, found.more_seeds) == ("undecided", 0.25, 3)
    many = pairs.verdicts(np.arange(5)[:, None] * 100.0 + [[1.0, 2.0, 3.5]])
    assert {one.verdict for one in many} == {"undecided"}
    assert {one.more_seeds for one in many} == {6}  # of ten pairs: 2^(1-n) <= 0.05 / 10 from n = 9 on
    assert pairs.verdicts([[1.0], [2.0]])[0].more_seeds == 5


def test_as_many_more_seeds_as_it_says_decide_in_nine_of_ten() -> None:
    rng = np.random.default_rng(8)
    undecided = [pairs.verdicts(np.stack([x, x * 0]))[0] for x in rng.normal(0.45, 1, (40, 20))]
    asked = [one for one in undecided if one.more_seeds is not None and one.more_seeds < 200]
    assert len(asked) >= 10
    decided = []
    for one in asked:  # as observed: drawn from the very differences that were seen
        assert one.more_seeds is not None
        again = rng.choice(one.values[0], (100, one.n + one.more_seeds)) * 1.0
        decided += [found.verdict != "undecided" for found in (pairs.verdicts([x, x * 0])[0] for x in again[:20])]
    assert 0.84 <= np.mean(decided) <= 0.97


def test_seeds_to_add_need_not_decide_again_what_is_decided() -> None:
    values = losses(20, 0.0, 0.35, 9.0, seed=6)
    found = pairs.verdicts(values)
    assert [one.verdict for one in found] == ["undecided", "better", "better"]
    d = values[0] - values[1]
    alone = power.pairs_needed(power.pair_chances(d), 0.05 / 2)
    assert found[0].more_seeds == alone - 20
    assert alone < power.pairs_needed(power.pair_chances(d), 0.05 / 6)


def test_equal_runs_are_never_decided_and_no_seeds_would() -> None:
    found = pairs.verdicts([[1.0, 2.0, 3.0] * 5] * 2)[0]
    assert (found.verdict, found.p, found.effect.value, found.beats.value) == ("undecided", 1.0, 0.0, 0.5)
    assert found.more_seeds is None
    assert pairs.verdicts([[1.0, 2.0] * 8] * 2, equivalent_within=0.1)[0].verdict == "equivalent"


def test_diverged_runs_are_the_worst_and_both_diverged_is_a_tie() -> None:
    fine = losses(12, 0.0)[0]
    found = pairs.verdicts([fine, np.full(12, INF), np.full(12, INF)])
    assert [one.verdict for one in found] == ["better", "better", "undecided"]
    assert found[0].effect.value == -INF
    assert found[2].p == 1.0
    some = np.where(np.arange(12) % 6 == 0, INF, fine)
    assert pairs.verdicts([fine - 1, some])[0].verdict == "better"
    worst = pairs.verdicts([-fine, np.full(12, -INF)], direction=1)[0]
    assert (worst.verdict, worst.effect.value, worst.beats.value) == ("better", INF, 1.0)


def test_only_ranks_of_infinities_count() -> None:
    values = losses(10, 0.0, 0.3)
    values[1, [2, 5]] = INF
    huge = np.where(np.isinf(values), 1e300, values)
    assert pairs.verdicts(values)[0].p == pairs.verdicts(huge)[0].p
    assert pairs.verdicts(values, paired=False)[0].p == pairs.verdicts(huge, paired=False)[0].p
    assert pairs.verdicts(values, anytime=True)[0].p == pairs.verdicts(huge, anytime=True)[0].p


@pytest.mark.parametrize("form", [{}, {"paired": False}, {"anytime": True}])
def test_swapped_sides_and_directions_turn_everything_round(form: dict[str, bool]) -> None:
    values = losses(14, 0.0, 0.9, 0.1)
    found = pairs.verdicts(values, equivalent_within=0.7, **form)
    swapped = pairs.verdicts(values[::-1], equivalent_within=0.7, **form)[::-1]
    mirrored = pairs.verdicts(-values, 1, equivalent_within=0.7, **form)
    turned = {"better": "worse", "worse": "better"}
    for one, other, mirror in zip(found, swapped, mirrored, strict=True):
        assert other.verdict == turned.get(one.verdict, one.verdict)
        assert (other.p, other.p_equivalent, other.more_seeds) == pytest.approx(
            (one.p, one.p_equivalent, one.more_seeds)
        )
        assert one.effect.low is not None
        assert other.effect.high == pytest.approx(-one.effect.low)
        assert other.beats.value == pytest.approx(1 - one.beats.value)
        assert (mirror.verdict, mirror.p, mirror.beats) == (one.verdict, one.p, one.beats)
        assert one.effect.high is not None
        assert (mirror.effect.low, mirror.effect.high) == pytest.approx((-one.effect.high, -one.effect.low))


def test_neither_scale_nor_the_order_of_seeds_matters() -> None:
    values = losses(14, 0.0, 0.9, 0.1)
    found, scaled = pairs.verdicts(values), pairs.verdicts(values[:, ::-1] * 8 - 3)
    assert [(one.p, one.verdict, one.more_seeds) for one in found] == [
        (one.p, one.verdict, one.more_seeds) for one in scaled
    ]
    assert [one.effect.value * 8 for one in found] == pytest.approx([one.effect.value for one in scaled])


def test_equivalence_is_two_one_sided_tests() -> None:
    values = losses(40, 0.0, 0.0, 3.0, seed=2)
    values[1] = values[0] + np.random.default_rng(1).normal(0, 0.1, 40)
    found = pairs.verdicts(values, equivalent_within=0.2)
    assert [one.verdict for one in found] == ["equivalent", "better", "better"]
    d = values[0] - values[1]
    one_sided = [
        scipy.stats.wilcoxon(d - 0.2, alternative="less", method="exact").pvalue,
        scipy.stats.wilcoxon(d + 0.2, alternative="greater", method="exact").pvalue,
    ]
    assert found[0].p_equivalent == pytest.approx(max(one_sided), rel=1e-9)
    assert pairs.verdicts(values)[0].verdict == "undecided"
    # a difference that is certain and smaller than what counts is none
    values[1] = values[0] + 0.1 + np.random.default_rng(1).normal(0, 0.01, 40)
    assert pairs.verdicts(values[:2])[0].verdict == "better"
    assert pairs.verdicts(values[:2], equivalent_within=0.2)[0].verdict == "equivalent"


def test_all_pairs_that_are_shown_are_one_family() -> None:
    easy, hard = losses(14, 0.0, 4.0), losses(14, 0.0, 0.7, 0.4, 0.1, seed=3)
    apart = pairs.verdicts(easy) + pairs.verdicts(hard)
    together = pairs.judge([*pairs.measure(easy), *pairs.measure(hard)], problems=[0] * 1 + [1] * 6)
    holms = by_hand([one.p for one in together])
    assert min(one.p_adjusted for one in together) == pytest.approx(min(holms))  # 7 times the least one
    assert all(one.p_adjusted <= p + 1e-12 for one, p in zip(together, holms, strict=True))
    assert all(one.p_adjusted >= other.p_adjusted for one, other in zip(together, apart, strict=True))
    assert pairs.judge([]) == []


def test_against_a_baseline_there_are_fewer_comparisons() -> None:
    values = losses(14, 0.0, 0.9, 0.1, -2.0)
    found = pairs.verdicts(values, against=1)
    assert [(one.a, one.b) for one in found] == [(0, 1), (2, 1), (3, 1)]
    every = {(one.a, one.b): one for one in pairs.verdicts(values)}
    assert found[0].p == every[0, 1].p
    assert found[1].p == every[1, 2].p
    assert found[2].effect.value == pytest.approx(-every[1, 3].effect.value)


def test_looking_after_every_seed_gives_p_that_never_grows() -> None:
    values = losses(40, 0.0, 1.2)
    seen = [pairs.verdicts(values[:, :n], anytime=True)[0] for n in range(1, 41)]
    assert all(later.p <= sooner.p for sooner, later in itertools.pairwise(seen))
    assert seen[-1].verdict == "better"
    assert seen[-1].p >= pairs.verdicts(values)[0].p
    assert [one.verdict for one in seen[:6]] == ["undecided"] * 6
    assert all(one.test == "bets" for one in seen)
    unpaired = np.full((2, 80), np.nan)
    unpaired[0, :40], unpaired[1, 40:] = values
    found = pairs.verdicts(unpaired, anytime=True)[0]
    assert (found.paired, found.test, found.n, found.p) == (False, "bets", 40, pytest.approx(seen[-1].p))


@pytest.mark.parametrize("anytime", [False, True])
def test_no_shared_seed_one_seed_and_no_run_at_all(anytime: bool) -> None:
    nan = math.nan
    found = pairs.verdicts([[1.0, nan, 1.5], [nan, 2.0, nan], [nan] * 3], anytime=anytime)
    assert {one.verdict for one in found} == {"undecided"}
    assert [one.n for one in found] == [1, 0, 0]
    assert [one.more_seeds is None for one in found] == [False, True, True]
    assert math.isnan(found[1].effect.value)


@pytest.mark.parametrize("form", [{}, {"paired": False}, {"anytime": True}])
def test_thousands_of_seeds_are_judged_too(form: dict[str, bool]) -> None:
    values = losses(2500 if form else 20_000, 0.0, 0.02, seed=4)
    (found,) = pairs.verdicts(values, **form)
    assert found.verdict == "undecided"
    assert found.effect.low is not None
    assert found.effect.high is not None
    width = 2 * 1.96 * np.std(values[0] - values[1]) / math.sqrt(values.shape[1])
    assert 0.9 * width < found.effect.high - found.effect.low < 2.6 * width
    assert found.more_seeds is None or found.more_seeds > 500


@pytest.mark.parametrize("form", [{}, {"paired": False}, {"anytime": True}])
def test_the_effects_of_pairs_are_the_same_in_whatever_order_they_are_asked_for(form: dict[str, bool]) -> None:
    values = np.random.default_rng(7).normal(size=(6, 12))
    values[0, 3] = INF
    values[4, 8:] = math.nan
    alone = [pairs.verdicts(values, **form)[place].effect for place in range(15)]
    for order in (range(15), range(14, -1, -1), [7, 3, 7, 12, 0, *range(15)]):
        found = pairs.verdicts(values, **form)
        assert [found[place].effect for place in order] == [alone[place] for place in order]


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ({"alpha": 0.0}, {"direction": 0}, {"equivalent_within": -1.0}, {"against": 2}):
        with pytest.raises(ValueError, match=r"verdicts need|equivalent within|no configuration"):
            pairs.verdicts([[1.0], [2.0]], **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="verdicts need"):
        pairs.verdicts([1.0, 2.0])


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5, INF, math.nan]), min_size=7, max_size=7), min_size=2, max_size=4
    ),
    st.booleans(),
    st.sampled_from([None, 0.6]),
)
def test_of_any_values_the_interval_holds_the_effect_and_p_is_a_probability(
    values: list[list[float]], anytime: bool, within: float | None
) -> None:
    for one in pairs.verdicts(values, anytime=anytime, equivalent_within=within):
        assert 0 <= one.p <= one.p_adjusted <= 1
        assert one.verdict in pairs.VERDICTS
        assert one.more_seeds is None or (one.more_seeds > 0 and one.verdict == "undecided")
        if one.effect.low is not None and one.effect.high is not None:
            assert one.effect.low <= one.effect.value <= one.effect.high
        if one.beats.low is not None and one.beats.high is not None:
            assert 0 <= one.beats.low <= one.beats.value <= one.beats.high <= 1


def test_where_few_seeds_and_many_pairs_leave_signed_ranks_no_verdict_runs_are_compared() -> None:
    """Ten runs that diverged beside ten that did not are told apart among 27 configurations too: the least p of ten
    seeds is 2/1024, of ten and ten runs 2/184756."""
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.random((1, 10)), 10 + rng.random((25, 10)), np.full((1, 10), np.inf)])
    found = pairs.verdicts(values)
    assert {(one.paired, one.test) for one in found} == {(False, "rank-sum")}
    first = [one for one in found if one.a == 0]
    assert {one.verdict for one in first} == {"better"}
    assert first[0].p == pytest.approx(2 / math.comb(20, 10), rel=1e-12)
    assert all(one.p_adjusted <= 351 * one.p for one in first)


@given(st.integers(1, 12), st.integers(2, 12))
def test_which_test_it_is_depends_on_numbers_of_seeds_and_pairs_alone(n: int, count: int) -> None:
    rng = np.random.default_rng(n * 100 + count)
    one, other = (pairs.verdicts(rng.random((count, n))) for _ in range(2))
    assert [pair.test for pair in one] == [pair.test for pair in other]
    family = count * (count - 1) // 2
    alone, signed = 2 ** (1 - n) <= 0.05, family * 2 ** (1 - n) <= 0.05
    ranked = family * 2 / math.comb(2 * n, n) <= 0.05
    assert one[0].paired == (not alone or signed or not ranked)


def test_a_test_that_is_asked_for_is_not_changed() -> None:
    values = np.random.default_rng(0).random((20, 10))
    assert {one.test for one in pairs.verdicts(values, paired=True)} == {"signed-rank"}
    assert {one.test for one in pairs.verdicts(values, anytime=True)} == {"bets"}


@pytest.mark.parametrize(("n_a", "n_b"), [(1, 1), (3, 3), (5, 5), (8, 8), (4, 9), (1, 6)])
def test_no_p_is_below_the_least(n_a: int, n_b: int) -> None:
    a, b = np.arange(n_a, dtype=float), 100.0 + np.arange(n_b)
    assert pairs.least_p("rank-sum", n_a, n_b) == pytest.approx(scipy.stats.mannwhitneyu(a, b, method="exact").pvalue)
    n = min(n_a, n_b)
    signed = scipy.stats.wilcoxon(np.arange(1.0, n + 1), method="exact").pvalue
    assert pairs.least_p("signed-rank", n, n) == pytest.approx(signed)
    assert pairs.least_p("none", n_a, n_b) == 1.0
    looks = np.random.default_rng(n).exponential(size=(500, n))  # all of one sign, of any sizes
    assert (rank_tests.two_sided(*anytime.tails(looks))[:, -1] >= pairs.least_p("bets", n, n) - 1e-12).all()
