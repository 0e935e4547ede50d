"""When a place belongs to a critical point: one rule, for the ends of recorded runs and for basins of attraction.

Round every critical point p is a disk of radius r; disks do not overlap. A *minimum* has a level: the lowest f on the
edge of its disk. What is in the disk and at or below the level lies in a closed piece of {f <= level} that holds no
critical point but p, so no method that only descends can leave it. There a place belongs to p if it is in the disk and
f is at or below the level. Where there is no such level (saddles, maxima) it is in the disk, or within a share of r if
the caller is stricter: whoever passes by is not there to stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optbench.critical.numeric.calculus import Array, Field, Jets
from optbench.critical.points.found import CriticalPoint

if TYPE_CHECKING:
    from optbench.problem import Box, Objective

SHARE = 0.01  # of the box's shortest side: the usual radius
EDGE = 720  # points on the edge of a disk of two coordinates
SPREAD = 64  # of a ball of more coordinates, besides its axes


@dataclass(frozen=True)
class Disks:
    """The disks round some critical points.

    Attributes:
        places: (n, d).
        radius: of each.
        levels: of each; None where f is not higher all round.
    """

    places: Array
    radius: float
    levels: tuple[float | None, ...]

    def holding(self, x: Array, value: Array, close: float | None = None) -> npt.NDArray[np.int64]:
        """Which point each place belongs to.

        Args:
            x: (rows, d).
            value: (rows,) f there.
            close: share of the radius within which a place belongs to a point whatever f is; None: the whole radius
                at points without a level, nothing at others.

        Returns:
            (rows,) index of the point; -1: none.
        """
        if not len(self.places) or not len(x):
            return np.full(len(x), -1, dtype=np.int64)
        finite = np.nan_to_num(np.clip(x, -1e150, 1e150), nan=1e150)
        distance, nearest = _nearest(self.places, finite)
        level = np.array([math.nan if v is None else v for v in self.levels])[nearest]
        beside = np.isnan(level) if close is None else distance <= close * self.radius
        return np.where((distance <= self.radius) & (beside | (value <= level)), nearest, -1).astype(np.int64)


_BY_HAND = 4_000_000
"""Distances up to here are compared one by one: what SciPy's tree needs to be loaded is more than that."""
_PIECE = 1 << 16
"""Of them at a time."""


def _nearest(places: Array, x: Array) -> tuple[Array, npt.NDArray[np.intp]]:
    """(rows,) the distance of each x (rows, d) to the nearest place, and its index."""
    if len(places) * len(x) <= _BY_HAND:
        size = max(1, _PIECE // len(places))
        pieces = [np.linalg.norm(x[i : i + size, None] - places, axis=2) for i in range(0, len(x), size)]
        index = np.concatenate([piece.argmin(axis=1) for piece in pieces])
        return np.concatenate([piece.min(axis=1) for piece in pieces]), index
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(places).query(x)
    return np.asarray(distance), np.asarray(nearest, dtype=np.intp)


def disks_round(objective: Objective | Jets, points: Sequence[CriticalPoint], box: Box, radius: float) -> Disks:
    """The disks of this radius round the points; levels are measured on places of each edge.

    In three and more coordinates a sample can miss the lowest place of the edge by a little: the axes of the Hessian,
    along which f rises least, are part of it.
    """
    places = np.array([p.x for p in points], dtype=np.float64).reshape(-1, len(box))
    field = Field(objective, box)
    if not len(points):
        return Disks(places, radius, ())
    edges = places[:, None] + radius * _directions(field, places)
    lowest = field.value(edges.reshape(-1, len(box))).reshape(len(points), -1).min(axis=1)
    levels = tuple(float(v) if v > p.value else None for v, p in zip(lowest, points, strict=True))
    return Disks(places, radius, levels)


def usual_radius(points: Sequence[CriticalPoint], box: Box) -> float:
    """SHARE of the box's shortest side, less where points are close."""
    return min(SHARE * min(high - low for low, high in box), 0.9 * widest_radius(points, box))


def widest_radius(points: Sequence[CriticalPoint], box: Box) -> float:
    """Above it disks overlap: half the least distance between two points; infinite for fewer than two."""
    places = np.array([p.x for p in points], dtype=np.float64).reshape(-1, len(box))
    if len(places) < 2:
        return math.inf
    from scipy.spatial import cKDTree

    gaps = cKDTree(places).query(places, k=2)[0][:, 1]
    return 0.5 * float(gaps.min(where=gaps > 0, initial=math.inf))


def _directions(field: Field, places: Array) -> Array:
    """Unit vectors (n, m, d) or (1, m, d): a fan in two coordinates, the Hessian's axes and random ones beyond."""
    dim = field.dim
    if dim == 1:
        return np.array([[[1.0], [-1.0]]])
    if dim == 2:
        angle = np.arange(EDGE) * (2 * math.pi / EDGE)
        return np.stack([np.cos(angle), np.sin(angle)], axis=-1)[None]
    hess = field.native(field.jet(places)).hess
    axes = np.linalg.eigh(np.where(np.isfinite(hess).all(axis=(1, 2), keepdims=True), hess, np.eye(dim)))[1]
    axes = axes.transpose(0, 2, 1)
    spread = np.random.default_rng(0).standard_normal((SPREAD, dim))
    spread /= np.linalg.norm(spread, axis=1, keepdims=True)
    shared = np.broadcast_to(spread, (len(places), SPREAD, dim))
    return np.concatenate([axes, -axes, shared], axis=1)
