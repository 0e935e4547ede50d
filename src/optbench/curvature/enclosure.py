"""The loss along a line, L(w + t v), enclosed at t = 0 with its first two derivatives, by interval arithmetic.

The model's own code runs on tensors; beside every tensor that depends on t goes a `Series` of intervals, made by the
rules of `interval_rules` from those of its operands. What is enclosed is the loss as programmed, as a function of real
numbers: weights, buffers and inputs are the very numbers that the program uses, and no rounding of the program's own is
part of it. Operations without a rule, and those that would change a tensor that others see, are refused by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from optbench.curvature import series
from optbench.curvature.interval_rules import TABLE
from optbench.curvature.objective import Part
from optbench.curvature.operands import MOVES, NoRule, Result, moved, numbers, shape_of
from optbench.curvature.series import Series
from optbench.tracing import NO_VALUES


class _Beside(TorchDispatchMode):
    """Runs the rules beside the program.

    Attributes:
        unknown: operation, with the layer in which it happened: at how many numbers something became unknown there.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unknown: Counter[str] = Counter()
        self._series = WeakTensorKeyDictionary()
        self._layers: list[str] = []

    def put(self, tensor: Tensor, found: Series | None) -> None:
        """Takes the series of a tensor; None: it depends on t and may not be looked at."""
        self._series[tensor] = None if found is None else found.full(shape_of(tensor))

    def of(self, tensor: Tensor) -> Series | None:
        """The series of a tensor; None where it does not depend on t."""
        found: Series | None = self._series.get(tensor)
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        operands, found = [], []
        tree_map(lambda x: operands.append(x) if isinstance(x, Tensor) and x in self._series else None, (args, kwargs))
        name = func.overloadpacket.__name__
        if not operands or name in NO_VALUES:  # what sees nothing of its operands but their shape is constant
            return out
        if any(self._series[x] is None for x in operands):
            raise NoRule(self._where(f"what {name} looks at"))
        result = self._apply(func, name, args, kwargs, out)
        outputs = out if isinstance(out, list | tuple) else (out,)
        for tensor, one in zip(outputs, result if isinstance(result, tuple) else (result,), strict=True):
            self.put(tensor, one)
            found.append(one)
        self._count(name, [self._series[x] for x in operands], found)
        return out

    def _apply(self, func: Any, name: str, args: Any, kwargs: dict[str, Any], out: Any) -> Result:
        given = tree_map(lambda x: self._series.get(x, x) if isinstance(x, Tensor) else x, args)
        named = {k: self._series.get(v, v) if isinstance(v, Tensor) else v for k, v in kwargs.items()}
        if func._schema.is_mutable and not self._alone(name, args):
            raise NoRule(self._where(f"{name}, in place,"))
        try:
            if name in MOVES and isinstance(given[0], Series):
                return moved(func, given, kwargs, args[0])
            rule = TABLE.get(name) or TABLE.get(name.removesuffix("_"))
            if rule is None:
                raise NoRule(name)
            named["out"] = out[0] if isinstance(out, list | tuple) else out
            if not _takes(rule, given, named):
                raise NoRule(f"{func.__name__} with these arguments")
            return rule(*given, **named)
        except NoRule as error:
            raise NoRule(self._where(str(error))) from error

    def _alone(self, name: str, args: Any) -> bool:
        """Whether an operation changes a tensor whose storage no other tensor with a series shares."""
        target = args[0] if args else None
        if not name.endswith("_") or not isinstance(target, Tensor) or target not in self._series:
            return False
        storage = target.untyped_storage().data_ptr()
        sharing = [t for t in self._series if t.untyped_storage().data_ptr() == storage]
        return len(sharing) == 1

    def _count(self, name: str, before: list[Series], after: list[Series | None]) -> None:
        """Notes where something became unknown that was known."""
        if all(s.known().all() for s in before):
            lost = sum(int((~s.known()).sum()) for s in after if s is not None)
            if lost:
                self.unknown[self._where(name)] += lost

    def _where(self, what: str) -> str:
        return f"{what} in {self._layers[-1]}" if self._layers else what

    @contextmanager
    def layers(self) -> Iterator[None]:
        """Follows which layer is at work."""

        def enter(module: nn.Module, _: Any) -> None:
            self._layers.append(type(module).__name__)

        def leave(*_: Any) -> None:
            self._layers.pop()

        handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _takes(rule: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a rule knows this overload of its operation."""
    try:
        signature(rule).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


@torch.no_grad()
def enclose_part(part: Part, weights: Tensor, direction: Tensor | None, order: int) -> tuple[Series, Counter[str]]:
    """One part of a loss at weights + t direction.

    Args:
        part: float (n,) to a scalar.
        weights: (n,), floating point of at most 64 bits: exact.
        direction: (n,), exact; None for order 0.
        order: highest derivative by t, 0 to 2.

    Returns:
        The series of one number, shape (1,), and where something became unknown on the way.

    Raises:
        NoRule: an operation that depends on the weights has no interval rule; the message names it and its layer.
    """
    beside = _Beside()
    at = weights.detach().clone()
    start = numbers(at)
    along = np.zeros_like(start) if direction is None else numbers(direction)
    with np.errstate(all="ignore"), beside.layers(), beside:
        beside.put(at, series.line(start, along, order))
        found = beside.of(value := part(at))
    if found is None:
        return series.constant(numbers(value), order), beside.unknown
    return found, beside.unknown
