"""Batches of intervals: a surface's program, run on them, encloses its range.

    x = [Interval.between(low[:, i], high[:, i]) for i in range(dim)]
    program.value(x).low, program.value(x).high

Where pieces meet or values are compared, the program is assumed to be defined all over the box; jets keep track of
where it may not be. Arithmetic and rounding are those of `ends`; call within `numpy.errstate(all="ignore")`.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.ends import Array
from optbench.critical.arithmetic.functions import RULES, Rule, power_rule, real_power_rule
from optbench.critical.programs.scalar import JUMPS, Scalar


class Interval(Scalar):
    """A batch of intervals.

    Attributes:
        ends: (2, n) as in `ends`: negated lower ends, upper ends.
    """

    __slots__ = ("ends",)

    def __init__(self, values: Array) -> None:
        self.ends = values

    @classmethod
    def between(cls, low: Array, high: Array) -> Self:
        """Intervals from their natural ends, (n,) each."""
        return cls(ends.between(low, high))

    @property
    def low(self) -> Array:
        """Lower ends, (n,)."""
        return ends.lower(self.ends)

    @property
    def high(self) -> Array:
        """Upper ends, (n,)."""
        return np.asarray(self.ends[1])

    def constant(self, c: float) -> Self:
        return type(self)(ends.constant(c))

    def plus(self, other: Self) -> Self:
        return type(self)(ends.add(self.ends, other.ends))

    def times(self, other: Self) -> Self:
        return type(self)(ends.multiply(self.ends, other.ends))

    def maximum(self, other: Self) -> Self:
        return type(self)(ends.maximum(self.ends, other.ends))

    def where(self, positive: Self, other: Self, meet: int) -> Self:
        above, below, jumps = self.ends[0] < 0, self.ends[1] <= 0, np.full(1, meet == JUMPS)
        return type(self)(ends.where(above, positive.ends, below, other.ends, jumps))

    def shift(self, c: float) -> Self:
        return type(self)(ends.shift(self.ends, c))

    def scale(self, c: float) -> Self:
        return type(self)(ends.scale(self.ends, c))

    def over(self, c: float) -> Self:
        return type(self)(ends.divide(self.ends, c))

    def apply(self, name: str) -> Self:
        return self._through(RULES[name])

    def power(self, n: int) -> Self:
        return self._through(power_rule(n))

    def real_power(self, p: float) -> Self:
        return self._through(real_power_rule(p))

    def _through(self, rule: Rule) -> Self:
        return type(self)(rule(self.ends, 0)[0])

    # operators, for formulas that are written once for intervals and fractions

    def __add__(self, other: Self | int) -> Self:
        return self.shift(float(other)) if isinstance(other, int) else self.plus(other)

    __radd__ = __add__

    def __mul__(self, other: Self | int) -> Self:
        return self.scale(float(other)) if isinstance(other, int) else self.times(other)

    __rmul__ = __mul__

    def __neg__(self) -> Self:
        return self.scale(-1.0)

    def __sub__(self, other: Self | int) -> Self:
        return self + (-other)

    def __rsub__(self, other: int) -> Self:
        return -self + other

    def __truediv__(self, other: Self | int) -> Self:
        return self.over(float(other)) if isinstance(other, int) else self.times(other.apply("reciprocal"))

    def __rtruediv__(self, other: int) -> Self:
        return self.apply("reciprocal") * other
