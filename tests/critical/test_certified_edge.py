"""Certified points at the edge of the box: inside, outside or open, against exact arithmetic and many digits."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from certified_tools import TABLE, objective_of

from optbench.critical import find_critical
from optbench.critical.arithmetic.exact import above, below, exact_gradient, simplest_between
from optbench.critical.certified import certify
from optbench.critical.points.describe import conclusion, describe, upward
from optbench.critical.points.found import CriticalPoint, CriticalSet
from optbench.critical.programs.program import record
from optbench.critical.programs.scalar import Scalar
from optbench.critical.proofs.edge import reaches
from optbench.critical.second_proof.verify import verify_arb
from optbench.critical.typed.expression import parse_expression
from optbench.problem import Box, Objective

THIRD = 0.3333333333333333  # below 1/3 by half a unit in the last place
MINIMUM = "exp(x) - 1.1*x + y**2"  # at x = log(1.1): no fraction, and the program cannot tell on which side of a double
NEAR = math.log(1.1)
CANCELS = "1e9*(x+1) - 1e9*x + 1e-6*(x-0.3)**2"  # 1e9 + 1e-6 (x - 0.3)^2 in exact arithmetic, noise in floating point


def run(expression: str, *box: tuple[float, float]) -> CriticalSet:
    return certify(parse_expression(expression, len(box)), box)


@pytest.mark.parametrize(
    ("expression", "box", "inside"),
    [
        (f"{CANCELS} + y**2", ((0.5, 1.0), (-1.0, 1.0)), 0),
        (f"{CANCELS} + y**2", ((0.3, 1.0), (-1.0, 1.0)), 1),
        (f"{CANCELS} + y**2", ((math.nextafter(0.3, 1.0), 1.0), (-1.0, 1.0)), 0),
        ("(3*x-1)**2 + y**2", ((-1.0, THIRD), (-1.0, 1.0)), 0),
        ("(3*x-1)**2 + y**2", ((-1.0, math.nextafter(THIRD, 1.0)), (-1.0, 1.0)), 1),
        ("(3*x-1)**2 + y**2", ((THIRD, 1.0), (-1.0, 1.0)), 1),
        ("(x - 1)**2 + y**2", ((-1.0, 1.0), (-1.0, 1.0)), 1),
        ("(x - 1)**2 + y**2", ((-1.0, math.nextafter(1.0, 0.0)), (-1.0, 1.0)), 0),
        ("x**2", ((0.0, 1.0),), 1),
        ("x**2", ((5e-324, 1.0),), 0),
        ("-(x**2) - y**4 + y**2", ((0.0, 1.0), (0.0, 1.0)), 2),
        ("sin(x) + y**2", ((1.5707963267948966, 4.0), (-1.0, 1.0)), 1),  # the double is below pi/2
        ("sin(x) + y**2", ((0.0, 1.5707963267948966), (-1.0, 1.0)), 0),
        ("cos(x)*exp(y) - y", ((0.0, 1.0), (-1.0, 1.0)), 1),  # on the face x = 0, at y = 0
        ("x**2*(2 + cos(y)) + exp(y) - 2*y", ((0.0, 1.0), (-1.0, 1.0)), 1),  # on it, at y = log 2, no fraction
    ],
)
def test_a_point_on_or_next_to_the_edge_is_counted_where_it_lies(expression: str, box: Box, inside: int) -> None:
    found = run(expression, *box)
    assert (found.complete, len(found.points)) == (True, inside), conclusion(found)
    assert all(p.inside and p.on_boundary for p in found.points)
    if found.points:
        assert found.winding_number is None


@pytest.mark.parametrize("side", [(NEAR, 1.0), (-1.0, NEAR)])
def test_what_cannot_be_told_is_a_class_of_its_own(side: tuple[float, float]) -> None:
    found = run(MINIMUM, side, (-1.0, 1.0))
    (point,) = found.points
    assert (point.on_boundary, point.inside, found.complete, found.exhaustive) == (True, False, False, True)
    assert (found.counts()["minimum"], found.counts(inside=False)["minimum"]) == (0, 1)
    assert (found.winding_number, found.index_sum) == (None, None)
    assert abs(point.x[0] - NEAR) < (point.radius or 0.0) < point.reach < 1e-14
    edge = f"1 (1 minimum) on or within {upward(point.reach)} of the edge of the box"
    assert f"proved that there are exactly no critical point inside, and {edge}" in conclusion(found)
    assert edge in found.why
    assert any(f"on or within {upward(point.reach)} of the edge" in line for line in describe(found))
    document = found.to_json()["points"][0]
    assert (document["on_boundary"], document["inside"], document["reach"]) == (True, False, point.reach)
    assert (found.rows()[0]["on_boundary"], found.rows()[0]["inside"]) == (True, False)
    assert set(found.rows()[0]) == set(found.columns)


def test_the_centre_of_an_enclosure_is_not_moved_into_the_box() -> None:
    found = run("exp(x) - 1.1*x + 1e5*(exp(x) - exp(x)) + y**2", (NEAR + 1e-12, 1.0), (-1.0, 1.0))
    (point,) = found.points
    assert not point.inside
    assert abs(point.x[0] - NEAR) <= (point.radius or 0.0)
    assert NEAR + 1e-12 - point.x[0] <= point.reach


def test_the_value_at_a_point_is_that_of_the_surface_within_a_wide_enclosure() -> None:
    (point,) = run("x**2 + y**2 + 1e6*(exp(x) - exp(x)) + 3", (-1.0, 2.0), (-1.0, 2.0)).points
    assert abs(point.value - (3.0 + point.x[0] ** 2 + point.x[1] ** 2)) <= 4e-16


def test_some_inside_and_some_at_the_edge() -> None:
    found = run("sin(x) + 1e4*(exp(x) - exp(x)) + y**2", (-2.0, 1.5707963267948966), (-1.0, 1.0))
    assert [p.inside for p in found.points] == [True, False]
    words = "exactly 1 critical point (1 minimum) inside, and 1 (1 saddle) on or within"
    assert words in conclusion(found)
    assert not found.complete


def test_the_second_proof_decides_for_itself() -> None:
    pytest.importorskip("flint")
    for expression, box in (
        ("(3*x-1)**2 + y**2", ((-1.0, THIRD), (-1.0, 1.0))),
        ("(3*x-1)**2 + y**2", ((THIRD, 1.0), (-1.0, 1.0))),
        ("x**2*(2 + cos(y)) + exp(y) - 2*y", ((0.0, 1.0), (-1.0, 1.0))),
        ("x**2 - y**2", ((0, 1), (0, 1))),
    ):
        surface = parse_expression(expression, 2)
        assert verify_arb(surface, certify(surface, box)).agrees
    surface = parse_expression(MINIMUM, 2)
    words = []
    for side in ((NEAR, 1.0), (-1.0, NEAR)):
        found = certify(surface, (side, (-1.0, 1.0)))
        proof = verify_arb(surface, found)
        assert proof.agrees
        words.append(proof.why)
        claimed = replace(found, points=(replace(found.points[0], inside=True),))
        assert verify_arb(surface, claimed).agrees == ("1 lie inside" in proof.why)
    inside = mpmath.log(mpmath.mpf(1.1)) < NEAR
    assert [("0 lie inside, 1 outside" in w, "1 lie inside, 0 outside" in w) for w in words] == [
        (inside, not inside),
        (not inside, inside),
    ]


@pytest.mark.parametrize("low", [0.0, 0.1, math.nextafter(0.1, 1.0)])
def test_the_numerical_search_does_not_count_what_may_be_outside(low: float) -> None:
    found = find_critical(
        lambda x: ((x[..., 0] - 0.1) * 3) ** 2 + x[..., 1].exp() - x[..., 1], ((low, 1.0), (-1.0, 1.0))
    )
    (point,) = found.points
    assert point.on_boundary == (low > 0.0)
    assert point.x[0] == pytest.approx(0.1, abs=1e-15)
    if low > 0.1:
        assert (point.inside, found.counts()["minimum"], found.index_sum) == (False, 0, None)
        assert "on or within" in conclusion(found)


@pytest.mark.parametrize("seed", range(20))
def test_exact_gradients_are_those_of_autograd(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (round(v * 16) / 16 for v in rng.uniform(-3.0, 3.0, 2))

    def surface(x: Any) -> Any:
        u, v = x[..., 0], x[..., 1]
        smooth = (u - a).sin() + (v - b).cosh() * (u - a).exp() + torch.tanh(u - a) * v + torch.atan(v - b)
        return smooth + u**3 * v / 4 - (2 * v - u) ** 2 + (u - 8).abs() + 1 / (v + 16) + (v - b).cos().square()

    x = torch.tensor([[a, b]], dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(surface(x).sum(), x)
    found = exact_gradient(record(surface, 2), (Fraction(a), Fraction(b)))
    assert [float(g or 0) for g in found] == pytest.approx(expected[0].tolist(), rel=1e-13, abs=1e-13)
    assert exact_gradient(record(surface, 2), (Fraction(1, 7), Fraction(b)))[0] is None


@pytest.mark.parametrize("divisor", [-3.0, -0.75, 3.0])
def test_a_quotient_by_a_number_of_either_sign_is_exact(divisor: float) -> None:
    found = exact_gradient(record(lambda x: (x[..., 0] ** 2) / divisor, 1), (Fraction(1, 3),))
    assert found == (Fraction(2, 3) / Fraction(divisor),)
    surface = parse_expression(f"(x + 0.5)**4/({divisor}) + y**2", 2)
    point = certify(surface, ((-1.0, 1.0),) * 2).points[0]
    assert (point.x, point.resolved, point.multiplicity) == ((-0.5, 0.0), True, 3)


def test_what_is_not_known_stays_unknown() -> None:
    y = None
    assert exact_gradient(record(parse_expression("x**2*sin(y)"), 2), (Fraction(0), y)) == (0, 0)
    assert exact_gradient(record(parse_expression("x*sin(y)"), 2), (Fraction(0), y)) == (None, 0)
    assert exact_gradient(record(parse_expression("x**2 + x*sin(y) - x*sin(y)"), 2), (Fraction(0), y))[0] is None
    assert exact_gradient(record(parse_expression("cos(x)*y**3"), 2), (Fraction(0), y)) == (0, None)
    assert exact_gradient(record(parse_expression("sqrt(x) + log(x) + x**1.5"), 1), (Fraction(1),)) == (Fraction(3),)
    assert exact_gradient(record(parse_expression("sqrt(x) + 0*y"), 2), (Fraction(4, 9), y)) == (Fraction(3, 4), 0)
    assert exact_gradient(record(parse_expression("sqrt(x)"), 1), (Fraction(2),)) == (None,)
    assert exact_gradient(record(parse_expression("x**9"), 1), (Fraction(1, 3**2000),)) == (None,)


def test_simplest_fractions_and_the_doubles_next_to_a_fraction() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        low = Fraction(float(rng.normal() * 10 ** rng.uniform(-3, 2)))
        high = low + Fraction(float(10 ** rng.uniform(-4, 1)))
        simple = simplest_between(low, high)
        smaller = range(1, simple.denominator)
        assert low <= simple <= high
        assert not any(-(-low * q // 1) <= high * q // 1 for q in smaller)
    for value in (Fraction(1, 3), Fraction(-1, 3), Fraction(1, 10**320), Fraction(7), Fraction(0)):
        low, high = below(value), above(value)
        assert Fraction(low) <= value <= Fraction(high)
        assert high in (low, math.nextafter(low, math.inf))


class Digits(Scalar):
    """A number of many digits, to run a surface's program on."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def plus(self, other: Any) -> Any:
        return Digits(self.value + other.value)

    def times(self, other: Any) -> Any:
        return Digits(self.value * other.value)

    def shift(self, c: float) -> Any:
        return Digits(self.value + c)

    def scale(self, c: float) -> Any:
        return Digits(self.value * c)

    def over(self, c: float) -> Any:
        return Digits(self.value / c)

    def power(self, n: int) -> Any:
        return Digits(self.value**n)

    def real_power(self, p: float) -> Any:
        return Digits(self.value**p)

    def apply(self, name: str) -> Any:
        own = {
            "square": lambda v: v * v,
            "reciprocal": lambda v: 1 / v,
            "log1pexp": lambda v: mpmath.log1p(mpmath.exp(v)),
            "abs": abs,
        }
        function = own[name] if name in own else getattr(mpmath, name)
        return Digits(function(self.value))


