"""The winding number of the gradient: how often it turns while its foot goes once round a closed curve.

By Poincare and Hopf it equals the sum of the indices of the critical points inside (2-D: +1 for a minimum or maximum,
-1 for a saddle), so it checks a list of critical points without knowing how they were found, and on a small circle
round one point it is that point's index, degenerate or not. In one dimension it is the degree: half the jump of the
gradient's sign from end to end.

The angle is followed along the curve with as many samples as it asks for: a piece on which the gradient turns by more
than a quarter of a right angle is halved. Where halving does not help, the gradient vanishes or jumps on the curve,
and there is no winding number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from optbench.critical.numeric.calculus import EPS, Array, Field
from optbench.critical.points.found import Winding

LARGEST_TURN = np.pi / 8
SHORTEST_PIECE = 2.0**-44
MOST_SAMPLES = 200_000


def winding_of_box(field: Field, samples: int = 1024) -> Winding:
    """Winding number of the gradient along the edge of the field's box (2-D), or its degree (1-D)."""
    if field.dim == 1:
        return degree(field, field.low, field.high)
    if field.dim != 2:
        return Winding(None, "it is defined in one and two dimensions only")

    def edge(t: Array) -> Array:
        side, along = np.minimum((4 * t).astype(int), 3), 4 * t - np.minimum((4 * t).astype(int), 3)
        u = np.choose(side, [along, 1.0, 1.0 - along, 0.0])
        v = np.choose(side, [0.0, along, 1.0, 1.0 - along])
        unit = np.stack([u, v], axis=1)
        # Exact corners: low + 1.0 * width may miss high by a rounding.
        return np.asarray(np.where(unit == 1.0, field.high, field.low + unit * field.width))

    return _wind(field, edge, samples)


def winding_round(field: Field, center: Array, radius: float, samples: int = 256) -> Winding:
    """Poincare index: winding number on the circle of `radius` box widths round `center` (2-D), or the degree (1-D)."""
    if field.dim == 1:
        return degree(field, center - radius * field.width, center + radius * field.width)

    def circle(t: Array) -> Array:
        # Off the axes and diagonals, where symmetric surfaces have their zeros.
        angle = 2 * np.pi * t + 0.1
        return np.asarray(center + radius * field.width * np.stack([np.cos(angle), np.sin(angle)], axis=1))

    return _wind(field, circle, samples)


def degree(field: Field, low: Array, high: Array) -> Winding:
    """1-D: (sign f'(high) - sign f'(low)) / 2."""
    slope = field.gradient(np.stack([low, high]))[1][:, 0]
    if not np.isfinite(slope).all():
        return Winding(None, "the derivative is not finite at an end of the interval")
    if (slope == 0).any():
        return Winding(None, "the derivative vanishes at an end of the interval")
    return Winding(int(np.sign(slope[1]) - np.sign(slope[0])) // 2)


def _wind(field: Field, curve: Callable[[Array], Array], samples: int) -> Winding:
    """Winding number along a closed curve t in [0, 1] -> (n, 2)."""
    t = np.linspace(0.0, 1.0, samples + 1)
    grad = field.gradient(curve(t))[1]
    # Scaling each component does not change the number; it spares halvings where one component is far smaller.
    size = np.nanmax(np.where(np.isfinite(grad), np.abs(grad), np.nan), axis=0, initial=0.0)
    weight = np.where(size > 0, 1.0 / np.where(size > 0, size, 1.0), 1.0)
    while True:
        trouble = _trouble(curve(t), grad)
        if trouble:
            return Winding(None, trouble)
        angle = np.arctan2(grad[:, 1] * weight[1], grad[:, 0] * weight[0])
        turn = np.mod(np.diff(angle) + np.pi, 2 * np.pi) - np.pi
        wide = np.abs(turn) > LARGEST_TURN
        if not wide.any():
            return Winding(round(float(turn.sum()) / (2 * np.pi)))
        stuck = wide & (np.diff(t) < SHORTEST_PIECE)
        if stuck.any() or len(t) > MOST_SAMPLES:
            at = curve(t[:-1][stuck if stuck.any() else wide])[0]
            return Winding(None, f"the gradient vanishes or jumps on the edge near {_place(at)}")
        middle = 0.5 * (t[:-1] + t[1:])[wide]
        order = np.argsort(np.concatenate([t, middle]), kind="stable")
        t = np.concatenate([t, middle])[order]
        grad = np.concatenate([grad, field.gradient(curve(middle))[1]])[order]


def _trouble(x: Array, grad: Array) -> str:
    """Why the gradient has no direction somewhere on the curve; empty if it has one everywhere."""
    bad = ~np.isfinite(grad).all(axis=1)
    if bad.any():
        return f"the gradient is not finite on the edge at {_place(x[bad][0])}"
    zero = (grad == 0).all(axis=1)
    if zero.any():
        return f"the gradient vanishes on the edge at {_place(x[zero][0])}"
    return ""


def _place(x: Array) -> str:
    # Rounding noise of a symmetric curve is not a coordinate worth printing.
    return "(" + ", ".join(f"{0.0 if abs(v) < 8 * EPS else v:.6g}" for v in x) + ")"
