"""Run-steps a second of the surface engine against its rivals: one process, medians of interleaved rounds.

    python benchmarks/engine.py --quick          # some minutes; a part of the table
    python benchmarks/engine.py                  # all of it
    python benchmarks/engine.py --write          # and benchmarks/results/engine.md

Time is CPU time of the process, so that other work on the machine disturbs it least; everything has one thread (JAX has
its own, and their CPU time counts). One column is the exception: "fused, all cores" is wall time of the fused engine
with a thread a core, which is how the tool runs it; C on one thread is the limit of one thread. JAX and a C compiler
are taken if they are there. Compiling and tracing are counted beside the table.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import rivals
import torch
from rivals import Task

from optbench.descend import Batch, descend
from optbench.descend.fused import Fused, fuse, run_fused
from optbench.descend.kernel import Kernel, load
from optbench.descend.plan import Plan, make_plan
from optbench.descend.store import Store
from optbench.launch.base import available_cores
from optbench.problem import AbstractSurface
from optbench.settings import SurfaceTrainer
from optbench.surfaces.ackley import Ackley
from optbench.surfaces.rastrigin import Rastrigin
from optbench.surfaces.rosenbrock import Rosenbrock

SURFACES: dict[str, Callable[[int], AbstractSurface]] = {
    "rosenbrock": Rosenbrock,
    "rastrigin": Rastrigin,
    "ackley": Ackley,
}
RATES = {"sgd": 1e-4, "rmsprop": 3e-3, "adam": 1e-2}
STEPS = 500
_BUDGET = 1.0
"""Seconds of one timing, about; slow methods make fewer steps, since their cost a step is constant."""


def make_task(surface: str, dim: int, optimizer: str, dtype: str, rows: int) -> Task:
    """Starts uniform in the middle of the domain, learning rates over a factor of four."""
    shape = SURFACES[surface](dim)
    random = np.random.default_rng(0)
    low, high = np.array(shape.domain).T
    starts = (low + high) / 2 + (high - low) / 4 * random.uniform(-1, 1, (rows, dim))
    lr = RATES[optimizer] * random.uniform(0.5, 2.0, rows)
    return Task(surface, optimizer, dtype, starts, lr, shape)


def batch_of(task: Task, backend: str, threads: int = 1) -> Batch:
    """The task as a batch of ours."""
    name = rivals.TORCH[task.optimizer].__name__
    return Batch(
        objective=task.objective,
        starts=task.starts,
        optimizer={"_target_": f"torch.optim.{name}", "lr": task.lr, **rivals.Hyper[task.optimizer]},
        scheduler={"_target_": "torch.optim.lr_scheduler.ConstantLR", "factor": 1.0, "total_iters": 0},
        trainer=SurfaceTrainer(steps=STEPS, grad_tol=1e-12),
        dtype=task.dtype,
        backend=backend,
        threads=threads,
    )


def eager(task: Task) -> rivals.Run:
    """Our engine on torch alone, whole calls to `descend`."""
    batch = batch_of(task, "eager")

    def run(steps: int) -> None:
        descend(replace(batch, trainer=replace(batch.trainer, steps=steps)))

    return run


def fused(threads: int) -> Callable[[Task], rivals.Run]:
    """Our compiled engine: what `descend` does once the step is traced and loaded, copying in and out included."""

    def make(task: Task) -> rivals.Run:
        @functools.cache
        def ready(steps: int) -> tuple[Batch, Plan, Fused, Kernel]:
            batch = batch_of(task, "fused", threads)
            batch = replace(batch, trainer=replace(batch.trainer, steps=steps))
            plan = make_plan(batch)
            traced = fuse(batch, plan)
            return batch, plan, traced, load(traced.source)

        def run(steps: int) -> None:
            batch, plan, traced, kernel = ready(steps)
            store = Store(batch)
            run_fused(batch, plan, store, traced, kernel)
            store.result(batch, plan, 0.0, 0.0, "fused", "")

        return run

    return make


METHODS: dict[str, Callable[[Task], rivals.Run]] = {
    "a torch.optim loop": rivals.torch_loop,
    "b torch.optim stacked": rivals.torch_stacked,
    "c JAX + optax": rivals.jax_optax,
    "d hand-written C": rivals.hand_c,
    "optbench eager": eager,
    "optbench fused": fused(1),
    "fused, all cores": fused(available_cores()),
}
_ONE_ROW = "a torch.optim loop"
_WALL = "fused, all cores"


def measure(task: Task, methods: list[str], rounds: int) -> tuple[dict[str, float], float]:
    """Median run-steps a second of each method, and seconds that compiling took."""
    runs, plan = {}, {}
    for name in methods:
        try:
            runs[name] = METHODS[name](task)
        except (ImportError, FileNotFoundError) as error:
            print(f"  without {name}: {error}", file=sys.stderr)
            continue
        plan[name] = _steps(runs[name], name)
    ready = prepare_seconds(task) if "optbench fused" in runs else 0.0
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            steps, repeats = plan[name]
            clock = time.perf_counter if name == _WALL else time.process_time
            began = clock()
            for _ in range(repeats):
                run(steps)
            rows = 1 if name == _ONE_ROW else task.rows
            seen[name].append(rows * steps * repeats / max(clock() - began, 1e-9))
    return {name: statistics.median(rates) for name, rates in seen.items()}, ready


def prepare_seconds(task: Task, compiled: bool = True) -> float:
    """CPU seconds that planning and tracing take in every call, compiled or not: counted beside the table."""
    batch, spent = batch_of(task, "fused"), []
    for _ in range(9):
        began = time.process_time()
        traced = fuse(batch, make_plan(batch))
        if compiled:
            load(traced.source)
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def compile_seconds() -> str:
    """CPU seconds to compile a kernel with an empty cache, numba's import aside, and to load it in a new process."""
    code = (
        "import time, engine, numba; task = engine.make_task('rosenbrock', 2, 'adam', 'float64', 64); "
        "engine.prepare_seconds(task, False); began = time.process_time(); engine.fused(1)(task)(1); "
        "print(f'{time.process_time() - began:.2f}')"
    )
    seen = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            environment = os.environ | {"OPTBENCH_CACHE": folder, "PYTHONPATH": str(Path(__file__).parent)}
            command = [sys.executable, "-c", code]
            out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            seen.append(out.stdout.strip())
    return f"{seen[0]} s cold, {seen[1]} s from the cache in a new process"


