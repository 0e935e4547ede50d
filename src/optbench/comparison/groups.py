"""Groups of runs: how they are formed, and what is computed of each."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from optbench import metrics
from optbench.comparison import labels
from optbench.comparison.arrivals import stopped_at
from optbench.comparison.bulk import Kinds, Rows
from optbench.comparison.parts import Floats
from optbench.comparison.rows import Facts, Row
from optbench.metrics import Estimate
from optbench.records import Run, Status

STATISTICS = ("final_loss", "best_loss", "val_accuracy", "steps", "evals", "seconds", "steps_to_target", "success_rate",
              "ert")  # fmt: skip
"""What is computed of each group; a statistic that does not apply is None. `metrics.RULES` says how."""

_NO_RESULT = frozenset({Status.DIVERGED, Status.FAILED, Status.INTERRUPTED, Status.SKIPPED})
_TARGETS = ("target", "trainer.target", "trainer.target_accuracy")
IDENTITY = ("model", "data", "loss_name", "optimizer", "scheduler")


@dataclass(frozen=True)
class Group:
    """Runs of one configuration on one problem, which differ in their seeds.

    Attributes:
        problem: name of the problem.
        label: name of the configuration: what tells it from the others on this problem.
        keys: model, data, loss_name, optimizer, scheduler and the settings that differ; None where the runs disagree.
        rows: the runs.
        n_by_status: number of runs of each Status, zeros included.
        statistics: STATISTICS by name; None where one does not apply.
        best: whether no group of the problem has a better accuracy (networks) or final loss (surfaces).
        stopped_at: number of runs at each critical point, see `arrivals.stopped_at`; None where nothing is known of it.
    """

    problem: str
    label: str
    keys: Mapping[str, Any]
    rows: Rows
    n_by_status: Mapping[str, int]
    statistics: Mapping[str, Estimate | None]
    best: bool = False
    stopped_at: Mapping[str, int] | None = None

    @property
    def n(self) -> int:
        """Number of runs, whatever their status: every denominator."""
        return len(self.rows)

    @property
    def runs(self) -> list[Run]:
        """The runs themselves."""
        return [row.run for row in self.rows]


def statistics_of(rows: Sequence[Row]) -> dict[str, Estimate | None]:
    """STATISTICS of a group of runs; None where no run has what a statistic needs.

    A run that diverged, failed, was interrupted or skipped has no result: it counts as the worst one there is.
    """
    rows = Rows.of(rows)
    bad = rows.where("status", lambda status: status in _NO_RESULT)
    wanted = np.zeros(len(rows), dtype=bool)
    for key in _TARGETS:
        wanted |= rows.present(key)
    return {
        "final_loss": _median(_result(rows, "final_loss", bad, math.inf)),
        "best_loss": _median(_result(rows, "best_loss", bad, math.inf)),
        "val_accuracy": _accuracy(rows, bad),
        **{name: _median(values[~np.isnan(values)])
           for name in ("steps", "evals", "seconds") for values in [rows.numbers(name)]},
        **_of_target(rows.take(wanted)),
    }  # fmt: skip


def _median(values: Floats) -> Estimate | None:
    return metrics.median_interval(values) if len(values) else None


def _result(rows: Rows, column: str, bad: npt.NDArray[np.bool_], worst: float) -> Floats:
    values = rows.numbers(column)
    return np.where(bad | np.isnan(values), worst, values)


def _accuracy(rows: Rows, bad: npt.NDArray[np.bool_]) -> Estimate | None:
    if np.isnan(rows.numbers("val_accuracy")).all():
        return None
    return _median(_result(rows, "val_accuracy", bad, -math.inf))


def _of_target(rows: Rows) -> dict[str, Estimate | None]:
    if not len(rows):
        return dict.fromkeys(("steps_to_target", "success_rate", "ert"))
    hits, ends = rows.numbers("steps_to_target"), rows.numbers("steps")
    missed = np.isnan(hits)
    return {
        "steps_to_target": _median(np.where(missed, math.inf, hits)),
        "success_rate": metrics.success_rate(int((~missed).sum()), len(hits)),
        "ert": Estimate(metrics.expected_running_time(hits, np.where(np.isnan(ends), 0.0, ends))),
    }


def form_groups(rows: Rows, by: Sequence[str] | None) -> tuple[list[Group], list[str]]:
    """The groups of each problem, and the settings that differ between groups.

    Args:
        rows: the runs.
        by: keys that define a configuration; None: every setting but the seed.
    """
    kinds = rows.kinds(by or ())
    names = labels.problem_names(kinds.facts)
    by_problem: dict[Hashable, list[int]] = defaultdict(list)
    later: dict[Hashable, list[int]] = defaultdict(list)
    keys_of_kinds = [labels.problem_key(facts) for facts in kinds.facts]
    for kind, problem in enumerate(keys_of_kinds):
        by_problem[problem].append(kind)
    for kind in kinds.by_last:
        later[keys_of_kinds[kind]].append(kind)
    groups: list[Group] = []
    differing: dict[str, None] = {}
    for problem, members in by_problem.items():
        # a name is made from the last run of a configuration, in the place of its first
        key_of, label_of, keys = _labelling([kinds.facts[kind] for kind in (*members, *later[problem])], by)
        differing.update(dict.fromkeys(keys))
        configurations: dict[Hashable, list[int]] = defaultdict(list)
        for kind in members:
            configurations[key_of(kinds.facts[kind])].append(kind)
        found = [(label_of(kinds.facts[same[0]]), same) for same in configurations.values()]
        groups += _mark_best([_group(names[problem], label, keys, kinds, same) for label, same in found])
    return groups, [key for key in differing if key not in IDENTITY]


_KeyOf = Callable[[Facts], Hashable]
_LabelOf = Callable[[Facts], str]


def _labelling(rows: Sequence[Facts], by: Sequence[str] | None) -> tuple[_KeyOf, _LabelOf, list[str]]:
    if by is None:
        label_by_key, keys = labels.configuration_names(rows)
        return labels.configuration_key, (lambda row: label_by_key[labels.configuration_key(row)]), keys
    shorter = labels.short_names(by)

    def key(row: Facts) -> Hashable:
        return tuple(row.values.get(k) for k in by)

    def label(row: Facts) -> str:
        values = {k: labels.text(row.values.get(k)) for k in by}
        return " ".join(v if k in IDENTITY else f"{shorter[k]}={v}" for k, v in values.items())

    return key, label, list(by)


def _group(problem: str, label: str, keys: Sequence[str], kinds: Kinds, same: Sequence[int]) -> Group:
    def common(key: str) -> Any:
        values = {kinds.facts[kind].values.get(key) for kind in same}
        return values.pop() if len(values) == 1 else None

    rows = kinds.members(same)
    counts = {status: n for (status,), n in rows.tally("status").items()}
    shared = {key: common(key) for key in (*IDENTITY, *keys)}
    by_status = {str(s): counts.get(s, 0) for s in Status}
    return Group(problem, label, shared, rows, by_status, statistics_of(rows), stopped_at=stopped_at(rows))


def rank(group: Group) -> tuple[float, float]:
    """What the groups of a problem are ranked by, small first: accuracy where there is one, then final loss."""
    accuracy, loss = group.statistics["val_accuracy"], group.statistics["final_loss"]
    return (-accuracy.value if accuracy else math.inf, loss.value if loss else math.inf)


def _mark_best(groups: Sequence[Group]) -> list[Group]:
    # by the first criterion that applies; groups without any result are never the best
    on_accuracy = any(group.statistics["val_accuracy"] for group in groups)
    scores = [rank(group)[0 if on_accuracy else 1] for group in groups]
    top = min(scores)
    return [replace(g, best=s == top < math.inf) for g, s in zip(groups, scores, strict=True)]
