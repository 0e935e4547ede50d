"""Optimizers made and stepped without torch's compiler.

The first call of some methods of `torch.optim.Optimizer`, and every `step`, import the compiler (1.4 to 2.7 s): the one
to keep it away from them, the other to end a graph that nobody records. Where nothing is compiled they are called as
they are, and in the compiler's place stands a module that knows the one function which `step` calls. It is the compiler
as soon as anything else of it is asked for, so that a model with `torch.compile` in it finds what it needs.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch.optim import Optimizer

_MARK = "__dynamo_disable"  # where torch._compile keeps what it calls instead of a method
_COMPILER = "torch._dynamo"


class _StandIn(types.ModuleType):
    """Stands for the compiler until more than `graph_break` is asked of it."""

    @staticmethod
    def graph_break(msg: str = "") -> None:
        """Ends no graph: none is recorded."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # who goes through all modules asks for nothing of this one
            raise AttributeError(name)
        _remove(self)
        return getattr(importlib.import_module(_COMPILER), name)


def _remove(standing: _StandIn) -> None:
    if sys.modules.get(_COMPILER) is standing:
        del sys.modules[_COMPILER]
    if vars(torch).get("_dynamo") is standing:
        delattr(torch, "_dynamo")


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Within it optimizers are created and stepped, and gradients zeroed, without the compiler; it is imported where it
    must be."""
    if _COMPILER in sys.modules:  # loaded already, or within another of these
        yield
        return
    plain = [method.__wrapped__ for method in vars(Optimizer).values() if hasattr(method, "__wrapped__")]
    marked = [f for f in plain if not hasattr(f, _MARK)]
    for function in marked:
        setattr(function, _MARK, function)
    standing = _StandIn(_COMPILER)
    sys.modules[_COMPILER] = standing
    torch._dynamo = standing
    try:
        yield
    finally:
        for function in marked:
            if getattr(function, _MARK, None) is function:
                delattr(function, _MARK)
        _remove(standing)
