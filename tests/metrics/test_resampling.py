"""Bootstrap intervals against Student's, against all resamples of tiny samples, and by how often they cover."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import scipy.stats

from optbench import metrics
from optbench.metrics import aggregate, resampling, runtimes


def outside(level: float, n: int, strata: int = 1) -> float:
    """Hesterberg's share of resamples beyond each end."""
    freedom = n - strata
    return float(scipy.stats.norm.sf(math.sqrt(n / freedom) * scipy.stats.t.ppf((1 + level) / 2, freedom)))


def check_ends(found: metrics.Estimate, every: list[float], share: float) -> None:
    """That the ends are the quantiles of all resamples that there are, as far as 20,000 of them can show."""
    exact = np.array(every)
    for end, wanted in ((found.low, share), (found.high, 1 - share)):
        assert (exact < end - 1e-9).mean() - 0.01 <= wanted <= (exact <= end + 1e-9).mean() + 0.01


def test_the_interval_of_ert_is_that_of_all_resamples() -> None:
    hits, ends = np.array([10.0, 20.0, 45.0, math.inf]), np.array([10.0, 20.0, 45.0, 60.0])
    every = [runtimes.ert(hits[[*draw]], ends[[*draw]])[0] for draw in product(range(4), repeat=4)]
    for level in (0.5, 0.8):
        found = runtimes.ert_intervals(hits, ends, level, draws=20000)[0]
        check_ends(found, every, outside(level, 4))
        assert (found.value, found.coverage, found.n) == (45.0, level, 4)


def test_the_interval_of_several_problems_is_that_of_all_resamples() -> None:
    scores = [[0.0, 0.3, 1.0], [0.2, 0.7]]
    every = [
        aggregate.interquartile_mean([[scores[0][i] for i in a], [scores[1][i] for i in b]])
        for a in product(range(3), repeat=3)
        for b in product(range(2), repeat=2)
    ]
    check_ends(aggregate.iqm(scores, level=0.5, draws=20000), every, outside(0.5, 5, 2))


def test_the_interval_of_a_mean_is_close_to_students() -> None:
    values = np.array([0.1, 0.25, 0.3, 0.42, 0.5, 0.61, 0.7, 0.95])
    found = aggregate.mean_score([values], draws=20000)
    student = scipy.stats.t.interval(0.95, 7, values.mean(), scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx(student, abs=0.03)


def test_few_runs_say_that_they_cover_less() -> None:
    spread = np.array([[0.0], [1.0]])
    coverages = [resampling.percentiles(0.5, spread, 0.95, n)[0].coverage for n in (2, 3, 5, 6)]
    assert coverages == [0.5, 0.75, 0.9375, 0.95]
    assert resampling.percentiles(0.5, spread, 0.95, 6, strata=3)[0].coverage == 0.875
    assert resampling.percentiles(0.5, spread, 0.95, 3, strata=3)[0] == metrics.Estimate(0.5)  # one run of each


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.99, 0.999])
def test_quantiles_of_students_distribution_are_those_of_scipy(level: float) -> None:
    freedoms = [*range(1, 40), 100, 101, 199, 200, 201, 202, 1000, 10**6]
    found = [resampling.student_quantile(level, freedom) for freedom in freedoms]
    assert found == pytest.approx(scipy.stats.t.ppf((1 + level) / 2, freedoms), rel=2e-9)


@pytest.mark.slow
def test_how_often_the_probability_of_improvement_is_covered(capsys: pytest.CaptureFixture[str]) -> None:
    repeats, lines = 600, []
    for n, problems, shift in product((3, 5, 10, 30), (1, 5), (0.0, 1.0, 2.0)):
        random = np.random.default_rng(n)
        shifts = shift + np.linspace(-0.5, 0.5, problems) * (problems > 1)
        truth = scipy.stats.norm.cdf(shifts / math.sqrt(2)).mean()
        covered = 0
        for _ in range(repeats):
            ours = [random.normal(0, 1, n) for _ in shifts]
            found = aggregate.improvement(ours, [random.normal(s, 1, n) for s in shifts])
            covered += found.low <= truth <= found.high  # type: ignore[operator]
        lines.append(f"improvement, {problems} problems, n = {n:2}, true {truth:.3f}: {covered / repeats:.3f}")
        assert covered / repeats >= (0.86 if n == 3 else 0.92), lines[-1]
    with capsys.disabled():
        print("", *lines, sep="\n")
