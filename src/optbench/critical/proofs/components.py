"""Connected components of boxes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optbench.critical.arithmetic.ends import Array

FEW = 64  # things: up to here all pairs are compared in less time than the import of scipy takes
REACH = 3.0  # widths of the widest box between the centres of boxes that count as connected


def components(low: Array, high: Array, unit: Array) -> npt.NDArray[np.int_]:
    """Labels 0, 1, ... of boxes low, high (n, d): boxes closer than about two widths share a label.

    Boxes are first gathered in the cells of a grid, so that a crowd costs no more than the room it takes.
    """
    if not len(low):
        return np.zeros(0, dtype=int)
    center = 0.5 * (low + high) / unit
    pitch = REACH * float(((high - low) / unit).max())
    cells, inverse = np.unique(np.floor(center / pitch), axis=0, return_inverse=True)
    return connected(len(cells), pairs_within(cells, 1.5))[inverse.reshape(-1)]


def pairs_within(points: Array, reach: float) -> npt.NDArray[np.int_]:
    """Pairs i < j of points (n, d), in order, that no coordinate has further apart than `reach`: (m, 2)."""
    if len(points) <= FEW:
        apart = np.abs(points[:, None] - points[None]).max(axis=-1, initial=0.0)
        return np.argwhere(np.triu(apart <= reach, k=1))
    from scipy.spatial import cKDTree  # a third of a second to import: only where it is needed

    found = np.sort(cKDTree(points).query_pairs(reach, p=np.inf, output_type="ndarray"), axis=1)
    return np.asarray(found[np.lexsort(found.T[::-1])])


def connected(n: int, pairs: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
    """Labels 0, 1, ... of n things that these pairs (m, 2) connect, numbered as they appear."""
    if n <= FEW:
        label = np.arange(n)
        while (label[pairs[:, 0]] != label[pairs[:, 1]]).any():
            least = label[pairs].min(axis=1)
            for end in (0, 1):
                np.minimum.at(label, pairs[:, end], least)
        return np.asarray(np.unique(label, return_inverse=True)[1])
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(edges, directed=False)[1])


def split_by(label: npt.NDArray[np.int_], low: Array, high: Array) -> list[tuple[Array, Array]]:
    """The boxes of label 0, of label 1, and so on."""
    order = np.argsort(label, kind="stable")
    cuts = np.cumsum(np.bincount(label))[:-1]
    return list(zip(np.split(low[order], cuts), np.split(high[order], cuts), strict=True)) if len(label) else []


def extent(low: Array, high: Array, unit: Array) -> float:
    """Longest side, in units, of the smallest box round all boxes."""
    return float(((high.max(axis=0) - low.min(axis=0)) / unit).max())
