"""The checker of certificates: its arithmetic against Arb, its tests at their limits, its answer to changed files."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import random
import shutil
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import members
import numpy as np
import pytest
from certified_tools import TABLE, objective_of
from proof_tools import (
    Polynomial,
    certificate_of,
    hexadecimal,
    mutated,
    newton_zeros,
    number,
    numbers_in,
    signed,
    verdict_of,
)

from optbench import check_proof as checker
from optbench.critical.arithmetic.functions import RULES
from optbench.critical.certified import certify
from optbench.critical.proofs.field import Field
from optbench.critical.second_proof.certificate import _contradiction, checkable, write_certificate
from optbench.critical.typed.expression import parse_expression
from optbench.errors import UserError

flint = pytest.importorskip("flint")

ONE = checker.ONE
QUARTIC = ("x**4 - 3*x*y + y**2", ((-3.0, 3.0), (-3.0, 3.0)))


@functools.cache
def quartic_text() -> str:
    return json.dumps(certificate_of(*QUARTIC))


def quartic() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(quartic_text())
    return found


# ---- arithmetic


def exact(n: int) -> Fraction:
    return Fraction(n, ONE)


def units(value: float | Fraction) -> int:
    return Fraction(value).numerator * ONE // Fraction(value).denominator


SPREAD = [0.0, 1.0, -1.0, 2.0**-40, -(2.0**-40), 0.1, -0.3, 0.75, 1.5, -2.0, 3.0, math.pi, -math.pi / 2, 7.9, -9.3]
SPREAD += [37.0, -41.5, 300.25, -512.0, 2.0**-200, 1e-30, 1e5, -1e6]


@pytest.mark.parametrize("name", ["add", "mul", "neg", "inverse", "hull"])
def test_arithmetic_encloses_exact_results(name: str) -> None:
    rng = random.Random(name)
    for _ in range(400):
        ends = [rng.choice([rng.randrange(-(2**k), 2**k) for k in (3, 100, 256, 300)]) for _ in range(4)]
        a, b = (tuple(sorted(pair)) for pair in (ends[:2], ends[2:]))
        found = getattr(checker, name)(*((a, b) if name in ("add", "mul", "hull") else (a,)))
        for p in (*a, sum(a) // 2):
            for q in (*b, sum(b) // 2):
                if name == "inverse" and a[0] <= 0 <= a[1]:
                    assert found is None
                    continue
                x, y = exact(p), exact(q)
                values = {"add": [x + y], "mul": [x * y], "neg": [-x], "hull": [x, y]}
                for value in values.get(name) or [1 / x]:
                    assert exact(found[0]) <= value <= exact(found[1])


@pytest.mark.parametrize("n", [-3, -2, -1, 0, 1, 2, 3, 7])
def test_powers_enclose_exact_results(n: int) -> None:
    rng = random.Random(n)
    for _ in range(200):
        a = tuple(sorted(rng.randrange(-(2**k), 2**k) for k in rng.sample((10, 200, 256, 260), 2)))
        found = checker.power(a, n)
        if found is None:
            assert n < 0
            assert a[0] <= 1 << 200
            assert a[1] >= -(1 << 200)
            continue
        for p in (*a, sum(a) // 2, min(max(0, a[0]), a[1])):
            assert exact(found[0]) <= exact(p) ** n <= exact(found[1])


def test_rounding_is_outward_and_no_wider_than_a_unit() -> None:
    third = checker.inverse((3 * ONE, 3 * ONE))
    assert exact(third[0]) < Fraction(1, 3) < exact(third[1])
    assert third[1] - third[0] == 1
    assert checker.mul((1, 1), (1, 1)) == (0, 1)
    assert checker.mul((-1, -1), (1, 1)) == (-1, 0)
    assert checker.number("0x1p-300", "") == (0, 1)
    assert checker.number("-0x1p-300", "") == (-1, 0)
    assert checker.number("0x1.8p+1", "") == (3 * ONE, 3 * ONE)


def series(name: str, x: Any) -> Any:
    """f + f' t + f'' t^2 / 2 at x, in Arb."""
    t = flint.arb_series([x, 1], 3)
    one = flint.arb_series([1], 3)
    own = {
        "square": lambda: t * t,
        "expm1": lambda: t.exp() - one,
        "log1p": lambda: (one + t).log(),
        "reciprocal": lambda: one / t,
        "sigmoid": lambda: one / (one + (-t).exp()),
        "log1pexp": lambda: (one + t.exp()).log(),
        "abs": lambda: t if x > 0 else -t,
        "relu": lambda: t if x > 0 else 0 * t,
        "tanh": lambda: one - 2 / (one + (2 * t).exp()),
        "cosh": lambda: (t.exp() + (-t).exp()) / 2,
        "sinh": lambda: (t.exp() - (-t).exp()) / 2,
        "asinh": lambda: (one / (one + t * t).sqrt()).integral() + x.asinh(),
        "erf": lambda: ((-t * t).exp() * (2 / flint.arb.pi().sqrt())).integral() + x.erf(),
    }
    return own[name]() if name in own else getattr(t, name)()


