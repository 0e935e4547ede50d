"""Degenerate points verified exactly: published multiplicities, indices by a second way, alone in their regions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from optbench.critical.arithmetic.elementary_series import Enclosed, Exact, Inexact, coefficients, power_coefficients
from optbench.critical.arithmetic.exact import SPECIAL
from optbench.critical.arithmetic.functions import RULES
from optbench.critical.arithmetic.interval import Interval
from optbench.critical.certified import certify
from optbench.critical.germs.branches import half_branches
from optbench.critical.germs.germ import Germ, _singularity, alone, expansion, germ_in
from optbench.critical.germs.local_algebra import signature
from optbench.critical.germs.roots import real_roots
from optbench.critical.programs.program import record
from optbench.critical.proofs.field import Field
from optbench.critical.typed.expression import parse_expression

TINY = np.full(2, 1e-7)
NORMAL_FORMS = {  # formula: (name, weights of x and y for which it is of weight 1, nature)
    "y**2 + x**3": ("A2", (3, 2), "saddle"),
    "y**2 + x**4": ("A3", (4, 2), "minimum"),
    "y**2 - x**4": ("A3", (4, 2), "saddle"),
    "-y**2 - x**4": ("A3", (4, 2), "maximum"),
    "y**2 + x**5": ("A4", (5, 2), "saddle"),
    "-y**2 + x**6": ("A5", (6, 2), "saddle"),
    "y**2 + x**8": ("A7", (8, 2), "minimum"),
    "x**3 - 3*x*y**2": ("D4-", (3, 3), "saddle"),
    "x**2*y + y**3": ("D4+", (3, 3), "saddle"),
    "x**2*y + y**4": ("D5", (Fraction(8, 3), 4), "saddle"),
    "x**2*y - y**5": ("D6", (Fraction(5, 2), 5), "saddle"),
    "x**2*y + y**6": ("D7", (Fraction(12, 5), 6), "saddle"),
    "x**3 + y**4": ("E6", (3, 4), "saddle"),
    "x**3 - y**4": ("E6", (3, 4), "saddle"),
    "x**3 + x*y**3": ("E7", (3, Fraction(9, 2)), "saddle"),
    "x**3 + y**5": ("E8", (3, 5), "saddle"),
    "x**4 + y**4": ("X9", (4, 4), "minimum"),
    "x**4 - 6*x**2*y**2 + y**4": ("X9", (4, 4), "saddle"),
    "x**4 + y**6": ("", (4, 6), "minimum"),
    "x**3*y - x*y**3 + x**7*y": ("X9", (4, 4), "saddle"),  # semi-quasihomogeneous
}


def germ_of(formula: str, low: Any = -TINY, high: Any = TINY, dim: int = 2) -> Germ | None:
    return germ_in(Field(parse_expression(formula, dim), ((-1.0, 1.0),) * dim), np.array(low), np.array(high))


def turns(formula: str, radius: float = 0.02) -> tuple[int, int]:
    """Winding number of the gradient on a circle by its angle, and sign changes of f along the circle."""
    angle = torch.linspace(0.0, 2 * math.pi, 200_001, dtype=torch.float64)[:-1] + 0.1
    x = (radius * torch.stack([angle.cos(), angle.sin()], dim=1)).requires_grad_(True)
    value = parse_expression(formula, 2)(x)
    gradient = torch.autograd.grad(value.sum(), x)[0].numpy()
    direction = np.unwrap(np.append(a := np.arctan2(gradient[:, 1], gradient[:, 0]), a[0]))
    signs = np.sign(value.detach().numpy())
    signs = signs[signs != 0]
    return round((direction[-1] - direction[0]) / (2 * np.pi)), int((signs != np.roll(signs, 1)).sum())


@pytest.mark.parametrize("formula", NORMAL_FORMS)
def test_normal_forms(formula: str) -> None:
    name, weights, nature = NORMAL_FORMS[formula]
    germ = germ_of(formula)
    assert germ is not None
    # J. Milnor & P. Orlik, Topology 9 (1970) 385: the multiplicity of a quasihomogeneous singularity.
    assert germ.multiplicity == math.prod(Fraction(w) - 1 for w in weights)
    index, changes = turns(formula)
    assert (germ.index, germ.singularity, germ.nature) == (index, name, nature)
    assert changes == 2 * (1 - germ.index)
    assert (len(germ.branches), germ.all_branches) == (changes, True)


MOVES = [  # x and y in the coordinates in which the normal form is not plain
    ("(x + 2*y)", "(3*x - y)"),
    ("(x + y**2)", "(y - 2*x*y)"),
    ("(2*x - y + x**3)", "(y + 3*x**2)"),
    ("(exp(x) - 1)", "sin(y)"),
    ("(x/(1 + y))", "atan(y + x)"),
    ("(tanh(x) + y**2)", "log(1 + y)"),
]


@pytest.mark.parametrize("formula", ["y**2 - x**4", "x**3 - 3*x*y**2", "x**3 + x*y**3", "x**2*y + y**4"])
@pytest.mark.parametrize("move", MOVES, ids=lambda m: m[0])
def test_a_change_of_coordinates_changes_nothing(formula: str, move: tuple[str, str]) -> None:
    plain = germ_of(formula)
    moved = germ_of(formula.replace("y", "Y").replace("x", move[0]).replace("Y", move[1]), -TINY / 10, TINY / 10)
    assert plain is not None
    assert moved is not None
    for what in ("multiplicity", "index", "singularity", "nature"):
        assert getattr(moved, what) == getattr(plain, what), what


def test_one_three_and_four_coordinates() -> None:
    for formula, dim, expected in [
        ("x**5", 1, (4, 0, "saddle")),
        ("-x**6", 1, (5, -1, "maximum")),
        ("cos(x) - 1 + x**2/2", 1, (3, 1, "minimum")),
        ("x**3 + y**3 + z**3", 3, (8, 0, "saddle")),
        ("x**2 + y**4 - z**2", 3, (3, -1, "saddle")),
        ("-x**2 - y**4 - z**2", 3, (3, -1, "maximum")),
        ("(x+10*y)**2 + 5*(z-w)**2 + (y-2*z)**4 + 10*(x-w)**4", 4, (9, 1, "undecided")),
    ]:
        germ = germ_of(formula, [-1e-4] * dim, [1e-4] * dim, dim)
        assert germ is not None, formula
        assert (germ.multiplicity, germ.index, germ.nature) == expected, formula


def test_the_other_critical_point_is_noticed() -> None:
    """x^4 - e x^3 + y^2 has a degenerate point at 0 and a minimum at 3 e / 4: alone up to there, not farther."""
    for formula in ("x**4 - 1e-3*x**3 + y**2", "exp(x)*x**4 - 1e-3*sin(x)**3 + y**2*cos(y)"):
        field = Field(parse_expression(formula), ((-1.0, 1.0),) * 2)
        germ = germ_in(field, -TINY, TINY)
        assert germ is not None
        assert (germ.multiplicity, germ.index) == (2, 0)
        reach = [r for r in (1e-7, 1e-5, 1e-4, 7e-4, 1e-3, 1e-2) if alone(field, germ, -TINY, np.array([r, 1e-7]))]
        assert 1e-4 in reach
        assert max(reach) < 7.5e-4
        assert germ_in(field, -TINY, np.full(2, 1e-3)) is None
    # Complex neighbours count, too: they would be part of the multiplicity seen from afar.
    germ = germ_of("x**5 + 1e-6*x**3 + y**2")
    assert germ is not None
    assert germ.multiplicity == 2


@pytest.mark.parametrize(
    ("formula", "low", "high"),
    [
        ("x**2*y**2", -TINY, TINY),  # not isolated
        ("(x - exp(1))**4 + y**2", [2.7182, -1e-7], [2.7183, 1e-7]),  # exactly at the float e: but not the simplest
        ("x**4 + y**2 + abs(x - 5e-8)*x**4", -TINY, TINY),  # a kink in the region, not at the point
        ("x**4 + y**2 + x**5/(x - 5e-8)", -TINY, TINY),  # a pole
        ("x**4 + y**2 + exp(1 + x)*x**5", -TINY, TINY),  # e is not rational
        ("sqrt(x**2 + y**2)", -TINY, TINY),
        ("x**4 + y**2 + x", -TINY, TINY),  # not critical
    ],
)
def test_what_cannot_be_verified_is_left_open(formula: str, low: Any, high: Any) -> None:
    if formula.startswith("(x - exp"):
        high[0] = math.nextafter(math.e, 0.0)  # the point lies one float outside
    assert germ_of(formula, low, high) is None


def test_coordinates_are_fractions_or_the_floats_of_decimals() -> None:
    for formula, place in [
        ("(3*x - 1)**4 + (7*y + 2)**2", ("1/3", "-2/7")),
        ("(x - 0.1)**4 + (y - 0.25)**2", (str(Fraction(0.1)), "1/4")),
    ]:
        found = certify(parse_expression(formula), ((-1.0, 1.3),) * 2)
        (point,) = found.points
        assert (point.exact, found.complete) == (place, True)
        gaps = [abs(Fraction(p) - Fraction(v)) for p, v in zip(point.exact, point.x, strict=True)]
        assert max(gaps) <= Fraction(point.radius or 0.0)
        assert set(point.to_json()) >= {"multiplicity", "singularity", "exact", "branches"}


@pytest.mark.parametrize(
    ("formula", "multiplicity", "index", "ways"),
    [
        ("x**3 - 3*x*y**2", 4, -2, "three ways down"),
        ("(y - x**2)*(y - 3*x**2)", 3, -1, "|dy| ~ 3 |dx|^2 (2 half-branches), |dy| ~ |dx|^2 (2 half-branches)"),
        ("x**2 + y**3", 2, 0, "|dy| ~ |dx|^(2/3)"),
        ("cos(x) + x**2/2 + y**3", 6, 0, "E6"),  # neighbours that rounding could not clear are proved empty
        ("x**8 + y**6 + x**4*y**4", 35, 1, "f is higher all round it"),
    ],
)
def test_the_list_is_complete(formula: str, multiplicity: int, index: int, ways: str) -> None:
    found = certify(parse_expression(formula), ((-1.0, 1.3),) * 2)
    (point,) = found.points
    assert (point.type, point.basis, point.x) == ("degenerate", "proved", (0.0, 0.0))
    assert (point.multiplicity, point.index) == (multiplicity, index)
    assert ways in point.wording
    assert (found.complete, found.clusters, found.index_sum) == (True, (), found.winding_number)


def test_elementary_series_against_mpmath() -> None:
    functions: dict[str, Callable[[Any], Any]] = {
        name: getattr(mpmath, name, None) or (lambda x, name=name: OTHERS[name](x)) for name in RULES
    }
    for name, place in itertools.product(RULES, (0.3, 0.75, 1.7)):
        box = Interval.between(np.array([place - 1e-9]), np.array([place + 1e-9]))
        with np.errstate(all="ignore"):
            found = coefficients(name, box, 6, Enclosed())
        with mpmath.workdps(40):
            expected = mpmath.taylor(functions[name], mpmath.mpf(place), 6)
            for c, e in zip(found, expected, strict=False):
                assert c.low[0] <= e <= c.high[0], (name, place)
                assert c.high[0] - c.low[0] < 1e-6 * max(1.0, abs(e)), (name, place)


OTHERS: dict[str, Callable[[Any], Any]] = {
    "abs": lambda x: x,
    "relu": lambda x: x,
    "reciprocal": lambda x: 1 / x,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "log1pexp": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "square": lambda x: x**2,
}


def test_powers_and_exact_values() -> None:
    assert power_coefficients(0.5, Fraction(9, 4), 2, Exact()) == [Fraction(3, 2), Fraction(1, 3), Fraction(-1, 27)]
    assert power_coefficients(-2.0, Fraction(2), 2, Exact()) == [Fraction(1, 4), Fraction(-1, 4), Fraction(3, 16)]
    for p, u0 in ((0.5, Fraction(2)), (0.3, Fraction(2)), (-1.0, Fraction(0)), (1.5, Fraction(-1))):
        with pytest.raises(Inexact):
            power_coefficients(p, u0, 2, Exact())
    surface = parse_expression("sqrt(4 + x)*cosh(y) - tan(x) + 2**(0*x)", 2)
    with pytest.raises(Inexact):
        expansion(record(surface, 2), (Fraction(0), Fraction(0)), 3)  # 2**(0 x) is e^(0 log 2)
    taylor = expansion(record(parse_expression("sqrt(4 + x)*cosh(y) - tan(x)"), 2), (Fraction(0), Fraction(0)), 3)
    assert taylor.terms[(0, 0)] == 2
    assert taylor.terms[(1, 0)] == Fraction(1, 4) - 1
    assert taylor.terms[(1, 2)] == Fraction(1, 8)


SLOPES: dict[str, Callable[[Any], Any]] = {
    "log1pexp": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_values_and_slopes_that_are_fractions(name: str) -> None:
    at, value, slope = SPECIAL[name]
    function = SLOPES.get(name) or getattr(mpmath, name)
    assert value is None or value == pytest.approx(float(function(float(at))), abs=1e-14)
    assert slope == pytest.approx(float(mpmath.diff(function, float(at))), abs=1e-9)


@pytest.mark.parametrize(
    ("cubic", "name"),
    [
        ({(3, 0): 1, (1, 2): -3}, "D4-"),  # x^3 - 3 x y^2: three lines
        ({(2, 1): 1, (1, 2): 1}, "D4-"),  # x y (x + y)
        ({(3, 0): 1, (0, 3): 1}, "D4+"),  # one line
        ({(2, 1): 1, (0, 3): 1}, "D4+"),
        ({(2, 1): 1}, "D7"),  # x^2 y: a line and a double line, each of the conditions of a cube failing alone
        ({(1, 2): 1}, "D7"),
        ({(3, 0): 1, (2, 1): 1}, "D7"),
        ({(1, 2): 1, (0, 3): 1}, "D7"),
        ({(3, 0): 1}, "E7"),
        ({(0, 3): 2}, "E7"),
        ({(3, 0): 1, (2, 1): 6, (1, 2): 12, (0, 3): 8}, "E7"),  # (x + 2 y)^3
        ({(3, 0): 1, (2, 1): -6, (1, 2): 12, (0, 3): -8}, "E7"),
        ({(4, 0): 1, (0, 4): 1}, ""),
    ],
)
def test_arnolds_letter_is_read_off_the_cubic_part(cubic: dict[tuple[int, int], int], name: str) -> None:
    for factor in (Fraction(1), Fraction(-1, 1000), Fraction(7)):  # which changes no letter
        assert _singularity(2, 2, 7, {key: factor * c for key, c in cubic.items()}) == name


def test_arnolds_names_end_where_the_cubic_part_does_not_tell() -> None:
    cube, quartic = {(3, 0): Fraction(1)}, {(4, 0): Fraction(1), (0, 4): Fraction(1)}
    assert [_singularity(2, 2, m, cube) for m in (6, 7, 8, 9)] == ["E6", "E7", "E8", ""]
    assert [_singularity(2, 2, m, quartic) for m in (8, 9, 10)] == ["", "X9", ""]
    assert [_singularity(d, 1, 3, {}) for d in (1, 2, 3)] == ["A3"] * 3
    assert _singularity(3, 2, 7, cube) == ""


def test_roots_against_known_factors() -> None:
    known = [(Fraction(-7, 3), 1), (Fraction(0), 2), (Fraction(1, 10**6), 1), (Fraction(2, 10**6), 3)]
    p = [Fraction(1), Fraction(0), Fraction(1)]  # x^2 + 1 has none
    for root, multiplicity in known:
        for _ in range(multiplicity):
            p = [a - root * b for a, b in zip([Fraction(0), *p], [*p, Fraction(0)], strict=True)]
    assert real_roots(p) == known
    assert real_roots([Fraction(0), Fraction(-7, 5), Fraction(1)]) == [(Fraction(0), 1), (Fraction(7, 5), 1)]
    assert real_roots([Fraction(3)]) == []
    (near, _), (far, _) = real_roots([Fraction(-2), Fraction(0), Fraction(1)])
    assert (float(near), float(far)) == (-math.sqrt(2.0), math.sqrt(2.0))


def test_half_branches_of_lines_that_lie_close_together() -> None:
    terms = expansion(
        record(parse_expression("(x + y)*(4*x + 3*y)*(4*x - 3*y)", 2), 2), (Fraction(0), Fraction(0)), 4
    ).terms
    found, every = half_branches({(i, j): c for (i, j), c in terms.items()})
    slopes = sorted(h.side[0] * h.side[1] * h.coefficient for h in found)
    assert every
    assert slopes == pytest.approx([-4 / 3, -4 / 3, -1, -1, 4 / 3, 4 / 3], rel=1e-15)


def test_half_branches_of_a_curve_that_needs_a_second_polygon() -> None:
    for formula, expected in [
        ("(y - x)**2 - x**4", 4),  # two parabolas along the diagonal
        ("(y - x)**2 - x**5", 2),  # a cusp
        ("(y - x)**2 + x**4", 0),
        ("(x - y**2)**2 - y**7", 2),
    ]:
        terms = expansion(record(parse_expression(formula, 2), 2), (Fraction(0), Fraction(0)), 8).terms
        found, every = half_branches({(i, j): c for (i, j), c in terms.items()})
        assert (len(found), every) == (expected, True), formula


@pytest.mark.parametrize(
    ("formula", "values"),
    [
        ("-(x + y)**2 + (x - y)**4", (-4.0, 0.0)),
        ("(x + y)**2 - (x - y)**4", (0.0, 4.0)),
        ("(x + y)**2 - 3*(x - y)**2", (-12.0, 4.0)),
        ("x**4 + y**4", (0.0, 0.0)),
        ("-x**2 - 2*y**2 + z**4", (-4.0, -2.0, 0.0)),
        ("x**2 - 2*y**2 + z**4", (-4.0, 0.0, 2.0)),
        ("-x**2 - y**4 + z**4", (-2.0, 0.0, 0.0)),
    ],
)
def test_eigenvalues_that_are_exactly_0_are_0_and_no_others(formula: str, values: tuple[float, ...]) -> None:
    d = len(values)
    germ = germ_of(formula, -1e-7 * np.ones(d), 1e-7 * np.ones(d), d)
    assert germ is not None
    assert germ.eigenvalues == pytest.approx(values, rel=1e-14, abs=0.0)


def test_signature_against_eigenvalues() -> None:
    rng = np.random.default_rng(5)
    for n in range(1, 7):
        a = rng.integers(-2, 3, (n, n))
        a = a + a.T - np.diag(2 * np.diag(a)) * (n % 2)  # every other one with zeros on its diagonal
        values = np.linalg.eigvalsh(a.astype(float))
        exact = signature([[Fraction(int(v)) for v in row] for row in a])
        assert exact == (int((values > 1e-9).sum()), int((values < -1e-9).sum()))
