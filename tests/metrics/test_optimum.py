"""Optima of curves against parabolas whose vertex is known, and what is open, diverges or is one seed alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.metrics.optimum import optimum, shift

RATES = np.geomspace(1e-4, 1.0, 9)


def bowl(best: float, curvature: float = 1.0) -> np.ndarray:
    found: np.ndarray = 0.5 + curvature * np.log(RATES / best) ** 2
    return found


@settings(max_examples=20)
@given(best=st.floats(4e-4, 0.3), curvature=st.floats(0.01, 100.0))
def test_the_vertex_of_a_parabola_in_the_logarithm_is_found(best: float, curvature: float) -> None:
    found = optimum(RATES.tolist(), np.stack([bowl(best, curvature)] * 2))
    assert found is not None
    assert found.value == pytest.approx(best, rel=1e-6)
    step = math.sqrt(RATES[1] / RATES[0])
    assert found.low == pytest.approx(best / step)  # seeds that agree leave what lies between two rates
    assert found.high == pytest.approx(best * step)
    assert found.edge is None


def test_the_interval_covers_the_optimum_of_seeds_that_differ() -> None:
    rng, covered = np.random.default_rng(0), []
    for trial in range(30):
        own = 0.01 * np.exp(rng.normal(0.0, 1.0, 9))  # the best rate of each seed, its median 0.01
        found = optimum(RATES.tolist(), np.stack([bowl(best) for best in own]), trial)
        assert found is not None
        covered.append(found.low <= 0.01 <= found.high)
    assert np.mean(covered) >= 0.9


@pytest.mark.parametrize(("best", "edge", "low", "high"), [(1e-6, "low", True, False), (30.0, "high", False, True)])
def test_at_an_end_of_what_was_tried_the_interval_is_open(best: float, edge: str, low: bool, high: bool) -> None:
    found = optimum(RATES.tolist(), bowl(best)[None])
    assert found is not None
    assert (found.edge, found.value) == (edge, pytest.approx(RATES[0] if low else RATES[-1]))
    assert (found.low == 0.0, found.high == math.inf) == (low, high)
    inner = optimum(RATES.tolist(), bowl(0.01)[None])
    assert inner is not None
    assert (shift(inner, found).low == 0.0, shift(inner, found).high == math.inf) == (low, high)
    assert (shift(found, inner).low == 0.0, shift(found, inner).high == math.inf) == (high, low)


def test_beside_rates_that_diverge_the_rate_itself_counts_and_most_seeds_decide() -> None:
    lost = bowl(0.1)
    lost[RATES > 0.15] = math.inf
    found = optimum(RATES.tolist(), np.stack([lost, lost, bowl(0.1)]))
    assert found is not None
    assert (found.value, found.edge, found.n) == (pytest.approx(0.1), None, 3)
    assert optimum(RATES.tolist(), np.full((2, 9), math.inf)) is None


def test_a_shift_is_told_where_the_intervals_are_apart() -> None:
    near, far, same = (optimum(RATES.tolist(), bowl(best)[None]) for best in (0.1, 0.005, 0.08))
    assert near is not None
    assert far is not None
    assert same is not None
    moved = shift(near, far)
    assert moved.factor == pytest.approx(0.05)
    assert moved.told
    assert not shift(near, same).told
