"""Certified where that can be, numerical where it cannot: one entry for whoever wants critical points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from optbench.critical.certified import DEPTH, MissingRule, Trail, certify
from optbench.critical.points import CriticalSet
from optbench.errors import UserError
from optbench.problem import Box, Objective

CERTIFIED_UP_TO = 4
"""Coordinates up to which the certified search is the default; it works to about 7, in minutes."""


def critical_points(
    objective: Objective,
    box: Box,
    *,
    name: str = "surface",
    method: str | None = None,
    seconds: float = 60.0,
    depth: float = DEPTH,
    progress: Callable[[float, str], None] | None = None,
    trail: Trail | None = None,
) -> CriticalSet:
    """The critical points of a surface in a box.

    Args:
        objective: (..., dim) to (...), float64.
        box: (low, high) of each axis.
        name: of the surface, for the report.
        method: "certified", "numeric", or None: certified up to CERTIFIED_UP_TO coordinates where every operation has
            an interval rule, else numeric, with a note that says why.
        seconds: budget.
        depth: of a certified search: width, relative to the box, below which a region is left undecided.
        progress: called with the share done (0..1) and a phrase.
        trail: told what became of every box that a certified search examined.

    Raises:
        UserError: method "certified" for an operation without an interval rule.
    """
    notes: tuple[str, ...] = ()
    if method == "certified" or (method is None and len(box) <= CERTIFIED_UP_TO):
        try:
            return certify(objective, box, name=name, seconds=seconds, depth=depth, progress=progress, trail=trail)
        except MissingRule as error:
            if method == "certified":
                raise UserError(str(error), "use --method numeric") from error
            notes = (f"searched numerically: {error}",)
    from optbench.critical.numeric import find_critical  # scipy.stats: half a second to import

    found = find_critical(objective, box, name=name, budget_seconds=seconds, progress=progress)
    return replace(found, notes=found.notes + notes)
