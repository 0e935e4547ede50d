"""The records of a batch: two Parquet tables in the sweep's folder, `runs` and `curves`, instead of a folder a run.

A table is replaced whole (temporary file, rename) under the folder's lock, so a reader never sees half of it. The
columns of `runs` are those of run.json, and every resolved setting under its dotted name, so a row explains itself.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.errors import RecordError
from optbench.records.write import locked, write_bytes

if TYPE_CHECKING:
    import pyarrow as pa

RUNS, CURVES = "runs.parquet", "curves.parquet"


def add_rows(folder: Path, runs: Mapping[str, Sequence[Any]], curves: Mapping[str, Sequence[Any]]) -> None:
    """Adds rows to a sweep's tables; rows of the same run_id are replaced.

    Args:
        folder: the sweep's folder.
        runs: columns of equal length, `run_id` among them.
        curves: likewise, one row a recorded step.

    Raises:
        OutputError: the tables cannot be written, or another process writes them.
        RecordError: there is a table that cannot be read.
    """
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=60.0):
        _replace(folder / CURVES, pa.table(dict(curves)), runs["run_id"])  # first: a run never lacks its curve
        _replace(folder / RUNS, pa.table(dict(runs)), runs["run_id"])


def _replace(path: Path, new: pa.Table, run_ids: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    if path.exists():
        try:
            old = parquet.read_table(path)
            old = old.filter(pc.invert(pc.is_in(old["run_id"], pa.array(run_ids, pa.string()))))
            new = pa.concat_tables([old, new], promote_options="permissive")
        except (pa.ArrowException, KeyError, OSError) as error:
            first = str(error).splitlines()[0]
            raise RecordError(f"{path}: cannot be read ({first})", "move it away and run again") from error
    buffer = io.BytesIO()
    parquet.write_table(new, buffer, compression="zstd")
    write_bytes(path, buffer.getbuffer())


def recorded_ids(folder: Path) -> dict[str, str]:
    """run_id to status of every row of a sweep's `runs` table; empty where there is none."""
    from pyarrow import ArrowException, parquet

    path = folder / RUNS
    if not path.exists():
        return {}
    try:
        table = parquet.read_table(path, columns=["run_id", "status"])
    except (ArrowException, OSError) as error:
        raise RecordError(f"{path}: cannot be read ({str(error).splitlines()[0]})", "move it away") from error
    return dict(zip(table["run_id"].to_pylist(), table["status"].to_pylist(), strict=True))
