"""What Weights & Biases exports as CSV: the curves of a chart, one column a run and metric, and the table of runs.

A chart (a line plot panel's "Export as CSV", as it is in 2023 to 2026): the horizontal axis, then for each run the
columns `RUN - METRIC`, `RUN - METRIC__MIN` and `RUN - METRIC__MAX` (the band that sampling left; not read), and
`RUN - _step` where the axis is none. Several charts of the same runs are one log a run. A table of runs has a row a
run, with `Name` and `State`, summary values and configuration; what is called as a metric of a chart is a summary.

Histories that the API gives (`run.history()`, `api.runs(...).histories()`) are CSV files with one row a step.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from optbench.errors import RecordError, UserError
from optbench.foreign.log import Log, literal
from optbench.foreign.tables import Table, listed
from optbench.records import Status

_COLUMN = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<band>__MIN|__MAX)?\Z", re.DOTALL)
_NAME, _STATE = "Name", "State"
_OF_WANDB = frozenset(
    {_NAME, _STATE, "ID", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "Hostname", "GitHub", "Commit",
     "Job Type", "Group", "Description", "End Time", "Updated", "GPU Count", "GPU Type", "OS", "Python Version"}
)  # fmt: skip
"""Columns of a table of runs that are no configuration."""
_STATES: Mapping[str, Status] = {
    "finished": Status.COMPLETED,
    "running": Status.INTERRUPTED,
    "crashed": Status.INTERRUPTED,
    "killed": Status.INTERRUPTED,
    "failed": Status.FAILED,
}


def is_export(header: Sequence[str]) -> bool:
    """Whether a CSV file is one of these exports, by its header."""
    return _is_runs(header) or (len(header) > 1 and all(_COLUMN.match(name) for name in header[1:]))


def _is_runs(header: Sequence[str]) -> bool:
    return _NAME in header and _STATE in header


def runs(tables: Sequence[Table]) -> list[Log]:
    """The runs in exports: charts, and at most one table of runs.

    Raises:
        UserError: a table of runs without charts, or several.
        RecordError: charts of groups, which are means over runs; runs of one name, which nothing tells apart.
    """
    charts = sorted((table for table in tables if not _is_runs(table.header)), key=lambda table: table.path)
    tables = [table for table in tables if _is_runs(table.header)]
    if not charts:
        raise UserError(f"{tables[0].path}: a table of runs has no curves", "export their charts too, and name both")
    rows: dict[str, list[dict[str, str]]] = {}
    of: dict[str, list[Table]] = {}
    for table in charts:
        for name, steps in _chart(table).items():
            rows.setdefault(name, []).extend(steps)
            of.setdefault(name, []).append(table)
    metrics = {column for found in rows.values() for row in found for column in row}
    told = _configurations(tables, metrics)
    missing = sorted(rows.keys() - told.keys()) if tables else []
    if missing:
        raise RecordError(f"{tables[0].path}: no run of the charts called {listed(missing)}", "export the whole table")
    return [_log(name, found, of[name], *told.get(name, ({}, None))) for name, found in rows.items()]


def _log(
    name: str, rows: list[dict[str, str]], charts: Sequence[Table], settings: Mapping[str, Any], status: Status | None
) -> Log:
    sums = " ".join(table.sum for table in charts)
    whole = sums if len(charts) == 1 else f"{len(charts)} files, {zlib.crc32(sums.encode()):08x}"
    return Log("wandb", charts[0].path, name, rows, settings, whole, status, tuple(table.path for table in charts))


def _chart(table: Table) -> dict[str, list[dict[str, str]]]:
    """The rows of each run in a chart; the axis is the column `step` where it is W&B's step."""
    axis = table.header[0]
    columns: dict[str, dict[str, str]] = {}
    for column in table.header[1:]:
        found = _COLUMN.match(column)
        assert found is not None
        if found["run"].startswith("Group: "):
            raise RecordError(f"{table.path}: {found['run'][:60]} is a mean over runs", "export the chart ungrouped")
        if found["band"] is None:
            columns.setdefault(found["run"], {})[column] = found["metric"]
    return {
        run: [
            {axis: row[axis], **{metric: row[column] for column, metric in own.items()}}
            for row in table.rows
            if any(row[column] for column in own)
        ]
        for run, own in columns.items()
    }


def _configurations(tables: Sequence[Table], metrics: set[str]) -> dict[str, tuple[dict[str, Any], Status | None]]:
    """The configuration and status of each run, by name."""
    found: dict[str, tuple[dict[str, Any], Status | None]] = {}
    for table in tables:
        for row in table.rows:
            name = row[_NAME]
            if name in found:
                raise RecordError(f"{table.path}: two runs are called {name}", "rename one of them in W&B")
            own = {k: literal(v) for k, v in row.items() if k not in _OF_WANDB | metrics and not k.startswith("_")}
            found[name] = own, _STATES.get(row[_STATE].lower())
    return found
