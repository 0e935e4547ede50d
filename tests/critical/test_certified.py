"""The certified enumerator against truth from elsewhere: published points, topology, mutations and edge cases."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from certified_tools import CONTINUA, DEGENERATE, TABLE, differences, objective_of

from optbench.critical.certified import certify
from optbench.critical.certified import enumerate as search_module
from optbench.critical.numeric.calculus import Field as FloatField
from optbench.critical.numeric.winding import winding_of_box
from optbench.critical.points.found import CriticalSet
from optbench.critical.programs.scalar import MissingRule
from optbench.critical.proofs.extremum import prove_above
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.winding import certified_winding
from optbench.critical.typed.expression import parse_expression
from optbench.errors import UserError

# minima, saddles and maxima of surfaces that the table lacks: the project's research notes, by two other programs
COUNTS = {
    "six_hump_camel": (6, 7, 2),
    "goldstein_price": (4, 4, 1),
    "levy": (40, 75, 35),
    "easom": (5, 4, 4),
    "dixon_price": (2, 1, 0),
    "zakharov": (1, 0, 0),
    "bohachevsky1": (25, 40, 16),
    "bohachevsky2": (25, 40, 16),
    "bohachevsky3": (9, 8, 0),
    "mishra_bird": (3, 6, 3),
    "tanh_2neuron": (4, 3, 0),
    "rastrigin_3d": (1331, 4630, 1000),
    "styblinski_tang_3d": (8, 18, 1),
}


def run(expression: str, *box: tuple[float, float], **budget: Any) -> CriticalSet:
    """Certified points of a formula; one side serves both axes."""
    surface = parse_expression(expression, len(box) if len(box) > 1 else None)
    return certify(surface, box * (surface.dim if len(box) == 1 else 1), **budget)


def counts(found: CriticalSet) -> tuple[int, int, int]:
    """Numbers of minima, saddles and maxima."""
    kinds = found.counts()
    return kinds["minimum"], kinds["saddle"], kinds["maximum"]


@pytest.mark.parametrize("entry", TABLE, ids=lambda e: e["name"])
def test_table_of_critical_points(entry: dict[str, Any]) -> None:
    objective, box = objective_of(entry["name"])
    found = certify(objective, box, name=entry["name"])
    assert differences(entry, found) == []
    assert not found.mismatch
    vague = [p for p in found.points if p.type == "degenerate"]
    if entry["name"] in DEGENERATE:
        assert [(p.index, p.verdict, p.basis, p.multiplicity) for p in vague] == [DEGENERATE[entry["name"]]]
        assert vague[0].x == pytest.approx((0.0, 0.0), abs=1e-6)
        assert (found.complete, found.clusters) == (vague[0].multiplicity is not None, ())
        assert found.index_sum == found.winding_number
    elif entry["name"] in CONTINUA:
        assert [c.kind for c in found.clusters] == ["continuum"] * CONTINUA[entry["name"]]
        assert all("valley" in c.wording and "global minima" in c.wording for c in found.clusters)
        assert (found.complete, vague) == (False, [])
    else:
        assert (found.complete, found.clusters, vague) == (True, (), [])
        assert len(box) > 2 or found.index_sum == found.winding_number


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "rastrigin_3d" else ()) for n in COUNTS]
)
def test_counts_of_other_surfaces(name: str) -> None:
    objective, box = objective_of(name)
    found = certify(objective, box)
    assert found.complete
    if name == "rastrigin_3d":  # separable: (11 minima + 10 maxima)^3
        assert counts(found) == (11**3, 21**3 - 11**3 - 10**3, 10**3)
    else:
        assert counts(found) == COUNTS[name]
    assert all((p.radius or 1.0) < 1e-11 * (box[0][1] - box[0][0]) for p in found.points)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rosenbrock_5d", (2, 1, 0)),
        ("rosenbrock_6d", (2, 1, 0)),
        ("rosenbrock_7d", (2, 1, 0)),
        ("styblinski_tang_5d", (32, 210, 1)),
        ("styblinski_tang_6d", (64, 664, 1)),
    ],
)
def test_more_dimensions(name: str, expected: tuple[int, int, int]) -> None:
    objective, box = objective_of(name)
    found = certify(objective, box, max_boxes=400_000, seconds=600.0)
    assert found.complete
    assert counts(found) == expected


@pytest.mark.slow
def test_many_points_in_four_dimensions() -> None:
    objective, _ = objective_of("rastrigin_4d")
    found = certify(objective, ((-1.5, 1.5),) * 4)  # 3 minima and 2 maxima an axis
    assert found.complete
    assert counts(found) == (3**4, 5**4 - 3**4 - 2**4, 2**4)
    # all boxes are alive until they are small, and then they are certified: no continuum
    found = certify(objective, ((-3.5, 3.5),) * 4)
    assert (found.complete, counts(found)) == (True, (7**4, 13**4 - 7**4 - 6**4, 6**4))


def test_wide_griewank() -> None:
    objective, _ = objective_of("griewank")
    found = certify(objective, ((-100.0, 100.0),) * 2)
    assert found.complete
    assert counts(found) == (1417, 2912, 1418)


def test_a_whole_network() -> None:
    """Two tanh neurons, two examples, weight decay: all critical points of its loss surface."""

    def loss(w: Any) -> Any:
        a, b, c, d = w.unbind(-1)
        errors = [y - b * torch.tanh(a * x) - d * torch.tanh(c * x) for x, y in ((1.0, 1.0), (0.5, 0.3))]
        return errors[0] ** 2 + errors[1] ** 2 + 0.05 * (w * w).sum(dim=-1)

    found = certify(loss, ((-2.0, 2.0),) * 4, name="tanh")
    assert found.complete
    assert counts(found) == (4, 5, 0)
    values = {round(p.value, 9) for p in found.points if p.type == "minimum"}
    assert len(values) == 1  # neurons may change places and signs


def test_a_network_of_two_weights_is_known_by_heart() -> None:
    """Its mirror symmetry, the saddle at the origin in closed form, and the winding number check the list."""
    objective, box = objective_of("tanh_2neuron")
    found = certify(objective, box)
    assert (found.complete, found.index_sum, found.winding_number) == (True, 1, 1)
    points = {(p.type, *(round(v, 9) for v in p.x)) for p in found.points}
    assert points == {(kind, -a or 0.0, -b or 0.0) for kind, a, b in points}
    (origin,) = (p for p in found.points if max(map(abs, p.x)) < 1e-12)
    assert (origin.type, origin.value) == ("saddle", pytest.approx(3.0))
    assert origin.eigenvalues == pytest.approx((0.04 - 7 / 3, 0.04 + 7 / 3), rel=1e-12)
    wide = certify(objective, ((-13.0, 13.0),) * 2)
    assert (wide.complete, wide.counts()) == (True, found.counts())


def waves(seed: int) -> tuple[Any, tuple[tuple[float, float], ...]]:
    """A random sum of plane waves, and a box."""
    rng = np.random.default_rng(seed)
    terms = rng.uniform(-1, 1, (5, 4)) * np.array([1.0, 4.0, 4.0, 3.0])

    def surface(x: Any) -> Any:
        a, b = x.unbind(-1)
        total = 0.0
        for weight, p, q, phase in terms.tolist():
            total = total + weight * torch.cos(p * a + q * b + phase)
        return total

    return surface, ((-1.5, 1.7), (-1.3, 1.9))


def missed(surface: Any, found: CriticalSet, seed: int) -> int:
    """How many points that Newton's method finds from random seeds are in no enclosure."""
    field = FloatField(surface, found.box)
    x = field.low + np.random.default_rng(seed).random((300, 2)) * field.width
    for _ in range(30):
        jet = field.jet(x)
        step = np.linalg.solve(jet.hess, jet.grad[..., None])[..., 0]
        x = np.clip(x - np.clip(step, -0.1, 0.1) * field.width, field.low - field.width, field.high + field.width)
    at = np.abs(field.jet(x).grad).max(axis=1) < 1e-12
    x = x[at & (field.outside(x) == 0)]
    centers = np.array([p.x for p in found.points]).reshape(-1, 2)
    return int((np.abs(x[:, None] - centers).max(axis=2) > 1e-9).all(axis=1).sum())


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 20))])
def test_random_waves_against_topology_and_multistart(seed: int) -> None:
    surface, box = waves(seed)
    found = certify(surface, box)
    assert found.complete
    assert found.winding_number is not None
    assert found.index_sum == found.winding_number == winding_of_box(FloatField(surface, box)).number
    assert missed(surface, found, seed) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 260))
