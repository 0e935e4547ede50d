"""Ways down: along a direction of negative curvature, and, where there is none, by searching for a lower point.

At a degenerate point the second order decides nothing; a lower point nearby does. It is searched for on spheres round
the point, in the space that is orthogonal to the directions of positive curvature: those would lift the loss by more
than a higher order can lower it. The fall as a power of the radius is the order of the term that decides. A failed
search proves nothing, and the words say so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from optbench.curvature.hvp import random_unit
from optbench.curvature.objective import FlatObjective

ESCAPE_STEPS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
RADII = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_ITERATIONS = 15
_ROUNDING = 10.0  # eps |loss|: smaller falls are not believed
_SLOPE = 2.0  # times |g| r: the fall that the remaining gradient may explain
_WITNESS_SEED = 10_000  # apart from the starts of Lanczos


@dataclass(frozen=True)
class Move:
    """One step along a direction: change of the loss by Taylor's formula, and measured."""

    step: float
    predicted: float
    measured: float


@dataclass(frozen=True)
class Escape:
    """Steps along the most negative curvature, each with the better of both senses; `direction` points down.

    Attributes:
        direction: unit vector (n,), in the sense of the best step.
        moves: one an entry of ESCAPE_STEPS; a negative step is against `direction`.
        best: the move that lowers the loss most; None where none lowers it.
    """

    direction: Tensor
    moves: tuple[Move, ...]
    best: Move | None


@dataclass(frozen=True)
class Witness:
    """A search for a lower point round a degenerate one.

    Attributes:
        found: a fall larger than rounding and gradient can explain, growing faster than the distance.
        radius: the smallest distance with such a fall; None if there is none.
        falls: (distance, change of the loss) for each sphere.
        order: power of the distance that the fall follows; None with fewer than two falls.
        direction: unit vector (n,) towards the lower point; None if there is none.
    """

    found: bool
    radius: float | None
    falls: tuple[tuple[float, float], ...]
    order: float | None
    direction: Tensor | None


def escape(objective: FlatObjective, loss: float, gradient: Tensor, vector: Tensor, curvature: float) -> Escape:
    """Measured steps along a unit vector with v'Hv = curvature < 0."""
    slope = float(gradient.double() @ vector.double())
    direction = vector if slope <= 0 else -vector
    slope = -abs(slope)
    moves = []
    for size in ESCAPE_STEPS:
        both = [_move(objective, loss, direction, sense * size, slope, curvature) for sense in (1.0, -1.0)]
        moves.append(min(both, key=lambda move: move.measured))
    best = min(moves, key=lambda move: move.measured)
    if best.step < 0:
        direction = -direction
        moves = [Move(-m.step, m.predicted, m.measured) for m in moves]
        best = Move(-best.step, best.predicted, best.measured)
    return Escape(direction, tuple(moves), best if best.measured < 0 else None)


def _move(objective: FlatObjective, loss: float, v: Tensor, step: float, slope: float, curvature: float) -> Move:
    value = objective.value(objective.weights + step * v.to(objective.weights.dtype))
    predicted = step * slope + 0.5 * step**2 * curvature
    return Move(step, predicted, value - loss if math.isfinite(value) else math.inf)


def search_lower(objective: FlatObjective, loss: float, gradient: Tensor, positive: Tensor, seed: int = 0) -> Witness:
    """Minimises the loss on spheres round objective.weights, orthogonal to the rows of `positive`.

    Args:
        objective: the loss.
        loss: its value there.
        gradient: its gradient, (n,).
        positive: orthonormal directions of positive curvature, (m, n); m may be 0.
        seed: of the random directions.
    """
    floor = _ROUNDING * torch.finfo(objective.weights.dtype).eps * abs(loss)
    slope = float(gradient.double().norm())
    falls: list[tuple[float, float]] = []
    best: Tensor | None = None
    witness: tuple[float, Tensor] | None = None
    for i, radius in enumerate(RADII):
        fresh = random_unit(objective.n, seed, _WITNESS_SEED + i, positive.dtype, positive.device)
        starts = [start for start in (best, _inside(fresh, positive)) if start is not None]
        tried = [_descend(objective, loss, start, radius, positive) for start in starts]
        if not tried:
            break  # every direction curves up
        change, best = min(tried, key=lambda pair: pair[0])
        falls.append((radius, change))
        if -change > floor + _SLOPE * slope * radius:
            witness = (radius, best)
    believed = [(r, -change) for r, change in falls if -change > floor + _SLOPE * slope * r]
    order = _power(believed[-4:])
    found = witness is not None and order is not None and order > 1.5
    radius_found, direction = witness if found and witness is not None else (None, None)
    return Witness(found, radius_found, tuple(falls), order, direction)


def _power(falls: list[tuple[float, float]]) -> float | None:
    """Slope of log fall over log distance, where there are two."""
    if len(falls) < 2:
        return None
    r, fall = np.log(np.array(falls)).T
    return float(np.polyfit(r, fall, 1)[0])


def _inside(vector: Tensor, positive: Tensor) -> Tensor | None:
    """The unit vector of the part that is orthogonal to `positive`; None where nothing is left."""
    rest = vector
    for _ in range(2):
        rest = rest - positive.T @ (positive @ rest)
    size = float(rest.norm())
    return rest / size if size > 1e-8 * float(vector.norm()) else None


def _descend(
    objective: FlatObjective, loss: float, start: Tensor, radius: float, positive: Tensor
) -> tuple[float, Tensor]:
    """Gradient descent on a sphere with a step that grows on success: (change of the loss, unit vector)."""
    dtype = objective.weights.dtype

    def at(direction: Tensor) -> tuple[float, Tensor]:
        value, gradient = objective.gradient(objective.weights + radius * direction.to(dtype))
        return (value - loss if math.isfinite(value) else math.inf), gradient.to(direction.dtype)

    direction, angle = start, 0.5
    change, gradient = at(direction)
    for _ in range(_ITERATIONS):
        slope = gradient - direction * (direction @ gradient)
        downhill = _inside(-slope, positive) if float(slope.norm()) > 0 else None
        if downhill is None or not math.isfinite(change):
            break
        turned = _inside(math.cos(angle) * direction + math.sin(angle) * downhill, positive)
        if turned is None:
            break
        there, gradient_there = at(turned)
        if there < change:
            direction, change, gradient, angle = turned, there, gradient_there, min(1.5, 1.5 * angle)
        else:
            angle /= 4.0
    return change, direction
