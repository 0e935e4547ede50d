"""What a batch is given and what it gives back: plain arrays, one entry a row.

A row is one run. Rows of a batch share the surface, the kind of optimizer and schedule, the budget and the stop rules;
they differ in numbers only: start, seed, noise, hyperparameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from optbench.errors import UserError
from optbench.loop.progress import Progress
from optbench.loop.rules import verdict
from optbench.records import Status
from optbench.settings import SurfaceTrainer

if TYPE_CHECKING:
    from optbench.descend.program import Step
    from optbench.descend.rule import Rule
    from optbench.problem import Objective

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RUNNING, DIVERGED, TARGET, REST, PLATEAU, COMPLETED, TIMED_OUT = range(7)
"""How a row ended, in the order in which the rules are asked; RUNNING: not begun, or stopped from outside."""

STATUSES = (
    Status.INTERRUPTED,
    Status.DIVERGED,
    Status.TARGET_REACHED,
    Status.CONVERGED,
    Status.CONVERGED,
    Status.COMPLETED,
    Status.TIMED_OUT,
)
"""The status that each code stands for."""

DTYPES = ("float64", "float32")
BACKENDS = ("auto", "eager", "fused")


class KnownStep(Protocol):
    """A step that was kept, as the engines look at it; see `known.Known`."""

    @property
    def program(self) -> Mapping[str, Any]: ...
    @property
    def rule(self) -> Rule: ...
    @property
    def step(self) -> Step: ...
    @property
    def portable(self) -> bool: ...
    def numbers(self, node: Mapping[str, Any]) -> dict[str, Any]: ...
    def factor_table(self, settings: Sequence[Mapping[str, Any]]) -> Floats: ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Many runs on one surface.

    A keyword of the optimizer or of the scheduler is per row if its value is a NumPy array (rows,), or (rows, k) where
    the keyword takes k numbers; every other value is shared by all rows.

    Attributes:
        objective: the scalar field, (..., dim) -> (...), as problem.surface_objective makes it.
        starts: (rows, dim) float64.
        optimizer: node of the configuration: `_target_` and keywords.
        scheduler: likewise; a keyword that is None means the length of the run.
        trainer: steps, stop rules and record_every; its `start` and `grad_noise` are not looked at.
        grad_noise: standard deviation of the gradient noise, a number or (rows,).
        seeds: root seeds, (rows,); only noise looks at them.
        targets: losses whose first step is wanted.
        record: rows whose curve is kept.
        dtype: "float64" or "float32".
        backend: "auto", "eager" or "fused".
        threads: threads of the fused engine; the eager one has one.
        stop_requested: asked between pieces of work; rows not finished by then stay RUNNING.
        on_rows: told how many rows have ended since it was told last.
        on_stage: told a few times a second what is being done, and which share of the work lies behind (0 to 1).
        paths: whether curves hold coordinates.
        known: the step as a program that was kept; then `objective` is only asked where an engine needs torch.
    """

    objective: Objective
    starts: Floats
    optimizer: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    trainer: SurfaceTrainer
    grad_noise: float | Floats = 0.0
    seeds: Ints | None = None
    targets: Sequence[float] = ()
    record: Sequence[int] | Ints = ()
    dtype: str = "float64"
    backend: str = "auto"
    threads: int = 1
    stop_requested: Callable[[], bool] = lambda: False
    on_rows: Callable[[int], None] = lambda rows: None
    on_stage: Callable[[str, float], None] = lambda words, share: None
    paths: bool = True
    known: KnownStep | None = None

    def __post_init__(self) -> None:
        if self.starts.ndim != 2 or not self.starts.shape[1]:
            raise UserError(f"starts: expected an array (rows, dim), got shape {self.starts.shape}")
        for name, value, known in (("dtype", self.dtype, DTYPES), ("backend", self.backend, BACKENDS)):
            if value not in known:
                raise UserError(f"{name}={value}: expected one of {', '.join(known)}")
        for part, node in (("optimizer", self.optimizer), ("scheduler", self.scheduler)):
            for key, value in node.items():
                if isinstance(value, np.ndarray) and len(value) != self.rows:
                    raise UserError(f"{part}.{key}: {len(value)} values for {self.rows} rows")
        if self.noisy and (self.seeds is None or len(self.seeds) != self.rows):
            raise UserError("gradient noise needs one seed a row")

    @property
    def rows(self) -> int:
        """Number of runs."""
        return int(self.starts.shape[0])

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return int(self.starts.shape[1])

    @property
    def steps(self) -> int:
        """Updates in the budget."""
        assert self.trainer.steps is not None
        return self.trainer.steps

    @property
    def noisy(self) -> bool:
        """Whether any row has gradient noise."""
        return bool(np.any(np.asarray(self.grad_noise) != 0.0))

    def noise_of(self) -> Floats:
        """Standard deviation of the noise of each row, (rows,)."""
        return np.broadcast_to(np.asarray(self.grad_noise, dtype=np.float64), (self.rows,))

    def grad_tol_of(self) -> Floats:
        """Gradient norm at which each row is at rest, (rows,); below 0 where none is (noise, tolerance 0)."""
        tolerance = self.trainer.grad_tol
        return np.where((self.noise_of() != 0.0) & (tolerance <= 0.0), -1.0, tolerance)