def test_more_random_waves(seed: int) -> None:
    surface, box = waves(seed)
    found = certify(surface, box)
    assert (found.complete, found.index_sum) == (True, found.winding_number)
    assert missed(surface, found, seed) == 0


def test_dropping_half_of_every_split_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search_module.halves

    def left_halves(low: np.ndarray, high: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lows, highs = whole(low, high, axis)
        return lows[: len(low)], highs[: len(low)]

    monkeypatch.setattr(search_module, "halves", left_halves)
    noticed = [differences(entry, certify(*objective_of(entry["name"]))) != [] for entry in TABLE[6:12]]
    assert noticed.count(True) >= 4
    contradictions = [not certify(*waves(seed)).complete for seed in range(10)]
    assert contradictions.count(True) >= 4  # by the winding number alone


def test_saddle_in_a_corner() -> None:
    found = run("x**2 - y**2", (0.0, 1.0))
    (point,) = found.points
    assert (point.type, point.on_boundary, found.complete, found.winding_number) == ("saddle", True, True, None)


def test_points_outside_the_box_are_not_listed() -> None:
    found = run("(x - 1.0001)**2 + y**2", (-1.0, 1.0))
    assert (found.points, found.complete, found.winding_number) == ((), True, 0)
    found = run("(x - 1)**2 + y**2", (-1.0, 1.0))
    assert [p.on_boundary for p in found.points] == [True]


def test_kinks() -> None:
    (point,) = run("abs(x) + y**2", (-1.0, 1.0)).points
    assert (point.type, point.verdict, point.basis, point.eigenvalues) == ("degenerate", "minimum", "proved", ())
    assert math.isnan(point.grad_norm)
    assert "not twice differentiable" in point.wording
    (point,) = run("2 - sqrt(x**2 + y**2)", (-1.0, 1.5)).points
    assert (point.verdict, point.basis, point.index) == ("maximum", "proved", 1)
    # x sin(sqrt|x|) is C^1 with slope 0 at 0, and rises through it: no extremum
    objective, box = objective_of("schwefel")
    found = certify(objective, box)
    assert counts(found) == (49, 98, 49)
    assert len(found.clusters) == 29
    assert all(c.index == 0 and "not twice differentiable" in c.wording for c in found.clusters)


@pytest.mark.parametrize("expression", ["1/x", "1/x + y**2", "1/(x**2 + y**2)", "-1/x**2"])
def test_poles_hold_no_extremum(expression: str) -> None:
    found = run(expression, (-1.0, 1.0))
    assert found.points == ()
    assert [c.kind for c in found.clusters] == ["undecided"]
    assert "not finite" in found.clusters[0].wording
    assert not found.complete


def test_edge_of_the_surfaces_own_domain() -> None:
    found = run("x*log(x)", (0.0, 2.0))
    assert [p.x[0] for p in found.points] == pytest.approx([math.exp(-1.0)], abs=1e-14)
    assert found.clusters[0].box[0][0] == 0.0


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1e8*(x**2 - y**2)", (0, 1, 0)),
        ("1e-200*(x**2 - y**2 + y**4/4)", (2, 1, 0)),
        ("x**2 - y**2 + 1e10", (0, 1, 0)),
        ("x + y", (0, 0, 0)),
        ("x**3/3 - 1e-8*x + y**2", (1, 1, 0)),
        ("x**3/3 + 1e-10*x + y**2", (0, 0, 0)),
        ("x**2 + 1e-9*y**2", (1, 0, 0)),
    ],
)
def test_scales_offsets_and_close_pairs(expression: str, expected: tuple[int, int, int]) -> None:
    found = run(expression, (-1.5, 2.0))
    assert found.complete
    assert counts(found) == expected
    assert found.index_sum == found.winding_number


