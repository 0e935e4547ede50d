"""The columns of the tables in which the rows of a batch are recorded: what they were, what came of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.catalogue import against_the_book
from optbench.experiment import Planned
from optbench.experiment.provenance import provenance
from optbench.landmarks.columns import COLUMNS
from optbench.records import NUMERICS, RUN_COLUMNS, Status, flatten, to_json, vocabulary
from optbench.records.columns import canonical
from optbench.records.tables import config_column, setting

if TYPE_CHECKING:
    from optbench.descend import BatchResult
    from optbench.launch.batches import Rows

_CHOICES = {"model": "model", "data": "data", "loss_name": "loss", "optimizer": "optimizer", "scheduler": "scheduler"}


def run_columns(
    rows: Rows, result: BatchResult, ended: Sequence[int], arrivals: Sequence[Any], threads: int
) -> dict[str, Any]:
    """Columns of the `runs` table for the rows that ended.

    Args:
        rows: the batch.
        result: what came of it.
        ended: numbers of the rows to record.
        arrivals: where each of them stopped, see landmarks.columns.
        threads: of the engine.
    """
    n = len(ended)
    statuses = [result.status(i) for i in ended]
    hit = [status is Status.TARGET_REACHED for status in statuses]
    facts = {
        "status": [status.value for status in statuses],
        "reason": [result.reason(i) for i in ended],
        "engine": [result.engine] * n,
        "device": ["cpu"] * n,
        "steps": result.steps[ended].tolist(),
        "evals": result.steps[ended].tolist(),
        "gradients": result.steps[ended].tolist(),
        "seconds": [None] * n,
        "seconds_of": ["batch"] * n,
        "final_loss": _finite(result.final_loss[ended]),
        "best_loss": _finite(result.best_loss[ended]),
        "best_step": [int(s) if s >= 0 else None for s in result.best_step[ended]],
        "final_grad_norm": _finite(result.final_grad_norm[ended]),
        "target": [result.trainer.target] * n,
        "steps_to_target": [int(s) if h else None for h, s in zip(hit, result.steps[ended], strict=True)],
        **{name: [getattr(arrival, name) for arrival in arrivals] for name in COLUMNS},
    }
    clock = {
        "rows": len(rows.planned),
        "seconds": result.seconds,
        "compile_seconds": result.compile_seconds,
        "why": result.why,
    }
    of_all = to_json({**provenance("cpu", threads, "float64", True), "batch": clock}, indent=None)
    return _columns([rows.planned[i] for i in ended], rows.varying, facts, of_all)


def skipped_columns(rows: Rows, reason: str) -> dict[str, Any]:
    """Columns of the `runs` table for rows whose parts do not fit together."""
    n = len(rows.planned)
    return _columns(rows.planned, rows.varying, {"status": [Status.SKIPPED.value] * n, "reason": [reason] * n}, "{}")


def _columns(
    planned: Sequence[Planned], varying: Sequence[str], facts: Mapping[str, Any], of_all: str
) -> dict[str, Any]:
    from optbench.records.arrays import dictionary_of

    n, first = len(planned), planned[0]
    columns: dict[str, Any] = {
        "run_id": [p.run_id for p in planned],
        "sweep": [p.sweep for p in planned],
        **{name: [first.choices[group]] * n for name, group in _CHOICES.items()},
        "seed": [p.config["seed"] for p in planned],
        **facts,
        **_against_the_book(first, n),
        "numerics": [NUMERICS] * n,
        "provenance": dictionary_of([of_all], [0] * n),
        "config": config_column([p.config for p in planned], varying),
    }
    columns = {name: columns.pop(name, [None] * n) for name in RUN_COLUMNS} | columns
    for key, value in flatten(first.config).items():
        if key not in columns and not key.startswith("choices."):
            columns[key] = [_cell(setting(p.config, key)) for p in planned] if key in varying else [_cell(value)] * n
    return columns


def _against_the_book(first: Planned, n: int) -> dict[str, Any]:
    """As in run.json; all rows of a batch have one optimizer."""
    differs = against_the_book(first.choices["optimizer"], str(first.config["optimizer"]["_target_"]))
    from optbench.records.arrays import dictionary_of

    return {"book": dictionary_of([differs], [0] * n)} if differs else {}


def curve_columns(rows: Rows, result: BatchResult, ended: set[int]) -> dict[str, Any]:
    """Columns of the `curves` table: run_id and the columns of metrics.csv."""
    parts: dict[str, list[Any]] = defaultdict(list)
    columns = vocabulary.curve_columns(result.x.shape[1], network=False)
    for row in map(int, result.curves.rows):
        if row not in ended:
            continue
        curve = result.curve(row)
        parts["run_id"].append(np.full(len(curve["step"]), rows.planned[row].run_id, dtype=object))
        for column in columns:
            if column.in_rows is not None:
                parts[column.name].append(curve[column.in_rows])
    if not parts:
        return {"run_id": []}
    return {name: np.concatenate(values) for name, values in parts.items()}


def _finite(values: Any) -> list[float | None]:
    finite = np.isfinite(values).tolist()
    return [v if there else None for v, there in zip(values.tolist(), finite, strict=True)]


def _cell(value: Any) -> Any:
    """A setting as a table takes it: lists as JSON text, since one column has one type."""
    return canonical(value) if isinstance(value, list | dict) else value
