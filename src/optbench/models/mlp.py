"""A fully connected network on the pixels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from optbench.errors import UserError
from optbench.models._checks import check_count, check_input

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class MLP(nn.Module):
    """Linear layers with an activation after each but the last.

    Args:
        n_outputs: number of logits.
        in_channels: channels of the images.
        image_size: side of the square images.
        hidden: units of each hidden layer, at least one layer.
        activation: "relu" or "tanh".

    Shape: float (b, in_channels, image_size, image_size) -> (b, n_outputs).

    Raises:
        UserError: a size that is not a positive whole number, an unknown activation, or an input of another shape.
    """

    def __init__(
        self,
        n_outputs: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        hidden: Sequence[int] = (128, 64),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        check_count("n_outputs", n_outputs)
        self.in_channels = check_count("in_channels", in_channels)
        self.image_size = check_count("image_size", image_size)
        if activation not in _ACTIVATIONS:
            raise UserError(f"activation={activation}: expected {' or '.join(_ACTIVATIONS)}")
        if not hidden:
            raise UserError("hidden=[]: expected at least one layer", "model=logistic is the network without one")
        before = in_channels * image_size * image_size
        layers: list[nn.Module] = [nn.Flatten()]
        for units in hidden:
            layers += [nn.Linear(before, check_count("hidden", units)), _ACTIVATIONS[activation]()]
            before = units
        self.layers = nn.Sequential(*layers, nn.Linear(before, n_outputs))

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (b, in_channels, image_size, image_size) -> (b, n_outputs)."""
        check_input(images, self.in_channels, self.image_size)
        logits: Tensor = self.layers(images)
        return logits
