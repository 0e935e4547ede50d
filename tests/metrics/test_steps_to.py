"""Certified steps against the worked numbers of track 3, scipy's tests, and simulated levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.metrics import steps_to

INF = math.inf
TARGET, SIGMA, MARGIN = steps_to.TRACK_3_TARGET, steps_to.TRACK_3_SIGMA, steps_to.TRACK_3_MARGIN
loss = st.integers(0, 50).map(lambda part: 3.2 + part / 250)
losses = st.lists(loss, min_size=2, max_size=9).filter(lambda runs: max(runs) > min(runs))


def test_the_rule_to_the_letter() -> None:
    # one run must end at 3.276 or below, four at 3.278 on average
    rule = {"sigma": SIGMA, "margin": MARGIN}
    assert steps_to.reaches([3.2759], TARGET, **rule).accepted
    assert not steps_to.reaches([3.2761], TARGET, **rule).accepted
    assert steps_to.reaches([3.2779] * 4, TARGET, **rule).accepted
    assert not steps_to.reaches([3.2781] * 4, TARGET, **rule).accepted
    found = steps_to.reaches([3.2781, 3.2779], TARGET, **rule)
    assert found.distance == pytest.approx(0.002 * math.sqrt(2))
    assert found.p == pytest.approx(scipy.stats.norm.sf(0.002 * math.sqrt(2) / SIGMA))
    assert scipy.stats.norm.sf(MARGIN / SIGMA) == pytest.approx(0.00105, abs=1e-5)  # "p < .001" is this


@settings(max_examples=40)
@given(losses, loss)
def test_with_an_estimated_spread_it_is_the_t_test_of_scipy(runs: list[float], target: float) -> None:
    found = steps_to.reaches(runs, target, alpha=0.01)
    p = scipy.stats.ttest_1samp(runs, target, alternative="less").pvalue
    assert found.p == pytest.approx(p, rel=1e-6, abs=1e-12)
    assert found.accepted == (p <= 0.01) or abs(p - 0.01) < 1e-6
    known = steps_to.reaches(runs, target, sigma=0.05, alpha=0.01)
    assert known.accepted == (known.p <= 0.01) or abs(known.p - 0.01) < 1e-9


def test_copies_and_diverged_runs_show_nothing() -> None:
    for runs in ([3.0], [3.0, 3.0, 3.0], [3.0, INF], [3.0, math.nan]):
        found = steps_to.reaches(runs, TARGET)
        assert (found.accepted, found.p) == (False, 1.0)
    assert not steps_to.reaches([3.0, INF], TARGET, sigma=SIGMA).accepted
    assert steps_to.reaches([3.0, 3.0], TARGET, sigma=SIGMA).accepted  # a known spread does not come from these runs
    for wrong in ({"margin": 0.1}, {"sigma": 0.0}):
        with pytest.raises(ValueError, match="spread"):
            steps_to.reaches([3.0, 3.1], TARGET, **wrong)
    with pytest.raises(ValueError, match="at least one run"):
        steps_to.reaches([], TARGET)


@settings(max_examples=40)
@given(losses, losses | st.lists(loss, min_size=1, max_size=1), st.integers(-200, 200))
def test_pairs_are_students_test_with_the_steps_as_loss(a: list[float], b: list[float], saved: int) -> None:
    found = steps_to.beats(a, b, saved, 0.0045 / 100, alpha=0.01)
    if len(b) > 1:
        shifted = np.array(b) + saved * 0.0045 / 100
        p = scipy.stats.ttest_ind(a, shifted, alternative="less").pvalue
        assert found.p == pytest.approx(p, rel=1e-6, abs=1e-12)
        assert found.accepted == (p <= 0.01) or abs(p - 0.01) < 1e-6
    known = steps_to.beats(a, b, saved, 0.0045 / 100, sigma=0.02)
    z = (np.mean(b) - np.mean(a) + saved * 0.0045 / 100) / math.sqrt(1 / len(a) + 1 / len(b)) / 0.02
    assert known.p == pytest.approx(scipy.stats.norm.sf(z), rel=1e-6, abs=1e-12)


def test_pairs_by_the_rule_to_the_letter() -> None:
    rule = {"sigma": SIGMA, "margin": MARGIN}
    ours, theirs = [3.2785] * 4, [3.2785] * 4
    assert not steps_to.beats(ours, theirs, 50, 0.0045 / 100, **rule).accepted  # 0.00225 sqrt 2 = 0.0032
    assert steps_to.beats(ours, theirs, 75, 0.0045 / 100, **rule).accepted  # 0.003375 sqrt 2 = 0.0048
    assert not steps_to.beats([INF], [INF], **rule).accepted
    assert not steps_to.beats([INF], [3.2], **rule).accepted
    assert steps_to.beats([3.2], [INF], **rule).accepted
    assert not steps_to.beats([3.2, 3.3], [INF]).accepted  # no spread to go by


def test_what_a_step_is_worth() -> None:
    random = np.random.default_rng(0)
    long, short = random.normal(3.27, 0.0013, 20), random.normal(3.2791, 0.0013, 8)
    found = steps_to.exchange_rate(long, short, 200)
    test = scipy.stats.ttest_ind(short, long)
    ends = test.confidence_interval(0.95)
    assert found.value == pytest.approx((short.mean() - long.mean()) / 200)
    assert (found.low, found.high) == (pytest.approx(ends.low / 200), pytest.approx(ends.high / 200))
    assert found.value * 100 == pytest.approx(0.0045, abs=5e-4)
    with pytest.raises(ValueError, match="at least 3"):
        steps_to.exchange_rate([1.0], [2.0], 100)


def test_one_k_for_all_seeds_read_from_the_end() -> None:
    steps = [100, 125, 150, 175]
    table = np.array([[3.30, 3.27, 3.29, 3.27], [3.31, 3.269, 3.292, 3.271]])
    step, evidence = steps_to.certified_steps(steps, table, TARGET, sigma=SIGMA, margin=MARGIN)
    assert step == 175  # 125 passes by itself, but 150 does not
    assert evidence.accepted
    none, evidence = steps_to.certified_steps(steps[:3], table[:, :3], TARGET, sigma=SIGMA)
    assert (none, evidence.accepted) == (INF, False)
    first, _ = steps_to.certified_steps(steps, np.full((2, 4), 3.0), TARGET, sigma=SIGMA)
    assert first == 100
    lost = np.vstack([table, [INF] * 4])
    assert steps_to.certified_steps(steps, lost, TARGET, sigma=SIGMA)[0] == INF  # a run that diverged improves nothing
    with pytest.raises(ValueError, match="ascending"):
        steps_to.certified_steps([2, 1], [[1.0, 2.0]], 1.0)


@pytest.mark.parametrize("known", [True, False])
def test_a_k_too_small_is_certified_no_oftener_than_alpha(known: bool) -> None:
    # losses fall by a quarter of a standard deviation per column, and reach the target exactly at the ninth of twelve
    random = np.random.default_rng(7)
    steps, means = np.arange(12), (8 - np.arange(12)) * 0.25
    false = 0
    for _ in range(1000):
        runs = means + random.normal(0, 1, (6, 12))
        step, _ = steps_to.certified_steps(steps, runs, 0.0, sigma=1.0 if known else None, alpha=0.05)
        false += step <= 8
    assert false / 1000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)
