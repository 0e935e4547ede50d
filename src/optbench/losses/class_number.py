"""Classification as regression: the class number itself is the target.

The book shows it to argue against it: numbers put the classes in an order and at distances that they do not have.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from optbench.errors import IncompatibleError


class ClassNumber(nn.Module):
    """e = (yhat - y)^2 for a model with one output yhat, y being the class number.

    Args:
        n_classes: number of classes, at least 2; 0 when unknown or when there is no data. Only `predict` uses it.

    Attributes:
        n_outputs: outputs that the model must have.

    Raises:
        ValueError: n_classes is 1 or negative.

    Source: Apple Book (LeeDL), chapter 3, classification and regression.
    """

    n_outputs = 1
    takes_numbers = False

    def __init__(self, n_classes: int = 0) -> None:
        super().__init__()
        if n_classes < 0 or n_classes == 1:
            raise ValueError(f"Invalid n_classes: {n_classes}, expected at least 2, or 0 for unknown")
        self.n_classes = n_classes

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Outputs (n, 1) and labels (n,) int64 -> one value per row, (n,).

        Raises:
            IncompatibleError: the model does not have exactly one output.
        """
        return (self._single(outputs) - target).square()

    def predict(self, outputs: Tensor) -> Tensor:
        """Nearest class number: (n, 1) -> (n,) int64, at least 0 and, where n_classes is known, below it.

        Half-way values go to the even class; an output that is not a number goes to class 0, as argmax would.
        """
        number = torch.nan_to_num(self._single(outputs), nan=0.0)
        highest = float(self.n_classes - 1) if self.n_classes else None
        return number.clamp(0.0, highest).round().long()

    def _single(self, outputs: Tensor) -> Tensor:
        if outputs.ndim != 2 or outputs.shape[1] != self.n_outputs:
            raise IncompatibleError(
                f"loss=class_number needs a model with 1 output; got outputs of shape {tuple(outputs.shape)}",
                "leave n_outputs to the loss: loss=class_number sets n_outputs=1",
            )
        return outputs[:, 0]
