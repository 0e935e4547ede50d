"""Rows as columns: what thousands of runs share is said once, and a row is made only where somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from optbench.comparison.parts import Bools, Column, Floats, Ints, ListPart, Part, combined, dense
from optbench.comparison.rows import Facts, Row


class Rows(Sequence[Row]):
    """Rows of several parts in a given order.

    Args:
        parts: where they are stored.
        which: number of the part of each row, (n,).
        index: number of the row in its part, (n,).
    """

    def __init__(self, parts: Sequence[Part], which: npt.NDArray[Any], index: Ints) -> None:
        self._parts, self._which, self._index = parts, which, index
        self._cut: list[tuple[Part, Any, Ints]] | None = None

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Rows:
        """The rows themselves."""
        if isinstance(rows, Rows):
            return rows
        part = ListPart(list(rows))
        return cls([part], np.zeros(part.size, dtype=np.int32), np.arange(part.size))

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Rows: ...
    def __getitem__(self, at: int | slice) -> Row | Rows:
        if isinstance(at, slice):
            return Rows(self._parts, self._which[at], self._index[at])
        return self.part_of(at).rows(self._index[[at]])[0]

    def __iter__(self) -> Iterator[Row]:
        found: list[Row | None] = [None] * len(self)
        for part, where, index in self._stretches():
            for i, row in zip(np.arange(len(self))[where].tolist(), part.rows(index), strict=True):
                found[i] = row
        yield from (row for row in found if row is not None)

    def _stretches(self) -> list[tuple[Part, Any, Ints]]:
        """Each part with the positions of its rows here, and their numbers in it."""
        if self._cut is None:
            if len(self._parts) == 1:
                self._cut = [(self._parts[0], slice(None), self._index)]
            else:
                order = np.argsort(self._which, kind="stable")
                numbers, starts = np.unique(self._which[order], return_index=True)
                places = zip(numbers.tolist(), np.split(order, starts[1:]), strict=False)  # of nothing, one empty piece
                self._cut = [(self._parts[n], where, self._index[where]) for n, where in places]
        return self._cut

    def take(self, where: npt.NDArray[Any]) -> Rows:
        """The rows at these positions, or where a mask says so."""
        return Rows(self._parts, self._which[where], self._index[where])

    def names(self) -> list[str]:
        """Everything that some row has."""
        return list(dict.fromkeys(key for part, _, index in self._stretches() for key in part.names(index)))

    def encoded(self, key: str) -> Column:
        """A column; some of its values may be equal."""
        codes = np.zeros(len(self), dtype=np.int64)
        values: list[Any] = []
        for part, where, index in self._stretches():
            own, different = part.encoded(key)
            codes[where] = own[index]
            codes[where] += len(values)
            values += different
        return codes, values

    def different(self, key: str) -> list[Any]:
        """The values in a column."""
        codes, values = self.encoded(key)
        return [values[code] for code in np.unique(codes).tolist()]

    def column(self, key: str) -> list[Any]:
        """A column as values."""
        found: list[Any] = [None] * len(self)
        for part, where, index in self._stretches():
            codes, values = part.encoded(key)
            for at, code in zip(np.arange(len(self))[where].tolist(), codes[index].tolist(), strict=True):
                found[at] = values[code]
        return found

    def numbers(self, key: str) -> Floats:
        """A column of numbers, (n,); NaN where there is none."""
        found = np.empty(len(self))
        for part, where, index in self._stretches():
            found[where] = part.numbers(key)[index]
        return found

    def present(self, key: str) -> Bools:
        """Which rows have a value in a column, (n,)."""
        found = np.zeros(len(self), dtype=bool)
        for part, where, index in self._stretches():
            found[where] = part.present(key)[index]
        return found

    def has_curve(self) -> Bools:
        """Which rows have a recorded curve, (n,). Raises RecordError where a table of curves cannot be read."""
        found = np.zeros(len(self), dtype=bool)
        for part, where, index in self._stretches():
            found[where] = part.has_curve()[index]
        return found

    def where(self, key: str, test: Callable[[Any], bool]) -> Bools:
        """Which rows have a value that passes a test, (n,); it is asked once for each different value."""
        codes, values = self.encoded(key)
        passed = np.zeros(len(values), dtype=bool)
        for code in np.unique(codes).tolist():
            passed[code] = test(values[code])
        return passed[codes]

    def tally(self, *keys: str, present: Sequence[str] = (), by: Ints | None = None) -> dict[tuple[Any, ...], int]:
        """How many rows have each combination of values in these columns; of `present`, whether they have any.

        Args:
            keys, present: names of columns.
            by: a number for each row, (n,), that is the last of the combination.
        """
        columns: list[tuple[npt.NDArray[Any], Sequence[Any]]] = [self.encoded(key) for key in keys]
        columns += [(self.present(key).astype(np.uint8), (False, True)) for key in present]
        columns += [] if by is None else [(by, range(int(by.max(initial=0)) + 1))]
        codes = combined([codes for codes, _ in columns], len(self))
        counts = np.bincount(codes)
        first = _first(codes, len(counts))
        cells = [[values[code] for code in own[first].tolist()] for own, values in columns]
        found: dict[tuple[Any, ...], int] = {}
        for values, n in zip(zip(*cells, strict=True), counts.tolist(), strict=True):
            found[values] = found.get(values, 0) + n
        return found

    def kinds(self, more: Sequence[str] = ()) -> Kinds:
        """The rows by what they have in common: all settings, ALIKE, and the columns of `more`."""
        codes = np.zeros(len(self), dtype=np.int64)
        told: dict[int, Callable[[Ints], list[Facts]]] = {}
        count = 0
        for part, where, index in self._stretches():
            own, told[id(part)] = part.alike(more)
            codes[where] = own[index]
            codes[where] += count
            count += int(own.max(initial=0)) + 1

        def tell(at: Ints) -> list[Facts]:
            found: list[tuple[int, Facts]] = []
            for part, where, index in self.take(at)._stretches():
                found += zip(np.arange(len(at))[where].tolist(), told[id(part)](index), strict=True)
            return [facts for _, facts in sorted(found, key=lambda one: one[0])]

        return Kinds(self, *dense(codes, count), tell)

    def part_of(self, at: int) -> Part:
        """Where the row at a position is stored."""
        return self._parts[int(self._which[at])]


def _first(codes: Ints, count: int) -> Ints:
    """Where each code appears first, (count,)."""
    first = np.empty(count, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of what is assigned twice, the last stays
    return first


class Kinds:
    """Rows by kind, the kinds numbered by first appearance.

    Attributes:
        codes: number of each row's kind, (n,).
        facts: of each kind, what its first row tells.
        by_last: the kinds in the order of last appearance.
    """

    def __init__(self, rows: Rows, codes: Ints, count: int, tell: Callable[[Ints], list[Facts]]) -> None:
        self._rows = rows
        first = _first(codes, count)
        order = np.argsort(first, kind="stable")
        self.codes: Ints = np.argsort(order, kind="stable")[codes]
        self.facts = tell(first[order])
        last = len(codes) - 1 - _first(self.codes[::-1], count)
        self.by_last: list[int] = np.argsort(last, kind="stable").tolist()

    def grouped(self, groups: Sequence[Sequence[int]]) -> tuple[Rows, Ints]:
        """All rows, those of the first group first and in a group in their order, and the number of each one's group.

        Args:
            groups: the kinds of each group; every kind is in one.
        """
        number = np.zeros(len(self.facts), dtype=np.min_scalar_type(max(len(groups) - 1, 0)))
        number[[kind for same in groups for kind in same]] = np.repeat(np.arange(len(groups)), list(map(len, groups)))
        codes = number[self.codes]
        order = np.argsort(codes, kind="stable")
        return self._rows.take(order), codes[order].astype(np.int64)
