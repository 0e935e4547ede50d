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
    box = tuple((float(low), float(high)) for low, high in facts["box"])
    levels = tuple(facts["levels"])
    tips = _points(facts["tips"])
    if facts["points"] is None:
        return Landmarks(objective, box, None, Disks(np.empty((0, len(box))), facts["radius"], levels), tips)
    points = _points(facts["points"])
    clusters = tuple(Cluster(**{**c, "box": tuple(map(tuple, c["box"]))}) for c in facts["clusters"])
    found = CriticalSet("", box, "certified", False, "kept for where runs stop", None, points, clusters, 0.0, 0)
    places = np.array([point.x for point in points], dtype=np.float64).reshape(-1, len(box))
    return Landmarks(objective, box, found, Disks(places, facts["radius"], levels), tips)


def _points(rows: Sequence[Mapping[str, Any]]) -> tuple[CriticalPoint, ...]:
    facts: list[dict[str, Any]] = [{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows]
    return tuple(CriticalPoint(**point) for point in facts)
