"""A second, closer look at small undecided regions that are proved to hold something.

Depth is relative to the box: on [-1e10, 1e10]^2 a minimum, a saddle and another minimum one unit apart fit into one box
of the smallest size. Before such a region is reported as if it were one point, it is searched as a box of its own.
"""

from __future__ import annotations

import copy

from optbench.critical.certified.clusters import Region
from optbench.critical.certified.enumerate import Search
from optbench.critical.proofs.boxes import Boxes

MOST_BOXES = 20_000  # of one look
LOOKS = 4  # each at what the one before has left
SHRUNK = 0.01  # a look must leave so little of the sides of its box to be followed by another


def resolved(search: Search, region: Region) -> bool:
    """Whether a closer search settles the region; then its points are added to the search, and its boxes taken out.

    Args:
        search: after `run`.
        region: connected undecided boxes of it.
    """
    unique, held = Boxes(search.field.dim), Boxes(search.field.dim)
    low, high = region.low, region.high
    for _ in range(LOOKS):
        own = copy.copy(search.field)
        own.low, own.high, own.width = low, high, high - low
        if not (own.width > 0).all():
            return False
        look = Search(own, search.depth, MOST_BOXES, search.budget)
        look.run()
        search.boxes += look.boxes
        for found, kept in ((look.unique, unique), (look.held, held)):
            kept.add(*found.arrays())
        if look.stopped or len(look.continua) or len(look.flat):
            return False
        left_low, left_high = look.undecided.arrays()
        if not len(left_low):
            break
        low, high = left_low.min(axis=0), left_high.max(axis=0)
        if ((high - low) > SHRUNK * own.width).any():
            return False
    else:
        return False
    open_low, open_high = search.undecided.arrays()
    outside = ~((open_low >= region.low) & (open_high <= region.high)).all(axis=1)
    search.undecided = Boxes(search.field.dim)
    search.undecided.add(open_low[outside], open_high[outside])
    search.unique.add(*unique.arrays())
    search.held.add(*held.arrays())
    return True
