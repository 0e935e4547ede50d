"""Where rows are stored: run folders, tables, and rows as they are; three kinds of parts that give the same answers.

A column is a list of different values and a code for each row, so a question is asked once a value and not once a run.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from optbench.comparison.rows import Facts, Row, canonical, is_shown, read_row
from optbench.records import Folders, TableColumns
from optbench.records.read import curve_ids

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Column = tuple[npt.NDArray[Any], list[Any]]
"""A column by its different values: row i has values[codes[i]]. None is the same as absent."""

ALIKE = ("model", "data", "loss_name", "optimizer", "scheduler", "data_fingerprint")
"""Columns that, with the settings, say what a run was, whatever came of it and whatever its seed."""


class Part(ABC):
    """Runs that are stored in one way; a column is made when it is first asked for, and kept."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._columns: dict[str, Column] = {}
        self._numbers: dict[str, Floats] = {}
        self._known: dict[str, Bools] = {}

    def encoded(self, key: str) -> Column:
        """A column, its values canonical."""
        if key not in self._columns:
            self._columns[key] = self._encode(key)
        return self._columns[key]

    def numbers(self, key: str) -> Floats:
        """A column of numbers, (size,); NaN where there is none."""
        if key not in self._numbers:
            self._numbers[key] = self._float(key)
        return self._numbers[key]

    def present(self, key: str) -> Bools:
        """Which rows have a value in a column, (size,)."""
        if key not in self._known:
            codes, values = self.encoded(key)
            self._known[key] = np.array([value is not None for value in values], dtype=bool)[codes]
        return self._known[key]

    def _float(self, key: str) -> Floats:
        codes, values = self.encoded(key)
        known = np.array([math.nan if value is None else float(value) for value in values])
        return known[codes] if len(known) else np.empty(0)

    @abstractmethod
    def _encode(self, key: str) -> Column: ...

    @abstractmethod
    def names(self, chosen: Ints) -> Iterable[str]:
        """What the chosen rows have, in their order."""

    @abstractmethod
    def alike(self, more: Sequence[str]) -> tuple[Ints, Callable[[Ints], list[Facts]]]:
        """For each row the number of its kind, (size,): equal where all settings, ALIKE and the columns of `more` are;
        and what the chosen rows tell of their kinds."""

    @abstractmethod
    def rows(self, chosen: Ints) -> list[Row]:
        """The chosen rows, whole."""

    @abstractmethod
    def has_curve(self) -> Bools:
        """Which rows have a recorded curve, (size,). Raises RecordError where a table of curves cannot be read."""


_PLAIN = frozenset({str, int, bool, type(None)})  # canonical as they are


def _factorized(values: Iterable[Any]) -> Column:
    """Codes and the different values; 1 and True are two."""
    numbers: dict[Hashable, int] = {}
    different: list[Any] = []
    codes = []
    for value in values:
        code = numbers.setdefault((value.__class__, value), len(different))
        if code == len(different):
            different.append(value)
        codes.append(code)
    return np.array(codes, dtype=np.int64), different


