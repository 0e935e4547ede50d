"""The rule of an optimizer, found by the `_target_` of the configuration: torch's own, one's own, or none and why."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optbench.config.groups import KEYS
from optbench.descend.coefficients import Values
from optbench.descend.rule import Rule, UnsupportedError, find
from optbench.descend.torch_rules import TORCH_RULES
from optbench.descend.uncompiled import uncompiled


def rule_for(node: Mapping[str, Any]) -> Rule:
    """The rule of a configuration node whose per-row keywords are arrays. Raises UnsupportedError.

    A class has the rule of the class that states it, as long as nothing that it adds could change an update.
    """
    target = str(node["_target_"])
    if built := [key for key in KEYS if node.get(key)]:
        raise UnsupportedError(f"optimizer.{built[0]} is of the loop")
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
