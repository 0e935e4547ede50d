"""SAM, sharpness-aware minimisation: the gradient is that of the worst point nearby (Foret et al. 2021, equation 2).

The first pass finds g at w, the second the gradient at w + rho g / |g|, which is what the optimizer steps by from w.
ASAM (Kwon et al. 2021) measures the distance in units of the weights: w + rho T^2 g / |T g| with T = |w| + eta.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from optbench.wrapper_base import AbstractWrapper, Closure, copies, with_gradients

TINY = 1e-12
"""Added to the norm, as in the authors' code."""
ETA = 0.01
"""Of ASAM."""


class Sam(AbstractWrapper):
    """Two passes an update: up, and down from where it began.

    Args:
        inner: the optimizer, which measures once an update.
        rho: how far up, at least 0; at 0 the gradient is taken twice at one place.
        adaptive: whether the distance is relative to the weights (ASAM, whose authors take a rho of about 10 times
            SAM's).

    Raises:
        ValueError: rho below 0.
    """

    def __init__(self, inner: Optimizer, rho: float = 0.05, adaptive: bool = False) -> None:
        if not rho >= 0.0:
            raise ValueError(f"rho={rho}: expected a number that is not negative")
        super().__init__(inner)
        self.rho, self.adaptive = rho, adaptive

    def update(self, closure: Closure) -> None:
        def twice() -> Any:
            loss = closure()
            own = with_gradients(self.parameters)
            before = copies(own)
            self._climb(own)
            try:
                if closure() is None:
                    raise RuntimeError("SAM takes the gradient at two places, so step needs a closure")
            finally:
                with torch.no_grad():
                    for parameter, value in zip(own, before, strict=True):
                        parameter.copy_(value)
            return loss

        self.drive(twice)

    @torch.no_grad()
    def _climb(self, own: list[Tensor]) -> None:
        way = [p.grad for p in own if p.grad is not None]
        scales = [p.abs() + ETA for p in own] if self.adaptive else []
        if scales:
            way = list(torch._foreach_mul(way, scales))
        norm = get_total_norm(way) + TINY
        if scales:
            way = list(torch._foreach_mul(way, scales))
        torch._foreach_add_(own, torch._foreach_mul(way, self.rho / norm))
