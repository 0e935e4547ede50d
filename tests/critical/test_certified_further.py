"""More coordinates: what is searched with proof unasked, and what is said where a proof is not finished."""

from __future__ import annotations

import numpy as np
import pytest
from certified_tools import objective_of

from optbench.critical import critical_points
from optbench.critical.certified import certify
from optbench.critical.numeric.calculus import Field as FloatField
from optbench.critical.points.found import CriticalSet


def test_a_proof_is_tried_in_five_coordinates() -> None:
    found = critical_points(*objective_of("rosenbrock_5d"))
    assert (found.method, found.complete, found.counts()["minimum"], found.counts()["saddle"]) == (
        "certified",
        True,
        2,
        1,
    )


def test_a_proof_without_end_is_returned_as_it_is() -> None:
    """Nothing takes its place; a note says what else there is, unless a proof was asked for by name."""
    objective, box = objective_of("griewank_6d")
    found = critical_points(objective, box, seconds=0.2)
    assert (found.method, found.complete) == ("certified", False)
    assert any("--method numeric" in note for note in found.notes)
    assert not any(
        "--method" in note for note in critical_points(objective, box, method="certified", seconds=0.2).notes
    )


def missed(name: str, found: CriticalSet, seeds: int) -> int:
    """How many zeros of the gradient that damped Newton finds from random seeds are in no enclosure."""
    objective, box = objective_of(name)
    field = FloatField(objective, box)
    x = field.low + np.random.default_rng(0).random((seeds, field.dim)) * field.width
    for k in range(200):
        jet = field.jet(x)
        step = np.linalg.solve(jet.hess, jet.grad[..., None])[..., 0]
        limit = 0.05 if k < 150 else 1.0
        step /= np.maximum(np.abs(step).max(axis=1, keepdims=True) / limit, 1.0)
        x = np.clip(x - step * field.width, field.low - field.width, field.high + field.width)
    zero = np.abs(field.jet(x).grad).max(axis=1) < 1e-10
    x = x[zero & (field.outside(x) == 0)]
    assert len(x) > seeds // 20
    centers = np.array([p.x for p in found.points])
    return int((np.abs(x[:, None] - centers).max(axis=2) > 1e-8).all(axis=1).sum())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rosenbrock_7d", (2, 1)),
        pytest.param("rosenbrock_10d", (2, 1), marks=pytest.mark.slow),
        pytest.param("rosenbrock_12d", (2, 3), marks=pytest.mark.slow),
        pytest.param("rosenbrock_20d", (2, 19), marks=pytest.mark.slow),
        ("zakharov_5d", (1, 0)),
        pytest.param("zakharov_8d", (1, 0), marks=pytest.mark.slow),
    ],
)
def test_chains_and_coupled_coordinates(name: str, expected: tuple[int, int]) -> None:
    """Rosenbrock to 7 by exact elimination; beyond, two minima: S. Kok & C. Sandrock, Evol. Comput. 17 (2009) 437."""
    found = certify(*objective_of(name), max_boxes=400_000, seconds=600.0)
    counts = found.counts()
    assert found.complete
    assert (counts["minimum"], counts["saddle"], len(found.points)) == (*expected, sum(expected))
    assert missed(name, found, 200) == 0
