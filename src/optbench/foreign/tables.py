"""CSV files of other programs: UTF-8, one header, rows of its length; anything else is refused in a sentence."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from optbench.errors import RecordError
from optbench.records.files import read_bytes
from optbench.records.seal import sum_of

MOST = 256 << 20
"""Bytes of a file that are read at most; a curve that is larger has more steps than any figure shows."""
_DELIMITERS = ",;\t"
_SHOWN = 12


@dataclass(frozen=True)
class Table:
    """A CSV file.

    Attributes:
        path: of it.
        header: names of the columns, each once.
        rows: cells by name, as text.
        sum: size and checksum of the file.
    """

    path: Path
    header: list[str]
    rows: list[dict[str, str]]
    sum: str


def read_table(path: Path) -> Table:
    """The table in a CSV file, delimited by commas, semicolons or tabs: the one most frequent in its header.

    Raises:
        RecordError: it cannot be read, is not UTF-8, or is no table.
    """
    data = content(path)
    text = decoded(data, path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise RecordError(f"{path}: no CSV: {error}") from error
    if not lines:
        raise RecordError(f"{path}: empty")
    header = [name.strip() for name in lines[0]]
    _check(header, path)
    rows = []
    for number, row in enumerate(lines[1:], start=2):
        if len(row) != len(header):
            counts = f"{len(row)} cells, the header has {len(header)}"
            raise RecordError(f"{path}: row {number} has {counts}", "is its last line still being written?")
        rows.append(dict(zip(header, row, strict=True)))
    return Table(path, header, rows, sum_of(data))


def _check(header: list[str], path: Path) -> None:
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise RecordError(f"{path}: columns that stand there twice: {listed(twice)}", "rename them in the file")


def content(path: Path, most: int = MOST) -> bytes:
    """What is in a file. Raises RecordError where it cannot be read, is no regular file, or is larger than `most`."""
    try:
        return read_bytes(path, most)
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error


def decoded(data: bytes, path: Path) -> str:
    """The text in a file, UTF-8 with or without a mark. Raises RecordError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8 at byte {error.start}", "save it as UTF-8") from error
    if "\0" in text:
        raise RecordError(f"{path}: binary, or UTF-16: it holds zero bytes", "save it as UTF-8")
    return text


def listed(names: list[str]) -> str:
    """Names in a sentence, a dozen at most."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:60] for name in names[:_SHOWN]) + more
