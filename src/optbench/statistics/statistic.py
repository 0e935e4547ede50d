"""What a score of runs is, and the arrays it is computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from optbench import metrics
from optbench.metrics import Estimate
from optbench.records import RunTable, Status
from optbench.records.columns import Bools, Floats, Ints

Found = list[Estimate | None]
"""One a group; None where the statistic does not apply to it."""

_NO_RESULT = frozenset({Status.DIVERGED, Status.FAILED, Status.INTERRUPTED, Status.SKIPPED})


def has_result(status: str) -> bool:
    """Whether a run that ended so has a result; without one it counts as the worst."""
    return status not in _NO_RESULT


TARGETS = ("target", "trainer.target", "trainer.target_accuracy", "trainer.target_val_loss")
"""Columns of runs that say that a run had a target."""


class Groups:
    """Runs in groups, as arrays over all groups at once.

    Attributes:
        runs: the runs, those of a group next to each other.
        codes: number of each one's group, (n,), ascending.
        count: number of groups; one may be empty.
        first: which runs are the first of their observation, (n,); None: every run is an observation.
    """

    def __init__(self, runs: RunTable, codes: Ints, count: int, first: Bools | None = None) -> None:
        self.runs, self.codes, self.count, self.first = runs, codes, count, first

    @classmethod
    def of(cls, runs: RunTable) -> Groups:
        """All runs as one group."""
        return cls(runs, np.zeros(len(runs), dtype=np.int64), 1)

    def part(self, where: Bools) -> Groups:
        """The same groups of some of the runs; `where` is (n,)."""
        return Groups(self.runs.take(where), self.codes[where], self.count)

    @cached_property
    def observed(self) -> Groups:
        """The same groups without copies: of each observation its first run."""
        return self if self.first is None or self.first.all() else self.part(self.first)

    @cached_property
    def without_result(self) -> Bools:
        """Which runs diverged, failed, were interrupted or skipped, (n,): each counts as the worst result."""
        return self.runs.where("status", lambda status: status in _NO_RESULT)

    @cached_property
    def aimed(self) -> Groups:
        """The same groups of the runs that had a target."""
        return self.part(self.with_target)

    @cached_property
    def with_target(self) -> Bools:
        """Which runs had a target, (n,)."""
        found: Bools = np.logical_or.reduce([self.runs.present(name) for name in TARGETS])
        return found

    @cached_property
    def timed(self) -> Groups:
        """The same groups of the runs that had a clock of their own: the rows of a batch share one."""
        return self.part(self.runs.own_clock())

    def on_one(self, name: str) -> Bools:
        """Which runs are of a group whose known values in a column are one and the same, (n,)."""
        codes, values = self.runs.column(name)
        numbers: dict[Any, int] = {None: -1}
        own = np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)[codes]
        if len(numbers) <= 2:
            return np.ones(len(own), dtype=np.bool_)
        pairs = np.unique(np.stack([self.codes, own])[:, own >= 0], axis=1)
        several = np.bincount(pairs[0], minlength=self.count) > 1
        found: Bools = ~several[self.codes]
        return found

    def results(self, name: str, worst: float) -> Floats:
        """A column of numbers, (n,), `worst` where a run has no result."""
        values = self.runs.numbers(name)
        return np.where(self.without_result | np.isnan(values), worst, values)

    def medians(self, values: Floats) -> Found:
        """Median and interval of each group; None for a group without a number.

        Args:
            values: one a run, (n,); runs with NaN are left out.
        """
        known = ~np.isnan(values)
        found: Found = [None] * self.count
        for groups, (own,) in _by_size(self.codes[known], self.count, values[known]):
            for group, estimate in zip(groups, metrics.median_intervals(own), strict=True):
                found[group] = estimate
        return found

    def by_size(self, *columns: npt.NDArray[Any]) -> _BySize:
        """The groups of each size g, and their part of each column, (n,), as (groups, g); empty groups are left out."""
        return _by_size(self.codes, self.count, *columns)


_BySize = Iterator[tuple[list[int], Sequence[npt.NDArray[Any]]]]


def _by_size(codes: Ints, count: int, *columns: npt.NDArray[Any]) -> _BySize:
    sizes = np.bincount(codes, minlength=count)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 0]).tolist():
        groups = np.flatnonzero(sizes == size)
        at = starts[groups][:, None] + np.arange(size)
        yield groups.tolist(), [column[at] for column in columns]


@dataclass(frozen=True)
class Statistic:
    """A score of a group of runs.

    Attributes:
        name: in JSON, CSV and `--sort`.
        title: heading of its column.
        rule: how it is computed, a clause to stand behind the title.
        needs: columns of runs that it is computed from.
        compute: from the runs of all groups to one estimate a group, None where it does not apply.
        direction: what is better: -1 small values, 1 large ones.
        format: from its estimate and the number of runs in the group to the cell of a table.
        place: where its column stands in a table; None: in JSON and CSV alone.
        spare: when a narrow terminal goes without it: 1 first; 0 never.
        noted: whether the rule stands below every table that has the column, and not only where it is of some runs.
        timed: whether it is of a clock, for which copies of a run are observations too.
        cost: whether it is what the runs took, and no result of theirs.
        metric: the metric that it is of; None: it is of none.
    """

    name: str
    title: str
    rule: str
    needs: tuple[str, ...]
    compute: Callable[[Groups], Found]
    direction: int
    format: Callable[[Estimate | None, int], str]
    place: int | None = None
    spare: int = 0
    noted: bool = False
    timed: bool = False
    cost: bool = False
    metric: str | None = None

    @property
    def sentence(self) -> str:
        """The rule behind its title."""
        return f"{self.title.partition(',')[0]}: {self.rule}"
