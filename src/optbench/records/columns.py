"""A table of runs as columns: each is read when it is asked for, and kept as codes where its values repeat.

A million rows as mappings are gigabytes and a minute; as columns most of them are one value said a million times.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from optbench.errors import RecordError
from optbench.records.belief import BOUNDS
from optbench.records.read import curve_ids
from optbench.records.run import NUMBERS, Run
from optbench.records.seal import check_table
from optbench.records.vocabulary import Status

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


USUAL_LENGTH = 12
"""Signs of a run_id, see `vocabulary.run_id`."""

_FEW = 20
"""Rows are few where the table has this many times as many."""
_BATCH = 1 << 16


class Encoded(NamedTuple):
    """A column by its different values: row i has values[codes[i]]; codes None: every row has values[0]."""

    codes: npt.NDArray[Any] | None
    values: list[Any]


class TableColumns:
    """A `runs` table, read by columns.

    Args:
        path: the table.

    Raises:
        RecordError: it cannot be read, or is not what was written.
    """

    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        self.path = path
        self._sealed = check_table(path)
        with self._reading():
            first = parquet.ParquetFile(path)
            schema = first.schema_arrow
            texts = [field.name for field in schema if _is_text(field.type) and field.name != "run_id"]
            self._file = parquet.ParquetFile(path, metadata=first.metadata, read_dictionary=texts)
            self.by_pandas = b"pandas" in (schema.metadata or {})
            self.size: int = first.metadata.num_rows
            hidden = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
            self.names = [name for name in schema.names if name not in [h for h in hidden if isinstance(h, str)]]
            self._types = {field.name: field.type for field in schema}
        self._run_ids: pa.ChunkedArray | None = None
        self._whole: pa.Table | None = None
        self._picked = False
        self._encoded: dict[str, Encoded] = {}

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except RecordError:
            raise
        except Exception as error:  # pyarrow raises its own and the system's errors alike; all mean: not a table
            raise RecordError(f"{self.path}: {' '.join(str(error).split())[:200]}") from error

    def regular(self) -> bool:
        """Whether all columns are of the types that this package writes; if not, each row is to be judged by itself."""
        import pyarrow.types as kind

        if len(set(self.names)) < len(self.names) or not {"run_id", "status"} <= set(self.names):
            return False
        numbers = [self._types[name] for name in NUMBERS if name in self.names]
        if not all(_is_number(type_) or kind.is_null(type_) for type_ in numbers):
            return False
        if not _is_text(self._types["run_id"]) or self.run_ids().null_count:
            return False
        if not set(self.encoded("status").values) <= set(Status.__members__.values()):
            return False
        return self._sealed or self._possible()

    def _possible(self) -> bool:
        """Whether no number is outside of what `belief.impossible` allows."""
        import numpy as np

        with np.errstate(invalid="ignore"):
            for names, low, high, whole in BOUNDS:
                for name in (name for name in names if name in self.names):
                    values = self.numbers(name)
                    if ((values < low) | (values > high) | (whole & (values % 1 > 0))).any():
                        return False
        return True

    def run_ids(self) -> pa.ChunkedArray:
        """The column of that name."""
        if self._run_ids is None:
            self._run_ids = self._read(["run_id"])["run_id"]
        return self._run_ids

    def run_ids_as_bytes(self) -> npt.NDArray[np.uint8] | None:
        """The same as (size, USUAL_LENGTH) bytes; None where some are longer or shorter."""
        import numpy as np

        if not self.size:
            return None
        whole = self.run_ids().cast("large_string").combine_chunks()
        _, ends, signs = whole.buffers()
        ends = np.frombuffer(ends, np.int64)[whole.offset : whole.offset + self.size + 1]
        if not (np.diff(ends) == USUAL_LENGTH).all():
            return None
        return np.frombuffer(signs, np.uint8)[ends[0] : ends[-1]].reshape(-1, USUAL_LENGTH)

    def holds_numbers(self, name: str) -> bool:
        """Whether the values of a column are whole numbers or floats."""
        return name in self.names and _is_number(self._types[name])

    def holds_plain(self, name: str) -> bool:
        """Whether the values of a column are numbers, flags, texts, or nothing."""
        import pyarrow.types as kind

        type_ = self._types[name]
        if kind.is_dictionary(type_):
            return _is_text(type_.value_type)
        return bool(
            (_is_number(type_) and not kind.is_float16(type_))
            or _is_text(type_)
            or kind.is_boolean(type_)
            or kind.is_null(type_)
        )

    def holds_mappings(self, name: str) -> bool:
        """Whether the values of a column are mappings."""
        import pyarrow.types as kind

        return bool(kind.is_struct(self._types[name]) or kind.is_map(self._types[name]))

    def encoded(self, name: str) -> Encoded:
        """A column by its different values; None stands for null and NaN, and for all of a column that is not there."""
        self.encode([name])
        return self._encoded[name]

    def encode(self, names: Sequence[str]) -> None:
        """Reads columns at once, for `encoded`."""
        missing = [name for name in dict.fromkeys(names) if name not in self._encoded]
        here = set(self.names)
        self._encoded.update({name: Encoded(None, [None]) for name in missing if name not in here})
        groups: dict[str, list[str]] = {}
        for name in missing:
            if name in here:
                groups.setdefault(name.partition(".")[0], []).append(name)
        for group in groups.values():
            table = self._read(group)
            with self._reading():
                self._encoded.update({name: _encode(table[name]) for name in group})

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A column of numbers as floats, (size,); NaN where there is none."""
        import numpy as np
        import pyarrow.types as kind

        if name not in self.names or kind.is_null(self._types[name]):
            return np.full(self.size, np.nan)
        if _is_number(self._types[name]):
            return _floats(self._read([name])[name])
        codes, values = self.encoded(name)
        known = np.array([np.nan if value is None else float(value) for value in values])
        return np.full(self.size, known[0]) if codes is None else known[codes]

    def column(self, name: str) -> pa.Array:
        """A column in one piece; texts as dictionaries."""
        with self._reading():
            return self._read([name])[name].unify_dictionaries().combine_chunks()

    def has_curve(self) -> npt.NDArray[np.bool_]:
        """Which rows have a curve in the table beside this one, (size,). Raises RecordError."""
        import numpy as np

        known = set(curve_ids(self.path.with_name("curves.parquet")))
        return np.fromiter((one in known for one in self.run_ids().to_pylist()), dtype=bool, count=self.size)

    def rows(self, indices: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """Rows as mappings, None for null and NaN.

        Few rows are picked while the table goes by; who asks again, or for many, has it read whole and kept.
        """
        import pyarrow as pa

        if self._whole is None and not self._picked and len(indices) * _FEW < self.size:
            self._picked = True
            rows = self._pick(indices)
        else:
            if self._whole is None:
                self._whole = self._read(self.names)
            with self._reading():
                rows = self._whole.take(pa.array(indices)).to_pylist()
        return [{k: None if v != v else v for k, v in row.items()} for row in rows]

    def _pick(self, indices: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        import numpy as np
        import pyarrow as pa

        order = np.argsort(indices, kind="stable")
        wanted, place = indices[order], 0
        found: list[dict[str, Any]] = []
        with self._reading():
            for batch in self._file.iter_batches(_BATCH, columns=self.names):
                start, end = np.searchsorted(wanted, [place, place + len(batch)])
                if end > start:
                    found += batch.take(pa.array(wanted[start:end] - place)).select(self.names).to_pylist()
                place += len(batch)
        back = np.argsort(order, kind="stable")
        return [found[at] for at in back.tolist()]

    def run(self, row: dict[str, Any]) -> Run:
        """A row of `rows` as a run."""
        return Run(row, None, self.path.with_name("curves.parquet"))

    def _read(self, names: Sequence[str]) -> pa.Table:
        with self._reading():  # a name brings all that begin with it and a dot, hence the selection
            return self._file.read(columns=list(names)).select(list(names))


def _is_text(type_: pa.DataType) -> bool:
    import pyarrow.types as kind

    return bool(kind.is_string(type_) or kind.is_large_string(type_))


def _is_number(type_: pa.DataType) -> bool:
    import pyarrow.types as kind

    return bool(kind.is_integer(type_) or kind.is_floating(type_))


def _encode(column: pa.ChunkedArray) -> Encoded:
    import numpy as np
    import pyarrow.types as kind

    if kind.is_null(column.type) or not len(column):
        return Encoded(None, [None])
    if kind.is_nested(column.type):
        return Encoded(np.arange(len(column)), column.to_pylist())
    if not column.null_count and _is_number(column.type):
        parts = [_fixed(chunk, f"u{column.type.bit_width // 8}") for chunk in column.chunks if len(chunk)]
        if all((part == parts[0][0]).all() for part in parts):
            column = column.slice(0, 1)
    if not kind.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    values = [None if v != v else v for v in whole.dictionary.to_pylist()]
    if not whole.null_count and len(values) == 1:
        return Encoded(None, values)
    codes = _fixed(whole.indices, f"i{whole.indices.type.bit_width // 8}")
    codes = codes.astype(np.min_scalar_type(len(values)))
    if not whole.null_count:
        return Encoded(codes, values)
    codes[~_valid(whole.indices)] = len(values)
    return Encoded(codes, [*values, None])


# Through the buffers and not by to_numpy, which imports pandas where it is installed: half a second.


def _fixed(array: pa.Array, dtype: str) -> npt.NDArray[Any]:
    """The values of an array of fixed width, whatever stands where there is none; not to be written to."""
    import numpy as np

    return np.frombuffer(array.buffers()[1], dtype)[array.offset : array.offset + len(array)]


def _valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    import numpy as np

    bits = np.frombuffer(array.buffers()[0], np.uint8)
    return np.unpackbits(bits, bitorder="little")[array.offset : array.offset + len(array)].astype(bool)


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """A column of numbers, NaN where there is none."""
    import numpy as np

    whole = np.empty(len(column))
    place = 0
    for chunk in column.cast("float64", safe=False).chunks:
        part = whole[place : place + len(chunk)]
        part[:] = _fixed(chunk, "f8") if chunk.null_count < len(chunk) else np.nan
        if chunk.null_count:
            part[~_valid(chunk)] = np.nan
        place += len(chunk)
    return whole
