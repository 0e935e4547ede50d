"""Which boxes hang together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from optbench.critical.arithmetic.ends import Array

REACH = 3.0  # widths of the widest box between the centres of boxes that hang together


def components(low: Array, high: Array, unit: Array) -> npt.NDArray[np.int_]:
    """Labels 0, 1, ... of boxes low, high (n, d): boxes closer than about two widths share a label.

    Boxes are first gathered in the cells of a grid, so that a crowd costs no more than the room it takes.
    """
    if not len(low):
        return np.zeros(0, dtype=int)
    center = 0.5 * (low + high) / unit
    pitch = REACH * float(((high - low) / unit).max())
    cells, inverse = np.unique(np.floor(center / pitch), axis=0, return_inverse=True)
    near = cKDTree(cells).query_pairs(1.5, p=np.inf, output_type="ndarray")
    edges = coo_matrix((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(len(cells), len(cells)))
    return np.asarray(connected_components(edges, directed=False)[1])[inverse.reshape(-1)]


def split_by(label: npt.NDArray[np.int_], low: Array, high: Array) -> list[tuple[Array, Array]]:
    """The boxes of label 0, of label 1, and so on."""
    order = np.argsort(label, kind="stable")
    cuts = np.cumsum(np.bincount(label))[:-1]
    return list(zip(np.split(low[order], cuts), np.split(high[order], cuts), strict=True)) if len(label) else []


def extent(low: Array, high: Array, unit: Array) -> float:
    """Longest side, in units, of the smallest box round all boxes."""
    return float(((high.max(axis=0) - low.min(axis=0)) / unit).max())
