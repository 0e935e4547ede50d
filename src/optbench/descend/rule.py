"""Optimizers as pure functions of rows: what a rule is.

A rule maps (x, gradient, memories, hyperparameters, t) to the next x and the next memories. It is elementwise, so that
the same function serves tensors (dim, rows) of many runs at once and, traced, one scalar coordinate. Memories start at
0. Every number may be a Python float or a tensor that broadcasts, one value per row. What depends on t and on
hyperparameters alone (bias corrections ...) is a *coefficient*, tabulated beforehand in float64.

`rules` finds the rule of a `_target_`: torch's own optimizers have theirs in `torch_rules`; any other joins by deriving
from `optimizer_base.AbstractPureOptimizer`, or by two attributes of its class:

    memories: tuple[str, ...]
    @staticmethod
    def pure(x, gradient, memory, hyper, t) -> (next x, next memory)

with `hyper` a parameter group whose numbers may be tensors, `lr` the scheduled learning rate and t = 0, 1, 2 ...; or by
one, `on_vectors`, the `_target_` of the torch optimizer that it is when its only parameter is one vector.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optbench.descend.coefficients import Coefficients, Values, none

if TYPE_CHECKING:
    from torch import Tensor

Number = Any  # float | Tensor: arithmetic between the two is what both engines live on
Update = Callable[["Tensor", "Tensor", Mapping[str, "Tensor"], Values, Number], tuple["Tensor", dict[str, "Tensor"]]]


class UnsupportedError(Exception):
    """Why something cannot run as rows; the reference loop can run it."""


@dataclass(frozen=True)
class Rule:
    """An optimizer, with its numbers.

    Attributes:
        memories: names of the tensors that it carries from step to step.
        update: see the module.
        hyper: its hyperparameters and what derives from them: a float, or float64 (rows,); strings stay strings.
        coefficients: see the module of that name.
        inputs: the hyperparameters that they look at; without any there are none.
    """

    memories: tuple[str, ...]
    update: Update
    hyper: Values
    coefficients: Coefficients = none
    inputs: tuple[str, ...] = ()


def find(target: str) -> Any:
    """The object that a `_target_` names."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnsupportedError(f"{target} cannot be imported") from error


def floor_key(target: str) -> str | None:
    """The keyword that is the schedule's lowest learning rate, where it has one."""
    return "eta_min" if target.startswith("torch.optim.lr_scheduler.CosineAnnealing") else None
