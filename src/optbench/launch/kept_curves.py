"""Which runs of a batch keep their curves: chosen and recorded after the batch, since only then the best is known.

A curve a row of a large batch would be gigabytes, so some rows keep theirs: in turns of each configuration, and of a
configuration the best seed first, then the median one, then the others by rank; a figure so has every configuration of
the table as long as there are curves for it. The chosen rows are run once more with their curves; a row that does not
come to the same end as before keeps none. The same fills what is missing of a sweep that is done: a curve that was
deleted, or more curves than before.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.experiment import Planned, Stop
from optbench.launch.batches import Rows, batch_of, batches, startable
from optbench.launch.row_columns import curve_columns
from optbench.records import Status
from optbench.records.files import curve_ids
from optbench.records.tables import CURVES, add_curves, recorded_ends, setting

if TYPE_CHECKING:
    from optbench.descend import BatchResult

log = logging.getLogger(__name__)

_TOLERANCE = 1e-9
"""Relative: rows are the same to rounding in whichever batch they are."""


@dataclass(frozen=True)
class End:
    """How a row ended: its number of updates, and its last loss, None where that is not a finite number."""

    steps: int
    loss: float | None

    def same(self, other: End) -> bool:
        """Whether both are the same end, but for rounding."""
        if self.steps != other.steps or (self.loss is None) != (other.loss is None):
            return False
        if self.loss is None or other.loss is None:
            return True
        return math.isclose(self.loss, other.loss, rel_tol=_TOLERANCE, abs_tol=1e-300)


def chosen(rows: Rows, ends: Sequence[End], count: int) -> list[int]:
    """Which rows keep their curve, at most `count`.

    Args:
        rows: the batch.
        ends: of each row.
        count: how many.
    """
    keys = [key for key in rows.varying if key != "seed"]
    members: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(rows.planned):
        members[repr([setting(item.config, key) for key in keys])].append(i)
    losses = [math.inf if end.loss is None else end.loss for end in ends]
    ranked = [sorted(own, key=lambda i: losses[i]) for own in members.values()]
    ranked.sort(key=lambda own: losses[own[(len(own) - 1) // 2]])  # the best configuration first, as in the table
    turns = []
    for own in ranked:
        middle = (len(own) - 1) // 2
        turns.append(list(dict.fromkeys([own[0], own[middle], *own])))
    order = [own[turn] for turn in range(max(map(len, turns), default=0)) for own in turns if turn < len(own)]
    return order[:count]


def end_of(result: BatchResult, row: int) -> End:
    """How a row of a result ended."""
    loss = float(result.final_loss[row])
    return End(int(result.steps[row]), loss if math.isfinite(loss) else None)


def curves_of(rows: Rows, ends: Sequence[End], stop: Stop, threads: int, backend: str) -> dict[str, Any]:
    """Columns of the `curves` table: the rows run once more, those that come to the same end as before.

    Args:
        rows: the rows.
        ends: how each ended before.
        stop, threads, backend: as run_rows has them.
    """
    from optbench.descend import descend

    result = descend(batch_of(rows, stop, threads=threads, backend=backend, recorded=len(rows.planned)))
    ended = [i for i in range(len(rows.planned)) if result.status(i) is not Status.INTERRUPTED]
    same = {i for i in ended if end_of(result, i).same(ends[i])}
    if len(same) < len(ended):
        first = next(rows.planned[i].label for i in ended if i not in same)
        count = len(ended) - len(same)
        log.warning("%d rows keep no curve: they came to another end when run again, %s ...", count, first)
    return curve_columns(rows, result, same)


def fill(planned: Sequence[Planned], folder: Path, count: int, stop: Stop, threads: int, backend: str) -> int:
    """Records the curves that the rows of a sweep should have and do not have; how many are new.

    Args:
        planned: the runs of the sweep.
        folder: of the sweep.
        count: curves of each batch.
        stop, threads, backend: as run_rows has them.
    """
    ends = {run_id: End(*end) for run_id, end in recorded_ends(folder).items()}
    known = set(curve_ids(folder / CURVES))
    new = 0
    for rows in batches([item for item in planned if item.run_id in ends], 1, backend != "eager").rows:
        own = [ends[item.run_id] for item in rows.planned]
        which = [i for i in chosen(rows, own, count) if rows.planned[i].run_id not in known]
        if which and not stop.requested:
            some, _ = startable(rows.some(which))
            columns = curves_of(some, [ends[item.run_id] for item in some.planned], stop, threads, backend)
            add_curves(folder, columns)
            new += len(set(columns["run_id"]))
    return new
