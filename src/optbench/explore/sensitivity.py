"""How the outcome depends on a setting: final loss, success and divergence over it, from many random starts a value.

All values, and all optimizers side by side, see the same starts. A run *succeeds* when its last iterate is at or below
the target: `trainer.target` where it is given, else the known minimum plus a thousandth of the way from the start's
loss down to it. A setting *works* where at least half of the runs succeed. Medians and quartiles are order statistics
(no value that no run had); a diverged run counts as infinite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optbench.explore.axis import Axis, check_axis, with_rows
from optbench.explore.cases import Case, Run, descended, field_of

if TYPE_CHECKING:
    from optbench.descend import BatchResult
    from optbench.experiment.surface import Field, ShelvedField

Floats = NDArray[np.float64]

SHARE_OF_DROP = 1e-3
"""Of the way from the start down to the known minimum, what may be left."""

_FUSE = 50_000_000
"""Run-steps from which compiling pays. The engine asks that of each piece by itself, and cuts a batch that varies more
than the learning rate into pieces that alone are not worth it."""

WORKS = 0.5
"""Least share of successful runs of a setting that works."""


@dataclass(frozen=True)
class Response:
    """One optimizer's outcome at each value; arrays are (points,), or (points, points of the second axis).

    Attributes:
        label: of the case.
        median, low, high: final loss: median and quartiles; infinite where that run diverged.
        success: share of runs that reached the target; NaN where there is no target.
        diverged: share of runs that diverged.
        engine: what ran it.
        seconds: wall time of the runs, compiling included.
    """

    label: str
    median: Floats
    low: Floats
    high: Floats
    success: Floats
    diverged: Floats
    engine: str
    seconds: float

    @property
    def best(self) -> tuple[int, ...]:
        """Index of the value with the lowest median; the first of equal ones."""
        return tuple(int(i) for i in np.unravel_index(np.argmin(self.median), self.median.shape))

    @property
    def working(self) -> list[tuple[int, int]]:
        """First and last index of each unbroken range of values that work (one axis), ascending."""
        inner = np.concatenate([[False], self.success >= WORKS, [False]]).astype(int)
        edges = np.flatnonzero(np.diff(inner))
        return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]

    @property
    def widest(self) -> tuple[int, int] | None:
        """The longest of the ranges that work; the first of equal ones."""
        return max(self.working, key=lambda r: r[1] - r[0], default=None)


@dataclass(frozen=True)
class Sensitivity:
    """The outcome of one or several optimizers over one or two settings.

    Attributes:
        field: the surface.
        first: the setting.
        second: another one, or None.
        starts: how many starts each value had.
        target: trainer.target, or None.
        responses: one a case.
        budget: updates of each case.
    """

    field: Field | ShelvedField
    first: Axis
    second: Axis | None
    starts: int
    target: float | None
    responses: tuple[Response, ...]
    budget: tuple[int, ...]

    @property
    def minimum(self) -> float | None:
        """The surface's known minimum."""
        return self.field.surface.minimum

    @property
    def rule(self) -> list[str]:
        """What the numbers mean, in sentences."""
        runs = sum(r.median.size for r in self.responses) * self.starts
        if self.target is not None:
            success = f"Success: final loss at most {self.target:g} (trainer.target)."
        elif self.minimum is not None:
            below = f"f* + {SHARE_OF_DROP:g} (f(start) - f*)"
            success = f"Success: final loss at most {below}, where f* = {self.minimum:g} is the minimum."
        else:
            success = "No success is counted: this surface has no known minimum; give trainer.target=..."
        steps = " or ".join(str(s) for s in dict.fromkeys(self.budget))
        works = f"A setting works where at least {WORKS:.0%} succeed"
        longest = "; the longest unbroken range of those tested is shown" if self.second is None else ""
        return [
            f"{runs} runs of up to {steps} steps: {self.starts} starts per value, the same for all.",
            success,
            *([] if self._targetless else [f"{works}{longest}."]),
            "Loss: median over the starts; a diverged run counts as infinite.",
        ]

    def rows(self) -> list[dict[str, Any]]:
        """One row a case and value (pair of values)."""
        rows = []
        for response in self.responses:
            for index in np.ndindex(response.median.shape):
                row = {"case": response.label, self.first.key: float(self.first.values[index[0]])}
                if self.second is not None:
                    row[self.second.key] = float(self.second.values[index[1]])
                numbers = {
                    "loss_median": response.median,
                    "loss_q1": response.low,
                    "loss_q3": response.high,
                    "success": response.success,
                    "diverged": response.diverged,
                }
                rows.append(row | {"starts": self.starts} | {k: _finite(v[index]) for k, v in numbers.items()})
        return rows

    def summary(self) -> list[dict[str, Any]]:
        """One row a case: the best value, and on one axis where it works and from where on most runs diverge."""
        return [self._summary(response) for response in self.responses]

    def _summary(self, response: Response) -> dict[str, Any]:
        best = response.best
        row: dict[str, Any] = {"case": response.label, f"best {self.first.key}": float(self.first.values[best[0]])}
        if self.second is not None:
            row[f"best {self.second.key}"] = float(self.second.values[best[1]])
        row |= {"loss_at_best": _finite(response.median[best]), "success_at_best": _finite(response.success[best])}
        row["works_share"] = _finite(np.mean(response.success >= WORKS)) if not self._targetless else None
        if self.second is None:
            ends = response.widest
            low, high = self.first.values[list(ends)].tolist() if ends else (None, None)
            row |= {"works_from": low, "works_to": high, "working_ranges": len(response.working)}
            lost = np.flatnonzero(response.diverged >= 0.5)
            row["diverges_from"] = float(self.first.values[lost[0]]) if len(lost) else None
        return row | {"engine": response.engine, "seconds": response.seconds}

    @property
    def _targetless(self) -> bool:
        return self.target is None and self.minimum is None


