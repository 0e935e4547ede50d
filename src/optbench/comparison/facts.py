"""What is known of a run, or of the runs that have it in common: its configuration, in dotted keys."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.records import NOT_IDENTITY, Run, RunTable, flatten
from optbench.records.columns import Column, canonical, combined, first_of, is_shown
from optbench.records.vocabulary import settings_as_now, summary_as_now

if TYPE_CHECKING:
    from optbench.records.columns import Ints

PROBLEM_COLUMNS = ("model", "data", "loss_name", "data_fingerprint")
_OF_PROBLEM = ("model.", "data.", "loss.", "sources.model", "sources.data", "sources.loss")
PARTS = ("optimizer", "scheduler")
WRAP = "wrap"
"""What is around the optimizer, where there is something."""
FOLD = "data.fold"


@dataclass(frozen=True)
class Facts:
    """What is known of a run, or of runs that have it in common.

    Attributes:
        values: summary columns and dotted configuration keys, canonical; None is the same as absent.
    """

    values: Mapping[str, Any]

    @functools.cached_property
    def settings(self) -> Mapping[str, Any]:
        """The dotted configuration keys that affect the numbers, without the fold: folds repeat a run, as seeds do."""
        left_out = NOT_IDENTITY | {FOLD}
        return {k: v for k, v in self.values.items() if "." in k and k not in left_out and v is not None}

    @functools.cached_property
    def problem_settings(self) -> Mapping[str, Any]:
        """The settings of model, data and loss."""
        return {k: v for k, v in self.settings.items() if k.startswith(_OF_PROBLEM)}

    @functools.cached_property
    def configuration(self) -> Mapping[str, Any]:
        """All other settings, and the name of what is around the optimizer."""
        around = {WRAP: self.values[WRAP]} if self.values.get(WRAP) is not None else {}
        return {k: v for k, v in self.settings.items() if not k.startswith(_OF_PROBLEM)} | around

    @functools.cached_property
    def problem_key(self) -> Hashable:
        """What makes two runs runs on the same problem."""
        return (*map(self.values.get, PROBLEM_COLUMNS), *sorted(self.problem_settings.items()))

    @functools.cached_property
    def configuration_key(self) -> Hashable:
        """What makes two runs repetitions of each other, up to the seed."""
        return (*map(self.values.get, PARTS), *sorted(self.configuration.items()))


def facts_of(run: Run) -> Facts:
    """What is known of a run. Raises RecordError where the folder's configuration cannot be read."""
    settings = {} if run.path is None else settings_as_now(flatten(run.config))
    summary = run.summary if run.path is None else summary_as_now(run.summary, settings)
    values = {k: canonical(v) for k, v in summary.items() if not isinstance(v, Mapping)}
    if run.path is not None:
        values.update((k, canonical(v)) for k, v in settings.items() if "." in k)
        values["path"] = str(run.path)
    return Facts({k: v for k, v in values.items() if is_shown(k)})


def alike(table: RunTable, more: Sequence[str] = ()) -> tuple[Ints, list[Facts], list[int]]:
    """The runs by what they were: kinds of runs that agree in all settings, the parts and the columns of `more`.

    Returns:
        The number of each run's kind, (n,), by first appearance; what the first run of each kind tells; and the kinds
        in the order of last appearance.
    """
    wanted = {*PROBLEM_COLUMNS, *PARTS, WRAP, *more}
    names = [name for name in table.names if "." in name or name in wanted]
    columns = {name: table.column(name) for name in names}
    orders = table.orders()  # the order of settings shows in names
    codes = combined([codes for codes, values in (orders, *columns.values()) if len(values) > 1], len(table))
    first = first_of(codes)
    by_first = np.argsort(first, kind="stable")
    codes, first = np.argsort(by_first, kind="stable")[codes], first[by_first]
    last = len(codes) - 1 - first_of(codes[::-1])
    return codes, _told(orders, columns, first), np.argsort(last, kind="stable").tolist()


def _told(orders: Column, columns: Mapping[str, Column], rows: Ints) -> list[Facts]:
    cells = {name: [values[code] for code in codes[rows].tolist()] for name, (codes, values) in columns.items()}
    shown = [[name for name in order if name in cells] for order in orders.values]
    kinds = enumerate(orders.codes[rows].tolist())
    return [Facts({name: cells[name][i] for name in shown[code]}) for i, code in kinds]