class ListPart(Part):
    """Rows as they are."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(len(rows))
        self._rows = rows

    def names(self, chosen: Ints) -> Iterable[str]:
        return dict.fromkeys(key for i in chosen.tolist() for key in self._rows[i].values)

    def _encode(self, key: str) -> Column:
        return _factorized(row.values.get(key) for row in self._rows)

    def alike(self, more: Sequence[str]) -> tuple[Ints, Callable[[Ints], list[Facts]]]:
        return np.arange(self.size), lambda chosen: [self._rows[i] for i in chosen.tolist()]

    def rows(self, chosen: Ints) -> list[Row]:
        return [self._rows[i] for i in chosen.tolist()]

    def has_curve(self) -> Bools:
        runs = [row.run for row in self._rows]
        known = {table: set(curve_ids(table)) if table else set() for table in {run.table for run in runs}}
        found = (_has_file(run.path) if run.path else run.run_id in known[run.table] for run in runs)
        return np.fromiter(found, dtype=np.bool_, count=self.size)


class FolderPart(Part):
    """Run folders; their settings are shared mappings, made canonical once each."""

    def __init__(self, folders: Folders) -> None:
        super().__init__(len(folders.paths))
        self.folders = folders
        numbers: dict[int, int] = {}
        self._settings: list[dict[str, Any]] = []
        codes = []
        for one in folders.settings:
            code = numbers.setdefault(id(one), len(self._settings))
            if code == len(self._settings):
                self._settings.append({k: canonical(v) for k, v in (one or {}).items() if is_shown(k)})
            codes.append(code)
        self._shape = np.array(codes, dtype=np.int64)

    def names(self, chosen: Ints) -> Iterable[str]:
        seen: dict[tuple[int, tuple[str, ...]], int] = {}
        for i in chosen.tolist():
            facts = self.folders.summaries[i]
            seen.setdefault((int(self._shape[i]), tuple(k for k, v in facts.items() if not isinstance(v, dict))), i)
        return dict.fromkeys(key for i in seen.values() for key in self._values(i))

    def _values(self, i: int) -> dict[str, Any]:
        facts = self.folders.summaries[i].items()
        values = {k: canonical(v) for k, v in facts if not isinstance(v, dict) and is_shown(k)}
        return {**values, **self._settings[self._shape[i]], "path": self.folders.paths[i]}

    def _encode(self, key: str) -> Column:
        return _factorized(self._column(key))

    def _column(self, key: str) -> Iterator[Any]:
        if key == "path":
            yield from self.folders.paths
        elif is_shown(key):
            for facts, shape in zip(self.folders.summaries, self._shape.tolist(), strict=True):
                settings = self._settings[shape]
                value = settings[key] if key in settings else facts.get(key)
                yield value if value.__class__ in _PLAIN else None if isinstance(value, dict) else canonical(value)
        else:
            yield from [None] * self.size

    def _float(self, key: str) -> Floats:
        try:  # none of these is a setting
            return np.array([facts.get(key) for facts in self.folders.summaries], dtype=float)
        except (TypeError, ValueError):
            return super()._float(key)

    def alike(self, more: Sequence[str]) -> tuple[Ints, Callable[[Ints], list[Facts]]]:
        order, keys = _factorized(map(tuple, self.folders.summaries))  # the order of settings shows in names
        swept = {k for one in keys for k in one if "." in k}
        left = [k for k in sorted(swept) if any(k not in settings for settings in self._settings)]
        columns = dict.fromkeys([*ALIKE, *more, *left])
        codes = combined([self._shape, order, *(self.encoded(key)[0] for key in columns)], self.size)
        return codes, lambda chosen: [Facts(self._values(i)) for i in chosen.tolist()]

    def rows(self, chosen: Ints) -> list[Row]:
        return [Row(self._values(i), self.folders.run(i)) for i in chosen.tolist()]

    def has_curve(self) -> Bools:
        return np.fromiter(map(_has_file, self.folders.paths), dtype=np.bool_, count=self.size)


class TablePart(Part):
    """A sweep's table."""

    def __init__(self, columns: TableColumns) -> None:
        super().__init__(columns.size)
        self.columns = columns
        self._keys = [name for name in columns.names if is_shown(name) and not columns.holds_mappings(name)]

    def names(self, chosen: Ints) -> Iterable[str]:
        return self._keys if len(chosen) else []

    def _encode(self, key: str) -> Column:
        codes, values = self.columns.encoded(key) if key in self._keys else (None, [None])
        same = np.broadcast_to(np.uint8(0), self.size)  # of no size in memory
        return same if codes is None else codes, list(map(canonical, values))

    def _float(self, key: str) -> Floats:
        return self.columns.numbers(key)

    def present(self, key: str) -> Bools:
        if key not in self._known and self.columns.holds_numbers(key):
            self._known[key] = ~np.isnan(self.numbers(key))
        return super().present(key)

    def alike(self, more: Sequence[str]) -> tuple[Ints, Callable[[Ints], list[Facts]]]:
        wanted = {*ALIKE, *more}
        names = [name for name in self._keys if "." in name or name in wanted]
        self.columns.encode(names)
        columns = {name: self.encoded(name) for name in names}

        def facts(chosen: Ints) -> list[Facts]:
            cells = [[values[code] for code in codes[chosen].tolist()] for codes, values in columns.values()]
            return [Facts(dict(zip(columns, row, strict=True))) for row in zip(*cells, strict=True)]

        return combined([codes for codes, values in columns.values() if len(values) > 1], self.size), facts

    def rows(self, chosen: Ints) -> list[Row]:
        return [read_row(self.columns.run(row)) for row in self.columns.rows(chosen)]

    def has_curve(self) -> Bools:
        return self.columns.has_curve()


def _has_file(folder: str | Path) -> bool:
    return os.path.isfile(os.path.join(folder, "metrics.csv"))


def combined(columns: Iterable[npt.NDArray[Any]], n: int) -> Ints:
    """Codes that are equal where those of all columns are, each (n,), as numbers from 0 on: (n,)."""
    whole, kinds = np.zeros(n, dtype=np.int64), 1
    for column in columns:
        size = int(column.max(initial=0)) + 1
        if kinds * size > max(len(whole), 1 << 20):
            whole, kinds = dense(whole, kinds)
        whole = whole * size + column
        kinds *= size
    return dense(whole, kinds)[0]


def dense(codes: Ints, kinds: int) -> tuple[Ints, int]:
    """Codes without gaps, and how many there are."""
    if not len(codes):
        return codes, 0
    if kinds > max(8 * len(codes), 1 << 22):
        different, dense = np.unique(codes, return_inverse=True)
        return dense, len(different)
    used = np.zeros(kinds, dtype=bool)
    used[codes] = True
    numbers = np.cumsum(used) - 1
    return numbers[codes], int(numbers[-1]) + 1
