"""Searches: what they ask for, that it depends on what they were told and on nothing else, and the space as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

from optbench.config import Composer
from optbench.config.space import Dimension
from optbench.tuning import METHODS, Point
from optbench.tuning.search import ETA, Halving, Quasirandom, rungs

LR = Dimension("optimizer.lr", 1e-4, 1.0, log=True)
MOMENTUM = Dimension("optimizer.momentum", 0.5, 0.99)
KIND = Dimension("scheduler", values=("constant", "cosine", "step"))
SPACE = (LR, MOMENTUM, KIND)


def rounds(method: str, cost: Callable[[Point], float], trials: int, seed: int = 0) -> list[tuple[list[Point], float]]:
    if method == "tpe":
        pytest.importorskip("optuna")
    search = METHODS[method](SPACE, trials, seed)
    found = []
    while (asked := search.ask()) is not None:
        found.append((asked.points, asked.share))
        search.tell([cost(point) for point in asked.points])
    return found


def bowl(point: Point) -> float:
    return abs(math.log10(point["optimizer.lr"] / 0.02)) + abs(point["optimizer.momentum"] - 0.9)


@pytest.mark.parametrize("method", METHODS)
def test_points_lie_in_the_space_and_depend_on_the_seed_alone(method: str) -> None:
    found = rounds(method, bowl, 11)
    assert found == rounds(method, bowl, 11)
    assert found != rounds(method, bowl, 11, seed=1)
    for points, _ in found:
        for point in points:
            assert list(point) == [one.key for one in SPACE]
            assert 1e-4 <= point["optimizer.lr"] <= 1
            assert 0.5 <= point["optimizer.momentum"] <= 0.99
            assert point["scheduler"] in KIND.values
    if method != "halving":
        assert sum(len(points) for points, _ in found) == 11
        assert {share for _, share in found} == {1.0}


@pytest.mark.parametrize("method", ["halving", "tpe"])
def test_a_search_that_learns_ends_up_near_the_least_cost(method: str) -> None:
    def mean(points: Sequence[Point]) -> float:
        return float(np.mean([bowl(point) for point in points]))

    found = rounds(method, bowl, 60)
    half = len(found) // 2
    first, last = ([point for points, _ in part for point in points] for part in (found[:half], found[half:]))
    assert mean(last) < 0.8 * mean(first)


@pytest.mark.parametrize("method", METHODS)
def test_trials_without_a_result_end_no_search(method: str) -> None:
    assert len(rounds(method, lambda point: math.inf, 9)[-1][0]) >= 1


def test_rungs_are_those_of_successive_halving() -> None:
    assert rungs(27) == [(27, 1 / 27), (9, 1 / 9), (3, 1 / 3), (1, 1.0)]  # Jamieson and Talwalkar 2016, with eta = 3
    assert rungs(10) == [(10, 1 / 9), (3, 1 / 3), (1, 1.0)]
    assert rungs(1) == [(1, 1.0)]


@given(st.integers(1, 2000))
def test_rungs_of_any_number_of_trials(trials: int) -> None:
    found = rungs(trials)
    assert found[0][0] == trials
    assert found[-1][1] == 1.0
    for i, ((n, share), (fewer, more)) in enumerate(pairwise(found), 1):
        assert fewer == trials // ETA**i
        assert more == pytest.approx(ETA * share)
        assert fewer < n
    assert 1 <= found[-1][0] < ETA  # one more rung would have none


@given(st.lists(st.floats(0, 1), min_size=9, max_size=9))
def test_halving_goes_on_with_the_best_third(costs: list[float]) -> None:
    search = Halving(SPACE, 9)
    first = search.ask()
    assert first is not None
    search.tell(costs)
    second = search.ask()
    assert second is not None
    kept = [costs[first.points.index(point)] for point in second.points]
    assert sorted(kept) == sorted(costs)[:3]
    assert second.share == 3 * first.share


def test_halton_leaves_smaller_gaps_than_chance() -> None:
    space = (Dimension("a"), Dimension("b"))
    points = Quasirandom(space, 64).ask()
    assert points is not None
    at = np.array([[p["a"], p["b"]] for p in points.points])
    chance = [qmc.discrepancy(np.random.default_rng(i).random((64, 2))) for i in range(20)]
    assert qmc.discrepancy(at) < min(chance)


ENDS = st.floats(1e-8, 1e8, allow_subnormal=False)


@st.composite
def dimensions(draw: st.DrawFn) -> Dimension:
    low, high = sorted(float(f"{draw(ENDS):.6g}") for _ in range(2))
    if high <= low * 1.001:
        high = low * 2
    return Dimension("optimizer.lr", low, float(f"{high:.6g}"), log=draw(st.booleans()))


@given(dimensions(), st.floats(0, 1))
def test_the_share_of_a_value_is_the_share_it_was_made_of(one: Dimension, share: float) -> None:
    value = one.at(share)
    assert one.low * (1 - 1e-5) <= value <= one.high * (1 + 1e-5)
    assert value == float(f"{value:.6g}")
    width = math.log(one.high / one.low) if one.log else (one.high - one.low) / one.high
    assert one.share(value) == pytest.approx(share, abs=1e-5 / width)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted))
def test_values_rise_with_the_share(shares: list[float]) -> None:
    for one in (LR, MOMENTUM):
        assert one.at(shares[0]) <= one.at(shares[1])


def test_every_value_to_choose_from_has_an_equal_part() -> None:
    assert [KIND.at((i + 0.5) / 30) for i in range(30)] == [v for v in KIND.values for _ in range(10)]
    assert [KIND.at(KIND.share(value)) for value in KIND.values] == list(KIND.values)
    assert KIND.at(1.0) == "step"


@settings(max_examples=20, deadline=None)
@given(st.lists(dimensions(), min_size=1, max_size=4))
def test_a_dimension_reads_as_it_is_typed(many: list[Dimension]) -> None:
    with Composer() as composer:
        for one in many:
            assert composer.space([one.override()]) == ([one], [])


def test_a_space_is_told_from_what_is_given() -> None:
    with Composer() as composer:
        found, fixed = composer.space(["model=sphere", "scheduler=constant,cosine", "optimizer.lr=0.1",
                                       "optimizer.eps=tag(log,interval(1e-9,1e-7))"])  # fmt: skip
    assert fixed == ["model=sphere", "optimizer.lr=0.1"]
    assert found == [
        Dimension("scheduler", values=("constant", "cosine")),
        Dimension("optimizer.eps", 1e-9, 1e-7, log=True),
    ]
