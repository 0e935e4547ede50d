"""Inputs with mean 0 and deviation 1 in each channel, by the training data, and as a part of the model.

Mean and deviation are buffers of the model: they lie in its checkpoints, so that whatever the network is given later,
with or without the data that it was trained on, is measured by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from optbench.errors import IncompatibleError
from optbench.problem.ragged import Ragged
from optbench.problem.splits import scaled
from optbench.problem.trees import Tree

_PART = 512


def normalise(model: nn.Module, mean: Tensor, deviation: Tensor) -> None:
    """Has a model subtract the mean from its inputs and divide them by the deviation; both as they
    stand against one example, such as (c, 1, 1) against (c, h, w)."""
    model.register_buffer("input_mean", mean)
    model.register_buffer("input_deviation", deviation)
    model.register_forward_pre_hook(_normalised)


def _normalised(model: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    inputs, *rest = given
    return ((inputs - model.input_mean) / model.input_deviation, *rest)


def channels(inputs: Tree) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, scaled as a model takes them: of (n, c, ...) float32 (c,), of rows
    (length, c, ...) that differ in length over all positions.

    Where a channel is the same everywhere its deviation counts as 1.

    Raises:
        IncompatibleError: inputs that are tokens, or no single tensor.
    """
    inputs = inputs.values if isinstance(inputs, Ragged) else inputs
    if not isinstance(inputs, Tensor) or not (inputs.is_floating_point() or inputs.dtype == torch.uint8):
        what = f"{inputs.dtype}" if isinstance(inputs, Tensor) else "several tensors"
        raise IncompatibleError(f"trainer.normalize=true is of numbers in one tensor; the inputs are {what}",
                                "leave out trainer.normalize")  # fmt: skip
    inputs = inputs[:, None] if inputs.ndim == 1 else inputs
    count, axes = inputs.numel() / inputs.shape[1], (0, *range(2, inputs.ndim))
    as_channel = (-1, *[1] * (inputs.ndim - 2))

    def summed(of: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.stack([of(scaled(part, torch.float64)).sum(axes) for part in inputs.split(_PART)]).sum(0)

    mean = summed(lambda part: part) / count
    deviation = (summed(lambda part: (part - mean.reshape(as_channel)).square()) / count).sqrt()
    differs = deviation > 1e-9 * mean.abs().clamp(min=1.0)  # beyond the rounding of the mean
    deviation = torch.where(differs, deviation, 1.0)
    return mean.float(), deviation.float()
