"""The moving averages of the weights of all rows, at which they are judged: trainer.ema, as `loop.average` for one.

Where weights move as one (`columns`), the average of sums is the sum of averages, and of the products of decays the
average is kept too: a weight's average follows from both, which are linear in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.moving_average import follow


class Averages:
    """The averages of some rows; before the first update what they began with.

    Args:
        decay: in (0, 1).
        weights: (rows, width).
        statistics: name to (rows, ...).

    Attributes:
        weights, statistics: averages of these.
        kept: (rows,) of the products of decays.
    """

    def __init__(self, decay: float, weights: Tensor, statistics: Mapping[str, Tensor]) -> None:
        self._decay = decay
        self.weights = weights.clone()
        self.statistics = {name: value.clone() for name, value in statistics.items()}
        self.kept = np.ones(len(weights))

    def update(self, weights: Tensor, statistics: Mapping[str, Tensor], kept: NDArray[np.float64], count: int) -> None:
        """Takes what the update of this number, from 1, has made into account."""
        now = [weights, *(statistics[name] for name in self.statistics), torch.from_numpy(kept)]
        means = [self.weights, *self.statistics.values(), torch.from_numpy(self.kept)]
        for mean, value in zip(means, now, strict=True):
            follow([mean], [value], self._decay, count)

    def state(self) -> dict[str, Any]:
        """To be restored, on the CPU."""
        statistics = {name: value.cpu().clone() for name, value in self.statistics.items()}
        return {"weights": self.weights.cpu().clone(), "statistics": statistics, "kept": torch.from_numpy(self.kept)}

    def restore(self, state: Mapping[str, Any], where: Tensor) -> None:
        """Goes on from the rows `where` of what `state` gave."""
        device = self.weights.device
        self.weights = state["weights"][where].to(device)
        self.statistics = {name: value[where].to(device) for name, value in state["statistics"].items()}
        self.kept = state["kept"][where].numpy()

    def take(self, where: Tensor) -> None:
        """Keeps some of the rows."""
        self.weights = self.weights.index_select(0, where)
        self.statistics = {name: value.index_select(0, where) for name, value in self.statistics.items()}
        self.kept = self.kept[where.cpu().numpy()]
