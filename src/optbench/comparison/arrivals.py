"""Which critical points the runs of a group reached, and how often: every run is counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from optbench.records import RunTable, Status
from optbench.records.columns import Ints

ELSEWHERE, UNKNOWN = "elsewhere", "not known"
NO_POINT = (ELSEWHERE, *map(str, (Status.DIVERGED, Status.FAILED, Status.INTERRUPTED, Status.SKIPPED)), UNKNOWN)
"""What is counted beside critical points, in the order of a table."""

RULE = (
    "stopped at: the critical point within 1/1000 of the box (less where points are close), a minimum also from ten "
    "times as far if the run is so low that no descent leads away; elsewhere: at no critical point of the box"
)


def stops(runs: RunTable, codes: Ints, count: int) -> list[dict[str, int] | None]:
    """How many runs of each group stopped at each critical point, the most visited first, then NO_POINT if it occurs.

    Args:
        runs: of all groups.
        codes: number of the group of each run, (n,).
        count: number of groups.

    Returns:
        Of each group, name of the point to number of runs, which add up to all runs. None where no run that ended well
        says where it stopped: on networks, and in records from before there was such a column.
    """
    counts: list[Counter[str]] = [Counter() for _ in range(count)]
    asked, ended = [False] * count, [False] * count
    for (place, status, curved, group), n in runs.tally(
        "stopped_at", "status", present=("lambda_min",), by=codes
    ).items():
        counts[group][_place(place, status, curved)] += n
        if status not in NO_POINT:
            ended[group] = True
            asked[group] = asked[group] or curved or place is not None
    network = np.bincount(codes[runs.where("data", lambda data: data not in (None, "none"))], minlength=count) > 0
    unknown = network | (np.array(ended, dtype=bool) & ~np.array(asked, dtype=bool))
    return [None if none else _in_order(one) for one, none in zip(counts, unknown.tolist(), strict=True)]


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    points = sorted((name for name in counts if name not in NO_POINT), key=lambda name: (-counts[name], name))
    return {name: counts[name] for name in (*points, *(name for name in NO_POINT if name in counts))}


def at_points(counts: Mapping[str, int] | None) -> list[str]:
    """The critical points among what `stops` counts, in its order."""
    return [name for name in counts or () if name not in NO_POINT]


def _place(place: Any, status: str, curved: bool) -> str:
    if place is not None:
        return str(place)
    if status in NO_POINT:
        return str(status)
    return ELSEWHERE if curved else UNKNOWN
