"""How jets combine, those of intervals and those of Arb balls, against second-order Taylor arithmetic in fractions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import mpmath
import numpy as np
import pytest
from closed_forms import DIGITS, FORMS, Form, inside, power_form
from hard_numbers import FINITE, beyond
from mpmath import mpf

from optbench.critical.arithmetic.functions import RULES
from optbench.critical.arithmetic.jet import Jet, coordinates_of_boxes

DIM = 4


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@dataclass
class Exact:
    """A value with gradient (DIM,) and Hessian (DIM, DIM), in fractions; the same operations as a jet."""

    value: Fraction
    grad: list[Fraction]
    hess: list[list[Fraction]]

    def plus(self, other: Exact) -> Exact:
        return self._with(other, lambda a, b: a + b)

    def times(self, other: Exact) -> Exact:
        u, v, n = self, other, range(DIM)
        return Exact(
            u.value * v.value,
            [u.value * v.grad[i] + v.value * u.grad[i] for i in n],
            [
                [
                    u.value * v.hess[i][j] + v.value * u.hess[i][j] + u.grad[i] * v.grad[j] + v.grad[i] * u.grad[j]
                    for j in n
                ]
                for i in n
            ],
        )

    def shift(self, c: float) -> Exact:
        return Exact(self.value + Fraction(c), self.grad, self.hess)

    def scale(self, c: float) -> Exact:
        return self._with(self, lambda a, _: a * Fraction(c))

    def over(self, c: float) -> Exact:
        return self._with(self, lambda a, _: a / Fraction(c))

    def power(self, n: int) -> Exact:
        x, m = self.value, range(DIM)
        f, first, second = x**n, n * x ** (n - 1) if n else 0, n * (n - 1) * x ** (n - 2) if n * (n - 1) else 0
        g, h = self.grad, self.hess
        return Exact(f, [first * g[i] for i in m], [[first * h[i][j] + second * g[i] * g[j] for j in m] for i in m])

    def apply(self, name: str) -> Exact:
        return self.power({"square": 2, "reciprocal": -1}[name])

    def _with(self, other: Exact, f: Callable[[Fraction, Fraction], Fraction]) -> Exact:
        return Exact(
            f(self.value, other.value),
            [f(a, b) for a, b in zip(self.grad, other.grad, strict=True)],
            [[f(a, b) for a, b in zip(p, q, strict=True)] for p, q in zip(self.hess, other.hess, strict=True)],
        )


STEPS: dict[str, Callable[..., Any]] = {
    "plus": lambda a, b: a.plus(b),
    "times": lambda a, b: a.times(b),
    "shift": lambda a, b: a.shift(1 / 3),
    "scale": lambda a, b: a.scale(-1 / 3),
    "over": lambda a, b: a.over(-3.0),
    "square": lambda a, b: a.apply("square"),
    "reciprocal": lambda a, b: a.apply("reciprocal"),
    **{f"power {n}": (lambda a, b, n=n: a.power(n)) for n in (-2, -1, 0, 1, 2, 3, 5)},
}
SUPPORTS = ((2,), (1, 3), (0, 1, 2), (0, 1, 2, 3))
ORDINARY = np.array([x for x in FINITE if 1e-20 < abs(x) < 1e20 or x == 0])


def drawn(support: tuple[int, ...], flat: bool, hard: bool, width: float, rng: Any) -> tuple[Jet, list[Exact]]:
    """A jet over n boxes that depends on the coordinates `support`, and one exact member of each of its rows."""
    n, k = 8, len(support)
    pool = FINITE if hard else ORDINARY

    def interval(*shape: int) -> tuple[Any, Any]:
        x = rng.choice(pool, shape) if rng.random() < 0.7 else rng.uniform(-2, 2, shape)
        low, high = x * (1 - np.sign(x) * width * rng.random(shape)), x * (1 + np.sign(x) * width * rng.random(shape))
        member = np.where(rng.random(shape) < 0.5, low, high)
        return np.stack([-low, high]), member

    value, at = interval(n)
    grad, slopes = interval(k, n)
    hess, bends = interval(k * (k + 1) // 2, n)
    if flat:
        bends = np.zeros_like(bends)
    exact = []
    for row in range(n):
        g, h = [Fraction(0)] * DIM, [[Fraction(0)] * DIM for _ in range(DIM)]
        for i, c in enumerate(support):
            g[c] = Fraction(float(slopes[i, row]))
        for p, (i, j) in enumerate(zip(*np.triu_indices(k), strict=True)):
            h[support[i]][support[j]] = h[support[j]][support[i]] = Fraction(float(bends[p, row]))
        exact.append(Exact(Fraction(float(at[row])), g, h))
    return Jet(value, support, grad, None if flat else hess, 2), exact


def outside(jet: Jet, row: int, truth: Exact) -> list[str]:
    """Which of value, gradient and Hessian of a row are outside the jet's ranges."""

    def at(ends: Any, *index: int) -> tuple[float, float]:
        ends = np.broadcast_to(ends, (*ends.shape[:-1], 8))
        return -float(ends[(0, *index, row)]), float(ends[(1, *index, row)])

    bad = ["value"] * beyond(truth.value, *at(jet.value))
    k, place = len(jet.coordinates), {c: i for i, c in enumerate(jet.coordinates)}
    pairs = {pair: p for p, pair in enumerate(zip(*(v.tolist() for v in np.triu_indices(k)), strict=True))}
    for i, j in product(range(DIM), repeat=2):
        if i not in place or j not in place:
            bad += [f"hess {i}{j}"] * (truth.hess[i][j] != 0)
            continue
        if i == j:
            bad += [f"grad {i}"] * beyond(truth.grad[i], *at(jet.grad, place[i]))
        if jet.hess is None:
            bad += [f"hess {i}{j}"] * (truth.hess[i][j] != 0)
        elif place[i] <= place[j]:
            bad += [f"hess {i}{j}"] * beyond(truth.hess[i][j], *at(jet.hess, pairs[place[i], place[j]]))
    return bad


