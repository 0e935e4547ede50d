"""A log as a record: curve, summary, configuration, all sealed and marked as imported.

A log does not say how its run ended, unless the tool recorded it. The rule is: a run whose last loss (validation loss,
where there is no other) is NaN or infinite has diverged, any other is completed. Best values are of the finite ones.
"""

from __future__ import annotations

import importlib.metadata
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optbench.errors import RecordError, UserError
from optbench.foreign.columns import ACCURACIES, SCORES
from optbench.foreign.log import Log, number, whole
from optbench.foreign.settings import UNNAMED, Configured
from optbench.records import (
    RUN_COLUMNS,
    CurveWriter,
    Status,
    part_sums,
    run_id,
    write_sealed,
    write_yaml,
)

_WHOLE = ("step", "evals")
_LONGEST = 40


class Curve(NamedTuple):
    """The recorded steps of a run.

    Attributes:
        columns: of them.
        rows: a step each, rising; None where nothing was logged.
        replaced: number of cells that a later one of the same step and column replaced by another value.
    """

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    replaced: int


class Understood(NamedTuple):
    """A log, and what was understood of it.

    Attributes:
        log: as it was read.
        columns: of the curve to those of the log.
        curve: of the run.
        told: what its hyperparameters say.
        config: the configuration of its record.
    """

    log: Log
    columns: Mapping[str, str]
    curve: Curve
    told: Configured
    config: Mapping[str, Any]

    @property
    def unused(self) -> list[str]:
        """The columns of the log that were not read."""
        return [name for name in self.log.columns if name not in self.columns.values()]


def curve_of(log: Log, columns: Mapping[str, str], percent: bool = False) -> Curve:
    """The curve of a log.

    Args:
        log: of a run.
        columns: of the curve to those of the log, `step` among them.
        percent: whether its accuracies are from 0 to 100.

    Raises:
        RecordError: a cell that is no number, an accuracy that is no share, or in a CSV file two values of one step,
            which are those of two runs.
    """
    steps: dict[int, dict[str, Any]] = {}
    replaced = 0
    of_step = columns["step"]
    for row in log.rows:
        step = whole(row.get(of_step), f"{log}: column {of_step}")
        told = {name: _cell(log, name, row.get(column), column, percent) for name, column in columns.items()}
        told = {name: value for name, value in told.items() if value is not None and name != "step"}
        if step is None or not told:  # other columns than those that are read
            continue
        at = steps.setdefault(step, {"step": step})
        other = [name for name, value in told.items() if name in SCORES and repr(at.get(name, value)) != repr(value)]
        if other and log.kind == "csv":
            values = f"{columns[other[0]]} {at[other[0]]:g} and {told[other[0]]:g}"
            raise RecordError(f"{log}: step {step} has {values}", "--by COLUMNS says which columns tell runs apart")
        replaced += len(other)
        at.update(told)
    rows = [steps[step] for step in sorted(steps)]
    if not rows:
        raise RecordError(f"{log}: no row has a step and a number")
    there = [name for name in columns if any(name in row for row in rows)]
    return Curve(there, rows, replaced)


def _cell(log: Log, name: str, cell: Any, column: str, percent: bool) -> float | int | None:
    where = f"{log}: column {column}"
    if name in _WHOLE:
        return whole(cell, where)
    found = number(cell, where)
    if found is None or name not in ACCURACIES:
        return found
    share = found / 100 if percent else found
    if math.isfinite(share) and not 0 <= share <= 1:
        hint = "" if percent else "accuracies are shares from 0 to 1; --percent divides them by 100"
        raise RecordError(f"{where}: {found:g} is no accuracy", hint)
    return share


