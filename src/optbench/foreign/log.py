"""A run as another tool logged it: rows of cells as they stand there, and hyperparameters."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optbench.errors import RecordError
from optbench.records import Status, plain

Row = Mapping[str, Any]
"""Cells by column: text as it stands in a file, or numbers; empty text where nothing was logged."""

_INTEGER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "none": None, "null": None, "": None}


@dataclass(frozen=True)
class Log:
    """A run as it was logged.

    Attributes:
        kind: the tool, or "csv".
        path: file or folder that was read.
        name: of the run, within its file.
        rows: what was logged, in order; several rows may have one step.
        settings: hyperparameters, under the names that they have there.
        sum: size and checksum of what was read.
        status: how it ended, where the tool recorded that.
        files: all that was read, where that is more than `path`.
    """

    kind: str
    path: Path
    name: str
    rows: Sequence[Row]
    settings: Mapping[str, Any]
    sum: str
    status: Status | None = None
    files: tuple[Path, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns that hold anything, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name, cell in row.items() if cell not in ("", None)))

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that say which run this is: the same when the log has grown, or was moved with the
        folder that it is in."""
        place = "/".join(self.path.resolve().parts[-2:])
        first = dict(self.rows[0]) if self.rows else {}
        told = json.dumps([self.kind, place, self.name, dict(self.settings), first], sort_keys=True, default=str)
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def __str__(self) -> str:
        return f"{self.path} ({self.name})" if self.name else str(self.path)


def number(cell: Any, where: str) -> float | None:
    """The number in a cell, NaN and infinities included; None where it is empty. Raises RecordError for anything else.

    Args:
        cell: text, or a number.
        where: column and run, for the message.
    """
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in ("", "none", "null")):
        return None
    try:
        if isinstance(cell, str) and "_" in cell:  # float("1_0") is 10 in Python alone
            raise ValueError
        return float(cell)
    except (TypeError, ValueError, OverflowError) as error:
        raise RecordError(f"{where}: {str(cell)[:40]!r} is not a number") from error


def whole(cell: Any, where: str) -> int | None:
    """The count in a cell; None where it is empty. Raises RecordError for what is no whole number from 0 on."""
    found = number(cell, where)
    if found is None:
        return None
    if not math.isfinite(found) or found < 0 or found % 1 or found > 2**53:
        raise RecordError(f"{where}: {str(cell)[:40]!r} is no whole number from 0 on")
    return int(found)


def literal(text: str) -> Any:
    """What a setting that a tool keeps as text is: a whole number, a number, true, false, nothing, or the text.

    A number that floats cannot hold (1e999, NaN) stays text: settings are told apart, not computed with.
    """
    word = text.strip()
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if _INTEGER.match(word) and len(word) < 19:
        return int(word)
    try:
        found = float(word) if "_" not in word else math.nan
    except ValueError:
        return word
    return found if math.isfinite(found) else word


def settled(value: Any) -> Any:
    """A hyperparameter as plain data: scalars stay, all else becomes lists, mappings and text."""
    value = plain(value, finite=False)
    if isinstance(value, Mapping):
        return {key: settled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [settled(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
