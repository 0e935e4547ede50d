"""What can be proved about the boxes that branch and bound leaves undecided.

Connected boxes form one region. About each region: the range of f, the signs of the Hessian's eigenvalues that
hold for every critical point in it, whether it holds a local minimum or maximum (by the values of f round it, in any
dimension), and in one and two dimensions its Poincare index (by the gradient round it). The enumeration has proved
that there is nothing between one region and the next, so the box "round it" may be as large as the room allows.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from optbench.critical.arithmetic.ends import Array
from optbench.critical.budget import Spent
from optbench.critical.certified.enumerate import Search
from optbench.critical.proofs.components import components, split_by
from optbench.critical.proofs.extremum import extremum_inside, prove_above, proved_finite
from optbench.critical.proofs.field import Enclosure, Field
from optbench.critical.proofs.inertia import eigenvalue_ranges
from optbench.critical.proofs.winding import certified_winding

ROOMS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7)  # of the domain
MOST_REGIONS = 1000  # more than these are described as one
PATIENCE = 10.0  # seconds, after which further regions are described, not certified
MOST_CANDIDATES = 1000
MOST_BOXES = 1_000_000  # more than these are described by their hull
GLOBAL_BOXES = 20_000


@dataclass(frozen=True)
class Held:
    """What is proved of the room round a region: see `Region`."""

    extremum: str = ""
    index: int | None = None
    room: float = 0.0
    lowest: bool = False
    continuous: bool = False


@dataclass(frozen=True)
class Region:
    """Connected undecided boxes, and what is proved of every critical point in them.

    Attributes:
        low, high: the hull, (d,).
        count: number of boxes.
        endless: the boxes multiply and their hull does not shrink: apparently a continuum.
        values: range of f.
        steepest: bound on |gradient|; infinite at a kink.
        eigenvalues: (lowest, highest) of each, ascending, over the region, (d, 2); infinite at a kink.
        positive, negative: at least so many eigenvalues of that sign everywhere in the region.
        touches_edge: the hull reaches the edge of the domain.
        extremum: "minimum" or "maximum" if proved to be in the room, else "".
        index: certified Poincare index of the room; None if unknown.
        room: width of the box in which they were proved, relative to the domain; 0 where there was none.
        lowest: nothing in the whole domain is lower than values[0] by more than values[1] - values[0]: proved.
        continuous: f, and its gradient unless the region is a kink, is proved finite all over the room: no pole.
    """

    low: Array
    high: Array
    count: int
    endless: bool
    values: tuple[float, float]
    steepest: float
    eigenvalues: Array
    positive: int
    negative: int
    touches_edge: bool
    extremum: str
    index: int | None
    room: float
    lowest: bool
    continuous: bool

    @property
    def smooth(self) -> bool:
        """Whether the second derivatives are finite all over the region."""
        return bool(np.isfinite(self.eigenvalues).all())

    def extent(self, width: Array) -> float:
        """Longest side relative to the domain."""
        return float(((self.high - self.low) / width).max())


def regions(search: Search, held_low: Array, held_high: Array) -> list[Region]:
    """The regions that a finished search leaves, in the order of their hulls.

    Args:
        search: after `run`.
        held_low: lower corners of the certified enclosures, (n, d).
        held_high: upper corners.
    """
    field = search.field
    groups = []
    for boxes, endless in (
        (_unexplained(search), False),
        (search.continua.arrays(), True),
        (search.flat.arrays(), False),
    ):
        label = components(*boxes, field.width)
        if label.max(initial=0) >= MOST_REGIONS:
            label[:] = 0
        groups += [(low, high, endless) for low, high in split_by(label, *boxes)]
    groups.sort(key=lambda g: tuple(g[0].min(axis=0)))
    found, deadline = [], time.perf_counter() + PATIENCE
    for k, (low, high, endless) in enumerate(groups):
        rest = [g for i, g in enumerate(groups) if i != k]
        walls = (
            np.concatenate([held_low, *(g[0] for g in rest)]),
            np.concatenate([held_high, *(g[1] for g in rest)]),
        )
        found.append(_describe(field, low, high, endless, walls, certify=time.perf_counter() < deadline))
    return found


def _unexplained(search: Search) -> tuple[Array, Array]:
    """Undecided boxes that do not lie within a box known to hold one certified point and no other."""
    low, high = search.undecided.arrays()
    keep = np.ones(len(low), dtype=bool)
    if len(low):
        for a, b in zip(*search.unique.arrays(), strict=True):
            keep &= ~((low >= a) & (high <= b)).all(axis=1)
    return low[keep], high[keep]


def _describe(
    field: Field, low: Array, high: Array, endless: bool, walls: tuple[Array, Array], certify: bool
) -> Region:
    hull_low, hull_high = low.min(axis=0), high.max(axis=0)
    count = len(low)
    low, high, over = _over(field, low, high)
    eigen_low, eigen_high = eigenvalue_ranges(over.hess)
    with np.errstate(all="ignore"):
        steepest = float(np.linalg.norm(np.abs(over.grad).max(axis=0), axis=1).max())
    values = (float(over.value[0].min()), float(over.value[1].max()))
    touches = bool(((hull_low <= field.low) | (hull_high >= field.high)).any())
    place = _room(field, hull_low, hull_high, walls) if certify and not touches else None
    held = Held()
    with suppress(Spent):
        if place is not None:
            middles = 0.5 * (low + high)[:: max(1, len(low) // MOST_CANDIDATES)]
            middles = np.concatenate([0.5 * (hull_low + hull_high)[None], middles])
            held = _held(field, place, middles, 1 if np.isfinite(over.grad).all() else 0)
        if endless and np.isfinite(values).all():
            gap = values[1] - values[0]
            higher = prove_above(field, field.low[None], field.high[None], values[0] - gap, most=GLOBAL_BOXES)
            held = replace(held, lowest=higher)
    return Region(
        hull_low,
        hull_high,
        count,
        endless,
        values,
        steepest,
        np.stack([eigen_low.min(axis=0), eigen_high.max(axis=0)], axis=1),
        int((eigen_low > 0).sum(axis=1).min()),
        int((eigen_high < 0).sum(axis=1).min()),
        touches,
        **vars(held),
    )


def _over(field: Field, low: Array, high: Array) -> tuple[Array, Array, Enclosure]:
    """Ranges over the boxes; over their hull, where they are too many for what is left of the budget."""
    if len(low) <= MOST_BOXES:
        with suppress(Spent):
            return low, high, field.enclose(low, high, 2)
    low, high = low.min(axis=0)[None], high.max(axis=0)[None]
    field.budget, budget = None, field.budget
    over = field.enclose(low, high, 2)
    field.budget = budget
    return low, high, over


def _held(field: Field, place: tuple[Array, Array], middles: Array, order: int) -> Held:
    """What the room holds, as far as the budget reaches."""
    held = Held(room=float(((place[1] - place[0]) / field.width).max()))
    with suppress(Spent):
        held = replace(held, continuous=proved_finite(field, *place, order))
        held = replace(held, extremum=extremum_inside(field, *place, middles) if held.continuous else "")
        held = replace(held, index=certified_winding(field, *place).number if field.dim <= 2 else None)
    return held


def _room(field: Field, low: Array, high: Array, walls: tuple[Array, Array]) -> tuple[Array, Array] | None:
    """The largest box round the hull that stays in the domain and meets no other region and no certified point."""
    for share in ROOMS:
        room_low, room_high = low - share * field.width, high + share * field.width
        if (room_low < field.low).any() or (room_high > field.high).any():
            continue
        if not ((walls[0] <= room_high) & (walls[1] >= room_low)).all(axis=1).any():
            return room_low, room_high
    return None