def exact_point(objective: Objective, point: dict[str, Any]) -> list[Any]:
    """The program's own critical point next to that of the table, to 60 digits, by chord steps with differences.

    The table is about real constants (pi), the program about doubles; they differ in the last digit of a double.
    """
    x = [mpmath.mpf(v) for v in point["x_dec"]]
    program, n, h = record(objective, len(x)), range(len(x)), mpmath.mpf(10) ** -35
    start = torch.tensor(point["x"], dtype=torch.float64)
    inverse = np.linalg.inv(torch.autograd.functional.hessian(lambda v: objective(v[None]).sum(), start).numpy())

    def value(at: list[Any]) -> Any:
        found = program.run([Digits(v) for v in at])[program.result]
        return found.value

    def gradient(at: list[Any]) -> list[Any]:
        moved = [[[v + s * h * (i == j) for j, v in enumerate(at)] for s in (1, -1)] for i in n]
        return [(value(up) - value(down)) / (2 * h) for up, down in moved]

    for _ in range(2):
        slope = gradient(x)
        x = [x[i] - sum(mpmath.mpf(float(inverse[i, j])) * slope[j] for j in n) for i in n]
    assert max(abs(a - mpmath.mpf(b)) for a, b in zip(x, point["x_dec"], strict=True)) < 1e-13 * (1 + max(map(abs, x)))
    return [mpmath.nint(v * 10**60) / 10**60 for v in x]  # the differences are good to 1e-65; 3 is exactly 3


