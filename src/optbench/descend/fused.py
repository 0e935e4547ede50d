"""Rows in blocks of 64, each from start to end in one compiled loop; blocks are spread over threads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optbench.descend.batch import RUNNING, Batch, Ints
from optbench.descend.emit import emit
from optbench.descend.kernel import Kernel
from optbench.descend.known import plain_step, step_of
from optbench.descend.layout import ENDINGS, FAR, LANES, STATISTICS, Layout, layout_of
from optbench.descend.order import cost_of
from optbench.descend.plan import Plan, make_plan
from optbench.descend.program import Step
from optbench.descend.store import Store

_PIECE_STEPS = 50_000_000
"""Run-steps between two looks at the outside world: below a second."""


@dataclass(frozen=True)
class Fused:
    """A batch as a kernel.

    Attributes:
        source: of the kernel's module.
        layout: of its arguments.
        constants: what it is given after the uniform numbers.
        cost: machine instructions of a step, about.
    """

    source: str
    layout: Layout
    constants: Sequence[float]
    cost: int


def fuse(batch: Batch, plan: Plan) -> Fused:
    """Traces the batch's step. Raises NotImplementedError with what stands in the way."""
    if batch.noisy:
        raise NotImplementedError("gradient noise is drawn step by step")
    if batch.trainer.seconds is not None:
        raise NotImplementedError("a wall-clock limit is looked at step by step")
    if batch.dtype == "float32" and batch.steps >= (1 << 24) // ENDINGS - 1:
        raise NotImplementedError("float32 cannot count that many steps")
    step = _traced(batch, plan) if batch.known is None else batch.known.step
    layout = layout_of(plan, batch.dim, len(batch.targets), batch.trainer.plateau_steps is not None)
    source, constants = emit(step, layout, batch.dtype)
    return Fused(source, layout, constants, cost_of(step.program))


def _traced(batch: Batch, plan: Plan) -> Step:
    """The step of a batch, in the form that a kept one has: so that both are the same kernel."""
    from optbench.descend.trace import trace_step

    try:
        return step_of(plain_step(trace_step(batch.objective, batch.starts[0].tolist(), plan), plan, batch.dim))
    except NotImplementedError:
        raise
    except Exception as error:  # a surface is anyone's code
        raise NotImplementedError(f"tracing raised {type(error).__name__}: {error}") from error


def run_fused(batch: Batch, plan: Plan, store: Store, fused: Fused, kernel: Kernel) -> None:
    """Runs the batch into the store: rows with a curve first, then the others."""
    far = np.zeros(batch.rows, dtype=np.bool_)
    others = np.flatnonzero(store.place < 0)
    for rows, every in ((store.recorded, batch.trainer.record_every), (others, 0)):
        if len(rows):
            far[rows] = _Run(batch, plan, store, fused, kernel, rows, every).run()
    if far.any():
        by_torch(batch, plan, store, np.flatnonzero(far))


def run_some(batch: Batch, plan: Plan, store: Store, rows: Ints, fused: Fused, kernel: Kernel) -> None:
    """Runs some recorded rows, all that the store has, and no others."""
    far = _Run(batch, plan, store, fused, kernel, rows, batch.trainer.record_every).run()
    if far.any():
        by_torch(batch, plan, store, rows[far])


def by_torch(batch: Batch, plan: Plan, store: Store, rows: Ints) -> None:
    """Runs rows that went where the kernel has no sine."""
    from optbench.descend.eager import run_eager

    if batch.known is not None:
        batch = replace(batch, known=None)
        plan = make_plan(batch)
    run_eager(batch, plan, store, rows)


