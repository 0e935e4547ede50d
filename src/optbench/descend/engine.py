"""One entry: make a batch ready, choose its engine, run it, and say which engine it was and why."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.descend import library
from optbench.descend.array_rows import BLOCK, has_arrays
from optbench.descend.batch import Batch, BatchResult
from optbench.descend.kept import has_agreed, keep_agreement
from optbench.descend.kernel import Kernel, agreement_of, is_compiled, load
from optbench.descend.pieces import in_pieces, largest_piece
from optbench.descend.plan import Plan, make_plan
from optbench.descend.portable import ENGINE as PORTABLE
from optbench.descend.portable import PREFIX
from optbench.descend.rule import UnsupportedError
from optbench.descend.store import Store
from optbench.descend.vector_math import FUNCTIONS
from optbench.errors import UserError

if TYPE_CHECKING:
    from optbench.descend.fused import Fused

_Ready = tuple[str, str, Callable[[Store], None]]

# Seconds of CPU time, measured on one core of an AMD EPYC with Python 3.11; only their ratios matter. What is compiled
# depends on the step: 1 to 2 s for a textbook's surface in two dimensions, 25 s for a rotated ellipsoid in ten.
_EAGER_STEP, _EAGER_COORDINATE = 3e-4, 3e-8
_FUSED_COST = 5e-11  # of a machine instruction of the step, see order.cost_of
_SCALAR_STEP, _SCALAR_OP = 8.5e-7, 1.35e-8
_ARRAYS_STEP, _ARRAYS_OP = 2.5e-5, 7e-7  # of a block
_ARRAYS_ROW, _ARRAYS_NUMBER = 3e-9, 3.3e-10
_SCALAR_CALL, _ARRAYS_CALL = 300, 60  # operations that a portable function is
_SCALAR_TURN, _LIBRARY_OP, _LIBRARY_NUMBER = 6e-6, 1.5e-6, 1e-8  # of a sin, cos or exp; of a function of `library`
_LIBRARY = 0.5  # a share of the 4 s that compiling it takes, once a machine for all surfaces
_COMPILE, _COMPILE_COST, _IMPORT_NUMBA = 0.5, 9e-3, 0.2
_WORDS = {"fused": "compiled", "eager": "eager", "scalar": "one by one", "arrays": "side by side"}


def unsupported(optimizer: Mapping[str, Any], scheduler: Mapping[str, Any]) -> str | None:
    """Why runs with these configuration nodes cannot be rows of a batch; None when they can."""
    from optbench.descend.rules import rule_for
    from optbench.descend.schedules import stepped

    try:
        rule_for(optimizer)
        keywords = {k: 2 if v is None else v for k, v in scheduler.items() if not k.startswith("_")}
        first = {k: v[0].tolist() if isinstance(v, np.ndarray) else v for k, v in keywords.items()}
        stepped(str(scheduler["_target_"]), first, [1.0], 2)
    except UnsupportedError as error:
        return str(error)
    return None


def descend(batch: Batch, whole: int | None = None) -> BatchResult:
    """Runs every row of a batch to its end.

    Args:
        batch: the runs.
        whole: rows of the batch that this one is a piece of: it is by them that the engine is chosen.

    Returns:
        The same numbers as the training loop's, row by row, up to rounding; the same bits whatever other rows are in
        the batch.

    Raises:
        UnsupportedError: the optimizer or the schedule has no form for rows (ask `unsupported` before).
    """
    portable = batch.known is not None and batch.known.portable
    if portable and batch.backend == "eager":
        raise UserError("trainer.engine=portable is another engine than --engine eager")
    if batch.backend == "eager":
        batch = replace(batch, known=None)
    rows = largest_piece(batch)
    if rows < batch.rows:
        return in_pieces(batch, rows, functools.partial(descend, whole=whole or batch.rows))
    plan, store = make_plan(batch), Store(batch)
    began = time.perf_counter()
    engine, why, execute = _choose(batch, plan, whole or batch.rows)
    ready = time.perf_counter()
    execute(store)
    name, why = (PORTABLE, f"{engine}: {why}") if portable else (engine, why)
    return store.result(batch, plan, time.perf_counter() - ready, ready - began, name, why)


def _choose(batch: Batch, plan: Plan, rows: int) -> _Ready:
    def eager(why: str) -> _Ready:
        if (
            batch.known is not None and batch.known.portable
        ):  # torch has other bits: what is not compiled goes row by row
            return _uncompiled("scalar", batch, plan, why)
        from optbench.descend.eager import run_eager

        own, its = (batch, plan) if batch.known is None else _by_torch(batch)
        return "eager", why, lambda store: run_eager(own, its, store)

    if batch.backend == "eager":
        return eager("asked for")
    # only now: tracing has a cost of some milliseconds
    from optbench.descend.fused import fuse, run_fused

    why = "asked for"
    batch.on_stage("tracing the step", 0.0)
    try:
        fused = fuse(batch, plan)
        if batch.backend == "auto":
            engine, seconds = _quickest(batch, rows, fused)
            why = "about " + "; ".join(f"{_WORDS[name]} {value:.1g} s" for name, value in seconds.items())
            if engine == "eager":
                return eager(why)
            if engine != "fused":
                return _uncompiled(engine, batch, plan, why)
        if not is_compiled(fused.source):
            batch.on_stage("compiling the step", 0.0)
        kernel = load(fused.source)
    except NotImplementedError as error:
        return eager(f"not fused: {error}")
    differs = _disagreement(batch, plan, fused, kernel)
    if differs is not None:
        return eager(f"not fused: {differs}")
    return "fused", why, lambda store: run_fused(batch, plan, store, fused, kernel)


def _by_torch(batch: Batch) -> tuple[Batch, Plan]:
    """A batch whose step is known, as one whose step is not."""
    whole = replace(batch, known=None)
    return whole, make_plan(whole)


def _uncompiled(engine: str, batch: Batch, plan: Plan, why: str) -> _Ready:
    """A batch whose step is known, without a compiler: row by row, or the rows side by side."""
    if engine == "arrays":
        from optbench.descend.array_rows import run_arrays

        return engine, why, lambda store: run_arrays(batch, plan, store)
    from optbench.descend.scalar_rows import run_scalar

    return engine, why, lambda store: run_scalar(batch, plan, store)


def _disagreement(batch: Batch, plan: Plan, fused: Fused, kernel: Kernel) -> str | None:
    """Why a kernel is not the eager step, asked once a machine."""
    agreed = agreement_of(fused.source)
    if has_agreed(agreed):
        return None
    from optbench.descend.agreement import compiled_disagreement
    from optbench.descend.fused import run_some

    if batch.known is not None:
        batch, plan = _by_torch(batch)
    differs = compiled_disagreement(batch, plan, functools.partial(run_some, fused=fused, kernel=kernel))
    if differs is None:
        keep_agreement(agreed)
    return differs


def forecast(batch: Batch, rows: int) -> tuple[str, float | None]:
    """Which engine will run so many rows; where it must compile its kernel first, in about how many seconds.

    Args:
        batch: the runs, or some of them.
        rows: all of them.
    """
    from optbench.descend.fused import fuse

    if batch.backend == "eager":
        return "eager", None
    try:
        fused = fuse(batch, make_plan(batch))
    except NotImplementedError:
        return "eager", None
    engine, seconds = _quickest(batch, rows, fused)
    engine = engine if batch.backend == "auto" else batch.backend
    return engine, seconds["fused"] if engine == "fused" and not is_compiled(fused.source) else None


def _quickest(batch: Batch, rows: int, fused: Fused) -> tuple[str, dict[str, float]]:
    """The engine for so many rows, and what each would take."""
    seconds = estimates(batch, rows, is_compiled(fused.source), fused.cost)
    return min(seconds, key=lambda name: seconds[name]), seconds


def estimates(batch: Batch, rows: int, compiled: bool, cost: int) -> dict[str, float]:
    """Seconds that so many rows will take, roughly, by each engine that may run them, the compiled one first.

    What is known has the same bits whichever engine runs it: which one does is a matter of time alone.

    Args:
        batch: the runs, or a piece of them.
        rows: all of them.
        compiled: whether the kernel of the step is there already.
        cost: machine instructions of a step, about.
    """
    coordinates = float(rows) * batch.dim * batch.steps
    once = (0.0 if compiled else _COMPILE + _COMPILE_COST * cost) + (0.0 if "numba" in sys.modules else _IMPORT_NUMBA)
    found = {"fused": once + float(rows) * batch.steps * cost * _FUSED_COST / batch.threads}
    if batch.known is None:
        eager = batch.steps * math.ceil(rows / batch.rows) * _EAGER_STEP + coordinates * _EAGER_COORDINATE
        return {**found, "eager": eager}
    code = [op for op, _, _ in batch.known.program["step"]["code"]]
    called, turns = sum(op.startswith(PREFIX) for op in code), sum(op in FUNCTIONS for op in code)
    operations = len(code) + _SCALAR_CALL * called
    found["scalar"] = float(rows) * batch.steps * (_SCALAR_STEP + operations * _SCALAR_OP + turns * _SCALAR_TURN)
    operations = len(code) + _ARRAYS_CALL * called
    if has_arrays(batch):
        calls, numbers = batch.steps * math.ceil(rows / BLOCK), float(rows) * batch.steps
        found["arrays"] = calls * (_ARRAYS_STEP + operations * _ARRAYS_OP)
        found["arrays"] += numbers * (_ARRAYS_ROW + operations * _ARRAYS_NUMBER)
        if functions := sum(op in library.LIBRARY for op in code):
            found["arrays"] += functions * (calls * _LIBRARY_OP + numbers * _LIBRARY_NUMBER)
            found["arrays"] += 0.0 if library.is_ready() else _LIBRARY
            found["arrays"] += 0.0 if "numba" in sys.modules else _IMPORT_NUMBA
    return found
