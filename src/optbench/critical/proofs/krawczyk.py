"""Krawczyk's operator on batches of boxes: it shrinks a box round a zero of the gradient, empties it, or certifies it.

For a box X with midpoint m and any matrix Y,  K = m - Y g(m) + (I - Y H(X)) (X - m)  holds every zero of g in X. If K
lies strictly inside X there is exactly one zero in X and every matrix in H(X) is regular: the critical point exists, is
unique and nondegenerate (A. Neumaier, Interval Methods for Systems of Equations, 1990, theorem 5.1.8).

Matrices are taken as centre and radius and multiplied in floating point; the error of a product of d terms in any order
of summation is at most gamma = (d + 2) 2^-52 times the product of absolute values (N. J. Higham, Accuracy and Stability
of Numerical Algorithms, 2002, section 3.5), which is added to the radius.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from optbench.critical.arithmetic.ends import STEP, TINY, Array, Mask, center_radius, gamma
from optbench.critical.budget import Spent
from optbench.critical.proofs.boxes import middle_of
from optbench.critical.proofs.field import Enclosure, Field

NARROWEST = 1e-11  # of the domain: sides of an inflated box
THINNEST = 0.01  # of its widest side
MARGIN = 1.02
CONTRACTS = 0.6  # below it, an inflated box is worth a try: its size, and so the norm, may double
POLISH = 12
NEWTON_STEPS = 8
SMALL_BOXES = (1e-13, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3)  # of the domain


@dataclass(frozen=True)
class Contraction:
    """Krawczyk's operator on n boxes.

    Attributes:
        low, high: (n, d) ends of K; infinite where nothing is known.
        newton: (n, d) the Newton step from the midpoint, in floating point.
        norm: (n,) of I - Y H(X), in units of the box's sides; below 1 the box is contracted.
    """

    low: Array
    high: Array
    newton: Array
    norm: Array

    def rows(self, chosen: Mask) -> Contraction:
        """K of some of the boxes."""
        return Contraction(self.low[chosen], self.high[chosen], self.newton[chosen], self.norm[chosen])


def half_sides(low: Array, high: Array, middle: Array) -> Array:
    """How far each box (n, d) reaches from `middle` (n, d) along each axis, rounded up."""
    return np.asarray(np.maximum(high - middle, middle - low) * (1.0 + 2.0 * STEP))


def krawczyk(low: Array, high: Array, middle: Array, grad: Array, hess: Array) -> Contraction:
    """K of the boxes low, high (n, d), with grad (2, n, d) at `middle` (n, d) and hess (2, n, d, d) over the boxes."""
    d = low.shape[1]
    g, more = gamma(d), 1.0 + 8.0 * gamma(d)
    with np.errstate(all="ignore"):
        h, h_radius = center_radius(hess[0], hess[1])
        y = inverse(h)
        b, b_radius = center_radius(grad[0], grad[1])
        half = half_sides(low, high, middle)
        spread = np.abs(np.eye(d) - y @ h) + np.abs(y) @ (h_radius + g * np.abs(h))
        spread = spread * more + 2.0**-1000
        step = (y @ b[..., None])[..., 0]
        radius = (np.abs(y) @ (b_radius + g * np.abs(b))[..., None] + spread @ half[..., None])[..., 0]
        newton = middle - step
        radius = radius * more + 2.0 * STEP * (np.abs(newton) + np.abs(step) + radius) + 4 * d * TINY
        norm = np.where(half > 0, (spread @ half[..., None])[..., 0] / half, np.inf).max(axis=1)
        k_low, k_high = newton - radius, newton + radius
    return Contraction(
        np.where(np.isnan(k_low), -np.inf, k_low),
        np.where(np.isnan(k_high), np.inf, k_high),
        newton,
        np.where(np.isnan(norm), np.inf, norm),
    )


def inverse(h: Array) -> Array:
    """Approximate inverses; zero where there is none (any Y is valid)."""
    size = np.abs(h).max(axis=(1, 2), keepdims=True)
    good = np.isfinite(size) & (size > 0)
    scaled = np.where(good, h / np.where(good, size, 1.0), np.eye(h.shape[1]))
    scaled[np.linalg.det(scaled) == 0] = np.eye(h.shape[1])
    found = np.linalg.inv(scaled) / np.where(good, size, 1.0)
    residual = np.abs(found @ h - np.eye(h.shape[1])).max(axis=(1, 2), keepdims=True)
    return np.where(good & np.isfinite(found) & (residual < 0.5), found, 0.0)


def strictly_inside(k: Contraction, low: Array, high: Array) -> Mask:
    """(n,) True where K lies in the interior of the box."""
    return np.asarray(((k.low > low) & (k.high < high)).all(axis=1))


def contract(field: Field, low: Array, high: Array) -> Contraction:
    """K of the boxes, from scratch."""
    middle = middle_of(low, high)
    over: Enclosure = field.enclose(low, high, 2)
    return krawczyk(low, high, middle, field.at(middle, 1).grad, over.hess)


def contract_for_all(
    field: Field, low: Array, high: Array, free: Sequence[int], given: Sequence[int], hess: Array
) -> Contraction:
    """K in the coordinates `free` of the boxes low, high (n, d), for all values of those `given` at once.

    Args:
        field: the objective.
        low, high: the boxes.
        free, given: numbers of coordinates, all of them together.
        hess: (2, n, d, d) over the boxes.
    """
    middle = middle_of(low, high)
    start, end = middle.copy(), middle.copy()
    start[:, given], end[:, given] = low[:, given], high[:, given]
    along, at = field.enclose(start, end, 2), field.at(middle, 1).grad[:, :, free]
    with np.errstate(all="ignore"):
        half = half_sides(low, high, middle)[:, given]
        across = np.abs(along.hess[:, :, free][:, :, :, given]).max(axis=0)
        drift = (across @ half[..., None])[..., 0] * (1.0 + 4.0 * len(given) ** 2 * STEP) + 4.0 * TINY
        mean = np.stack([at[0] - drift, at[1] + drift])
        mean += np.stack([-STEP * np.abs(mean[0]), STEP * np.abs(mean[1])])
        natural = along.grad[:, :, free]
        grad = np.stack([np.fmax(mean[0], natural[0]), np.fmin(mean[1], natural[1])])
    inner = np.ascontiguousarray(hess[:, :, free][:, :, :, free])
    return krawczyk(low[:, free], high[:, free], middle[:, free], grad, inner)


def inflate(field: Field, low: Array, high: Array, newton: Array) -> tuple[Array, Array]:
    """Boxes centred near the zero that the Newton points lead to, covering the given boxes.

    A zero on a face or corner of a box is never strictly inside it; it is inside the inflated box. Needle-thin sides
    are widened, because rounding would spoil strict inclusion there.
    """
    half = np.maximum(np.abs(high - newton), np.abs(newton - low)) * MARGIN
    relative = half / field.width
    least = np.maximum(THINNEST * relative.max(axis=1, keepdims=True), NARROWEST)
    half = np.maximum(relative, least) * field.width
    return newton - half, newton + half


def polish(field: Field, low: Array, high: Array, unique_low: Array, unique_high: Array) -> tuple[Array, Array]:
    """Narrows enclosures that hold exactly one zero each, down to rounding.

    A small box round the limit of Newton's method is certified on its own; within the box in which the zero is the only
    one, it is the same zero. Where that fails, X := X and K, again and again, narrows what can be narrowed.

    Args:
        field: the objective.
        low, high: the enclosures, (n, d).
        unique_low, unique_high: boxes round them with no other zero, (n, d).
    """
    low, high = low.copy(), high.copy()
    with suppress(Spent):  # narrower enclosures are optional; those at hand are proved
        _polish(field, low, high, unique_low, unique_high)
    return low, high


def _polish(field: Field, low: Array, high: Array, unique_low: Array, unique_high: Array) -> None:
    """Narrows low, high in place."""
    x = middle_of(low, high)
    for _ in range(NEWTON_STEPS if len(x) else 0):
        before, x = x, np.clip(contract(field, x, x).newton, low, high)
        if np.array_equal(x, before):
            break
    todo = np.arange(len(low))
    for share in SMALL_BOXES:
        box_low, box_high = x[todo] - share * field.width, x[todo] + share * field.width
        box_low, box_high = np.maximum(box_low, unique_low[todo]), np.minimum(box_high, unique_high[todo])
        k = contract(field, box_low, box_high) if len(todo) else None
        if k is not None:
            sure = strictly_inside(k, box_low, box_high)
            low[todo[sure]], high[todo[sure]] = k.low[sure], k.high[sure]
            todo = todo[~sure]
    _narrow(field, low, high)


def _narrow(field: Field, low: Array, high: Array) -> None:
    active = np.arange(len(low))
    for _ in range(POLISH):
        if not len(active):
            break
        k = contract(field, low[active], high[active])
        new_low, new_high = np.maximum(low[active], k.low), np.minimum(high[active], k.high)
        before = (high[active] - low[active]).max(axis=1)
        after = (new_high - new_low).max(axis=1)
        low[active], high[active] = new_low, new_high
        active = active[after < 0.95 * before]
