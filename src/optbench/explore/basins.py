"""Where each start of a grid ends: the basins of attraction of an optimizer, not of the gradient flow.

The rule is that of `landmarks.disks`: a start belongs to a *minimum* when its last iterate is in the minimum's disk and
at or below its level, where no descent leads away; it took as many steps as f first needed to be that low. A *saddle*
or a *maximum* has no such level: there the last iterate is in the disk, and more steps may take it away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optbench.errors import UserError
from optbench.explore.cases import Case, Run, descended, field_of

if TYPE_CHECKING:
    from optbench.critical import CriticalSet
    from optbench.descend import BatchResult
    from optbench.experiment.surface import Field, ShelvedField
    from optbench.landmarks.disks import Disks
    from optbench.problem import Box

Floats = NDArray[np.float64]

STEPS, GRID = 500, 1000
_PIECE = 1 << 17  # starts in one batch: bounds the memory of the steps to many levels
_OF_STARTS, _OF_CASE = 32, 6
"""Bytes a start: of its place (and the mesh that it is made from), and of what is known of its end."""
_DRAWN, _DRAWN_CASE = 100, 24
"""The same of a figure: while a panel is coloured, and of each panel; measured at 3000 x 3000 starts."""
REST, OUTSIDE, MOVING, DIVERGED = ("at rest elsewhere", "outside the box", "still moving", "diverged")
STATES = (REST, OUTSIDE, MOVING, DIVERGED)
"""Ways to end other than at a critical point; their codes follow those of the points."""


@dataclass(frozen=True)
class Ends:
    """Where one optimizer's starts ended.

    Attributes:
        label: of the case.
        ending: (ny, nx) int16, index into Basins.endings.
        steps: (ny, nx) int32: first step at or below the level of the minimum; of the divergence; else -1.
        engine: what ran it.
        seconds: wall time of the runs, compiling included.
    """

    label: str
    ending: NDArray[np.int16]
    steps: NDArray[np.int32]
    engine: str
    seconds: float


@dataclass(frozen=True)
class Basins:
    """The basins of one or several optimizers on one surface.

    Attributes:
        field: the surface.
        found: its critical points in the box.
        box: where the starts are: the centres of grid x grid equal cells.
        disks: round each point.
        maps: one a case.
        budget: updates of each case.
    """

    field: Field | ShelvedField
    found: CriticalSet
    box: Box
    disks: Disks
    maps: tuple[Ends, ...]
    budget: tuple[int, ...]

    @property
    def radius(self) -> float:
        """Of the disk of each point."""
        return self.disks.radius

    @property
    def endings(self) -> list[str]:
        """Every way to end, by code: critical points, then STATES."""
        from optbench.critical.points.describe import name_of

        return [*map(name_of, self.found.points), *STATES]

    @property
    def rule(self) -> list[str]:
        """The rule of assignment and what a reader must know, in sentences."""
        n = self.maps[0].ending.shape[0]
        steps = " or ".join(str(s) for s in dict.fromkeys(self.budget))
        lines = [
            f"{n} x {n} starts, at the centres of equal cells of {box_text(self.box)}; up to {steps} steps each.",
            f"At a minimum: the last iterate is within r = {self.radius:.3g} of it, and f at or below the lowest f at"
            " distance r, so that no descent leads away; steps: the first at which f was that low.",
            "At a saddle or a maximum: the last iterate is within r of it; more steps may take it away.",
        ]
        if not self.found.complete:
            lines += [f"The list of critical points may lack some: {self.found.why}.", *self.found.notes]
        return lines

    def rows(self) -> list[dict[str, Any]]:
        """One row a case and ending that occurs, the largest share first within a case."""
        rows: list[dict[str, Any]] = []
        for ends in self.maps:
            counts = np.bincount(ends.ending.ravel(), minlength=len(self.endings))
            for code in np.argsort(-counts, kind="stable"):
                if counts[code]:
                    rows.append({"case": ends.label, **self._row(ends, int(code), int(counts[code]))})
        return rows

    def _row(self, ends: Ends, code: int, count: int) -> dict[str, Any]:
        points = self.found.points
        point = points[code] if code < len(points) else None
        steps = ends.steps[ends.ending == code]
        known = steps[steps >= 0]
        return {
            "ending": self.endings[code],
            "type": point.type if point else STATES[code - len(points)],
            "x0": point.x[0] if point else None,
            "x1": point.x[1] if point else None,
            "value": point.value if point else None,
            "starts": count,
            "share": count / ends.ending.size,
            "median_steps": float(np.median(known)) if len(known) else None,
            "engine": ends.engine,
            "seconds": ends.seconds,
        }


def find_basins(
    cases: Sequence[Case],
    box: Box | None = None,
    grid: int = GRID,
    radius: float | None = None,
    budget: float = 60.0,
    run: Run | None = None,
    drawn: bool = False,
) -> Basins:
    """Follows every start of a grid to its end, for each case.

    Args:
        cases: on one surface of two coordinates.
        box: of the starts and of the critical points; None: the surface's domain.
        grid: starts along each axis.
        radius: of the disk round a critical point; None: 1/100 of the box's shorter side, less where points are close.
        budget: seconds to search for critical points.
        run: how.
        drawn: whether a figure will be made of them, which takes more memory than they do.

    Raises:
        UserError: not two coordinates, a case without a form for rows, or more starts than memory holds.
        KeyboardInterrupt: run.stop said so.
    """
    from optbench.descend.memory import check_fits

    field, run = field_of(cases), run or Run()
    if field.surface.dim != 2:
        raise UserError(f"{field.name} has {field.surface.dim} coordinates; basins need two", _dim_hint(cases[0]))
    each = _OF_STARTS + len(cases) * _OF_CASE + drawn * (_DRAWN + len(cases) * _DRAWN_CASE)
    hint = f"a smaller --grid, or fewer optimizers{', or no --plot' * drawn}"
    check_fits(grid * grid * each, f"{grid} x {grid} starts{' and their figure' * drawn}", hint)
    box = box or field.surface.domain
    found, disks = points_in(field, cases[0].config, box, radius, budget)
    basins = Basins(field, found, box, disks, (), tuple(c.trainer.steps for c in cases))
    starts = _centres(box, grid)
    maps = [_follow(basins, case, starts, i * len(starts), len(cases), run) for i, case in enumerate(cases)]
    return replace(basins, maps=tuple(maps))


def points_in(
    field: Field | ShelvedField, config: Mapping[str, Any], box: Box, radius: float | None, budget: float
) -> tuple[CriticalSet, Disks]:
    """The critical points in the box and their disks; a proved list is kept, of the package's own surfaces."""
    from optbench.experiment.programs import kept_points

    def find() -> tuple[CriticalSet, Disks]:
        from optbench.critical import critical_points
        from optbench.landmarks.disks import disks_round

        found = critical_points(field.objective, box, name=field.name, seconds=budget)
        return found, disks_round(field.objective, found.points, box, _radius(found, box, radius))

    return kept_points(config, (box, radius, field.name), find)


