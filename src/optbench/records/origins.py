"""Where a run was made: of its provenance the few facts by which times, and last digits, can differ.

A fact is told by its name: `device` (of a GPU what it is called), `processor`, `threads`, `processes` that shared each
batch (where nothing is said of them, one), `host`, and the versions of packages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PLACES = ("device", "processor", "threads", "processes", "host")
VERSIONS = ("optbench", "torch", "numpy", "python")
FACTS = (*PLACES, *VERSIONS)
"""In the order of the values of `origin_of`."""

Origin = tuple[Any, ...]
UNKNOWN: Origin = (None,) * len(FACTS)


def origin_of(provenance: Any) -> Origin:
    """The FACTS of a provenance, given as a mapping or as its JSON; None for each that it lacks.

    What is no provenance, as in records made by hand, has none of them; nothing is raised.
    """
    if isinstance(provenance, str):
        try:
            provenance = json.loads(provenance)
        except ValueError:
            return UNKNOWN
    if not isinstance(provenance, Mapping):
        return UNKNOWN
    versions = provenance.get("versions")
    own = versions if isinstance(versions, Mapping) else {}
    if provenance.get("threads") is not None:  # made here, and not another tool's
        provenance = {"processes": 1, **provenance}
    device, *places = map(provenance.get, PLACES)
    if device != "cpu":
        device = provenance.get("device_name") or device
    found = (device, *places, *map(own.get, VERSIONS))
    return tuple(value if isinstance(value, str | int) else None for value in found)