@pytest.mark.parametrize("stiffness", ["1e2", "1e4", pytest.param("1e6", marks=pytest.mark.slow)])
def test_a_steep_valley_is_no_continuum(stiffness: str) -> None:
    found = run(f"{stiffness}*(y - x**2)**2 + (1 - x)**2", (-2.0, 2.1), depth=1e-10)
    assert (found.complete, counts(found)) == (True, (1, 0, 0))
    found = run(f"{stiffness}*(sqrt(x**2 + y**2 + 0.01) - 1)**2 + 0.1*x", (-2.0, 2.1))
    assert (found.complete, counts(found)) == (True, (1, 1, 1))


def test_points_of_a_type_are_listed_from_left_to_right() -> None:
    found = run("(x**2 - 1)**2 + (y**2 - 1)**2 + 0.3*x*y + 0.1*y", (-2.0, 2.0))
    assert len(found.points) == 9
    for _, points in itertools.groupby(found.points, key=lambda p: p.type):
        places = [p.x for p in points]
        assert places == sorted(places)


def test_a_pair_closer_than_the_depth_stays_undecided_or_is_told_apart() -> None:
    found = run("x**3/3 - 1e-14*x + y**2", (-1.0, 1.0))
    assert not found.complete
    (cluster,) = found.clusters
    assert (cluster.kind, cluster.index) == ("undecided", 0)
    assert "0, 1 or more" in cluster.wording
    assert "not a maximum: at least 1 positive eigenvalue proved" in cluster.wording
    assert "nothing in the box is lower" not in cluster.wording
    assert "--depth" in found.why
    finer = run("x**3/3 - 1e-14*x + y**2", (-1.0, 1.0), depth=1e-10)
    assert (finer.complete, counts(finer)) == (True, (1, 1, 0))


