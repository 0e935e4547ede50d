"""Reflections that a family keeps, seen in its own code: f(..., 2c - x_i, ...; a) = f(..., x_i, ...; a) for all a.

The surface's program is run on values that know only this: whether they stay the same under the reflection, or are a
known constant plus something that changes sign. Whatever else happens to them is unknown, and then nothing is claimed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from math import isfinite
from typing import Self

from optbench.critical.programs.program import Program
from optbench.critical.programs.scalar import Scalar

ODD = ("sin", "tan", "tanh", "sinh", "atan")
EVEN = ("cos", "cosh", "abs", "square")


class Mirrored(Scalar):
    """How a value behaves under the reflection.

    Attributes:
        kind: "number" (a constant), "same", "odd" (a constant plus something that changes sign) or "unknown".
        center: that constant; 0 for the other kinds.
    """

    __slots__ = ("center", "kind")

    def __init__(self, kind: str, center: Fraction = Fraction(0)) -> None:
        self.kind, self.center = kind, center

    def constant(self, c: float) -> Self:
        return type(self)("number", Fraction(c)) if isfinite(c) else type(self)("unknown")

    def plus(self, other: Self) -> Self:
        for a, b in ((self, other), (other, self)):
            if a.kind == "number":
                return self._new(b.kind, a.center + b.center)
        return self._new(self.kind if self.kind == other.kind else "unknown", self.center + other.center)

    def times(self, other: Self) -> Self:
        for a, b in ((self, other), (other, self)):
            if a.kind == "number":
                return self._new(b.kind, a.center * b.center)
        if self._changes() and other._changes():
            return self._new("same")
        if self.kind == other.kind == "same":
            return self._new("same")
        mixed = {self.kind, other.kind} == {"same", "odd"} and not (self.center or other.center)
        return self._new("odd" if mixed else "unknown")

    def maximum(self, other: Self) -> Self:
        return self._new("same" if self.stays() and other.stays() else "unknown")

    def where(self, positive: Self, other: Self, meet: int) -> Self:
        return self._new("same" if self.stays() and positive.stays() and other.stays() else "unknown")

    def shift(self, c: float) -> Self:
        return self.plus(self.constant(c))

    def scale(self, c: float) -> Self:
        return self.times(self.constant(c))

    def over(self, c: float) -> Self:
        return self._new(self.kind, self.center / Fraction(c)) if c else self._new("unknown")

    def apply(self, name: str) -> Self:
        if self.stays() or (self._changes() and name in EVEN):
            return self._new("same")
        return self._new("odd" if self._changes() and (name in ODD or name == "reciprocal") else "unknown")

    def power(self, n: int) -> Self:
        if self.stays() or n == 0 or (self._changes() and n % 2 == 0):
            return self._new("same")
        return self._new("odd" if self._changes() else "unknown")

    def real_power(self, p: float) -> Self:
        return self._new("same" if self.stays() else "unknown")

    def stays(self) -> bool:
        """Whether the reflection does not change it."""
        return self.kind in ("number", "same")

    def _changes(self) -> bool:
        return self.kind == "odd" and not self.center

    def _new(self, kind: str, center: Fraction = Fraction(0)) -> Self:
        return type(self)(kind, center if kind in ("number", "odd") else Fraction(0))


def reflections(program: Program, center: Sequence[Fraction], i: int) -> tuple[int, ...]:
    """A set of coordinates, i among them, whose reflection about the centre leaves f(x, a) the same for all a.

    Args:
        program: of f(x, a), the parameter as the last coordinate.
        center: of the reflection, one number a coordinate of x.
        i: the coordinate that must change.

    Returns:
        The smallest such set that is found; empty if none is.
    """
    others = [j for j in range(len(center)) if j != i]
    for size in range(len(others) + 1):
        for more in itertools.combinations(others, size):
            flipped = tuple(sorted((i, *more)))
            x = [Mirrored("odd", c) if j in flipped else Mirrored("same") for j, c in enumerate(center)]
            if program.value([*x, Mirrored("same")]).stays():
                return flipped
    return ()