def find_sensitivity(
    cases: Sequence[Case], first: Axis, second: Axis | None = None, seeds: int = 20, run: Run | None = None
) -> Sensitivity:
    """Runs every case at every value from every start.

    Args:
        cases: on one surface.
        first: the setting.
        second: another setting, crossed with the first.
        seeds: runs a value, seeds 0 ... seeds - 1: they draw the start where trainer.start is random, and the noise.
        run: how.

    Raises:
        UserError: a case without a form for rows, or without the setting; runs that no memory holds.
        KeyboardInterrupt: run.stop said so.
    """
    from optbench.descend.memory import check_held

    axes = [axis for axis in (first, second) if axis is not None]
    for case in cases:
        for axis in axes:
            check_axis(case, axis)
    field, run = field_of(cases), run or Run()
    shape = tuple(len(axis.values) for axis in axes)
    total = math.prod(shape) * seeds
    check_held(total, field.surface.dim)
    responses = [
        _respond(field, case, axes, shape, seeds, (i * total, len(cases) * total), run) for i, case in enumerate(cases)
    ]
    budget = tuple(case.trainer.steps for case in cases)
    return Sensitivity(field, first, second, seeds, cases[0].trainer.target, tuple(responses), budget)


def _respond(
    field: Field | ShelvedField,
    case: Case,
    axes: Sequence[Axis],
    shape: tuple[int, ...],
    seeds: int,
    done: tuple[int, int],
    run: Run,
) -> Response:
    from optbench.descend import Batch

    starts = _starts(field, case, seeds)
    cells = math.prod(shape)
    mesh = np.meshgrid(*(axis.values for axis in axes), indexing="ij")
    given = [(axis.key, np.repeat(values.ravel(), seeds)) for axis, values in zip(axes, mesh, strict=True)]
    ended = done[0]

    def tell(rows: int) -> None:
        nonlocal ended
        ended += rows
        if run.progress is not None:
            run.progress(ended, done[1], "")

    parts: Any = with_rows(case, given)
    batch = Batch(
        objective=field.objective,
        starts=np.tile(starts, (cells, 1)),
        trainer=case.trainer,
        seeds=np.tile(np.arange(seeds), cells),
        backend="fused" if run.backend == "auto" and len(starts) * cells * case.trainer.steps >= _FUSE else run.backend,
        threads=run.threads,
        stop_requested=run.stop,
        on_rows=tell,
        on_stage=run.stage(lambda: done[0], len(starts) * cells, done[1]),
        **parts,
    )
    result = descended(case, batch)
    if run.stop():
        raise KeyboardInterrupt
    return _summarised(field, case, result, (*shape, seeds))


def _starts(field: Field | ShelvedField, case: Case, seeds: int) -> Floats:
    """(seeds, dim) where the runs of each value start."""
    from optbench.experiment.surface import ShelvedField
    from optbench.problem.streams import start_table

    surface = field.surface
    name = field.surface.name if isinstance(field, ShelvedField) else type(surface).__name__
    return start_table(name, surface.domain, surface.start, case.trainer, np.arange(seeds, dtype=np.uint64))


def _summarised(field: Field | ShelvedField, case: Case, result: BatchResult, shape: tuple[int, ...]) -> Response:
    from optbench.descend.batch import DIVERGED

    diverged = result.code == DIVERGED
    loss = np.where(diverged | ~np.isfinite(result.final_loss), np.inf, result.final_loss)
    minimum = field.surface.minimum
    if case.trainer.target is not None:
        success: Floats = (loss <= case.trainer.target).astype(np.float64)
    elif minimum is not None:
        success = (loss <= minimum + SHARE_OF_DROP * (result.start_loss - minimum)).astype(np.float64)
    else:
        success = np.full(loss.shape, np.nan)
    ranked = np.sort(loss.reshape(shape), axis=-1)
    last = shape[-1] - 1
    return Response(
        label=case.label,
        median=ranked[..., last // 2],
        low=ranked[..., last // 4],
        high=ranked[..., -(-3 * last // 4)],
        success=success.reshape(shape).mean(axis=-1),
        diverged=diverged.reshape(shape).mean(axis=-1),
        engine=result.engine,
        seconds=result.seconds + result.compile_seconds,
    )


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
