"""The rows of a middling batch side by side, as arrays: too many to go one by one, too few to compile for.

Where IEEE 754 rounds an operation, NumPy comes to the bits of Python's own floats and of the compiled loop; sin, exp,
log and their like are those of the compiled loop (`library`), since NumPy has its own. So which of the three runs a
batch is a matter of time alone. The rules are those of `scalar_rows`, in the same order; a row that ended is taken out
of the arrays, and one whose sine is out of reach is run again by torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optbench.descend import library
from optbench.descend.batch import COMPLETED, DIVERGED, PLATEAU, REST, RUNNING, TARGET, Batch, Floats, Ints
from optbench.descend.fused import by_torch, largest_square
from optbench.descend.library import LIBRARY
from optbench.descend.plan import Plan
from optbench.descend.portable import PREFIX
from optbench.descend.portable_math import FUNCTIONS
from optbench.descend.scalar import array_function_of
from optbench.descend.store import Store
from optbench.descend.vector_math import FARTHEST

_EXACT = frozenset(
    ("const", "input", "add", "sub", "mul", "div", "neg", "sqrt", "abs", "floor", "sign", "maximum", "minimum",
     "where", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not")
).union(PREFIX + name for name in FUNCTIONS)  # fmt: skip
BLOCK = 4096
"""Rows that are computed together: their arrays stay in a processor's cache."""

Given = Callable[[int, Ints], list[Any]]


def has_arrays(batch: Batch) -> bool:
    """Whether the step of a batch is known, and arrays come to its bits."""
    if batch.known is None or batch.dtype != "float64":
        return False
    others = {op for op, _, _ in batch.known.program["step"]["code"]} - _EXACT
    return not others or (others <= set(LIBRARY) and library.is_there())


def run_arrays(batch: Batch, plan: Plan, store: Store) -> None:
    """Runs a batch that `has_arrays` into the store."""
    assert batch.known is not None
    program, far = batch.known.program["step"], list[int]()
    needed = any(op in LIBRARY for op, _, _ in program["code"])
    function, given = array_function_of(program, library=library.functions() if needed else None), _inputs(batch, plan)
    for first in range(0, batch.rows, BLOCK):
        if batch.stop_requested():
            break
        block = _Block(batch, plan, store, np.arange(first, min(first + BLOCK, batch.rows)))
        block.run(function, given)
        far += block.far
    if far:
        by_torch(batch, plan, store, np.array(far, dtype=np.int64))


