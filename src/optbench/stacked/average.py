"""Weights beside those that are trained on, at which rows are judged: averages, as `loop.average` and `wrappers.ema`
have them for one run, and slow ones, as `wrappers.lookahead` has.

Where weights move as one (`columns`), the average of sums is the sum of averages, and of the products of decays the
average is kept too: a weight's average follows from both, which are linear in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.moving_average import follow
from optbench.settings import NetworkTrainer
from optbench.stacked.chain import UnstackedError


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
        """Takes what the update of this number, from 1, has made into account; it may change that, in place."""
        now = [weights, *(statistics[name] for name in self.statistics), torch.from_numpy(kept)]
        means = [self.weights, *self.statistics.values(), torch.from_numpy(self.kept)]
        for mean, value in zip(means, now, strict=True):
            follow([mean], [value], self._decay, count)

    def state(self) -> dict[str, Any]:
        """To be restored, on the CPU."""
        statistics = {name: value.cpu().clone() for name, value in self.statistics.items()}
        kept = torch.from_numpy(self.kept).clone()
        return {"weights": self.weights.cpu().clone(), "statistics": statistics, "kept": kept}

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


class Slow(Averages):
    """The slow weights of some rows; every so many updates they go a share of the way to those that are trained on, and
    these begin again from there.

    Args:
        every: updates.
        share: in [0, 1].
        weights, statistics: as of `Averages`.
    """

    def __init__(self, every: int, share: float, weights: Tensor, statistics: Mapping[str, Tensor]) -> None:
        super().__init__(share, weights, statistics)
        self._every, self._share = every, share

    def update(self, weights: Tensor, statistics: Mapping[str, Tensor], kept: NDArray[np.float64], count: int) -> None:
        self.statistics = {name: value.clone() for name, value in statistics.items()}
        if count % self._every == 0:
            self.kept = self.kept + self._share * (kept - self.kept)
            kept[:] = self.kept
            with torch.no_grad():
                weights.copy_(self.weights.lerp_(weights, self._share))


@dataclass(frozen=True)
class Around:
    """What is put around the optimizer of a stack (`wrap=`), and trainer.ema.

    Attributes:
        norm, value: to which gradients are cut (`wrappers.clip`), after trainer.clip_norm; None: not.
        decay: of averages, None: there are none.
        with_statistics: whether statistics are averaged too, and the number of updates is recorded: trainer.ema.
        slow: `every` and `share` of slow weights; None: there are none.
    """

    norm: float | None = None
    value: float | None = None
    decay: float | None = None
    with_statistics: bool = False
    slow: tuple[int, float] | None = None

    def beside(self, weights: Tensor, statistics: Mapping[str, Tensor]) -> Averages | None:
        """The weights at which rows are judged; None: those that are trained on."""
        if self.slow is not None:
            return Slow(*self.slow, weights, statistics)
        return None if self.decay is None else Averages(self.decay, weights, statistics)


def around_of(trainer: NetworkTrainer, wrap: Mapping[str, Mapping[str, Any]], normalises: bool) -> Around:
    """What a configuration puts around its optimizer.

    Args:
        trainer: the settings.
        wrap: name of a wrapper to its node, the innermost first (`protocol.wrappers`).
        normalises: whether layers have statistics of batches.

    Raises:
        UnstackedError: one of them has no form for rows.
    """
    around = Around(decay=trainer.ema, with_statistics=trainer.ema is not None)
    for name, node in wrap.items():
        kind = str(node["_target_"]).removeprefix("optbench.wrappers.")
        if kind == "clip.Clip" and around.norm is None and around.value is None:
            around = replace(around, norm=node.get("norm"), value=node.get("value"))
        elif kind == "ema.Ema" and around.decay is None and around.slow is None:
            if normalises and dict(node.get("protocol") or {}).get("batch_norm"):
                raise UnstackedError(f"wrap={name} makes batch norm's statistics anew at each evaluation")
            around = replace(around, decay=node["decay"])
        elif kind == "lookahead.Lookahead" and around.decay is None and around.slow is None:
            around = replace(around, slow=(node["k"], node["alpha"]))
        else:
            raise UnstackedError(f"wrap={name} is around the steps of the training loop")
    return around