def ulps(x: float, steps: int) -> float:
    """The double so many steps above x."""
    for _ in range(abs(steps)):
        x = math.nextafter(x, math.copysign(math.inf, steps))
    return x


def attack(entry: dict[str, Any], point: dict[str, Any], axis: int, side: int, steps: int, rng: Any) -> Box:
    """A box round a point with one edge next to it."""
    box = []
    for i, (low, high) in enumerate(entry["domain"]):
        reach = rng.uniform(0.001, 0.02, 2) * (high - low)
        ends = [point["x"][i] - reach[0], point["x"][i] + reach[1]]
        if i == axis or rng.random() < 0.1:
            ends[side] = ulps(point["x"][i], steps)
        box.append((float(ends[0]), float(ends[1])))
    return tuple(box)


def wrong(found: CriticalSet, truth: list[list[Any]]) -> str:
    """What a certified result says wrong about a box with these points in and round it."""
    inside = [all(a <= v <= b for v, (a, b) in zip(x, found.box, strict=True)) for x in truth]

    def matches(p: CriticalPoint, x: list[Any]) -> bool:
        return all(abs(a - b) <= (p.radius or 0.0) + 1e-30 for a, b in zip(p.x, x, strict=True))

    if found.complete and (len(found.points) != sum(inside) or found.at_edge):
        return f"complete with {len(found.points)} points, not {sum(inside)}"
    for p in found.points:
        here = [k for k, x in enumerate(truth) if matches(p, x)]
        if len(here) != 1:
            return f"{len(here)} points at {p.x}"
        if p.inside and not inside[here[0]]:
            return f"{p.x} is said to be inside"
    for k, x in enumerate(truth):
        if inside[k] and found.exhaustive and not any(matches(p, x) for p in found.points):
            return f"{x} is missing"
    return ""


