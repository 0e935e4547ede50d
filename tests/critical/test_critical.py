"""The numerical search for critical points against the truth table, closed forms and surfaces made to mislead it.

The table (tests/data/critical_points.json) was computed apart from this package, by exact algebra, interval proofs and
winding numbers; its sympy expressions are turned into torch here, so that nothing of `optbench.surfaces` is used.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from members import TESTS
from scipy.spatial import cKDTree
from torch import Tensor

from optbench.critical import find_critical, inspect_point, load_function
from optbench.critical.numeric.calculus import Field
from optbench.critical.numeric.newton import sign_trust, spectrum
from optbench.critical.numeric.winding import winding_of_box
from optbench.critical.points.describe import conclusion, describe, describe_picture, table
from optbench.critical.points.found import Cluster, CriticalPoint, CriticalSet
from optbench.critical.typed.function import check_function
from optbench.critical.typed.parse import parse_box, parse_function, parse_point
from optbench.errors import UserError

TABLE: list[dict[str, Any]] = json.loads((TESTS / "data" / "critical_points.json").read_text())
NAMES = [entry["name"] for entry in TABLE]
LONG = {  # no kind of its own: rosenbrock_4d, ackley (441 points too) and the other surfaces of two coordinates
    "rosenbrock_3d", "rosenbrock", "peaks", "beale", "three_hump_camel", "branin", "styblinski_tang", "mccormick",
    "griewank", "rastrigin",
}  # fmt: skip
SQUARE = ((-2.0, 2.0), (-2.0, 2.0))
Function = Callable[[Tensor], Tensor]


def entry(name: str) -> dict[str, Any]:
    return TABLE[NAMES.index(name)]


def on_tensors(function: Function) -> Function:
    """Also takes the numbers that sympy leaves in an expression (exp(1), sqrt(2))."""
    return lambda x: function(torch.as_tensor(x, dtype=torch.float64))


def objective(name: str) -> Function:
    """The table's own expression in torch."""
    symbols = [sympy.Symbol(v) for v in entry(name)["variables"]]
    expression = sympy.sympify(entry(name)["expression"], locals={str(s): s for s in symbols})
    modules = {name: on_tensors(getattr(torch, name)) for name in ("sin", "cos", "exp", "sqrt")}
    function = sympy.lambdify(symbols, expression, modules=[modules, {"pi": math.pi, "E": math.e}])
    return lambda x: function(*x.unbind(dim=-1))


def xy(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda x: function(x[..., 0], x[..., 1])


def only(found: CriticalSet) -> CriticalPoint:
    """The one point of a result that has one point and no cluster."""
    assert len(found.points) == 1, found.points
    assert not found.clusters, found.clusters
    return found.points[0]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LONG else ()) for n in NAMES])
def test_every_entry_of_the_truth_table_is_found_and_typed(name: str) -> None:
    truth = entry(name)
    box = tuple((low, high) for low, high in truth["domain"])
    found = find_critical(objective(name), box, name=name)
    assert found.method == "numeric"
    assert not found.complete
    assert len(found.points) == len(truth["points"])
    assert len(found.clusters) == {"valley": 1, "linear_net": 2}.get(name, 0)
    assert (found.index_sum is None) == bool(found.clusters)
    assert not found.mismatch
    if not truth["points"]:
        return
    tree = cKDTree([p.x for p in found.points])
    used = set()
    for expected in truth["points"]:
        distance, at = tree.query(expected["x"])
        point = found.points[at]
        used.add(at)
        assert distance < 1e-6
        if expected["type"] in ("minimum", "maximum", "saddle"):
            assert (point.type, point.morse_index) == (expected["type"], expected["morse_index"])
            assert distance < 1e-9
            np.testing.assert_allclose(point.eigenvalues, sorted(expected["eigenvalues"]), rtol=1e-6)
            assert point.value == pytest.approx(expected["value"], rel=1e-9, abs=1e-9)
            assert point.basis == "numerical"
        elif expected["type"] == "nonsmooth_minimum":
            assert (point.type, point.verdict, point.index) == ("degenerate", "minimum", 1)
            assert "nonsmooth minimum" in point.wording
            assert point.eigenvalues == ()
        else:
            assert (point.type, point.index, point.morse_index) == ("degenerate", expected["poincare_index"], None)
            assert expected["verdict"].startswith(f"degenerate {point.verdict}")
    assert len(used) == len(truth["points"])


