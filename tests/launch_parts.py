"""Parts that misbehave on purpose; workers import this file."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from optbench.experiment import Planned, run_and_record
from optbench.records import Run

OVERLAY = {
    "killer": "# kills its process at update `at`, `times` times, counted in the file `marker`\n"
    "_target_: launch_parts.Killer\n_partial_: true\nlr: 0.01\nat: 5\ntimes: 1\nmarker: ''\n",
    "sleeper": "# sleeps before every update\n_target_: launch_parts.Sleeper\n_partial_: true\nlr: 0.01\npause: 0.02\n"
    "marker: ''\n",
    "straggler": "# ends only where the environment variable OPTBENCH_TEST_NODE does not end in `lost`\n"
    "_target_: launch_parts.Straggler\n_partial_: true\nlr: 0.01\nlost: '-2'\nmarker: ''\n",
    "buggy": "# raises what nobody foresaw\n_target_: launch_parts.Buggy\n_partial_: true\nlr: 0.01\n",
}


def write_overlay(folder: Path) -> Path:
    """A --config-dir with the optimizers of this file."""
    (folder / "optimizer").mkdir(parents=True)
    for name, text in OVERLAY.items():
        (folder / "optimizer" / f"{name}.yaml").write_text(text)
    return folder


class Killer(torch.optim.SGD):
    """SGD that dies as if the system had killed it."""

    def __init__(self, params: Any, lr: float, at: int, times: int, marker: str) -> None:
        super().__init__(params, lr=lr)
        self._at, self._times, self._marker, self._made = at, times, Path(marker), 0

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        deaths = self._marker.stat().st_size if self._marker.exists() else 0
        if self._made == self._at and deaths < self._times:
            with self._marker.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        self._made += 1
        return super().step(closure)


class Sleeper(torch.optim.SGD):
    """SGD that takes its time."""

    def __init__(self, params: Any, lr: float, pause: float, marker: str = "") -> None:
        super().__init__(params, lr=lr)
        self._pause = pause

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        time.sleep(self._pause)
        return super().step(closure)


class Straggler(torch.optim.SGD):
    """SGD that never ends on one node, and on the others goes on once the file `marker` is there.

    Whoever makes it and kills the node then never comes too late, however slowly the node starts.
    """

    def __init__(self, params: Any, lr: float, lost: str, marker: str) -> None:
        super().__init__(params, lr=lr)
        self._lost, self._marker = lost, Path(marker)

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        node = os.environ.get("OPTBENCH_TEST_NODE")
        if node is not None and node.endswith(self._lost):
            time.sleep(600)
        while node is not None and not self._marker.exists():  # the driver, which tries one step, is on no node
            time.sleep(0.02)
        return super().step(closure)


class Buggy(torch.optim.SGD):
    """SGD with a bug."""

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        raise KeyError("no such thing")


class Stillborn:
    """Work that ends the worker which receives it."""

    def __call__(self, *args: Any) -> Run:
        raise AssertionError("never called")

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (7,)


stillborn = Stillborn()


def elsewhere(planned: Planned, *args: Any) -> Run:
    """Work that is done, and recorded where the driver does not look: as on a machine without its disk."""
    other = planned.folder.parents[1] / "another disk" / planned.folder.name
    return replace(run_and_record(replace(planned, folder=other), *args), path=planned.folder)


def noted(planned: Planned, *args: Any) -> Run:
    """Work that notes when it began and when it ended, in the file `optimizer.marker` of its configuration."""
    marker = planned.config["optimizer"]["marker"]
    with open(marker, "a") as file:
        file.write("begins\n")
    run = run_and_record(planned, *args)
    with open(marker, "a") as file:
        file.write("ends\n")
    return run
