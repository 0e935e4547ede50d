"""Squared error of one output: regression as the book begins with it, a vector in and a number out."""

from __future__ import annotations

from torch import Tensor, nn

from optbench.errors import IncompatibleError


class SquaredError(nn.Module):
    """e = (yhat - y)^2 for a model with one output yhat and labels y that are numbers.

    Attributes:
        n_outputs: outputs that the model must have.
        takes_numbers: it learns numbers, and not classes.

    Source: Apple Book (LeeDL), chapter 3, classification and regression.
    """

    n_outputs = 1
    takes_numbers = True

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Outputs (n, 1) and labels (n,) -> one value per row, (n,).

        Raises:
            IncompatibleError: the model does not have exactly one output.
        """
        if outputs.ndim != 2 or outputs.shape[1] != self.n_outputs:
            raise IncompatibleError(
                f"loss=squared_error needs a model with 1 output; got outputs of shape {tuple(outputs.shape)}",
                "leave n_outputs to the loss: loss=squared_error sets n_outputs=1",
            )
        return (outputs[:, 0] - target).square()
