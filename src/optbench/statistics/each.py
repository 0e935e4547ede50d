"""The number that each run contributes to a comparison of pairs: what the scores take medians of, run by run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from optbench.statistics.scores import STATISTICS
from optbench.statistics.statistic import Groups

Floats = npt.NDArray[np.float64]

_OF_GROUPS = ("success_rate", "ert")


def of_single_runs() -> tuple[str, ...]:
    """Scores that a single run has; the others are of a group only."""
    return tuple(name for name in (*STATISTICS, *STATISTICS.of_metrics) if name not in _OF_GROUPS)


_VALIDATED = ("best_val_accuracy", "val_accuracy", "best_val_loss", "val_loss")
_COSTS = ("steps", "evals", "gradients", "hessian_products")


def of_each(groups: Groups, name: str) -> Floats:
    """A score of each run, (n,), by the rule of STATISTICS: the worst where a run has no result or missed its target;
    NaN where the score does not apply to it.

    Args:
        groups: the runs; a validation score applies to the groups in which it was measured at all.
        name: one of `of_single_runs`.
    """
    runs, values = groups.runs, groups.runs.numbers(name)
    if name in _COSTS:  # what a run without a result took is no achievement
        return np.where(groups.without_result & ~np.isnan(values), math.inf, values)
    if name == "seconds":
        return np.where(runs.own_clock(), np.where(groups.without_result, math.inf, values), math.nan)
    if name == "steps_to_target":
        return np.where(groups.with_target, np.where(np.isnan(values), math.inf, values), math.nan)
    found = groups.results(name, -STATISTICS[name].direction * math.inf)
    if name not in _VALIDATED and STATISTICS[name].metric is None:
        return found
    measured: npt.NDArray[Any] = np.bincount(groups.codes[~np.isnan(values)], minlength=groups.count) > 0
    return np.where(measured[groups.codes], found, math.nan)
