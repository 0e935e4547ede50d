"""What the tests of the certified enumerator share: intervals from numbers, surfaces by name, checks against truth."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import members
import numpy as np
from surface_tools import make

from optbench.critical.arithmetic.ends import Array
from optbench.critical.arithmetic.interval import Interval
from optbench.critical.points.found import CriticalSet
from optbench.critical.programs.program import record
from optbench.problem import Objective, surface_objective

TABLE: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "critical_points.json").read_text())
DEGENERATE = {  # name: (Poincare index, verdict, basis, multiplicity) of the one region without a certified point
    "monkey_saddle": (-2, "saddle", "proved", 4),
    "quartic_bowl": (1, "minimum", "proved", 9),
    "x2_minus_y4": (-1, "saddle", "proved", 3),
    "ackley": (1, "minimum", "proved", None),  # a kink
}
CONTINUA = {"valley": 1, "linear_net": 2}


def objective_of(name: str) -> tuple[Objective, tuple[tuple[float, float], ...]]:
    """The scalar field and box of a surface in conf; `rosenbrock_3d` is rosenbrock at dim=3."""
    match = re.fullmatch(r"(\w+)_(\d+)d", name)
    surface = make(name) if name in members.surfaces() or match is None else make(match[1], int(match[2]))
    loss = "surface" if surface.label is None else "cross_entropy"
    return surface_objective(surface, members.make("loss", loss)), surface.domain


def intervals(low: Array, high: Array) -> list[Interval]:
    """The point x over boxes low, high (n, d)."""
    return [Interval.between(low[:, i], high[:, i]) for i in range(low.shape[1])]


def range_of(function: Objective, low: Array, high: Array) -> Interval:
    """The ranges of a function (..., d) -> (...) of plain torch code over boxes low, high (n, d)."""
    with np.errstate(all="ignore"):
        found = record(function, low.shape[1]).value(intervals(low, high))
    assert isinstance(found, Interval)
    return found


def escapes(function: Callable[..., Any], numbers: Array) -> int:
    """At how many rows of `numbers` (n, k) the exact value of function lies outside its thin interval."""
    found = range_of(lambda x: function(*x.unbind(-1)), numbers, numbers)
    count = 0
    for row, low, high in zip(numbers.tolist(), found.low.tolist(), found.high.tolist(), strict=True):
        exact = function(*map(Fraction, row))
        count += not (Fraction(low) <= exact <= Fraction(high))
    return count


def differences(entry: dict[str, Any], found: CriticalSet) -> list[str]:
    """Everything in which a certified result differs from an entry of the table."""
    width = [high - low for low, high in found.box]
    wrong, matched = [], set()
    truth = [p for p in entry["points"] if p["type"] in ("minimum", "maximum", "saddle")]
    for point in truth:
        here = [i for i, p in enumerate(found.points) if p.basis == "proved" and _at(p.x, p.radius, point["x"], width)]
        here = [i for i in here if found.points[i].type != "degenerate"]
        if len(here) != 1:
            wrong.append(f"{len(here)} certified points at {point['x']}")
            continue
        matched.add(here[0])
        same = found.points[here[0]]
        if (same.type, same.morse_index) != (point["type"], point["morse_index"]):
            wrong.append(f"{same.type} of index {same.morse_index} at {point['x']}, not {point['type']}")
        slack = 4e-16 * max(map(abs, point["eigenvalues"]))
        bounds = zip(point["eigenvalues"], same.eigenvalue_bounds, strict=True)
        if not all(low - slack <= value <= high + slack for value, (low, high) in bounds):
            wrong.append(f"eigenvalues {point['eigenvalues']} outside {same.eigenvalue_bounds}")
    extra = [p.x for i, p in enumerate(found.points) if i not in matched and p.type != "degenerate"]
    if extra:
        wrong.append(f"points that do not exist: {extra}")
    return wrong


def _at(x: Sequence[float], radius: float | None, truth: Sequence[float], width: Sequence[float]) -> bool:
    slack = [(radius or 0.0) + 4e-16 * (abs(t) + w) for t, w in zip(truth, width, strict=True)]
    return all(abs(a - b) <= s for a, b, s in zip(x, truth, slack, strict=True))
