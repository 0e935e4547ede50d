"""Dictionary columns: what thousands of runs share is stored once, and each row has the index of its value.

A million rows as mappings take gigabytes and a minute; as columns most of them are one value repeated a million times,
and a test is made once per value and not once per run. The values are plain Python, brought to one form first, so that
1 and 1.0, a list in YAML and the same list in Parquet, and an absent key and a null are equal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_NO_SETTING = ("choices.", "hydra.", "provenance.")


class Column(NamedTuple):
    """A column by its different values: row i has values[codes[i]]; None is the same as absent.

    Equal codes are equal values; of the values, some may be equal.
    """

    codes: npt.NDArray[Any]
    values: list[Any]

    def numbers(self) -> Floats:
        """The column as floats, (n,); NaN where there is none."""
        known = np.array([math.nan if value is None else float(value) for value in self.values])
        return known[self.codes] if len(known) else np.empty(0)

    def present(self) -> Bools:
        """Which rows have a value, (n,)."""
        known = np.array([value is not None for value in self.values], dtype=np.bool_)
        return np.take(known, self.codes)


def canonical(value: Any) -> Any:
    """The value in one hashable form: whole floats as int, sequences as compact JSON text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return json.dumps({str(k): canonical(v) for k, v in value.items()}, sort_keys=True)
    if isinstance(value, list | tuple):
        return json.dumps([canonical(v) for v in value])
    return value


def is_shown(key: str) -> bool:
    """Whether a table of runs has a column for a key of a summary or a configuration."""
    return not key.startswith(_NO_SETTING)


def factorized(values: Iterable[Any]) -> Column:
    """A column of these values; 1 and True are two."""
    numbers: dict[Hashable, int] = {}
    different: list[Any] = []
    codes = []
    for value in values:
        code = numbers.setdefault((value.__class__, value), len(different))
        if code == len(different):
            different.append(value)
        codes.append(code)
    return Column(np.array(codes, dtype=np.int64), different)


def joined(columns: Sequence[Column]) -> Column:
    """The concatenation of columns."""
    if len(columns) == 1:
        return columns[0]
    new = factorized(value for column in columns for value in column.values)
    parts = np.split(new.codes, np.cumsum([len(column.values) for column in columns])[:-1]) if columns else []
    codes = [part[column.codes] for part, column in zip(parts, columns, strict=True) if len(column.codes)]
    kind = np.min_scalar_type(len(new.values))
    return Column(np.concatenate([np.zeros(0, dtype=kind), *codes], dtype=kind, casting="unsafe"), new.values)


def combined(columns: Iterable[npt.NDArray[Any]], n: int) -> Ints:
    """Codes that are equal where those of all columns are, each (n,), as numbers from 0 on: (n,)."""
    whole, kinds = np.zeros(n, dtype=np.int64), 1
    for column in columns:
        size = int(column.max(initial=0)) + 1
        if kinds * size > max(len(whole), 1 << 20):
            whole, kinds = _dense(whole, kinds)
        whole = whole * size + column
        kinds *= size
    return _dense(whole, kinds)[0]


def _dense(codes: Ints, kinds: int) -> tuple[Ints, int]:
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


def first_of(codes: Ints) -> Ints:
    """Where each of the codes 0, 1, ... appears first, (number of codes,); every one appears."""
    first = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of several assignments the last one counts
    return first
