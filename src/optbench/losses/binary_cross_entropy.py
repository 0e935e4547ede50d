"""Binary cross-entropy: each class asked for by itself, whether it is there."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from optbench.errors import IncompatibleError


class BinaryCrossEntropy(nn.Module):
    """The mean over the classes i of -(y_i log s_i + (1 - y_i) log(1 - s_i)), with s the sigmoid of each output.

    No class competes with another one, so that an image mixed of two may show both; with mixed images it trains better
    than cross-entropy in the source. The most probable class is the largest output, as under cross-entropy.

    Source: Wightman, Touvron & Jegou, *ResNet strikes back* (2021), arXiv:2110.00476, section 2; as in timm,
    without a threshold.
    """

    takes_numbers = False

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Logits (n, C) and labels (n,) int64 -> one value per row, (n,).

        Raises:
            IncompatibleError: fewer than two outputs.
        """
        if outputs.shape[-1] < 2:
            raise IncompatibleError("loss=binary_cross_entropy asks for each class; the model has one output",
                                    "use n_outputs >= 2")  # fmt: skip
        wanted = one_hot(target, outputs.shape[-1]).to(outputs.dtype)
        each: Tensor = binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
        return torch.mean(each, dim=-1)
