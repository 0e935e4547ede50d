"""The scores of metrics: of each its value at the best evaluation of a run, and at the last.

Those of the packaged conf/ are known by themselves. One of the user's own is known once a record was read that has it
(`learn`): the record says which of its values are better.
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
        if all(value is None for value in groups.runs.different(name)):
            return [None] * groups.count
        known = np.bincount(groups.codes[~np.isnan(groups.runs.numbers(name))], minlength=groups.count) > 0
        return groups.medians(np.where(known[groups.codes], groups.results(name, worst), math.nan))

    return found


def of_metric(name: str, direction: str, description: str = "") -> tuple[Statistic, Statistic]:
    """The scores of a metric, at the best evaluation and at the last.

    Args:
        name: of the metric.
        direction: max or min: which values are better.
        description: what it is, a clause.
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


def packaged() -> dict[str, Statistic]:
    """Those of the packaged metrics but the accuracy, by name."""
    found = (of_metric(*vars_of) for vars_of in _packaged())
    return {one.name: one for both in found for one in both}


def _packaged() -> Iterable[tuple[str, str, str]]:
    return ((one.name, one.direction, one.description) for one in packaged_metrics().values() if one.name != "accuracy")


def learn(texts: Iterable[Any], known: dict[str, Statistic]) -> None:
    """Adds the scores of metrics that records have.

    Args:
        texts: of their columns `metrics`.
        known: STATISTICS.

    Raises:
        UserError: of one metric some records say that large values are better, and others that small ones are.
    """
    seen: dict[str, str] = {}
    for name, direction in (pair for text in texts for pair in directions(text).items()):
        if seen.setdefault(name, direction) != direction:
            raise UserError(f"{name}: in some of these records large values are better, in others small ones",
                            "compare them apart: --filter 'trainer.metrics=...'")  # fmt: skip
        sign = 1 if direction == "max" else -1
        if (old := known.get(column_of(name))) is None or old.direction != sign:
            known.update({one.name: one for one in of_metric(name, direction)})
