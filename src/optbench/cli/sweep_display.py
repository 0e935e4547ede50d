"""The live table of a sweep: done, running, failed, rate, time left, and the best run of each optimizer so far."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from optbench.cli.pieces import Piece, facts
from optbench.launch.sweep import SweepWatcher
from optbench.protocol import around_name
from optbench.records.chosen import ACCURACY, criteria
from optbench.records.metrics import COLUMN, first_of
from optbench.statistics import STATISTICS, has_result

if TYPE_CHECKING:
    from rich.console import Group

    from optbench.experiment import Planned
    from optbench.records import Run

_SHOWN = 8
_PAUSE_SECONDS = 180.0
"""Time between two lines that say what runs are waiting for."""


_STAGE_SECONDS = 30.0
"""Between two lines that say how far a batch is."""


def left_after(seconds: float, share: float) -> str:
    """How long the rest will take when a share of the work has taken so long; nothing where that says little."""
    if not 0.0 < share <= 1.0:
        return ""
    from optbench.launch.outlook import duration

    return f", about {duration(seconds * (1.0 - share) / share)} left"


class PlainSweep(SweepWatcher):
    """When nobody watches: what went wrong, one line each, and now and then what runs wait for; on standard error."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet, self._said = quiet, -math.inf
        self._began = self._staged = time.monotonic()

    def retried(self, planned: Planned, why: str) -> None:
        print(f"retried: {planned.folder.name}: {why}", file=sys.stderr)

    def finished(self, run: Run) -> None:
        if run.status in ("failed", "skipped"):
            print(f"{run.status}: {run.path.name if run.path else run.run_id}: {run.reason}", file=sys.stderr)

    def waiting(self, text: str) -> None:
        if text and time.monotonic() - self._said >= _PAUSE_SECONDS:
            self._said = time.monotonic()
            print(f"waiting: {text}", file=sys.stderr)

    def batch(self, label: str, rows: int) -> None:
        self._began = self._staged = time.monotonic()

    def stage(self, words: str, share: float) -> None:
        now = time.monotonic()
        if not self._quiet and now - self._staged >= _STAGE_SECONDS:
            self._staged = now
            print(f"{words}{left_after(now - self._began, share)}", file=sys.stderr)

    def note(self, text: str) -> None:
        print(f"note: {text}", file=sys.stderr)


class LiveSweep(SweepWatcher):
    """A bar over all runs, a line for each running one, a table of the best; on standard error, gone at the end.

    Args:
        count: number of runs; None when it is not known yet.
        label: of the bar.
        checkpoint: whose accuracy networks are ranked by, as in `compare`.
    """

    def __init__(self, count: int | None, label: str = "all runs", checkpoint: str = "best") -> None:
        from rich.console import Console
        from rich.live import Live

        from optbench.cli.progress_line import lines_on

        console = Console(stderr=True)
        self._progress = lines_on(console)
        self._all = self._progress.add_task(label, total=count, pieces=[Piece("starting")], done=0)
        self._running: dict[str, Any] = {}
        self._best: dict[str, tuple[tuple[float, ...], str, str]] = {}
        self._checkpoint = checkpoint
        self._heading = "final loss"
        self._failed, self._done, self._began = 0, 0, time.monotonic()
        self._waiting, self._batch_began = "", time.monotonic()
        self._live = Live(get_renderable=self._render, console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._live.__exit__(*exc)

    def _render(self) -> Group:
        from rich.console import Group
        from rich.table import Table

        if not self._best:
            return Group(self._progress)
        table = Table(box=None, pad_edge=False)
        for heading, least in (("best so far", 11), (self._heading, 10), ("run", None)):
            table.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=least)
        for name, (_, value, label) in sorted(self._best.items(), key=lambda item: item[1][0])[:_SHOWN]:
            table.add_row(name, value, label)
        return Group(self._progress, table)

    def started(self, planned: Planned, where: str) -> None:
        if planned.run_id not in self._running:
            self._running[planned.run_id] = self._progress.add_task(planned.label, total=None, pieces=[Piece(where, 1)])
            self._count(0)

    def loading(self, planned: Planned, done: int, total: int) -> None:
        self._update(planned, done, total, [Piece("decoding images", 1)])

    def progress(self, planned: Planned, step: int, total: int, row: Mapping[str, Any]) -> None:
        self._update(planned, step, total, facts(row))

    def _update(self, planned: Planned, done: int, total: int, pieces: Sequence[Piece]) -> None:
        task = self._running.get(planned.run_id)
        if task is not None:
            self._progress.update(task, completed=done, total=total, pieces=pieces)

    def retried(self, planned: Planned, why: str) -> None:
        self._leave(planned.run_id)
        self._live.console.print(f"retried: {planned.folder.name}: {why}", markup=False, soft_wrap=True)

    def _leave(self, run_id: str) -> None:
        """A run is no longer running, or not where it was."""
        task = self._running.pop(run_id, None)
        if task is not None:
            self._progress.remove_task(task)

    def finished(self, run: Run) -> None:
        self._leave(run.run_id)
        if run.status in ("failed", "skipped"):
            self._failed += 1
            name = run.path.name if run.path else run.run_id
            self._live.console.print(f"{run.status}: {name}: {run.reason}", markup=False, soft_wrap=True)
        self._rank(run)
        self._count(1)

    def _rank(self, run: Run) -> None:
        """Takes a run into the table of the best where it is better than its optimizer's best, by `compare`'s rule."""
        metrics = [run.summary.get(COLUMN)]
        STATISTICS.learn(metrics)
        names = criteria(self._checkpoint, first_of(metrics))
        known = {name: value for name in names if (value := run.summary.get(name)) is not None}
        if not has_result(run.status) or not known:
            return
        rank = tuple(-STATISTICS[name].direction * known[name] if name in known else math.inf for name in names)
        optimizer = around_name(run.summary)
        if optimizer in self._best and rank >= self._best[optimizer][0]:
            return
        name, first = next(iter(known.items()))
        if name != names[-1]:
            self._heading = STATISTICS[name].title.partition(",")[0]
        value = f"{first:.1%}" if name in ACCURACY.values() else f"{first:.4g}"
        self._best[optimizer] = (rank, value, run.path.name if run.path else run.run_id)

    def already(self, done: int) -> None:
        self._progress.update(self._all, completed=done)

    def waiting(self, text: str) -> None:
        if text != self._waiting:
            self._waiting = text
            self._count(0)

    def note(self, text: str) -> None:
        self._live.console.print(f"note: {text}", markup=False, soft_wrap=True)

    def batch(self, label: str, rows: int) -> None:
        self._batch_began = time.monotonic()
        self._progress.update(self._all, description=f"{label}, {rows} rows")

    def stage(self, words: str, share: float) -> None:
        left = left_after(time.monotonic() - self._batch_began, share)
        self._progress.update(self._all, pieces=[Piece(words.partition(": ")[2], 1), Piece(left.removeprefix(", "))])

    def rows(self, ended: int) -> None:
        self._count(ended)

    def _count(self, runs: int) -> None:
        self._done += runs
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        pieces = [Piece(f"{len(self._running)} running", 2)]
        pieces += [Piece(f"{self._failed} failed or skipped")] if self._failed else []
        pieces += [Piece(self._waiting, 1) if self._waiting else Piece(f"{rate:.3g} runs/s" if self._done else "", 4)]
        self._progress.update(self._all, advance=runs, pieces=pieces, done=self._done)