def in_domain(name: str, x: float) -> bool:
    if name in ("log", "sqrt"):
        return x > 0
    if name == "log1p":
        return x > -1
    return x != 0 if name in ("reciprocal", "abs", "relu") else True


@pytest.mark.parametrize("name", sorted(checker.FUNCTIONS))
def test_functions_and_derivatives_enclose_arb(name: str) -> None:
    """At numbers and over intervals round them; Arb at 900 bits knows more digits than the checker keeps."""
    rng = random.Random(name)
    numbers = SPREAD + [rng.uniform(-5, 5) for _ in range(30)] + [rng.uniform(-600, 600) for _ in range(10)]
    before = flint.ctx.prec
    flint.ctx.prec = 900
    try:
        for x in (v for v in numbers if in_domain(name, v)):
            n = units(x)
            ball = flint.arb(flint.fmpq(n, ONE))
            if ball == 0 and name not in ("abs", "relu", "sqrt", "log"):
                ball = flint.arb(0)
            truth = series(name, ball)
            derivatives = [truth[0], truth[1], 2 * truth[2]]
            for wide in (0, 1, units(2.0**-20), units(0.7)):
                found = checker.FUNCTIONS[name]((n - wide, n + wide // 3))
                for value, interval in zip(derivatives, found, strict=True):
                    assert interval is not None or wide or abs(x) > 300
                    if interval is not None:
                        low, high = (flint.arb(flint.fmpq(end, ONE)) for end in interval)
                        assert not value < low, (x, wide)
                        assert not value > high, (x, wide)
    finally:
        flint.ctx.prec = before


@pytest.mark.parametrize("name", sorted(checker.FUNCTIONS))
def test_values_at_numbers_are_narrow(name: str) -> None:
    """An enclosure of everything would pass the test above."""
    for x in (0.3, 0.7, 1.2):
        for interval in checker.FUNCTIONS[name]((units(x), units(x))):
            assert interval is not None
            assert interval[1] - interval[0] < 1 << 10


@pytest.mark.parametrize(
    ("name", "low", "high"), [("sin", 1.0, 2.0), ("cos", -1.0, 1.0), ("cos", 3.0, 3.5), ("sin", 4.0, 5.0)]
)
def test_waves_reach_their_extrema(name: str, low: float, high: float) -> None:
    found = checker.FUNCTIONS[name]((units(low), units(high)))[0]
    extreme = max(abs(end) for end in found)
    assert extreme == ONE


def test_kinks_and_poles_are_not_differentiable() -> None:
    around = (-1, 1)
    assert checker.FUNCTIONS["abs"](around) == ((0, 1), (-ONE, ONE), None)
    assert checker.FUNCTIONS["relu"](around) == ((0, 1), (0, ONE), None)
    assert checker.FUNCTIONS["relu"]((-2, -1)) == ((0, 0), (0, 0), (0, 0))
    assert checker.FUNCTIONS["relu"]((0, 1))[2] is None
    assert checker.FUNCTIONS["sqrt"]((0, ONE))[1:] == (None, None)
    for name in ("reciprocal", "log", "tan"):
        pole = units(math.pi / 2) if name == "tan" else 0
        assert set(checker.FUNCTIONS[name]((pole - ONE // 2**20, pole + ONE // 2**20))) == {None}
    assert checker.mul(None, checker.ZERO) is None


# ---- single tests of the proof, at their limits


def test_contraction_must_be_strict() -> None:
    half = [[ONE // 2]]
    assert checker.contracts(half, [0], [8], [5])
    assert not checker.contracts(half, [0], [8], [4])
    assert not checker.contracts(half, [1], [8], [5])
    assert not checker.contracts([[None]], [0], [8], [5])
    assert not checker.contracts(half, [None], [8], [5])


def test_inertia_needs_strict_dominance() -> None:
    one = [[checker.UNITY, checker.ZERO], [checker.ZERO, checker.UNITY]]

    def matrix(a: int, b: int, c: int) -> list[list[Any]]:
        return [[(a * ONE, a * ONE), (b * ONE, b * ONE)], [(b * ONE, b * ONE), (c * ONE, c * ONE)]]

    assert checker.negative_eigenvalues(matrix(2, 1, 3), one) == 0
    assert checker.negative_eigenvalues(matrix(-2, 1, 3), one) == 1
    assert checker.negative_eigenvalues(matrix(-2, 1, -3), one) == 2
    assert checker.negative_eigenvalues(matrix(1, 1, 3), one) is None
    assert checker.negative_eigenvalues(matrix(-1, 1, -3), one) is None
    assert checker.negative_eigenvalues([[None, checker.ZERO], [checker.ZERO, checker.UNITY]], one) is None


@pytest.mark.parametrize(
    "text", ["x**4 - 3*x*y + y**2", "x**2 + y**2", "(x + 2*y)**2 - exp(x - y) + x - y", "sin(x*x) + cos(y) + x*y"]
)
def test_no_test_closes_a_cell_with_a_critical_point(text: str) -> None:
    """(0, 0) is one of all these; the cells reach unequally far from it, so that its place in them is any."""
    box, rng = ((-1.0, 1.0), (-1.0, 1.0)), random.Random(text)
    program = checker.read_program(checkable(parse_expression(text, 2), box))
    for _ in range(150):
        ends = [2.0 ** -rng.randrange(12) * rng.choice([0.0, 1e-9, 0.2, 1.0]) for _ in range(4)]
        cell = ((-units(ends[0]), units(ends[1])), (-units(ends[2]), units(ends[3])))
        y = [rng.randrange(1, 9), rng.randrange(-9, 9)]
        assert checker.Cell(program, cell).test(y) is None, (cell, y)


def test_zero_at_an_end_of_a_range_is_in_it() -> None:
    assert not checker.no_zero((0, 5))
    assert not checker.no_zero((-5, 0))
    assert checker.no_zero((1, 5))
    assert not checker.no_zero(None)


@pytest.mark.parametrize(
    ("op", "number_", "inside", "outside"),
    [("log", None, (-5, 1), (-5, 0)), ("sqrt", None, (-5, 0), (-5, -1)), ("reciprocal", None, (-1, 1), (0, 0)),
     ("log1p", None, (-2 * ONE, -ONE + 1), (-2 * ONE, -ONE)), ("real_power", 1.5, (-5, 0), (-5, -1))],
)  # fmt: skip
def test_undefined_means_all_over_the_range(op: str, number_: float | None, inside: Any, outside: Any) -> None:
    c = None if number_ is None else (units(number_),) * 2
    step = checker.Step(op, (0,), None, None, c)
    assert checker.undefined(step, outside)
    assert not checker.undefined(step, inside)
    assert not checker.undefined(step, None)


def test_a_whole_exponent_is_defined_below_0() -> None:
    assert not checker.undefined(checker.Step("real_power", (0,), None, None, (2000 * ONE,) * 2), (-5, -1))


# ---- the two arithmetics agree


def program_of(objective: Any, box: Any) -> checker.Program:
    try:
        return checker.read_program(checkable(objective, box))
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", members.surfaces())
def test_both_arithmetics_enclose_the_same_derivatives(name: str) -> None:
    objective, box = objective_of(name)
    field, program = Field(objective, box), program_of(objective, box)
    x = field.low + np.random.default_rng(1).random((5, field.dim)) * field.width
    over = field.at(x, 2)
    for k, point in enumerate(x.tolist()):
        jet = checker.run(program, tuple((units(v), units(v)) for v in point), 2)[program.result]
        hess = np.array(jet.hess, dtype=object)
        upper = [over.hess[:, k][:, i, j] for i in range(field.dim) for j in range(i, field.dim)]
        pairs = [
            (jet.value, over.value[:, k]),
            *zip(jet.grad, over.grad[:, k].T, strict=True),
            *zip(hess, upper, strict=True),
        ]
        for mine, theirs in pairs:
            assert exact(mine[0]) <= Fraction(theirs[1]) if np.isfinite(theirs[1]) else True
            assert Fraction(theirs[0]) <= exact(mine[1]) if np.isfinite(theirs[0]) else True


def test_every_step_is_known_or_refused_by_name() -> None:
    x = ["x", [], "0x0p0"]
    with_number = {"shift", "scale", "over", "real_power", "power"}
    several = {"plus": 2, "times": 2, "maximum": 2, "where": 3}
    for op in {*RULES, *with_number, *several, "frobnicate"}:
        step = [op, [0] * several.get(op, 1), "0x3p0" if op in with_number else None]
        value = {"dim": 1, "steps": [x, step], "result": 1}
        known = op in checker.FUNCTIONS or op in with_number or op in several
        if known:
            assert checker.read_program(value).steps[1].op == op
        else:
            with pytest.raises(checker.Unreadable, match=op):
                checker.read_program(value)


# ---- whole certificates


@pytest.mark.parametrize("name", ["rosenbrock", "himmelblau", "branin", "styblinski_tang", "double_well_1d"])
def test_certificates_prove_the_table(name: str) -> None:
    objective, box = objective_of(name)
    written = write_certificate(objective, certify(objective, box, name=name))
    certificate = checker.load(written.text.encode())
    verdict = checker.check(certificate)
    truth = next(entry for entry in TABLE if entry["name"] == name)["points"]
    assert verdict.claim["complete"] is True
    assert Counter(p.kind for p in verdict.points if p.place == "inside") == Counter(p["type"] for p in truth)
    for point in truth:
        near = [p for p in verdict.points if all(abs(a / ONE - b) < 1e-8 for a, b in zip(p.x, point["x"], strict=True))]
        assert [p.morse_index for p in near] == [point["morse_index"]]


def test_what_a_certificate_contradicts_of_the_search_is_said() -> None:
    found = certify(parse_expression(QUARTIC[0], 2), QUARTIC[1])
    verdict = checker.check(checker.load(quartic_text().encode()))
    assert _contradiction(found, verdict) == ""
    more = verdict.claim | {"minimum": verdict.claim["minimum"] + 1}
    assert "its number of minimum points is not" in _contradiction(found, verdict._replace(claim=more))
    assert _contradiction(found, verdict._replace(claim=more | {"complete": False})) == ""
    fewer = dataclasses.replace(found, points=found.points[1:], complete=False)
    assert _contradiction(fewer, verdict) == "", "the search had not ended"
    assert "it has nothing at" in _contradiction(
        found, verdict._replace(points=verdict.points[1:], claim=verdict.claim)
    )
    other = verdict.points[0]._replace(kind="maximum")
    assert "it has ['maximum'] at" in _contradiction(found, verdict._replace(points=(other, *verdict.points[1:])))


MANY = {
    "ackley",
    "rastrigin",
    "levy",
    "schwefel",
    "goldstein_price",
    "peaks",
    "bohachevsky2",
    "bohachevsky3",
    "michalewicz",
}
"""Hundreds of points, or thousands of cells."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in members.surfaces() if name not in MANY])
def test_certificates_agree_with_the_search(name: str) -> None:
    objective, box = objective_of(name)
    if len(box) > 3:
        pytest.skip("more than three coordinates")
    found = certify(objective, box, name=name)
    verdict = checker.check(checker.load(write_certificate(objective, found).text.encode()))
    regular = Counter(p.type for p in found.points if p.type != "degenerate" and p.basis == "proved")
    assert {kind: regular[kind] for kind in checker.KINDS} == {kind: verdict.claim[kind] for kind in checker.KINDS}
    degenerate = any(p.type == "degenerate" for p in found.points)
    assert verdict.claim["complete"] == (found.complete and not degenerate)


EDGES = [
    ("x**2", ((0.0, 1.0),), {"complete": True, "minimum": 1}),
    ("(3*x-1)**2 + y**2", ((-1.0, 0.3333333333333333), (-1.0, 1.0)), {"complete": True, "minimum": 0}),
    ("(3*x-1)**2 + y**2", ((0.3333333333333333, 1.0), (-1.0, 1.0)), {"complete": True, "minimum": 1}),
    ("(3*x-1)**2 + y**2", ((-1.0, 0.33333333333333337), (0.0, 1.0)), {"complete": True, "minimum": 1}),
    ("1e9*(x+1) - 1e9*x + 1e-6*(x-0.3)**2 + y**2", ((0.5, 1.0), (-1.0, 1.0)), {"complete": True, "minimum": 0}),
    ("(x/3*3 - 1)**2 + y**2", ((1.0, 2.0), (-1.0, 1.0)), {"complete": False, "minimum": 0, "edge": 1, "open": 0}),
    ("exp(x) - x + (y*y-2)**2", ((0.0, 2.0), (0.0, 3.0)), {"complete": True, "minimum": 1, "saddle": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "box", "claim"), EDGES)
def test_points_on_the_edge(text: str, box: Any, claim: dict[str, Any]) -> None:
    document = certificate_of(text, box)
    assert claim.items() <= document["claim"].items()
    assert verdict_of(document) == "accepted"


def test_three_coordinates() -> None:
    document = certificate_of("x**2 + y**2 + z**2 + x*y*z", ((-3.0, 3.0),) * 3)
    assert document["claim"]["minimum"], document["claim"]["saddle"] == (1, 4)
    assert verdict_of(document) == "accepted"


def test_what_is_open_is_listed() -> None:
    document = certificate_of("x**3 - 3*x*y**2", ((-2.0, 2.0), (-2.0, 1.0)))
    certificate = checker.load(json.dumps(document).encode())
    verdict = checker.check(certificate)
    assert verdict.claim["complete"] is False
    assert 0 < len(verdict.open) < 100
    assert any(all(low <= 0 <= high for low, high in box) for box in verdict.open)
    assert all(abs(end) < ONE >> 18 for box in verdict.open for side in box for end in side)
    assert "open cells" in checker.describe(certificate, verdict)[-1]


def test_no_more_cells_than_allowed() -> None:
    document = certificate_of(*QUARTIC, most=10)
    assert len(document["cells"]) < 40
    assert document["claim"]["complete"] is False
    assert verdict_of(document) == "accepted"


def test_where_f_is_not_defined() -> None:
    objective, box = parse_expression("log(x)**2 + y**2", 2), ((-1.0, 3.0), (-1.0, 1.0))
    written = write_certificate(objective, certify(objective, box, max_boxes=300))
    verdict = checker.check(checker.load(written.text.encode()))
    assert verdict.claim["undefined"] > 0
    assert verdict.claim["minimum"] == 1
    assert all(low >= 0 and high < units(0.1) for ((low, high), _) in verdict.open)


def test_a_step_that_the_checker_does_not_know_is_named_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(checker.FUNCTIONS, "tanh")
    with pytest.raises(UserError, match="tanh"):
        checkable(parse_expression("tanh(x) + y**2", 2), ((-1.0, 1.0), (-1.0, 1.0)))
    with pytest.raises(UserError, match="too small"):
        checkable(parse_expression("x**2", 1), ((0.0, 1e-60),))


@pytest.mark.parametrize("name", members.surfaces())
def test_the_printed_formula_is_the_program(name: str) -> None:
    objective, box = objective_of(name)
    program = program_of(objective, box)
    *named, last = checker.formula(program)
    known: dict[str, Any] = {
        n: getattr(np, n, None) for n in ("sin", "cos", "tan", "exp", "log", "sqrt", "abs", "tanh")
    }
    known |= {"log1pexp": lambda x: np.logaddexp(0.0, x)}
    x = [low + 0.3 * (high - low) for low, high in box]
    letters = last[last.index("(") + 1 : last.index(")")].split(", ")
    known |= dict(zip(letters, x, strict=True))
    for line in named:
        left, _, right = line.partition(" = ")
        known[left] = eval(right, {"__builtins__": {}}, known)
    value = eval(last.partition(" = ")[2], {"__builtins__": {}}, known)
    low, high = checker.run(program, tuple((units(v), units(v)) for v in x), 1)[program.result].value or (0, 0)
    assert value == pytest.approx(float(exact(low)), rel=1e-9, abs=1e-9)
    assert high - low < 1 << 100


# ---- changed files


def test_any_number_changed_is_refused_by_the_digest() -> None:
    document, rng = quartic(), random.Random(0)
    paths = list(numbers_in(document))
    for _ in range(1000):
        changed = mutated(document, rng.choice(paths), rng)
        assert verdict_of(changed) != "accepted"


WITNESSES = {"unique", "inverse", "diagonal", "combination", "program", "box"}
"""Where a change may be accepted: what the proof is made of, proved anew, and what the statement is about."""


def part_of(document: dict[str, Any], path: tuple[Any, ...]) -> str:
    """The part of the certificate in which a number stands."""
    if path[0] == "cells":
        cell = document["cells"][path[1]]
        return "cut" if type(cell) is int else str(cell[0])
    return str(path[2] if path[0] == "points" else path[0])


def false_claims(document: dict[str, Any]) -> list[str]:
    """What is not true of an accepted certificate of a polynomial, by exact rational arithmetic and Newton's method."""
    function, wrong = Polynomial(document["program"]), []
    box = [[number(end) for end in side] for side in document["box"]]
    listed, unique = [], []
    for point in document["points"]:
        x = [number(v) for v in point["x"]]
        _, grad, hess = function.jet(x)
        h = np.array([[float(v) for v in row] for row in hess])
        step = np.linalg.solve(h, np.array([float(v) for v in grad]))
        if not all(abs(s) <= 1.01 * float(number(r)) for s, r in zip(step, point["radius"], strict=True)):
            wrong.append(f"no zero within the radius of {point['x']}")
        if (np.linalg.eigvalsh(h) < 0).sum() != point["morse_index"]:
            wrong.append(f"not the Morse index at {point['x']}")
        inside = all(low <= v <= high for v, (low, high) in zip(x, box, strict=True))
        if point["place"] != ("inside" if inside else "outside"):
            wrong.append(f"not {point['place']}: {point['x']}")
        listed.append([float(v) for v in x])
        unique.append([[float(number(end)) for end in side] for side in point["unique"]])
    low, high = ([float(side[k]) for side in box] for k in (0, 1))
    for zero in newton_zeros(json.dumps(document["program"]), tuple(low), tuple(high)):
        inside = all(a + 1e-6 < v < b - 1e-6 for v, a, b in zip(zero, low, high, strict=True))
        if inside and not any(np.abs(zero - np.array(p)).max() < 1e-6 for p in listed):
            wrong.append(f"not listed: {zero}")
        for point, sides in zip(listed, unique, strict=True):
            within = all(a + 1e-6 < v < b - 1e-6 for v, (a, b) in zip(zero, sides, strict=True))
            if within and np.abs(zero - np.array(point)).max() > 1e-6:
                wrong.append(f"another zero in the unique box of {point}: {zero}")
    kinds = Counter(p["type"] for p in document["points"] if p["place"] == "inside")
    if any(kinds[kind] != document["claim"][kind] for kind in checker.KINDS):
        wrong.append(f"counts: {document['claim']}")
    return wrong


def test_the_independent_look_sees_what_is_false() -> None:
    document = quartic()
    assert false_claims(document) == []
    changes = (
        lambda d: d["points"].pop(),
        lambda d: d["points"][0].update(morse_index=1),
        lambda d: d["points"][0]["x"].__setitem__(0, "0x1.1p0"),
        lambda d: d["claim"].update(saddle=2),
    )
    for change in changes:
        changed = quartic()
        change(changed)
        assert false_claims(changed)


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_number_changed_and_signed_anew_is_refused_or_still_true(count: int) -> None:
    document, rng, accepted = quartic(), random.Random(count), Counter[str]()
    paths = list(numbers_in({k: v for k, v in document.items() if k != "digest"}))
    for _ in range(count):
        path = rng.choice(paths)
        changed = signed(mutated(document, path, rng))
        if verdict_of(changed) == "accepted":
            part = part_of(document, path)
            accepted[part] += 1
            assert part in WITNESSES, (path, part)
            assert false_claims(changed) == [], path
    assert set(accepted) <= WITNESSES
    assert accepted["inverse"]
    assert accepted["unique"]


def _without_a_point(d: dict[str, Any]) -> None:
    d["points"].pop(0)
    d["cells"] = [["point", max(c[1] - 1, 0)] if type(c) is list and c[0] == "point" else c for c in d["cells"]]
    d["claim"]["minimum"] -= 1


def _point_twice(d: dict[str, Any]) -> None:
    d["points"].append(d["points"][0])
    d["claim"][d["points"][0]["type"]] += 1


FORGERIES = {
    "a point left out": _without_a_point,
    "a point twice": _point_twice,
    "a cell too few": lambda d: d["cells"].pop(),
    "a cell too many": lambda d: d["cells"].append(["range", 0]),
    "no cells": lambda d: d.update(cells=[]),
    "an open cell that is not counted": lambda d: d["cells"].__setitem__(-1, ["open"]),
    "more than is proved": lambda d: d["claim"].update(maximum=1),
    "another type": lambda d: d["points"][0].update(type="maximum", morse_index=2),
    "a wider box": lambda d: d["box"].__setitem__(0, ["-0x1p2", "0x1p2"]),
    "a pinned coordinate": lambda d: d["points"][0].update(exact=[0]),
    "a step that nothing uses": lambda d: d["program"]["steps"].append(["exp", [0], None]),
    "something more": lambda d: d.update(note="also proved: Fermat"),
    "a finer radius": lambda d: d["points"][0].update(radius=["0x1p-90", "0x1p-90"]),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_forgeries_are_refused(what: str) -> None:
    document = quartic()
    assert verdict_of(document) == "accepted"
    FORGERIES[what](document)
    assert verdict_of(signed(document)) != "accepted"


def _other(d: dict[str, Any], kind: str, place: str, morse_index: int) -> None:
    """The first point, a minimum inside, given out for something else, in the claim too."""
    d["points"][0].update(type=kind, place=place, morse_index=morse_index)
    d["claim"]["minimum"] -= 1
    d["claim"][kind if place == "inside" else place] += 1
    d["claim"]["complete"] = place != "edge"


@pytest.mark.parametrize(
    ("kind", "place", "morse_index", "said"),
    [
        ("saddle", "inside", 1, "signs of the eigenvalues"),
        ("maximum", "inside", 0, "is not a maximum"),
        ("minimum", "edge", 0, "not proved to be edge"),
        ("minimum", "outside", 0, "not proved to be outside"),
    ],
)
def test_a_point_given_out_for_another(kind: str, place: str, morse_index: int, said: str) -> None:
    document = quartic()
    _other(document, kind, place, morse_index)
    assert said in verdict_of(signed(document))


@pytest.mark.parametrize("share", [Fraction(1), Fraction(-1), Fraction(1, 16)])
def test_only_the_nearest_number_of_the_grid_is_accepted(share: Fraction) -> None:
    for k in range(3):
        for i in range(2):
            document = quartic()
            point = document["points"][k]
            moved = number(point["x"][i]) + share * number(point["radius"][i])
            point["x"][i] = hexadecimal(moved)
            said = verdict_of(signed(document))
            assert ("finer than the radius" if abs(share) < 1 else "that it exists") in said


def test_the_radius_is_the_one_of_the_box() -> None:
    document = quartic()
    saddle = next(p for p in document["points"] if p["type"] == "saddle")
    saddle["radius"] = ["0x1p-90", "0x1p-90"]
    assert "its radius is not" in verdict_of(signed(document))


def test_a_unique_box_must_hold_its_point() -> None:
    """The Hessians of both minima are equal, and their unique boxes can be exchanged but for that."""
    document = quartic()
    first, second = (k for k, p in enumerate(document["points"]) if p["type"] == "minimum")
    boxes = [document["points"][k]["unique"] for k in (first, second)]
    document["points"][first]["unique"], document["points"][second]["unique"] = boxes[::-1]
    swap = {first: second, second: first}
    document["cells"] = [
        ["point", swap.get(c[1], c[1])] if type(c) is list and c[0] == "point" else c for c in document["cells"]
    ]
    assert "unique box" in verdict_of(signed(document))


def test_a_unique_box_must_hold_no_other() -> None:
    document = quartic()
    document["points"][0]["unique"] = document["box"]
    assert "the only one in its unique box" in verdict_of(signed(document))


def test_an_exact_coordinate_is_an_end_of_the_box_with_a_gradient_that_is_exactly_0() -> None:
    inner = certificate_of("x**2 + y**2", ((-1.0, 1.0), (-1.0, 1.0)))
    inner["points"][0]["exact"] = [0]
    assert "not an end of the box" in verdict_of(signed(inner))
    edge = certificate_of("(x/3*3 - 1)**2 + y**2", ((1.0, 2.0), (-1.0, 1.0)))
    edge["points"][0].update(exact=[0], place="inside")
    edge["claim"].update(edge=0, minimum=1, complete=True)
    assert "that it exists" in verdict_of(signed(edge))


def test_a_point_outside_that_no_cell_needs() -> None:
    document, wide = (certificate_of(QUARTIC[0], ((-3.0, end), (-3.0, 3.0))) for end in (0.5, 3.0))
    point = next(p for p in wide["points"] if number(p["x"][0]) > 1)
    document["points"].append({**point, "place": "outside"})
    document["claim"]["outside"] += 1
    assert "no cell needs it" in verdict_of(signed(document))


def test_boxes_that_the_arithmetic_cannot_cut() -> None:
    with pytest.raises(checker.Refused, match="too small"):
        checker.halves(((0, 1),), 0)
    assert checker.halves(((0, 2),), 0) == [((0, 1),), ((1, 2),)]
    with pytest.raises(checker.Refused, match="too small"):
        checker.check_size(((0, 1 << 100),))
    document = quartic()
    document["box"] = [["0x0p0", "0x1p-200"]] * 2
    assert "too small for this arithmetic" in verdict_of(signed(document))


def test_pieces_are_known_away_from_where_they_meet() -> None:
    """max(x, y) and `x where c > 0, else y`, with the kinks of the first and nothing known of the second at c = 0."""
    x = checker.Jet((ONE, 3 * ONE), [checker.UNITY, checker.ZERO], [checker.ZERO] * 3)
    for y, larger in (((-ONE, 0), x), ((4 * ONE, 5 * ONE), None), ((2 * ONE, 5 * ONE), "kink")):
        other = checker.Jet(y, [checker.ZERO, checker.UNITY], [checker.ZERO] * 3)
        steps = [["x", [], "0x0p0"], ["x", [], "0x1p0"], ["maximum", [0, 1], None]]
        program = checker.read_program({"dim": 2, "steps": steps, "result": 2})
        found = checker.run(program, (x.value, y), 2)[-1]
        if larger == "kink":
            assert found == checker.Jet((2 * ONE, 5 * ONE), [(0, ONE), (0, ONE)], [None] * 3)
        else:
            assert found == (larger or other)
    steps[2] = ["where", [0, 0, 1], None]
    program = checker.read_program({"dim": 2, "steps": steps, "result": 2})
    for side, first in ((ONE, 0), (-ONE, 1)):
        found = checker.run(program, ((side, side), (5 * ONE, 5 * ONE)), 2)[-1]
        assert found.grad == [checker.UNITY, checker.ZERO][:: -1 if first else 1]
    for c in ((0, ONE), (-ONE, 0), (-ONE, ONE)):
        assert checker.run(program, (c, (ONE, ONE)), 2)[-1] == checker.Jet(None, [None] * 2, [None] * 3)


def test_a_refused_cell_is_named() -> None:
    document = quartic()
    at = next(k for k, c in enumerate(document["cells"]) if type(c) is list and c[0] == "point")
    document["cells"][at] = ["range", 0]
    said = verdict_of(signed(document))
    assert said.startswith(f"Refused: cell {at}, [")
    assert "range" in said


HOSTILE = {
    "empty": b"",
    "not JSON": b"{",
    "not an object": b"[]",
    "a number": b"7",
    "not UTF-8": b"\xff\xfe\x00",
    "nested": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "NaN": b'{"format": NaN}',
    "a decimal": b'{"format": 1.5}',
    "huge whole": b'{"format": ' + b"9" * 100_000 + b"}",
    "a name twice": b'{"format": 1, "format": 2}',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_files_that_are_no_certificates(what: str) -> None:
    with pytest.raises(checker.Unreadable) as error:
        checker.load(HOSTILE[what])
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


VALUES = [None, True, -1, 10**30, 2**70, "", "point", "nan", "inf", [], {}, [[]], ["x"]]
VALUES += ["0x1p999999999", "0x1p+1100", "-0x1.8p-1100", "0x" + "f" * 500 + "p0"]


def test_any_value_in_any_place_is_one_line() -> None:
    """Missing and wrong types everywhere: nothing but the two words of the checker comes out."""
    rng, document = random.Random(2), quartic()
    for _ in range(500):
        changed = json.loads(quartic_text())
        place, key = changed, rng.choice(list(document))
        while isinstance(place[key], list | dict) and place[key] and rng.random() < 0.8:
            place = place[key]
            key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if rng.random() < 0.2:
            del place[key]
        else:
            place[key] = rng.choice([value for value in VALUES if value != place[key]])
        said = verdict_of(signed(changed))
        assert said == "accepted" or "\n" not in said
        assert said != "accepted" or key in ("surface", "digest"), (key, place)


def test_numbers_that_would_take_for_ever() -> None:
    """Towers of powers and exponentials end in `unknown`, not in numbers without end."""
    steps: list[Any] = [["x", [], "0x0p0"]]
    for k in range(60):
        steps.append(["power" if k % 2 else "exp", [k], "0x3e8p0" if k % 2 else None])
    program = checker.read_program({"dim": 1, "steps": steps, "result": 60})
    jet = checker.run(program, ((5 * ONE, 6 * ONE),), 2)[-1]
    assert (jet.value, jet.grad) == (None, [None])


# ---- the file alone


def test_the_checker_runs_alone(tmp_path: Path) -> None:
    """A bare Python, without site-packages and without optbench."""
    script = tmp_path / "check_proof.py"
    shutil.copy(checker.__file__, script)
    proof = tmp_path / "proof.json"
    proof.write_text(quartic_text())
    command = [sys.executable, "-I", "-S", str(script), str(proof)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "f(x, y) = x**4 - 3*x*y + y**2" in found.stdout
    assert found.stdout.splitlines()[-1] == "ACCEPTED: the box holds exactly 3 critical points (2 minima, 1 saddle)."
    document = quartic()
    document["claim"]["saddle"] = 2
    for text, code, word in ((json.dumps(signed(document)), 1, "REFUSED"), ("{", 2, "error")):
        proof.write_text(text)
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == code
        assert len((found.stdout + found.stderr).splitlines()) == 1
        assert (found.stdout + found.stderr).startswith(word)


def test_a_piece_that_is_not_looked_at_does_not_make_f_undefined() -> None:
    """log(x) where x > 1, else x^2 - x, and log(x)**0: nothing of it is undefined at x < 0."""
    steps = (
        checker.Step("x", (), None, None, (0, 0)),
        checker.Step("shift", (0,), None, None, (-ONE, -ONE)),
        checker.Step("log", (0,), None, None, (0, 0)),
        checker.Step("square", (0,), None, None, (0, 0)),
        checker.Step("where", (1, 2, 3), None, None, (0, 0)),
        checker.Step("power", (2,), None, None, (0, 0)),
        checker.Step("plus", (4, 5), None, None, (0, 0)),
    )
    assert checker.needed(checker.Program(1, steps, 6)) == {4, 5, 6}
