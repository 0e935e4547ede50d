"""One entry: make a batch ready, choose its engine, run it, and say which engine it was and why."""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from optbench.descend.agreement import compiled_disagreement
from optbench.descend.batch import Batch, BatchResult
from optbench.descend.eager import run_eager
from optbench.descend.kept import has_agreed, keep_agreement
from optbench.descend.kernel import agreement_of, is_compiled, load
from optbench.descend.pieces import in_pieces, largest_piece
from optbench.descend.plan import Plan, make_plan
from optbench.descend.rule import UnsupportedError
from optbench.descend.rules import rule_for
from optbench.descend.schedules import stepped
from optbench.descend.store import Store

_Ready = tuple[str, str, Callable[[Store], None]]

# Seconds, measured on one core of an AMD EPYC at 2.45 GHz; only their ratios matter.
_EAGER_STEP, _EAGER_COORDINATE = 3e-4, 5e-8
_FUSED_COORDINATE = 5e-9
_COMPILE, _IMPORT_NUMBA = 1.5, 0.5


def unsupported(optimizer: Mapping[str, Any], scheduler: Mapping[str, Any]) -> str | None:
    """Why runs with these configuration nodes cannot be rows of a batch; None when they can."""
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
        return "eager", why, lambda store: run_eager(batch, plan, store)

    if batch.backend == "eager":
        return eager("asked for")
    # only now: tracing has a cost of some milliseconds
    from optbench.descend.fused import fuse, run_fused, run_some

    why = "asked for"
    batch.on_stage("tracing the step", 0.0)
    try:
        fused = fuse(batch, plan)
        if batch.backend == "auto":
            compiled, fast = _estimates(batch, rows, is_compiled(fused.source))
            if fast < compiled:
                return eager(f"about {fast:.1g} s; compiled {compiled:.1g} s")
            why = f"about {compiled:.1g} s; eager {fast:.1g} s"
        if not is_compiled(fused.source):
            batch.on_stage("compiling the step", 0.0)
        kernel = load(fused.source)
    except NotImplementedError as error:
        return eager(f"not fused: {error}")
    agreed = agreement_of(fused.source)
    if not has_agreed(agreed):
        differs = compiled_disagreement(batch, plan, functools.partial(run_some, fused=fused, kernel=kernel))
        if differs is not None:
            return eager(f"not fused: {differs}")
        keep_agreement(agreed)
    return "fused", why, lambda store: run_fused(batch, plan, store, fused, kernel)


def _estimates(batch: Batch, rows: int, compiled: bool) -> tuple[float, float]:
    """Seconds that the fused engine and the eager one will take for so many rows, roughly."""
    coordinates = float(rows) * batch.dim * batch.steps
    once = (0.0 if compiled else _COMPILE) + (0.0 if "numba" in sys.modules else _IMPORT_NUMBA)
    eager = batch.steps * math.ceil(rows / batch.rows) * _EAGER_STEP + coordinates * _EAGER_COORDINATE
    return once + coordinates * _FUSED_COORDINATE / batch.threads, eager
