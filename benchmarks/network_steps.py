"""What a step on a network costs beside the barest loop: same process, same model, optimizer and schedule, in turns.

    python benchmarks/network_steps.py             # mlp on digits, 400 steps, 15 times each
    python benchmarks/network_steps.py --write     # and benchmarks/results/network_steps.md
    python benchmarks/network_steps.py --sweep     # and a sweep of 30 of them, as a whole process
    python benchmarks/network_steps.py model=hw3_cnn trainer.epochs=1 --times 3

Four ways to make the same updates. *Ours* is a run as `optbench run` makes it, from its first update until its files
are closed: rows, gradient norms, training accuracy, evaluations and checkpoints included. *Bare* takes the same batches
and does nothing but update; it ends with the same weights to the bit, which is asserted. *Evaluated* is bare with the
same evaluations. *By hand* is bare with batches cut from one tensor in an order of its own, as people write it. Ratios
are of medians; CPU time is that of the process, which other work on the machine disturbs less.

The sweep is one command, from the start of Python to its table: planning, two worker processes, 30 runs recorded,
compared. It is set beside 30 bare loops, on as many cores by the clock. Its CPU time is that of all its processes.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from optbench.config import build_optimizer, build_scheduler
from optbench.experiment import Stop, plan_run
from optbench.experiment.assemble import build_problem, set_up
from optbench.experiment.execute import make
from optbench.experiment.provenance import processor
from optbench.experiment.recorder import Recorder
from optbench.launch.base import available_cores
from optbench.loop import Loop, total_steps
from optbench.problem import NetworkProblem
from optbench.records.vocabulary import curve_columns
from optbench.settings import trainer_from

Timed = tuple[float, float]


class Arms:
    """The three ways, each from the same start.

    Args:
        overrides: of the run.
        folder: where ours writes.
    """

    def __init__(self, overrides: Sequence[str], folder: Path) -> None:
        self.planned = plan_run(overrides, (), folder)
        self.trainer = trainer_from(self.planned.config)
        self.device = set_up(self.trainer, None)

    def _parts(self) -> tuple[NetworkProblem, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, int]:
        problem = build_problem(self.planned.config, self.device)
        assert isinstance(problem, NetworkProblem)
        len(problem.validation)  # decoded before the clock starts, as the training images are
        steps = total_steps(problem, self.trainer)
        optimizer = build_optimizer(self.planned.config, problem.module)
        return problem, optimizer, build_scheduler(self.planned.config, optimizer, steps), steps

    def ours(self) -> tuple[Timed, list[torch.Tensor]]:
        problem, optimizer, scheduler, _ = self._parts()
        folder = self.planned.folder
        folder.mkdir(parents=True, exist_ok=True)
        recorder = Recorder(folder, None, Stop())
        loop = Loop(problem, optimizer, scheduler, self.trainer, recorder)

        def run() -> None:
            recorder.open([column.name for column in curve_columns(None, True)])
            summary, _ = make(loop, recorder, folder)
            assert summary.status == "completed"
            recorder.let_go()

        return timed(run), list(problem.module.parameters())

    def bare(self, evaluated: bool = False) -> tuple[Timed, list[torch.Tensor]]:
        problem, optimizer, scheduler, steps = self._parts()
        model, loss = problem.module, problem.loss

        def loop() -> None:
            model.train()
            for step in range(steps):
                if evaluated and step % problem.steps_per_epoch == 0:
                    problem.evaluate()
                batch = problem.batch(step)
                optimizer.zero_grad()
                loss(model(batch.inputs), batch.targets).mean().backward()
                optimizer.step()
                scheduler.step()
            if evaluated:
                problem.evaluate()

        return timed(loop), list(model.parameters())

    def by_hand(self) -> tuple[Timed, list[torch.Tensor]]:
        problem, optimizer, scheduler, steps = self._parts()
        model, loss, size = problem.module, problem.loss, problem.batch_size
        images, labels = problem.train.images, problem.train.labels
        assert labels is not None

        def loop() -> None:
            model.train()
            order = torch.randperm(len(images))
            for step in range(steps):
                position = step % problem.steps_per_epoch
                if position == 0:
                    order = torch.randperm(len(images))
                chosen = order[position * size : (position + 1) * size]
                inputs = images[chosen].to(self.device).float() / 255
                optimizer.zero_grad()
                loss(model(inputs), labels[chosen].to(self.device)).mean().backward()
                optimizer.step()
                scheduler.step()

        return timed(loop), list(model.parameters())


def timed(work: Callable[[], None]) -> Timed:
    """Seconds of the clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(overrides: Sequence[str], times: int) -> dict[str, list[Timed]]:
    """The seconds of each way, in turns, after one turn that is not counted."""
    found: dict[str, list[Timed]] = {"bare": [], "evaluated": [], "by hand": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        arms = Arms(overrides, Path(folder))
        for turn in range(times + 1):
            bare, weights = arms.bare()
            evaluated, _ = arms.bare(evaluated=True)
            by_hand, _ = arms.by_hand()
            ours, mine = arms.ours()
            assert all(a.equal(b) for a, b in zip(weights, mine, strict=True)), "other weights than the bare loop's"
            if turn:
                for name, spent in zip(found, (bare, evaluated, by_hand, ours), strict=True):
                    found[name].append(spent)
    return found


_SWEPT = ("optimizer.lr=1e-4,3e-4,1e-3,3e-3,1e-2,3e-2", "seeds=5")
_RUNS = 30
_PR_SET_CHILD_SUBREAPER = 36


def swept(overrides: Sequence[str]) -> Timed:
    """A sweep of _RUNS runs as a command, its workers and their server included."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # the server outlives the command for a moment
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "optbench", "sweep", *overrides, *_SWEPT, "--out", folder]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stderr
        wall = time.perf_counter() - began
        assert f"{_RUNS} of {_RUNS} runs" in said, said
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def report_of_sweep(overrides: Sequence[str], sweep: Timed, bare: Sequence[Timed]) -> str:
    """The sweep beside as many bare loops, in a sentence."""
    cores = available_cores()
    wall, cpu = (_RUNS * statistics.median(each) for each in zip(*bare, strict=True))
    return (
        f"`optbench sweep {' '.join((*overrides, *_SWEPT))}`, {_RUNS} runs, as a whole process: {sweep[0]:.1f} s, "
        f"{sweep[1]:.1f} s of CPU, load {os.getloadavg()[0]:.1f}; {_RUNS} bare loops on {cores} cores: "
        f"{wall / cores:.1f} s, {cpu:.1f} s of CPU; the sweep is {sweep[0] * cores / wall:.2f} by the clock, "
        f"{sweep[1] / cpu:.2f} by CPU time.\n"
    )


def report(overrides: Sequence[str], found: dict[str, list[Timed]]) -> str:
    """The table, as Markdown."""
    wall = {name: statistics.median(w for w, _ in spent) for name, spent in found.items()}
    cpu = {name: statistics.median(c for _, c in spent) for name, spent in found.items()}
    lines = [
        f"{processor()}, {available_cores()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; `{' '.join(overrides)}`; "
        f"medians of {len(found['ours'])}",
        "",
        "| loop | s | CPU, s | ours is, by the clock | by CPU time |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {wall[name]:.3f} | {cpu[name]:.3f} "
            f"| {wall['ours'] / wall[name]:.2f} | {cpu['ours'] / cpu[name]:.2f} |"
            for name in found
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=["model=mlp", "data=digits", "trainer.threads=1"])
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/network_steps.md")
    parser.add_argument("--sweep", action="store_true", help="a sweep of 30 runs too")
    given = parser.parse_args()
    found = measure(given.overrides, given.times)
    text = report(given.overrides, found)
    if given.sweep:
        text += "\n" + report_of_sweep(given.overrides, swept(given.overrides), found["bare"])
    print(text)
    if given.write:
        (Path(__file__).parent / "results" / "network_steps.md").write_text(text)


if __name__ == "__main__":
    main()
