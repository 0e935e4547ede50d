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

from optbench.descend.batch import Batch, BatchResult
from optbench.descend.kept import has_agreed, keep_agreement
from optbench.descend.kernel import Kernel, agreement_of, is_compiled, load
from optbench.descend.pieces import in_pieces, largest_piece
from optbench.descend.plan import Plan, make_plan
from optbench.descend.rule import UnsupportedError
from optbench.descend.store import Store

if TYPE_CHECKING:
    from optbench.descend.fused import Fused

_Ready = tuple[str, str, Callable[[Store], None]]

# Seconds, measured on one core of an AMD EPYC at 2.45 GHz; only their ratios matter.
_EAGER_STEP, _EAGER_COORDINATE = 3e-4, 5e-8
_FUSED_COORDINATE = 5e-9
_SCALAR_STEP, _SCALAR_OP = 2e-6, 5e-8
_COMPILE, _IMPORT_NUMBA = 1.5, 0.5


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
    return store.result(batch, plan, time.perf_counter() - ready, ready - began, engine, why)


def _choose(batch: Batch, plan: Plan, rows: int) -> _Ready:
    def eager(why: str) -> _Ready:
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
            compiled, other = _estimates(batch, rows, is_compiled(fused.source))
            words = f"compiled {compiled:.1g} s; {'one by one' if batch.known else 'eager'} {other:.1g} s"
            if other < compiled:
                return eager(f"about {words}") if batch.known is None else _scalar(batch, plan, f"about {words}")
            why = f"about {words}"
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


def _scalar(batch: Batch, plan: Plan, why: str) -> _Ready:
    from optbench.descend.scalar_rows import run_scalar

    return "scalar", why, lambda store: run_scalar(batch, plan, store)


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


def _estimates(batch: Batch, rows: int, compiled: bool) -> tuple[float, float]:
    """Seconds that so many rows will take, roughly: compiled; one by one where the step is known, else by torch.

    What is known has the same bits either way: which way it goes is a matter of time alone.
    """
    coordinates = float(rows) * batch.dim * batch.steps
    once = (0.0 if compiled else _COMPILE) + (0.0 if "numba" in sys.modules else _IMPORT_NUMBA)
    fused = once + coordinates * _FUSED_COORDINATE / batch.threads
    if batch.known is not None:
        return fused, float(rows) * batch.steps * (_SCALAR_STEP + len(batch.known.program["step"]["code"]) * _SCALAR_OP)
    eager = batch.steps * math.ceil(rows / batch.rows) * _EAGER_STEP + coordinates * _EAGER_COORDINATE
    return fused, eager
