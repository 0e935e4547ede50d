"""One step of one row, as torch executes it, written down as a program of scalars.

The surface and the optimizer's rule run once on a sample point; every operation that reaches torch's dispatcher,
autograd's included, is lowered (`aten`) if any of its inputs depends on the row, and simply executed otherwise, so that
constants of any origin become numbers. A value of the row that Python asks for (`if x > 0`) shows as an operation too
and ends the trace: the engine then runs the batch without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import optbench.descend.aten_losses  # noqa: F401  registers its operations
from optbench.descend.aten import LOWERINGS
from optbench.descend.plan import Plan
from optbench.descend.program import Array, Program, Value
from optbench.problem import Objective

MAX_DIM = 16
"""Largest dimension that is worth unrolling."""
_NO_VALUES = frozenset({"ones_like", "zeros_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full",
                        "new_empty"})  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step: the values that come out of it, by what they are.

    Attributes:
        program: all instructions.
        loss: the objective at x.
        gradient: (dim,) its gradient.
        x: (dim,) the next iterate.
        memory: name to (dim,) the next memories.
    """

    program: Program
    loss: Value
    gradient: Sequence[Value]
    x: Sequence[Value]
    memory: Mapping[str, Sequence[Value]]


class Tracer(TorchDispatchMode):
    """Lowers every operation on tracked tensors into its program."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler (2 s) to keep it away from here

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.program = Program()
        self._arrays: dict[int, Array] = {}
        self._storages: dict[int, set[int]] = {}
        self._alive: list[Tensor] = []

    def track(self, tensor: Tensor, array: Array) -> None:
        """Says which values a tensor holds."""
        self._arrays[id(tensor)] = array
        self._storages.setdefault(tensor.untyped_storage()._cdata, set()).add(id(tensor))
        self._alive.append(tensor)  # an id must not be used again

    def array(self, tensor: Tensor) -> Array:
        """The values that a tensor holds."""
        found = self._arrays.get(id(tensor))
        return self.program.constants(tensor.detach().numpy()) if found is None else found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name in _NO_VALUES or not self._depends((args, kwargs)):
            return result
        in_place = name.endswith("_") and not name.startswith("_")
        lowering = LOWERINGS.get(name[:-1] if in_place else name)
        if lowering is None or func._overloadname == "out":
            raise NotImplementedError(f"aten.{name}")
        lowered = lowering(self.program, *self._plain(args), **self._plain(kwargs))
        if in_place:
            self._overwrite(name, args[0], lowered)
        elif isinstance(result, Tensor):
            self.track(result, lowered)
        else:
            for tensor, array in zip(result, lowered, strict=True):
                self.track(tensor, array)
        return result

    def _overwrite(self, name: str, tensor: Tensor, array: Array) -> None:
        if len(self._storages.get(tensor.untyped_storage()._cdata, ())) > 1 or tensor._base is not None:
            raise NotImplementedError(f"aten.{name} on a view")
        self.track(tensor, np.broadcast_to(array, tuple(tensor.shape)))

    def _depends(self, value: Any) -> bool:
        if isinstance(value, Tensor):
            return id(value) in self._arrays
        if isinstance(value, dict):
            return any(map(self._depends, value.values()))
        return isinstance(value, list | tuple) and any(map(self._depends, value))

    def _plain(self, value: Any) -> Any:
        """The same arguments with tracked tensors as arrays of values and others as arrays of numbers."""
        if isinstance(value, Tensor):
            return self._arrays[id(value)] if id(value) in self._arrays else value.detach().numpy()
        if isinstance(value, dict):
            return {k: self._plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._plain(v) for v in value)
        return value


def trace_step(objective: Objective, sample: Sequence[float], plan: Plan) -> Step:
    """One step from any point.

    Args:
        objective: the scalar field.
        sample: (dim,) a point where it can be evaluated.
        plan: the optimizer's rule and the names of its numbers.

    Raises:
        NotImplementedError: an operation that has no lowering, by its name; data-dependent control flow is one.
    """
    dim = len(sample)
    if dim > MAX_DIM:
        raise NotImplementedError(f"{dim} dimensions")
    tracer = Tracer()
    names = [*plan.hyper, *plan.tables[0].names, "t"]
    with tracer:
        x = _input(tracer, torch.tensor(list(sample), dtype=torch.float64), "x")
        memory = {name: _input(tracer, torch.full_like(x, 0.5), name) for name in plan.rule.memories}
        numbers = {name: _input(tracer, torch.tensor(0.5, dtype=torch.float64), name) for name in names}
        x.requires_grad_(True)
        loss = objective(x)
        (gradient,) = torch.autograd.grad(loss, x)
        with torch.no_grad():
            t = numbers.pop("t")
            following, after = plan.rule.update(x.detach(), gradient, memory, plan.structured(numbers), t)
    return Step(
        tracer.program,
        tracer.array(loss).item(),
        tracer.array(gradient).tolist(),
        tracer.array(following).tolist(),
        {name: np.broadcast_to(tracer.array(value), (dim,)).tolist() for name, value in after.items()},
    )


def _input(tracer: Tracer, tensor: Tensor, name: str) -> Tensor:
    if tensor.ndim:
        values = [tracer.program.input(f"{name}[{i}]") for i in range(len(tensor))]
        tracer.track(tensor, np.array(values, dtype=object))
    else:
        tracer.track(tensor, np.array(tracer.program.input(name), dtype=object))
    return tensor
