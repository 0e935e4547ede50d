"""The critical points of a surface as plain data, and back: what is needed to tell where a run stopped, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.critical.points.found import Cluster, CriticalPoint, CriticalSet
from optbench.landmarks.arrivals import Landmarks
from optbench.landmarks.disks import Disks
from optbench.records import plain

if TYPE_CHECKING:
    from optbench.critical.numeric.calculus import Jets
    from optbench.problem import Objective


def to_plain(known: Landmarks) -> dict[str, Any]:
    """What JSON can hold of the landmarks of a surface."""
    found = known.found
    facts = {
        "box": known.box,
        "radius": known.disks.radius,
        "levels": known.disks.levels,
        "points": None if found is None else [asdict(point) for point in found.points],
        "clusters": [] if found is None else [asdict(cluster) for cluster in found.clusters],
        "tips": [asdict(point) for point in known.tips],
    }
    made: dict[str, Any] = plain(facts, finite=False)
    return made


def from_plain(facts: Mapping[str, Any], objective: Objective | Jets) -> Landmarks:
    """The landmarks that `to_plain` gave, for the same surface."""
    box = _box(facts["box"])
    levels = tuple(facts["levels"])
    tips = _points(facts["tips"])
    if facts["points"] is None:
        return Landmarks(objective, box, None, Disks(np.empty((0, len(box))), facts["radius"], levels), tips)
    points = _points(facts["points"])
    clusters = _clusters(facts["clusters"])
    found = CriticalSet("", box, "certified", False, "kept for where runs stop", None, points, clusters, 0.0, 0)
    places = np.array([point.x for point in points], dtype=np.float64).reshape(-1, len(box))
    return Landmarks(objective, box, found, Disks(places, facts["radius"], levels), tips)


def set_to_plain(found: CriticalSet, disks: Disks) -> dict[str, Any]:
    """What JSON can hold of a list of critical points that is not made of factors, and of their disks."""
    made: dict[str, Any] = plain({"found": asdict(found), "disks": asdict(disks) | {"places": None}}, finite=False)
    return made


def set_from_plain(facts: Mapping[str, Any]) -> tuple[CriticalSet, Disks]:
    """The list and the disks that `set_to_plain` gave."""
    found, disks = facts["found"], facts["disks"]
    box, points = _box(found["box"]), _points(found["points"])
    parts = {"box": box, "points": points, "clusters": _clusters(found["clusters"]), "notes": tuple(found["notes"])}
    places = np.array([point.x for point in points], dtype=np.float64).reshape(-1, len(box))
    whole = CriticalSet(**{**found, **parts, "factors": ()})
    return whole, Disks(places, disks["radius"], tuple(disks["levels"]))


def _box(sides: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(low), float(high)) for low, high in sides)


def _clusters(rows: Sequence[Mapping[str, Any]]) -> tuple[Cluster, ...]:
    return tuple(Cluster(**{**row, "box": _box(row["box"]), "values": tuple(row["values"])}) for row in rows)


def _points(rows: Sequence[Mapping[str, Any]]) -> tuple[CriticalPoint, ...]:
    facts: list[dict[str, Any]] = [{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows]
    return tuple(CriticalPoint(**point) for point in facts)
