"""Targets of `experiment=suite/small` by the rule that stands in its YAML: tuned baselines, measured on fresh seeds.

    python benchmarks/suite.py --out runs            # measures; a second call makes only the runs that are missing
    python benchmarks/suite.py --out runs --write    # and the targets in conf/experiment/suite/*.yaml, and
                                                     # benchmarks/results/suite.md

For each problem, without any target: momentum and Adam at six learning rates each, about sqrt(10) apart, on the tuning
seeds; the optimizer and rate with the best median of the best validation figure; that setting once more on fresh seeds.
The target is the median over the fresh seeds of the best value of a run, cut to four digits on the easy side. So about
half of the runs of a tuned standard method meet it, and no lucky one set it.

The figure is the accuracy where the validation data have at least 200 examples, else the loss: below, one example is
more than half a percent. Seconds are CPU time of one run as a command of its own, Adam at 0.003, start-up included.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

SUITES = Path(__file__).parent.parent / "conf" / "experiment" / "suite"
RESULTS = Path(__file__).parent / "results" / "suite.md"
DOCS = Path(__file__).parent.parent / "docs" / "suites.md"
BEGIN, END = "<!-- measured -->", "<!-- end -->"
RATES = {"momentum": "1e-3,3e-3,1e-2,3e-2,1e-1,3e-1", "adam": "3e-4,1e-3,3e-3,1e-2,3e-2,1e-1"}
TUNING, FRESH = 1, 5
LEAST = 200
TARGETS = {"val_accuracy": "trainer.target_accuracy", "val_loss": "trainer.target_val_loss"}


@dataclasses.dataclass(frozen=True)
class Measured:
    """What came of the baselines on a problem.

    Attributes:
        problem: its keys, without a target.
        figure: val_accuracy or val_loss.
        optimizer, rate: the chosen setting.
        values: best value of the figure of each fresh seed.
        edge: whether the chosen rate is the first or the last of those tried.
        seconds: CPU time of one run.
    """

    problem: Mapping[str, Any]
    figure: str
    optimizer: str
    rate: float
    values: Sequence[float]
    edge: bool
    seconds: float

    @property
    def target(self) -> float:
        """See `easier`."""
        return easier(statistics.median(self.values), self.figure)


def easier(value: float, figure: str) -> float:
    """A value cut to four digits on the side that is easier to meet."""
    digits = 3 - math.floor(math.log10(value))
    cut = math.floor if figure == "val_accuracy" else math.ceil
    return round(cut(round(value * 10**digits, 6)) / 10**digits, digits)


def overrides(problem: Mapping[str, Any]) -> list[str]:
    """A problem of the suite as it is typed, one run each."""
    return [f"{key}={str(value).replace(' ', '')}" for key, value in problem.items()]


def problems() -> list[dict[str, Any]]:
    """The problems of the suite, without their targets."""
    suite = yaml.safe_load((SUITES / "small.yaml").read_text())["suite"]
    return [{key: value for key, value in one.items() if key not in TARGETS.values()} for one in suite]


def figure_of(problem: Mapping[str, Any]) -> str:
    """What the target of a problem is of."""
    import torch

    from optbench import build_problem, compose

    config = compose(*overrides(problem))
    targets = build_problem(config, torch.device("cpu")).validation.targets
    return "val_accuracy" if config["data"]["n_classes"] and len(targets) >= LEAST else "val_loss"


def best(run: Any, figure: str) -> float:
    """The best value of a run in the direction of losses; infinite where it diverged."""
    if str(run.status) not in ("completed", "converged"):
        return math.inf
    values = run.columns()[figure]
    return float(np.nanmin(values) if figure == "val_loss" else -np.nanmax(values))


def sweep(problem: Mapping[str, Any], out: Path, name: str, *given: str, crew: Any) -> list[Any]:
    """The runs of a problem, three at a time where they are no stack."""
    from optbench import sweep as run_all

    return run_all(
        *overrides(problem),
        *given,
        "hydra.launcher.jobs=3",
        "hydra.launcher.threads=1",
        out=out,
        name=name,
        least=2,
        crew=crew,
    )


def measure(number: int, problem: Mapping[str, Any], out: Path, crew: Any) -> Measured:
    """The baselines on one problem."""
    figure = figure_of(problem)
    found: dict[tuple[str, float], list[float]] = {}
    for optimizer, rates in RATES.items():
        given = f"optimizer={optimizer}", f"optimizer.lr={rates}", f"seeds={TUNING}"
        for run in sweep(problem, out, f"{number:02}-{optimizer}", *given, crew=crew):
            found.setdefault((optimizer, float(run.config["optimizer"]["lr"])), []).append(best(run, figure))
    optimizer, rate = min(found, key=lambda one: statistics.median(found[one]))
    chosen = f"optimizer={optimizer}", f"optimizer.lr={rate}", f"seed=range({TUNING},{TUNING + FRESH})"
    values = [abs(best(run, figure)) for run in sweep(problem, out, f"{number:02}-chosen", *chosen, crew=crew)]
    tried = [float(text) for text in RATES[optimizer].split(",")]
    return Measured(
        problem,
        figure,
        optimizer,
        rate,
        values,
        rate in (tried[0], tried[-1]),
        seconds_of(problem, out / f"{number:02}-alone"),
    )


def seconds_of(problem: Mapping[str, Any], folder: Path) -> float:
    """CPU seconds of one run as a command of its own."""
    kept = folder / "cpu_seconds"
    if not kept.exists():
        given = *overrides(problem), "optimizer=adam", "optimizer.lr=3e-3", "--out", str(folder), "--force", "--quiet"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "optbench", "run", *given], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        kept.write_text(f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.3f}")
    return float(kept.read_text())


def line_of(one: Measured) -> str:
    """The problem as a line of the suite."""
    keys = {**one.problem, TARGETS[one.figure]: one.target}
    return "  - {" + ", ".join(f"{key}: {value!s}" for key, value in keys.items()) + "}"


def table(found: Sequence[Measured], when: str) -> str:
    """benchmarks/results/suite.md."""
    rows = [
        "| model | data | target | baseline | best value of each fresh seed | CPU s a run |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        values = ", ".join(f"{value:.9g}" for value in one.values)
        sign = ">=" if one.figure == "val_accuracy" else "<="
        rows.append(
            f"| {one.problem['model']} | {one.problem['data']} | {one.figure} {sign} {one.target:g} | "
            f"{one.optimizer} {one.rate:g}{' (edge)' if one.edge else ''} | {values} | {one.seconds:.1f} |"
        )
    n = f"{len(RATES)} optimizers x 6 rates x {TUNING} seeds to choose, {FRESH} fresh seeds to measure"
    return "\n".join(
        ["# Targets of suite/small", "", f"`python benchmarks/suite.py --write`, {when}; {n}.", "", *rows, ""]
    )


def write(found: Sequence[Measured], when: str) -> None:
    """The targets into every suite that has these problems, and the table into the results and the documentation."""
    text = table(found, when)
    RESULTS.write_text(text)
    body = text.partition("\n")[2].strip()
    before, _, rest = DOCS.read_text().partition(BEGIN)
    DOCS.write_text(f"{before}{BEGIN}\n{body}\n{END}{rest.partition(END)[2]}")
    by_keys = {tuple(overrides(one.problem)): one for one in found}
    for file in (SUITES / "small.yaml", SUITES / "quick.yaml"):
        lines = []
        for line in file.read_text().splitlines():
            if line.startswith("  - {"):
                (held,) = yaml.safe_load(line)
                bare = {key: value for key, value in held.items() if key not in TARGETS.values()}
                line = line_of(by_keys[tuple(overrides(bare))])
            elif line.startswith("# Measured "):
                line = f"# Measured {when}."
            lines.append(line)
        file.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measures all problems, or those whose number is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--write", action="store_true", help="write the targets and the table")
    parser.add_argument("--only", type=int, action="append", help="number of a problem, from 0 on (repeatable)")
    given = parser.parse_args()
    from optbench import Crew

    found = []
    with Crew() as crew:
        for number, problem in enumerate(problems()):
            if given.only and number not in given.only:
                continue
            found.append(measure(number, problem, given.out, crew))
            print(line_of(found[-1]), found[-1], flush=True)
    when = f"{datetime.now(UTC):%Y-%m-%d}, {cpu()}, {os.cpu_count()} cores"
    print(table(found, when))
    if given.write:
        if given.only:
            parser.error("--write is of all problems")
        write(found, when)


def cpu() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