def _steps(run: rivals.Run, name: str) -> tuple[int, int]:
    """Steps and repeats of one timing; the first call warms up and compiles."""
    whole = name in ("c JAX + optax", "d hand-written C", "optbench fused", _WALL)
    run(STEPS if whole else 3)
    began = time.perf_counter()
    run(STEPS if whole else 3)
    once = time.perf_counter() - began
    if whole:
        return STEPS, max(1, min(50, int(0.1 / max(once, 1e-6))))
    return max(3, min(STEPS, int(_BUDGET / max(once / 3, 1e-6)))), 1


def hardware() -> str:
    """Processor and versions, one line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = found[0] if found else name
    import numba

    return (
        f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"torch {torch.__version__}, numba {numba.__version__}, numpy {np.__version__}"
    )


_RATIOS = (
    (_WALL, _ONE_ROW, ",.0f"),
    ("optbench fused", _ONE_ROW, ",.0f"),
    ("optbench fused", "c JAX + optax", ".1f"),
    ("optbench fused", "d hand-written C", ".2f"),
    ("d hand-written C", _ONE_ROW, ",.0f"),
)


def table(lines: list[tuple[str, dict[str, float], float]]) -> str:
    """Markdown: run-steps a second, and some quotients of them."""
    names = list(METHODS)
    head = ["task", *names, "all cores / a", "fused / a", "fused / c", "fused / d", "d / a", "trace ms"]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for label, rates, ready in lines:
        cells = [f"{rates[n]:.2g}" if n in rates else "" for n in names]
        for top, bottom, form in _RATIOS:
            cells.append(format(rates[top] / rates[bottom], form) if top in rates and bottom in rates else "")
        rows.append("| " + " | ".join([label, *cells, f"{ready * 1e3:.1f}"]) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer tasks, rows and rounds")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--rows", default=None, help="numbers of rows, e.g. 1,100,10000")
    parser.add_argument("--surfaces", default="rosenbrock-2,rosenbrock-10,rastrigin-2,ackley-2")
    parser.add_argument("--optimizers", default="sgd,rmsprop,adam")
    parser.add_argument("--dtypes", default=None, help="float64,float32")
    parser.add_argument("--methods", default=None, help="first letters of the methods, e.g. ad")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/engine.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [int(float(n)) for n in (options.rows or ("1,10000" if options.quick else "1,100,1e4,1e6")).split(",")]
    dtypes = (options.dtypes or ("float64" if options.quick else "float64,float32")).split(",")
    rounds = options.rounds or (3 if options.quick else 5)
    wanted = [n for n in METHODS if options.methods is None or n[0] in options.methods or "fused" in n]
    lines = []
    for surface in options.surfaces.split(","):
        name, _, dim = surface.partition("-")
        for optimizer in options.optimizers.split(","):
            for dtype in dtypes:
                for n in rows:
                    rates, ready = measure(make_task(name, int(dim), optimizer, dtype, n), wanted, rounds)
                    lines.append((f"{surface} {optimizer} {dtype} {n:,} rows", rates, ready))
                    print(table(lines[-1:]).splitlines()[-1], flush=True)
    how = (
        f"{STEPS} steps a run, medians of {rounds} interleaved rounds. One thread and CPU time, except '{_WALL}': "
        f"wall time with {available_cores()} threads, as the tool runs it; (d) is the limit of one thread."
    )
    costs = f"Compiling rosenbrock and adam: {compile_seconds()}, numba's import aside. Tracing: last column."
    text = f"# Surface engine: run-steps a second\n\n{hardware()}; {how}\n\n{costs}\n\n{table(lines)}\n"
    print(text)
    if options.write:
        (Path(__file__).parent / "results" / "engine.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