def _dim_hint(case: Case) -> str:
    return "add model.dim=2" if "dim" in case.config["model"] else "choose a surface of two coordinates"


def _centres(box: Box, grid: int) -> Floats:
    """(grid * grid, 2), the first coordinate fastest."""
    axes = [low + (high - low) * (np.arange(grid) + 0.5) / grid for low, high in box]
    return np.stack(np.meshgrid(*axes, indexing="xy"), axis=-1).reshape(-1, 2)


def _radius(found: CriticalSet, box: Box, wanted: float | None) -> float:
    from optbench.landmarks.disks import usual_radius, widest_radius

    if wanted is None:
        return usual_radius(found.points, box)
    most = widest_radius(found.points, box)
    if not 0 < wanted < most:
        raise UserError(
            f"--radius {wanted:g}: expected a number above 0 and below {most:.4g}, so that disks stay apart"
        )
    return wanted


def _follow(basins: Basins, case: Case, starts: Floats, before: int, cases: int, run: Run) -> Ends:
    """One case, piece by piece, so that a million starts to a hundred minima fit into memory."""
    total = len(starts)
    ended = 0

    def tell(rows: int) -> None:
        nonlocal ended
        ended += rows
        if run.progress is not None:
            run.progress(before + ended, cases * total, "")

    targets, column = _targets(basins.disks.levels)
    ending, steps = np.empty(total, np.int16), np.empty(total, np.int32)
    seconds, engine = 0.0, ""
    for first in range(0, total, _PIECE):
        cut = slice(first, min(first + _PIECE, total))
        stage = run.stage(lambda: before + ended, cut.stop - cut.start, cases * total)
        result = _descend(basins, case, starts[cut], cut, targets, run, tell, stage)
        if run.stop():
            raise KeyboardInterrupt
        ending[cut], steps[cut] = _assign(basins, result, column)
        seconds, engine = seconds + result.seconds + result.compile_seconds, result.engine
    side = math.isqrt(total)
    return Ends(case.label, ending.reshape(side, side), steps.reshape(side, side), engine, seconds)


def _descend(
    basins: Basins, case: Case, starts: Floats, cut: slice, targets: list[float], run: Run, tell: Any, stage: Any
) -> BatchResult:
    from optbench.descend import Batch

    batch = Batch(
        objective=basins.field.objective,
        starts=starts,
        optimizer=case.config["optimizer"],
        scheduler=case.config["scheduler"],
        trainer=case.trainer,
        grad_noise=case.trainer.grad_noise,
        seeds=np.arange(cut.start, cut.stop, dtype=np.int64),
        targets=targets,
        backend=run.backend,
        threads=run.threads,
        stop_requested=run.stop,
        on_rows=tell,
        on_stage=stage,
    )
    return descended(case, batch)


def _targets(levels: Sequence[float | None]) -> tuple[list[float], list[int]]:
    """The different levels, descending, and for each point which one is its own (-1: none)."""
    targets = sorted({v for v in levels if v is not None}, reverse=True)
    return targets, [-1 if v is None else targets.index(v) for v in levels]


def _assign(basins: Basins, result: BatchResult, column: list[int]) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    from optbench.descend import batch as codes

    n = len(basins.found.points)
    low, high = np.array(basins.box).T
    inside = ((result.x >= low) & (result.x <= high)).all(axis=1)
    rest = np.isin(result.code, (codes.REST, codes.PLATEAU))
    diverged = result.code == codes.DIVERGED
    ending = np.select([diverged, rest, ~inside], [n + 3, n, n + 1], n + 2).astype(np.int16)
    steps = np.where(diverged, result.steps, -1).astype(np.int32)
    held = np.where(diverged, -1, basins.disks.holding(result.x, result.final_loss))
    here = held >= 0
    ending[here] = held[here]
    which = np.array(column, dtype=int)[held[here]]
    reached = np.full(len(which), -1)
    reached[which >= 0] = result.reached[here][which >= 0, which[which >= 0]]
    steps[here] = reached
    return ending, steps


def box_text(box: Box) -> str:
    """A box as a product of intervals."""
    return " x ".join(f"[{low:g}, {high:g}]" for low, high in box)
