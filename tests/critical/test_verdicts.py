"""No word says more than was shown: surfaces at which a verdict once did, each with its right value."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from certified_tools import objective_of

from optbench import plot
from optbench.critical import critical_points
from optbench.critical.certified import certify
from optbench.critical.certified.clusters import Region
from optbench.critical.certified.wording import point_of
from optbench.critical.points.describe import conclusion, describe
from optbench.critical.points.found import CriticalSet
from optbench.critical.points.verdicts import SHOWN, legend, word_of
from optbench.critical.typed.expression import parse_expression

mpl.use("Agg")


def run(expression: str, *box: tuple[float, float]) -> CriticalSet:
    return certify(parse_expression(expression, len(box)), box)


def types(found: CriticalSet) -> dict[str, int]:
    return {kind: n for kind, n in found.counts().items() if n}


@pytest.mark.parametrize(
    ("expression", "box", "expected"),
    [
        ("x**4 - 3*x*y + y**2", ((-1e10, 1e10),) * 2, {"minimum": 2, "saddle": 1}),
        ("x**4 - 3*x*y + y**2 + 0.1*sin(x)", ((-1e9, 1.5e9),) * 2, {"minimum": 2, "saddle": 1}),
        ("x**4 - 1e-10*x**2 + y**2", ((-100.0, 130.0),) * 2, {"minimum": 2, "saddle": 1}),
        ("sin(x) + y**2", ((2e9, 2e9 + 30.0), (-1.0, 1.0)), {"minimum": 5, "saddle": 5}),
        ("1e-300*(x**4 - x**2 + y**2)", ((-1.0, 1.2),) * 2, {"minimum": 2, "saddle": 1}),
    ],
)
def test_what_was_called_degenerate_isolated_or_flat_is_resolved(
    expression: str, box: tuple[tuple[float, float], ...], expected: dict[str, int]
) -> None:
    found = run(expression, *box)
    assert (found.complete, types(found)) == (True, expected), conclusion(found)
    assert found.index_sum == found.winding_number


@pytest.mark.parametrize(
    ("index", "positive", "negative", "expected"),
    [
        (1, 0, 0, ("undecided", "undecided")),  # an extremum has this index, and so has a saddle of three coordinates
        (0, 0, 0, ("saddle", "numerical")),
        (-1, 0, 0, ("saddle", "numerical")),
        (1, 1, 1, ("saddle", "proved")),
    ],
)
def test_what_an_index_says_of_a_region(index: int, positive: int, negative: int, expected: tuple[str, str]) -> None:
    low, high, around = np.full(3, -1e-6), np.full(3, 1e-6), np.array([[-1e-3, 1e-3]] * 3)
    region = Region(
        low, high, 9, False, (-1e-9, 1e-9), 1e-3, around, positive, negative, False, "", index, 0.1, False, True
    )
    point = point_of(region, np.ones(3), 0.0, 0.0, np.zeros(3))
    assert (point.verdict, point.basis) == expected
    assert (f"Poincare index {index:+d}" in point.wording) or index == 0
    assert ("if this is a single point it is none" in point.wording) == (expected == ("saddle", "numerical"))


def test_a_smooth_square_of_a_norm_is_not_said_to_have_a_kink() -> None:
    found = certify(lambda x: torch.linalg.norm(x - 0.3, dim=-1) ** 2, ((-1.0, 1.0),) * 2)
    if found.complete:  # a rule for the square of a root
        assert types(found) == {"minimum": 1}
        return
    (point,) = found.points
    assert (point.verdict, point.resolved) == ("minimum", False)
    assert "perhaps not twice differentiable" in point.wording
    assert "not proved: that it is one point only" in point.wording
    assert "1 place with one degenerate critical point or several" in conclusion(found)


def test_a_surface_below_underflow_is_said_to_be_that() -> None:
    found = run("1e-305*(x**2 + y**2)", (-1.0, 1.0), (-1.0, 1.0))
    (cluster,) = found.clusters
    assert cluster.kind == "flat"
    assert "below 9e-302" in cluster.wording
    assert "underflows" not in cluster.wording
    assert SHOWN["flat"] in describe(found)


@pytest.mark.parametrize("name", ["ackley", "valley", "schwefel", "himmelblau", "monkey_saddle"])
@pytest.mark.parametrize("method", ["certified", "numeric"])
def test_every_word_printed_is_in_the_list(name: str, method: str) -> None:
    objective, box = objective_of(name)
    found = critical_points(objective, box, method=method)
    lines = describe(found)
    assert {word_of(point) for point in found.points} <= set(SHOWN)
    assert all(sentence in lines for sentence in legend(found))
    unusual = bool(found.clusters) or any(word_of(p) not in ("proved", "numerical") for p in found.points)
    assert bool(legend(found)) == unusual


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ("1e9*(x+1) - 1e9*x + 1e-6*(x-0.3)**2 + y**2", 0.3),
        ("1e8*(sin(x)**2 + cos(x)**2) + 1e-3*(x-0.3)**2 + y**2", 0.3),
    ],
)
def test_zeros_of_a_rounded_gradient_are_one_point_as_wide_as_their_scatter(expression: str, place: float) -> None:
    found = critical_points(parse_expression(expression, 2), ((-1.0, 1.0),) * 2, method="numeric")
    (point,) = found.points
    assert point.type == "minimum"
    assert abs(point.x[0] - place) <= (point.radius or 0.0) < 1.0


def colours(mark: Any) -> list[str]:
    grid = torch.linspace(-2.0, 2.0, 21, dtype=torch.float64).numpy()
    figure = plot.critical_points_figure(plot.Landscape(grid, grid[:, None] ** 2 + grid**2, grid, (mark,), "bowl"))
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_direction_is_drawn_flat_only_where_its_eigenvalue_is_0_to_rounding() -> None:
    axes = ((1.0, 0.0), (0.0, 1.0))
    names = colours(plot.Mark((0.0, 0.0), "minimum", (2e-9, 2.0), axes))
    assert names == ["minimum", "curves up (eigenvalue > 0)"]
    names = colours(plot.Mark((0.0, 0.0), "saddle", (-2e-9, 2.0), axes))
    assert "curves down (eigenvalue < 0)" in names
    names = colours(plot.Mark((0.0, 0.0), "degenerate", (2e-6, 2.0), axes))
    assert not any("eigenvalue 0" in name or "< 0" in name for name in names)
    names = colours(plot.Mark((0.0, 0.0), "degenerate", (0.0, 2.0), axes))
    assert "flat (eigenvalue 0)" in names