@pytest.mark.parametrize(
    ("expression", "index", "verdict", "basis"),
    [
        ("x**2 + y**4", 1, "minimum", "proved"),
        ("-x**4 - y**2", 1, "maximum", "proved"),
        ("(y - x**2)*(y - 3*x**2)", -1, "saddle", "numerical"),  # Peano: a minimum along every line
        ("x**4 - y**2", -1, "saddle", "numerical"),
        ("x**4", 1, "minimum", "proved"),
    ],
)
def test_degenerate_points_that_cannot_be_named(expression: str, index: int, verdict: str, basis: str) -> None:
    """At x = log 2, which is no fraction: the region is described, and no more is said than intervals show."""
    found = run(expression.replace("x", "(exp(x) - 2)"), (-1.0, 1.3))
    (point,) = found.points
    assert (point.type, point.index, point.verdict, point.basis) == ("degenerate", index, verdict, basis)
    assert abs(point.x[0] - math.log(2.0)) <= (point.radius or 0.0) < 1e-4
    assert point.multiplicity is None
    assert not found.complete
    assert "not resolved" in found.why


@pytest.mark.parametrize("expression", ["(exp(x) - 2)**3", "(exp(x) - 2)**2 + y**3"])
def test_folds_are_no_extrema(expression: str) -> None:
    (cluster,) = run(expression, (-1.0, 1.3)).clusters
    assert (cluster.kind, cluster.index) == ("undecided", 0)
    assert "fold" in cluster.wording


def test_powells_minimum_in_four_dimensions() -> None:
    objective, box = objective_of("powell")
    found = certify(objective, box)
    (point,) = found.points
    assert (point.type, point.verdict, point.basis, point.index) == ("degenerate", "minimum", "proved", 1)
    assert (point.x, point.multiplicity) == ((0.0,) * 4, 9)  # two squares, and two fourth powers of other directions
    assert (found.complete, found.clusters) == (True, ())


