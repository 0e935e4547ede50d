"""Focal loss: cross-entropy that gives less weight to examples that are already classified well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from optbench.errors import IncompatibleError


class Focal(nn.Module):
    """-alpha_label (1 - p)^gamma log p, with p the softmax probability of the label.

    gamma = 0 is cross-entropy. Both log p and log(1 - p) come from log-softmax, so that value and gradient stay finite
    however large the logits are.

    Args:
        gamma: focusing exponent, at least 0; the paper's best is 2.
        alpha: weight of each class, one positive number per class; None for equal weights of 1.

    Raises:
        ValueError: gamma negative or a weight not positive.

    Source: Lin et al., *Focal Loss for Dense Object Detection* (2017), arXiv:1708.02002, equations 4 and 5, on the
    softmax in place of the sigmoid.
    """

    takes_numbers = False
    _weights: Tensor | None

    def __init__(self, gamma: float = 2.0, alpha: Sequence[float] | None = None) -> None:
        super().__init__()
        if not gamma >= 0.0:
            raise ValueError(f"Invalid gamma: {gamma}, expected at least 0")
        if alpha is not None and not all(weight > 0.0 for weight in alpha):
            raise ValueError(f"Invalid alpha: {list(alpha)}, expected one positive weight a class")
        self.gamma = gamma
        self.alpha = None if alpha is None else tuple(float(weight) for weight in alpha)
        weights = None if self.alpha is None else torch.tensor(self.alpha, dtype=torch.float64)
        self.register_buffer("_weights", weights, persistent=False)  # where the model is: a GPU does not wait for them

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Logits (n, C) and labels (n,) int64 -> one value per row, (n,).

        Raises:
            IncompatibleError: fewer than two outputs, or another number of them than of weights in alpha.
        """
        self._check(outputs)
        label = target.unsqueeze(-1)
        logs = outputs.log_softmax(dim=-1)
        log_p = logs.gather(-1, label).squeeze(-1)
        log_not_p = logs.scatter(-1, label, -torch.inf).logsumexp(dim=-1)
        value = -torch.exp(self.gamma * log_not_p) * log_p
        return value if self._weights is None else self._weights.to(outputs.dtype)[target] * value

    def _check(self, outputs: Tensor) -> None:
        width = outputs.shape[-1]
        if width < 2:
            raise IncompatibleError("loss=focal compares classes; the model has one output", "use n_outputs >= 2")
        if self.alpha is not None and len(self.alpha) != width:
            raise IncompatibleError(
                f"loss.alpha has {len(self.alpha)} weights; the model has {width} outputs",
                "give one weight a class, or loss.alpha=null",
            )