@dataclass(frozen=True)
class Curves:
    """Curves of the recorded rows on a common grid of steps; NaN after the end of a row.

    The last row of a run's curve need not be on the grid: `of` puts it there.

    Attributes:
        rows: (n,) which rows of the batch, ascending.
        steps: (points,) 0, record_every, 2 record_every ...
        loss, grad_norm, lr: (n, points).
        x: (n, points, dim).
    """

    rows: Ints
    steps: Ints
    loss: Floats
    grad_norm: Floats
    lr: Floats
    x: Floats


@dataclass(frozen=True)
class BatchResult:
    """What became of each row; arrays are (rows,) unless said otherwise.

    Attributes:
        code: how it ended: index into STATUSES.
        steps: updates made; evaluations that caused one are as many.
        start_loss, final_loss, best_loss: objective at the start, at the last and at the best iterate (infinite when no
            iterate had a finite objective).
        best_step: step of the best iterate; -1 when there is none.
        final_grad_norm: Euclidean norm of the gradient, without noise, at the last iterate.
        final_lr: learning rate that the update after the last iterate would have used.
        reached: (rows, targets) first step with a loss at or below each target; -1 for never.
        x: (rows, dim) last iterate.
        curves: of the recorded rows.
        seconds: wall time of the whole batch, compiling not included.
        compile_seconds: wall time of tracing and compiling, or of loading what was compiled before.
        engine: "eager" or "fused".
        why: why this engine.
    """

    code: Ints
    steps: Ints
    start_loss: Floats
    final_loss: Floats
    best_loss: Floats
    best_step: Ints
    final_grad_norm: Floats
    final_lr: Floats
    reached: Ints
    x: Floats
    curves: Curves
    seconds: float
    compile_seconds: float
    engine: str
    why: str
    trainer: SurfaceTrainer = field(repr=False)
    exact: NDArray[np.bool_] = field(repr=False)

    def status(self, row: int) -> Status:
        """Status of a row."""
        return STATUSES[int(self.code[row])]

    def reason(self, row: int) -> str:
        """Why a row ended, in the words of the training loop."""
        code, step = int(self.code[row]), int(self.steps[row])
        if code == COMPLETED:
            return f"made all {step} updates"
        if code == RUNNING:
            return f"stopped by the user after step {step}"
        loss, norm = float(self.final_loss[row]), float(self.final_grad_norm[row])
        progress = Progress(step=step, start_loss=float(self.start_loss[row]), measure=loss, plateau_step=step)
        if code == PLATEAU:
            progress.plateau_step = step - (self.trainer.plateau_steps or 0)
        if code == TIMED_OUT:
            progress.seconds = float("inf")
        found = verdict({"loss": loss, "grad_norm": norm}, progress, self.trainer, bool(self.exact[row]))
        return found[1] if found is not None else STATUSES[code].value

    def curve(self, row: int) -> dict[str, NDArray[Any]]:
        """Curve of a recorded row as the training loop would have written it: step, lr, loss, grad_norm, x0, x1 ..."""
        (found,) = np.flatnonzero(self.curves.rows == row)
        grid = self.curves.steps[self.curves.steps <= self.steps[row]]
        keep, end = len(grid), int(self.steps[row])
        columns = {name: getattr(self.curves, name)[found, :keep] for name in ("lr", "loss", "grad_norm")}
        shown = range(self.curves.x.shape[2])
        columns |= {f"x{i}": self.curves.x[found, :keep, i] for i in shown}
        columns = {"step": grid, **columns}
        if keep and grid[-1] == end:
            return columns
        last = {"step": end, "lr": self.final_lr[row], "loss": self.final_loss[row]}
        last |= {"grad_norm": self.final_grad_norm[row]} | {f"x{i}": self.x[row, i] for i in shown}
        return {name: np.append(values, last[name]) for name, values in columns.items()}