class _Block:
    """Rows that have not ended yet; every array has one entry for each.

    Args:
        batch, plan, store: as in run_arrays.
        rows: which of the batch's rows.

    Attributes:
        far: rows that were left where sin or cos is out of reach.
    """

    def __init__(self, batch: Batch, plan: Plan, store: Store, rows: Ints) -> None:
        self.batch, self.store, self.rows, n = batch, store, rows, len(rows)
        self.state: list[Any] = [*batch.starts[rows].T.copy(), *np.zeros((len(plan.rule.memories) * batch.dim, n))]
        self.start, self.bound = np.full(n, math.nan), np.full(n, math.inf)
        self.best, self.best_step = np.full(n, math.inf), np.full(n, -1)
        self.low, self.low_step = np.full(n, math.inf), np.zeros(n, dtype=np.int64)
        self.reached = np.full((n, len(batch.targets)), -1)
        self.flat = largest_square(batch.trainer.grad_tol, np.float64)
        self.far: list[int] = []

    def run(self, function: Callable[..., tuple[Any, ...]], given: Given) -> None:
        """Runs the rows to their ends, or until a stop is asked for: then those that did not end are left to do."""
        n = len(self.rows)
        for k in range(self.batch.steps + 1):
            loss, slope, farthest, *following = (
                np.broadcast_to(value, len(self.rows)) for value in function(*self.state, *given(k, self.rows))
            )
            if (gone := farthest > FARTHEST).any():
                self.far += self.rows[gone].tolist()
                self.batch.on_rows(int(gone.sum()))
                self._keep(~gone)
                self.state = [value[~gone] for value in self.state]
                loss, slope, *following = (value[~gone] for value in (loss, slope, *following))
            self._record(k, loss, slope)
            code = self._judged(k, loss, slope)
            ended = code != RUNNING
            if ended.any():
                self._write(k, ended, code, loss, slope)
                self._keep(~ended)
                following = [value[~ended] for value in following]
                self.batch.on_rows(int(ended.sum()))
            self.state = following
            if not len(self.rows):
                return
            if self.batch.stop_requested():
                break
        self._forget()
        assert self.batch.stop_requested() or not n, "a run ends by a rule"

    def _record(self, k: int, loss: Floats, slope: Floats) -> None:
        place, every = self.store.place[self.rows], self.batch.trainer.record_every
        if k % every or not len(self.store.recorded):
            return
        shown = place >= 0
        lines, point = place[shown], k // every
        self.store.loss[lines, point], self.store.grad_norm[lines, point] = loss[shown], np.sqrt(slope[shown])
        for i in range(self.store.path.shape[2]):
            self.store.path[lines, point, i] = self.state[i][shown]

    def _judged(self, k: int, loss: Floats, slope: Floats) -> Ints:
        """How each row ends at iterate k; RUNNING where it does not."""
        trainer = self.batch.trainer
        sound = (-self.bound <= loss) & (loss <= self.bound) & np.isfinite(loss) & (slope < math.inf)
        better = loss < self.best
        self.best, self.best_step = np.where(better, loss, self.best), np.where(better, k, self.best_step)
        code = np.full(len(loss), COMPLETED if k == self.batch.steps else RUNNING)
        if trainer.plateau_steps is not None:
            enough = np.where(self.low < math.inf, trainer.plateau_delta * np.abs(self.low), 0.0)
            lower = loss < self.low - enough
            self.low, self.low_step = np.where(lower, loss, self.low), np.where(lower, k, self.low_step)
            code[k - self.low_step >= trainer.plateau_steps] = PLATEAU
        for j, wanted in enumerate(self.batch.targets):
            self.reached[(self.reached[:, j] < 0) & (loss <= wanted) & sound, j] = k
        code[slope <= self.flat] = REST
        if trainer.target is not None:
            code[loss <= trainer.target] = TARGET
        code[~sound] = DIVERGED
        if k == 0:
            self.start, self.bound = loss, trainer.divergence_factor * np.maximum(np.abs(loss), 1.0)
        return code

    def _write(self, k: int, ended: NDArray[np.bool_], code: Ints, loss: Floats, slope: Floats) -> None:
        store, rows = self.store, self.rows[ended]
        store.code[rows], store.steps[rows] = code[ended], k
        store.start_loss[rows], store.final_loss[rows] = self.start[ended], loss[ended]
        store.final_grad_norm[rows] = np.sqrt(slope[ended])
        store.best_loss[rows], store.best_step[rows] = self.best[ended], self.best_step[ended]
        store.reached[rows] = self.reached[ended]
        for i in range(self.batch.dim):
            store.x[rows, i] = self.state[i][ended]

    def _keep(self, going: NDArray[np.bool_]) -> None:
        for name in ("rows", "start", "bound", "best", "best_step", "low", "low_step", "reached"):
            setattr(self, name, getattr(self, name)[going])

    def _forget(self) -> None:
        """Takes the points of rows that did not end out of the curves."""
        place = self.store.place[self.rows]
        lines = place[place >= 0]
        for curve in (self.store.loss, self.store.grad_norm, self.store.path):
            curve[lines] = math.nan


def _inputs(batch: Batch, plan: Plan) -> Given:
    """What stands behind iterate and memories in the program's inputs, at a step, of some rows."""
    own, schedule = plan.tables
    lr, floor = plan.hyper["lr"], plan.floor

    def some(value: Any, rows: Ints) -> Any:
        return value[rows] if isinstance(value, np.ndarray) else value

    def line(index: Ints | None, values: Floats, rows: Ints) -> Any:
        return float(values[0]) if index is None else values[index[rows]]

    def given(k: int, rows: Ints) -> list[Any]:
        factor, rate = line(schedule.index, schedule.values[0, :, k], rows), some(lr, rows)
        with np.errstate(over="ignore", invalid="ignore"):  # a schedule may grow without bound
            lowest = some(floor, rows)
            rate = rate * factor if floor is None else lowest + (rate - lowest) * factor
        lines = {name: some(value, rows) for name, value in plan.hyper.items()}
        lines |= {name: line(own.index, own.values[i, :, k], rows) for i, name in enumerate(own.names)}
        return list((lines | {"lr": rate, "t": float(k)}).values())

    return given
