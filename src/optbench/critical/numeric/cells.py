"""Cells of a grid in which every component of the gradient changes sign: where a critical point may hide.

The signs are read at the corners only, so this is a search, not a proof. Its worth lies in what Newton cannot find:
a cell that goes on changing sign however often it is cut, and into which no Newton seed converges, holds a kink
(|x|, Ackley's global minimum at the origin) or a point that is too flat for Newton.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.spatial import cKDTree

from optbench.critical.numeric.calculus import Array, Field

SMALLEST = 1e-11  # box widths
MOST_CELLS = 4000
SAMPLES = 100  # of a curve of kinks
NEAR_CONTINUUM = 0.05  # box widths: its points stand for what is this near


def grid_cells(field: Field, per_axis: int) -> tuple[Array, Array]:
    """Cells of a regular grid whose gradient changes sign: centres (n, d) and the half widths (d,) of all."""
    dim = field.dim
    ticks = np.linspace(0.0, 1.0, per_axis + 1)
    unit = np.stack([a.ravel() for a in np.meshgrid(*[ticks] * dim, indexing="ij")], axis=1)
    corners = np.where(unit == 1.0, field.high, field.low + unit * field.width)
    low, high = (bound.reshape(*[per_axis + 1] * dim, dim) for bound in _bounds(field, corners))
    for axis in range(dim):
        first, last = (np.take(low, range(k, per_axis + k), axis=axis) for k in (0, 1))
        low = np.fmin(first, last)
        first, last = (np.take(high, range(k, per_axis + k), axis=axis) for k in (0, 1))
        high = np.fmax(first, last)
    changes = ((low <= 0) & (high >= 0)).all(axis=-1)
    half = 0.5 * field.width / per_axis
    return field.low + (2 * np.argwhere(changes) + 1) * half, half


def cut(field: Field, centers: Array, half: Array) -> tuple[Array, Array]:
    """The thirds (in every axis) of the cells that still change sign, and their half widths.

    Thirds, not halves: the centre of a cell, a favourite place of critical points, stays clear of every corner.
    """
    offsets = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=field.dim)))
    half = half / 3
    children = (centers[:, None] + 2 * half * offsets).reshape(-1, field.dim)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=field.dim)))
    corners = children[:, None] + half * signs
    low, high = _bounds(field, corners.reshape(-1, field.dim))
    shape = (len(children), len(signs), field.dim)
    low, high = np.fmin.reduce(low.reshape(shape), axis=1), np.fmax.reduce(high.reshape(shape), axis=1)
    return children[((low <= 0) & (high >= 0)).all(axis=1)], half


def leftovers(
    field: Field, centers: Array, half: Array, known: Array, continua: tuple[Array, ...]
) -> tuple[Array, bool]:
    """Where cells go on changing sign although no known point is near.

    Args:
        field: the objective on its box.
        centers, half: cells to start from.
        known: (m, d) critical points already found.
        continua: points that stand for curves of critical points.

    Returns:
        (n, d) points, neighbours merged, and whether the search was cut short because cells multiplied (a whole curve
        of kinks); the points are then samples of that curve.
    """
    while True:
        centers = unexplained(field, centers, half, known, continua)
        if len(centers) > MOST_CELLS:
            return _one_each(field, centers[:: len(centers) // SAMPLES], half), True
        if not len(centers) or (half / field.width).max() < SMALLEST:
            break
        centers, half = cut(field, centers, half)
    keys = np.round(centers / field.width / 1e-8)
    return centers[np.unique(keys, axis=0, return_index=True)[1]], False


def _one_each(field: Field, centers: Array, half: Array) -> Array:
    """Follows one sign-changing part of each cell down to the smallest size."""
    while len(centers) and (half / field.width).max() >= SMALLEST:
        parents = cKDTree(centers / half)
        centers, half = cut(field, centers, half)
        if len(centers):
            centers = centers[np.unique(parents.query(centers / (3 * half))[1], return_index=True)[1]]
    return centers


def unexplained(field: Field, centers: Array, half: Array, known: Array, continua: tuple[Array, ...]) -> Array:
    """The cells with no known point inside or within a cell's width, and no continuum in reach."""
    if len(known) and len(centers):
        centers = centers[cKDTree(known / half).query(centers / half, p=np.inf)[0] > 3.0]
    for members in continua:
        if len(centers):
            reach = max(NEAR_CONTINUUM, 6 * float((half / field.width).max()))
            centers = centers[cKDTree(members / field.width).query(centers / field.width)[0] > reach]
    return centers


def _bounds(field: Field, x: Array) -> tuple[Array, Array]:
    """Smallest and largest gradient that a corner stands for, (n, d) each.

    A corner without gradient but with a value (a kink) stands for any; one without a value (log of a negative number)
    for none, which NaN says to fmin and fmax.
    """
    value, grad = field.gradient(x)
    known = np.isfinite(value)[:, None]
    bad = np.isnan(grad)
    low = np.where(known, np.where(bad, -np.inf, grad), np.nan)
    high = np.where(known, np.where(bad, np.inf, grad), np.nan)
    return low, high
