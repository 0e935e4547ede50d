"""A fully connected network on the pixels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from optbench.errors import UserError
from optbench.models._checks import check_count, check_input

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
_NORMS: dict[str, type[nn.BatchNorm1d] | None] = {"none": None, "batch": nn.BatchNorm1d}


class MLP(nn.Module):
    """Linear layers with an activation after each but the last, normalised before it if so wished.

    Args:
        n_outputs: number of logits.
        in_channels: channels of the images.
        image_size: side of the square images.
        hidden: units of each hidden layer, at least one layer.
        activation: "relu" or "tanh".
        norm: "none", or "batch": batch normalisation between each linear layer and its activation (S. Ioffe and
            C. Szegedy, arXiv:1502.03167). It draws no random numbers: the initial weights are those of "none". In
            training it needs at least two images.

    Shape: float (b, in_channels, image_size, image_size) -> (b, n_outputs).

    Raises:
        UserError: a size that is not a positive whole number, an unknown activation or norm, an input of another shape.
    """

    def __init__(
        self,
        n_outputs: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        hidden: Sequence[int] = (128, 64),
        activation: str = "relu",
        norm: str = "none",
    ) -> None:
        super().__init__()
        check_count("n_outputs", n_outputs)
        self.in_channels = check_count("in_channels", in_channels)
        self.image_size = check_count("image_size", image_size)
        if activation not in _ACTIVATIONS:
            raise UserError(f"activation={activation}: expected {' or '.join(_ACTIVATIONS)}")
        if norm not in _NORMS:
            raise UserError(f"norm={norm}: expected {' or '.join(_NORMS)}")
        if not hidden:
            raise UserError("hidden=[]: expected at least one layer", "model=logistic is the network without one")
        before = in_channels * image_size * image_size
        layers: list[nn.Module] = [nn.Flatten()]
        for units in hidden:
            layers.append(nn.Linear(before, check_count("hidden", units)))
            if (normalise := _NORMS[norm]) is not None:
                layers.append(normalise(units))
            layers.append(_ACTIVATIONS[activation]())
            before = units
        self.layers = nn.Sequential(*layers, nn.Linear(before, n_outputs))

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (b, in_channels, image_size, image_size) -> (b, n_outputs)."""
        check_input(images, self.in_channels, self.image_size)
        logits: Tensor = self.layers(images)
        return logits
