"""What figures over runs, targets and problems show, as plain numbers; `plot.over_problems` draws them.

Each takes a Comparison and names what it leaves out: a configuration that did not run on every problem, or of which a
run has no curve, has no place in a figure over all of them, and a reader must know which those are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optbench.comparison.comparison import Comparison
from optbench.comparison.targets import Aim, answered
from optbench.errors import UserError
from optbench.records.chosen import criteria
from optbench.records.columns import Floats


@dataclass(frozen=True)
class Drop:
    """Configurations that are not in a figure, and why, in words."""

    why: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Distribution:
    """The share of pairs of a run and a target that a configuration had answered by each cost.

    Attributes:
        label: of the configuration.
        costs, shares: (m,) where it rises, ascending, and what it is from there on; 0 before.
        end: largest cost that one of its runs spent: beyond, nothing was measured.
    """

    label: str
    costs: Floats
    shares: Floats
    end: float


@dataclass(frozen=True)
class Distributions:
    """Distributions of runtimes over the problems that all their configurations share.

    Attributes:
        lines: one a configuration.
        cost: unit of the costs.
        targets: of each problem, its name and which targets it has, in words.
        runs: the least and the largest number of runs of a configuration on a problem.
        left_out: what has no line.
        said: what must be said beside, a sentence each.
    """

    lines: tuple[Distribution, ...]
    cost: str
    targets: tuple[tuple[str, str], ...]
    runs: tuple[int, int]
    left_out: tuple[Drop, ...]
    said: tuple[str, ...]


WITHOUT_CURVES = "without a recorded curve"
NOT_EVERYWHERE = "not on every problem"


def distributions(found: Comparison, aim: Aim) -> Distributions:
    """The distribution of runtimes of each configuration over runs, targets and problems; each problem counts alike.

    Args:
        found: the runs.
        aim: which targets, and what costs are counted in.

    Raises:
        UserError: no configuration has curves on all problems, or no targets are known for one of them.
        RecordError: a curve that cannot be read.
    """
    from optbench.metrics.ecdf import ecdf

    hits: dict[str, list[Floats]] = {}
    ends: dict[str, list[float]] = {}
    targets: list[tuple[str, str]] = []
    said: list[str] = []
    count = 0
    for one in answered(found.problems, aim, criteria(found.checkpoint)):
        said += [one.unrecorded] if one.unrecorded else []
        count += 1
        if one.runtimes is None:
            continue
        targets.append((one.problem, one.words))
        for place in np.unique(one.runtimes.codes).tolist():
            own = one.runtimes.codes == place
            hits.setdefault(one.groups[place].label, []).append(one.runtimes.hits[own])
            ends.setdefault(one.groups[place].label, []).append(float(one.runtimes.ends[own].max()))
    whole = [label for label, own in hits.items() if len(own) == count]
    if not whole:
        raise UserError(
            "--figure ecdf: no configuration has a curve of every run on every problem",
            "the same `optbench sweep` with --curves N records them; --filter leaves problems out",
        )
    lines = []
    for label in whole:
        steps = ecdf(hits[label])
        lines.append(Distribution(label, steps.costs, steps.shares, max(ends[label])))
    sizes = [len(runs) for label in whole for runs in hits[label]]
    return Distributions(
        tuple(lines), aim.cost, tuple(targets), (min(sizes), max(sizes)), _left_out(found, whole, hits), tuple(said)
    )


def _left_out(found: Comparison, shown: Sequence[str], curved: dict[str, list[Floats]]) -> tuple[Drop, ...]:
    """The configurations without a line, by why."""
    problems = {label: {g.problem for g in found.groups if g.label == label} for label in _labels(found)}
    missing = [label for label in problems if label not in shown]
    bare = [label for label in missing if len(problems[label]) > len(curved.get(label, ()))]
    drops = ((WITHOUT_CURVES, bare), (NOT_EVERYWHERE, [label for label in missing if label not in bare]))
    return tuple(Drop(why, tuple(names)) for why, names in drops if names)


def _labels(found: Comparison) -> list[str]:
    """The configurations by name, in order of appearance."""
    return list(dict.fromkeys(group.label for group in found.groups))
