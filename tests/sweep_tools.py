"""Sweeps in the process of the test, and what they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optbench.experiment import Stop, plan_sweep
from optbench.experiment.plan import Sweep
from optbench.launch import launcher
from optbench.launch.sweep import Options, Outcome, SweepWatcher, run_sweep
from optbench.records import Run, read


@dataclass
class Notes(SweepWatcher):
    """A watcher that writes down what it is told."""

    before: int = 0
    batches: list[int] = field(default_factory=list)
    ended: int = 0
    finishes: list[Run] = field(default_factory=list)

    def already(self, done: int) -> None:
        self.before += done

    def batch(self, label: str, rows: int) -> None:
        self.batches.append(rows)

    def rows(self, ended: int) -> None:
        self.ended += ended

    def finished(self, run: Run) -> None:
        self.finishes.append(run)


def swept(
    out: Path, overrides: Sequence[str], stop: Stop | None = None, watcher: Notes | None = None, **options: Any
) -> tuple[Sweep, Outcome]:
    """A sweep in this process."""
    plan = plan_sweep(overrides, out=out, name="sweep")
    local = launcher({"name": "local", "jobs": 0, "threads": 1})
    options = {"engine": "eager", **options}
    return plan, run_sweep(plan, local, stop or Stop(), watcher or Notes(), Options(**options))


def by_id(folder: Path) -> dict[str, Run]:
    """Every run in a folder; none of them twice, nothing unreadable."""
    table = read([folder])
    runs, bad = table.runs(), table.unreadable
    found = {run.run_id: run for run in runs}
    assert not bad
    assert not [note for note in table.notes if "more than once" in note]
    assert len(found) == len(runs)
    return found
