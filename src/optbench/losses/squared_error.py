"""Squared error of one output: regression as the book begins with it, a vector in and a number out."""

from __future__ import annotations

from torch import Tensor, nn

from optbench.errors import IncompatibleError


class SquaredError(nn.Module):
    """e = (yhat - y)^2 for labels y that are numbers; of several numbers the mean over them.

    Attributes:
        n_outputs: outputs that the model must have, for one number.
        takes_numbers: it learns numbers, and not classes.

    Source: Apple Book (LeeDL), chapter 3, classification and regression.
    """

    n_outputs = 1
    takes_numbers = True

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Outputs (n, 1) and numbers (n,), or (n, k) and (n, k) -> one value per row, (n,).

        Raises:
            IncompatibleError: another number of outputs than of numbers to learn.
        """
        wanted = target.shape[1] if target.ndim == 2 else 1
        if outputs.ndim != 2 or outputs.shape[1] != wanted:
            several = f"{wanted} output{'s' * (wanted != 1)}"
            raise IncompatibleError(
                f"loss=squared_error needs a model with {several}; got outputs of shape {tuple(outputs.shape)}",
                f"set n_outputs={wanted}, or n_targets: {wanted} in the YAML of the data",
            )
        if target.ndim == 1:
            return (outputs[:, 0] - target).square()
        return (outputs - target).square().mean(dim=1)
