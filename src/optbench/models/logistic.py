"""Softmax regression: the one network whose cross-entropy is convex, so that every minimum is global.

Under squared error it is linear regression (`model=linear`).
"""

from __future__ import annotations

from torch import Tensor, nn

from optbench.models._checks import check_count, check_flat, check_sizes, flat_linear


class Logistic(nn.Module):
    """One linear layer on the pixels, or on the columns of a table: logits = W x + b.

    Args:
        n_outputs: number of outputs.
        in_channels: channels of the images; null: of tables, and of whatever else is flattened.
        image_size: side of the square images; null beside that.

    Shape: float (b, in_channels, image_size, image_size), or of tables (b, ...) -> (b, n_outputs).

    Raises:
        UserError: a size that is not a positive whole number, or an input of another shape.

    Source: Bishop, "Pattern Recognition and Machine Learning" (2006), section 4.3.4.
    """

    def __init__(self, n_outputs: int = 10, in_channels: int | None = 3, image_size: int | None = 32) -> None:
        super().__init__()
        check_count("n_outputs", n_outputs)
        self.sizes = check_sizes(in_channels, image_size)
        self.linear = flat_linear(self.sizes, n_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs: (b, in_channels, image_size, image_size), or (b, ...) -> (b, n_outputs)."""
        check_flat(inputs, self.sizes, self.linear)
        outputs: Tensor = self.linear(inputs.flatten(1))
        return outputs
