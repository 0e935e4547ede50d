"""Batches of runs on one surface, executed as the rows of one array program and recorded as tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from optbench.experiment import Stop
from optbench.experiment.programs import landmarks_of
from optbench.landmarks.columns import arrivals_by, arrivals_of
from optbench.launch.batches import Rows, batch_of, problem_of
from optbench.launch.kept_curves import chosen, curves_of, end_of
from optbench.launch.row_columns import curve_columns, run_columns, skipped_columns
from optbench.records import Status
from optbench.records.tables import add_rows, remove_folders

if TYPE_CHECKING:
    from optbench.landmarks.arrivals import Arrival

RECORDED = 100
"""How many runs of a batch keep their whole curve unless asked otherwise: five settings of three optimizers with five
seeds, and more. A hundred curves of 1,000 updates are 4 MB and take no time that shows; a million are 40 GB."""


def run_rows(
    rows: Rows,
    stop: Stop,
    on_rows: Callable[[int], None] = lambda n: None,
    *,
    threads: int = 1,
    backend: str = "auto",
    recorded: int = RECORDED,
    on_stage: Callable[[str, float], None] = lambda words, share: None,
) -> dict[str, int]:
    """Executes a batch and adds its rows to the sweep's tables; a folder that a run had before is replaced by its row.

    Args:
        rows: the batch.
        stop: see experiment.interruptible; rows that did not end by then are left to do.
        on_rows: told how many rows have ended since it was told last.
        threads: of the fused engine.
        backend: "auto", "eager" or "fused".
        recorded: how many rows keep their curve, see kept_curves.
        on_stage: told a few times a second what is being done, and which share lies behind.

    Returns:
        How many rows ended with each status.

    Raises:
        UserError, IncompatibleError: a configuration that cannot start; nothing was written.
    """
    from optbench.descend import descend

    all_at_once = len(rows.planned) <= recorded
    result = descend(batch_of(rows, stop, on_rows, threads, backend, recorded if all_at_once else 0, on_stage))
    ended = [i for i in range(len(rows.planned)) if result.status(i) is not Status.INTERRUPTED]
    if ended:
        statuses = [result.status(i) for i in ended]
        arrivals = _arrivals(rows, statuses, result.x[ended])
        runs = run_columns(rows, result, ended, arrivals, threads)
        if all_at_once or not recorded:
            curves = curve_columns(rows, result, set(ended))
        else:
            ends, whole = [end_of(result, i) for i in ended], rows.some(ended)
            which = chosen(whole, ends, recorded)
            curves = curves_of(whole.some(which), [ends[i] for i in which], stop, threads, backend)
        add_rows(rows.planned[0].folder.parent, runs, curves)
        remove_folders(rows.planned[i].folder for i in ended)
    counts: dict[str, int] = defaultdict(int)
    for i in ended:
        counts[result.status(i).value] += 1
    return dict(counts)


def _arrivals(rows: Rows, statuses: Sequence[Status], x: NDArray[np.float64]) -> list[Arrival]:
    """Where the rows stopped, (rows, dim): what is kept of the surface says it without torch."""
    config = rows.planned[0].config
    if rows.known is None:
        return arrivals_of(config, problem_of(rows), statuses, x)
    return arrivals_by(lambda: landmarks_of(config), rows.surface["name"], rows.dim, statuses, x)


def skip_rows(rows: Rows, reason: str) -> None:
    """Records a batch whose parts do not fit together; a folder that a run had before is replaced by its row."""
    add_rows(rows.planned[0].folder.parent, skipped_columns(rows, reason), {"run_id": []})
    remove_folders(item.folder for item in rows.planned)
