"""Where each start of a grid ends: the basins of attraction of an optimizer, not of the gradient flow.

The rule, for a critical point p with a disk of radius r round it (disks do not overlap). A *minimum* has a level: the
lowest f on the edge of its disk. What is in the disk and below the level lies in a closed piece of {f <= level} that
holds no critical point but p, so no method that only descends can leave it. A start belongs to p when its last iterate
is in the disk and at or below the level; it took as many steps as f first needed to be that low. At a *saddle* or a
*maximum* there is no such level: there the last iterate is in the disk, and more steps may take it away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optbench.errors import UserError
from optbench.explore.cases import Case, Run, field_of

if TYPE_CHECKING:
    from optbench.critical import CriticalPoint, CriticalSet
    from optbench.descend import BatchResult
    from optbench.experiment.surface import Field
    from optbench.problem import Box, Objective

Floats = NDArray[np.float64]

STEPS, GRID = 500, 1000
_PIECE = 1 << 17  # starts in one batch: bounds the memory of the steps to many levels
_EDGE = 720  # points on the edge of a disk
REST, OUTSIDE, MOVING, DIVERGED = ("at rest elsewhere", "outside the box", "still moving", "diverged")
STATES = (REST, OUTSIDE, MOVING, DIVERGED)
"""Ways to end that are no critical point; their codes follow those of the points."""


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
        radius: of the disk of each point.
        levels: of each point; None where it is no strict minimum.
        maps: one a case.
        budget: updates of each case.
    """

    field: Field
    found: CriticalSet
    box: Box
    radius: float
    levels: tuple[float | None, ...]
    maps: tuple[Ends, ...]
    budget: tuple[int, ...]

    @property
    def endings(self) -> list[str]:
        """Every way to end, by code: critical points, then STATES."""
        return [*(f"{p.type} {_coordinates(p)}" for p in self.found.points), *STATES]

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
) -> Basins:
    """Follows every start of a grid to its end, for each case.

    Args:
        cases: on one surface of two coordinates.
        box: of the starts and of the critical points; None: the surface's domain.
        grid: starts along each axis.
        radius: of the disk round a critical point; None: 1/100 of the box's shorter side, less where points are close.
        budget: seconds to search for critical points.
        run: how.

    Raises:
        UserError: not two coordinates, or a case without a form for rows.
        KeyboardInterrupt: run.stop said so.
    """
    from optbench.critical import critical_points

    field, run = field_of(cases), run or Run()
    if field.surface.dim != 2:
        raise UserError(f"{field.name} has {field.surface.dim} coordinates; basins need two", _dim_hint(cases[0]))
    box = box or field.surface.domain
    found = critical_points(field.objective, box, name=field.name, seconds=budget)
    radius = _radius(found, box, radius)
    levels = tuple(_level(field.objective, p, radius) for p in found.points)
    basins = Basins(field, found, box, radius, levels, (), tuple(c.trainer.steps for c in cases))
    starts = _centres(box, grid)
    maps = [_follow(basins, case, starts, i * len(starts), len(cases), run) for i, case in enumerate(cases)]
    return replace(basins, maps=tuple(maps))


def _dim_hint(case: Case) -> str:
    return "add model.dim=2" if "dim" in case.config["model"] else "choose a surface of two coordinates"


def _centres(box: Box, grid: int) -> Floats:
    """(grid * grid, 2), the first coordinate fastest."""
    axes = [low + (high - low) * (np.arange(grid) + 0.5) / grid for low, high in box]
    return np.stack(np.meshgrid(*axes, indexing="xy"), axis=-1).reshape(-1, 2)


def _radius(found: CriticalSet, box: Box, wanted: float | None) -> float:
    places = np.array([p.x for p in found.points]).reshape(-1, 2)
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    most = 0.5 * float(np.min(gaps, where=gaps > 0, initial=np.inf))
    if wanted is None:
        return min(0.01 * min(high - low for low, high in box), 0.9 * most)
    if not 0 < wanted < most:
        raise UserError(
            f"--radius {wanted:g}: expected a number above 0 and below {most:.4g}, so that disks stay apart"
        )
    return wanted


def _level(objective: Objective, point: CriticalPoint, radius: float) -> float | None:
    import torch

    angles = torch.arange(_EDGE, dtype=torch.float64) * (2 * math.pi / _EDGE)
    edge = torch.tensor(point.x, dtype=torch.float64) + radius * torch.stack([angles.cos(), angles.sin()], dim=-1)
    with torch.no_grad():
        lowest = float(objective(edge).min())
    return lowest if lowest > point.value else None


def _follow(basins: Basins, case: Case, starts: Floats, before: int, cases: int, run: Run) -> Ends:
    """One case, piece by piece, so that a million starts to a hundred minima fit into memory."""
    total = len(starts)
    ended = 0

    def tell(rows: int) -> None:
        nonlocal ended
        ended += rows
        if run.progress is not None:
            run.progress(before + ended, cases * total)

    targets, column = _targets(basins.levels)
    ending, steps = np.empty(total, np.int16), np.empty(total, np.int32)
    seconds, engine = 0.0, ""
    for first in range(0, total, _PIECE):
        cut = slice(first, min(first + _PIECE, total))
        result = _descend(basins, case, starts[cut], cut, targets, run, tell)
        if run.stop():
            raise KeyboardInterrupt
        ending[cut], steps[cut] = _assign(basins, result, column)
        seconds, engine = seconds + result.seconds + result.compile_seconds, result.engine
    side = math.isqrt(total)
    return Ends(case.label, ending.reshape(side, side), steps.reshape(side, side), engine, seconds)


def _descend(
    basins: Basins, case: Case, starts: Floats, cut: slice, targets: list[float], run: Run, tell: Any
) -> BatchResult:
    from optbench.descend import Batch, descend

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
    )
    return descend(batch)


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
    for code, (point, level) in enumerate(zip(basins.found.points, basins.levels, strict=True)):
        near = np.hypot(*(np.clip(result.x, -1e150, 1e150) - point.x).T) <= basins.radius
        here = near & ~diverged & (True if level is None else result.final_loss <= level)
        ending[here] = code
        if level is not None:
            steps[here] = result.reached[here, column[code]]
    return ending, steps


def _coordinates(point: CriticalPoint) -> str:
    return f"({', '.join(f'{v + 0.0:.4g}' for v in np.round(point.x, 9))})"


def box_text(box: Box) -> str:
    """A box as a product of intervals."""
    return " x ".join(f"[{low:g}, {high:g}]" for low, high in box)
