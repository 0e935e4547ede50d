"""A comparison as text for other programs and papers, CSV, JSON, Markdown (md), LaTeX; and as a Parquet table."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Callable
from typing import Any

from optbench.comparison import Comparison
from optbench.errors import UserError
from optbench.records import to_json
from optbench.report.cells import sheets
from optbench.report.tables import footnotes, markdown_lines, text_lines


def _csv(comparison: Comparison) -> str:
    """As pandas writes `Comparison.table`, which takes half a second to import."""
    rows = comparison.table_rows()
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [_cells([row.get(name) for row in rows]) for name in names]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue()


def _cells(values: list[Any]) -> list[Any]:
    """A column as text: nothing is empty, and whole numbers are floating-point ones where any is missing."""
    missing = [value is None or value != value for value in values]
    kinds = {type(value) for value, gap in zip(values, missing, strict=True) if not gap}
    numbers = kinds <= {int, float} and (float in kinds or any(missing))
    return ["" if gap else float(value) if numbers else value for value, gap in zip(values, missing, strict=True)]


def _json(comparison: Comparison) -> str:
    return to_json(comparison.to_json()) + "\n"


def _markdown(comparison: Comparison) -> str:
    notes = [f"- {line}" for line in footnotes(comparison)]
    return "\n".join([*markdown_lines(sheets(comparison)), *notes]) + "\n"


def _text(comparison: Comparison) -> str:
    return "\n".join(text_lines(comparison)) + "\n"


def _latex(comparison: Comparison) -> str:
    from optbench.report.latex import latex_lines

    return "\n".join(latex_lines(sheets(comparison), footnotes(comparison))) + "\n"


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": _text,
    "csv": _csv,
    "json": _json,
    "md": _markdown,
    "latex": _latex,
}
"""What `export` can write, by name."""


def parquet_bytes(comparison: Comparison) -> bytes:
    """`Comparison.table` as a Parquet file: the same columns as in CSV, each of one type, nothing as null."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = comparison.table_rows()
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _typed([row.get(name) for row in rows]) for name in names}
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _typed(values: list[Any]) -> Any:
    """A column of one type, as Arrow's array: numbers where all are or there is nothing, else texts; NaN is null."""
    import pyarrow as pa

    from optbench.records.arrays import array_of

    plain = [None if value is None or value != value else value for value in values]
    kinds = {type(value) for value in plain if value is not None}
    if not kinds:
        return pa.nulls(len(plain), pa.float64())
    if kinds <= {int, float}:
        return array_of(plain if kinds == {int} else [None if value is None else float(value) for value in plain])
    return array_of(plain if len(kinds) == 1 else [None if value is None else str(value) for value in plain])


def export(comparison: Comparison, form: str) -> str:
    """The comparison in one of FORMATS, ending in a newline.

    `csv` is `Comparison.table` with all digits, one row a group, +inf as "inf" and nothing as empty; `json` is
    `Comparison.to_json`.

    Raises:
        UserError: an unknown format.
    """
    if form not in FORMATS:
        close = difflib.get_close_matches(form, FORMATS, n=1)
        hint = f"did you mean {close[0]}?" if close else ""
        raise UserError(f"format {form!r}: expected one of {', '.join(FORMATS)}", hint)
    return FORMATS[form](comparison)
