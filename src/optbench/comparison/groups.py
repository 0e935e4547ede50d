"""Groups of runs: how they are formed, and what is computed of each."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optbench import metrics
from optbench.comparison import labels
from optbench.comparison.rows import Row
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
    """

    problem: str
    label: str
    keys: Mapping[str, Any]
    rows: tuple[Row, ...]
    n_by_status: Mapping[str, int]
    statistics: Mapping[str, Estimate | None]
    best: bool = False

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
    with_target = [row for row in rows if any(row.values.get(key) is not None for key in _TARGETS)]
    return {
        "final_loss": _median([_result(row, "final_loss", math.inf) for row in rows]),
        "best_loss": _median([_result(row, "best_loss", math.inf) for row in rows]),
        "val_accuracy": _accuracy(rows),
        **{name: _median([v for row in rows if (v := row.values.get(name)) is not None])
           for name in ("steps", "evals", "seconds")},
        **_of_target(with_target),
    }  # fmt: skip


def _median(values: Sequence[float]) -> Estimate | None:
    return metrics.median_interval(values) if values else None


def _result(row: Row, column: str, worst: float) -> float:
    value = row.values.get(column)
    if value is None or math.isnan(value) or row.run.status in _NO_RESULT:
        return worst
    return float(value)


def _accuracy(rows: Sequence[Row]) -> Estimate | None:
    if all(row.values.get("val_accuracy") is None for row in rows):
        return None
    return _median([_result(row, "val_accuracy", -math.inf) for row in rows])


def _of_target(rows: Sequence[Row]) -> dict[str, Estimate | None]:
    if not rows:
        return dict.fromkeys(("steps_to_target", "success_rate", "ert"))
    hits = [row.values.get("steps_to_target") for row in rows]
    ends = [row.values.get("steps") or 0 for row in rows]
    return {
        "steps_to_target": _median([math.inf if hit is None else hit for hit in hits]),
        "success_rate": metrics.success_rate(sum(hit is not None for hit in hits), len(hits)),
        "ert": Estimate(metrics.expected_running_time(hits, ends)),
    }


def form_groups(rows: Sequence[Row], by: Sequence[str] | None) -> tuple[list[Group], list[str]]:
    """The groups of each problem, and the settings that differ between groups.

    Args:
        rows: the runs.
        by: keys that define a configuration; None: every setting but the seed.
    """
    names = labels.problem_names(rows)
    by_problem: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        by_problem[labels.problem_key(row)].append(row)
    groups: list[Group] = []
    differing: dict[str, None] = {}
    for problem, members in by_problem.items():
        key_of, label_of, keys = _labelling(members, by)
        differing.update(dict.fromkeys(keys))
        configurations: dict[Hashable, list[Row]] = defaultdict(list)
        for row in members:
            configurations[key_of(row)].append(row)
        groups += _mark_best([_group(names[problem], label_of(m[0]), keys, m) for m in configurations.values()])
    return groups, [key for key in differing if key not in IDENTITY]


_KeyOf = Callable[[Row], Hashable]
_LabelOf = Callable[[Row], str]


def _labelling(rows: Sequence[Row], by: Sequence[str] | None) -> tuple[_KeyOf, _LabelOf, list[str]]:
    if by is None:
        label_by_key, keys = labels.configuration_names(rows)
        return labels.configuration_key, (lambda row: label_by_key[labels.configuration_key(row)]), keys
    shorter = labels.short_names(by)

    def key(row: Row) -> Hashable:
        return tuple(row.values.get(k) for k in by)

    def label(row: Row) -> str:
        values = {k: labels.text(row.values.get(k)) for k in by}
        return " ".join(v if k in IDENTITY else f"{shorter[k]}={v}" for k, v in values.items())

    return key, label, list(by)


def _group(problem: str, label: str, keys: Sequence[str], rows: Sequence[Row]) -> Group:
    def common(key: str) -> Any:
        values = {row.values.get(key) for row in rows}
        return values.pop() if len(values) == 1 else None

    counts = Counter(row.run.status for row in rows)
    shared = {key: common(key) for key in (*IDENTITY, *keys)}
    return Group(problem, label, shared, tuple(rows), {str(s): counts[s] for s in Status}, statistics_of(rows))


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
