"""What the runs of a problem are ranked by, in order: the first of these that any of its groups has.

By themselves networks are ranked by the metric that all runs of the problem name first (trainer.metrics), then by the
accuracy of classes, then by the validation loss; surfaces by the final loss, all that they have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from optbench.metrics import Estimate
from optbench.records import RunTable
from optbench.records.chosen import criteria
from optbench.records.metrics import COLUMN, directions, first_of
from optbench.statistics import STATISTICS


class Measured(Protocol):
    """What a group is asked for here: its runs, and what was computed of them."""

    @property
    def rows(self) -> RunTable:
        """The runs."""

    @property
    def statistics(self) -> Mapping[str, Estimate | None]:
        """By name."""


@dataclass(frozen=True)
class Ranked:
    """How groups are ranked.

    Attributes:
        checkpoint: whose figures count: best or last.
        metric: the one score that is asked for; None: the usual ones.
    """

    checkpoint: str
    metric: str | None = None

    def names(self, metrics: Sequence[Any]) -> tuple[str, ...]:
        """Names of statistics, of runs whose columns `metrics` these are."""
        return criteria(self.checkpoint, first_of(metrics)) if self.metric is None else (self.metric,)

    def of(self, groups: Iterable[Measured]) -> tuple[str, ...]:
        """Names of statistics, of the groups of a problem."""
        return self.names(metrics_of(groups))

    def first(self, groups: Sequence[Measured]) -> str:
        """The one that the groups of a problem are ranked by."""
        names = self.of(groups)
        return next(name for name in names if name == names[-1] or any(g.statistics.get(name) for g in groups))


def metrics_of(groups: Iterable[Measured]) -> list[Any]:
    """What stands in the column `metrics` of some groups, each once."""
    return list(dict.fromkeys(text for group in groups for text in group.rows.different(COLUMN)))


def disagreement(problems: Mapping[str, Sequence[Measured]], ranked: Ranked) -> list[str]:
    """What to say of problems whose runs name different metrics first, a sentence each."""
    said = []
    for problem, groups in problems.items():
        firsts = dict.fromkeys(next(iter(directions(text)), None) for text in metrics_of(groups))
        names = [name for name in firsts if name not in (None, "accuracy")]
        if ranked.metric is None and names and len(firsts) > 1:
            by = STATISTICS[ranked.first(groups)].title.removesuffix(", %")
            each = ", ".join(name or "none" for name in firsts)
            said.append(f"{problem}: its runs name different metrics first ({each}), so ranked by {by}")
    return said
