"""What it costs to have runs executed elsewhere: the driver's share of a run, and the start of a worker.

    python benchmarks/launch.py            # local and, where it is installed, Ray: 1,000 runs that do nothing
    python benchmarks/launch.py --write    # and benchmarks/results/launch.md

The driver's cost is its CPU time for the whole launch divided by the runs; the wall time counts from the first record
to the last, so that the start of workers stands apart. What a worker imports and what a step on a surface costs are
the constants of launch.local.jobs_that_pay.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from optbench.experiment import Display, Planned, Stop, plan_run, run_and_record
from optbench.experiment.provenance import processor
from optbench.launch import Launcher, Nobody, base
from optbench.launch.base import available_cores
from optbench.launch.local import LocalLauncher
from optbench.launch.nursery import PRELOADED
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


def constants(folder: Path) -> tuple[float, float, float]:
    """CPU seconds of what a worker imports, of a step on a surface by the training loop, and of one as a program.

    CPU seconds, since all are bound by it and other work on the machine does not disturb it.
    """
    steps = 5000
    words = ["model=rosenbrock", "optimizer=adam", "trainer.start=random", f"trainer.steps={steps}"]

    def a_step(engine: str, seed: int) -> float:
        planned = replace(plan_run([*words, f"seed={seed}"], (), folder / engine), engine=engine)
        began = time.process_time()
        run_and_record(planned, Stop())
        return (time.process_time() - began) / steps

    def a_start() -> float:
        before = _children_seconds()
        subprocess.run([sys.executable, "-c", f"import {PRELOADED}"], check=True)
        return _children_seconds() - before

    for engine in ("loop", "auto"):
        a_step(engine, 99)  # imports
    by_loop, by_program = (statistics.median(a_step(engine, seed) for seed in range(3)) for engine in ("loop", "auto"))
    return statistics.median(a_start() for _ in range(3)), by_loop, by_program


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(rows: list[Row], start: float, step: float, program: float) -> str:
    """The table, as Markdown."""
    lines = [
        f"{processor()}, {available_cores()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}",
        "",
        "| launcher | runs | driver, ms CPU a run | wall, ms a run | first record after, s |",
        "|---|---|---|---|---|",
        *(f"| {r.launcher} | {r.runs:,} | {r.driver:.2f} | {r.wall:.2f} | {r.start:.1f} |" for r in rows),
        "",
        f"CPU time of what a worker imports: {start:.1f} s; of a step on a surface, recorded: "
        f"{1e3 * step:.2f} ms by the training loop, {1e3 * program:.3f} ms as a program.",
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
        with patch.object(base, "unheld", return_value=None):  # the stand-in records nothing that could be looked for
            rows = [measure(name, each, planned) for name, each in launchers(launch.nothing)]
        text = report(rows, *constants(Path(folder)))
    print(text)
    if given.write:
        (Path(__file__).parent / "results" / "launch.md").write_text(text)


if __name__ == "__main__":
    main()
