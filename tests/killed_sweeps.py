"""Kills sweeps, and lets two of them meet: a process of its own that forks drivers. Started by test_sweep.

    python killed_sweeps.py FOLDER KILLS OVERRIDE...

For each of KILLS it starts the sweep in a fresh FOLDER/<kill>, killed as it says, prints what can be read there, and
lets the same sweep go on: `r1` and `f2`, just before the first rename and the second fsync; `b`, in the middle of a
batch; `s3`, when three single runs have ended. Last, it starts the sweep three times at once, in FOLDER/both, where the
runs of two are rows and of the third are not. Every line that it prints is one JSON object.

A fork costs nothing where an interpreter that imports torch costs seconds, and it needs a process without threads.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from killed_runs import code, die_before

from optbench.comparison import compare
from optbench.experiment import Stop, plan_sweep
from optbench.launch import Nobody, launcher
from optbench.launch.sweep import Options, run_sweep
from optbench.records import Run, read


class Killer(Nobody):
    """A watcher that kills its process in mid-batch, or when `singles` single runs have ended."""

    def __init__(self, in_batch: bool = False, singles: int = 0) -> None:
        self.in_batch, self.singles = in_batch, singles

    def already(self, done: int) -> None:
        pass

    def batch(self, label: str, rows: int) -> None:
        pass

    def rows(self, ended: int) -> None:
        if self.in_batch:
            os.kill(os.getpid(), signal.SIGKILL)

    def finished(self, run: Run) -> None:
        self.singles -= 1
        if self.singles == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def drive(out: Path, overrides: Sequence[str], watcher: Killer, engine: str) -> dict[str, int]:
    plan = plan_sweep(overrides, out=out, name="sweep")
    options = Options(engine=engine)
    return dict(run_sweep(plan, launcher({"name": "local", "jobs": 0}), Stop(), watcher, options).by_status)


def fork(out: Path, overrides: Sequence[str], kill: str = " ", engine: str = "eager") -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        if kill[0] in "rf":
            die_before("replace" if kill[0] == "r" else "fsync", int(kill[1:]))
        drive(out, overrides, Killer(kill == "b", int(kill[1:]) if kill[0] == "s" else 0), engine)
        os._exit(0)
    except BaseException as error:
        print(json.dumps({"error": repr(error)}), flush=True)
        os._exit(70)


def seen(out: Path) -> dict[str, Any]:
    """What a reader finds."""
    if not list(out.glob("sweep/*")):
        return {"runs": [], "unreadable": [], "left": []}
    table = read([out])
    runs, bad = table.runs(), table.unreadable
    left = [p.name for p in out.rglob("*.tmp")]
    found = {"runs": [[r.run_id, r.status] for r in runs], "unreadable": [str(b.path) for b in bad], "left": left}
    return found | {"compared": sum(len(g.rows) for g in compare([out]).groups) if runs else 0}


def main(folder: Path, kills: Sequence[str], overrides: Sequence[str]) -> None:
    torch.set_num_threads(1)
    drive(
        folder / "first", [*(o for o in overrides if not o.startswith("seeds=")), "seed=100"], Killer(), "eager"
    )  # imports what a first run imports
    for kill in kills:
        out = folder / kill
        end = code(fork(out, overrides, kill, "loop" if kill[0] == "s" else "eager"))
        print(json.dumps({"kill": kill, "end": end, "after": seen(out)}), flush=True)
        again = code(fork(out, overrides))
        print(json.dumps({"kill": kill, "end": again, "after": seen(out)}), flush=True)
    both = [fork(folder / "both", overrides, " ", engine) for engine in ("eager", "loop", "eager")]
    ends = max(code(pid) for pid in both)
    print(json.dumps({"kill": "both", "end": ends, "after": seen(folder / "both")}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:])
