"""What the layers of every row draw: the masks of dropout, those that the run by itself draws.

The loop seeds torch's generator at each update from (seed, "model", step), and layer after layer draws from it, one
mini-batch after another. Rows of one seed draw the same, which is drawn once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import dropout

from optbench.problem.base import seed_torch
from optbench.problem.streams import stream_seed
from optbench.stacked.chain import Chain


class Draws:
    """The masks of some rows.

    Args:
        chain: their layers.
        device: where they are computed.
    """

    def __init__(self, chain: Chain, device: torch.device) -> None:
        self._layers, self._device = chain.drawing, device
        self._generator = torch.Generator() if device.type == "cpu" else None

    def masks(self, seeds: Sequence[int], step: int, sizes: Sequence[int]) -> list[Mapping[str, Tensor]]:
        """What the rows' inputs are multiplied by.

        Args:
            seeds: of each row.
            step: number of the update.
            sizes: examples of each mini-batch.

        Returns:
            Of each mini-batch, name of a layer to (rows, features, b).
        """
        if not self._layers:
            return [{} for _ in sizes]
        drawn = {seed: self._of(seed, step, sizes) for seed in dict.fromkeys(seeds)}
        return [
            {name: torch.stack([drawn[seed][i][name] for seed in seeds]) for name in drawn[seeds[0]][i]}
            for i in range(len(sizes))
        ]

    def _of(self, seed: int, step: int, sizes: Sequence[int]) -> list[dict[str, Tensor]]:
        """Those of one seed, (features, b) each."""
        begin = stream_seed(seed, "model", step)
        if self._generator is None:  # a GPU's dropout draws from its one generator alone
            seed_torch(begin, self._device)
        else:
            self._generator.manual_seed(begin)
        return [{name: self._mask(p, (b, *shape)) for name, p, shape in self._layers} for b in sizes]

    def _mask(self, p: float, shape: Sequence[int]) -> Tensor:
        if self._generator is None:
            mask = dropout(torch.ones(*shape, device=self._device), p)
        else:  # as torch's dropout on a CPU, whose generator all threads share
            mask = torch.empty(*shape).bernoulli_(1.0 - p, generator=self._generator).div_(1.0 - p)
        return mask.flatten(1).mT.contiguous()
