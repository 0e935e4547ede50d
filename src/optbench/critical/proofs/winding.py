"""The certified winding number: how often the gradient turns round along the edge of a rectangle, by proof.

The edge is cut until on every piece one component of the gradient keeps its sign. Then the gradient stays in one of
four half-planes per piece; neighbouring pieces share a point, so their half-planes are equal or adjacent, and the
quarter turns between them add up to the winding number exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optbench.critical.arithmetic.ends import Array
from optbench.critical.points.found import Winding
from optbench.critical.proofs.field import Field

PIECES = 64  # to begin with, on each side
MOST_PIECES = 100_000
SHORTEST = 2.0**-44  # of a side


def certified_winding(field: Field, low: Array, high: Array) -> Winding:
    """Winding number of the gradient round the rectangle (2-D), or its degree over the interval (1-D).

    Args:
        field: the objective.
        low: lower corner, (dim,).
        high: upper corner, (dim,).
    """
    if field.dim == 1:
        return _degree(field, low, high)
    if field.dim != 2:
        return Winding(None, "the winding number is defined in one and two dimensions only")
    t = np.linspace(0.0, 4.0, 4 * PIECES + 1)
    start, end = t[:-1], t[1:]
    label = np.full(len(start), -1)
    todo = label < 0
    while todo.any():
        label[todo] = _half_planes(field, low, high, start[todo], end[todo])
        todo = label < 0
        if len(start) > MOST_PIECES or ((end - start)[todo] < SHORTEST).any():
            place = _edge(low, high, start[todo])[0]
            return Winding(None, f"the gradient may vanish on the curve near ({place[0]:.6g}, {place[1]:.6g})")
        middle = 0.5 * (start + end)
        # A piece without a label is replaced by its halves, in place, so that neighbours stay neighbours.
        repeat = np.where(todo, 2, 1)
        second = np.repeat(todo, repeat) & (
            np.arange(repeat.sum()) - np.repeat(np.cumsum(repeat) - repeat, repeat) == 1
        )
        first = np.repeat(todo, repeat) & ~second
        label = np.repeat(label, repeat)
        start = np.where(second, np.repeat(middle, repeat), np.repeat(start, repeat))
        end = np.where(first, np.repeat(middle, repeat), np.repeat(end, repeat))
        todo = label < 0
    turns = (np.diff(np.append(label, label[0])) + 1) % 4 - 1
    return Winding(int(turns.sum()) // 4)


def _half_planes(field: Field, low: Array, high: Array, start: Array, end: Array) -> npt.NDArray[np.int_]:
    """0: g1 > 0, 1: g2 > 0, 2: g1 < 0, 3: g2 < 0 all along the piece; -1: none of them."""
    a, b = _edge(low, high, start), _edge(low, high, end)
    grad = field.enclose(np.minimum(a, b), np.maximum(a, b), 1).grad
    signs = np.stack([grad[0, :, 0] > 0, grad[0, :, 1] > 0, grad[1, :, 0] < 0, grad[1, :, 1] < 0])
    return np.where(signs.any(axis=0), signs.argmax(axis=0), -1)


def _edge(low: Array, high: Array, t: Array) -> Array:
    """Points of the edge, counter-clockwise from the lower corner, at t in [0, 4]; corners are exact.

    A whole number is the end of a side and the beginning of the next one: both are the same corner.
    """
    side = np.clip(np.floor(t), 0, 3).astype(int)
    along = t - side
    u = np.choose(side, [along, 1.0, 1.0 - along, 0.0])
    v = np.choose(side, [0.0, along, 1.0, 1.0 - along])
    unit = np.stack([u, v], axis=1)
    return np.asarray(np.where(unit == 1.0, high, low + unit * (high - low)))


def _degree(field: Field, low: Array, high: Array) -> Winding:
    """(sign f'(high) - sign f'(low)) / 2, where both signs are proved."""
    grad = field.at(np.stack([low, high]), 1).grad[:, :, 0]
    signs = np.where(grad[0] > 0, 1, np.where(grad[1] < 0, -1, 0))
    if (signs == 0).any():
        return Winding(None, "the sign of the derivative at an end of the interval is not proved")
    return Winding(int(signs[1] - signs[0]) // 2)
