"""What an update of a small network costs in a stack and in the loop, and a sweep of 200 as a whole command.

    python benchmarks/stacked.py             # sizes: networks, batches; and the constants of launch.stacks.pays
    python benchmarks/stacked.py --sweep     # and 200 runs from the shell: stacked, and by the pool of processes
    python benchmarks/stacked.py --write     # and benchmarks/results/stacked.md

An update is everything that a run does between two updates, records included: the CPU time of a run, or of a sweep of
32, with many updates less that of one with few, over the difference; the least of several times, in turns. CPU time is
that of the process and its children, which other work on the machine disturbs less than the clock, though not at all
little where it takes the caches away. Ratios are of numbers from the same turns.

The sweep is one command, from the start of Python to its table, 20 seeds by 10 learning rates of mlp on digits, as
`--engine stacked` and as `--engine loop` do it, one after the other, by the clock.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FEW, MANY, ROWS, TIMES = 20, 120, 32, 2
CASES = (
    ("model=logistic", "data.channels=1", "data.image_size=8"),
    ("model=mlp", "model.hidden=[16]", "data.channels=1", "data.image_size=8"),
    ("model=mlp", "data.channels=1", "data.image_size=8"),
    ("model=mlp", "data.channels=1", "data.image_size=8", "trainer.batch_size=4"),
    ("model=mlp", "data.channels=1", "data.image_size=8", "trainer.batch_size=256"),
    ("model=mlp", "model.norm=batch", "data.channels=1", "data.image_size=8"),
    ("model=mlp", "model.hidden=[512,512]", "data.channels=1", "data.image_size=8"),
    ("model=mlp",),
    ("model=mlp", "model.hidden=[512,512]"),
    ("model=logistic",),
)
WITH_CONVOLUTIONS = (
    ("model=cnn1d", "model.width=8", "data=mnist1d"),
    ("model=cnn1d", "data=mnist1d"),
    ("model=cnn1d", "data=mnist1d", "trainer.batch_size=256"),
    ("model=cnn1d", "model.width=64", "data=mnist1d"),
    ("model=hw3_cnn", "model.width=2", "data=synthetic_food", "data.image_size=32", "augment=none"),
    ("model=hw3_cnn", "model.width=4", "data=synthetic_food", "data.image_size=32", "augment=none"),
    ("model=hw3_cnn", "model.width=8", "data=synthetic_food", "data.image_size=32", "augment=none"),
)
"""Not fitted: operations are no longer one a weight and example."""
RATES = "optimizer.lr=1e-4,2e-4,5e-4,1e-3,2e-3,5e-3,1e-2,2e-2,5e-2,1e-1"


def seconds(overrides: Sequence[str], engine: str, rows: int, steps: int, folder: Path) -> float:
    """CPU time of a sweep in this process."""
    from optbench.launch.sweep import sweep

    given = (*overrides, f"trainer.steps={steps}", f"seeds={rows}", "hydra.launcher.jobs=0", "hydra.launcher.threads=1")
    began = time.process_time()
    runs = sweep(*given, out=folder, name=engine, engine=engine, least=2, force=True)
    spent = time.process_time() - began
    assert {run.summary["engine"] for run in runs} == {engine}, runs[0].summary
    return spent


def an_update(overrides: Sequence[str], folder: Path) -> tuple[float, float]:
    """CPU seconds of an update of one run: in a stack, and in the loop."""
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(TIMES + 1):
        for engine, rows in (("stacked", ROWS), ("loop", 2)):
            for steps in (FEW, MANY):
                found.setdefault((engine, steps), []).append(seconds(overrides, engine, rows, steps, folder) / rows)
    least = {key: min(values[1:]) for key, values in found.items()}  # the first pays for what is set up lazily
    stacked, loop = ((least[e, MANY] - least[e, FEW]) / (MANY - FEW) for e in ("stacked", "loop"))
    return stacked, loop


def sizes(overrides: Sequence[str], folder: Path) -> tuple[int, int, int]:
    """Numbers that are trained, weights, examples of an update."""
    from optbench.experiment import plan_sweep
    from optbench.launch.sweep import Options, divide

    plan = plan_sweep([*overrides, "seeds=2"], out=folder, name="sizes")
    (stack,) = divide(plan, Options(engine="stacked", least=2)).stacks
    weights = sum(p.numel() for p in stack.problem.module.parameters())
    return stack.rows.networks.form.width, weights, stack.problem.batch_size


def fit(table: Sequence[tuple[tuple[int, int, int], float, float]]) -> list[str]:
    """The constants of `launch.stacks.pays`, by least squares of relative errors."""
    loop = np.array([[1.0, 6.0 * w * b, w] for (_, w, b), _, _ in table])
    stack = np.array([[1.0, 6.0 * w * b, w] for (w, _, b), _, _ in table])
    lines = []
    for name, design, column in (("loop", loop, 2), ("stacked", stack, 1)):
        measured = np.array([row[column] for row in table])
        from scipy.optimize import nnls

        found, _ = nnls(design / measured[:, None], np.ones(len(measured)))
        worst = np.abs(design @ found / measured - 1).max()
        words = ", ".join(f"{c:.2g}" for c in found)
        lines.append(f"{name}: seconds of an update, of an operation, of a weight: {words} (at most {worst:.0%} off)")
    return lines


def whole(engine: str, folder: Path, extra: Sequence[str]) -> float:
    """Seconds of the sweep as a command."""
    command = [sys.executable, "-m", "optbench", "sweep", "model=mlp", "seeds=20", RATES, *extra, "--engine", engine]
    began = time.perf_counter()
    with (folder / "table.txt").open("w") as table:
        subprocess.run([*command, "--out", str(folder), "--name", engine], check=True, stdout=table, stderr=table)
    return time.perf_counter() - began


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for option in ("--sweep", "--write", "--no-sizes"):
        parser.add_argument(option, action="store_true")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    machine = platform.processor() or platform.machine()
    lines = [f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}", ""]
    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines += ["| network | weights | trained | examples | loop, us | stacked, us | ratio |", "|---" * 7 + "|"]
        for case in () if given.no_sizes else (*CASES, *WITH_CONVOLUTIONS):
            (width, weights, batch), (stacked, loop) = sizes(case, folder), an_update(case, folder)
            if case in CASES:
                table.append(((width, weights, batch), stacked, loop))
            numbers = f"{weights} | {width} | {batch} | {loop * 1e6:.0f} | {stacked * 1e6:.0f} | {loop / stacked:.1f}"
            lines.append(f"| {' '.join(case)} | {numbers} |")
            print(lines[-1], flush=True)
        lines += ["", *(fit(table) if table else [])]
        for extra in (("data.channels=1", "data.image_size=8"), ()) if given.sweep else ():
            place = folder / str(len(extra))
            place.mkdir()
            stacked, loop = (whole(engine, place, extra) for engine in ("stacked", "loop"))
            what = f"200 runs of mlp on digits {' '.join(extra)}, seconds by the clock"
            lines.append(f"{what}: stacked {stacked:.1f}, pool {loop:.1f}, ratio {loop / stacked:.1f}")
            print(lines[-1], flush=True)
    print("\n".join(lines))
    if given.write:
        (Path(__file__).parent / "results" / "stacked.md").write_text(
            "# Stacked networks\n\n" + "\n".join(lines) + "\n"
        )


if __name__ == "__main__":
    main()
