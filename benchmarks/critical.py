"""What it costs to prove the critical points of a surface: every surface of the catalogue, and further.

    python benchmarks/critical.py            # about two minutes of one core
    python benchmarks/critical.py --quick    # the catalogue in two dimensions, the smaller of the others: 15 s
    python benchmarks/critical.py --only zakharov_5d,rosenbrock_8d
    python benchmarks/critical.py --write    # and benchmarks/results/critical.md

CPU seconds of one thread, the least of three where a proof takes less than a second, and the same in units of a fixed
loop of NumPy operations that is timed right before: machines and neighbours differ, the ratio less. `_5d` is the
surface at dim=5, in its own domain; a budget of 120 s of wall time each. Millions of points are counted, not listed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from optbench.catalogue import surface_names
from optbench.critical import CriticalSet
from optbench.critical.certified import certify
from optbench.experiment.provenance import processor
from optbench.experiment.surface import Field, build_field, compose_surface
from optbench.launch.base import available_cores

BUDGET = 120.0
QUICK = ["rosenbrock_3d", "rosenbrock_4d", "rosenbrock_5d", "styblinski_tang_5d", "zakharov_5d"]
FURTHER = [
    *(f"rosenbrock_{d}d" for d in (3, 4, 5, 6, 7, 8, 10, 12, 16, 20)),
    *(f"{name}_{d}d" for name in ("rastrigin", "styblinski_tang") for d in (3, 4, 6, 8)),
    *(f"{name}_{d}d" for name in ("levy", "dixon_price") for d in (3, 5, 8)),
    *(f"zakharov_{d}d" for d in (3, 5, 8)),
    *("griewank_3d", "ackley_3d", "powell_8d"),
]


@dataclass(frozen=True)
class Row:
    """One proof: CPU seconds, the same in units of the loop, and what was found."""

    name: str
    seconds: float
    ratio: float
    found: CriticalSet


def field_of(name: str) -> Field:
    """The surface by name; `rosenbrock_5d` is rosenbrock at dim=5."""
    match = re.fullmatch(r"(\w+)_(\d+)d", name)
    known = name in surface_names() or match is None
    return build_field(compose_surface(name) if known else compose_surface(match[1], int(match[2])))  # type: ignore[index]


def loop() -> float:
    """CPU seconds of a fixed amount of the arithmetic that intervals are made of."""
    a, b = np.linspace(0.1, 1.0, 2048).reshape(2, 1024), np.linspace(1.0, 2.0, 2048).reshape(2, 1024)
    began = time.process_time()
    for _ in range(2000):
        c = a * b
        np.maximum(c, b, out=c)
        c += np.abs(c) * 2.0**-52
    return time.process_time() - began


def measure(name: str) -> Row:
    """The proof, three times where it is quick."""
    field, times = field_of(name), []
    unit = min(loop() for _ in range(3))
    while not times or (len(times) < 3 and times[0] < 1.0):
        began = time.process_time()
        found = certify(field.objective, field.surface.domain, name=name, seconds=BUDGET, max_boxes=10**9)
        times.append(time.process_time() - began)
    return Row(name, min(times), min(times) / unit, found)


def line(row: Row) -> str:
    """A row of the table."""
    counts = row.found.counts()
    kinds = " | ".join(f"{counts[kind]:,}" for kind in ("minimum", "saddle", "maximum", "degenerate"))
    clusters = len(row.found.clusters)
    outcome = "complete" if row.found.complete else f"not complete, {clusters} region{'s' * (clusters != 1)} open"
    return f"| {row.name} | {row.seconds:.2f} | {row.ratio:.1f} | {row.found.boxes:,} | {kinds} | {outcome} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the catalogue, and little of the rest")
    parser.add_argument("--only", help="names, with commas")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/critical.md")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else [*surface_names(), *(QUICK if given.quick else FURTHER)]
    head = "| surface | CPU, s | in loops | boxes | minima | saddles | maxima | degenerate | outcome |"
    lines = [head, "|---|" + "---:|" * 7 + "---|"]
    print("\n".join(lines))
    for name in names:
        lines.append(line(measure(name)))
        print(lines[-1], flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    unit = min(loop() for _ in range(10))
    note = (
        f"{processor()}, {available_cores()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}; the loop takes {1000 * unit:.1f} ms; peak memory of the process {peak:.0f} MB."
    )
    print(note)
    if given.write:
        text = "\n".join(["# Proving critical points", "", note, "Made by benchmarks/critical.py.", "", *lines, ""])
        (Path(__file__).parent / "results" / "critical.md").write_text(text)


if __name__ == "__main__":
    main()
