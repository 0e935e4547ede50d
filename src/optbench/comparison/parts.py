"""Where rows are stored: run folders, tables, and rows as they are; three kinds of parts that give the same answers.

A column is a list of different values and a code for each row, so a question is asked once a value and not once a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from optbench.comparison.rows import Facts, Row, canonical, is_shown, read_row
from optbench.records import Folders, TableColumns

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Column = tuple[npt.NDArray[Any], list[Any]]
"""A column by its different values: row i has values[codes[i]]. None is the same as absent."""

ALIKE = ("model", "data", "loss_name", "optimizer", "scheduler", "data_fingerprint")
"""Columns that, with the settings, say what a run was, whatever came of it and whatever its seed."""


class Part(Protocol):
    """Runs that are stored in one way."""

    size: int

    def names(self, chosen: Ints) -> Iterable[str]:
        """What the chosen rows have, in their order."""

    def encoded(self, key: str) -> Column:
        """A column, its values canonical."""

    def numbers(self, key: str) -> Floats:
        """A column of numbers, (size,); NaN where there is none."""

    def present(self, key: str) -> Bools:
        """Which rows have a value in a column, (size,)."""

    def alike(self, more: Sequence[str]) -> tuple[Ints, Callable[[int], Facts]]:
        """For each row the number of its kind, (size,): equal where all settings, ALIKE and the columns of `more` are;
        and what a row tells of its kind."""

    def rows(self, chosen: Ints) -> list[Row]:
        """The chosen rows, whole."""


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


def _present(column: Column) -> Bools:
    codes, values = column
    return np.array([value is not None for value in values], dtype=bool)[codes]


def _floats(codes: npt.NDArray[Any], values: Sequence[Any]) -> Floats:
    known = np.array([math.nan if value is None else float(value) for value in values])
    return known[codes] if len(known) else np.empty(0)


class ListPart:
    """Rows as they are."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.size = len(rows)

    def names(self, chosen: Ints) -> Iterable[str]:
        return dict.fromkeys(key for i in chosen.tolist() for key in self._rows[i].values)

    def encoded(self, key: str) -> Column:
        return _factorized(row.values.get(key) for row in self._rows)

    def numbers(self, key: str) -> Floats:
        return _floats(*self.encoded(key))

    def present(self, key: str) -> Bools:
        return _present(self.encoded(key))

    def alike(self, more: Sequence[str]) -> tuple[Ints, Callable[[int], Facts]]:
        return np.arange(self.size), lambda i: self._rows[i]

    def rows(self, chosen: Ints) -> list[Row]:
        return [self._rows[i] for i in chosen.tolist()]


class FolderPart:
    """Run folders; their settings are shared mappings, made canonical once each."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.size = len(folders.paths)
        numbers: dict[int, int] = {}
        self._settings: list[dict[str, Any]] = []
        codes = []
        for one in folders.settings:
            code = numbers.setdefault(id(one), len(self._settings))
            if code == len(self._settings):
                self._settings.append({k: canonical(v) for k, v in (one or {}).items() if is_shown(k)})
            codes.append(code)
        self._shape = np.array(codes, dtype=np.int64)
        self._columns: dict[str, Column] = {}
        self._floats: dict[str, Floats] = {}

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

    def encoded(self, key: str) -> Column:
        if key not in self._columns:
            self._columns[key] = _factorized(self._column(key))
        return self._columns[key]

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

    def numbers(self, key: str) -> Floats:
        if key not in self._floats:
            try:  # none of these is a setting
                self._floats[key] = np.array([facts.get(key) for facts in self.folders.summaries], dtype=float)
            except (TypeError, ValueError):
                self._floats[key] = _floats(*self.encoded(key))
        return self._floats[key]

    def present(self, key: str) -> Bools:
        if "." in key or key == "path":
            return _present(self.encoded(key))
        values = (facts.get(key) for facts in self.folders.summaries)
        return np.array([value is not None and not isinstance(value, dict) for value in values], dtype=bool)

    def alike(self, more: Sequence[str]) -> tuple[Ints, Callable[[int], Facts]]:
        order, keys = _factorized(map(tuple, self.folders.summaries))  # the order of settings shows in names
        swept = {k for one in keys for k in one if "." in k}
        left = [k for k in sorted(swept) if any(k not in settings for settings in self._settings)]
        columns = dict.fromkeys([*ALIKE, *more, *left])
        codes = combined([self._shape, order, *(self.encoded(key)[0] for key in columns)], self.size)
        return codes, lambda i: Facts(self._values(i))

    def rows(self, chosen: Ints) -> list[Row]:
        return [Row(self._values(i), self.folders.run(i)) for i in chosen.tolist()]


class TablePart:
    """A sweep's table."""

    def __init__(self, columns: TableColumns) -> None:
        self.columns = columns
        self.size = columns.size
        self._keys = [name for name in columns.names if is_shown(name) and not columns.holds_mappings(name)]
        self._columns: dict[str, Column] = {}

    def names(self, chosen: Ints) -> Iterable[str]:
        return self._keys if len(chosen) else []

    def encoded(self, key: str) -> Column:
        if key not in self._columns:
            codes, values = self.columns.encoded(key) if key in self._keys else (None, [None])
            same = np.broadcast_to(np.uint8(0), self.size)  # of no size in memory
            self._columns[key] = same if codes is None else codes, list(map(canonical, values))
        return self._columns[key]

    def numbers(self, key: str) -> Floats:
        return self.columns.numbers(key)

    def present(self, key: str) -> Bools:
        if self.columns.holds_numbers(key):
            return ~np.isnan(self.columns.numbers(key))
        return _present(self.encoded(key))

    def alike(self, more: Sequence[str]) -> tuple[Ints, Callable[[int], Facts]]:
        wanted = {*ALIKE, *more}
        names = [name for name in self._keys if "." in name or name in wanted]
        self.columns.encode(names)
        columns = {name: self.encoded(name) for name in names}

        def facts(i: int) -> Facts:
            return Facts({name: values[codes[i]] for name, (codes, values) in columns.items()})

        return combined([codes for codes, values in columns.values() if len(values) > 1], self.size), facts

    def rows(self, chosen: Ints) -> list[Row]:
        return [read_row(self.columns.run(row)) for row in self.columns.rows(chosen)]


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
