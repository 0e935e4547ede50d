"""Adaptive gradient clipping: how long a gradient may be follows from the weights (Brock et al. 2021, equation 3).

Units are the rows of a matrix and the filters of a convolution; what has one dimension is one unit. The gradient of a
unit is at most `clipping` times the norm of its weights, which counts as `eps` at least. The last layer is never cut,
as its authors say; which that is follows from the module tree (`problem.roles`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from optbench.wrapper_base import AbstractWrapper, Closure, after, with_gradients

if TYPE_CHECKING:
    from optbench.problem.roles import Placed

LEAST = 1e-6
"""Norm of a gradient that is divided by."""


class Agc(AbstractWrapper):
    """Cuts the gradient of each unit.

    Args:
        inner: the optimizer.
        clipping: of the norm of the weights, positive.
        eps: least norm of weights, positive.
        placed: the parameters with their roles; without them none is of the head.

    Raises:
        ValueError: a number that is not positive.
    """

    def __init__(
        self, inner: Optimizer, clipping: float = 0.01, eps: float = 1e-3, placed: Sequence[Placed] = ()
    ) -> None:
        if not clipping > 0.0 or not eps > 0.0:
            raise ValueError(f"clipping={clipping} eps={eps}: expected positive numbers")
        super().__init__(inner)
        self.clipping, self.eps = clipping, eps
        heads = {_layer(name) for one in placed if one.role == "head" for name in one.names}
        spared = {id(one.parameter) for one in placed if any(_layer(name) in heads for name in one.names)}
        self._spared = [id(p) in spared for p in self.parameters]

    def update(self, closure: Closure) -> None:
        self.drive(after(closure, self._cut))

    def _cut(self) -> None:
        spared = {id(p) for p, is_spared in zip(self.parameters, self._spared, strict=True) if is_spared}
        for p in with_gradients(self.parameters):
            if id(p) not in spared and p.grad is not None:
                longest = self.clipping * unit_norms(p).clamp(min=self.eps)
                p.grad.mul_((longest / unit_norms(p.grad).clamp(min=LEAST)).clamp(max=1.0))


def unit_norms(x: Tensor) -> Tensor:
    """The norm of each unit of a parameter, so shaped that it broadcasts against it."""
    inner = tuple(range(1, x.ndim)) or None
    norms: Tensor = torch.linalg.vector_norm(x, dim=inner, keepdim=inner is not None)
    return norms


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
