"""Softmax regression: the one network whose cross-entropy is convex, so that every minimum is global."""

from __future__ import annotations

from torch import Tensor, nn

from optbench.models._checks import check_count, check_input


class Logistic(nn.Module):
    """One linear layer on the pixels: logits = W x + b.

    Args:
        n_outputs: number of logits.
        in_channels: channels of the images.
        image_size: side of the square images.

    Shape: float (b, in_channels, image_size, image_size) -> (b, n_outputs).

    Raises:
        UserError: a size that is not a positive whole number, or an input of another shape.

    Source: Bishop, "Pattern Recognition and Machine Learning" (2006), section 4.3.4.
    """

    def __init__(self, n_outputs: int = 10, in_channels: int = 3, image_size: int = 32) -> None:
        super().__init__()
        check_count("n_outputs", n_outputs)
        self.in_channels = check_count("in_channels", in_channels)
        self.image_size = check_count("image_size", image_size)
        self.linear = nn.Linear(in_channels * image_size * image_size, n_outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (b, in_channels, image_size, image_size) -> (b, n_outputs)."""
        check_input(images, self.in_channels, self.image_size)
        logits: Tensor = self.linear(images.flatten(1))
        return logits
