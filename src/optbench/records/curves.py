"""Curves as plain columns, name to array, (steps,): what figures are drawn from, without pandas (0.5 s to import)."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optbench.records.files import as_number, reading_table, rows_of, whole_lines
from optbench.records.vocabulary import WHOLE_COLUMNS

Columns = dict[str, NDArray[Any]]
"""The recorded steps: CURVE_COLUMNS, and x0 ... on surfaces; NaN where nothing stands, columns without anything are
absent, numbers of steps are whole."""


def columns_of(rows: Sequence[Mapping[str, str]]) -> Columns:
    """Rows of text as numbers."""
    # float() and not pandas.to_numeric, whose parser is off by one unit in the last place for some numbers.
    names = rows[0].keys() if rows else ()
    return _there({name: np.array([as_number(row[name]) for row in rows], dtype=np.float64) for name in names})


def columns_of_csv(data: bytes, path: str | Path, names: Collection[str] | None = None) -> Columns:
    """The curve in a CSV file.

    Of thousands of files a few columns are wanted. One without quotes is cut at its commas as a whole, and only the
    wanted cells become numbers: a tenth of the time of a row at a time, and the same numbers, by the same `float`. A
    file that is not plainly a rectangle is read a row at a time.

    Args:
        data: the file's content.
        path: where it came from.
        names: of the columns that are wanted; None: all.

    Raises:
        RecordError: the file is no CSV.
    """
    cells = _cells(whole_lines(data), names)
    if cells is None:
        found = columns_of(rows_of(data, path))
        return found if names is None else {name: values for name, values in found.items() if name in names}
    whole = {name: _whole(texts) for name, texts in cells.items() if name in WHOLE_COLUMNS}
    columns: Columns = {}
    for name, texts in cells.items():
        as_whole = whole.get(name)
        columns |= _there({name: np.array(_numbers(texts))}) if as_whole is None else {name: as_whole}
    return columns


def columns_of_csvs(
    files: Sequence[tuple[str, bytes]], names: Collection[str] | None = None, at_once: bool = False
) -> list[Columns]:
    """`columns_of_csv` of many files, in their order: those with one header are parsed as one file, by Arrow.

    Arrow rounds as `float` does, and what it does not read is read as `columns_of_csv` reads it: the same numbers, in a
    fifth of the time.

    Args:
        files: where each came from, and its content.
        names: of the columns that are wanted; None: all.
        at_once: whether there are so many more that importing Arrow pays, however few these are.

    Raises:
        RecordError: a file is no CSV.
    """
    found: dict[int, Columns] = {}
    if at_once or sum(len(data) for _, data in files) >= _WORTH_ARROW:
        alike: dict[bytes, list[int]] = {}
        for place, (_, data) in enumerate(files):
            if _is_plain(data):
                alike.setdefault(data[: data.index(b"\n")], []).append(place)
        for head, places in alike.items():
            header = head.decode().split(",")
            own = _together(header, [files[place][1] for place in places], names) if len(header) > 1 else None
            found |= {} if own is None else dict(zip(places, own, strict=True))
    return [
        found[place] if place in found else columns_of_csv(data, path, names)
        for place, (path, data) in enumerate(files)
    ]


_WORTH_ARROW = 1 << 21  # bytes that take as long as importing Arrow


def _is_plain(data: bytes) -> bool:
    """Whether a file is text in which every newline ends a row, with a header and a row, of cells of ordinary size."""
    if data.find(b"\n") in (-1, data.rfind(b"\n")) or not data.isascii():
        return False
    if b'"' in data or b"\0" in data or b"\r" in data:  # what Arrow and Python's reader may see differently
        return False
    return len(data) <= csv.field_size_limit() or max(map(len, data.split(b"\n"))) <= csv.field_size_limit()


def _together(header: Sequence[str], files: Sequence[bytes], names: Collection[str] | None) -> list[Columns] | None:
    """The wanted columns of files with one header of several columns; None where Arrow refuses any of them."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    from optbench.records.arrow_values import floats_of_arrow

    wanted = [name for name in header if names is None or name in names]
    if len(set(header)) < len(header):
        return None
    if not wanted:
        return [{} for _ in files]
    start = len(",".join(header)) + 1
    rows = np.array([data.count(b"\n") - 1 for data in files])
    body = b"".join([data[start : data.rindex(b"\n") + 1] for data in files])
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(body),
            arrow_csv.ReadOptions(use_threads=False, column_names=header, block_size=_BLOCK),
            arrow_csv.ParseOptions(quote_char=False, double_quote=False, ignore_empty_lines=True),
            arrow_csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.float64()), null_values=[""]
            ),
        )
    except pa.ArrowInvalid:  # a row that is shorter, a cell that is no number
        return None
    if table.num_rows != rows.sum():  # there are empty lines
        return None
    found: list[Columns] = [{} for _ in files]
    ends = np.cumsum(rows)
    for name in wanted:
        for own, values in zip(found, _each_there(name, floats_of_arrow(table[name]), ends), strict=True):
            if values is not None:
                own[name] = values
    return found