def test_a_ring_of_minima_round_a_maximum() -> None:
    found = run("(x**2 + y**2 - 1)**2", (-2.0, 2.0))
    assert counts(found) == (0, 0, 1)
    (ring,) = found.clusters
    assert ring.kind == "continuum"
    assert "1 positive eigenvalue all along" in ring.wording
    assert np.ravel(ring.box) == pytest.approx([-1.0, 1.0, -1.0, 1.0], abs=0.02)
    assert found.winding_number == 1
    assert found.boxes < 50_000


@pytest.mark.slow
def test_a_surface_of_critical_points_in_three_dimensions_ends() -> None:
    found = run("(1 - x*y*z)**2", (-2.0, 2.0), (-2.0, 2.0), (-2.0, 2.0), seconds=30.0)
    assert not found.complete
    assert {c.kind for c in found.clusters} == {"continuum"}


def test_numerically_flat() -> None:
    found = certify(lambda x: x.sum(dim=-1) * 0.0 + 1.0, ((-1.0, 1.0),) * 3)
    (cluster,) = found.clusters
    assert cluster.kind == "flat"
    assert cluster.values == pytest.approx((1.0, 1.0), abs=1e-15)


@pytest.mark.slow
def test_numerically_flat_far_from_the_points() -> None:
    objective, _ = objective_of("easom")
    found = certify(objective, ((-100.0, 100.0),) * 2)
    assert "flat" in {c.kind for c in found.clusters}
    assert min(p.value for p in found.points) == pytest.approx(-1.0)


def test_budgets_end_the_search_and_say_so() -> None:
    objective, box = objective_of("goldstein_price")
    found = certify(objective, box, max_boxes=500)
    assert not found.complete
    assert "budget of 500 boxes" in found.why
    assert "% of the box" in found.why
    assert "depth" not in found.why
    assert found.clusters
    shares: list[float] = []
    found = certify(objective, box, seconds=0.0, progress=lambda share, phrase: shares.append(share))
    assert "budget of 0 s" in found.why
    certify(objective, box, progress=lambda share, phrase: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_what_a_budget_leaves_wide_is_no_degenerate_point() -> None:
    """Round a minimum it has proved, the search stopped at boxes in which the Hessian is still anything."""
    objective, box = objective_of("rosenbrock")
    found = certify(objective, box, max_boxes=900)
    assert found.points == ()
    near = [c for c in found.clusters if all(low <= 1.0 <= high for low, high in c.box)]
    assert ["proved to hold a local minimum" in c.wording for c in near] == [True]
    assert "holds one critical point or more" in near[0].wording


def test_result_is_the_same_twice() -> None:
    objective, box = objective_of("six_hump_camel")
    first, second = (certify(objective, box).to_json() for _ in range(2))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_winding_number_needs_no_list() -> None:
    for name in ("griewank", "peaks", "himmelblau", "monkey_saddle"):
        objective, box = objective_of(name)
        field = Field(objective, box)
        assert (
            certified_winding(field, field.low, field.high).number == winding_of_box(FloatField(objective, box)).number
        )
    field = Field(parse_expression("x**2 - y**2"), ((0.0, 1.0),) * 2)
    assert certified_winding(field, field.low, field.high).number is None


def test_bounds_are_proved_or_refused() -> None:
    objective, box = objective_of("himmelblau")
    field = Field(objective, box)
    low, high = field.low[None], field.high[None]
    assert prove_above(field, low, high, -1e-3)
    assert not prove_above(field, low, high, 0.0)
    assert prove_above(field, low, high, -891.0, sign=-1)  # the corner (5, 5) has 890
    assert not prove_above(field, low, high, -889.0, sign=-1)


def test_refusals() -> None:
    with pytest.raises(MissingRule, match="lgamma"):
        certify(lambda x: torch.lgamma(x).sum(dim=-1), ((-1.0, 1.0),))
    for box in ((), ((1.0, 1.0),), ((0.0, math.inf),), ((-1e308, 1e308),)):
        with pytest.raises(UserError, match="box"):
            certify(lambda x: (x * x).sum(dim=-1), box)
    with pytest.raises(UserError, match="max_boxes"):
        certify(lambda x: (x * x).sum(dim=-1), ((-1.0, 1.0),), max_boxes=0)
