"""Which quantity of a block lies where in its scratch array, and what a block hands back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from optbench.descend.plan import Plan

LANES = 64
STATISTICS = ("ending", "start", "loss", "slope", "best", "best_step")
"""What a block hands back, a row each, before the first steps at the targets; slope is the squared gradient norm,
ending is ENDINGS times the last step plus the code of how the row ended, 0 while it runs."""
ENDINGS = 8
FAR = 7
"""The code of a row where an argument of sin or cos was out of their reach."""


@dataclass(frozen=True)
class Layout:
    """Which quantity lies where.

    Attributes:
        dim: number of coordinates.
        memories: names of the rule's memories.
        per_row: numbers that differ between rows, in the order of the kernel's `per_row` argument; "floor" is last.
        uniform: numbers that all rows share, likewise.
        tables: for the two tables, the coefficients' names and whether rows differ.
        targets: how many first steps are kept.
        plateau: whether that stop rule is in use.
    """

    dim: int
    memories: tuple[str, ...]
    per_row: tuple[str, ...]
    uniform: tuple[str, ...]
    tables: tuple[tuple[tuple[str, ...], bool], ...]
    targets: int
    plateau: bool

    @cached_property
    def slots(self) -> dict[str, int]:
        """Position of each quantity in the scratch array, in units of LANES."""
        names = [f"x[{i}]" for i in range(self.dim)]
        names += [f"{m}[{i}]" for m in self.memories for i in range(self.dim)]
        names += list(STATISTICS) + [f"reached{j}" for j in range(self.targets)]
        names += ["bound", *(("low", "low_step") if self.plateau else ()), *self.per_row]
        names += [name for coefficients, varied in self.tables if varied for name in coefficients]
        return {name: i for i, name in enumerate(names)}


def layout_of(plan: Plan, dim: int, targets: int, plateau: bool) -> Layout:
    """The layout that a plan needs."""
    numbers = dict(plan.hyper) | ({} if plan.floor is None else {"floor": plan.floor})
    rows = tuple(name for name, value in numbers.items() if isinstance(value, np.ndarray))
    tables = tuple((table.names, table.index is not None) for table in plan.tables)
    uniform = tuple(name for name in numbers if name not in rows)
    return Layout(dim, plan.rule.memories, rows, uniform, tables, targets, plateau)


def variable(quantity: str) -> str:
    """A name for generated code."""
    return "q_" + quantity.replace("[", "_").replace("]", "").replace(".", "_")


def at(layout: Layout, quantity: str) -> str:
    """Index of a lane's quantity in the scratch array, as text."""
    return f"lane + {layout.slots[quantity] * LANES}"
