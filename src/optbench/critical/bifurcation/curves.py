"""Tubes joined into curves: which of them hold the same smooth curve x(a).

Two tubes that share a parameter a hold the same point there if the one's point lies in the box in which the other's is
the only one, and different points if their enclosures are disjoint. Where they agree at one a they agree at every a
that they share: the points where two curves of nondegenerate critical points agree are open and closed in an interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from optbench.critical.arithmetic.ends import Array, Mask
from optbench.critical.bifurcation.tubes import POLISH, Index, Tubes, at_parameter
from optbench.critical.proofs.field import Field

STEPS = (0, 2, POLISH)  # of Krawczyk's operator, until two tubes are told apart or known to be one
ROWS = 512  # tubes compared with all others at once


@dataclass(frozen=True)
class Joined:
    """Tubes with the number of the curve that each belongs to.

    Attributes:
        curve: (n,) numbers from 0.
        doubtful: (low, high) of a where two tubes could not be told apart.
    """

    curve: Index
    doubtful: tuple[tuple[float, float], ...]


def join(field: Field, tubes: Tubes) -> Joined:
    """Finds which tubes hold the same curve."""
    first, second = _meeting(tubes)
    n = len(tubes)
    shared_low = np.maximum(tubes.a_low[first], tubes.a_low[second])
    shared_high = np.minimum(tubes.a_high[first], tubes.a_high[second])
    same, open_ = np.zeros(len(first), dtype=bool), np.arange(len(first))
    for steps in STEPS:
        found, apart = _compared(
            field, tubes.rows(first[open_]), tubes.rows(second[open_]), shared_low[open_], shared_high[open_], steps
        )
        same[open_[found]] = True
        open_ = open_[~found & ~apart]
        if not len(open_):
            break
    graph = coo_array((np.ones(int(same.sum())), (first[same], second[same])), shape=(n, n))
    label = connected_components(graph, directed=False)[1] if n else np.empty(0, dtype=np.intp)
    doubtful = tuple(zip(shared_low[open_].tolist(), shared_high[open_].tolist(), strict=True))
    return Joined(label, doubtful)


def _compared(field: Field, one: Tubes, two: Tubes, low: Array, high: Array, steps: int) -> tuple[Mask, Mask]:
    """(n,) which pairs are proved to hold the same point at a parameter in [low, high], and which different ones."""
    a = np.clip(0.5 * (low + high), low, high)
    (one_low, one_high), (two_low, two_high) = (at_parameter(field, tubes, a, steps) for tubes in (one, two))
    apart = np.asarray(((one_low > two_high) | (two_low > one_high)).any(axis=1))
    same = ((one_low >= two.unique_low) & (one_high <= two.unique_high)).all(axis=1)
    same |= ((two_low >= one.unique_low) & (two_high <= one.unique_high)).all(axis=1)
    return np.asarray(same & ~apart), apart


def _meeting(tubes: Tubes) -> tuple[Index, Index]:
    """Pairs of tubes whose enclosures and parameters meet."""
    first, second = [], []
    for k in range(0, len(tubes), ROWS):
        rows = np.arange(k, min(k + ROWS, len(tubes)))
        meet = (tubes.a_low[rows, None] <= tubes.a_high) & (tubes.a_high[rows, None] >= tubes.a_low)
        for i in range(tubes.low.shape[1]):
            meet &= (tubes.low[rows, None, i] <= tubes.high[:, i]) & (tubes.high[rows, None, i] >= tubes.low[:, i])
        meet &= rows[:, None] < np.arange(len(tubes))
        p, q = np.nonzero(meet)
        first.append(rows[p])
        second.append(q)
    none = np.empty(0, dtype=np.intp)
    return np.concatenate([none, *first]), np.concatenate([none, *second])
