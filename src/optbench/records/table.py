"""All runs as one table: a row a run, whatever it is stored in, and every run once.

    read(paths) -> RunTable      run folders (by the index or by their files) and tables of sweeps, mixed as they come

A column is a dictionary column (`columns.Column`), made when it is first asked for; a part of the rows shares the
columns of the whole. What is not believed is in `unreadable` with its reason, and in no row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optbench.records.columns import Bools, Column, Floats, Ints, combined, factorized, first_of, joined
from optbench.records.once import each_once, notes_of
from optbench.records.origins import FACTS
from optbench.records.run import Run
from optbench.records.sources import Folders, Source
from optbench.records.vocabulary import ROW_ENGINES, RUN_COLUMNS
from optbench.records.walk import Finder, Unreadable

if TYPE_CHECKING:
    from optbench.records.curves import Columns


def read(paths: Sequence[Path]) -> RunTable:
    """Every run under the paths, once: the same run_id is the same computation, and a copy is no further evidence.

    Of several records of a run, one that ended beats one that did not, then a folder beats a row, then the first one
    counts. It stands where the first one was found.

    Args:
        paths: run folders, sweep tables (runs.parquet) or folders of them, at any depth.

    Raises:
        RecordError: a path that does not exist.
    """
    finder = Finder()
    finder.look(paths)
    sources = finder.sources
    at, copies = each_once(sources)
    bad = [Unreadable(Path(source.place(i)[2]), why) for source in sources for i, why in source.why.items()]
    table = RunTable(sources, at, (*finder.unreadable, *bad), (*copies, *notes_of(sources, finder.plans)))
    table.notes += table.notes_on_clocks()
    return table


_ORIGINS = "provenance."
"""A name that no column has, see `columns.is_shown`: where the origins of runs are kept among the columns."""

_AS_RECORDED = " recorded"
_CURVE = " curve"  # what is known of every row, as of a column; no column has such a name


@dataclass
class _Kept:
    """Curves that were read: which columns, and of which rows, by number through all sources."""

    names: frozenset[str] = frozenset()
    by_row: dict[int, Columns] = field(default_factory=dict)


class RunTable:
    """Runs, a row each.

    Args:
        sources: where they are stored.
        at: number of each row, counted through all sources, (n,); None: all of them in order.
        unreadable: what looked like results and is not believed; it is in no row.
        notes: what a reader of the runs must know, a sentence each.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        at: Ints | None = None,
        unreadable: Sequence[Unreadable] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.unreadable, self.notes = tuple(unreadable), tuple(notes)
        self._sources, self._at = sources, at
        self._starts = np.cumsum([0, *(source.size for source in sources)])
        self._columns: dict[str | None, Column] = {}
        self._numbers: dict[str, Floats] = {}
        self._present: dict[str, Bools] = {}
        self._given: dict[str, Floats] = {}
        self._kept = _Kept()

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> RunTable:
        """Runs that are given, each as its summary and the dotted keys of its configuration; they are in no folder."""
        source = Folders()
        for row in rows:
            source.add("", "", row, None)
        return cls([source])

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._at is None else len(self._at)

    def take(self, where: npt.NDArray[Any] | slice) -> RunTable:
        """The rows at these positions, or where a mask says so."""
        part = RunTable.__new__(RunTable)
        part.__dict__.update(self.__dict__)  # the columns of the whole too
        part._at = (np.arange(self._starts[-1]) if self._at is None else self._at)[where]
        return part

    def with_columns(self, columns: Mapping[str, Sequence[Any] | Floats]) -> RunTable:
        """The same rows with other values in some columns; `runs` are as they were recorded.

        Args:
            columns: values by name, one a row; NaN and None are no value.
        """
        found = self.take(slice(None))
        found._columns, found._numbers, found._present = dict(self._columns), dict(self._numbers), dict(self._present)
        found._given = dict(self._given)
        at, total = np.asarray(found._at), int(self._starts[-1])
        for name, given in columns.items():
            if isinstance(given, np.ndarray):
                numbers = np.full(total, np.nan)
                numbers[at] = given
                found._numbers[name], found._present[name], found._given[name] = numbers, ~np.isnan(numbers), numbers
                found._columns.pop(name, None)  # made from the numbers where it is asked for
            else:
                found._columns[name] = column = _spread(given, at, total)
                found._present[name] = column.present()
                found._numbers.pop(name, None)
                found._given.pop(name, None)
        return found

    # columns

    @property
    def names(self) -> list[str]:
        """The names of all columns that some row has, in the order of the rows."""
        codes, orders = self.orders()
        different, first = np.unique(codes, return_index=True)
        seen = different[np.argsort(first)].tolist()
        return list(dict.fromkeys(name for code in seen for name in orders[code]))

    @property
    def known(self) -> list[str]:
        """Every name that a filter or a grouping may use: the documented columns and what the rows have."""
        return list(dict.fromkeys([*RUN_COLUMNS, *self.names]))

    def orders(self) -> Column:
        """The names of the columns of each row, in the order in which they were written."""
        return self._part(None, lambda source: source.orders())

    def column(self, name: str) -> Column:
        """A column; all None where there is none of that name."""
        return self._part(name, lambda source: source.column(name))

    def origins(self) -> dict[str, Column]:
        """Where each run was made, a column for each of `origins.FACTS`."""
        codes, values = self._part(_ORIGINS, lambda source: source.origins())
        return {fact: Column(codes, [origin[place] for origin in values]) for place, fact in enumerate(FACTS)}

    def _part(self, name: str | None, ask: Callable[[Source], Column]) -> Column:
        if name is not None and name in self._given and name not in self._columns:
            every = self._given[name]
            self._columns[name] = _spread(every.tolist(), np.arange(len(every)), len(every))
        elif name not in self._columns:
            whole = joined([ask(source) for source in self._sources])
            self._columns[name] = self._timed(whole) if name == "seconds" else whole
        whole = self._columns[name]
        return whole if self._at is None else Column(whole.codes[self._at], whole.values)

    def values(self, name: str) -> list[Any]:
        """A column as values."""
        codes, values = self.column(name)
        return [values[code] for code in codes.tolist()]

    def recorded(self, name: str) -> list[Any]:
        """A column as values, as it was recorded and not as `with_columns` has it."""
        codes, values = self._part(f"{name}{_AS_RECORDED}", lambda source: source.column(name))
        return [values[code] for code in codes.tolist()]

    def different(self, name: str) -> list[Any]:
        """The values that occur in a column."""
        codes, values = self.column(name)
        return [values[code] for code in np.unique(codes).tolist()]

    def numbers(self, name: str) -> Floats:
        """A column of numbers, (n,); NaN where there is none."""
        if name not in self._numbers:
            parts = [source.numbers(name) for source in self._sources]
            whole = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0), *parts])
            self._numbers[name] = np.where(self._all().own_clock(), whole, np.nan) if name == "seconds" else whole
        return self._numbers[name] if self._at is None else self._numbers[name][self._at]

    def present(self, name: str) -> Bools:
        """Which rows have a value in a column, (n,)."""
        if name == "seconds":
            return ~np.isnan(self.numbers(name))
        if name not in self._present:
            self._present[name] = self._all()._masked([source.present(name) for source in self._sources])
        return self._present[name] if self._at is None else self._present[name][self._at]

    def has_curve(self) -> Bools:
        """Which rows have a recorded curve, (n,). Raises RecordError where a table of curves cannot be read."""
        if _CURVE not in self._present:
            self._present[_CURVE] = self._all()._masked([source.has_curve() for source in self._sources])
        return self._present[_CURVE] if self._at is None else self._present[_CURVE][self._at]

    def own_clock(self) -> Bools:
        """Which runs were timed by themselves, (n,); rows of a batch share one clock, whatever an older record says."""
        shared = self.where("seconds_of", lambda whose: whose == "batch")
        of_rows = self.where("engine", lambda engine: not ROW_ENGINES.isdisjoint(str(engine).split("+")))
        return ~(shared | of_rows)

    def _all(self) -> RunTable:
        """The same with every row of the sources; it shares the columns."""
        whole = self.take(slice(None))
        whole._at = None
        return whole

    def _timed(self, seconds: Column) -> Column:
        """The column without shares of a batch's seconds, which older records gave each of its rows."""
        shared = ~self._all().own_clock()
        if not (seconds.present() & shared).any():
            return seconds
        codes = seconds.codes.astype(np.int64)
        codes[shared] = len(seconds.values)
        return Column(codes, [*seconds.values, None])

    def notes_on_clocks(self) -> tuple[str, ...]:
        """What to say where records have seconds that are not the rows' own."""
        recorded = self._masked([source.present("seconds") for source in self._sources])
        count = int(np.count_nonzero(recorded & ~self.own_clock())) if recorded.any() else 0
        if not count:
            return ()
        return (
            f"seconds of {count} rows are left out: their records, of an older version, hold a share of the batch's",
        )

    def _masked(self, parts: Sequence[Bools]) -> Bools:
        whole: Bools = np.concatenate([np.zeros(0, dtype=np.bool_), *parts])
        return whole if self._at is None else np.take(whole, self._at)

    def where(self, name: str, test: Callable[[Any], bool]) -> Bools:
        """Which rows have a value that passes a test, (n,); it is asked once for each different value."""
        codes, values = self.column(name)
        passed = np.zeros(len(values), dtype=np.bool_)
        for code in np.unique(codes).tolist():
            passed[code] = test(values[code])
        return np.take(passed, codes)

    def tally(self, *names: str, present: Sequence[str] = (), by: Ints | None = None) -> dict[tuple[Any, ...], int]:
        """How many rows have each combination of values in these columns; of `present`, whether they have any.

        Args:
            names, present: of columns.
            by: a number for each row, (n,), that is the last of the combination.
        """
        columns = [self.column(name) for name in names]
        columns += [Column(self.present(name).astype(np.uint8), [False, True]) for name in present]
        columns += [] if by is None else [Column(by, list(range(int(by.max(initial=0)) + 1)))]
        codes = combined([column.codes for column in columns], len(self))
        first = first_of(codes)
        cells = [[values[code] for code in own[first].tolist()] for own, values in columns]
        found: dict[tuple[Any, ...], int] = {}
        for values, n in zip(zip(*cells, strict=True), np.bincount(codes).tolist(), strict=True):
            found[values] = found.get(values, 0) + n
        return found

    # rows

    def rows(self, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Each row as a mapping, in the order in which it was written; of `names` alone where they are given."""
        codes, orders = self.orders()
        wanted = self.names if names is None else names
        columns = {name: self.values(name) for name in wanted}
        shown = [[name for name in order if name in columns] for order in orders]
        return [{name: columns[name][i] for name in shown[code]} for i, code in enumerate(codes.tolist())]

    def curves(self, names: Collection[str] | None, keep: bool = False) -> list[Columns]:
        """The named columns of the curve of each row, empty where there is none, as `run.read_columns` has them of the
        runs.

        Args:
            names: of the columns; None: all.
            keep: whether they are kept: every table that was taken from one reading then has them without another.

        Raises:
            RecordError: a curve that cannot be read.
        """
        at, kept = self._numbered().tolist(), self._kept
        if names is not None and kept.names.issuperset(names) and all(row in kept.by_row for row in at):
            return [{name: kept.by_row[row][name] for name in names if name in kept.by_row[row]} for row in at]
        found = self._each(lambda source, at: source.curves(at, names))
        if keep and names is not None:
            if kept.names != frozenset(names):
                kept.names, kept.by_row = frozenset(names), {}
            kept.by_row.update(zip(at, found, strict=True))
        return found

    def _numbered(self) -> Ints:
        return np.arange(len(self)) if self._at is None else self._at

    def _each(self, ask: Callable[[Source, Ints], list[Any]]) -> list[Any]:
        """What the sources have of each row, asked for by their own numbers."""
        at = self._numbered()
        whose = np.searchsorted(self._starts, at, side="right") - 1
        found: list[Any] = [None] * len(at)
        for number in np.unique(whose).tolist():
            rows = np.flatnonzero(whose == number)
            for row, one in zip(
                rows.tolist(), ask(self._sources[number], at[rows] - self._starts[number]), strict=True
            ):
                found[row] = one
        return found

    def runs(self) -> list[Run]:
        """The runs themselves."""
        found = self._each(lambda source, at: source.runs(at))
        for row in np.flatnonzero(~self.own_clock()).tolist():
            if found[row].summary.get("seconds") is not None:
                found[row] = replace(found[row], summary={**found[row].summary, "seconds": None})
        return found


def _spread(values: Sequence[Any], at: Ints, total: int) -> Column:
    """A column of so many rows that has these values in these places; NaN, as None, is no value."""
    own = factorized(None if value != value else value for value in values)
    codes = np.full(total, len(own.values), dtype=np.int64)
    codes[at] = own.codes
    return Column(codes, [*own.values, None])
