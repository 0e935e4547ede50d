"""What it costs to have runs executed elsewhere: the driver's share of a run, and the start of a worker.

    python benchmarks/launch.py            # local and, where it is installed, Ray: 1,000 runs that do nothing
    python benchmarks/launch.py --write    # and benchmarks/results/launch.md

The driver's cost is its CPU time for the whole launch divided by the runs; the wall time counts from the first record
to the last, so that the start of workers stands apart. A worker's start and the cost of a step on a surface are the two
constants of launch.local.jobs_that_pay.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optbench.experiment import Display, Planned, Stop, plan_run, run_and_record
from optbench.experiment.provenance import processor
from optbench.launch import Launcher, Nobody
from optbench.launch.base import available_cores
from optbench.launch.local import LocalLauncher
from optbench.launch.settings import LocalSettings, RaySettings
from optbench.records import Run


def nothing(planned: Planned, stop: Stop, display: Display | None, force: bool, threads: int | None) -> Run:
    """Stands in for experiment.run_and_record: a record out of thin air."""
    summary = {"run_id": planned.run_id, "status": "completed", "reason": "", "provenance": {"pid": os.getpid()}}
    return Run(summary, planned.folder)


@dataclass
class Row:
    """One line of the table; times in milliseconds, starts in seconds."""

    launcher: str
    runs: int
    driver: float
    wall: float
    start: float


def measure(name: str, launcher: Launcher, planned: list[Planned]) -> Row:
    """Launches the runs once."""
    stamps = []
    cpu, began = time.process_time(), time.monotonic()
    for _ in launcher.launch(planned, Stop(), Nobody()):
        stamps.append(time.monotonic())
    cpu, n = time.process_time() - cpu, len(planned)
    assert len(stamps) == n
    return Row(name, n, 1e3 * cpu / n, 1e3 * (stamps[-1] - stamps[0]) / (n - 1), stamps[0] - began)


def launchers(work: Any) -> Iterator[tuple[str, Launcher]]:
    cores = available_cores()
    yield "this process", LocalLauncher(LocalSettings(jobs=0), work)
    yield f"local, {cores} workers", LocalLauncher(LocalSettings(jobs=cores), work)
    if importlib.util.find_spec("ray"):
        from optbench.launch.ray_cluster import RayLauncher

        yield f"Ray, {cores} CPUs", RayLauncher(RaySettings(), work)


def constants(folder: Path) -> tuple[float, float]:
    """CPU seconds of a worker that makes one run of one step, and of a step on a surface.

    CPU seconds, since both are bound by it and other work on the machine does not disturb it.
    """
    steps = 5000
    overrides = ["model=rosenbrock", "optimizer=adam", "trainer.start=random", f"trainer.steps={steps}"]
    run_and_record(plan_run([*overrides, "seed=99"], (), folder), Stop())  # imports
    per_step, starts = [], []
    for seed in range(3):
        planned = plan_run([*overrides, f"seed={seed}"], (), folder)
        began = time.process_time()
        run_and_record(planned, Stop())
        per_step.append((time.process_time() - began) / steps)
        one = plan_run([*overrides, "trainer.steps=1", f"seed={seed}"], (), folder)
        before = _children_seconds()
        list(LocalLauncher(LocalSettings(jobs=1)).launch([one], Stop(), Nobody()))
        starts.append(_children_seconds() - before)
    return statistics.median(starts), statistics.median(per_step)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(rows: list[Row], start: float, step: float) -> str:
    """The table, as Markdown."""
    lines = [
        f"{processor()}, {available_cores()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}",
        "",
        "| launcher | runs | driver, ms CPU a run | wall, ms a run | first record after, s |",
        "|---|---|---|---|---|",
        *(f"| {r.launcher} | {r.runs:,} | {r.driver:.2f} | {r.wall:.2f} | {r.start:.1f} |" for r in rows),
        "",
        f"CPU time of a worker that makes one run of one step: {start:.1f} s; "
        f"of a step on a surface, recorded: {1e3 * step:.2f} ms.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/launch.md")
    given = parser.parse_args()
    import launch  # this file: workers import the stand-in by name

    with tempfile.TemporaryDirectory() as folder:
        one = plan_run(["model=rosenbrock"], (), Path(folder))
        planned = [replace(one, run_id=f"{i:012x}", folder=Path(folder) / str(i)) for i in range(given.runs)]
        rows = [measure(name, each, planned) for name, each in launchers(launch.nothing)]
        text = report(rows, *constants(Path(folder)))
    print(text)
    if given.write:
        (Path(__file__).parent / "results" / "launch.md").write_text(text)


if __name__ == "__main__":
    main()