def test_the_hyperbola_of_the_two_weight_network_is_two_valleys() -> None:
    found = find_critical(objective("linear_net"), SQUARE)
    for cluster in found.clusters:
        assert cluster.kind == "continuum"
        assert cluster.index is None
        assert "not isolated" in cluster.wording
        assert "valley" in cluster.wording
        assert "nothing lower" in cluster.wording
        assert abs(cluster.values[1]) < 1e-20
    assert found.clusters[0].box[0][1] < 0 < found.clusters[1].box[0][0]


NOTHING = {
    "slope": xy(lambda x, y: x + y**2),
    "exponential": xy(lambda x, y: x.exp() + y.exp()),
    "linear": xy(lambda x, y: 3 * x - y),
    "valley with a slope of 1e-12": xy(lambda x, y: x**2 + 1e-12 * y),
    "pair that does not exist": xy(lambda x, y: x**3 / 3 + 1e-10 * x + y**2),
    "pole": xy(lambda x, y: 1 / x + y**2),
    "even pole": xy(lambda x, y: 1 / (x - 0.2) ** 2 + y**2),
    "logarithmic pole": xy(lambda x, y: ((x - 0.2) ** 2 + y**2).log()),
    "minimum outside the box": xy(lambda x, y: (x + 2.0001) ** 2 + y**2),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_is_found_where_there_is_nothing(name: str) -> None:
    found = find_critical(NOTHING[name], SQUARE)
    assert (found.points, found.clusters) == ((), ())
    assert "no critical point" in conclusion(found)


# function, point, verdict, Poincare index
DEGENERATE = {
    "fold": (xy(lambda x, y: x**2 + (y - 0.1) ** 3), (0.0, 0.1), "saddle", 0),
    "two cubics": (xy(lambda x, y: x**3 + y**3), (0.0, 0.0), "saddle", 0),
    "two cubics written out": (
        xy(lambda x, y: x**3 - 0.9 * x**2 + 0.27 * x + y**3 - 2.1 * y**2 + 1.47 * y), (0.3, 0.7), "saddle", 0,
    ),
    "quartic written out": (
        xy(lambda x, y: x**4 - 1.2 * x**3 + 0.54 * x**2 - 0.108 * x + y**2), (0.3, 0.0), "minimum", 1,
    ),
    "monkey aside": (xy(lambda x, y: (x - 0.3) ** 3 - 3 * (x - 0.3) * (y + 0.4) ** 2), (0.3, -0.4), "saddle", -2),
    "Peano": (xy(lambda x, y: (y - x**2) * (y - 3 * x**2)), (0.0, 0.0), "saddle", -1),
    "Peano aside": (xy(lambda x, y: (y - 0.1 - x**2) * (y - 0.1 - 3 * x**2)), (0.0, 0.1), "saddle", -1),
    "upside down": (xy(lambda x, y: -(x**2) - (y - 0.1) ** 4), (0.0, 0.1), "maximum", 1),
    "tiny": (xy(lambda x, y: 1e-200 * (x**4 + y**4)), (0.0, 0.0), "minimum", 1),
    "kink": (xy(lambda x, y: (x - 0.2).abs() + (y - 0.1) ** 2), (0.2, 0.1), "minimum", 1),
    "kink where autograd says 0": (xy(lambda x, y: x.abs() + y**2), (0.0, 0.0), "minimum", 1),
    "kink saddle": (xy(lambda x, y: (x - 0.2).abs() - (y - 0.1) ** 2), (0.2, 0.1), "saddle", -1),
    "second derivative unbounded": (xy(lambda x, y: (x - 0.1).abs() ** 1.5 + y**2), (0.1, 0.0), "minimum", 1),
    "cubic in 1-D": (lambda x: (x[..., 0] - 0.1) ** 3, (0.1,), "saddle", 0),
    "kink in 1-D": (lambda x: -(x[..., 0] - 0.1).abs(), (0.1,), "maximum", 1),
}  # fmt: skip


LIKE_ANOTHER = {"Peano aside", "two cubics written out"}  # "monkey aside", "quartic written out"


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in LIKE_ANOTHER else ()) for n in DEGENERATE]
)
def test_degenerate_points_are_decided_without_the_second_order_test(name: str) -> None:
    function, x, verdict, index = DEGENERATE[name]
    point = only(find_critical(function, SQUARE[: len(x)]))
    assert point.type == "degenerate"
    assert point.verdict == verdict
    assert point.index == index or (len(x) == 1 and verdict == "maximum" and point.index == -1)
    np.testing.assert_allclose(point.x, x, atol=2e-5)
    kinked = "kink" in name or "unbounded" in name
    assert ("not twice differentiable" in point.wording) == kinked


