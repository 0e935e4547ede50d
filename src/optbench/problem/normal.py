"""Inputs with mean 0 and deviation 1 in each channel, by the training data, and as a part of the model.

Mean and deviation are buffers of the model: they lie in its checkpoints, so that whatever the network is given later,
with or without the data that it was trained on, is measured by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from optbench.problem.splits import scaled

_PART = 512


def normalise(model: nn.Module, mean: Tensor, deviation: Tensor) -> None:
    """Has a model subtract the mean from its inputs (b, c, h, w) and divide them by the deviation, both (c,)."""
    model.register_buffer("input_mean", mean.reshape(-1, 1, 1))
    model.register_buffer("input_deviation", deviation.reshape(-1, 1, 1))
    model.register_forward_pre_hook(_normalised)


def _normalised(model: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    inputs, *rest = given
    return ((inputs - model.input_mean) / model.input_deviation, *rest)


def channels(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the channels of images (n, c, h, w), scaled as a model takes them: float32 (c,).

    Where a channel is the same everywhere its deviation counts as 1.
    """
    count, axes = images.numel() / images.shape[1], (0, 2, 3)

    def summed(of: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.stack([of(scaled(part, torch.float64)).sum(axes) for part in images.split(_PART)]).sum(0)

    mean = summed(lambda part: part) / count
    deviation = (summed(lambda part: (part - mean.reshape(-1, 1, 1)).square()) / count).sqrt()
    differs = deviation > 1e-9 * mean.abs().clamp(min=1.0)  # beyond the rounding of the mean
    return mean.float(), torch.where(differs, deviation, 1.0).float()
