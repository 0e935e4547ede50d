"""Runtimes and what is made of them: worked examples, plain loops, and the numbers that COCO's own code gave."""

from __future__ import annotations

import math

import numpy as np
import pytest
from coco_numbers import COCO_ENDS, COCO_HITS, COCO_INSTANCES
from hypothesis import given
from hypothesis import strategies as st

from optbench import metrics
from optbench.metrics import runtimes

values = st.sampled_from([math.inf, 9.0, 5.0, 5.0, 1.0, 0.5, 0.0, -2.0, -math.inf, math.nan])
curves = st.lists(st.lists(values, max_size=6), min_size=1, max_size=6)
levels = st.lists(st.sampled_from([10.0, 5.0, 4.0, 1.0, 0.0, -3.0, math.inf]), min_size=1, max_size=5)
runs = st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=8)


def packed(of: list[list[float]]) -> tuple[list[float], list[float], list[int]]:
    costs = [float(3 * i) for one in of for i in range(len(one))]
    return costs, [v for one in of for v in one], np.cumsum([0, *map(len, of)]).tolist()


def first_by_looking(curve: list[float], target: float) -> float:
    return next((3.0 * i for i, value in enumerate(curve) if value <= target), math.inf)


@given(curves, levels)
def test_a_hit_is_the_first_row_at_or_below_the_target(of: list[list[float]], targets: list[float]) -> None:
    found = runtimes.first_hits(*packed(of), targets)
    assert found.tolist() == [[first_by_looking(one, target) for target in targets] for one in of]


def test_a_hit_of_curves_in_a_plain_example() -> None:
    costs, seen = [1, 2, 3, 10, 20, 1], [4.0, 6.0, 2.0, 3.0, 3.0, 9.0]
    hits = runtimes.first_hits(costs, seen, [0, 3, 5, 6], [2, 3, 5])
    assert hits.tolist() == [[3, 3, 1], [math.inf, 10, 10], [math.inf, math.inf, math.inf]]
    assert runtimes.first_hits([], [], [0, 0], [1.0]).tolist() == [[math.inf]]
    assert runtimes.PRECISIONS[[0, 1, 25, 50]] == pytest.approx([1e2, 10**1.8, 1e-3, 1e-8], rel=1e-12)


@pytest.mark.parametrize(
    ("costs", "seen", "offsets", "targets", "why"),
    [
        ([2, 1], [0, 0], [0, 2], [1], "fall"),
        ([1, math.nan], [0, 0], [0, 2], [1], "fall"),
        ([1, 2], [0, 0], [0, 1], [1], "offsets"),
        ([1, 2], [0, 0], [0, 2, 1, 2], [1], "offsets"),
        ([1, 2], [0], [0, 2], [1], "costs"),
        ([1, 2], [0, 0], [0, 2], [math.nan], "target"),
    ],
)
def test_curves_that_make_no_sense_are_refused(
    costs: list[float], seen: list[float], offsets: list[int], targets: list[float], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        runtimes.first_hits(costs, seen, offsets, targets)


def test_a_curve_may_begin_below_the_end_of_the_one_before() -> None:
    assert runtimes.first_hits([5, 9, 1, 2], [3, 1, 3, 1], [0, 2, 4], [1]).tolist() == [[9], [2]]


def test_worked_examples() -> None:
    hits, ends = [100, 150, math.inf, math.inf], [100, 150, 400, 400]
    assert runtimes.ert(hits, ends).tolist() == [525]
    assert runtimes.ert([100, 150, math.nan, math.nan], ends).tolist() == [525]
    assert runtimes.sp1(hits).tolist() == [250]
    assert runtimes.penalised(hits, 400).tolist() == [(100 + 150 + 2 * 4000) / 4]
    assert runtimes.penalised(hits, [200, 200, 400, 600], k=2).tolist() == [(100 + 150 + 800 + 1200) / 4]
    never = [math.inf, math.inf]
    assert runtimes.ert(never, [7, 8]).tolist() == runtimes.sp1(never).tolist() == [math.inf]
    for wrong in ([], [[[1.0]]]):
        with pytest.raises(ValueError, match="runtimes"):
            runtimes.ert(wrong, [])
    with pytest.raises(ValueError, match="finite cost"):
        runtimes.ert([1.0], [math.inf])


def test_all_targets_at_once_are_each_by_itself() -> None:
    hits = np.array([[1.0, 5.0, math.inf], [2.0, math.inf, math.inf], [4.0, 4.5, 6.0]])
    ends = np.array([9.0, 10.0, 6.0])
    assert runtimes.ert(hits, ends).tolist() == [7 / 3, (5 + 10 + 4.5) / 2, 25]
    for score in (runtimes.ert, runtimes.penalised):
        assert score(hits, ends).tolist() == [score(column, ends)[0] for column in hits.T]
    assert runtimes.sp1(hits).tolist() == [runtimes.sp1(column)[0] for column in hits.T]
    assert runtimes.ert_intervals(hits, ends)[1] == runtimes.ert_intervals(hits[:, 1], ends)[0]


def test_ert_of_balanced_instances_is_what_coco_computes() -> None:
    # toolsstats.sp of DataSet.detEvals and maxevals, balance_instances on and off; DataSet.detERT says the same
    repeats = runtimes.instance_repeats(COCO_INSTANCES)
    assert runtimes.ert(COCO_HITS, COCO_ENDS, repeats).tolist() == [634.375]
    assert runtimes.ert(COCO_HITS, COCO_ENDS).tolist() == [610.0]
    assert repeats.tolist() == [2, 2, 2, 3, 3, 6, 3, 3]  # DataSet.instance_multipliers
    assert runtimes.instance_repeats(["a", "b", "b", "a"]).tolist() == [1, 1, 1, 1]


@given(runs)
def test_a_run_that_never_succeeds_improves_nothing(of: list[tuple[int, bool]]) -> None:
    ends = np.array([end for end, _ in of], dtype=float)
    hits = np.where([hit for _, hit in of], ends, math.inf)
    more_hits, more_ends = np.append(hits, math.inf), np.append(ends, 3.0)
    assert (runtimes.ert(more_hits, more_ends) >= runtimes.ert(hits, ends)).all()
    assert (runtimes.sp1(more_hits) >= runtimes.sp1(hits)).all()
    assert (runtimes.penalised(more_hits, 50) >= runtimes.penalised(hits, 50) * (1 - 1e-12)).all()
    assert runtimes.ert(hits, ends)[0] == pytest.approx(
        metrics.expected_running_time(hits.tolist(), ends.tolist())
    ) or (np.isinf(hits).any())


def test_an_interval_does_not_depend_on_the_order_of_runs() -> None:
    random = np.random.default_rng(3)
    hits = np.where(random.random((12, 3)) < 0.3, math.inf, random.integers(1, 90, (12, 3)).astype(float))
    ends, order = np.full(12, 90.0), random.permutation(12)
    assert runtimes.ert_intervals(hits, ends) == runtimes.ert_intervals(hits[order], ends[order])
    assert runtimes.ert_intervals(COCO_HITS[:3], COCO_ENDS[:3])[0].high == math.inf  # some resample has no success
    assert runtimes.ert_intervals([5.0], [5.0]) == [metrics.Estimate(5.0)]
