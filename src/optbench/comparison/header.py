"""What differs between the groups of a problem beside what they are compared for, and what must be said of it.

A ranking is fair among runs of one budget, one batch size, one device and one set of versions, whose schedules were
allowed to end. What differs is listed (`differences`), and where it bears on a ranking it is put in a sentence
(`warnings`). A fact that records do not tell is no difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.comparison.labels import text
from optbench.records import NOT_IDENTITY, RunTable, Status
from optbench.records.columns import Bools, Column, Ints, combined, first_of
from optbench.records.origins import PLACES, VERSIONS

OF_BUDGET = ("trainer.steps", "trainer.epochs", "trainer.seconds")
_OF_BATCH = ("trainer.batch_size", "trainer.accumulate")
_OF_TARGET = ("trainer.target", "trainer.target_accuracy", "trainer.target_val_loss", "trainer.stop_at_target")
BEARING = (*OF_BUDGET, *_OF_BATCH, *_OF_TARGET, "trainer.precision", "device", "processes", *VERSIONS)
"""Facts by which a ranking can be unfair, or its last digits different."""
CLOCKS = ("engine", *PLACES)
"""Facts within which times are comparable; what else the machine did meanwhile is in no record."""

_LISTED = ("engine", *PLACES, *VERSIONS)
_DECAYS = frozenset({"CosineAnnealingLR", "PolynomialLR", "LinearLR", "OneCycleLR", "one_cycle", "warmup_cosine"})
"""Schedules that reach their end: the classes and functions that they are made of."""
CUT = "cut_at_budget"
"""A column of runs that `budget` cut: 1; absent of all others."""
HORIZONS = ("scheduler.T_max", "scheduler.total_iters", "scheduler.total_steps")


@dataclass(frozen=True)
class Difference:
    """A fact in which groups of a problem differ.

    Attributes:
        problem: its name.
        what: a column or a setting, or a fact of `records.origins`.
        values: of each configuration that tells, by name, the values that its runs have.
    """

    problem: str
    what: str
    values: Mapping[str, tuple[Any, ...]]

    def in_words(self) -> str:
        """ "trainer.steps (100: adam; 200: sgd)": each value with the configurations that have it, or their number."""
        having: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        for label, values in self.values.items():
            having[values].append(label)
        shown = [f"{' and '.join(map(text, v))}: {_named(labels)}" for v, labels in having.items()]
        more = f"; {len(shown) - _MOST} more" if len(shown) > _MOST else ""
        return f"{self.what} ({'; '.join(shown[:_MOST])}{more})"


_MOST = 3


def _named(labels: Sequence[str]) -> str:
    return ", ".join(labels) if len(labels) < _MOST else f"{len(labels)} configurations"


@dataclass(frozen=True)
class Grouped:
    """Runs in groups, as the facts of each are asked for.

    Attributes:
        rows: the runs, those of a group next to each other.
        codes: number of each one's group, (n,).
        problems, labels: of each group, the number and name of its problem, and its own name.
        left_out: groups that are not among these, and why, a sentence each.
    """

    rows: RunTable
    codes: Ints
    problems: Sequence[tuple[int, str]]
    labels: Sequence[str]
    left_out: Sequence[str] = ()

    def differences(self) -> list[Difference]:
        """The facts in which groups of a problem differ, problem by problem: settings of the trainer, engine, place and
        versions."""
        settings = [name for name in self.rows.names if name.startswith("trainer.") and name not in NOT_IDENTITY]
        columns = {name: self.rows.column(name) for name in (*settings, "engine")} | self.rows.origins()
        ordered = (*settings, *_LISTED)
        return sorted(
            (one for name in ordered for one in self.of_column(name, columns[name])), key=lambda one: one.problem
        )

    def clocks(self) -> list[Difference]:
        """The facts in which the timed runs of groups of a problem differ, by which their times are not comparable."""
        timed = self.rows.present("seconds")
        if not timed.any():
            return []
        part = Grouped(self.rows.take(timed), self.codes[timed], self.problems, self.labels)
        columns = {"engine": part.rows.column("engine"), **part.rows.origins()}
        return [one for name in CLOCKS for one in part.of_column(name, columns[name])]

    def of_column(self, what: str, column: Column) -> list[Difference]:
        """The problems whose groups differ in a column."""
        own, values = column
        if not len(own) or (own == own[0]).all():
            return []
        first = first_of(combined([self.codes, own], len(own)))
        told: dict[int, set[Any]] = defaultdict(set)
        for group, value in zip(self.codes[first].tolist(), own[first].tolist(), strict=True):
            if values[value] is not None:
                told[group].add(values[value])
        found: dict[tuple[int, str], dict[str, tuple[Any, ...]]] = defaultdict(dict)
        for group, has in told.items():
            found[self.problems[group]][self.labels[group]] = tuple(sorted(has, key=_order))
        return [
            Difference(name, what, dict(sorted(by.items())))
            for (_, name), by in found.items()
            if len(set(by.values())) > 1
        ]

    def cut_short(self) -> list[str]:
        """Groups with runs that ended before their schedule did: their names, problem by problem."""
        cut = cut_inside(self.rows)
        return list(dict.fromkeys(self.labels[group] for group in np.unique(self.codes[cut]).tolist()))


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value if isinstance(value, str | int | float) else str(value)


def decays(rows: RunTable) -> Bools:
    """Of which runs the schedule reaches its end, (n,): before, nothing of them is finished."""
    return rows.where("scheduler._target_", lambda target: str(target).rpartition(".")[2] in _DECAYS)


def cut_inside(rows: RunTable) -> Bools:
    """Which runs were cut inside a decay: by a limit of time, by a schedule that is longer than the run, or by
    --budget."""
    ending = decays(rows)
    if not ending.any():
        return ending
    horizons = np.max([np.nan_to_num(rows.numbers(name), nan=0.0) for name in HORIZONS], axis=0)
    longer = np.nan_to_num(rows.numbers("steps"), nan=np.inf) < horizons
    ended = rows.where("status", lambda status: status in (Status.COMPLETED, Status.TIMED_OUT))
    timed_out = rows.where("status", lambda status: status == Status.TIMED_OUT)
    cut: Bools = ending & (timed_out | (ended & longer) | rows.present(CUT))
    return cut


def warnings(
    differences: Iterable[Difference],
    clocks: Iterable[Difference],
    cut_short: Sequence[str],
    alike: bool = False,
) -> list[str]:
    """What a reader of the ranking must know, a sentence each.

    Args:
        differences, clocks, cut_short: as `Grouped` finds them.
        alike: whether all were cut to one length, so that the lengths that were planned are no matter.
    """
    unequal: dict[str, list[str]] = defaultdict(list)
    for one in differences:
        if one.what in BEARING and not (alike and one.what in OF_BUDGET):
            unequal[one.problem].append(one.in_words())
    said = [f"{problem}: ranked together although they differ in {'; '.join(w)}" for problem, w in unequal.items()]
    apart: dict[str, list[str]] = defaultdict(list)
    for one in clocks:
        apart[one.problem].append(one.in_words())
    said += [f"{problem}: seconds are not comparable: {'; '.join(words)}" for problem, words in apart.items()]
    if cut_short:
        said.append(
            f"cut inside the decay of the learning rate, so not finished and not fairly ranked: {_named(cut_short)}"
        )
    return said
