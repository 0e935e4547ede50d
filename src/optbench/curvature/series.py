"""Taylor series in one variable, of intervals, for arrays of any shape: what a network's activations are along a line.

A `Series` holds enclosures of a value and of its first and second derivative by t at one t, as the ends of
`critical.arithmetic.ends`. Elementary functions are those of `critical.arithmetic.functions`. Sums of products (matrix
products, convolutions) are taken as centre and radius and computed in floating point; the error of a sum of n products
in any order is at most gamma = (n + 2) 2^-52 times the sum of the sizes (N. J. Higham, Accuracy and Stability of
Numerical Algorithms, 2002, section 3.5), which is added to the radius.

A derivative of `None` is exactly 0. Where a function has no second derivative (ReLU at 0) it is unbounded. Call within
`numpy.errstate(all="ignore")`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.ends import TINY, Array, center_radius, gamma
from optbench.critical.arithmetic.functions import RULES, Rule
from optbench.curvature.windows import OFF, Index

Part = Array | None
Product = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Series:
    """An array of enclosed Taylor series.

    Attributes:
        parts: ends (2, *shape) of the value, the first and the second derivative, as many as are carried.
        twins: whole numbers (n, *positions) for a shape (n, channels, *positions): where two are equal, all channels
            are the same functions of t at both positions, to second order at least, because they are the same function
            of the same inputs; None where nothing is known of that. A picture has many equal patches, and between
            equal functions a maximum has no kink.
    """

    parts: tuple[Part, ...]
    twins: Index | None = None

    @property
    def value(self) -> Array:
        """Ends of the value, (2, *shape)."""
        assert self.parts[0] is not None
        return self.parts[0]

    @property
    def order(self) -> int:
        """Highest derivative carried."""
        return len(self.parts) - 1

    def map(self, function: Callable[[Array], Array]) -> Series:
        """A linear function on every part: exact, or rounding by itself; number by number where it keeps the shape."""
        parts = tuple(None if p is None else function(p) for p in self.parts)
        assert parts[0] is not None
        return Series(parts, self.twins if parts[0].shape == self.value.shape else None)

    def full(self, shape: tuple[int, ...]) -> Series:
        """All parts that are there in one shape, to which theirs broadcast."""

        def spread(p: Array) -> Array:
            missing = len(shape) + 1 - p.ndim
            return np.broadcast_to(p.reshape(2, *[1] * missing, *p.shape[1:]), (2, *shape))

        return self.map(spread)

    def known(self) -> npt.NDArray[np.bool_]:
        """Where all parts are finite, or the value is -inf exactly; broadcasts to the shape."""
        found = np.isfinite(self.value).all(axis=0) | (self.value[1] == -np.inf)
        for part in self.parts[1:]:
            found = found if part is None else found & np.isfinite(part).all(axis=0)
        return np.asarray(found)


def constant(values: Array, order: int) -> Series:
    """Numbers (*shape) that do not depend on t."""
    return Series((ends.between(values, values), *[None] * order))


def line(start: Array, direction: Array, order: int) -> Series:
    """start + t direction at t = 0; both are exact."""
    return Series((ends.between(start, start), ends.between(direction, direction), None)[: order + 1])


def plus(a: Series, b: Series) -> Series:
    """a + b."""
    return Series(tuple(_sum(p, q) for p, q in zip(a.parts, b.parts, strict=True)))


def _sum(p: Part, q: Part) -> Part:
    return q if p is None else p if q is None else ends.add(p, q)


def bilinear(product: Callable[[Array, Array], Array], a: Series, b: Series) -> Series:
    """Leibniz's rule for a bilinear product of ends."""
    found: list[Part] = []
    for k in range(a.order + 1):
        total: Part = None
        for i in range(k + 1):
            p, q = a.parts[i], b.parts[k - i]
            if p is not None and q is not None:
                total = _sum(total, ends.scale(product(p, q), float(math.comb(k, i))))
        found.append(total)
    return Series(tuple(found))


def times(a: Series, b: Series) -> Series:
    """a b, number by number."""
    return bilinear(ends.multiply, a, b)


def through(a: Series, rule: Rule) -> Series:
    """f(a) by the chain rule, for a rule of `arithmetic.functions`."""
    slopes = [_shaped(s, a.value) for s in rule(a.value.reshape(2, -1), a.order)]
    found: list[Part] = [slopes[0]]
    if a.order > 0:
        first = a.parts[1]
        found.append(None if first is None else ends.multiply(slopes[1], first))
    if a.order > 1:
        first, second = a.parts[1:]
        bend = None if first is None else ends.multiply(slopes[2], ends.square(first))
        found.append(_sum(bend, None if second is None else ends.multiply(slopes[1], second)))
    return Series(tuple(found), a.twins)


def _shaped(flat: Array, like: Array) -> Array:
    """What a rule returns for a flat array, in the shape of `like`; constants keep axes of length 1."""
    return flat.reshape(like.shape if flat.shape[1] == like[0].size else (2, *[1] * (like.ndim - 1)))


def relu(a: Series) -> Series:
    """max(a, 0): 0 with all its derivatives where a < 0 is proved, or where a is exactly 0 to second order.

    Two functions that agree to second order have a maximum that agrees with both to second order.
    """
    found = through(a, RULES["relu"])
    zero = (a.value[1] < 0) | _exactly_zero(a)
    found = found.map(lambda p: np.where(zero, 0.0, p))
    if found.twins is None:
        return found
    return replace(found, twins=np.where(np.broadcast_to(zero, a.value.shape[1:]).all(axis=1), OFF, found.twins))


