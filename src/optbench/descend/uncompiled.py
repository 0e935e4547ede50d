"""Optimizers made without torch's compiler.

The first call of some methods of `torch.optim.Optimizer` imports the compiler (1.4 s) to keep it away from them.
Nothing is compiled where an optimizer is only made, to hear whether it takes its numbers: they are called as they are.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from torch.optim import Optimizer

_MARK = "__dynamo_disable"  # where torch._compile keeps what it calls instead of a method


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Within it optimizers are created, and gradients zeroed, without the compiler; it is imported where it must be."""
    plain = [method.__wrapped__ for method in vars(Optimizer).values() if hasattr(method, "__wrapped__")]
    marked = [] if "torch._dynamo" in sys.modules else [f for f in plain if not hasattr(f, _MARK)]
    for function in marked:
        setattr(function, _MARK, function)
    try:
        yield
    finally:
        for function in marked:
            if getattr(function, _MARK, None) is function:
                delattr(function, _MARK)
