"""Reading the files of a record: plain data, checked, executing nothing.

Anything may lie there under the name of a record: only regular files are opened (a pipe would block, a device has no
end), and no more is read than a record can hold, whatever size the system reports.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from optbench.errors import RecordError
from optbench.records.seal import check_table
from optbench.records.vocabulary import flatten

_MAX_TEXT = 4 << 20
_MAX_CURVE = 1 << 30
_MAX_DEPTH = 50
_YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml: 6 times faster


def read_bytes(path: str | Path, most: int = _MAX_CURVE) -> bytes:
    """What is in a regular file. Raises OSError where there is none, ValueError where it is another kind, or larger."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        parts, left, size = [], most + 1, max(status.st_size + 1, 1 << 16)
        while left and (part := os.read(handle, min(left, size))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(handle)
    if not left:
        raise ValueError(f"larger than {most} bytes")
    return b"".join(parts)


def whole_lines(data: bytes) -> str:
    """The text of a CSV file to its last newline: what follows that is a line that was being written."""
    text = data.decode(errors="replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    return text[: text.rfind("\n") + 1]


def read_rows(path: Path) -> list[dict[str, str]]:
    """The whole rows of a CSV file as text; a torn last line is left out, a missing file has no rows."""
    try:
        return rows_of(read_bytes(path), path)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: {error}") from error


def rows_of(data: bytes, path: str | Path) -> list[dict[str, str]]:
    """The same of the file's content; `path` is where it came from."""
    try:
        lines = whole_lines(data).split("\n")[:-1]
        return [row for row in csv.DictReader(lines) if None not in row and None not in row.values()]
    except csv.Error as error:
        raise RecordError(f"{path}: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises RecordError where there is none."""
    return parse_json(read_text(path, path.name), path)


def read_text(path: str | Path, what: str) -> str:
    """A file's text. Raises RecordError where it cannot be read, or is larger than `what` ever is."""
    try:
        text = read_bytes(path, _MAX_TEXT).decode()
    except OSError as error:
        raise RecordError(f"{path}: {error}") from error
    except ValueError as error:
        why = f"{error}, which is no {what}" if str(error).startswith("larger") else str(error)
        raise RecordError(f"{path}: {why}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def parse_json(text: str, path: str | Path) -> dict[str, Any]:
    """The JSON object in a text; `path` is where it came from. Raises RecordError where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: expected one JSON object")
    return value


def check_yaml(text: str, path: str | Path) -> None:
    """Refuses aliases (which multiply) and depth (which overflows the C stack) before anything is built: events come
    without recursion. Raises RecordError for these, yaml.YAMLError for what is no YAML."""
    depth = 0
    for event in yaml.parse(text, Loader=_YAML_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise RecordError(f"{path}: aliases are not allowed here")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise RecordError(f"{path}: nested deeper than {_MAX_DEPTH} levels")


def read_config(path: Path) -> dict[str, Any]:
    """A run's config.yaml as plain data: no tags, no aliases, no interpolation. Raises RecordError."""
    return parse_config(read_text(path, "configuration"), path)


def parse_config(text: str, path: str | Path) -> dict[str, Any]:
    """The configuration that a text is, see read_config; `path` is where it came from."""
    try:
        check_yaml(text, path)
        value = yaml.load(text, Loader=_YAML_LOADER)
    except (ValueError, yaml.YAMLError) as error:
        raise RecordError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: expected a mapping")
    if any(isinstance(v, str) and "${" in v for v in flatten(value).values()):
        raise RecordError(f"{path}: an interpolation in a record; records hold resolved values only")
    return value


def as_number(text: str) -> float:
    """A cell of a curve; NaN where it holds no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


@contextlib.contextmanager
def reading_table(path: Path, hint: str = "") -> Iterator[bool]:
    """Checks a Parquet file's seal, gives whether it has one, and turns what goes wrong in reading into a RecordError.

    Args:
        path: of the file.
        hint: what to do then.
    """
    sealed = check_table(path)
    try:
        yield sealed
    except RecordError:
        raise
    except Exception as error:  # pyarrow raises its own and the system's errors alike; all mean: not a table
        raise RecordError(f"{path}: {' '.join(str(error).split())[:200]}", hint) from error


def curve_ids(path: Path) -> list[str]:
    """The run_ids in a table of curves, each once; none where there is no table. Raises RecordError."""
    from pyarrow import parquet

    if not path.exists():
        return []
    with reading_table(path, "move it away to draw other runs"):
        found: list[str] = parquet.ParquetFile(path).read(columns=["run_id"])["run_id"].unique().to_pylist()
    return found
