"""Squared error after the softmax: the loss that the book compares cross-entropy with, and finds flat far from home."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot


class MseSoftmax(nn.Module):
    """e = sum_i (y'_i - y_i)^2 with y' the softmax of the outputs yhat and y the one-hot label; in [0, 2].

    Where a wrong class has all the probability, e = 2 and the gradient vanishes, because every part of it has a factor
    y'_i (1 - y'_i) or y'_i y'_j: the model is stuck far from the minimum. Cross-entropy has a slope there.

    Source: Apple Book (LeeDL), chapter 3, classification: mean squared error against cross-entropy.
    """

    takes_numbers = False

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Outputs yhat (n, C) and labels (n,) int64 -> one value per row, (n,)."""
        wanted = one_hot(target, outputs.shape[-1]).to(outputs.dtype)
        return (torch.softmax(outputs, dim=-1) - wanted).square().sum(dim=-1)
