"""Curves as plain columns, name to array, (steps,): what figures are drawn from, without pandas (0.5 s to import)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optbench.records.files import as_number, reading_table
from optbench.records.vocabulary import WHOLE_COLUMNS

Columns = dict[str, NDArray[Any]]
"""The recorded steps: CURVE_COLUMNS, and x0 ... on surfaces; NaN where nothing stands, columns without anything are
absent, numbers of steps are whole."""


def columns_of(rows: Sequence[Mapping[str, str]]) -> Columns:
    """Rows of text as numbers."""
    # float() and not pandas.to_numeric, whose parser is off by one unit in the last place for some numbers.
    names = rows[0].keys() if rows else ()
    return _there({name: np.array([as_number(row[name]) for row in rows], dtype=np.float64) for name in names})


def columns_in(table: Path, run_ids: Sequence[str]) -> dict[str, Columns]:
    """The curves of some runs in a `curves` table, by run_id; a run without one is left out. Raises RecordError."""
    import pyarrow.compute as pc
    from pyarrow import parquet

    from optbench.records.arrays import texts_of
    from optbench.records.arrow_values import floats_of_arrow, is_number, of_arrow

    with reading_table(table):
        found = parquet.ParquetFile(table).read()
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
        elif not np.isnan(values).all():
            with np.errstate(invalid="ignore"):
                whole = name in WHOLE_COLUMNS and bool((values % 1 == 0).all())
            found[name] = values.astype(np.int64) if whole else values
    return found
