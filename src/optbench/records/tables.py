"""The records of a batch: two Parquet tables in the sweep's folder, `runs` and `curves`, instead of a folder a run.

A table is replaced whole (temporary file, rename) under the folder's lock, so a reader never sees half of it. The
columns of `runs` are those of run.json, and every resolved setting under its dotted name, so a row explains itself;
`config` holds the configuration as JSON, of which only scalar numbers may differ from those of the row.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.errors import OutputError
from optbench.records.files import reading_table
from optbench.records.seal import sealed_table
from optbench.records.write import locked, plain, write_pieces

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

    with locked(folder, wait=60.0):
        for left_over in folder.glob(".*.parquet.*.tmp"):  # by a process that was killed while it wrote
            left_over.unlink()
        _replace(folder / CURVES, _table(curves), runs["run_id"])  # first: a run never lacks its curve
        _replace(folder / RUNS, _table(runs), runs["run_id"])


def add_curves(folder: Path, curves: Mapping[str, Sequence[Any]]) -> None:
    """Adds curves of rows that a sweep's `runs` table has; arguments and errors as `add_rows` has them."""
    with locked(folder, wait=60.0):
        _replace(folder / CURVES, _table(curves), sorted(set(curves["run_id"])))


def _table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    from optbench.records.arrays import table_of, texts_of

    return table_of({**columns, "run_id": texts_of(columns["run_id"])})  # a string without rows too


def _replace(path: Path, new: pa.Table, run_ids: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    from optbench.records.arrays import texts_of

    if path.exists():
        with reading_table(path, _HINT):
            old = parquet.ParquetFile(path).read()
            old = old.filter(pc.invert(pc.is_in(old["run_id"], texts_of(run_ids))))
            new = pa.concat_tables(_alike(old, new), promote_options="permissive")
    buffer = io.BytesIO()
    parquet.write_table(new, buffer, compression="zstd")
    write_pieces(path, sealed_table(buffer.getbuffer()))


def _alike(old: pa.Table, new: pa.Table) -> list[pa.Table]:
    """The tables with one type a column: a setting that is a number here and a text or a flag there becomes text."""
    import pyarrow as pa

    for name in set(old.column_names) & set(new.column_names):
        kinds = {_kind(table.schema.field(name).type) for table in (old, new)} - {"null"}
        if len(kinds) > 1:
            old, new = (
                table.set_column(table.column_names.index(name), name, table[name].cast(pa.string()))
                for table in (old, new)
            )
    return [old, new]


def _kind(type_: pa.DataType) -> str:
    import pyarrow.types as kind

    if kind.is_integer(type_) or kind.is_floating(type_):
        return "number"
    return str(type_)


_HINT = "nothing was changed; move the table away, or bring it back from a copy, and run again"


def config_column(configs: Sequence[Mapping[str, Any]], varying: Sequence[str]) -> pa.DictionaryArray:
    """The `config` column: each row's configuration as JSON, the same text for rows that differ in scalars only.

    Args:
        configs: of each row.
        varying: dotted keys in which they differ.
    """
    from optbench.records.arrays import dictionary_of

    texts: list[str] = []
    indices: dict[str, int] = {}
    which = []
    for config in configs:
        values = [setting(config, key) for key in varying]
        apart = json.dumps([v for v in values if not isinstance(v, int | float) or isinstance(v, bool)])
        if apart not in indices:
            indices[apart] = len(texts)
            texts.append(json.dumps(plain(config, finite=False)))
        which.append(indices[apart])
    return dictionary_of(texts, which)


def setting(config: Mapping[str, Any], key: str) -> Any:
    """The value under a dotted key."""
    for name in key.split("."):
        config = config[name]
    return config


def remove_folders(folders: Iterable[Path]) -> None:
    """Removes run folders whose runs are rows now, but for those that another process is writing."""
    for folder in folders:
        if folder.is_dir():
            with contextlib.suppress(OutputError), locked(folder):
                shutil.rmtree(folder, ignore_errors=True)


def recorded_ids(folder: Path) -> dict[str, str]:
    """run_id to status of every row of a sweep's `runs` table; empty where there is none.

    Raises:
        RecordError: a table cannot be read.
    """
    runs, curves = folder / RUNS, folder / CURVES
    if not runs.exists() and not curves.exists():
        return {}
    from pyarrow import parquet

    if curves.exists():
        with reading_table(curves, _HINT):
            parquet.read_metadata(curves)  # rows to come are added to it
    if not runs.exists():
        return {}
    with reading_table(runs, _HINT):
        table = parquet.ParquetFile(runs).read(columns=["run_id", "status"])
        table["run_id"], table["status"]  # columns that a table lacks are left out silently
    return dict(zip(table["run_id"].to_pylist(), table["status"].to_pylist(), strict=True))


def recorded_ends(folder: Path) -> dict[str, tuple[int, float | None]]:
    """run_id to the number of updates and the last loss, of every row that was started; none where there is no table.

    Raises:
        RecordError: the table cannot be read.
    """
    runs = folder / RUNS
    if not runs.exists():
        return {}
    from pyarrow import parquet

    with reading_table(runs, _HINT):
        table = parquet.ParquetFile(runs).read(columns=["run_id", "steps", "final_loss"]).to_pydict()
    rows = zip(table["run_id"], table["steps"], table["final_loss"], strict=True)
    return {run_id: (int(steps), loss) for run_id, steps, loss in rows if steps is not None}
