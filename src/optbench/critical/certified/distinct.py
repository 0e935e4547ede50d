"""Which enclosures that a search holds are of one and the same point."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from optbench.critical.arithmetic.ends import Array, Mask
from optbench.critical.certified.enumerate import Search
from optbench.critical.proofs.components import pairs_within
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.krawczyk import polish


class Distinct(NamedTuple):
    """Enclosures of distinct points in or near the domain.

    Attributes:
        low, high: (n, d) enclosures, narrowed down to rounding.
        unique_low, unique_high: (n, d) boxes round them that hold no other point.
        overlaps: how many pairs could not be told apart.
    """

    low: Array
    high: Array
    unique_low: Array
    unique_high: Array
    overlaps: int


def distinct(search: Search) -> Distinct:
    """The distinct points of a finished search.

    Two enclosures are of the same point if one of them lies in the box in which the other's point is the only one, and
    of different points if they are disjoint.
    """
    field = search.field
    unique_low, unique_high = search.unique.arrays()
    low, high = polish(field, *search.held.arrays(), unique_low, unique_high)
    order = np.lexsort(low.T[::-1])
    near = np.asarray(((high >= field.low) & (low <= field.high)).all(axis=1))
    order = order[near[order]]
    low, high, unique_low, unique_high = low[order], high[order], unique_low[order], unique_high[order]
    dropped, overlaps = _repeated(field, low, high, unique_low, unique_high)
    low, high, unique_low, unique_high = (v[~dropped] for v in (low, high, unique_low, unique_high))
    return Distinct(low, high, unique_low, unique_high, overlaps)


def _repeated(field: Field, low: Array, high: Array, unique_low: Array, unique_high: Array) -> tuple[Mask, int]:
    """(n,) True for enclosures of a point that another one encloses; and how many pairs could not be told apart."""
    dropped, overlaps = np.zeros(len(low), dtype=bool), 0
    if len(low) < 2:
        return dropped, overlaps
    scaled = 0.5 * (low + high) / field.width
    reach = float(((high - low) / field.width).max()) + 1e-15
    for i, j in pairs_within(scaled, reach):
        meet = ((low[i] <= high[j]) & (low[j] <= high[i])).all()
        if not meet:
            continue
        inside = [((low[a] >= unique_low[b]) & (high[a] <= unique_high[b])).all() for a, b in ((i, j), (j, i))]
        dropped[j] |= any(inside)
        overlaps += not any(inside)
    return dropped, overlaps
