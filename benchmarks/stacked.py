"""What an update of a small network costs in a stack and in the loop, and a sweep of 200 as a whole command.

    python benchmarks/stacked.py             # sizes: networks, batches, settings
    python benchmarks/stacked.py --fit       # and the constants of launch.stacks.pays, as they stand there
    python benchmarks/stacked.py --sweep     # and 200 runs from the shell: stacked, and by the pool of processes
    python benchmarks/stacked.py --write     # and benchmarks/results/stacked_sizes.md

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
from typing import Any

import numpy as np

FEW, MANY, ROWS, TIMES = 20, 120, 32, 2
ENOUGH, MOST = 1.5, 4000
"""Seconds that the updates take by which a case is measured, and how many they are at most."""
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
SMALL = ("model=mlp", "data.channels=1", "data.image_size=8")
BETWEEN = (
    (*SMALL, "model.hidden=[16]", "trainer.ema=0.99"),
    (*SMALL, "trainer.ema=0.99"),
    (*SMALL, "optimizer=adamw", "optimizer.groups=no_decay"),
    (*SMALL, "optimizer=adam", "trainer.mup_base={hidden:[64,32]}"),
    (*SMALL, "model.dropout=0.3"),
    (*SMALL, "model.norm=batch", "trainer.accumulate=4"),
    (*SMALL, "wrap=lookahead"),
    (*SMALL, "model.hidden=[512,512]", "trainer.ema=0.99"),
)
"""Something stands between a gradient and the next one: a call is one gradient."""
LOSSES = (
    *((*SMALL, f"loss={name}") for name in ("mse_softmax", "focal", "binary_cross_entropy", "label_smoothing")),
    ("model=linear", "data=diabetes"),
    ("model=mlp", "model.hidden=[32,32]", "data=diabetes"),
    ("model=mlp", "model.hidden=[64,64]", "data=two_spirals", "trainer.normalize=true"),
)
"""Losses that are traced, and tables; not fitted."""
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
    """CPU seconds of an update of one run: in a stack, and in the loop; of so many updates that they take `ENOUGH`."""
    found: dict[tuple[str, bool], list[float]] = {}
    many = dict[str, int]()
    for engine, rows in (("stacked", ROWS), ("loop", 2)):  # it also pays for what is set up lazily
        first = [seconds(overrides, engine, rows, steps, folder) for steps in (FEW, FEW, MANY)]
        about = max((first[2] - first[1]) / (rows * (MANY - FEW)), 5e-6)
        many[engine] = FEW + int(min(max(ENOUGH / (about * rows), MANY - FEW), MOST))
    for _ in range(TIMES):
        for engine, rows in (("stacked", ROWS), ("loop", 2)):
            for whole in (False, True):
                spent = seconds(overrides, engine, rows, many[engine] if whole else FEW, folder)
                found.setdefault((engine, whole), []).append(spent / rows)
    least = {key: min(values) for key, values in found.items()}
    stacked, loop = ((least[e, True] - least[e, False]) / (many[e] - FEW) for e in ("stacked", "loop"))
    return stacked, loop


def sizes(overrides: Sequence[str], folder: Path) -> tuple[int, int, int]:
    """Numbers that are trained, weights, examples of an update."""
    from optbench.experiment import plan_sweep
    from optbench.launch.sweep import Options, divide

    plan = plan_sweep([*overrides, "seeds=2"], out=folder, name="sizes")
    (stack,) = divide(plan, Options(engine="stacked", least=2)).stacks
    weights = sum(p.numel() for p in stack.problem.module.parameters())
    return stack.rows.networks.form.width, weights, stack.problem.batch_size


Row = tuple[tuple[int, int, int], float, float]
"""Numbers that are trained, weights and examples; seconds of an update stacked, and in the loop."""


def fit(table: Sequence[Row], between: Sequence[Row]) -> list[str]:
    """The constants of `launch.stacks.pays`, by least squares of relative errors, as they stand there.

    Args:
        table: of `CASES`.
        between: of `BETWEEN`.
    """
    table, between = ([row for row in rows if min(row[1:]) > 0] for rows in (table, between))  # less is noise
    loop = np.array([[1.0, 6.0 * w * b, w] for (_, w, b), _, _ in table])
    stack = np.array([[1.0, 6.0 * w * b, w] for (w, _, b), _, _ in table])
    lines, found = [], np.zeros(3)
    for names, design, column in (("_BESIDE", loop, 2), ("_COMPILED", stack, 1)):
        measured = np.array([row[column] for row in table])
        found = solved(design, measured)
        first = "STEP" if names == "_BESIDE" else "ROW"
        said = ", ".join(f"{names}_{what}" for what in (first, "FLOP", "WEIGHT"))
        lines.append(f"{said} = {numbers(found)}  # at most {np.abs(design @ found / measured - 1).max():.0%} off")
    plain = np.array([[1.0, 6.0 * w * b, w] for (w, _, b), _, _ in between]) @ found
    more = np.array([[1.0, w] for (w, _, _), _, _ in between])
    measured = np.array([row[1] for row in between])
    rest = np.maximum(measured - plain, 0.0)
    beside = solved(more, rest, measured)
    off = np.abs((plain + more @ beside) / measured - 1).max()
    return [*lines, f"_BETWEEN_ROW, _BETWEEN_WEIGHT = {numbers(beside)}  # at most {off:.0%} off"]


def solved(design: Any, wanted: Any, of: Any = None) -> Any:
    """The numbers, none below 0, by which a design is what is wanted, errors relative to `of` (None: to that)."""
    from scipy.optimize import nnls

    scale = wanted if of is None else of
    return nnls(design / scale[:, None], wanted / scale)[0]


def numbers(found: Any) -> str:
    """In two digits."""
    return ", ".join(f"{c:.2g}" for c in found)


def whole(engine: str, folder: Path, extra: Sequence[str]) -> float:
    """Seconds of the sweep as a command."""
    command = [sys.executable, "-m", "optbench", "sweep", "model=mlp", "seeds=20", RATES, *extra, "--engine", engine]
    began = time.perf_counter()
    with (folder / "table.txt").open("w") as table:
        subprocess.run([*command, "--out", str(folder), "--name", engine], check=True, stdout=table, stderr=table)
    return time.perf_counter() - began


def measured(cases: Sequence[Sequence[str]], folder: Path, lines: list[str]) -> list[Row]:
    """Measures cases, a line of the table each."""
    rows = []
    for case in cases:
        (width, weights, batch), (stacked, loop) = sizes(case, folder), an_update(case, folder)
        rows.append(((width, weights, batch), stacked, loop))
        figures = f"{weights} | {width} | {batch} | {loop * 1e6:.0f} | {stacked * 1e6:.0f} | {loop / stacked:.1f}"
        lines.append(f"| {' '.join(case)} | {figures} |")
        print(lines[-1], flush=True)
    return rows


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for option in ("--sweep", "--write", "--no-sizes", "--fit"):
        parser.add_argument(option, action="store_true")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    load = f"load {os.getloadavg()[0]:.0f} at the beginning"
    lines = [f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {load}", ""]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines += ["| network | weights | trained | examples | loop, us | stacked, us | ratio |", "|---" * 7 + "|"]
        if not given.no_sizes:
            table, between = (measured(cases, folder, lines) for cases in (CASES, BETWEEN))
            if not given.fit:
                measured((*LOSSES, *WITH_CONVOLUTIONS), folder, lines)
            lines += ["", *fit(table, between)]
        for extra in (("data.channels=1", "data.image_size=8"), ()) if given.sweep else ():
            place = folder / str(len(extra))
            place.mkdir()
            stacked, loop = (whole(engine, place, extra) for engine in ("stacked", "loop"))
            what = f"200 runs of mlp on digits {' '.join(extra)}, seconds by the clock"
            lines.append(f"{what}: stacked {stacked:.1f}, pool {loop:.1f}, ratio {loop / stacked:.1f}")
            print(lines[-1], flush=True)
    print("\n".join(lines))
    if given.write:
        (Path(__file__).parent / "results" / "stacked_sizes.md").write_text(
            "# Stacked networks, by `benchmarks/stacked.py`\n\n" + "\n".join(lines) + "\n"
        )


def processor() -> str:
    """Its name, where Linux says it."""
    try:
        words = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        words = []
    said = (line.partition(":")[2].strip() for line in words if line.startswith("model name"))
    return next(said, platform.processor() or platform.machine())


if __name__ == "__main__":
    main()
