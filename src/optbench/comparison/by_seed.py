"""The numbers of single runs as an array, configurations by seeds: what pairs of configurations are compared in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optbench.comparison.facts import FOLD
from optbench.comparison.groups import Group
from optbench.comparison.observations import distinct
from optbench.statistics.each import of_each
from optbench.statistics.statistic import Groups

Floats = npt.NDArray[np.float64]


def by_seed(groups: Sequence[Group], metric: str) -> Floats:
    """A score of every run, (configurations, seeds), a column a seed in ascending order; NaN where there is no run.

    Of a cross-validation each fold of a seed has a column.

    Copies of a run are one observation: all but the first are NaN. Where a group has several runs of one seed, as where
    settings are pooled, no two runs belong together: each run has a column of its own.

    Args:
        groups: of one problem.
        metric: one of `statistics.each.of_single_runs`.
    """
    numbers, seeds = [], []
    for group in groups:
        runs = group.rows
        first = distinct(runs, np.zeros(len(runs), dtype=np.int64)) if metric != "seconds" else True
        values = np.where(first, of_each(Groups.of(runs), metric), np.nan)
        own = runs.numbers("seed") + 1j * np.nan_to_num(runs.numbers(FOLD), nan=-1.0)  # ordered by seed, then fold
        kept = ~np.isnan(values)
        numbers.append(values[kept])
        seeds.append(own[kept])
    shared = all(len(np.unique(own)) == len(own) and not np.isnan(own).any() for own in seeds)
    if not shared:
        ends = np.cumsum([len(own) for own in seeds])
        seeds = [np.arange(end - len(own), end, dtype=complex) for own, end in zip(seeds, ends, strict=True)]
    columns = np.unique(np.concatenate(seeds)) if seeds else np.empty(0)
    found = np.full((len(groups), len(columns)), np.nan)
    for row, own, values in zip(found, seeds, numbers, strict=True):
        row[np.searchsorted(columns, own)] = values
    return found