_BLOCK = 1 << 22  # bytes that Arrow parses at a time; a line that is longer it refuses


def _each_there(name: str, values: NDArray[np.float64], ends: NDArray[np.int64]) -> Iterator[NDArray[Any] | None]:
    """A column of each of some curves that stand one behind the other, as `_there` has it; None where it has none.

    Args:
        name: of the column.
        values: of all of them.
        ends: where each ends, (files,); none is empty.
    """
    starts = np.concatenate([[0], ends[:-1]])
    known = np.logical_or.reduceat(~np.isnan(values), starts).tolist()
    whole, as_whole = [False] * len(ends), values
    if name in WHOLE_COLUMNS:
        fits = _fits(values)
        whole = np.logical_and.reduceat(fits, starts).tolist()
        as_whole = np.where(fits, values, 0.0).astype(np.int64)
    for start, end, any_known, all_whole in zip(starts.tolist(), ends.tolist(), known, whole, strict=True):
        yield (as_whole if all_whole else values)[start:end] if any_known else None


def _cells(text: str, names: Collection[str] | None) -> dict[str, list[str]] | None:
    """The cells of the wanted columns of a CSV text; None where a reader of CSV must look at it.

    Every line must have as many cells as the first: with a cell of its own put for each end of a line, those ends are
    then at every (n + 1)-th place and nowhere else.
    """
    first, _, body = text.partition("\n")
    header = first.split(",")
    n = len(header)
    if n == 1 or len(set(header)) < n or '"' in text or "\0" in text or not body:
        return None
    cells = body.replace("\n", ",\n,").split(",")
    rows = body.count("\n")
    if len(cells) != rows * (n + 1) + 1 or cells[n :: n + 1].count("\n") != rows:
        return None
    if len(text) > csv.field_size_limit() and max(map(len, (*header, *cells))) > csv.field_size_limit():
        return None
    return {name: cells[i : -1 : n + 1] for i, name in enumerate(header) if names is None or name in names}


def _whole(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """Cells as the whole numbers that `_there` would make of them; None where it must look at them."""
    try:
        found = list(map(int, texts))
    except ValueError:
        return None
    return np.array(found, dtype=np.int64) if found and min(found) > -(2**53) and max(found) < 2**53 else None


def _numbers(texts: Sequence[str]) -> list[float]:
    """Cells as `as_number` has them."""
    try:
        return [float(text) if text else math.nan for text in texts]
    except ValueError:
        return list(map(as_number, texts))


def columns_in(table: Path, run_ids: Sequence[str] | None, names: Collection[str] | None = None) -> dict[str, Columns]:
    """The curves of some runs in a `curves` table, by run_id; a run without one is left out.

    Args:
        table: the file.
        run_ids: of the runs; None: all.
        names: of the columns that are wanted; None: all.

    Raises:
        RecordError: it is no table of curves.
    """
    import pyarrow.compute as pc
    from pyarrow import parquet

    from optbench.records.arrays import texts_of
    from optbench.records.arrow_values import floats_of_arrow, is_number, of_arrow

    with reading_table(table):
        file = parquet.ParquetFile(table)
        wanted = [name for name in file.schema_arrow.names if names is None or name in (*names, "run_id")]
        found = file.read(columns=wanted)
        if run_ids is not None:
            found = found.filter(pc.is_in(found["run_id"], texts_of(run_ids)))
        ids = of_arrow(found["run_id"])
        columns: Columns = {
            name: floats_of_arrow(found[name])
            if is_number(found.schema.field(name).type)
            else np.array(found[name].to_pylist(), dtype=object)
            for name in found.column_names
            if name != "run_id"
        }
    order = np.argsort(ids.codes, kind="stable")
    ends = np.searchsorted(ids.codes[order], range(len(ids.values) + 1))
    curves = {}
    for run_id, first, end in zip(ids.values, ends, ends[1:], strict=False):
        rows = order[first:end]
        curves[str(run_id)] = _there({name: values[rows] for name, values in columns.items()})
    return curves


def _there(columns: Columns) -> Columns:
    """The columns that hold anything; numbers of steps as whole numbers."""
    found: Columns = {}
    for name, values in columns.items():
        if values.dtype == object:
            found |= {name: values} if any(value is not None for value in values) else {}
        elif len(values) and (values[0] == values[0] or not np.isnan(values).all()):
            found[name] = values.astype(np.int64) if name in WHOLE_COLUMNS and _are_whole(values) else values
    return found


def _are_whole(values: NDArray[Any]) -> bool:
    return bool(_fits(values).all())


def _fits(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which numbers are whole and exact."""
    with np.errstate(invalid="ignore"):
        return np.asarray((values % 1 == 0) & (np.abs(values) < 2**53))
