"""Power series in several variables, cut off at a total degree: the arithmetic behind multiplicities and folds.

    x = coordinates(center, order, Exact())      center: fractions; f(x) has the exact Taylor coefficients of f there
    x = coordinates(box, order, Enclosed())      box: intervals; coefficient by coefficient the range over the box

A series is a sparse polynomial in the offsets from the centre. It is a `Scalar`, so a surface's program runs on it.
Over a box every coefficient encloses that of the expansion at *each* point of the box, which is what the remainder of
Taylor's formula and the derivatives along a curve ask for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from optbench.critical.arithmetic.elementary_series import (
    Exact,
    Inexact,
    Number,
    Numbers,
    coefficients,
    power_coefficients,
)
from optbench.critical.programs.program import Program
from optbench.critical.programs.scalar import Scalar

Exponents = tuple[int, ...]


class PowerSeries(Scalar):
    """A truncated power series.

    Attributes:
        terms: coefficient by exponents; what is not there is exactly 0.
        dim: number of variables.
        order: highest total degree that is kept.
        numbers: the number system of the coefficients.
        whole: nothing was cut off: the function is this polynomial. Known in exact arithmetic only.
    """

    __slots__ = ("dim", "numbers", "order", "terms", "whole")

    def __init__(
        self, terms: Mapping[Exponents, Number], dim: int, order: int, numbers: Numbers, whole: bool = False
    ) -> None:
        self.terms, self.dim, self.order, self.numbers, self.whole = dict(terms), dim, order, numbers, whole

    def constant(self, c: float) -> Self:
        return self._new({self._zero(): self.numbers.lift(c)}, isinstance(self.numbers, Exact))

    def maximum(self, other: Self) -> Self:
        return self.plus(other.scale(-1.0)).where(self, other, 0)

    def where(self, positive: Self, other: Self, meet: int) -> Self:
        sign = self.numbers.sign(self.center)
        if sign == 0:
            raise Inexact("a place where pieces of the surface meet")
        if not all(map(self.numbers.is_known, (*self.terms.values(), *positive.terms.values(), *other.terms.values()))):
            raise Inexact("a piece of the surface that may be undefined")
        found = positive if sign > 0 else other
        return self._new(found.terms, False)

    def plus(self, other: Self) -> Self:
        terms = dict(self.terms)
        for key, value in other.terms.items():
            terms[key] = terms[key] + value if key in terms else value
        return self._new(terms, self.whole and other.whole)

    def times(self, other: Self) -> Self:
        terms: dict[Exponents, Number] = {}
        whole = self.whole and other.whole
        for p, a in self.terms.items():
            for q, b in other.terms.items():
                key = tuple(i + j for i, j in zip(p, q, strict=True))
                if sum(key) > self.order:
                    whole = False
                    continue
                value = a * b
                terms[key] = terms[key] + value if key in terms else value
        return self._new(terms, whole)

    def shift(self, c: float) -> Self:
        return self._shifted(self.numbers.lift(c))

    def scale(self, c: float) -> Self:
        factor = self.numbers.lift(c)
        return self._new({key: value * factor for key, value in self.terms.items()}, self.whole)

    def over(self, c: float) -> Self:
        if c == 0.0:
            raise Inexact("a division by 0")
        divisor = self.numbers.lift(c)
        return self._new({key: value / divisor for key, value in self.terms.items()}, self.whole)

    def apply(self, name: str) -> Self:
        if name == "square":
            return self.times(self)
        return self._through(coefficients(name, self.center, self.order, self.numbers), False)

    def power(self, n: int) -> Self:
        if n == 0:
            return self._new({self._zero(): self.numbers.lift(1.0)}, True)
        return self._through(power_coefficients(n, self.center, self.order, self.numbers), n > 0)

    def real_power(self, p: float) -> Self:
        return self._through(power_coefficients(p, self.center, self.order, self.numbers), False)

    @property
    def center(self) -> Number:
        """The value at the centre."""
        return self.terms.get(self._zero(), self.numbers.lift(0.0))

    def derivative(self, i: int) -> Self:
        """The derivative by coordinate i, of an order one lower."""
        terms = {}
        for key, value in self.terms.items():
            if key[i]:
                terms[(*key[:i], key[i] - 1, *key[i + 1 :])] = value * key[i]
        return type(self)(terms, self.dim, self.order - 1, self.numbers, self.whole)

    def _shifted(self, c: Number) -> Self:
        return self._new({**self.terms, self._zero(): self.center + c}, self.whole)

    def _through(self, outer: list[Number], polynomial: bool) -> Self:
        """outer[0] + outer[1] (u - u0) + ... by Horner's rule; `polynomial`: outer is the whole function."""
        inner = self._new({key: value for key, value in self.terms.items() if any(key)}, self.whole)
        found = self._new({self._zero(): outer[-1]}, polynomial or not inner.terms)
        for c in reversed(outer[:-1]):
            found = found.times(inner)._shifted(c)
        return found

    def _zero(self) -> Exponents:
        return (0,) * self.dim

    def _new(self, terms: Mapping[Exponents, Number], whole: bool) -> Self:
        kept = {key: value for key, value in terms.items() if not self.numbers.is_zero(value)}
        return type(self)(kept, self.dim, self.order, self.numbers, whole)


def coordinates(center: Sequence[Number], order: int, numbers: Numbers) -> list[PowerSeries]:
    """The point x itself: center + offsets.

    Args:
        center: a number a coordinate.
        order: total degree to keep.
        numbers: their number system.
    """
    d = len(center)
    unit = [tuple(int(i == j) for j in range(d)) for i in range(d)]
    return [
        PowerSeries({(0,) * d: value, unit[i]: numbers.lift(1.0)}, d, order, numbers, isinstance(numbers, Exact))
        for i, value in enumerate(center)
    ]


def series_of(program: Program, x: Sequence[PowerSeries]) -> PowerSeries:
    """What the surface's program makes of the coordinates.

    Raises:
        Inexact: a coefficient is not known in this number system, or the surface is not analytic there.
    """
    try:
        found: PowerSeries = program.value(x)
    except ArithmeticError as error:  # a constant that is not finite, a division by 0
        raise Inexact(str(error)) from error
    return found
