"""First-order jets in exact rational arithmetic: a gradient without any rounding, where it is a rational number.

Intervals cannot tell 0 from a very small number; fractions can. A number that is not rational (sin 1), or not looked
at, is unknown: None stands for some finite real, so that None times 0 is 0. This is what proves that a critical point
lies *on* the edge of a box, neither inside nor outside of it: x^2 cos(y) has slope 0 along x wherever x = 0.

The caller must know that the surface has finite derivatives at the point in question.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isfinite, isqrt
from typing import Self

import numpy as np

from optbench.critical.programs.program import Program
from optbench.critical.programs.scalar import Scalar

Number = Fraction | None
MOST_BITS = 20_000  # of a number: what is longer counts as unknown, so that high powers do not take minutes
HALF = Fraction(1, 2)
SPECIAL: dict[str, tuple[Fraction, Number, Number]] = {  # function: argument, value and slope there
    "asinh": (Fraction(0), Fraction(0), Fraction(1)),
    "atan": (Fraction(0), Fraction(0), Fraction(1)),
    "cos": (Fraction(0), Fraction(1), Fraction(0)),
    "cosh": (Fraction(0), Fraction(1), Fraction(0)),
    "exp": (Fraction(0), Fraction(1), Fraction(1)),
    "expm1": (Fraction(0), Fraction(0), Fraction(1)),
    "log": (Fraction(1), Fraction(0), Fraction(1)),
    "log1p": (Fraction(0), Fraction(0), Fraction(1)),
    "log1pexp": (Fraction(0), None, HALF),
    "sigmoid": (Fraction(0), HALF, Fraction(1, 4)),
    "sin": (Fraction(0), Fraction(0), Fraction(1)),
    "sinh": (Fraction(0), Fraction(0), Fraction(1)),
    "tan": (Fraction(0), Fraction(0), Fraction(1)),
    "tanh": (Fraction(0), Fraction(0), Fraction(1)),
}


class ExactJet(Scalar):
    """Value and gradient, each a fraction or unknown.

    Attributes:
        value: of the expression.
        grad: one slope a coordinate.
    """

    __slots__ = ("grad", "value")

    def __init__(self, value: Number, grad: tuple[Number, ...]) -> None:
        self.value, self.grad = _short(value), tuple(map(_short, grad))

    def constant(self, c: float) -> Self:
        return type(self)(_number(c), (Fraction(0),) * len(self.grad))

    def maximum(self, other: Self) -> Self:
        return self.plus(other.scale(-1.0)).where(self, other, 0)

    def where(self, positive: Self, other: Self, meet: int) -> Self:
        if self.value is None or self.value == 0:
            return self._through(None, None).plus(positive._through(None, None)).plus(other._through(None, None))
        return positive if self.value > 0 else other

    def plus(self, other: Self) -> Self:
        grad = tuple(_add(a, b) for a, b in zip(self.grad, other.grad, strict=True))
        return type(self)(_add(self.value, other.value), grad)

    def times(self, other: Self) -> Self:
        u, v = self, other
        grad = tuple(_add(_mul(u.value, b), _mul(v.value, a)) for a, b in zip(u.grad, v.grad, strict=True))
        return type(self)(_mul(u.value, v.value), grad)

    def shift(self, c: float) -> Self:
        return type(self)(_add(self.value, _number(c)), self.grad)

    def scale(self, c: float) -> Self:
        return self._through(_mul(self.value, _number(c)), _number(c))

    def over(self, c: float) -> Self:
        inverse = None if c == 0 or not isfinite(c) else 1 / Fraction(c)
        return self._through(_mul(self.value, inverse), inverse)

    def power(self, n: int) -> Self:
        if n == 0:
            return self._through(Fraction(1), Fraction(0))
        x = self.value
        if x is None or (n < 0 and x == 0) or abs(n) * _bits(x) > MOST_BITS:
            return self._through(None, None)
        return self._through(x**n, n * x ** (n - 1))

    def real_power(self, p: float) -> Self:
        return self._through(Fraction(1), Fraction(p)) if self.value == 1 else self._through(None, None)

    def apply(self, name: str) -> Self:
        return self._through(*_elementary(name, self.value))

    def _through(self, value: Number, slope: Number) -> Self:
        """Chain rule."""
        return type(self)(value, tuple(_mul(slope, g) for g in self.grad))


def exact_gradient(program: Program, x: Sequence[Number]) -> tuple[Number, ...]:
    """The gradient of a surface at x: of each component its value, or None where it is not known exactly.

    Args:
        program: of the surface, (..., d) -> (...).
        x: d coordinates; None: any value, and what is found holds for every one at which derivatives are finite.
    """
    unit = [tuple(Fraction(int(i == k)) for k in range(len(x))) for i in range(len(x))]
    found: ExactJet = program.value([ExactJet(v, row) for v, row in zip(x, unit, strict=True)])
    return found.grad


def simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of smallest denominator in [low, high] (the path down the Stern-Brocot tree)."""
    whole = -(-low.numerator // low.denominator)
    if low <= 0 <= high:
        return Fraction(0)
    if high < 0:
        return -simplest_between(-high, -low)
    if whole <= high:
        return Fraction(whole)
    return whole - 1 + 1 / simplest_between(1 / (high - whole + 1), 1 / (low - whole + 1))


def below(value: Fraction) -> float:
    """The largest double that is not above."""
    near = float(value)
    return near if Fraction(near) <= value else float(np.nextafter(near, -np.inf))


def above(value: Fraction) -> float:
    """The smallest double that is not below."""
    return -below(-value) + 0.0


def _elementary(name: str, x: Number) -> tuple[Number, Number]:
    """Value and slope of an elementary function."""
    if x is None:
        return None, None
    if name == "square":
        return x * x, 2 * x
    if name == "reciprocal" and x != 0:
        return 1 / x, -1 / (x * x)
    if name in ("abs", "relu") and x != 0:
        slope = Fraction(1 if x > 0 else -1 if name == "abs" else 0)
        return slope * x, slope
    if name == "sqrt" and x > 0:
        root = Fraction(isqrt(x.numerator), isqrt(x.denominator))
        return (root, 1 / (2 * root)) if root * root == x else (None, None)
    if name in SPECIAL and SPECIAL[name][0] == x:
        return SPECIAL[name][1:]
    return None, None


def _number(c: float) -> Number:
    return Fraction(c) if isfinite(c) else None


def _add(a: Number, b: Number) -> Number:
    return None if a is None or b is None else a + b


def _mul(a: Number, b: Number) -> Number:
    if a == 0 or b == 0:
        return Fraction(0)
    return None if a is None or b is None else a * b


def _bits(a: Fraction) -> int:
    return max(a.numerator.bit_length(), a.denominator.bit_length())


def _short(a: Number) -> Number:
    return None if a is not None and _bits(a) > MOST_BITS else a
