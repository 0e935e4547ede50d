"""What a command costs as people meet it: a whole process from the shell, as a ratio to `python -c "import torch"`.

    python benchmarks/start.py                  # every command, median of 5
    python benchmarks/start.py --only list,run  # those whose name holds one of the words
    python benchmarks/start.py --write          # and benchmarks/results/start.md

Each measurement stands beside one of its rival (the import of torch, where nothing else is named) made just before it,
and the ratio is the median of those pairs, so that other work on the machine disturbs it least. Beside the ratio of
wall times is that of CPU times, processes that the command starts included. Everything happens in a folder of its own
with a cache of its own: `warm` commands have run once before, `cold` ones find the cache empty. Python keeps the
bytecode of this package as that of any other, which installing it does, whatever PYTHONDONTWRITEBYTECODE says here.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from optbench.experiment.provenance import package_version, processor
from optbench.launch.base import available_cores

OPTBENCH = (sys.executable, "-m", "optbench")
TORCH = (sys.executable, "-c", "import torch")
SMALL = ("optimizer=sgd,adam", "seeds=5", "trainer.start=random", "trainer.steps=100", "--name", "small")
MANY = ("optimizer=adam", "seeds=10000", "trainer.start=random", "trainer.steps=500", "--name", "many", "--force")


@dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        name: in the table.
        command: what is run.
        target: the ratio that is wanted; None: none was set.
        cold: whether the cache is emptied before each run.
        rival: what it is divided by.
        code: the exit code that it ends with.
    """

    name: str
    command: Sequence[str]
    target: float | None = None
    cold: bool = False
    rival: Sequence[str] = TORCH
    code: int = 0


def optbench(name: str, *words: str, target: float | None = None, cold: bool = False, code: int = 0) -> Case:
    """A case of the command line."""
    return Case(name, (*OPTBENCH, *words), target, cold, code=code)


CASES = (
    optbench("--help", "--help", target=0.25),
    optbench("list", "list", target=0.25),
    optbench("list optimizer", "list", "optimizer", target=0.25),
    optbench("compare, 10 runs", "compare", "outputs/sweeps/small", target=0.25),
    optbench("predict --help", "predict", "--help", target=0.25),
    optbench("reproduce --list", "reproduce", "--list", target=0.25),
    optbench("a wrong word", "run", "optimizer=adamm", code=2),
    optbench("plot, 10 curves", "plot", "outputs/sweeps/small"),
    optbench("doctor", "doctor", target=1.5),
    optbench("run, warm", "run", "optimizer=rmsprop", "--force", target=0.6),
    optbench("run, cold", "run", "optimizer=rmsprop", "--force", target=1.6, cold=True),
    optbench("classify-critical", "classify-critical", "--fn", "rosenbrock"),
    optbench("sweep, the default", "sweep", "--force"),
    optbench("sweep, 10,000 runs of 500 steps", "sweep", *MANY, target=2.0),
    optbench("basins", "basins"),
    optbench("sensitivity", "sensitivity"),
)


@dataclass
class Cost:
    """Seconds of one process and what it started: on the clock, and of CPUs."""

    wall: float
    cpu: float


def timed(command: Sequence[str], folder: Path, cache: Path, code: int = 0) -> Cost:
    """Runs a command to its end. Raises RuntimeError for another exit code."""
    env = {**os.environ, "OPTBENCH_CACHE": str(cache)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != code:
            said.seek(0)
            raise RuntimeError(f"{command} ended with {process.returncode}: {said.read().decode()[-2000:]}")
    return Cost(wall, used.ru_utime + used.ru_stime)


@dataclass
class Row:
    """One line of the table: medians of seconds, and of the ratios of pairs."""

    case: Case
    seconds: float
    rival: float
    wall: float
    cpu: float


def measure(case: Case, folder: Path, cache: Path, times: int) -> Row:
    """Runs a case and its rival in turn."""
    timed(case.command, folder, cache, case.code)  # for the cache, and for bytecode
    pairs = []
    for _ in range(times):
        rival = timed(case.rival, folder, cache)
        if case.cold:
            shutil.rmtree(cache, ignore_errors=True)
        pairs.append((timed(case.command, folder, cache, case.code), rival))

    def median(figure: Callable[[Cost, Cost], float]) -> float:
        return statistics.median(figure(own, rival) for own, rival in pairs)

    return Row(
        case,
        median(lambda own, rival: own.wall),
        median(lambda own, rival: rival.wall),
        median(lambda own, rival: own.wall / rival.wall),
        median(lambda own, rival: own.cpu / rival.cpu),
    )


def report(rows: Sequence[Row], times: int) -> str:
    """The table, as Markdown."""
    versions = f"Python {platform.python_version()}, torch {package_version('torch')}"
    lines = [
        f"{processor()}, {available_cores()} cores, load {os.getloadavg()[0]:.1f}, {versions}; medians of {times}",
        "",
        "| command | ratio | wanted | ratio of CPU time | seconds | rival, s |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        wanted = "" if row.case.target is None else f"<= {row.case.target:g}"
        missed = row.case.target is not None and row.wall > row.case.target
        ratio = f"**{row.wall:.2f}**" if missed else f"{row.wall:.2f}"
        lines.append(f"| {row.case.name} | {ratio} | {wanted} | {row.cpu:.2f} | {row.seconds:.2f} | {row.rival:.2f} |")
    lines += ["", 'The rival is `python -c "import torch"` where nothing else is named; bold: more than was wanted.']
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="measurements of each command")
    parser.add_argument("--only", default="", help="parts of names, comma-separated")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/start.md")
    given = parser.parse_args()
    chosen = [case for case in CASES if any(word in case.name for word in given.only.split(","))]
    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place) / "work", Path(place) / "cache"
        folder.mkdir()
        timed((*OPTBENCH, "sweep", *SMALL), folder, cache)
        rows = []
        for case in chosen:
            rows.append(measure(case, folder, cache, given.times))
            print(f"{case.name}: {rows[-1].wall:.2f}, CPU {rows[-1].cpu:.2f}", file=sys.stderr)
        text = report(rows, given.times)
    print(text)
    if given.write:
        (Path(__file__).parent / "results" / "start.md").write_text(text)


if __name__ == "__main__":
    main()
