"""Distributions of runtimes against scipy, against exact sums over restarts, and against COCO's own code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from coco_numbers import COCO_ENDS, COCO_HITS, COCO_INSTANCES
from hypothesis import given
from hypothesis import strategies as st

from optbench.metrics import ecdf, runtimes

counts = st.lists(st.sampled_from([1.0, 2.0, 2.0, 7.5, 30.0, math.inf]), min_size=1, max_size=12)


@given(counts)
def test_one_problem_is_an_empirical_distribution(times: list[float]) -> None:
    found = ecdf.ecdf([times])
    if any(map(math.isfinite, times)):
        reference = scipy.stats.ecdf(np.minimum(times, 1e99)).cdf
        at = np.array([0.5, 1, 2, 3, 7.5, 29, 30, 1e9])
        assert found.at(at) == pytest.approx(reference.evaluate(at))
    assert found.at(math.inf) == pytest.approx(np.isfinite(times).mean())
    assert (np.diff(found.costs) > 0).all()


def test_problems_count_alike_and_an_unsolved_one_stays() -> None:
    found = ecdf.ecdf([[1, 2, 3, 4], [[2.0], [math.inf]], [math.inf]])
    assert found.costs.tolist() == [1, 2, 3, 4]
    assert found.shares == pytest.approx([1 / 12, 4 / 12, 5 / 12, 6 / 12])
    assert found.at([0.9, 2.5]) == pytest.approx([0, 1 / 3])
    twice = ecdf.ecdf([[1, 2, 3, 4], [2.0, math.inf], [math.inf]] * 2)
    assert twice.costs.tolist() == found.costs.tolist()
    assert twice.shares == pytest.approx(found.shares)
    for nothing in ([], [[]], [[math.nan]]):
        with pytest.raises(ValueError, match="distribution"):
            ecdf.ecdf(nothing)


def test_without_failures_restarts_are_the_runtimes_themselves() -> None:
    found = ecdf.restarts([[3, 1], [5, 2], [4, 9]], [9, 9, 9], draws=7)
    assert found.T.tolist() == [[3, 3, 3, 4, 4, 4, 5, 5, 5], [1, 1, 1, 2, 2, 2, 9, 9, 9]]


def exact_share(hits: np.ndarray, ends: np.ndarray, cost: float, depth: int = 40) -> float:
    """P(restarted runtime <= cost), summed over what may be drawn; failures cost at least 10 each here."""
    if depth == 0 or cost < 0:
        return 0.0
    parts = [float(h <= cost) if math.isfinite(h) else exact_share(hits, ends, cost - e, depth - 1)
             for h, e in zip(hits, ends, strict=True)]  # fmt: skip
    return sum(parts) / len(parts)


def test_restarts_follow_the_exact_distribution_and_their_mean_is_ert() -> None:
    hits, ends = np.array([12.0, 30.0, math.inf, math.inf]), np.array([12.0, 30.0, 25.0, 40.0])
    found = ecdf.ecdf([ecdf.restarts(hits, ends, draws=40000)])
    for cost in (11, 12, 30, 37, 60, 77, 100, 130):
        assert found.at(cost) == pytest.approx(exact_share(hits, ends, cost), abs=0.01)
    assert ecdf.restarts(hits, ends, draws=40000).mean() == pytest.approx(runtimes.ert(hits, ends)[0], rel=0.02)
    assert found.at(30) >= 0.5  # the first draw is none: a quarter of the draws begins with each run


def test_restarts_are_those_of_coco() -> None:
    # toolsstats.drawSP at 2b13ce7, 200,000 draws: shares that succeeded by each cost, plain and with instances balanced
    costs = [100, 200, 300, 500, 700, 1000, 2000]
    plain = [0.125, 0.25, 0.5, 0.51548, 0.71906, 0.789635, 0.96552]
    balanced = [0.124995, 0.20833, 0.416665, 0.432205, 0.735915, 0.78517, 0.970995]
    for instances, published in ((None, plain), (COCO_INSTANCES, balanced)):
        found = ecdf.restarts(COCO_HITS, COCO_ENDS, instances, draws=20000)
        assert ecdf.ecdf([found]).at(costs) == pytest.approx(published, abs=0.01)


def test_restarts_do_not_depend_on_order_and_a_failure_helps_none() -> None:
    order = np.random.default_rng(5).permutation(8)
    given_, turned = (ecdf.restarts(COCO_HITS[o], COCO_ENDS[o]) for o in (slice(None), order))
    assert given_.tolist() == turned.tolist()
    assert len(given_) == 1000
    more = ecdf.ecdf([ecdf.restarts(np.append(COCO_HITS, math.inf), np.append(COCO_ENDS, 10.0), draws=20000)])
    costs = np.array([100, 200, 300, 500, 700, 1000])
    assert (more.at(costs) <= ecdf.ecdf([given_]).at(costs) + 0.02).all()
    assert np.isinf(ecdf.restarts([math.inf, math.inf], [1, 2], draws=10)).all()
    with pytest.raises(ValueError, match="length"):
        ecdf.restarts([1.0, math.inf], [1.0])


def test_marks_are_those_of_coco() -> None:
    # DataSet.budget_effective_estimates = 475, 890, 640, 660 and toolsstats.prctile(..., [90]) at 2b13ce7
    found = ecdf.budget_marks(COCO_HITS, COCO_ENDS, COCO_INSTANCES)
    assert found == ecdf.BudgetMarks(spent=890.0, length=800.0)
    assert ecdf.budget_marks([1.0, 2.0], [3.0, 3.0]) is None
    only = ecdf.budget_marks([math.inf] * 10, np.arange(1, 11))
    assert only == ecdf.BudgetMarks(spent=55.0, length=9.5)  # Hazen: place 0.9 n - 1/2 from 0
    with pytest.raises(ValueError, match="runs"):
        ecdf.budget_marks([1.0], [1.0, 2.0])
