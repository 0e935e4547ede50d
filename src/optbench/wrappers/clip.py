"""Gradients that are too long are cut before the optimizer sees them (Pascanu, Mikolov & Bengio 2013)."""

from __future__ import annotations

from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from optbench.wrapper_base import AbstractWrapper, Closure, after


class Clip(AbstractWrapper):
    """Cuts the gradient of every pass.

    Args:
        inner: the optimizer.
        norm: of all gradients together, to which a longer one is shortened; None: not by norm.
        value: size to which each number of them is cut, before that; None: not by value.

    Raises:
        ValueError: neither is given, or one is not positive.
    """

    def __init__(self, inner: Optimizer, norm: float | None = 1.0, value: float | None = None) -> None:
        if norm is None and value is None:
            raise ValueError("norm=null beside value=null: expected a bound")
        for key, bound in (("norm", norm), ("value", value)):
            if bound is not None and not bound > 0.0:
                raise ValueError(f"{key}={bound}: expected a positive number")
        super().__init__(inner)
        self.norm, self.value = norm, value

    def update(self, closure: Closure) -> None:
        self.drive(after(closure, self._cut))

    def _cut(self) -> None:
        if self.value is not None:
            clip_grad_value_(self.parameters, self.value)
        if self.norm is not None:
            clip_grad_norm_(self.parameters, self.norm)
