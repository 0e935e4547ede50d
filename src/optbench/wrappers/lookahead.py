"""Lookahead: k steps forward, one step back (Zhang, Lucas, Hinton & Ba 2019, algorithm 1).

The optimizer's weights are the fast ones. Every k updates the slow weights go a share alpha of the way to them, and the
fast ones begin again from there; the memories of the optimizer stay as they are, which is the authors' default. What
is judged are the slow weights, which between two meetings are those of the last one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from optbench.wrapper_base import AbstractWrapper, Closure, copies


class Lookahead(AbstractWrapper):
    """Slow weights behind an optimizer.

    Args:
        inner: the optimizer.
        k: updates between two steps of the slow weights, at least 1.
        alpha: their step, in [0, 1]; at 1 the fast weights are the optimizer's own.

    Raises:
        ValueError: k or alpha outside its range.
    """

    def __init__(self, inner: Optimizer, k: int = 5, alpha: float = 0.5) -> None:
        if k < 1 or not 0.0 <= alpha <= 1.0:
            raise ValueError(f"k={k} alpha={alpha}: expected k of at least 1 and alpha in [0, 1]")
        super().__init__(inner)
        self.k, self.alpha = k, alpha

    def update(self, closure: Closure) -> None:
        if "slow" not in self.memory:
            self.memory = {"slow": copies(self.parameters), "updates": 0}
        self.drive(closure)
        self.memory["updates"] += 1
        if self.memory["updates"] % self.k == 0:
            self._meet()

    @torch.no_grad()
    def _meet(self) -> None:
        for slow, fast in zip(self.memory["slow"], self.parameters, strict=True):
            slow.lerp_(fast, self.alpha)
            fast.copy_(slow)

    def answer(self) -> list[Tensor] | None:
        return self.memory.get("slow")
