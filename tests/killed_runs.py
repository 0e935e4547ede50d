"""Kills runs: a process of its own that forks runs and ends them with SIGKILL. Started by test_experiment.

    python killed_runs.py FOLDER KILLS OVERRIDE...

runs the overrides in FOLDER/killed again and again, each time killed as the next of KILLS says, and keeps a copy of
FOLDER/killed after each one as FOLDER/after-0 ... Then it lets the run finish. A kill is `t0.25`, so many seconds after
the start, or `r3` and `f3`, just before the third rename of a file into its place or the third fsync. At the end it
stops a run of another seed while it is running, starts the same one beside it, and prints the second one's error.

A fork costs nothing where an interpreter that imports torch costs seconds, and it needs a process without threads.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import optbench
from optbench.errors import OptbenchError
from optbench.experiment import recorder


def child(overrides: list[str], out: Path, kill: str) -> None:
    """Runs, in a fork; its exit code says how it ended."""
    if kill[0] in "rf":
        die_before("replace" if kill[0] == "r" else "fsync", int(kill[1:]))
    try:
        run = optbench.run(*overrides, out=out)
        os._exit(0 if run.status == "completed" else 1)
    except OptbenchError as error:
        print(error.message, flush=True)
        os._exit(error.exit_code)
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(70)


def die_before(name: str, count: int) -> None:
    """Kills this process just before it calls os.<name> for the count-th time."""
    original: Callable[..., Any] = getattr(os, name)
    left = [count]

    def call(*args: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    setattr(os, name, call)


def fork(overrides: list[str], out: Path, kill: str = " ") -> int:
    pid = os.fork()
    if pid == 0:
        child(overrides, out, kill)
    return pid


def code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def side_by_side(overrides: list[str], out: Path) -> None:
    """Stops a run while it writes, starts the same one beside it, lets the first one finish."""
    first = fork(overrides, out)
    while not list(out.rglob("metrics.csv")):
        time.sleep(0.005)
    os.kill(first, signal.SIGSTOP)
    second = code(fork(overrides, out))
    os.kill(first, signal.SIGCONT)
    print(f"codes {code(first)} {second}")


def main(folder: Path, kills: list[str], overrides: list[str]) -> None:
    torch.set_num_threads(1)
    recorder.LEAST_SECONDS, recorder.LARGEST_SHARE = 0.0, 1.0  # runs of a second are to die between checkpoints too
    optbench.run(*overrides, "trainer.epochs=1", out=folder / "first")  # imports what a first run imports
    out = folder / "killed"
    for i, kill in enumerate(kills):
        pid = fork(overrides, out, kill)
        if kill[0] == "t":
            time.sleep(float(kill[1:]))
            os.kill(pid, signal.SIGKILL)
        print(f"end {code(pid)}", flush=True)
        if out.exists():
            shutil.copytree(out, folder / f"after-{i}")
    print(f"last {code(fork(overrides, out))}", flush=True)
    side_by_side([*overrides, "seed=1"], folder / "beside")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:])
