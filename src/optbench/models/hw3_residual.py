"""The residual network of question 2 of homework 3 of Hung-yi Lee's Machine Learning 2022."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from optbench.models._checks import check_count, check_input


def _layer(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after))


class HW3Residual(nn.Module):
    """Six layers conv3x3 - batch norm, skip connections around the second, fourth and sixth, then two linear layers.

    The layers go in pairs: x = relu(odd(x)); x = relu(even(x) + x). The third and the fifth halve the image and have
    no skip. Channels are 64, 64, 128, 128, 256, 256 and the linear layers 262144-256-11 at width 64 and image size
    128: 68 259 147 parameters, nearly all in the first linear layer. State-dict keys are the homework's
    (`cnn_layer1.0.weight` ... `fc_layer.2.bias`).

    Args:
        n_outputs: number of logits.
        in_channels: channels of the images.
        image_size: side of the square images, at least 4.
        width: channels of the first layer; all other sizes scale with it.

    Shape: float (b, in_channels, image_size, image_size) -> (b, n_outputs).

    Raises:
        UserError: a size that is not a whole number or too small, or an input of another shape.

    Source: NTU ML 2022 Spring, homework 3, report question 2 "Residual Implementation", class `Residual_Network`; skip
    connections as in He et al., "Deep residual learning" (CVPR 2016).
    """

    def __init__(self, n_outputs: int = 11, in_channels: int = 3, image_size: int = 128, width: int = 64) -> None:
        super().__init__()
        check_count("n_outputs", n_outputs)
        check_count("width", width)
        self.in_channels = check_count("in_channels", in_channels)
        self.image_size = check_count("image_size", image_size, least=4)
        self.cnn_layer1 = _layer(in_channels, width)
        self.cnn_layer2 = _layer(width, width)
        self.cnn_layer3 = _layer(width, 2 * width, stride=2)
        self.cnn_layer4 = _layer(2 * width, 2 * width)
        self.cnn_layer5 = _layer(2 * width, 4 * width, stride=2)
        self.cnn_layer6 = _layer(4 * width, 4 * width)
        side = (image_size + 3) // 4  # each of the two strides rounds a half up
        self.fc_layer = nn.Sequential(
            nn.Linear(4 * width * side * side, 4 * width), nn.ReLU(), nn.Linear(4 * width, n_outputs)
        )

    def residual_branches(self) -> list[nn.Module]:
        """What is added to a skip connection, in the order of depth: for trainer.stochastic_depth."""
        return [self.cnn_layer2, self.cnn_layer4, self.cnn_layer6]

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (b, in_channels, image_size, image_size) -> (b, n_outputs)."""
        check_input(images, self.in_channels, self.image_size)
        x = images
        for plain, skipped in (
            (self.cnn_layer1, self.cnn_layer2),
            (self.cnn_layer3, self.cnn_layer4),
            (self.cnn_layer5, self.cnn_layer6),
        ):
            x = relu(plain(x))
            x = relu(skipped(x) + x)
        logits: Tensor = self.fc_layer(x.flatten(1))
        return logits
