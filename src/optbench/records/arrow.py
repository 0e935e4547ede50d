"""The table of a sweep as columns: each is read when first needed and kept as codes into its distinct values."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as kind
from pyarrow import parquet

from optbench.errors import RecordError
from optbench.records.arrays import array_of
from optbench.records.arrow_values import floats_of_arrow, is_number, is_text, of_arrow
from optbench.records.belief import BOUNDS
from optbench.records.columns import Bools, Column, Floats, Ints, is_shown
from optbench.records.curves import Columns, columns_in
from optbench.records.files import curve_ids, reading_table
from optbench.records.origins import origin_of
from optbench.records.run import NUMBERS, Run, check_summary
from optbench.records.sources import Source, keys_of
from optbench.records.vocabulary import Status


class Table(Source):
    """A sweep's `runs` table.

    Args:
        path: of the table.

    Raises:
        RecordError: it cannot be read, is not what was written, or a row of it is no run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading_table(path) as sealed:
            first = parquet.ParquetFile(path)
            schema = first.schema_arrow
            texts = [field.name for field in schema if is_text(field.type) and field.name != "run_id"]
            self._file = parquet.ParquetFile(path, metadata=first.metadata, read_dictionary=texts)
            self.size = first.metadata.num_rows
            hidden = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
            self._names = [name for name in schema.names if name not in [h for h in hidden if isinstance(h, str)]]
            self._types = {field.name: field.type for field in schema}
        self.why = {}
        self._keys = [name for name in self._names if is_shown(name) and not _is_mapping(self._types[name])]
        self._columns: dict[str, Column] = {}
        self._kept: dict[str, pa.Array] | None = None
        self._asked = False
        self._read_curves: tuple[frozenset[str] | None, dict[str, Columns], Bools] | None = None
        self._check(sealed)

    def _read(self, names: Sequence[str]) -> pa.Table:
        with reading_table(self.path):  # a name also brings every column that begins with it and a dot
            return self._file.read(columns=list(names)).select(list(names))

    # whether it is believed

    def _check(self, sealed: bool) -> None:
        if len(set(self._names)) < len(self._names):
            raise RecordError(f"{self.path}: two columns have one name")
        if self._usual() and (sealed or self._possible()):
            return
        for run in self.runs(np.arange(self.size)):  # raises for the row that is wrong, if there is one
            check_summary(run.summary, self.path)

    def _usual(self) -> bool:
        """Whether the columns are of the types that this package writes."""
        if not {"run_id", "status"} <= set(self._names) or not is_text(self._types["run_id"]):
            return False
        numbers = [self._types[name] for name in NUMBERS if name in self._types]
        if not all(is_number(type_) or kind.is_null(type_) for type_ in numbers) or self._ids.null_count:
            return False
        return set(self.column("status").values) <= set(Status.__members__.values())

    def _possible(self) -> bool:
        """Whether no number is outside of what `belief.impossible` allows."""
        with np.errstate(invalid="ignore"):
            for names, low, high, whole in BOUNDS:
                for name in (name for name in names if name in self._types):
                    values = self.numbers(name)
                    if ((values < low) | (values > high) | (whole & (values % 1 > 0))).any():
                        return False
        return True

    # columns

    def orders(self) -> Column:
        return Column(np.broadcast_to(np.uint8(0), self.size), [tuple(self._keys)])

    def column(self, name: str) -> Column:
        if name not in self._keys:
            return Column(np.broadcast_to(np.uint8(0), self.size), [None])
        if name not in self._columns:
            head = name.partition(".")[0] if "." in name else None
            group = [key for key in self._keys if key == name or key.partition(".")[0] == head]  # read at once
            table = self._read(group)
            with reading_table(self.path):
                self._columns.update({key: of_arrow(table[key]) for key in group})
        return self._columns[name]

    def numbers(self, name: str) -> Floats:
        if name in self._keys and is_number(self._types[name]):
            return floats_of_arrow(self._read([name])[name])
        return super().numbers(name)

    def present(self, name: str) -> Bools:
        if name in self._keys and is_number(self._types[name]):
            return ~np.isnan(self.numbers(name))
        return super().present(name)

    @functools.cached_property
    def _ids(self) -> pa.ChunkedArray:
        return self._read(["run_id"])["run_id"].cast("large_string")

    def origins(self) -> Column:
        codes, values = self.column("provenance")
        return Column(codes, list(map(origin_of, values)))

    def keys(self) -> npt.NDArray[np.uint64]:
        return self._own_keys

    @functools.cached_property
    def _own_keys(self) -> npt.NDArray[np.uint64]:
        return keys_of(self._ids)

    def keys_in(self, folder: Path) -> npt.NDArray[np.uint64]:
        return self.keys() if self.path.parent == folder else np.zeros(0, dtype=np.uint64)

    @property
    def _curves(self) -> Path:
        return self.path.with_name("curves.parquet")

    def has_curve(self) -> Bools:
        return np.isin(self.keys(), keys_of(curve_ids(self._curves)))

    def place(self, i: int) -> tuple[str, Path, str]:
        return os.path.realpath(self.path), self.path.parent, str(self._curves)

    def curves(self, indices: Ints, names: Collection[str] | None) -> list[Columns]:
        wanted = None if names is None else frozenset(names)
        if self._read_curves is None or self._read_curves[0] != wanted:  # the groups of a comparison ask in turn
            curves = columns_in(self._curves, None, names) if self._curves.exists() else {}
            self._read_curves = wanted, curves, np.isin(self._own_keys, keys_of(list(curves)))
        _, curves, has = self._read_curves
        found: list[Columns] = [{} for _ in range(len(indices))]
        at = np.flatnonzero(has[indices])  # most rows of a large sweep have none
        ids = self._ids.take(array_of(np.asarray(indices, dtype=np.int64)[at])).to_pylist()
        for place, run_id in zip(at.tolist(), ids, strict=True):
            found[place] = curves.get(run_id, {})
        return found

    # rows

    def runs(self, indices: Ints) -> list[Run]:
        at = array_of(np.asarray(indices, dtype=np.int64))
        if self._asked and self._kept is None:  # the second call keeps the whole table
            self._kept = {name: self._raw(name) for name in self._names}
        self._asked = True
        with reading_table(self.path):
            cells = [_values(self._kept[name] if self._kept else self._raw(name), at) for name in self._names]
        return [Run(dict(zip(self._names, row, strict=True)), None, self._curves) for row in zip(*cells, strict=True)]

    def _raw(self, name: str) -> pa.Array:
        return self._read([name])[name].unify_dictionaries().combine_chunks()


def _values(column: pa.Array, at: pa.Array) -> list[Any]:
    """Some values of a column, None for NaN; a number with gaps is a float, as pandas has it."""
    gaps = column.null_count and kind.is_integer(column.type)
    found: list[Any] = column.take(at).to_pylist()
    return [None if v is None or v != v else float(v) if gaps else v for v in found]


def _is_mapping(type_: pa.DataType) -> bool:
    return bool(kind.is_struct(type_) or kind.is_map(type_))
