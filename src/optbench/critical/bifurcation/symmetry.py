"""Reflections that a family keeps, seen in its own code: f(..., 2c - x_i, ...; a) = f(..., x_i, ...; a) for all a.

The surface's code is run on values that know only this: whether they stay the same under the reflection, or are a known
constant plus something that changes sign. Whatever else happens to them is unknown, and then nothing is claimed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Self

from optbench.critical.certified.program import trace
from optbench.critical.certified.traced import Columns, MissingRule, Scalar
from optbench.problem import Objective

ODD = ("sin", "tan", "tanh", "sinh", "atan")
EVEN = ("cos", "cosh", "abs", "square")


class Mirrored(Scalar):
    """How a value behaves under the reflection.

    Attributes:
        kind: "same", "odd" (a constant plus something that changes sign) or "unknown".
        constant: that constant; 0 for the other kinds.
    """

    __slots__ = ("constant", "kind")

    def __init__(self, kind: str, constant: Fraction = Fraction(0)) -> None:
        self.kind, self.constant = kind, constant

    def plus(self, other: Self) -> Self:
        return self._new(self.kind if self.kind == other.kind else "unknown", self.constant + other.constant)

    def times(self, other: Self) -> Self:
        if self._changes() and other._changes():
            return self._new("same")
        if self.kind == other.kind == "same":
            return self._new("same")
        mixed = {self.kind, other.kind} == {"same", "odd"} and not (self.constant or other.constant)
        return self._new("odd" if mixed else "unknown")

    def shift(self, c: float) -> Self:
        return self._new(self.kind, self.constant + Fraction(c))

    def scale(self, c: float) -> Self:
        return self._new(self.kind, self.constant * Fraction(c))

    def over(self, c: float) -> Self:
        return self._new(self.kind, self.constant / Fraction(c)) if c else self._new("unknown")

    def apply(self, name: str) -> Self:
        if self.kind == "same" or (self._changes() and name in EVEN):
            return self._new("same")
        return self._new("odd" if self._changes() and (name in ODD or name == "reciprocal") else "unknown")

    def power(self, n: int) -> Self:
        if self.kind == "same" or n == 0 or (self._changes() and n % 2 == 0):
            return self._new("same")
        return self._new("odd" if self._changes() else "unknown")

    def real_power(self, p: float) -> Self:
        return self._new("same" if self.kind == "same" else "unknown")

    def _changes(self) -> bool:
        return self.kind == "odd" and not self.constant

    def _new(self, kind: str, constant: Fraction = Fraction(0)) -> Self:
        return type(self)(kind, constant if kind == "odd" else Fraction(0))


def reflections(objective: Objective, center: Sequence[Fraction], i: int) -> tuple[int, ...]:
    """A set of coordinates, i among them, whose reflection about the centre leaves f(x, a) the same for all a.

    Args:
        objective: f(x, a), the parameter as the last coordinate.
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
            try:
                found = trace(objective, Columns([*x, Mirrored("same")]))
            except MissingRule:
                return ()
            if isinstance(found, Mirrored) and found.kind == "same":
                return flipped
    return ()