def attacks(count: int) -> list[tuple[str, dict[str, Any], dict[str, Any], int, int, int]]:
    """So many of the edges of nondegenerate points of the table, five steps each, from all surfaces in turns."""
    rng, queues = np.random.default_rng(0), []
    for entry in TABLE:
        edges = [
            (entry["name"], entry, point, axis, side, steps)
            for point in entry["points"]
            if point["type"] in ("minimum", "maximum", "saddle")
            for axis in range(entry["dim"])
            for side in (0, 1)
            for steps in range(-2, 3)
        ]
        queues.append([edges[i] for i in rng.permutation(len(edges))])
    in_turns = [edge for turn in itertools.zip_longest(*queues) for edge in turn if edge is not None]
    return in_turns[:count]


def misjudged(count: int) -> list[str]:
    """Wrong answers among so many boxes; for a surface of fractions also points left open."""
    objectives: dict[str, Any] = {}
    exact: dict[tuple[str, int], list[Any]] = {}
    faults, rng = [], np.random.default_rng(1)
    with mpmath.workdps(120):
        for name, entry, point, axis, side, steps in attacks(count):
            if name not in objectives:
                objectives[name] = objective_of(name)[0]
            box = attack(entry, point, axis, side, steps, rng)
            near = [
                k
                for k, p in enumerate(entry["points"])
                if all(a - 1e-9 <= v <= b + 1e-9 for v, (a, b) in zip(p["x"], box, strict=True))
            ]
            for k in near:
                if (name, k) not in exact:
                    exact[name, k] = exact_point(objectives[name], entry["points"][k])
            found = certify(objectives[name], box)
            word = wrong(found, [exact[name, k] for k in near])
            if not word and found.at_edge and not re.search("sin|cos|exp|sqrt", entry["expression"]):
                word = "left open"
            faults += [f"{name} on {box}: {word}"] if word else []
    return faults