def test_three_flat_directions_hide_a_narrow_way_down() -> None:
    def function(x: Tensor) -> Tensor:
        # Lower than f(0) only within 0.01 rad of the axis (1, 2, 3).
        flat, along = x[..., :3], (x[..., 0] + 2 * x[..., 1] + 3 * x[..., 2]) / math.sqrt(14)
        square = (flat**2).sum(dim=-1)
        return 1e4 * (square - along**2) * square - along**4 + x[..., 3] ** 2

    point = only(find_critical(function, ((-1.0, 1.0),) * 4))
    assert (point.type, point.verdict) == ("degenerate", "saddle")
    assert "not a minimum: f drops by" in point.wording
    assert "distance^4" in point.wording


def test_flatter_than_every_power_is_never_called_a_minimum() -> None:
    found = find_critical(xy(lambda x, y: torch.exp(-1 / (x**2 + y**2))), SQUARE)
    assert found.points == ()
    (cluster,) = found.clusters
    assert cluster.kind == "flat"
    assert "no lower point found" in cluster.wording
    assert "minimum" not in " ".join(describe(found)).replace("no lower point", "")
    assert (cluster.index, found.winding_number) == (1, 1)
    picture = inspect_point(xy(lambda x, y: torch.exp(-1 / (x**2 + y**2))), (0.0, 0.0), box=SQUARE)
    assert picture.verdict == "undecided"
    assert "no lower point found" in picture.wording


def test_a_constant_function_is_flat_everywhere() -> None:
    found = find_critical(lambda x: torch.ones(x.shape[:-1], dtype=x.dtype), SQUARE)
    (cluster,) = found.clusters
    assert (found.points, cluster.kind, found.winding_number) == ((), "flat", None)
    assert cluster.box[0][0] < -1.9
    assert cluster.box[1][1] > 1.9


def test_a_line_of_kinks_is_a_region() -> None:
    found = find_critical(xy(lambda x, y: (x - 0.234).abs()), SQUARE)
    (cluster,) = found.clusters
    assert (found.points, cluster.kind) == ((), "kinks")
    assert cluster.box[0] == pytest.approx((0.234, 0.234), abs=1e-9)


def test_where_the_function_is_undefined_it_is_left_alone() -> None:
    found = find_critical(xy(lambda x, y: x * x.log() + y**2), SQUARE)
    point = only(found)
    np.testing.assert_allclose(point.x, (math.exp(-1), 0.0), atol=1e-12)
    assert found.winding_number is None
    assert "not finite" in " ".join(found.notes)
    with pytest.raises(UserError, match="not finite anywhere"):
        find_critical(xy(lambda x, y: (x - 5).log() + y), SQUARE)


