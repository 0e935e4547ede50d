"""Certified where possible, numerical elsewhere: the one entry point for finding critical points."""

from __future__ import annotations

from dataclasses import replace

from optbench.critical.budget import Budget, Progress
from optbench.critical.certified import DEPTH, MAX_BOXES, certify
from optbench.critical.points.found import CriticalSet
from optbench.critical.programs.scalar import MissingRule
from optbench.critical.proofs.boxes import Trail
from optbench.errors import UserError
from optbench.problem import Box, Objective

CERTIFIED_UP_TO = 8
"""Coordinates up to which the certified search is the default. Where its budget ends first, what is proved so far and
what is open is the answer; nothing is put in its place."""

OPEN = 0.1  # of a side of the box


def critical_points(
    objective: Objective,
    box: Box,
    *,
    name: str = "surface",
    method: str | None = None,
    seconds: float = 60.0,
    budget: Budget | None = None,
    max_boxes: int = MAX_BOXES,
    depth: float = DEPTH,
    progress: Progress | None = None,
    trail: Trail | None = None,
) -> CriticalSet:
    """The critical points of a surface in a box.

    Args:
        objective: (..., dim) to (...), float64.
        box: (low, high) of each axis.
        name: of the surface, for the report.
        method: "certified", "numeric", or None: certified up to CERTIFIED_UP_TO coordinates where every operation has
            an interval rule, else numeric, with a note that says why. A proof that its budget ends is returned as it
            is, with a note where it leaves much of the box open.
        seconds: wall time, kept to within a fifth and a second.
        budget: of time and memory, in place of `seconds`.
        max_boxes: that a certified search examines at most.
        depth: of a certified search: width, relative to the box, below which a region is left undecided.
        progress: called with the share done (0..1) and a phrase.
        trail: told what became of every box that a certified search examined.

    Raises:
        UserError: method "certified" for an operation without an interval rule.
    """
    budget = Budget(seconds) if budget is None else budget
    notes: tuple[str, ...] = ()
    if method == "certified" or (method is None and len(box) <= CERTIFIED_UP_TO):
        try:
            found = certify(
                objective,
                box,
                name=name,
                max_boxes=max_boxes,
                budget=budget,
                depth=depth,
                progress=progress,
                trail=trail,
            )
            return found if method else replace(found, notes=found.notes + _another_way(found))
        except MissingRule as error:
            if method == "certified":
                raise UserError(str(error), "use --method numeric") from error
            notes = (f"searched numerically: {error}",)
    from optbench.critical.numeric.find import find_critical  # scipy.stats: half a second to import

    found = find_critical(objective, box, name=name, budget=budget, progress=progress)
    return replace(found, notes=found.notes + notes)


def _another_way(found: CriticalSet) -> tuple[str, ...]:
    """A note where the proof left a large part of the box open, and nobody has asked for a proof."""
    large = any(
        cluster.kind == "undecided"
        and max((b - a) / (high - low) for (a, b), (low, high) in zip(cluster.box, found.box, strict=True)) > OPEN
        for cluster in found.clusters
    )
    return ("--method numeric lists points in what is open, without proof",) if large else ()
