"""Inside the box, outside of it, or not known: certified points whose enclosures reach the edge.

An enclosure in floating point is some units in the last place wide, or far wider where the program cancels, and what it
holds may lie to either side of an edge that runs through it. Four steps decide what can be decided, each a proof:

1. Krawczyk's operator in fractions, where only the Hessian is rounded if the gradient is rational, makes the enclosure
   as narrow as 1e-30: (3 x - 1)^2 has its minimum at 1/3, outside of [0, 0.3333333333333333].
2. A fraction in the enclosure at which the gradient is exactly 0 is the point itself.
3. On a face x_i = e of the box on which the slope along i is exactly 0, a critical point of the other coordinates alone
   is a critical point of all of them, hence the point itself: it lies on the edge, and the box is closed.
4. What still straddles the edge stays open: the point is on the edge or within the enclosure's reach of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from optbench.critical.arithmetic.ends import Array, Mask
from optbench.critical.arithmetic.exact import above, below, exact_gradient, simplest_between
from optbench.critical.budget import Spent
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.krawczyk import SMALL_BOXES, inverse, krawczyk, strictly_inside

INSIDE, OPEN, OUTSIDE = 1, 0, -1
MOST_POINTS = 2000  # more at the edge than these stay open: fractions take milliseconds each
FINEST = Fraction(1, 2**200)  # of the domain: middles of enclosures are rounded to it, so that fractions stay short
ROUNDS = 3

Sides = list[tuple[Fraction, Fraction]]


@dataclass(frozen=True)
class Places:
    """Enclosures, narrowed at the edge, and where the point of each lies.

    Attributes:
        low, high: (n, d).
        where: (n,) INSIDE (the closed box), OUTSIDE, or OPEN.
    """

    low: Array
    high: Array
    where: npt.NDArray[np.int_]


def places(field: Field, low: Array, high: Array, unique_low: Array, unique_high: Array) -> Places:
    """Where the points of the enclosures low, high (n, d) lie, each the only one in a box unique_low, unique_high."""
    low, high = low.copy(), high.copy()
    straddles = ~((low >= field.low) & (high <= field.high)).all(axis=1)
    where = np.where(straddles, OPEN, INSIDE)
    for i in np.flatnonzero(straddles)[:MOST_POINTS]:
        try:
            where[i] = _decide(field, low[i], high[i], unique_low[i], unique_high[i])
        except Spent:
            break
    return Places(low, high, where)


def _decide(field: Field, low: Array, high: Array, unique_low: Array, unique_high: Array) -> int:
    """Where the point of one enclosure (d,) lies, which is narrowed in place."""
    sides = _sharpened(field, low, high)
    low[:], high[:] = ([f(side[k]) for side in sides] for k, f in ((0, below), (1, above)))
    where = _where(field, sides)
    if where == OPEN and (point := _exact_point(field, sides)) is not None:
        low[:], high[:] = [below(v) for v in point], [above(v) for v in point]
        where = _where(field, [(v, v) for v in point])
    if where == OPEN and (face := _on_a_face(field, low, high, unique_low, unique_high)) is not None:
        low[face[0]] = high[face[0]] = face[1]
        where = INSIDE
    return where


def reaches(field: Field, low: Array, high: Array) -> Array:
    """(n,) how far from the edge of the box, in the largest coordinate, a point may be whose enclosure straddles it."""
    gap_low = np.where(low < field.low, np.maximum(field.low - low, high - field.low), 0.0)
    gap_high = np.where(high > field.high, np.maximum(high - field.high, field.high - low), 0.0)
    return np.asarray(np.nextafter(np.maximum(gap_low, gap_high).max(axis=1), np.inf))


def _where(field: Field, sides: Sides) -> int:
    box = list(zip(map(Fraction, field.low.tolist()), map(Fraction, field.high.tolist()), strict=True))
    if any(b < low or a > high for (a, b), (low, high) in zip(sides, box, strict=True)):
        return OUTSIDE
    inside = all(low <= a and b <= high for (a, b), (low, high) in zip(sides, box, strict=True))
    return INSIDE if inside else OPEN


def _sharpened(field: Field, low: Array, high: Array) -> Sides:
    """The enclosure low, high (d,) after some steps of Krawczyk's operator in fractions."""
    sides = list(zip(map(Fraction, low.tolist()), map(Fraction, high.tolist()), strict=True))
    for _ in range(ROUNDS):
        box = [np.array([[f(s[k]) for s in sides]]) for k, f in ((0, below), (1, above))]
        hess = field.enclose(box[0], box[1], 2).hess
        middle, grad = _gradient_inside(field, sides)
        if not (np.isfinite(hess).all() and np.isfinite(np.array(grad, dtype=float)).all()):
            return sides
        narrower = _contracted(sides, middle, grad, hess)
        if all(2 * (b - a) > d - c for (a, b), (c, d) in zip(narrower, sides, strict=True)):
            return narrower
        sides = narrower
    return sides