@pytest.mark.parametrize("scale", [1e8, 1e-200, 1e200])
def test_the_scale_of_the_function_changes_nothing(scale: float) -> None:
    rosenbrock = xy(lambda x, y: scale * ((1 - x) ** 2 + 100 * (y - x**2) ** 2))
    point = only(find_critical(rosenbrock, SQUARE))
    assert point.type == "minimum"
    np.testing.assert_allclose(point.x, (1.0, 1.0), rtol=1e-12)
    exact = np.array([501 - math.sqrt(250601), 501 + math.sqrt(250601)])
    np.testing.assert_allclose(np.array(point.eigenvalues) / scale, exact, rtol=1e-9)


def test_the_scale_of_the_axes_changes_nothing() -> None:
    scaled = xy(lambda x, y: (1 - x * 1e-8) ** 2 + 100 * (y * 1e8 - (x * 1e-8) ** 2) ** 2)
    point = only(find_critical(scaled, ((-2e8, 2e8), (-2e-8, 2e-8))))
    assert point.type == "minimum"
    np.testing.assert_allclose(point.x, (1e8, 1e-8), rtol=1e-12)


def test_a_large_offset_hides_nothing() -> None:
    found = find_critical(xy(lambda x, y: 1e10 + x**3 / 3 - x + y**2), SQUARE)
    assert [(p.type, round(p.x[0], 12)) for p in found.points] == [("minimum", 1.0), ("saddle", -1.0)]
    quartic = only(find_critical(xy(lambda x, y: 1e10 + x**4 + y**4), SQUARE))
    assert (quartic.type, quartic.index) == ("degenerate", 1)


@pytest.mark.parametrize("low", [0.0, 0.1])
def test_points_on_corner_and_edge_of_the_box_count(low: float) -> None:
    found = find_critical(xy(lambda x, y: (x - low) ** 2 - (y - 0.3) ** 2), ((low, 1.0), (0.3, 1.0)))
    point = only(found)
    assert point.type == "saddle"
    assert point.on_boundary
    assert found.winding_number is None
    assert "edge of the box" in " ".join(describe(found))


def test_a_fold_on_the_edge_is_not_taken_for_a_minimum() -> None:
    point = only(find_critical(lambda x: x[..., 0] ** 3, ((0.0, 1.0),)))
    assert (point.type, point.verdict, point.index, point.on_boundary) == ("degenerate", "saddle", 0, True)


def test_a_spent_budget_is_said_and_progress_runs_from_0_to_1() -> None:
    shares: list[float] = []
    found = find_critical(
        objective("sphere"), SQUARE, budget_seconds=0.0, progress=lambda share, phrase: shares.append(share)
    )
    assert only(found).type == "minimum"
    assert "budget of 0 s" in " ".join(found.notes)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert shares == sorted(shares)


def test_close_pairs_are_told_apart_or_left_undecided() -> None:
    found = find_critical(xy(lambda x, y: x**3 / 3 - 1e-8 * x + y**2), SQUARE)
    assert [p.type for p in found.points] == ["minimum", "saddle"]
    np.testing.assert_allclose([p.x[0] for p in found.points], [1e-4, -1e-4], rtol=1e-9)
    closer = find_critical(xy(lambda x, y: x**3 / 3 - 1e-14 * x + y**2), SQUARE)
    assert [(p.type, p.basis, p.index) for p in closer.points] == [("degenerate", "undecided", 0)]


def test_a_small_eigenvalue_is_not_a_degenerate_one() -> None:
    point = only(find_critical(xy(lambda x, y: (x - 0.1) ** 2 + 1e-9 * (y - 0.37) ** 2), SQUARE))
    assert point.type == "minimum"
    np.testing.assert_allclose(point.eigenvalues, (2e-9, 2.0), rtol=1e-6)


