"""Stochastic weight averaging: the mean of the weights that the end of a run passes (Izmailov et al. 2018).

The mean itself is torch's (`torch.optim.swa_utils`). It begins with the weights after `start` of the run and takes
those after every further `every` updates. From there on the learning rate may be another, constant one, as the method
has it; where parameter groups begin with different rates, theirs keep their ratio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import get_swa_multi_avg_fn

from optbench.wrapper_base import AbstractWrapper, Closure, copies


class Swa(AbstractWrapper):
    """Judged at the mean of the weights, from a share of the run on.

    Args:
        inner: the optimizer.
        start: share of the run after which averaging begins, in [0, 1].
        lr: constant learning rate from there on; None: whatever the schedule says.
        every: updates between two weights of the mean; None: `epoch`.
        steps: updates of the run.
        epoch: updates of an epoch; None: 1.

    Raises:
        ValueError: start, lr or every outside its range.
    """

    def __init__(
        self,
        inner: Optimizer,
        start: float = 0.75,
        lr: float | None = None,
        every: int | None = None,
        steps: int = 1,
        epoch: int | None = None,
    ) -> None:
        if not 0.0 <= start <= 1.0 or (lr is not None and not lr > 0.0) or (every is not None and every < 1):
            raise ValueError(f"start={start} lr={lr} every={every}: expected a share, a positive rate, at least 1")
        super().__init__(inner)
        self.begin, self.lr, self.every = max(1, math.ceil(start * steps)), lr, every or epoch or 1

    def rate(self, group: Mapping[str, Any]) -> float:
        first = self.param_groups[0]
        if self.lr is None or self.memory.get("updates", 0) < self.begin:
            return super().rate(group)
        return self.lr * (group.get("initial_lr", 1.0) / first["initial_lr"] if "initial_lr" in first else 1.0)

    def update(self, closure: Closure) -> None:
        scheduled = [group["lr"] for group in self.param_groups]
        for group, lr in zip(self.param_groups, [self.rate(group) for group in self.param_groups], strict=True):
            group["lr"] = lr
        try:
            self.drive(closure)
        finally:
            for group, lr in zip(self.param_groups, scheduled, strict=True):
                group["lr"] = lr
        made = self.memory["updates"] = self.memory.get("updates", 0) + 1
        if made >= self.begin and (made - self.begin) % self.every == 0:
            self._take()

    def _take(self) -> None:
        if "mean" not in self.memory:
            self.memory |= {"mean": copies(self.parameters), "taken": 0}
        get_swa_multi_avg_fn()(self.memory["mean"], [p.detach() for p in self.parameters], self.memory["taken"])
        self.memory["taken"] += 1

    def answer(self) -> list[Tensor] | None:
        return self.memory.get("mean")
