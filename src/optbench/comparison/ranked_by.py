"""What the runs of a problem are ranked by, in order: the first of these that any of its groups has.

By themselves networks are ranked by the metric that all runs of the problem name first (trainer.metrics), then by the
accuracy of classes, then by the validation loss; surfaces by the final loss, all that they have. Where runs stop at the
target that all of them have, what they end at is the target and tells nothing: they are ranked by the time to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from optbench.metrics import Estimate
from optbench.records import RunTable, Status
from optbench.records.chosen import criteria
from optbench.records.columns import Bools
from optbench.records.metrics import COLUMN, directions, first_of
from optbench.statistics import STATISTICS
from optbench.statistics.numbers import number
from optbench.statistics.statistic import Groups

TO_TARGET = "steps_to_target"
RULE = (
    "what a problem is ranked by, where --metric names nothing: steps to the target, where all runs have one and some "
    "stopped at it (what these end at is the target); else the first of trainer.metrics, the accuracy, the validation "
    "loss, the final loss that there is; a run without a result, or that missed its target, is infinitely bad"
)
_EVALS_APART = 1.5
"""How many times as many evaluations a step of one configuration may cost as one of another without a word."""


class Measured(Protocol):
    """What a group is asked for here: its runs, and what was computed of them."""

    @property
    def rows(self) -> RunTable:
        """The runs."""

    @property
    def statistics(self) -> Mapping[str, Estimate | None]:
        """By name."""

    @property
    def n_by_status(self) -> Mapping[str, int]:
        """Number of runs of each status."""


@dataclass(frozen=True)
class Ranked:
    """How groups are ranked.

    Attributes:
        checkpoint: whose figures count: best or last.
        metric: the one score that is asked for; None: the usual ones.
    """

    checkpoint: str
    metric: str | None = None

    @property
    def of_cost(self) -> bool:
        """Whether the metric is what runs took, and no result of theirs."""
        return self.metric is not None and STATISTICS[self.metric].cost

    def names(self, metrics: Sequence[Any], to_target: bool = False) -> tuple[str, ...]:
        """Names of statistics, of runs whose columns `metrics` these are, and which stop at a target or do not."""
        if self.metric is not None:
            return (self.metric,)
        return (*([TO_TARGET] if to_target else []), *criteria(self.checkpoint, first_of(metrics)))

    def of(self, groups: Sequence[Measured]) -> tuple[str, ...]:
        """Names of statistics, of the groups of a problem."""
        return self.names(metrics_of(groups), stop_at_target(groups))

    def ends(self, groups: Iterable[Measured]) -> tuple[str, ...]:
        """The same without the time to a target: what runs end at."""
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


def aimed_stops(rows: RunTable) -> tuple[Bools, Bools]:
    """Which runs stopped at their target, and which had none, (n,) each."""
    return rows.where("status", lambda status: status == Status.TARGET_REACHED), ~Groups.of(rows).with_target


def stop_at_target(groups: Sequence[Measured]) -> bool:
    """Whether all runs of the groups of a problem have a target, and some stopped at it."""
    if not any(group.n_by_status[Status.TARGET_REACHED] for group in groups):
        return False
    return not any(aimed_stops(group.rows)[1].any() for group in groups)


def of_stops(problems: Mapping[str, Sequence[Measured]], ranked: Ranked) -> tuple[list[str], list[str]]:
    """What to say of problems whose runs stop at a target: notes, and warnings, a sentence each."""
    stopping = {name: own for name, own in problems.items()
                if any(group.n_by_status[Status.TARGET_REACHED] for group in own)}  # fmt: skip
    if not stopping or ranked.metric == TO_TARGET:
        return [], []
    ordered = [name for name, own in stopping.items() if ranked.of(own)[0] == TO_TARGET]
    notes = []
    if ordered:
        which = ordered[0] if len(problems) == 1 else f"{len(ordered)} of {len(problems)} problems"
        rest = "; the others by what their runs ended at" if 0 < len(ordered) < len(problems) else ""
        notes.append(f"{which}: ranked by steps to the target, at which runs stop: their last losses say nothing{rest}")
    said = [words for name in ordered if (words := _unequal_steps(name, stopping[name]))]
    by = "--metric" if ranked.metric is not None else "some runs have no target"
    said += [f"{name}: runs stopped at a target, and what they ended at is ranked all the same ({by})"
             for name in stopping if name not in ordered]  # fmt: skip
    return notes, said


def _unequal_steps(problem: str, groups: Sequence[Measured]) -> str:
    """What to say where a step of some groups costs more evaluations than one of others; empty where it does not."""
    costs = []
    for group in groups:
        steps, evals = (group.statistics.get(name) for name in ("steps", "evals"))
        if steps is not None and evals is not None and steps.value > 0:
            costs.append(evals.value / steps.value)
    if not costs or max(costs) <= _EVALS_APART * min(costs):
        return ""
    return (
        f"{problem}: ranked by steps, of which one costs {number(min(costs))} to {number(max(costs))} evaluations; "
        "--cost evals has times in these"
    )
