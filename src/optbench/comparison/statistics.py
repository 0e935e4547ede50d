"""The statistics of groups of runs, of all groups at once: groups of one size are the rows of one array."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from optbench import metrics
from optbench.metrics import Estimate
from optbench.records import RunTable, Status
from optbench.records.columns import Bools, Floats, Ints

STATISTICS = ("final_loss", "best_loss", "val_accuracy", "steps", "evals", "seconds", "steps_to_target", "success_rate",
              "ert")  # fmt: skip
"""What is computed of each group; a statistic that does not apply is None. `metrics.RULES` says how."""

_NO_RESULT = frozenset({Status.DIVERGED, Status.FAILED, Status.INTERRUPTED, Status.SKIPPED})
_TARGETS = ("target", "trainer.target", "trainer.target_accuracy")
_Found = list[Estimate | None]


def statistics_of(rows: RunTable) -> dict[str, Estimate | None]:
    """STATISTICS of a group of runs; None where no run has what a statistic needs.

    A run that diverged, failed, was interrupted or skipped has no result: it counts as the worst one there is.
    """
    return statistics(rows, np.zeros(len(rows), dtype=np.int64), 1)[0]


def statistics(rows: RunTable, codes: Ints, count: int) -> list[dict[str, Estimate | None]]:
    """`statistics_of` each group.

    Args:
        rows: of all groups.
        codes: number of the group of each row, (n,), ascending.
        count: number of groups.
    """
    bad = rows.where("status", lambda status: status in _NO_RESULT)
    wanted = np.zeros(len(rows), dtype=bool)
    for key in _TARGETS:
        wanted |= rows.present(key)
    accuracy = rows.numbers("val_accuracy")
    measured = (np.bincount(codes[~np.isnan(accuracy)], minlength=count) > 0)[codes]
    found = [
        _medians(_result(rows.numbers("final_loss"), bad, math.inf), codes, count),
        _medians(_result(rows.numbers("best_loss"), bad, math.inf), codes, count),
        _medians(_result(accuracy, bad, -math.inf)[measured], codes[measured], count),
        *(_medians(values[known], codes[known], count)
          for name in ("steps", "evals", "seconds")
          for values in [rows.numbers(name)] for known in [~np.isnan(values)]),
        *_of_target(rows.take(wanted), codes[wanted], count),
    ]  # fmt: skip
    return [dict(zip(STATISTICS, one, strict=True)) for one in zip(*found, strict=True)]


def _result(values: Floats, bad: Bools, worst: float) -> Floats:
    return np.where(bad | np.isnan(values), worst, values)


def _by_size(codes: Ints, count: int, *columns: npt.NDArray[Any]) -> Iterator[tuple[list[int], list[npt.NDArray[Any]]]]:
    """The groups of each size g, and their part of each column as (groups, g); groups without rows are left out."""
    sizes = np.bincount(codes, minlength=count)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 0]).tolist():
        groups = np.flatnonzero(sizes == size)
        at = starts[groups][:, None] + np.arange(size)
        yield groups.tolist(), [column[at] for column in columns]


def _medians(values: Floats, codes: Ints, count: int) -> _Found:
    found: _Found = [None] * count
    for groups, (own,) in _by_size(codes, count, values):
        for group, estimate in zip(groups, metrics.median_intervals(own), strict=True):
            found[group] = estimate
    return found


def _of_target(rows: RunTable, codes: Ints, count: int) -> tuple[_Found, _Found, _Found]:
    hits, ends = rows.numbers("steps_to_target"), rows.numbers("steps")
    missed = np.isnan(hits)
    rates: _Found = [None] * count
    times: _Found = [None] * count
    success_rate = functools.cache(metrics.success_rate)
    for groups, (hit, end) in _by_size(codes, count, hits, np.where(np.isnan(ends), 0.0, ends)):
        reached = (~np.isnan(hit)).sum(axis=1).tolist()
        spent = metrics.expected_running_times(hit, end)
        for group, successes, time in zip(groups, reached, spent, strict=True):
            rates[group] = success_rate(successes, hit.shape[1])
            times[group] = Estimate(time)
    return _medians(np.where(missed, math.inf, hits), codes, count), rates, times
