"""CSV files with one row a step, of one run or of several that some columns tell apart."""

from __future__ import annotations

from collections.abc import Sequence

from optbench.errors import RecordError, UserError
from optbench.foreign.log import Log, literal
from optbench.foreign.settings import SEEDS
from optbench.foreign.tables import Table, listed

RUN_NAMES = ("run", "run_id", "run_name", "Run", "Name")
_APART = (*RUN_NAMES, *SEEDS, "optimizer", "scheduler", "model", "dataset", "batch_size")
"""Columns that tell runs apart without being asked."""


def split(table: Table, apart: Sequence[str] = ()) -> list[Log]:
    """The runs in a CSV file.

    Args:
        table: what is in it.
        apart: the columns that tell its runs apart; all but a run's name are settings of it, and so are others of
            `_APART` that have one value in each run. Empty: all of `_APART`.

    Raises:
        UserError: such a column is missing.
        RecordError: there are no rows.
    """
    if not table.rows:
        raise RecordError(f"{table.path}: it has no rows")
    missing = [name for name in apart if name not in table.header]
    if missing:
        raise UserError(f"{table.path}: no column for --by {','.join(missing)}", f"it has: {listed(table.header)}")
    by = list(apart) or [name for name in table.header if name in _APART]
    runs: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in table.rows:
        runs.setdefault(tuple(row[name] for name in by), []).append(row)
    beside = [
        name
        for name in table.header
        if name in _APART
        and name not in (*by, *RUN_NAMES)
        and all(len({row[name] for row in rows}) == 1 for rows in runs.values())
    ]
    found = []
    for values, rows in runs.items():
        apart_by = dict(zip(by, values, strict=True))
        told = apart_by | {name: rows[0][name] for name in beside}
        cells = [{name: cell for name, cell in row.items() if name not in told} for row in rows]
        name = " ".join(v if k in RUN_NAMES else f"{k}={v}" for k, v in apart_by.items())
        settings = {k: literal(v) for k, v in told.items() if k not in RUN_NAMES}
        found.append(Log("csv", table.path, name, cells, settings, table.sum))
    return found
