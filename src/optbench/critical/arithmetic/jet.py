"""Intervals that carry their gradient and Hessian: second-order Taylor arithmetic over batches of boxes.

A jet knows on which coordinates it depends and carries derivatives by those alone: a term of Rosenbrock's chain has
three second derivatives in any dimension. The Hessian is kept as its upper triangle, row by row. A Hessian of `None` is
exactly 0 (a linear expression). Derivatives that do not depend on the box keep a batch axis of length 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Self

import numpy as np
import numpy.typing as npt

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.ends import Array, Mask
from optbench.critical.arithmetic.functions import ACROSS, GAPS, RULES, Rule, power_gaps, power_rule, real_power_rule
from optbench.critical.programs.scalar import CONTINUOUS, JUMPS, Scalar

Index = npt.NDArray[np.intp]
Gaps = npt.NDArray[np.bool_] | None


@cache
def pairs(k: int) -> tuple[Index, Index]:
    """Rows and columns of the upper triangle of a k x k matrix, row by row."""
    rows, columns = np.triu_indices(k)
    return rows, columns


@cache
def _places(small: tuple[int, ...], large: tuple[int, ...]) -> tuple[Index, Index]:
    """Where the coordinates `small` and their pairs stand among those of `large`, which contains them."""
    at = np.array([large.index(v) for v in small], dtype=np.intp)
    rows, columns = pairs(len(small))
    table = np.zeros((len(large), len(large)), dtype=np.intp)
    table[pairs(len(large))] = np.arange(len(pairs(len(large))[0]))
    return at, table[at[rows], at[columns]]


class Jet(Scalar):
    """A batch of interval jets.

    Attributes:
        value: (2, n) ends of the value.
        grad: (2, k, n or 1) ends of the derivatives by the k coordinates in `coordinates`; empty for order 0.
        hess: (2, k (k + 1) / 2, n or 1) ends of the second derivatives; None where all are 0, and for order < 2.
        coordinates: rising numbers of the coordinates on which it depends.
        order: highest derivative carried, 0 to 2.
        gaps: (2, n) where it may not be a finite number at some point of the box, and where it is NaN at all of them;
            None where it is finite all over every box.
    """

    __slots__ = ("coordinates", "gaps", "grad", "hess", "order", "value")

    def __init__(
        self,
        value: Array,
        coordinates: tuple[int, ...],
        grad: Array,
        hess: Array | None = None,
        order: int = 2,
        gaps: Gaps = None,
    ) -> None:
        self.value, self.coordinates, self.grad, self.hess, self.order = value, coordinates, grad, hess, order
        self.gaps = gaps

    def constant(self, c: float) -> Self:
        return type(self)(ends.constant(c), (), np.zeros((2, 0, 1)), None, self.order)

    def plus(self, other: Self) -> Self:
        value, gaps = ends.add(self.value, other.value), _either(self.gaps, other.gaps)
        if not self.order:
            return self._new(value, self.grad, None, gaps=gaps)
        a, b, union = _joined(self, other)
        hess = b.hess if a.hess is None else a.hess if b.hess is None else ends.add(a.hess, b.hess)
        return self._new(value, ends.add(a.grad, b.grad), hess, union, gaps)

    def times(self, other: Self) -> Self:
        value, gaps = ends.multiply(self.value, other.value), _either(self.gaps, other.gaps)
        if not self.order:
            return self._new(value, self.grad, None, gaps=gaps)
        a, b, union = _joined(self, other)
        u, v = self.value[:, None], other.value[:, None]
        grad = ends.add(ends.multiply(u, b.grad), ends.multiply(v, a.grad))
        if self.order < 2:
            return self._new(value, grad, None, union, gaps)
        i, j = pairs(len(union))
        hess = ends.add(ends.multiply(a.grad[:, i], b.grad[:, j]), ends.multiply(a.grad[:, j], b.grad[:, i]))
        for factor, part in ((u, b.hess), (v, a.hess)):
            if part is not None:
                hess = ends.add(hess, ends.multiply(factor, part))
        return self._new(value, grad, hess, union, gaps)

    def maximum(self, other: Self) -> Self:
        a, b = self.value, other.value
        found = self._pieces(ends.maximum(a, b), -a[0] > b[1], other, -b[0] > a[1], CONTINUOUS, ())
        found.gaps = _either(self.gaps, other.gaps)
        if found.gaps is not None and found.order > 1:  # it is NaN where the smaller one is: nothing exists there
            none = np.zeros((2, len(pairs(len(found.coordinates))[0]), 1)) if found.hess is None else found.hess
            found.hess = np.where(found.gaps[0], np.inf, none)
        return found

    def where(self, positive: Self, other: Self, meet: int) -> Self:
        c, a, b = self.value, positive.value, other.value
        doubtful = self._doubtful()  # to torch, NaN is not positive
        jumps = doubtful | (meet == JUMPS)
        never = np.zeros(1, dtype=bool) if self.gaps is None else self.gaps[1]
        above, below = (c[0] < 0) & ~doubtful, ((c[1] <= 0) & ~doubtful) | never
        value = ends.where(above, a, below, b, jumps)
        found = positive._pieces(value, above, other, below & ((c[1] < 0) | never), meet, self.coordinates, jumps)
        if positive.gaps is not None or other.gaps is not None:
            p, q = positive._all_gaps(), other._all_gaps()
            found.gaps = np.where(above, p, np.where(below, q, np.stack([p[0] | q[0], p[1] & q[1]])))
        return found

    def _doubtful(self) -> Mask:
        """Where it may not be a finite number, (n or 1,)."""
        return np.zeros(1, dtype=bool) if self.gaps is None else self.gaps[0]

    def _all_gaps(self) -> npt.NDArray[np.bool_]:
        return np.zeros((2, 1), dtype=bool) if self.gaps is None else self.gaps

    def _pieces(
        self,
        value: Array,
        first: Mask,
        other: Self,
        second: Mask,
        meet: int,
        more: tuple[int, ...],
        jumps: Mask | bool = False,
    ) -> Self:
        """Self where `first`, else other where `second`, else what can be said of two functions that meet.

        Args:
            value: of the result.
            first: (n or 1,).
            other: the other function.
            second: (n or 1,).
            meet: what is known where they meet.
            more: coordinates on which the place where they meet depends.
            jumps: where there may be a jump: nothing is known unless both are the same number.
        """
        if not self.order:
            return self._new(value, self.grad, None)
        a, b, union = _joined(self, other, more)
        smooth = ends.same_number(self.value, other.value) | ~np.asarray(jumps)
        grad = ends.pick(first, a.grad, second, b.grad, smooth)
        if self.order < 2:
            return self._new(value, grad, None, union)
        none = np.zeros((2, len(pairs(len(union))[0]), 1))
        hess = [none if part.hess is None else part.hess for part in (a, b)]
        bent = smooth if meet != CONTINUOUS else smooth & False
        return self._new(value, grad, ends.pick(first, hess[0], second, hess[1], bent), union)

    def shift(self, c: float) -> Self:
        return self._new(ends.shift(self.value, c), self.grad, self.hess)

    def scale(self, c: float) -> Self:
        hess = None if self.hess is None else ends.scale(self.hess, c)
        return self._new(ends.scale(self.value, c), ends.scale(self.grad, c), hess)

    def over(self, c: float) -> Self:
        hess = None if self.hess is None else ends.divide(self.hess, c)
        found = self._new(ends.divide(self.value, c), ends.divide(self.grad, c), hess)
        return found._with_gaps(_everywhere if c == 0 else None, self.value)

    def apply(self, name: str) -> Self:
        return self._through(ACROSS.get(name, RULES[name]))._with_gaps(GAPS.get(name), self.value)

    def power(self, n: int) -> Self:
        found = self._through(power_rule(n))._with_gaps(power_gaps(n), self.value)
        if n == 0:
            found.gaps = None  # NaN**0 is 1
        return found

    def real_power(self, p: float) -> Self:
        return self._through(real_power_rule(p))._with_gaps(power_gaps(p), self.value)

    def _with_gaps(self, gaps_of: Callable[[Array], tuple[Mask, Mask]] | None, argument: Array) -> Self:
        """Self, with the gaps that a function has over the ranges of its argument."""
        if gaps_of is not None:
            gaps = np.stack(gaps_of(argument))
            if gaps.any():
                self.gaps = _either(self.gaps, gaps)
        return self

    def _through(self, rule: Rule) -> Self:
        """Chain rule."""
        value, *slopes = rule(self.value, self.order)
        if not slopes:
            return self._new(value, self.grad, None)
        first = slopes[0][:, None]
        grad = ends.multiply(first, self.grad)
        if self.order < 2:
            return self._new(value, grad, None)
        hess = ends.multiply(slopes[1][:, None], _outer_square(self.grad, len(self.coordinates)))
        if self.hess is not None:
            hess = ends.add(hess, ends.multiply(first, self.hess))
        return self._new(value, grad, hess)

    def _new(
        self,
        value: Array,
        grad: Array,
        hess: Array | None,
        coordinates: tuple[int, ...] | None = None,
        gaps: Gaps = None,
    ) -> Self:
        coordinates = self.coordinates if coordinates is None else coordinates
        return type(self)(value, coordinates, grad, hess, self.order, self.gaps if gaps is None else gaps)


def _either(a: Gaps, b: Gaps) -> Gaps:
    """Gaps of a result that needs both."""
    return b if a is None else a if b is None else a | b


def _everywhere(a: Array) -> tuple[Mask, Mask]:
    """Gaps of a division by 0: infinite, or NaN."""
    return np.ones(a.shape[1:], dtype=bool), np.zeros(a.shape[1:], dtype=bool)


def coordinates_of_boxes(low: Array, high: Array, order: int) -> list[Jet]:
    """The point x itself over boxes: the jets of its coordinates.

    Args:
        low: lower ends, (n, dim).
        high: upper ends, (n, dim).
        order: highest derivative to carry.
    """
    boxes = np.stack([-low.T, high.T])
    one, none = np.array([[[-1.0]], [[1.0]]]), np.zeros((2, 0, 1))
    return [Jet(boxes[:, i], (i,), one if order else none, None, order) for i in range(low.shape[1])]


def _outer_square(grad: Array, k: int) -> Array:
    """Upper triangle of g g^T, with squares on the diagonal."""
    if k == 1:
        return ends.square(grad)
    i, j = pairs(k)
    outer = ends.multiply(grad[:, i], grad[:, j])
    outer[:, i == j] = ends.square(grad)
    return outer


class _Lifted:
    """A jet's derivatives by a larger set of coordinates."""

    __slots__ = ("grad", "hess")

    def __init__(self, jet: Jet, union: tuple[int, ...]) -> None:
        self.grad, self.hess = jet.grad, jet.hess
        if jet.coordinates != union:
            at, pair_at = _places(jet.coordinates, union)
            self.grad = _spread(jet.grad, at, len(union))
            self.hess = None if jet.hess is None else _spread(jet.hess, pair_at, len(pairs(len(union))[0]))


def _joined(a: Jet, b: Jet, more: tuple[int, ...] = ()) -> tuple[_Lifted, _Lifted, tuple[int, ...]]:
    union = a.coordinates
    if more or b.coordinates != union:
        union = tuple(sorted({*a.coordinates, *b.coordinates, *more}))
    return _Lifted(a, union), _Lifted(b, union), union


def _spread(values: Array, at: Index, size: int) -> Array:
    out = np.zeros((2, size, values.shape[2]))
    out[:, at] = values
    return out
