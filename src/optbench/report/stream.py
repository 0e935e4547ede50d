"""The runs of a sweep as one JSON document, written piece by piece.

The rows of a table come from its columns a thousand at a time, so a million runs take the memory of their columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.records import Folders, Run, Status, TableColumns, find, to_json
from optbench.records import Rows as RunsOfTable
from optbench.records.walk import table_runs

if TYPE_CHECKING:
    import pyarrow as pa

_AT_ONCE = 1024


def runs_json(folder: Path, run_ids: Sequence[str]) -> Iterator[str]:
    """Pieces of the JSON list of the records under a folder, an object a run: its summary, and its `path`.

    The pieces joined are `records.to_json` of the list, whatever the runs are stored in.

    Args:
        folder: of the sweep.
        run_ids: the runs wanted, in order; those without a record are left out.
    """
    parts = find([folder])[0] if folder.exists() else []
    readers = [_reader(part) for part in parts]
    starts = np.cumsum([0, *map(len, readers)])
    place = _places(parts, readers, starts.tolist())
    found = np.array([place[one] for one in run_ids if one in place], dtype=np.int64)
    whose = np.searchsorted(starts, found, side="right") - 1
    head = "["
    for at in range(0, len(found), _AT_ONCE):
        stretches = groupby(zip(whose[at : at + _AT_ONCE].tolist(), found[at : at + _AT_ONCE].tolist(), strict=True),
                            key=lambda one: one[0])  # fmt: skip
        for number, members in stretches:
            indices = np.array([position for _, position in members], dtype=np.int64) - starts[number]
            yield head + "\n" + ",\n".join(readers[number].texts(indices))
            head = ","
    yield "\n]" if head == "," else "[]"


class _Runs:
    """Runs as they are, one by one."""

    def __init__(self, runs: Sequence[Run] | Folders) -> None:
        self._runs = runs

    def __len__(self) -> int:
        return len(self._runs.paths if isinstance(self._runs, Folders) else self._runs)

    def ids(self) -> list[str]:
        """run_id of each."""
        if isinstance(self._runs, Folders):
            return [summary["run_id"] for summary in self._runs.summaries]
        return [run.run_id for run in self._runs]

    def final(self) -> list[bool]:
        """Whether each ended."""
        if isinstance(self._runs, Folders):
            return [Status(summary["status"]).final for summary in self._runs.summaries]
        return [run.status.final for run in self._runs]

    def texts(self, indices: Any) -> Iterator[str]:
        """The objects of some runs."""
        for i in indices.tolist():
            run = self._runs.run(i) if isinstance(self._runs, Folders) else self._runs[i]
            yield _text({**run.summary, "path": run.path or run.table})


class _Table:
    """A table that this package wrote, by columns."""

    def __init__(self, columns: TableColumns) -> None:
        self._columns = columns
        self._read: list[tuple[str, pa.Array]] | None = None

    def __len__(self) -> int:
        return self._columns.size

    def ids(self) -> list[str]:
        """run_id of each row."""
        found: list[str] = self._columns.run_ids().to_pylist()
        return found

    def final(self) -> list[bool]:
        """Whether each row's run ended."""
        codes, values = self._columns.encoded("status")
        ended = [Status(value).final for value in values]
        return ended * len(self) if codes is None else [ended[code] for code in codes.tolist()]

    def texts(self, indices: Any) -> Iterator[str]:
        """The objects of some rows."""
        import pyarrow as pa

        if self._read is None:
            self._read = [(name, self._columns.column(name)) for name in self._columns.names]
        at, names = pa.array(indices), [name for name, _ in self._read]
        cells = [_values(column, at) for _, column in self._read]
        path = self._columns.path.with_name("curves.parquet")
        yield from (_text({**dict(zip(names, row, strict=True)), "path": path}) for row in zip(*cells, strict=True))


def _text(record: Mapping[str, Any]) -> str:
    return textwrap.indent(to_json(record), "  ")


def _values(column: pa.Array, at: pa.Array) -> list[Any]:
    """Some values of a column; a number with gaps is a float, as to pandas, which reads tables elsewhere."""
    import pyarrow.types as kind

    found: list[Any] = column.take(at).to_pylist()
    if column.null_count and kind.is_integer(column.type):
        return [None if value is None else float(value) for value in found]
    return found


def _reader(part: Folders | TableColumns | RunsOfTable) -> _Runs | _Table:
    if isinstance(part, Folders):
        return _Runs(part)
    if isinstance(part, RunsOfTable):
        return _Runs(part.runs)
    plain = not part.by_pandas and "path" not in part.names and all(map(part.holds_plain, part.names))
    return _Table(part) if plain else _Runs(table_runs(part.path).runs)


def _places(parts: Sequence[Any], readers: Sequence[_Runs | _Table], starts: Sequence[int]) -> dict[str, int]:
    """run_id to the position of its record, counted through all parts: the last, but no unfinished folder beside the
    finished row of the same sweep, see records.scan."""
    place: dict[str, int] = {}
    ended: dict[Path, set[str]] = {}
    for part, reader, start in zip(parts, readers, starts, strict=False):
        ids = reader.ids()
        if not isinstance(part, Folders):
            ended[part.path.parent] = {one for one, final in zip(ids, reader.final(), strict=True) if final}
            place.update(zip(ids, range(start, start + len(ids)), strict=True))
            continue
        for i, (one, final) in enumerate(zip(ids, reader.final(), strict=True)):
            if final or one not in ended.get(Path(part.paths[i]).parent, ()):
                place[one] = start + i
    return place
