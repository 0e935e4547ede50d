"""Where runs on a surface stopped, as columns of their records. Once a process the critical points of each surface are
found; what a run costs besides is one Hessian."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optbench.records import MAX_COORDINATES, Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optbench.landmarks.arrivals import Arrival, Landmarks
    from optbench.problem import AbstractProblem, SurfaceProblem

log = logging.getLogger(__name__)

COLUMNS = ("stopped_at", "critical_type", "lambda_min")
"""What is filled here of records.RUN_COLUMNS."""

_NOWHERE = frozenset({Status.DIVERGED, Status.FAILED, Status.INTERRUPTED, Status.SKIPPED})
_known: dict[str, Landmarks] = {}


def arrivals_of(
    config: Mapping[str, Any], problem: SurfaceProblem, statuses: Sequence[Status], x: Sequence[Any] | NDArray[Any]
) -> list[Arrival]:
    """What each last iterate is: `stopped_at`, `critical_type`, `lambda_min`, absent for a run that did not stop there.

    Args:
        config: of the runs, as far as the surface and its loss go.
        problem: theirs.
        statuses: of each run.
        x: last iterate of each, (rows, dim).
    """
    name = type(problem.surface).__name__
    return arrivals_by(lambda: landmarks_of(config, problem), name, problem.surface.dim, statuses, x)


def arrivals_by(
    known: Callable[[], Landmarks], name: str, dim: int, statuses: Sequence[Status], x: Sequence[Any] | NDArray[Any]
) -> list[Arrival]:
    """The same by the critical points of a surface.

    Args:
        known: gives them, where anything is asked.
        name: of the surface, for messages.
        dim: its number of coordinates.
        statuses: of each run.
        x: last iterate of each, (rows, dim).
    """
    import numpy as np

    from optbench.landmarks.arrivals import Arrival

    none = Arrival()
    ended = [i for i, status in enumerate(statuses) if status not in _NOWHERE]
    if not ended or dim > MAX_COORDINATES:
        return [none] * len(statuses)
    try:
        with np.errstate(all="ignore"):  # an end may be anywhere
            found = known().arrivals(np.array([x[i] for i in ended], dtype=np.float64))
    except Exception as error:  # the surface is anyone's code, and a run is recorded whatever a Hessian of it raises
        log.warning("%s: where runs stopped is not known (%s)", name, error)
        return [none] * len(statuses)
    by_row = dict(zip(ended, found, strict=True))
    return [by_row.get(i, none) for i in range(len(statuses))]


def arrival_of(config: Mapping[str, Any], problem: AbstractProblem, status: Status) -> dict[str, Any]:
    """The columns of one run, whose problem is where it stopped; empty for a network."""
    from optbench.problem import SurfaceProblem

    x = problem.coordinates()
    if x is None or not isinstance(problem, SurfaceProblem):
        return {}
    return vars(arrivals_of(config, problem, [status], [x])[0])


def landmarks_of(config: Mapping[str, Any], problem: SurfaceProblem) -> Landmarks:
    """The critical points of a problem's surface, found once a process."""
    from optbench.landmarks.arrivals import landmarks

    key = json.dumps([config["model"], config["loss"]], sort_keys=True, default=str)
    if key not in _known:
        _known[key] = landmarks(problem.field, problem.surface.domain, problem.surface.minimizers)
    return _known[key]