def test_kantorovich_ratio_parts_degenerate_from_nondegenerate_by_orders_of_magnitude() -> None:
    field = Field(xy(lambda x, y: x**2 + y**3), SQUARE)
    for y, degenerate in ((1e-4, True), (-1e-9, True)):
        x = np.array([[0.0, y]])
        jet = field.jet(x)
        ratio = sign_trust(field, x, jet, spectrum(field, jet))[0]
        assert (ratio.max() > 0.25) == degenerate
    point = np.array([[1.0, 1.0]])
    rosenbrock = Field(objective("rosenbrock"), SQUARE)
    jet = rosenbrock.jet(point)
    assert sign_trust(rosenbrock, point, jet, spectrum(rosenbrock, jet)).max() < 1e-8


def test_a_dense_lattice_of_points_is_filled_up() -> None:
    def bohachevsky(x: Tensor) -> Tensor:
        a, b = x.unbind(dim=-1)
        return a**2 + 2 * b**2 - 0.3 * torch.cos(3 * math.pi * a) - 0.4 * torch.cos(4 * math.pi * b) + 0.7

    found = find_critical(bohachevsky, ((-100.0, 100.0),) * 2)
    assert found.counts() == {"minimum": 25, "maximum": 16, "saddle": 40, "degenerate": 0}


def test_rastrigin_in_three_dimensions() -> None:
    rastrigin = find_critical(lambda x: (x**2 - 10 * torch.cos(2 * math.pi * x)).sum(dim=-1), ((-1.5, 1.5),) * 3)
    assert rastrigin.counts() == {"minimum": 27, "maximum": 8, "saddle": 90, "degenerate": 0}


def test_same_input_same_output() -> None:
    first, second = (find_critical(objective("three_hump_camel"), ((-5.0, 5.0),) * 2).to_json() for _ in range(2))
    first.pop("seconds")
    second.pop("seconds")
    assert first == second


@pytest.mark.parametrize(
    ("function", "box", "number"),
    [
        (xy(lambda x, y: x**3 - 3 * x * y**2), SQUARE, -2),
        (xy(lambda x, y: x**2 + 1e-9 * y**2), SQUARE, 1),
        (xy(lambda x, y: x**2 - y**2), ((0.5, 1.0), (-1.0, 1.0)), 0),
        (lambda x: torch.cos(x[..., 0]), ((-1.0, 4.0),), 0),
        (lambda x: torch.cos(x[..., 0]), ((1.0, 4.0),), 1),
        (xy(lambda x, y: x**2), SQUARE, None),
        (xy(lambda x, y: x.log() + y**2), SQUARE, None),
        (lambda x: (x**2).sum(dim=-1), ((-1.0, 1.0),) * 3, None),
    ],
)
def test_winding_numbers_by_hand(function: Function, box: Any, number: int | None) -> None:
    found = winding_of_box(Field(function, box))
    assert found.number == number
    assert bool(found.reason) == (number is None)


def test_a_mismatch_of_index_sum_and_winding_number_is_said() -> None:
    found = find_critical(xy(lambda x, y: 1 / ((x - 0.2) ** 2 + y**2)), SQUARE)
    assert (found.points, found.winding_number) == ((), 1)
    assert any("differs" in line and "missing" in line for line in describe(found))
    assert conclusion(found).startswith("NOT COMPLETE: found")


def test_json_is_the_contract() -> None:
    found = find_critical(objective("ackley"), ((-0.6, 0.7),) * 2, name="ackley")
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    keys = {"surface", "dim", "box", "method", "complete", "why", "winding_number", "index_sum"}
    assert keys | {"points", "clusters", "seconds", "boxes"} <= document.keys()
    assert "not proved complete" in document["why"]
    keys = {"x", "value", "grad_norm", "eigenvalues", "type", "morse_index", "basis"}
    assert all(keys <= point.keys() for point in document["points"])
    assert document["points"][-1]["grad_norm"] is None
    assert len({tuple(row) for row in found.rows()}) == 1
    hat = find_critical(xy(lambda x, y: (x**2 + y**2 - 1) ** 2), SQUARE).to_json()
    assert {"box", "kind", "index", "wording"} <= hat["clusters"][0].keys()


