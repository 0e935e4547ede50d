"""Arithmetic on the ends of intervals, for arrays of any shape, rounded outward.

An array of intervals is one float64 array E of shape (2, ...): E[0] holds the *negated* lower ends and E[1] the upper
ends. Rounding an interval outward is then rounding every number of E upward, one operation for both ends. A step of
|x| 2^-52 + 2^-1074 is at least one unit in the last place of every double, and the error of a correctly rounded
operation is at most half of one, so one step is a proof. An unknown end is +inf; so is what would be NaN (0 * inf,
inf - inf): the interval only grows.

No warning is silenced here: call within `numpy.errstate(all="ignore")`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
STEP = 2.0**-52
TINY = 2.0**-1074
LARGE = 1.7e308  # below every overflow, library errors included


def round_up(ends: Array, steps: int = 1) -> Array:
    """Moves every end outward by `steps` units in the last place or more, in place; NaN becomes unbounded."""
    if not ends.min(initial=0.0) > -np.inf:
        ends[np.isnan(ends)] = np.inf
        ends[ends == -np.inf] = -LARGE  # a lower end that overflowed
    error = np.abs(ends)
    error *= steps * STEP
    error += steps * TINY
    ends += error
    return ends


def constant(value: float) -> Array:
    """The interval of one number, (2, 1)."""
    return np.array([[-value], [value]])


def between(low: Array, high: Array) -> Array:
    """Intervals from natural ends of equal shape (...), as (2, ...)."""
    return np.stack([-low, high])


def lower(ends: Array) -> Array:
    """Natural lower ends."""
    return np.asarray(-ends[0])


def negate(a: Array) -> Array:
    """-a, exactly."""
    return a[::-1]


def add(a: Array, b: Array) -> Array:
    """a + b."""
    return round_up(a + b)


def shift(a: Array, c: float) -> Array:
    """a + c."""
    out = np.empty_like(a)
    np.subtract(a[0], c, out=out[0])
    np.add(a[1], c, out=out[1])
    return round_up(out)


def scale(a: Array, c: float) -> Array:
    """c a; exact for c = 1 and c = -1."""
    if c == 1.0:
        return a
    if c == -1.0:
        return negate(a)
    return round_up(a * c if c >= 0 else a[::-1] * -c)


def divide(a: Array, c: float) -> Array:
    """a / c; unbounded for c = 0."""
    if c == 0.0:
        return np.full_like(a, np.inf)
    return round_up(a / c if c >= 0 else a[::-1] / -c)


def multiply(a: Array, b: Array) -> Array:
    """a b, from the four products of ends."""
    like = a * b  # (lower lower, upper upper)
    cross = a * b[::-1]  # -(lower upper), -(upper lower)
    out = np.empty_like(like)
    np.maximum(np.maximum(cross[0], cross[1]), -np.minimum(like[0], like[1]), out=out[0])
    np.maximum(np.maximum(like[0], like[1]), -np.minimum(cross[0], cross[1]), out=out[1])
    return round_up(out)


def maximum(a: Array, b: Array) -> Array:
    """max(a, b), exactly."""
    return np.stack([np.minimum(a[0], b[0]), np.maximum(a[1], b[1])])


def hull(a: Array, b: Array) -> Array:
    """The smallest interval that holds both, exactly."""
    return np.maximum(a, b)


def where(above: Mask, a: Array, below: Mask, b: Array, jumps: Mask) -> Array:
    """a where `above`, b where `below`, else both, or unbounded where there may be a jump between them."""
    found = np.where(jumps & ~same_number(a, b), np.inf, hull(a, b))
    return np.where(above, a, np.where(below, b, found))


def pick(first: Mask, a: Array, second: Mask, b: Array, known: Mask) -> Array:
    """a where `first`, else b where `second`, else their hull where `known`, else unbounded."""
    return np.where(first, a, np.where(second, b, np.where(known, hull(a, b), np.inf)))


def same_number(a: Array, b: Array) -> Mask:
    """Where both are one and the same finite number."""
    return np.asarray((a[0] == b[0]) & (a[1] == b[1]) & (a[0] == -a[1]) & np.isfinite(a[1]))


def magnitudes(a: Array) -> tuple[Array, Array]:
    """Smallest and largest |x| over each interval."""
    return np.maximum(0.0, -np.minimum(a[0], a[1])), np.maximum(a[0], a[1])


def square(a: Array) -> Array:
    """a^2, never below 0."""
    small, large = magnitudes(a)
    return _nonnegative(round_up(np.stack([-small * small, large * large])))


def reciprocal(a: Array) -> Array:
    """1 / a; unbounded where a holds 0."""
    return unbounded(round_up(-1.0 / a[::-1]), (a[0] >= 0) & (a[1] >= 0))


def power(a: Array, n: int) -> Array:
    """a^n for n >= 0: on |a| for even n, end by end for odd n, by repeated multiplication rounded outward."""
    if n == 0:
        return np.concatenate([np.full_like(a[:1], -1.0), np.ones_like(a[:1])])
    if n % 2 == 0:
        small, large = magnitudes(a)
        return _nonnegative(_power_of_ends(np.stack([-small, large]), n))
    # x^n is odd and rising: the upper end from the upper end, the negated lower end from the negated lower end.
    up = _power_of_ends(np.stack([np.minimum(a, 0.0), np.maximum(a, 0.0)]), n)
    # For a >= 0 the bound rounded away from 0 counts, for a < 0 the one rounded towards 0.
    return np.asarray(np.where(a >= 0, up[1], up[0]))


def _power_of_ends(a: Array, n: int) -> Array:
    """(-s, t) -> (-s^n rounded up, t^n rounded up) for s, t >= 0, n >= 1, by squaring."""
    out: Array | None = None
    base = a
    while n:
        if n % 2:
            out = base.copy() if out is None else _times(out, base)
        n //= 2
        if n:
            base = _times(base, base)
    assert out is not None
    return out


def _times(a: Array, b: Array) -> Array:
    """Product of (-s, t) and (-u, v) with all of s, t, u, v >= 0."""
    out = np.stack([-(a[0] * b[0]), a[1] * b[1]])
    return _nonnegative(round_up(out))


def _nonnegative(a: Array) -> Array:
    """Cuts off, in place, what is known to be out of reach below 0."""
    np.minimum(a[0], 0.0, out=a[0])
    return a


def clip(a: Array, least: float, most: float) -> Array:
    """Cuts off, in place, what is known to be out of reach."""
    np.minimum(a[0], -least, out=a[0])
    np.minimum(a[1], most, out=a[1])
    return a


def unbounded(a: Array, where: Mask) -> Array:
    """Makes intervals unbounded, in place, where the mask of shape (...) says so."""
    if where.any():
        a[:, where] = np.inf
    return a


def gamma(d: int) -> float:
    """Relative error bound of a floating-point product of d terms, with room to spare."""
    return (d + 2) * STEP


def center_radius(low: Array, high: Array) -> tuple[Array, Array]:
    """Centres c and radii r with [low, high] inside [c - r, c + r]; (0, inf) where an end is not finite."""
    with np.errstate(all="ignore"):
        center = 0.5 * low + 0.5 * high
        radius = np.maximum(high - center, center - low) * (1.0 + 2.0 * STEP) + TINY
        bad = ~np.isfinite(radius)
        return np.where(bad, 0.0, center), np.where(bad, np.inf, radius)
