"""Do two proofs of the critical points in a box say the same? Their lists compared, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optbench.critical.arithmetic.ends import Array
from optbench.critical.points.found import CriticalSet


@dataclass(frozen=True)
class Found:
    """A point of the second proof.

    Attributes:
        low, high: its enclosure, (d,).
        index: number of negative eigenvalues; None where a sign is open.
        inside: proved to lie in the closed box; else it may lie on either side of the edge.
    """

    low: Array
    high: Array
    index: int | None
    inside: bool


def difference(found: CriticalSet, points: list[Found]) -> str:
    """What the two proofs disagree on; empty if nothing.

    A point that the first proof left open at the edge may be inside, outside or open here.
    """
    listed = [p for p in found.points if p.type != "degenerate"]
    known = 0
    for p in listed:
        x, radius = np.array(p.x), p.radius or 0.0
        same = [q for q in points if ((q.low <= x + radius) & (q.high >= x - radius)).all()]
        place = ", ".join(f"{v:.6g}" for v in p.x)
        known += len(same)
        if len(same) > 1 or (p.inside and not same):
            return f"the point at ({place}) is {'found twice' if same else 'not found'} in Arb arithmetic"
        if same and same[0].index != p.morse_index:
            return f"the point at ({place}) has Morse index {same[0].index} in Arb arithmetic, not {p.morse_index}"
        if same and p.inside and not same[0].inside:
            return f"the point at ({place}) is not proved to lie inside the box in Arb arithmetic"
    if len(points) != known:
        return f"{len(points)} points in Arb arithmetic, {len(listed)} in the list"
    return ""


def agreement(found: CriticalSet, points: list[Found]) -> str:
    """What was proved again, in words."""
    n = sum(p.inside and p.type != "degenerate" for p in found.points)
    unsearched = ["degenerate points"] * any(p.type == "degenerate" for p in found.points)
    unsearched += ["open regions"] * bool(found.clusters)
    text = f"{n} point{'s' * (n != 1)} proved again in Arb ball arithmetic, with the same types, and no other"
    text += " away from the edge" * bool(found.at_edge)
    text += f" outside of boxes round {' and '.join(unsearched)}" if unsearched else ""
    if not found.at_edge:
        return text
    inside = sum(q.inside for q in points) - n
    near = len(points) - n - inside
    outside = len(found.at_edge) - inside - near
    return f"{text}; of those at the edge of the box {inside} lie inside, {outside} outside, {near} stay open"