def _exactly_zero(a: Series) -> npt.NDArray[np.bool_]:
    found = np.ones((), dtype=bool)
    for part in a.parts:
        if part is not None:
            found = found & (part == 0).all(axis=0)
    return found


def total(a: Series, axes: tuple[int, ...], keep: bool = False) -> Series:
    """Sum over axes of the shape."""
    shifted = tuple(axis + 1 if axis >= 0 else axis for axis in axes)
    return a.map(lambda p: _total(p, shifted, keep))


def _total(p: Array, axes: tuple[int, ...], keep: bool) -> Array:
    n = math.prod(p.shape[axis] for axis in axes)
    size = np.abs(p).sum(axis=axes, keepdims=keep) * (1.0 + 8.0 * gamma(n))
    return ends.round_up(p.sum(axis=axes, keepdims=keep) + gamma(n) * size)


def greatest(a: Series, twins: Index | None = None) -> Series:
    """Maximum over the last axis: the series that is above all others, or one to which all rivals are equal.

    Where neither is proved, value and slope are hulls of those of the rivals, and the second derivative is unbounded.

    Args:
        a: (..., k).
        twins: equal numbers mean equal functions; broadcasts to (..., k).
    """
    low, high = -a.value[0], a.value[1]
    rival = high >= low.max(axis=-1, keepdims=True)
    best = low.argmax(axis=-1)[..., None]
    alone = (rival.sum(axis=-1) == 1) | _same(a, best, rival)
    if twins is not None:
        numbers = np.broadcast_to(twins, rival.shape)
        alone |= (~rival | (numbers == np.take_along_axis(numbers, best, axis=-1))).all(axis=-1)
    found = [ends.between(low.max(axis=-1), high.max(axis=-1))]
    for k, part in enumerate(a.parts[1:], 1):
        whole = np.zeros_like(a.value) if part is None else np.broadcast_to(part, a.value.shape)
        hull = np.where(rival, whole, -np.inf).max(axis=-1) if k == 1 else np.full(found[0].shape, np.inf)
        chosen = np.take_along_axis(whole, np.broadcast_to(best, (2, *best.shape)), axis=-1)[..., 0]
        found.append(np.where(alone, chosen, hull))
    return Series(tuple(found))


def _same(a: Series, best: Index, rival: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether all rivals are exact numbers in all parts, the same as the best."""
    found = np.ones(rival.shape[:-1], dtype=bool)
    for part in a.parts:
        if part is not None:
            whole = np.broadcast_to(part, a.value.shape)
            chosen = np.take_along_axis(whole, np.broadcast_to(best, (2, *best.shape)), axis=-1)
            exact = (whole == chosen).all(axis=0) & (whole[0] == -whole[1])
            found &= (exact | ~rival).all(axis=-1)
    return found


def inner(product: Product, terms: int) -> Callable[[Array, Array], Array]:
    """A sum of products on ends, from the same in floating point.

    Args:
        product: bilinear on float arrays; every number of its result is a sum of at most `terms` products, added up in
            any order.
        terms: see product.
    """
    g = gamma(terms)

    def enclosed(a: Array, b: Array) -> Array:
        (x, r), (y, s) = _center_radius(a), _center_radius(b)
        center = product(x, y)
        rounding = g * np.abs(x) + TINY * (x != 0)  # which may underflow
        radius = product(rounding if r is None else rounding + r, np.abs(y))
        if s is not None:
            radius = radius + product(np.abs(x) + (0.0 if r is None else r), s)
        radius = radius * (1.0 + 8.0 * g) + 2 * terms * TINY
        if (center == 0).any():  # a sum whose products are all 0 is exactly 0: nothing has underflowed
            there = product(_nonzero(x, r), _nonzero(y, s))
            radius = np.where(there == 0, 0.0, radius)
            center = np.where(there == 0, 0.0, center)
        return _outward(np.stack([radius - center, radius + center]))

    return enclosed


def _center_radius(a: Array) -> tuple[Array, Array | None]:
    """Centres and radii; no radius where all intervals are numbers."""
    low, high = -a[0], a[1]
    if np.array_equal(low, high) and np.isfinite(high).all():
        return high, None
    center, radius = center_radius(low, high)
    exact = (low == high) & np.isfinite(high)
    return np.where(exact, high, center), np.where(exact, 0.0, radius)


def _nonzero(center: Array, radius: Array | None) -> Array:
    there = center != 0 if radius is None else (center != 0) | (radius != 0)
    return np.asarray(there, dtype=np.float64)


def _outward(a: Array) -> Array:
    """Rounded outward; exact zeros stay."""
    zero = (a == 0).all(axis=0)
    found = ends.round_up(a)
    found[:, zero] = 0.0
    return found


def shifted(a: Series, numbers: Array) -> Series:
    """a - numbers, for constants that broadcast."""
    return plus(a, constant(-numbers, a.order))


def log_sum_exp(a: Series, axis: int) -> Series:
    """log sum exp(a) over an axis, which stays with length 1."""
    with np.errstate(invalid="ignore"):
        top = a.value[1].max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    sums = total(through(shifted(a, top), RULES["exp"]), (axis,), keep=True)
    return shifted(through(sums, RULES["log"]), -top)


def softmax(a: Series, axis: int) -> Series:
    """exp(a) over its sum along an axis."""
    return through(plus(a, negative(log_sum_exp(a, axis))), RULES["exp"])


def negative(a: Series) -> Series:
    """-a."""
    return a.map(ends.negate)
