"""Where both engines put what they find: the arrays of the result, filled row by row."""

from __future__ import annotations

import numpy as np

from optbench.descend.batch import RUNNING, Batch, BatchResult, Curves, Floats, Ints
from optbench.descend.plan import Plan, learning_rates


class Store:
    """Result arrays of a batch; see BatchResult for what they hold.

    Args:
        batch: the batch.
    """

    def __init__(self, batch: Batch) -> None:
        rows, every = batch.rows, batch.trainer.record_every
        self.code: Ints = np.full(rows, RUNNING, dtype=np.int64)
        self.steps: Ints = np.zeros(rows, dtype=np.int64)
        self.best_step: Ints = np.full(rows, -1, dtype=np.int64)
        self.reached: Ints = np.full((rows, len(batch.targets)), -1, dtype=np.int64)
        self.start_loss, self.final_loss, self.final_grad_norm = (np.full(rows, np.nan) for _ in range(3))
        self.best_loss: Floats = np.full(rows, np.inf)
        self.x: Floats = np.array(batch.starts, dtype=np.float64)
        chosen = np.zeros(rows, dtype=bool)
        chosen[np.asarray(batch.record, dtype=np.int64)] = True
        self.recorded: Ints = np.flatnonzero(chosen)  # np.unique imports numpy.ma
        self.grid: Ints = np.arange(0, batch.steps + 1 if len(self.recorded) else 0, every, dtype=np.int64)
        self.place: Ints = np.full(rows, -1, dtype=np.int64)
        self.place[self.recorded] = np.arange(len(self.recorded))
        shape = (len(self.recorded), len(self.grid))
        self.loss, self.grad_norm = np.full(shape, np.nan), np.full(shape, np.nan)
        self.path: Floats = np.full((*shape, batch.dim if batch.paths else 0), np.nan)

    def result(
        self, batch: Batch, plan: Plan, seconds: float, compile_seconds: float, engine: str, why: str
    ) -> BatchResult:
        """The result of a batch that has run."""
        lr = learning_rates(plan, self.recorded, self.grid)
        lr[self.grid[None, :] > self.steps[self.recorded][:, None]] = np.nan
        final_lr = learning_rates(plan, np.arange(batch.rows), self.steps[:, None])[:, 0]
        return BatchResult(
            code=self.code,
            steps=self.steps,
            start_loss=self.start_loss,
            final_loss=self.final_loss,
            best_loss=self.best_loss,
            best_step=self.best_step,
            final_grad_norm=self.final_grad_norm,
            final_lr=final_lr,
            reached=self.reached,
            x=self.x,
            curves=Curves(self.recorded, self.grid, self.loss, self.grad_norm, lr, self.path),
            seconds=seconds,
            compile_seconds=compile_seconds,
            engine=engine,
            why=why,
            trainer=batch.trainer,
            exact=batch.noise_of() == 0.0,
        )
