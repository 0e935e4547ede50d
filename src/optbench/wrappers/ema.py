"""The exponential moving average of the weights, at which a run is judged (Polyak & Juditsky 1992; Tan & Le 2019)."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from optbench.moving_average import follow
from optbench.wrapper_base import AbstractWrapper, Closure, copies


class Ema(AbstractWrapper):
    """Weights of late updates count most, those before the first not at all: see `moving_average`.

    Args:
        inner: the optimizer.
        decay: in (0, 1).

    Raises:
        ValueError: decay outside its range.
    """

    def __init__(self, inner: Optimizer, decay: float = 0.99) -> None:
        if not 0.0 < decay < 1.0:
            raise ValueError(f"decay={decay}: expected a number between 0 and 1")
        super().__init__(inner)
        self.decay = decay

    def update(self, closure: Closure) -> None:
        self.drive(closure)
        if "mean" not in self.memory:
            self.memory = {"mean": copies(self.parameters), "updates": 0}
        self.memory["updates"] += 1
        follow(self.memory["mean"], self.parameters, self.decay, self.memory["updates"])

    def answer(self) -> list[Tensor] | None:
        return self.memory.get("mean")