def test_a_complete_result_says_so() -> None:
    point = CriticalPoint((0.0,), 0.0, 0.0, (2.0,), "minimum", 0, "proved", index=1, verdict="minimum")
    proved = CriticalSet("bowl", ((-1.0, 1.0),), "certified", True, "every box decided", 1, (point,), (), 0.1, 3)
    assert conclusion(proved) == (
        "COMPLETE: proved that the box holds exactly 1 critical point (1 minimum); index sum 1 = winding number 1."
    )
    region = Cluster(((0.0, 0.1),), "undecided", None, "may hold 0, 1 or more critical points")
    left = CriticalSet("bowl", ((-1.0, 1.0),), "certified", False, "1 region open", 1, (point,), (region,), 0.1, 3)
    assert conclusion(left) == (
        "NOT COMPLETE: found 1 critical point (1 minimum) and 1 region that is not a single point, "
        "not proved to be all; 1 region open."
    )


def test_table_columns_line_up() -> None:
    assert table(["a", "bb"], [["long", "x"], ["s", "y"]]) == ["a     bb", "long  x", "s     y"]


def test_taylor_picture_of_the_lectures_saddle() -> None:
    picture = inspect_point(objective("linear_net"), (0.0, 0.0), name="linear_net", box=SQUARE)
    assert (picture.critical, picture.type, picture.distance) == (True, "saddle", 0.0)
    assert picture.hessian == ((0.0, -2.0), (-2.0, 0.0))
    assert picture.eigenvalues == pytest.approx((-2.0, 2.0))
    for ray in picture.fan:  # v'Hv = -4 v1 v2
        assert ray.curvature == pytest.approx(-4 * ray.direction[0] * ray.direction[1], abs=1e-12)
    for change in picture.changes:  # f(t v) = (1 -+ t^2 / 2)^2 along the eigenvectors
        assert change.predicted == pytest.approx(change.eigenvalue * change.step**2 / 2)
        sign = math.copysign(1.0, change.eigenvalue)
        assert change.measured == pytest.approx((1 + sign * change.step**2 / 2) ** 2 - 1)
    assert picture.escape is not None
    assert picture.escape.direction == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))
    assert picture.escape.measured == pytest.approx((1 - 1.2**2 / 2) ** 2 - 1)
    lines = describe_picture(picture)
    assert any("way down" in line for line in lines)
    assert lines[-1].startswith("verdict: saddle")
    json.dumps(picture.to_json(), allow_nan=False)


def test_taylor_picture_away_from_and_near_critical_points() -> None:
    himmelblau, box = objective("himmelblau"), ((-5.0, 5.0),) * 2
    away = inspect_point(himmelblau, (1.0, 1.0), box=box)
    assert (away.critical, away.type) == (False, "not critical")
    assert away.grad_norm == pytest.approx(math.hypot(46.0, 38.0))
    assert "not a critical point" in describe_picture(away)[-1]
    for change in away.changes:  # the notes' formula: g = (-46, -38), H = ((-26, 8), (8, -10)) by hand
        d1, d2 = (change.step * v for v in change.direction)
        assert change.by_gradient == pytest.approx(-46 * d1 - 38 * d2)
        assert change.by_hessian == pytest.approx((-26 * d1 * d1 + 16 * d1 * d2 - 10 * d2 * d2) / 2)
        assert change.predicted == change.by_gradient + change.by_hessian
    (head,) = [line.split() for line in describe_picture(away) if "predicted" in line and "d'g" in line]
    assert head[3:5] == ["d'g", "d'Hd/2"]
    rounded = inspect_point(himmelblau, (3.5844, -1.8481), box=box)
    assert (rounded.critical, rounded.type) == (True, "minimum")
    assert "rounding of its coordinates" in rounded.wording
    slope = inspect_point(xy(lambda x, y: x - y), (0.0, 0.0))
    assert (slope.critical, slope.nearest) == (False, None)
    with pytest.raises(UserError, match="no finite value"):
        inspect_point(xy(lambda x, y: x.log() + y), (-1.0, 0.0))


