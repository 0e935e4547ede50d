"""Noise on inputs: the augmentation of what is no picture, tables and signals, and of pictures too."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from optbench.errors import DataError
from optbench.problem import AbstractAugmentation
from optbench.problem.trees import Tree, leaves, mapped


class Jitter(AbstractAugmentation):
    """Adds independent normal noise to every number of the inputs; tokens and switches stay as they are.

    Training with small noise is Tikhonov's regularisation (Bishop 1995). Bytes (uint8) are [0, 1] in steps of 1/255,
    and stay bytes.

    Args:
        deviation: of the noise, in the units in which the network gets the inputs before `trainer.normalize`.
    """

    of_pictures = False

    def __init__(self, deviation: float = 0.1) -> None:
        self._deviation = deviation

    def __call__(self, inputs: Tree, generator: torch.Generator) -> Tree:
        """Inputs of the same form; see `AbstractAugmentation`. Raises DataError where they hold no numbers."""
        if not any(map(_is_number, leaves(inputs))):
            raise DataError("the inputs are tokens or switches: there is nothing to add noise to", "use augment=none")
        return mapped(partial(self._noisy, generator=generator), inputs)

    def _noisy(self, part: Tensor, generator: torch.Generator) -> Tensor:
        if not _is_number(part):
            return part
        noise = self._deviation * torch.randn(part.shape, generator=generator)
        if part.dtype == torch.uint8:
            return (part + 255.0 * noise).round().clamp(0, 255).to(torch.uint8)
        return part + noise.to(part.dtype)


def _is_number(part: Tensor) -> bool:
    return part.is_floating_point() or part.dtype == torch.uint8
