"""One step of one row, as torch executes it, written down as a program of scalars.

The surface and the optimizer's rule run once on a sample point; every operation that reaches torch's dispatcher,
autograd's included, is lowered (`aten`) if any of its inputs depends on the row, and simply executed otherwise, so that
constants of any origin become numbers. A value of the row that Python asks for (`if x > 0`) shows as an operation too
and ends the trace: the engine then runs the batch without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import optbench.descend.aten_losses  # noqa: F401  registers its operations
from optbench.descend.aten import LOWERINGS
from optbench.descend.plan import Plan
from optbench.descend.portable_noise import NOISE
from optbench.descend.program import Program, Step, Value
from optbench.problem import Objective
from optbench.tracing import SymbolTracer

MAX_DIM = 16
"""Largest dimension that is worth unrolling."""


class Tracer(SymbolTracer):
    """Lowers every operation on tracked tensors into its program."""

    def __init__(self) -> None:
        super().__init__()
        self.program = Program()

    def refuse(self, name: str, words: str) -> Exception:
        return NotImplementedError(f"aten.{name}")

    def lower(self, name: str, args: Any, kwargs: Any) -> Any:
        if name not in LOWERINGS:
            raise self.refuse(name, "")
        return LOWERINGS[name](self.program, *args, **kwargs)

    def values(self, tensor: Tensor, shape: tuple[int, ...]) -> list[Value]:
        """What a tensor holds, as values of the program."""
        symbols = np.broadcast_to(self.symbols(tensor), shape)
        return [self.program.lifted(symbol) for symbol in symbols.reshape(-1).tolist()]


def trace_step(objective: Objective, sample: Sequence[float], plan: Plan, noisy: bool = False) -> Step:
    """One step from any point.

    Args:
        objective: the scalar field.
        sample: (dim,) a point where it can be evaluated.
        plan: the optimizer's rule and the names of its numbers.
        noisy: whether the rule is given the gradient plus an input `noise`, a number a coordinate; the step's own
            gradient is without it.

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
            seen = gradient + _input(tracer, torch.full_like(gradient, 0.5), NOISE) if noisy else gradient
            following, after = plan.rule.update(x.detach(), seen, memory, plan.structured(numbers), t)
    return Step(
        tracer.program,
        tracer.values(loss, ())[0],
        tracer.values(gradient, (dim,)),
        tracer.values(following, (dim,)),
        {name: tracer.values(value, (dim,)) for name, value in after.items()},
    )


def trace_update(plan: Plan) -> tuple[Program, Value, dict[str, Value]]:
    """The update of one coordinate alone, as a program of `x[0]`, its gradient `g[0]`, memories and numbers.

    Returns:
        The program, the next iterate and the next memories. Raises NotImplementedError, see trace_step.
    """
    tracer = Tracer()
    with tracer, torch.no_grad():
        sample = torch.tensor([0.5], dtype=torch.float64)
        x, gradient = (_input(tracer, sample.clone(), name) for name in ("x", "g"))
        memory = {name: _input(tracer, sample.clone(), name) for name in plan.rule.memories}
        names = [*plan.hyper, *plan.tables[0].names, "t"]
        numbers = {name: _input(tracer, torch.tensor(0.5, dtype=torch.float64), name) for name in names}
        t = numbers.pop("t")
        following, after = plan.rule.update(x, gradient, memory, plan.structured(numbers), t)
    after_values = {name: tracer.values(value, (1,))[0] for name, value in after.items()}
    return tracer.program, tracer.values(following, (1,))[0], after_values


def _input(tracer: Tracer, tensor: Tensor, name: str) -> Tensor:
    if tensor.ndim:
        values = [tracer.program.input(f"{name}[{i}]") for i in range(len(tensor))]
        tracer.track(tensor, np.array(values, dtype=object))
    else:
        tracer.track(tensor, np.array(tracer.program.input(name), dtype=object))
    return tensor


def trace_jet(objective: Objective, sample: Sequence[float]) -> tuple[Program, list[Value]]:
    """Value, gradient and Hessian (row by row) of a surface, as a program of x. Raises NotImplementedError."""
    if len(sample) > MAX_DIM:
        raise NotImplementedError(f"{len(sample)} dimensions")
    tracer = Tracer()
    with tracer:
        x = _input(tracer, torch.tensor(list(sample), dtype=torch.float64), "x")
        x.requires_grad_(True)
        value = objective(x)
        gradient = _derivative(value, x)
        rows = [_derivative(gradient[i], x) for i in range(len(sample))]
    dim = len(sample)
    found = [*tracer.values(value, ()), *tracer.values(gradient, (dim,))]
    return tracer.program, [*found, *(entry for row in rows for entry in tracer.values(row, (dim,)))]


def _derivative(value: Tensor, x: Tensor) -> Tensor:
    if not value.requires_grad:  # a constant, a linear function's gradient
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(value, x, create_graph=True, materialize_grads=True)
    return found
