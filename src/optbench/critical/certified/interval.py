"""Batches of intervals that behave like tensors: plain torch code, run on them, encloses its own range.

    x = Columns([Interval.between(low[:, i], high[:, i]) for i in range(dim)])
    f(x).low, f(x).high       for any f made of the operations in `traced.OPERATIONS`

Arithmetic and rounding are those of `ends`; call within `numpy.errstate(all="ignore")`.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from optbench.critical.certified import ends
from optbench.critical.certified.ends import Array
from optbench.critical.certified.functions import RULES, Rule, power_rule, real_power_rule
from optbench.critical.certified.traced import Scalar


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

    def plus(self, other: Self) -> Self:
        return type(self)(ends.add(self.ends, other.ends))

    def times(self, other: Self) -> Self:
        return type(self)(ends.multiply(self.ends, other.ends))

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