@pytest.mark.parametrize("name", STEPS)
def test_jets_hold_exact_taylor_arithmetic(name: str) -> None:
    rng, held = np.random.default_rng(21), 0
    for a_on, b_on in product(SUPPORTS, SUPPORTS[1:3]):
        for flat, hard, width in ((False, True, 0.0), (True, False, 1e-3), (False, False, 0.5)):
            a, exact_a = drawn(a_on, flat, hard, width, rng)
            b, exact_b = drawn(b_on, rng.random() < 0.3, hard, width, rng)
            found = STEPS[name](a, b)
            assert found.coordinates == (tuple(sorted({*a_on, *b_on})) if name in ("plus", "times") else a_on)
            for row, (p, q) in enumerate(zip(exact_a, exact_b, strict=True)):
                try:
                    truth = STEPS[name](p, q)
                except ZeroDivisionError:
                    assert np.isposinf(found.value[1, row])
                    continue
                assert not outside(found, row, truth), (name, a_on, b_on, row)
                held += 1
    assert held > 120


def test_thin_jets_stay_thin() -> None:
    rng = np.random.default_rng(22)
    for name, step in STEPS.items():
        for a_on, b_on in product(SUPPORTS[1:], SUPPORTS[:3]):
            parts = []
            for on in (a_on, b_on):
                k = len(on)
                pieces = [
                    rng.uniform(0.5, 2, s) * rng.choice([-1, 1], s) for s in ((5,), (k, 5), (k * (k + 1) // 2, 5))
                ]
                value, grad, hess = (np.stack([-p, p]) for p in pieces)
                parts.append(Jet(value, on, grad, hess, 2))
            found = step(*parts)
            for ends in (found.value, found.grad, found.hess):
                assert ends is not None
                assert (ends[0] + ends[1] <= 1e-13 * (1 + np.abs(ends).max())).all(), name


def test_what_is_linear_has_no_second_derivatives() -> None:
    x, y = coordinates_of_boxes(np.array([[-1.0, 2.0]]), np.array([[3.0, 2.5]]), 2)
    assert x.coordinates + y.coordinates == (0, 1)
    both: Any = x.plus(y.scale(3.0)).shift(1.0).over(2.0)
    assert both.hess is None
    assert np.abs(both.grad[:, :, 0] - [[-0.5, -1.5], [0.5, 1.5]]).max() < 1e-14
    twice: Any = x.times(x)
    assert np.abs(twice.hess[:, 0, 0] - [-2.0, 2.0]).max() < 1e-14


def test_squares_of_slopes_are_not_negative() -> None:
    """e^u with slopes in [-1, 2] along both coordinates: the pure second derivatives are at least 0."""
    grad = np.stack([np.full((2, 1), 1.0), np.full((2, 1), 2.0)])
    found = Jet(np.array([[0.0], [0.0]]), (0, 1), grad, None, 2).apply("exp")
    assert found.hess is not None
    low, high = -found.hess[0, :, 0], found.hess[1, :, 0]
    assert (np.abs(low - [0.0, -2.0, 0.0]) < 1e-14).all()
    assert (np.abs(high - 4.0) < 1e-13).all()


@pytest.mark.parametrize("order", [0, 1])
def test_lower_orders_are_the_beginning_of_higher_ones(order: int) -> None:
    rng = np.random.default_rng(23)
    low = rng.uniform(-2, 2, (9, 3))
    high = low + rng.choice([0.0, 0.5], (9, 3))

    def f(x: Any) -> Any:
        a, b, c = x
        return (
            a.times(b)
            .apply("sin")
            .plus(c.power(3).scale(0.3))
            .times(b.shift(5.0).apply("sqrt"))
            .over(7.0)
            .apply("tanh")
        )

    short, full = f(coordinates_of_boxes(low, high, order)), f(coordinates_of_boxes(low, high, 2))
    assert np.array_equal(short.value, full.value)
    assert short.hess is None
    assert (short.grad.size == 0) if order == 0 else np.array_equal(short.grad, full.grad)


# Arb balls


def ends_of(ball: Any) -> tuple[Any, Any]:
    """Exact ends of a finite ball, as high-precision numbers."""
    middle, radius = (
        mpmath.ldexp(mpf(int(man)), int(power)) for man, power in (ball.mid().man_exp(), ball.rad().man_exp())
    )
    return middle - radius, middle + radius


def holds(ball: Any, exact: Any) -> bool:
    if not ball.is_finite():
        return True
    with mpmath.workdps(400):
        low, high = ends_of(ball)
        return bool(low <= exact <= high)


BALL_POWERS: dict[str, tuple[Callable[[Any], Any], Form]] = {
    **{f"power {n}": (lambda jet, n=n: jet.power(n), power_form(n)) for n in (-2, 0, 1, 2, 3, 6)},
    **{f"real power {p}": (lambda jet, p=p: jet.real_power(p), power_form(p)) for p in (-0.3, 0.5, 2.5)},
}
BALLS: dict[str, tuple[Callable[[Any], Any], Form]] = {
    **{name: (lambda jet, name=name: jet.apply(name), FORMS[name]) for name in sorted(RULES) if name in FORMS},
    **BALL_POWERS,
}
CENTERS = (-30.0, -2.0, -1.0, -0.6, -1e-8, 0.0, 1e-300, 1e-8, 0.3, 1.0, 1.7, 2.9, 25.0)


@pytest.mark.parametrize("name", BALLS)
def test_balls_hold_value_and_derivatives_of_their_whole_argument(name: str) -> None:
    """Also where the argument is one number: a ball has a radius, or it is the number itself."""
    pytest.importorskip("flint")
    from optbench.critical.arithmetic.arb import ArbJet, arb_point, ball

    apply, form = BALLS[name]
    known = tried = 0
    for center, radius in product(CENTERS, (0.0, 1e-15, 1e-9, 0.01, 1.0)):
        low, high = center - radius, center + radius
        (x,) = arb_point([ball(low, high)])
        assert isinstance(x, ArbJet)
        assert holds(x.value, mpf(low))
        assert holds(x.value, mpf(high))
        found = apply(x)
        balls = (found.value, found.grad[0], found.hess[0][0])
        assert name == "tan" or balls[0].is_finite() or low <= form.least or any(low <= s <= high for s in form.poles)
        with mpmath.workdps(DIGITS):
            points = inside(form, low, high)
            for point, (order, function) in product(points, enumerate((form.value, form.first, form.second))):
                if not (order and point in form.kinks):
                    exact = function(point)
                    assert holds(balls[order], exact), (low, high, order)
                    tried += 1
                    known += radius == 0.0 and balls[order].is_finite()
                    if radius == 0.0 and balls[order].is_finite():
                        with mpmath.workdps(400):
                            least, most = ends_of(balls[order])
                            assert most - least <= mpf(10) ** -11 * (abs(exact) + mpf(10) ** -3), (low, order)
    assert tried > 100
    assert known > 12


@pytest.mark.parametrize("name", ["abs", "relu", "sqrt", "log", "log1p", "reciprocal", "real power 0.5", "power -2"])
def test_balls_know_nothing_where_there_is_no_derivative(name: str) -> None:
    pytest.importorskip("flint")
    from optbench.critical.arithmetic.arb import arb_point, ball

    apply, form = BALLS[name]
    edge = form.least if mpmath.isfinite(form.least) else 0.0
    for low, high in ((edge - 0.5, edge + 1.0), (edge, edge), (edge, edge + 1.0)):
        found = apply(arb_point([ball(float(low), float(high))])[0])
        assert not found.hess[0][0].is_finite()
        if name in ("abs", "relu"):
            least, most = ends_of(found.grad[0])  # Clarke: every slope between those on both sides
            assert (-1.000001 if name == "abs" else -0.000001) <= least <= (-1 if name == "abs" else 0)
            assert 1 <= most <= 1.000001
            if name == "relu":
                assert ends_of(found.value) == (pytest.approx(0.0, abs=1e-8), pytest.approx(float(high), abs=1e-8))
        else:
            assert not found.grad[0].is_finite()
    if mpmath.isfinite(form.least):
        assert not apply(arb_point([ball(float(edge) - 2.0, float(edge) - 1.0)])[0]).value.is_finite()


def test_a_ball_that_is_0_and_a_slope_that_is_unknown_give_nothing() -> None:
    """sqrt(x^2) has no derivative at 0, although that of x^2 is 0 there; by y, on which it does not depend, it is 0."""
    pytest.importorskip("flint")
    from optbench.critical.arithmetic.arb import arb_point, ball

    x, y = arb_point([ball(0.0, 0.0), ball(1.0, 2.0)])
    kink: Any = x.apply("square").apply("sqrt")
    assert not kink.grad[0].is_finite()
    assert ends_of(kink.grad[1]) == (0, 0)
    both: Any = kink.plus(y.apply("square")).times(y)
    assert not both.grad[0].is_finite()
    assert both.grad[1].is_finite()
    assert both.hess[1][1].is_finite()


@pytest.mark.parametrize("name", STEPS)
def test_jets_of_balls_hold_exact_taylor_arithmetic(name: str) -> None:
    flint = pytest.importorskip("flint")
    from optbench.critical.arithmetic.arb import ArbJet, ball

    rng = np.random.default_rng(24)

    def member(low: float, high: float) -> Fraction:
        return Fraction(low) + (Fraction(high) - Fraction(low)) * int(rng.integers(0, 3)) / 2

    def number(zero: bool) -> tuple[Any, Fraction]:
        if zero and rng.random() < 0.3:
            return flint.arb(0), Fraction(0)
        low, high = sorted(rng.choice(ORDINARY, 2)) if rng.random() < 0.3 else [float(rng.choice(ORDINARY))] * 2
        return ball(float(low), float(high)), member(float(low), float(high))

    def jet() -> tuple[Any, Exact]:
        value, grad = number(False), [number(True) for _ in range(DIM)]
        hess: list[list[Any]] = [[None] * DIM for _ in range(DIM)]
        for i, j in zip(*np.triu_indices(DIM), strict=True):
            hess[i][j] = hess[j][i] = number(True)
        balls = ArbJet(value[0], [g[0] for g in grad], [[h[0] for h in row] for row in hess])
        return balls, Exact(value[1], [g[1] for g in grad], [[h[1] for h in row] for row in hess])

    held = 0
    with mpmath.workdps(400):
        for _ in range(40):
            (a, exact_a), (b, exact_b) = jet(), jet()
            try:
                truth = STEPS[name](exact_a, exact_b)
            except ZeroDivisionError:
                continue
            found = STEPS[name](a, b)
            pairs = [(found.value, truth.value), *zip(found.grad, truth.grad, strict=True)]
            pairs += [(found.hess[i][j], truth.hess[i][j]) for i in range(DIM) for j in range(DIM)]
            for number_found, exact in pairs:
                assert holds(number_found, mpf(exact.numerator) / mpf(exact.denominator)), name
                held += bool(number_found.is_finite())
    assert held > 300