def summary_of(curve: Curve, status: Status | None = None) -> dict[str, Any]:
    """What a curve tells of a run: its end, its last and its best numbers.

    Args:
        curve: of the run.
        status: how it ended, where that is known.
    """
    of = {name: [(row["step"], row[name]) for row in curve.rows if name in row] for name in curve.columns}
    judged = of.get("loss") or of.get("val_loss") or []
    steps = curve.rows[-1]["step"]
    diverged = bool(judged) and not math.isfinite(judged[-1][1])
    reason = f"imported: its log ends at step {steps}"
    if diverged and status in (None, Status.COMPLETED):
        status, reason = Status.DIVERGED, f"imported: the last loss of its log, at step {judged[-1][0]}, is not finite"
    finite = {name: [(s, v) for s, v in values if math.isfinite(v)] for name, values in of.items()}
    found: dict[str, Any] = {"status": str(status or Status.COMPLETED), "reason": reason, "steps": steps}
    if (loss := of.get("loss")) is not None:
        found["final_loss"] = loss[-1][1]
        found |= dict(zip(("best_step", "best_loss"), _least(finite["loss"]), strict=True))
    if (grad := of.get("grad_norm")) is not None:
        found["final_grad_norm"] = grad[-1][1]
    if (seconds := finite.get("seconds")) and seconds[-1][1] >= 0:
        found |= {"seconds": seconds[-1][1], "seconds_of": "run"}
    found |= {name: of[name][-1][1] for name in ("val_loss", "val_accuracy") if name in of}
    return found | _best_validated(curve.rows)


def _best_validated(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The best validated step: of the highest accuracy, of several the one of the least loss, as runs keep it; where
    there is no accuracy, of the least loss."""

    def finite(row: Mapping[str, Any], name: str) -> float:
        return row[name] if math.isfinite(row.get(name, math.nan)) else math.inf

    classes = any(finite(row, "val_accuracy") < math.inf for row in rows)
    scored = [
        (-row["val_accuracy"] if classes else 0.0, finite(row, "val_loss"), row["step"])
        for row in rows
        if finite(row, "val_accuracy" if classes else "val_loss") < math.inf
    ]
    if not scored:
        return {}
    accuracy, loss, step = min(scored)
    return {"best_val_accuracy": -accuracy if classes else None, "best_val_loss": loss, "best_val_step": step}


def _least(values: Sequence[tuple[int, float]]) -> tuple[int | None, float | None]:
    return min(values, key=lambda one: (one[1], one[0]), default=(None, None))


def configuration(log: Log, told: Configured) -> dict[str, Any]:
    """The configuration of a record: settings in groups, `choices`, the seed, and which log it is.

    A run whose seed is not told gets a number of its own, made from its log: runs with such seeds are never compared
    pair by pair.
    """
    config: dict[str, Any] = {}
    for key, value in told.settings.items():
        *path, last = key.split(".")
        place = config
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise UserError(
                    f"{log}: the settings {key} and {'.'.join(path)} cannot both be", "--ignore one of them"
                )
        if isinstance(place.get(last), dict):
            raise UserError(f"{log}: the setting {key} is a value and has others below it", "--ignore it")
        place[last] = value
    seed = told.seed if told.seed is not None else int(log.key, 16) % 10**9
    choices = {group: name or UNNAMED.get(group) for group, name in told.choices.items()}
    return {**config, "seed": seed, "choices": choices, "imported": log.key}


def folder_name(log: Log) -> str:
    """The name of a log's record: the same each time that it is imported."""
    name = log.name or (log.path.name if log.path.is_dir() else log.path.parent.name)
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:_LONGEST]
    return f"{plain or 'run'}-log-{log.key}"


def write(out: Path, one: Understood) -> Path:
    """Writes the record of a log below `out`, over the one of the same log; returns its folder. Raises OutputError."""
    log, config = one.log, one.config
    folder = out / folder_name(log)
    choices = config["choices"]
    own = {"run_id": run_id(config), "seed": config["seed"], "loss_name": choices["loss"]}
    own |= {group: choices[group] for group in ("model", "data", "optimizer", "scheduler")}
    write_yaml(folder / "config.yaml", config)
    writer = CurveWriter(folder / "metrics.csv", one.curve.columns)
    for row in one.curve.rows:
        writer.write(row)
    writer.close()
    provenance = {"imported": _origin(one), "files": part_sums(folder)}
    summary = dict.fromkeys(RUN_COLUMNS) | own | summary_of(one.curve, log.status)
    write_sealed(folder / "run.json", {**summary, "provenance": provenance})
    return folder


def _origin(one: Understood) -> dict[str, Any]:
    """Where a record comes from: what marks it as imported."""
    return {
        "kind": one.log.kind,
        "from": str(one.log.path.resolve()),
        "name": one.log.name,
        "sum": one.log.sum,
        "columns": dict(one.columns),
        "settings": dict(one.told.places),
        "seed": "of the log" if one.told.seed is not None else "not told: made from the log",
        "by": f"optbench {importlib.metadata.version('optbench')}",
    }