@pytest.mark.parametrize(
    ("function", "type_", "verdict", "words"),
    [
        (xy(lambda x, y: x**3 + y**3), "degenerate", "saddle", "not a minimum"),
        (xy(lambda x, y: x**2 + y**4), "degenerate", "minimum", "distance^4"),
        (xy(lambda x, y: (x**2 + y**2).sqrt()), "degenerate", "minimum", "nonsmooth minimum"),
        (xy(lambda x, y: x.abs() + y), "not critical", "saddle", "not twice differentiable"),
        (xy(lambda x, y: 0 * x + 1), "degenerate", "undecided", "flat"),
    ],
)
def test_taylor_picture_where_taylor_does_not_decide(function: Function, type_: str, verdict: str, words: str) -> None:
    picture = inspect_point(function, (0.0, 0.0), box=SQUARE)
    assert (picture.type, picture.verdict) == (type_, verdict)
    assert words in picture.wording
    describe_picture(picture)


def test_boxes_and_points_as_typed() -> None:
    assert parse_box("-2,2", 3) == ((-2.0, 2.0),) * 3
    assert parse_box(" -2, 2 ; 0,1e3;", 2) == ((-2.0, 2.0), (0.0, 1000.0))
    assert parse_box("0,1;2,3") == ((0.0, 1.0), (2.0, 3.0))
    assert parse_point("1,-2.5", 2) == (1.0, -2.5)


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "2,1", "1,1", "nan,1", "0,inf", "a,b", "0,1;0,1;0,1"])
def test_bad_boxes_are_user_errors(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_box(text, 2)
    assert "--box" in caught.value.message
    assert "--box" in caught.value.hint


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "1,x", "nan,0"])
def test_bad_points_are_user_errors(text: str) -> None:
    with pytest.raises(UserError, match="--at"):
        parse_point(text, 2)


def test_functions_from_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import torch\ndef bowl(x):\n    return (x ** 2).sum(-1)\nsize = 3\n")
    spec = parse_function(f"{file}:bowl")
    assert spec is not None
    assert only(find_critical(load_function(spec, 2), SQUARE)).type == "minimum"
    assert parse_function("rosenbrock") is None
    for text, words in [
        (f"{file}:bowls", "has no 'bowls'"),
        (f"{file}:size", "not a function but a int"),
        (f"{tmp_path}/other.py:bowl", "no such file"),
        (f"{file}", "names no function"),
    ]:
        with pytest.raises(UserError, match=words):
            load_function(parse_function(text), 2)
    file.write_text("def bowl(x:\n")
    with pytest.raises(UserError, match="not valid Python, line 1"):
        parse_function(f"{file}:bowl")
    file.write_text("raise RuntimeError('no luck')\n")
    with pytest.raises(UserError, match="RuntimeError: no luck"):
        load_function(parse_function(f"{file}:bowl"))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x[0] ** 2, "returns shape"),
        (lambda x: 1.0, "returns a float"),
        (lambda x: x[..., 7], "IndexError"),
        (lambda x: (x**2).sum(-1).detach(), "not through torch"),
        (lambda x: (x > 0).sum(-1), "not floating point"),
        (lambda x: np.sin(x)[..., 0], "fails on a tensor"),
    ],
)
def test_functions_that_break_the_contract(function: Any, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        check_function(function, 2)
    assert "(..., dim)" in caught.value.hint


def test_parsing_and_wording_do_not_import_torch() -> None:
    code = (
        "import sys, optbench.critical, optbench.critical.typed.parse, optbench.critical.points.describe; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