class _Run:
    """One pass of the kernel over some rows; arrays have one column per row, filled up to whole blocks."""

    def __init__(
        self, batch: Batch, plan: Plan, store: Store, fused: Fused, kernel: Kernel, rows: Ints, every: int
    ) -> None:
        self.batch, self.store, self.kernel, self.rows, self.every = batch, store, kernel, rows, every
        self.dtype: Any = np.dtype(batch.dtype)
        self.blocks = -(-len(rows) // LANES)
        whole = len(rows) == batch.rows == self.blocks * LANES
        self.take: Any = slice(None) if whole else np.minimum(np.arange(self.blocks * LANES), len(rows) - 1)
        self.take = self.take if whole else rows[self.take]
        columns = self.blocks * LANES
        self.x = np.array(batch.starts.T[:, self.take], dtype=self.dtype, order="C")
        self.statistics = np.full((len(STATISTICS) + len(batch.targets), columns), np.nan, dtype=self.dtype)
        self.statistics[0] = 0.0
        points = len(store.grid) if every else 0
        self.curve = np.empty((points, 2 + batch.dim, columns if every else 0), dtype=self.dtype)
        self.fixed = self._numbers(plan, fused)

    def _numbers(self, plan: Plan, fused: Fused) -> tuple[NDArray[Any], ...]:
        """The kernel's arguments from per_row to limits."""
        layout = fused.layout
        numbers: dict[str, Any] = dict(plan.hyper) | {"floor": plan.floor}
        per_row = np.empty((len(layout.per_row), self.x.shape[1]), dtype=self.dtype)
        for i, name in enumerate(layout.per_row):
            per_row[i] = numbers[name][self.take]
        uniform = np.array([*(numbers[name] for name in layout.uniform), *fused.constants], dtype=self.dtype)
        tables = [np.ascontiguousarray(table.values, dtype=self.dtype) for table in plan.tables]
        none = np.zeros(0, dtype=np.int64)
        index = [none if table.index is None else np.ascontiguousarray(table.index[self.take]) for table in plan.tables]
        return per_row, uniform, *tables, *index, self._limits()

    def _limits(self) -> NDArray[Any]:
        trainer = self.batch.trainer
        target = -np.inf if trainer.target is None else trainer.target
        patience = trainer.plateau_steps or 0
        flat = largest_square(trainer.grad_tol, self.dtype)
        limits = [trainer.divergence_factor, target, flat, trainer.plateau_delta, patience, *self.batch.targets]
        return np.array(limits, dtype=self.dtype)

    def run(self) -> NDArray[np.bool_]:
        """Runs all blocks and writes the rows that ended; says which rows must be run again by torch."""
        pieces = list(self._pieces())
        if self.batch.threads > 1 and len(pieces) > 1:
            with ThreadPoolExecutor(self.batch.threads) as pool:
                list(pool.map(self._run_piece, pieces))
        else:
            for piece in pieces:
                self._run_piece(piece)
        self._write()
        found: NDArray[np.bool_] = self.statistics[STATISTICS.index("ending"), : len(self.rows)] % ENDINGS == FAR
        return found

    def _pieces(self) -> Iterator[tuple[int, int]]:
        fair = -(-self.blocks // (4 * self.batch.threads)) if self.batch.threads > 1 else self.blocks
        size = max(1, min(fair, _PIECE_STEPS // (LANES * self.batch.steps)))
        for begin in range(0, self.blocks, size):
            yield begin, min(begin + size, self.blocks)

    def _run_piece(self, piece: tuple[int, int]) -> None:
        if self.batch.stop_requested():
            return
        begin, stop = piece
        self.kernel(begin, stop, self.batch.steps, self.every, self.x, *self.fixed, self.statistics, self.curve)
        self.batch.on_rows(min(stop * LANES, len(self.rows)) - begin * LANES)

    def _write(self) -> None:
        store, rows, n = self.store, self.rows, len(self.rows)
        where: Any = slice(None) if n == self.batch.rows else rows
        ending, start, loss, slope, best, best_step, *reached = self.statistics[:, :n]
        end, code = np.divmod(ending, ENDINGS)
        code[code == FAR] = RUNNING  # until torch has run them
        store.code[where], store.steps[where] = code, end
        store.start_loss[where], store.final_loss[where] = start, loss
        store.final_grad_norm[where] = np.sqrt(slope)
        done = code != RUNNING
        store.best_loss[where] = np.where(done, best, np.inf)
        store.best_step[where] = np.where(done, np.nan_to_num(best_step), -1)
        for j, line in enumerate(reached):
            store.reached[where, j] = np.where(done, np.nan_to_num(line), -1)
        store.x[where] = self.x[:, :n].T
        if self.every:
            self._write_curves(done)

    def _write_curves(self, done: NDArray[np.bool_]) -> None:
        store, n = self.store, len(self.rows)
        past = (store.grid[None, :] > store.steps[self.rows][:, None]) | ~done[:, None]
        store.loss[:] = self.curve[:, 0, :n].T
        with np.errstate(invalid="ignore"):  # what was there before, after the end of a row
            store.grad_norm[:] = np.sqrt(self.curve[:, 1, :n].T)
        store.path[:] = self.curve[:, 2 : 2 + store.path.shape[2], :n].transpose(2, 0, 1)
        for values in (store.loss, store.grad_norm, store.path):
            values[past] = np.nan


def largest_square(norm: float, dtype: Any) -> float:
    """The largest s with sqrt(s) <= norm, so that the kernel needs no root to compare: exact in dtype."""
    kind = np.dtype(dtype).type
    limit = kind(norm)
    s = kind(limit * limit)
    while np.sqrt(s) > limit:
        s = np.nextafter(s, kind(0))
    while math.isfinite(s) and np.sqrt(np.nextafter(s, kind(np.inf))) <= limit:
        s = np.nextafter(s, kind(np.inf))
    return float(s)
