"""Proofs about the size of f: higher than a level everywhere on some boxes, or all round a region.

If f is higher on the whole edge of a box than at one point inside, the box holds a local minimum: a continuous function
attains its minimum on the box, and not on the edge. No derivative at that minimum is needed, so this decides degenerate
points and kinks, in any dimension.
"""

from __future__ import annotations

import numpy as np

from optbench.critical.arithmetic.ends import STEP, TINY, Array, gamma
from optbench.critical.proofs.boxes import halves, middle_of
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.krawczyk import half_sides

MOST_BOXES = 20_000
MOST_FINITE = 1000


def prove_above(field: Field, low: Array, high: Array, level: float, sign: int = 1, most: int = MOST_BOXES) -> bool:
    """Whether sign * f > level is proved on all of the boxes low, high (n, d).

    Boxes are cut until the natural range of f or its mean-value form decides, up to `most` of them; a point at which
    the inequality is not true ends the attempt.
    """
    spent = 0
    while len(low):
        spent += len(low)
        if spent > most:
            return False
        middle = middle_of(low, high)
        over, at = field.enclose(low, high, 1), field.at(middle, 0)
        least, here, highest = (_signed(v, sign) for v in (over.value, at.value, at.value[::-1]))
        if (highest <= level).any():
            return False
        with np.errstate(all="ignore"):
            half = half_sides(low, high, middle)
            slope = np.abs(over.grad).max(axis=0) * half
            reach = slope.sum(axis=1) * (1.0 + 8.0 * gamma(field.dim))
            bound = here - reach
            bound -= STEP * (np.abs(bound) + np.abs(here)) + field.dim * TINY  # slopes times sides may underflow
        keep = ~((least > level) | (bound > level))
        low, high, slope = low[keep], high[keep], slope[keep]
        low, high = _halves(low, high, slope, field.width)
    return True


def _signed(value: Array, sign: int) -> Array:
    """Lower ends of sign * value, (n,), for natural ends (2, n)."""
    return np.asarray(value[0] if sign > 0 else -value[1])


def _halves(low: Array, high: Array, slope: Array, width: Array) -> tuple[Array, Array]:
    """Both halves of every box, cut where f varies most."""
    rows, relative = np.arange(len(low)), (high - low) / width
    # A side without width (the face of a box) is never cut.
    weight = np.where(np.isfinite(slope).all(axis=1, keepdims=True), slope, relative)
    axis = np.where(relative > 0, weight, -1.0).argmax(axis=1) if len(low) else rows
    return halves(low, high, axis)


def proved_finite(field: Field, low: Array, high: Array, order: int, most: int = MOST_FINITE) -> bool:
    """Whether f (and its gradient, for order 1) is proved finite, and so continuous, all over the box low, high (d,).

    Every operation with an interval rule is continuous where its range is finite: what this excludes is poles.
    """
    low, high, spent = low[None], high[None], 0
    while len(low):
        spent += len(low)
        if spent > most:
            return False
        over = field.enclose(low, high, order)
        bad = ~(np.isfinite(over.value).all(axis=0) & np.isfinite(over.grad).all(axis=(0, 2)))
        low, high = _halves(low[bad], high[bad], (high - low)[bad] / field.width, field.width)
    return True


def faces(low: Array, high: Array) -> tuple[Array, Array]:
    """The 2 d faces of one box, (d,) each, as boxes (2 d, d)."""
    d = len(low)
    face_low, face_high = np.tile(low, (2 * d, 1)), np.tile(high, (2 * d, 1))
    for i in range(d):
        face_high[i, i] = low[i]
        face_low[d + i, i] = high[i]
    return face_low, face_high


def extremum_inside(field: Field, low: Array, high: Array, candidates: Array) -> str:
    """ "minimum" or "maximum" where the box low, high (d,) is proved to hold one, else "".

    Args:
        field: the objective.
        low: lower corner.
        high: upper corner.
        candidates: points inside the box, (n, d); the best of them is compared with the edge.
    """
    value = field.at(candidates, 0).value
    edge = faces(low, high)
    for kind, sign in (("minimum", 1), ("maximum", -1)):
        best = float((value[1] if sign > 0 else -value[0]).min())
        if np.isfinite(best) and prove_above(field, *edge, best, sign):
            return kind
    return ""
