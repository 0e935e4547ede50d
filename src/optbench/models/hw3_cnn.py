"""The reference network of homework 3 (food images) of Hung-yi Lee's Machine Learning 2022."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn

from optbench.models._checks import check_count, check_input

_POOLINGS = 5


def _blocks(channels: tuple[int, ...]) -> Iterator[nn.Module]:
    """Convolution, normalisation, pooling, ReLU for each pair of neighbouring channel counts."""
    for before, after in pairwise(channels):
        yield nn.Conv2d(before, after, kernel_size=3, stride=1, padding=1)
        yield nn.BatchNorm2d(after)
        # The homework has ReLU first. A maximum commutes with a monotone function, so this is the same function to the
        # bit, with a quarter of the work in ReLU; neither has parameters, so the state-dict keys are the same too.
        yield nn.MaxPool2d(2, 2, 0)
        yield nn.ReLU()


class HW3CNN(nn.Module):
    """Five blocks conv3x3 - batch norm - ReLU - max pool, then three linear layers; 12 833 803 parameters as given.

    Channels are 64, 128, 256, 512, 512 and the linear layers 8192-1024-512-11 at width 64 and image size 128. The
    state-dict keys are the homework's (`cnn.0.weight` ... `fc.4.bias`), so its checkpoints load.

    Args:
        n_outputs: number of logits.
        in_channels: channels of the images.
        image_size: side of the square images, at least 32 (five poolings leave one pixel).
        width: channels of the first block; all other sizes scale with it.

    Shape: float (b, in_channels, image_size, image_size) -> (b, n_outputs).

    Raises:
        UserError: a size that is not a whole number or too small, or an input of another shape.

    Source: NTU ML 2022 Spring, homework 3 "Image Classification", class `Classifier` of the sample code.
    """

    def __init__(self, n_outputs: int = 11, in_channels: int = 3, image_size: int = 128, width: int = 64) -> None:
        super().__init__()
        check_count("n_outputs", n_outputs)
        check_count("width", width)
        self.in_channels = check_count("in_channels", in_channels)
        self.image_size = check_count("image_size", image_size, least=2**_POOLINGS)
        last = 8 * width
        side = image_size // 2**_POOLINGS
        self.cnn = nn.Sequential(*_blocks((in_channels, width, 2 * width, 4 * width, last, last)))
        self.fc = nn.Sequential(
            nn.Linear(last * side * side, 16 * width),
            nn.ReLU(),
            nn.Linear(16 * width, 8 * width),
            nn.ReLU(),
            nn.Linear(8 * width, n_outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (b, in_channels, image_size, image_size) -> (b, n_outputs)."""
        check_input(images, self.in_channels, self.image_size)
        logits: Tensor = self.fc(self.cnn(images).flatten(1))
        return logits
