"""The rows of a small batch one by one, in Python's own floats: what compiling would take is more than they are.

They come to the same bits as in the compiled loop, so which of the two runs is a matter of time alone (`forms` says why
operations agree; the rules below are those of `body`, in the same order).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from optbench.descend.batch import COMPLETED, DIVERGED, PLATEAU, REST, RUNNING, TARGET, Batch
from optbench.descend.fused import by_torch, largest_square
from optbench.descend.plan import Plan
from optbench.descend.scalar import Function, function_of
from optbench.descend.store import Store
from optbench.descend.vector_math import FARTHEST


def run_scalar(batch: Batch, plan: Plan, store: Store) -> None:
    """Runs a batch whose step is known into the store."""
    assert batch.known is not None
    function, far = function_of(batch.known.program["step"]), list[int]()
    rules = _Rules(batch)
    for row in range(batch.rows):
        if batch.stop_requested():
            break
        if not _run_row(batch, plan, store, row, function, rules):
            far.append(row)
        batch.on_rows(1)
    if far:
        by_torch(batch, plan, store, np.array(far, dtype=np.int64))


class _Rules:
    """The stop rules as numbers, see `body`."""

    def __init__(self, batch: Batch) -> None:
        trainer = batch.trainer
        self.factor = trainer.divergence_factor
        self.target = -math.inf if trainer.target is None else trainer.target
        self.flat = largest_square(trainer.grad_tol, np.float64)
        self.patience, self.delta = trainer.plateau_steps, trainer.plateau_delta


def _run_row(batch: Batch, plan: Plan, store: Store, row: int, function: Function, rules: _Rules) -> bool:
    """Runs one row to its end; False where sin or cos is out of reach and nothing was written."""
    x = batch.starts[row].tolist()
    memories = len(plan.rule.memories) * batch.dim
    state: Sequence[float] = (*x, *[0.0] * memories)
    place, every, dim = int(store.place[row]), batch.trainer.record_every, batch.dim
    reached = [-1] * len(batch.targets)
    best, best_step, low, low_step, bound, start = math.inf, -1, math.inf, 0, math.inf, math.nan
    for k, given in enumerate(_inputs(batch, plan, row)):
        loss, slope, farthest, *following = function(*state, *given)
        if farthest > FARTHEST:
            return False
        if place >= 0 and k % every == 0:
            store.loss[place, k // every], store.grad_norm[place, k // every] = loss, math.sqrt(slope)
            store.path[place, k // every] = state[: store.path.shape[2]]
        sound = -bound <= loss <= bound and math.isfinite(loss) and slope < math.inf
        if loss < best:
            best, best_step = loss, k
        code = COMPLETED if k == batch.steps else RUNNING
        if rules.patience is not None:
            if loss < low - (rules.delta * abs(low) if low < math.inf else 0.0):
                low, low_step = loss, k
            code = PLATEAU if k - low_step >= rules.patience else code
        for j, wanted in enumerate(batch.targets):
            if reached[j] < 0 and loss <= wanted and sound:
                reached[j] = k
        code = REST if slope <= rules.flat else code
        code = TARGET if loss <= rules.target else code
        code = code if sound else DIVERGED
        if k == 0:
            start, bound = loss, rules.factor * max(abs(loss), 1.0)
        if code != RUNNING:
            _write(store, row, code, k, (start, loss, slope), (best, best_step), reached, state[:dim])
            return True
        state = following
    raise AssertionError("a run ends by a rule")


def _write(
    store: Store,
    row: int,
    code: int,
    step: int,
    measured: tuple[float, float, float],
    best: tuple[float, int],
    reached: Sequence[int],
    x: Sequence[float],
) -> None:
    """Enters how a row ended: its code and step; the loss at the start and at the end, and the squared norm there."""
    store.code[row], store.steps[row] = code, step
    store.start_loss[row], store.final_loss[row], slope = measured
    store.final_grad_norm[row] = math.sqrt(slope)
    store.best_loss[row], store.best_step[row] = best
    store.reached[row] = reached
    store.x[row] = x


def _inputs(batch: Batch, plan: Plan, row: int) -> Iterator[tuple[float, ...]]:
    """What stands behind iterate and memories in the program's inputs, step by step."""
    own, schedule = plan.tables

    def number(value: object) -> float:
        return float(value[row]) if isinstance(value, np.ndarray) else float(value)  # type: ignore[arg-type]

    line = 0 if own.index is None else int(own.index[row])
    tables = {name: own.values[i, line].tolist() for i, name in enumerate(own.names)}
    factors = schedule.values[0, 0 if schedule.index is None else int(schedule.index[row])]
    lr, floor = number(plan.hyper["lr"]), number(0.0 if plan.floor is None else plan.floor)
    with np.errstate(over="ignore", invalid="ignore"):  # a schedule may grow without bound
        rates = lr * factors if plan.floor is None else floor + (lr - floor) * factors
    steps = [float(k) for k in range(batch.steps + 1)]
    lines = {name: repeat(number(value)) for name, value in plan.hyper.items()} | tables
    return zip(*(lines | {"lr": rates.tolist(), "t": steps}).values(), strict=False)
