"""Value, gradient and Hessian of an objective at many points at once, in units of the box.

Distances are measured in box widths and the function in a typical |gradient| x width of its own, so that no tolerance
of the search depends on how the user scaled x or f. The function's unit is a power of two: taking it out and putting it
back is exact. Derivatives come from reverse-mode differentiation of the batch's sum, whose rows do not mix: a NaN at
one point stays with that point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from optbench.critical.budget import Budget

if TYPE_CHECKING:
    from torch import Tensor

    from optbench.problem import Box, Objective

Array = npt.NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)
CHUNK = 32768  # points evaluated together; fewer where their Hessians hold more than
NUMBERS = 2**18  # numbers


@runtime_checkable
class Jets(Protocol):
    """An objective that knows its derivatives without torch, such as a traced program."""

    def derivatives(self, x: Array, order: int) -> tuple[Array, Array, Array]:
        """Value (n,), gradient (n, d) and Hessian (n, d, d) at x (n, d); above `order` anything."""


@dataclass(frozen=True)
class Jet:
    """Second-order expansions at n points, in box units.

    Attributes:
        value: (n,) f / unit.
        grad: (n, d) gradient x width / unit.
        hess: (n, d, d) Hessian x width x width / unit; symmetric.
    """

    value: Array
    grad: Array
    hess: Array

    def __getitem__(self, rows: npt.NDArray[np.bool_]) -> Jet:
        """The jets at some of the points."""
        return Jet(self.value[rows], self.grad[rows], self.hess[rows])

    def finite(self) -> npt.NDArray[np.bool_]:
        """(n,) True where value, gradient and Hessian are all finite."""
        first = np.isfinite(self.value) & np.isfinite(self.grad).all(axis=1)
        return first & np.isfinite(self.hess).all(axis=(1, 2))


class Field:
    """An objective on a box, with derivatives.

    Args:
        objective: torch callable (..., d) -> (...), or one that knows its derivatives.
        box: (low, high) of each axis.
        unit: what one unit of f is; use `calibrate` to choose it from samples.

    Attributes:
        budget: asked before each piece of work, which raises Spent when it is spent; None: no limit.
    """

    def __init__(self, objective: Objective | Jets, box: Box, unit: float = 1.0) -> None:
        self.objective = objective
        self._jets = objective if isinstance(objective, Jets) else None  # asking a protocol takes as long as a point
        self.low = np.array([low for low, _ in box])
        self.high = np.array([high for _, high in box])
        self.width = self.high - self.low
        self.dim = len(box)
        self.unit = unit
        self.budget: Budget | None = None

    def calibrate(self, x: Array) -> None:
        """Sets the unit to the median |gradient| x width over the points where the gradient is finite and not zero."""
        with np.errstate(over="ignore"):
            size = np.abs(self.gradient(x)[1]).max(axis=1) * self.unit
        size = size[np.isfinite(size) & (size > 0)]
        if len(size):
            # Clipped so that 1 / unit stays a normal number.
            self.unit = float(2.0 ** np.clip(np.round(np.log2(np.median(size))), -1000, 1000))

    def value(self, x: Array) -> Array:
        """(n,) f / unit at x (n, d)."""
        return np.concatenate([self._derivatives(part, order=0)[0] for part in self._parts(x, CHUNK)]) / self.unit

    def gradient(self, x: Array) -> tuple[Array, Array]:
        """(n,) value and (n, d) gradient at x (n, d), in box units."""
        found = [self._derivatives(part, order=1) for part in self._parts(x, CHUNK)]
        value, grad = (np.concatenate([f[i] for f in found]) for i in (0, 1))
        return value / self.unit, grad * (self.width / self.unit)

    def jet(self, x: Array) -> Jet:
        """Value, gradient and Hessian at x (n, d), in box units."""
        size = max(16, min(CHUNK, NUMBERS // self.dim**2))
        found = [self._derivatives(part, order=2) for part in self._parts(x, size)]
        value, grad, hess = (np.concatenate([f[i] for f in found]) for i in (0, 1, 2))
        scale = self.width / self.unit
        with np.errstate(invalid="ignore"):
            hess = 0.5 * (hess + hess.transpose(0, 2, 1)) * scale[:, None] * self.width
        return Jet(value / self.unit, grad * scale, hess)

    def native(self, jet: Jet) -> Jet:
        """The same jet in the user's units."""
        scale = self.unit / self.width
        return Jet(jet.value * self.unit, jet.grad * scale, jet.hess * scale[:, None] / self.width)

    def outside(self, x: Array) -> Array:
        """(n,) how far x (n, d) lies outside the box, in box widths; 0 inside."""
        gap = np.maximum(np.maximum(self.low - x, x - self.high), 0.0)
        return np.asarray((gap / self.width).max(axis=1))

    def _parts(self, x: Array, size: int) -> Iterator[Array]:
        """The points in pieces; before each the budget is asked."""
        whole = np.ascontiguousarray(x, dtype=np.float64)
        for part in [whole[first : first + size] for first in range(0, len(whole), size)] or [whole]:
            if self.budget is not None and len(part):
                self.budget.poll()
            yield part

    def _evaluate(self, x: Tensor) -> Tensor:
        import torch

        value: Tensor = self.objective(x)  # type: ignore[operator]  # not of those that know their derivatives
        return value.to(torch.float64).expand(x.shape[:-1])

    def _derivatives(self, points: Array, order: int) -> tuple[Array, Array, Array]:
        if self._jets is not None:
            return self._jets.derivatives(points, order)
        import torch

        x = torch.from_numpy(points if points.flags.writeable else points.copy()).requires_grad_(order > 0)
        value = self._evaluate(x)
        if not order:
            return value.detach().numpy(), np.empty(0), np.empty(0)
        n, dim = x.shape
        hess = torch.zeros(n, dim, dim, dtype=torch.float64)
        grad = _gradient_of_sum(value, x, create_graph=order > 1)
        if order > 1:
            for i in range(dim):
                hess[:, i] = _gradient_of_sum(grad[:, i], x, retain_graph=True)
        return value.detach().numpy(), grad.detach().numpy(), hess.numpy()


def _gradient_of_sum(value: Tensor, x: Tensor, create_graph: bool = False, retain_graph: bool = False) -> Tensor:
    """d sum(value) / dx; zeros where the value does not depend on x (a constant, a linear function's gradient)."""
    import torch

    if not value.requires_grad:
        return torch.zeros_like(x)
    keep = retain_graph or create_graph
    (found,) = torch.autograd.grad(value.sum(), x, create_graph=create_graph, retain_graph=keep, materialize_grads=True)
    return found