def test_a_point_verified_exactly_outside_of_the_box_is_not_in_it() -> None:
    """(1, 1, 1) is two units in the last place below this box; what branch and bound left open held it."""
    objective, _ = objective_of("rosenbrock_3d")
    box = ((0.9662625574234673, 1.0691654010975418), (0.9517979028797213, 1.0646017196985271))
    found = certify(objective, (*box, (1.0000000000000004, 1.0205360043488354)))
    assert found.points == ()
    assert found.complete
    found = certify(objective, (*box, (1.0, 1.0205360043488354)))
    assert [point.x for point in found.points] == [(1.0, 1.0, 1.0)]
    assert found.complete


def test_edges_next_to_known_points() -> None:
    assert misjudged(12) == []


@pytest.mark.slow
def test_two_thousand_edges_next_to_known_points() -> None:
    assert misjudged(2000) == []


def test_how_far_from_the_edge_a_point_that_straddles_it_may_be() -> None:
    """By plain arithmetic: over the edge on one side, on both, on none; the largest coordinate counts, rounded up."""
    box = SimpleNamespace(low=np.array([0.0, -1.0]), high=np.array([1.0, 1.0]))
    low = np.array([[-0.25, 0.0], [0.5, -0.5], [0.75, -1.5], [0.0, -1.0], [-0.5, 0.0]])
    high = np.array([[0.5, 0.5], [1.125, 0.5], [1.0, 1.25], [1.0, 1.0], [-0.25, 0.0]])
    found = reaches(box, low, high)  # type: ignore[arg-type]
    # of [-0.25, 0.5]: 0.25 outside of 0, up to 0.5 inside
    assert found.tolist() == [math.nextafter(v, math.inf) for v in (0.5, 0.5, 2.5, 0.0, 0.5)]
