"""Parameter groups in a stack: parts of a row of the matrix whose optimizers have other numbers, or another rule.

Each group is the plan of an optimizer of its own, with the schedule on its own rate, as torch's schedulers treat their
groups one by one. What lies in it is taken out of the matrices, moved, and put back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.descend.plan import Plan, learning_rates
from optbench.descend.rule import Rule
from optbench.stacked.updates import Apply, Numbers, forgets_the_smallest, moves_alike
from optbench.stacked.weights import Form

Keeps = NDArray[np.float64]


@dataclass(frozen=True)
class Grouped:
    """The plans of the groups, in the order of the optimizer's groups; what is asked of a plan as a whole is answered
    for the first.

    Attributes:
        plans: of each group.
        members: of each group, the names of its parameters.
        leading: the group whose decay a stack keeps: that of the weights on the inputs.
    """

    plans: Sequence[Plan]
    members: Sequence[Sequence[str]]
    leading: int = 0

    @property
    def rule(self) -> Rule:
        """The one with the most memories."""
        return max((plan.rule for plan in self.plans), key=lambda rule: len(rule.memories))

    @property
    def hyper(self) -> Mapping[str, Any]:
        """The numbers of the first group."""
        return self.plans[0].hyper

    def at(self, name: str) -> int:
        """The group of a parameter."""
        return next(i for i, names in enumerate(self.members) if name in names)


class GroupNumbers(Numbers):
    """The numbers of each group of each row at each update.

    Args:
        plan: of all rows.
        rows: which rows of it these are.
    """

    def __init__(self, plan: Grouped, rows: NDArray[np.int64]) -> None:
        super().__init__(plan.plans[0], rows)
        self.groups = plan
        self._parts = [Numbers(one, rows) for one in plan.plans]

    def at(self, t: int) -> Any:
        """Of each group (names, rows), and what decoupled decay leaves of a weight there, (rows,)."""
        return [(one.at(t), one.decay(t)) for one in self._parts]

    def decay(self, t: int) -> Keeps:
        """(rows,) the factor in the group of the weights on the inputs."""
        return self._parts[self.groups.leading].decay(t)

    def some(self, which: NDArray[np.int64]) -> GroupNumbers:
        """Those of some of the rows."""
        return GroupNumbers(self.groups, self.rows[which])


def forgets(plan: Plan | Grouped) -> bool:
    """As `updates.forgets_the_smallest`, of all groups."""
    return all(map(forgets_the_smallest, plan.plans if isinstance(plan, Grouped) else [plan]))


def numbers_of(plan: Plan | Grouped, rows: NDArray[np.int64]) -> Numbers:
    """The numbers of each row's rule at each update."""
    return GroupNumbers(plan, rows) if isinstance(plan, Grouped) else Numbers(plan, rows)


def further_rates(numbers: Numbers, i: int, steps: int) -> dict[str, list[float]]:
    """Of a row the learning rates of the groups after the first at so many updates, by the name of their column; empty
    where all begin with the same one (`loop.train.rates_of`)."""
    if not isinstance(numbers, GroupNumbers):
        return {}
    plans, row = numbers.groups.plans, numbers.rows[i : i + 1]
    begin = [float(lr[row[0]] if isinstance(lr := plan.hyper["lr"], np.ndarray) else lr) for plan in plans]
    if len(set(begin)) == 1:
        return {}
    found = [learning_rates(plan, row, np.arange(steps))[0] for plan in plans]
    return {f"lr{k}": rates.tolist() for k, rates in enumerate(found) if k}


def alike(plan: Plan | Grouped, first: str) -> str | None:
    """As `updates.moves_alike`, for groups that all do, of the group of a parameter."""
    if not isinstance(plan, Grouped):
        return moves_alike(plan, Numbers(plan, np.zeros(1, dtype=np.int64)).names)
    found = [alike(one, first) for one in plan.plans]
    return None if None in found else found[plan.at(first)]


def in_groups(plan: Grouped, form: Form, made: Callable[[Plan, Tensor | None], Apply]) -> Apply:
    """The update of all groups.

    Args:
        plan: of the groups.
        form: how the parameters lie in a row.
        made: of a plan and of how many weights move as one, its update.
    """
    spans = form.spans()
    parts = []
    for one, names in zip(plan.plans, plan.members, strict=True):
        own = [spans[name] for name in names]
        counts = None if form.counts is None else _taken(form.counts[None], own)[0].contiguous()
        decays = form.counts is not None and alike(one, "") == "decays"
        parts.append((own, len(one.rule.memories), made(one, counts), decays))

    def apply(x: Tensor, g: Tensor, memory: Tensor, numbers: Any, keep: Any, t: int) -> None:
        for (own, memories, update, decays), (of_group, kept) in zip(parts, numbers, strict=True):
            here, slope, held = _taken(x, own), _taken(g, own), _taken(memory[:memories], own)
            update(here, slope, held, of_group, kept if decays else np.ones_like(kept), t)
            _put(x, own, here)
            _put(memory[:memories], own, held)

    return apply


def _taken(whole: Tensor, spans: Sequence[tuple[int, int]]) -> Tensor:
    """(..., n) those numbers of (..., width), as a copy."""
    return torch.cat([whole[..., a:b] for a, b in spans], dim=-1)


def _put(whole: Tensor, spans: Sequence[tuple[int, int]], part: Tensor) -> None:
    for (a, b), own in zip(spans, part.split([b - a for a, b in spans], dim=-1), strict=True):
        whole[..., a:b].copy_(own)
