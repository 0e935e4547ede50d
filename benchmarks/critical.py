"""What it costs to prove the critical points of a surface: every surface of the catalogue, and further; of a family of
surfaces over one parameter; and that a network's weights are no local minimum.

    python benchmarks/critical.py            # about two minutes of one core
    python benchmarks/critical.py --quick    # the catalogue in two dimensions, the smaller of the others: 15 s
    python benchmarks/critical.py --only zakharov_5d,rosenbrock_8d
    python benchmarks/critical.py --write    # and benchmarks/results/critical.md

CPU seconds of one thread, the least of three where a proof takes less than a second, and the same in units of a fixed
loop of NumPy operations that is timed right before: machines and neighbours differ, the ratio less. `_5d` is the
surface at dim=5, in its own domain; a budget of 120 s of wall time each. Millions of points are counted, not listed. A
network's proof is compared with one gradient of the same loss over the same examples.
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


FAMILIES = {  # formula: box, range of a
    "x**3/3 - a*x": ("-2,2", (-1.0, 1.0)),
    "x**4/4 - a*x**2/2 + 0.01*x": ("-2,2", (-1.0, 1.0)),
    "x**4/4 - a*x**2/2 + y**2": ("-2,2;-1,1", (-1.0, 1.0)),
    "x**4 - 3*a*x*y + y**2 + x**2": ("-3,3;-3,3", (-1.0, 1.0)),
    "x**4 - 3*a*x*y + y**2": ("-3,3;-3,3", (-1.0, 1.0)),
}
NETWORKS = {"mlp": "tanh", "mlp, relu": "relu"}


def families() -> list[str]:
    """The table of bifurcation diagrams."""
    from optbench.critical.bifurcation.sweep import sweep
    from optbench.critical.typed.expression import parse_expression
    from optbench.critical.typed.parse import parse_box

    lines = [
        "| family, a from -1 to 1 | CPU, s | in loops | curves | bifurcations | outcome |",
        "|---|" + "---:|" * 4 + "---|",
    ]
    for formula, (box, span) in FAMILIES.items():
        objective = parse_expression(formula, None, "a")
        unit, times = min(loop() for _ in range(3)), []
        while len(times) < 3:
            began = time.process_time()
            found = sweep(objective, parse_box(box, objective.dim - 1), span, parameter="a", seconds=BUDGET)
            times.append(time.process_time() - began)
        outcome = "complete" if found.complete else f"not complete, {len(found.open)} open"
        counts = f"{len(found.curves)} | {len(found.bifurcations)}"
        lines.append(f"| {formula} | {min(times):.2f} | {min(times) / unit:.1f} | {counts} | {outcome} |")
    return lines


def networks() -> list[str]:
    """The table of enclosures of v'Hv along a random direction, at the start of a run on digits."""
    import torch

    from optbench.curvature import network_objective
    from optbench.curvature.enclosure import enclose_part
    from optbench.experiment import plan_run
    from optbench.experiment.assemble import build_problem

    lines = ["| network on digits | weights | examples | gradient, s | enclosure, s | ratio |", "|---|" + "---:|" * 5]
    for name, activation in NETWORKS.items():
        config = plan_run(["model=mlp", f"model.activation={activation}", "data.image_size=8"]).config
        problem = build_problem(config, torch.device("cpu"))
        objective = network_objective(problem.module, problem.loss, problem.train)
        direction = torch.randn(len(objective.weights), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        gradient, enclosure = [], []
        for _ in range(3):
            began = time.process_time()
            objective.gradient(objective.weights)
            gradient.append(time.process_time() - began)
            began = time.process_time()
            for part in objective.parts:
                enclose_part(part, objective.weights, direction, 2)
            enclosure.append(time.process_time() - began)
        g, e = min(gradient), min(enclosure)
        lines.append(f"| {name} | {len(direction):,} | {len(problem.train):,} | {g:.3f} | {e:.2f} | {e / g:.0f} |")
    return lines


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
    others = [] if given.only else ["", *families(), "", *networks()]
    print("\n".join(others))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    unit = min(loop() for _ in range(10))
    note = (
        f"{processor()}, {available_cores()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}; the loop takes {1000 * unit:.1f} ms; peak memory of the process {peak:.0f} MB."
    )
    print(note)
    if given.write:
        text = "\n".join(
            ["# Proving critical points", "", note, "Made by benchmarks/critical.py.", "", *lines, *others, ""]
        )
        (Path(__file__).parent / "results" / "critical.md").write_text(text)


if __name__ == "__main__":
    main()
