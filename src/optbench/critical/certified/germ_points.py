"""Points verified in exact arithmetic (`germs`) as results: in numbers and in words, for the regions they settle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction

from optbench.critical.arithmetic.ends import Array
from optbench.critical.certified.clusters import Region
from optbench.critical.certified.enumerate import LARGE
from optbench.critical.certified.wording import ways
from optbench.critical.germs.branches import words
from optbench.critical.germs.germ import Germ, alone, germ_in
from optbench.critical.points.describe import signed
from optbench.critical.points.found import CriticalPoint, Kind
from optbench.critical.proofs.field import Field

PATIENCE = 10.0  # seconds, after which further regions are left as they are


def exact_points(
    field: Field, found: Sequence[Region], held_low: Array, held_high: Array
) -> tuple[list[CriticalPoint], list[Region]]:
    """Exactly verified points, each the only critical point of its region; and the regions that stay open.

    Where arithmetic was too coarse to clear the neighbourhood of such a point, regions near it are left over: they are
    dropped with it if the point is proved to be the only one as far as they reach.

    Args:
        field: the objective on its box.
        found: what branch and bound left undecided.
        held_low, held_high: enclosures of the points that it certified, (n, d): a point is not listed twice.
    """
    deadline = time.perf_counter() + PATIENCE
    germs: list[tuple[Germ, Region]] = []
    small = [r for r in found if r.extent(field.width) <= LARGE]
    for region in small:
        germ = germ_in(field, region.low, region.high) if time.perf_counter() < deadline else None
        if germ is not None and germ.point not in [known.point for known, _ in germs]:
            germs.append((germ, region))
    # Those without a point of their own, and those that touch the same point.
    settled = [any(alone(field, germ, r.low, r.high) for germ, _ in germs) for r in small]
    gone = {id(r) for r, done in zip(small, settled, strict=True) if done}
    new = [
        (germ, region)
        for germ, region in germs
        if _in_the_box(field, germ)
        and (germ.degenerate or not ((held_low <= germ.x) & (held_high >= germ.x)).all(axis=1).any())
    ]
    return [_point(field, germ, region) for germ, region in new], [r for r in found if id(r) not in gone]


def _in_the_box(field: Field, germ: Germ) -> bool:
    """Whether the point lies in the closed box, which the region round it may exceed by a rounding error."""
    ends = zip(field.low.tolist(), field.high.tolist(), strict=True)
    return all(Fraction(low) <= v <= Fraction(high) for v, (low, high) in zip(germ.point, ends, strict=True))


def _point(field: Field, germ: Germ, region: Region) -> CriticalPoint:
    nature = germ.nature
    if nature == "undecided" and region.extremum in ("minimum", "maximum"):
        nature = "minimum" if region.extremum == "minimum" else "maximum"
    kind: Kind = "degenerate" if germ.degenerate or nature == "undecided" else nature
    edge = any(v in side for v, side in zip(germ.point, zip(field.low, field.high, strict=True), strict=True))
    return CriticalPoint(
        x=germ.x,
        value=float(field.values(field.low[None] * 0.0 + germ.x)[0]),
        grad_norm=0.0,
        eigenvalues=germ.eigenvalues,
        type=kind,
        morse_index=None if germ.degenerate else germ.negative,
        basis="proved",
        radius=germ.radius,
        index=germ.index,
        verdict=nature,
        wording=_wording(germ, nature),
        on_boundary=edge,
        multiplicity=germ.multiplicity,
        singularity=germ.singularity,
        exact=tuple(map(str, germ.point)),
        branches=tuple(branch.to_json() for branch in germ.branches),
    )


def _wording(germ: Germ, nature: str) -> str:
    place = ", ".join(str(p) if p.denominator < 10**6 else repr(float(p)) for p in germ.point)
    flat = len(germ.point) - germ.positive - germ.negative
    name = f"{germ.singularity}, " if germ.singularity else ""
    parts = [
        f"verified in exact arithmetic at ({place})"
        if len(germ.point) > 1
        else f"verified in exact arithmetic at {place}",
        f"{flat} eigenvalue{'s' * (flat > 1)} of the Hessian exactly 0" if flat else "nondegenerate",
        f"{name}multiplicity {germ.multiplicity}, Poincare index {signed(germ.index)}"
        + (ways(germ.index) if flat and nature == "saddle" else ""),
        _sectors(germ, nature),
        "proved to be the only critical point of its region",
    ]
    return "; ".join(part for part in parts if part)


def _sectors(germ: Germ, nature: str) -> str:
    """How f lies round the point, in two coordinates."""
    if len(germ.point) != 2 or not germ.degenerate or nature == "undecided":
        return ""
    count = 2 * (1 - germ.index)
    if not count:
        return f"f is {'higher' if nature == 'minimum' else 'lower'} all round it"
    shapes = f": {words(list(germ.branches), ('dx', 'dy'))}" if germ.all_branches else ""
    return f"f is alternately higher and lower between the {count} half-branches of f = f(point){shapes}"
