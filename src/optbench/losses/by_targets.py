"""The usual loss for whatever is to be learnt: cross-entropy of classes and tokens, squared error of numbers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class ByTargets(nn.Module):
    """-log p(target) where targets are whole numbers, (yhat - y)^2 where they are floating point.

    For data whose kind is known only when their file has been read.

    Source: both are the negative log-likelihood, up to constants, of a categorical and of a normal distribution of
    variance 1/2: Bishop, "Pattern Recognition and Machine Learning" (2006), sections 1.2.5 and 4.3.4.
    """

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Logits (n, C) and labels (n,) int64, or numbers of one shape, (n,) or (n, k) -> one value each."""
        if target.is_floating_point():
            return (outputs - target).square()
        return cross_entropy(outputs, target, reduction="none")
