"""Optimizers as pure functions of rows, found by the `_target_` of the configuration.

A rule maps (x, gradient, memories, hyperparameters, t) to the next x and the next memories. It is elementwise, so that
the same function serves tensors (dim, rows) of many runs at once and, traced, one scalar coordinate. Memories start at
0. Every number may be a Python float or a tensor that broadcasts, one value a row. What depends on t and on
hyperparameters alone (bias corrections ...) is a *coefficient*, tabulated beforehand in float64.

torch's own optimizers have their rules in `torch_rules`. Any other optimizer joins by deriving from
`optimizer_base.AbstractPureOptimizer`, or by two attributes of its class:

    memories: tuple[str, ...]
    @staticmethod
    def pure(x, gradient, memory, hyper, t) -> (next x, next memory)

with `hyper` a parameter group whose numbers may be tensors, `lr` the scheduled learning rate and t = 0, 1, 2 ...; or by
one, `on_vectors`, the `_target_` of the torch optimizer that it is when its only parameter is one vector.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.descend.uncompiled import uncompiled

Number = Any  # float | Tensor: arithmetic between the two is what both engines live on
Values = Mapping[str, Any]
Update = Callable[[Tensor, Tensor, Mapping[str, Tensor], Values, Number], tuple[Tensor, dict[str, Tensor]]]


class UnsupportedError(Exception):
    """Why something cannot run as rows; the reference loop can run it."""


def _none(t: NDArray[np.float64], hyper: Values) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Rule:
    """An optimizer, with its numbers.

    Attributes:
        memories: names of the tensors that it carries from step to step.
        update: see the module.
        hyper: its hyperparameters and what derives from them: a float, or float64 (rows,); strings stay strings.
        coefficients: (t, hyper) -> name to array; t is 0, 1, 2 ... and broadcasts against columns of hyperparameters.
        inputs: the hyperparameters that `coefficients` looks at.
    """

    memories: tuple[str, ...]
    update: Update
    hyper: Values
    coefficients: Callable[[NDArray[np.float64], Values], dict[str, Any]] = _none
    inputs: tuple[str, ...] = ()


def find(target: str) -> Any:
    """The object that a `_target_` names."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnsupportedError(f"{target} cannot be imported") from error


def rule_for(node: Mapping[str, Any]) -> Rule:
    """The rule of a configuration node whose per-row keywords are arrays. Raises UnsupportedError.

    A class has the rule of the class that states it, as long as nothing that it adds could change an update.
    """
    from optbench.descend.torch_rules import TORCH_RULES

    target = str(node["_target_"])
    keywords = {k: v for k, v in node.items() if not k.startswith("_")}
    foreign = [k for k in node if k.startswith("_") and k not in ("_target_", "_partial_")]
    foreign += [k for k, v in keywords.items() if isinstance(v, Mapping)]
    if foreign:
        raise UnsupportedError(f"what '{foreign[0]}' makes is known to the loop alone")
    made = find(target)
    base: Any
    for base in made.__mro__ if isinstance(made, type) else ():
        name = f"torch.optim.{base.__name__}"
        if "on_vectors" in vars(base):
            check_untouched(made, base)
            return _of_torch(base.on_vectors, keywords, only_known=False)
        if base.__module__.startswith("torch.optim") and name in TORCH_RULES:
            check_untouched(made, base)
            return _of_torch(name, keywords, only_known=True)
        if "pure" in vars(base):
            break
    return _own_rule(target, made, keywords)


def _of_torch(name: str, keywords: Mapping[str, Any], only_known: bool) -> Rule:
    from optbench.descend.torch_rules import TORCH_RULES

    try:
        return TORCH_RULES[name](keywords, only_known=only_known)
    except (TypeError, ValueError, LookupError) as error:  # null or a list where torch wants a number
        raise UnsupportedError(f"{name}: {error}") from error


_HARMLESS = frozenset({
    "__module__", "__qualname__", "__name__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__",
    "__annotate_func__", "__annotations_cache__", "__static_attributes__", "__firstlineno__", "__orig_bases__",
    "__parameters__", "__classcell__", "__abstractmethods__", "_abc_impl", "__repr__", "__str__", "__getstate__",
    "__setstate__", "state_dict", "load_state_dict",
})  # fmt: skip
"""What a class may have without changing an update: its names, and how its state is kept."""


def check_untouched(kind: type, known: type) -> None:
    """Raises UnsupportedError where a subclass has a method, hook or property that the class of the rule has not."""
    for cls in kind.__mro__[: kind.__mro__.index(known)]:
        for name, value in vars(cls).items():
            inherited = getattr(known, name, None)
            if name in _HARMLESS or (value is inherited and name != "step"):
                continue
            if callable(value) or hasattr(value, "__get__") or hasattr(known, name):
                # torch wraps `step` in its profiler's hook, class by class
                if name == "step" and callable(inherited) and inspect.unwrap(value) is inspect.unwrap(inherited):
                    continue
                raise UnsupportedError(
                    f"{kind.__name__} has its own {name}, which the rule of {known.__name__} has not"
                )


def _own_rule(target: str, make: Callable[..., Any], keywords: dict[str, Any]) -> Rule:
    first = {k: _first(v) for k, v in keywords.items()}
    group = _group(target, make, first)
    optimizer, entries = group
    kind = type(optimizer)
    if not (hasattr(kind, "pure") and hasattr(kind, "memories")):
        raise UnsupportedError(f"{target} has no pure update rule")
    check_untouched(kind, next(cls for cls in kind.__mro__ if "pure" in vars(cls)))
    hyper: dict[str, Any] = {k: v for k, v in entries.items() if k != "params"}
    for key, value in keywords.items():
        if isinstance(value, np.ndarray):
            hyper |= _spread(target, make, first, key, value, entries)
    return Rule(tuple(kind.memories), getattr(kind, "advance", kind.pure), hyper)


def _first(value: Any) -> Any:
    return value[0].tolist() if isinstance(value, np.ndarray) else value


def _group(target: str, make: Callable[..., Any], keywords: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    try:
        with uncompiled():
            optimizer = make([torch.zeros(1, requires_grad=True)], **keywords)
        return optimizer, optimizer.param_groups[0]
    except Exception as error:  # an optimizer is anyone's code
        raise UnsupportedError(f"{target}: {error}") from error


def _spread(
    target: str, make: Callable[..., Any], first: Mapping[str, Any], key: str, value: NDArray[Any], entries: Values
) -> dict[str, Any]:
    """Where the values of a per-row keyword go in the parameter group: found by building with another value.

    A keyword may have another name there (book_adam's beta1 is the group's momentum), but must arrive unchanged.
    """
    others = [row.tolist() for row in value if row.tolist() != first[key]]
    if not others:
        return {}
    changed = _group(target, make, {**first, key: others[0]})[1]
    names = [k for k in entries if k != "params" and entries[k] != changed[k]]
    given = tuple(others[0]) if isinstance(others[0], list) else others[0]
    if len(names) != 1 or changed[names[0]] not in (given, others[0]):
        raise UnsupportedError(f"{target}: '{key}' does not reach the update rule as it is given")
    columns = np.asarray(value, dtype=np.float64)
    return {names[0]: columns if columns.ndim == 1 else tuple(columns.T)}
