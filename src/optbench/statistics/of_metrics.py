"""The scores of metrics: of each its value at the best evaluation of a run, and at the last.

Those of the packaged conf/ are known by themselves. One of the user's own is known once a record was read that has it
(`Scores.learn`): the record says which of its values are better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from optbench.catalogue import packaged_metrics
from optbench.errors import UserError
from optbench.records.metrics import column_of, directions
from optbench.statistics.numbers import interval
from optbench.statistics.statistic import Found, Groups, Statistic

NO_RESULT = "a run that diverged, failed, was interrupted or skipped counts as"


def validation(name: str, worst: float) -> Callable[[Groups], Found]:
    """The median of a column of runs, of groups in which it was measured at all.

    Args:
        name: of the column.
        worst: what a run without a result has.
    """

    def found(groups: Groups) -> Found:
        known = np.bincount(groups.codes[~np.isnan(groups.runs.numbers(name))], minlength=groups.count) > 0
        return groups.medians(np.where(known[groups.codes], groups.results(name, worst), math.nan))

    return found


def of_metric(name: str, description: str, direction: str) -> tuple[Statistic, Statistic]:
    """The scores of a metric, at the best evaluation and at the last.

    Args:
        name: of the metric.
        description: what it is, a clause; empty where that is not known.
        direction: max or min: which values are better.
    """
    sign = 1 if direction == "max" else -1
    what = f" ({name}: {description})" if description else ""
    worst = f"{NO_RESULT} {'-' if sign > 0 else '+'}inf"
    rules = {
        "best": f"median of {name} on the validation data at the best evaluation of each run, which is that of best.pt"
        f"; a little too good where these data chose it{what}; {worst}",
        "last": f"median of the last {name} of each run on the validation data, that of last.pt{what}; {worst}",
    }
    best, last = (
        Statistic(column := column_of(name, which), f"{name} ({which})", rule, (column, "status"),
                  validation(column, -sign * math.inf), sign, interval, noted=True, metric=name)
        for which, rule in rules.items()
    )  # fmt: skip
    return best, last


class Scores(dict[str, Statistic]):
    """Scores by name. It holds, and goes through, those of any runs; one of a metric is found by its name as well."""

    def __init__(self, scores: Iterable[Statistic]) -> None:
        super().__init__((one.name, one) for one in scores)
        named = (of_metric(*vars(one).values()) for one in packaged_metrics().values() if one.name != "accuracy")
        self.of_metrics = {one.name: one for both in named for one in both}

    def __missing__(self, name: str) -> Statistic:
        return self.of_metrics[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.of_metrics

    def get(self, name: str, default: Any = None) -> Any:
        """The score, or the default."""
        found: Statistic | None = super().get(name) or self.of_metrics.get(name)
        return default if found is None else found

    def learn(self, texts: Iterable[Any]) -> None:
        """Takes in the scores of metrics that records have.

        Args:
            texts: of their columns `metrics`.

        Raises:
            UserError: of one metric some records say that large values are better, and others that small ones are.
        """
        seen: dict[str, str] = {}
        for name, direction in (pair for text in texts for pair in directions(text).items()):
            if seen.setdefault(name, direction) != direction:
                raise UserError(f"{name}: in some of these records large values are better, in others small ones",
                                "compare them apart")  # fmt: skip
            old = None if name == "accuracy" else self.of_metrics.get(column_of(name))
            if name != "accuracy" and (old is None or old.direction != (1 if direction == "max" else -1)):
                self.of_metrics.update({one.name: one for one in of_metric(name, "", direction)})