def _gradient_inside(field: Field, sides: Sides) -> tuple[list[Fraction], Any]:
    """A point in the middle, and (low, high) of each component of the gradient there, equal where it is rational."""
    units = [FINEST * Fraction(float(w)) for w in field.width]
    middle = [min(max(round((a + b) / (2 * u)) * u, a), b) for (a, b), u in zip(sides, units, strict=True)]
    grad = exact_gradient(field.program, middle)
    if all(g is not None for g in grad):
        return middle, [(g, g) for g in grad]
    # Doubles next to the middle: they lie in the box over which the Hessian is taken, which is rounded outward.
    x = [float(m) for m in middle]
    middle, at = [Fraction(v) for v in x], field.at(np.array([x]), 1).grad[:, 0].T.tolist()
    exact = exact_gradient(field.program, middle)
    return middle, [ends if g is None else (g, g) for g, ends in zip(exact, at, strict=True)]


def _contracted(sides: Sides, middle: list[Fraction], grad: Any, hess: Array) -> Sides:
    """The sides cut with Krawczyk's operator K; nothing is rounded but grad and hess (2, 1, d, d)."""
    n = range(len(sides))
    y = [[Fraction(v) for v in row] for row in inverse(hess.mean(axis=0))[0].tolist()]
    low, high = ([[Fraction(v) for v in row] for row in end[0].tolist()] for end in hess)
    slope = [tuple(map(Fraction, ends)) for ends in grad]
    reach = [max(m - a, b - m) for m, (a, b) in zip(middle, sides, strict=True)]
    found = []
    for i in n:
        center = middle[i] - sum((y[i][j] * (slope[j][0] + slope[j][1]) / 2 for j in n), Fraction(0))
        radius = sum((abs(y[i][j]) * (slope[j][1] - slope[j][0]) / 2 for j in n), Fraction(0))
        for j in n:
            ends = [[y[i][k] * h[k][j] for k in n] for h in (low, high)]
            least, most = (sum(map(pick, *ends), Fraction(0)) for pick in (min, max))
            radius += max(abs((i == j) - least), abs((i == j) - most)) * reach[j]
        found.append((max(sides[i][0], center - radius), min(sides[i][1], center + radius)))
    return found


def _exact_point(field: Field, sides: Sides) -> list[Fraction] | None:
    """A fraction in each side at which the gradient is exactly 0: edges of the box first, then simple fractions."""
    simple = [simplest_between(a, b) for a, b in sides]
    at_edge = list(simple)
    for i, (a, b) in enumerate(sides):
        for edge in (Fraction(float(field.low[i])), Fraction(float(field.high[i]))):
            if a <= edge <= b:
                at_edge[i] = edge
    for point in (at_edge, simple):
        if all(g == 0 for g in exact_gradient(field.program, point)):
            return point
    return None


def _on_a_face(
    field: Field, low: Array, high: Array, unique_low: Array, unique_high: Array
) -> tuple[Mask, Array] | None:
    """The coordinates (d,) in which the point is proved to lie on the edge, and the edge in each of them; else None."""
    at_low, at_high = low < field.low, high > field.high
    fixed, edge = at_low | at_high, np.where(at_low, field.low, field.high)
    x = [Fraction(float(e)) if f else None for e, f in zip(edge, fixed, strict=True)]
    grad = exact_gradient(field.program, x)
    if not all(grad[i] == 0 for i in np.flatnonzero(fixed)):
        return None
    free, middle = ~fixed, np.where(fixed, edge, 0.5 * low + 0.5 * high)
    if not free.any():
        return fixed, edge[fixed]
    for share in SMALL_BOXES:
        reach = np.where(fixed, 0.0, share * field.width)
        box_low, box_high = (middle - reach)[None], (middle + reach)[None]
        if (box_low < unique_low).any() or (box_high > unique_high).any():
            return None
        hess = field.enclose(box_low, box_high, 2).hess[:, :, free][:, :, :, free]
        at = field.at(middle[None], 1).grad[:, :, free]
        k = krawczyk(box_low[:, free], box_high[:, free], middle[None, free], at, hess)
        if strictly_inside(k, box_low[:, free], box_high[:, free]).all():
            return fixed, edge[fixed]
    return None
