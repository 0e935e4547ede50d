"""Runs in the SQLite database of MLflow, the default of MLflow 3.

Read are the tables `runs`, `params` and `metrics` (schema of MLflow 3.17), by read-only queries. MLflow has no infinite
numbers there: it writes the largest finite one for them, which is read as infinite again; NaN has a column of its own.
Deleted runs are none.
"""

from __future__ import annotations

import math
import sqlite3
import sys
import zlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from optbench.errors import RecordError
from optbench.foreign.log import Log, literal
from optbench.foreign.mlflow import row_of
from optbench.records import Status
from optbench.records.seal import check_regular

NAME = "mlflow.db"
MAGIC = b"SQLite format 3\0"
_STATUSES: Mapping[str, Status] = {
    "FINISHED": Status.COMPLETED,
    "FAILED": Status.FAILED,
    "RUNNING": Status.INTERRUPTED,
    "SCHEDULED": Status.INTERRUPTED,
    "KILLED": Status.INTERRUPTED,
}
_RUNS = "SELECT run_uuid, name, status FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time, run_uuid"
_PARAMS = "SELECT key, value FROM params WHERE run_uuid = ? ORDER BY key"
_METRICS = (
    "SELECT step, key, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY step, timestamp, key, is_nan, value"
)


def is_database(path: Path) -> bool:
    """Whether a file is an SQLite database, by its first bytes."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, RecordError):
        return False


def read(path: Path) -> list[Log]:
    """The runs with metrics in a database. Raises RecordError."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            runs = [_log(database, path, *run) for run in database.execute(_RUNS)]
    except (sqlite3.Error, TypeError, ValueError, OverflowError) as error:
        raise RecordError(f"{path}: no database of MLflow: {error}") from error
    found = [log for log in runs if log.rows]
    if not found:
        raise RecordError(f"{path}: no run in it has metrics")
    return found


def _log(database: sqlite3.Connection, path: Path, run: str, name: str | None, status: str) -> Log:
    lines = database.execute(_METRICS, (run,)).fetchall()
    rows = [row_of(int(step), str(key), math.nan if nan else _number(value)) for step, key, value, nan in lines]
    params = {str(key): literal(str(value)) for key, value in database.execute(_PARAMS, (run,))}
    told = f"{len(lines)} values, {zlib.crc32(repr(lines).encode()):08x}"
    return Log("mlflow", path, f"{name or ''} {run}".strip(), rows, params, told, _STATUSES.get(status))


def _number(value: Any) -> float:
    number = float(value)
    return math.copysign(math.inf, number) if abs(number) == sys.float_info.max else number
