"""A fully connected network on the numbers of an example: the pixels of an image, the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from optbench.errors import UserError
from optbench.models._checks import check_count, check_flat, check_sizes, flat_linear

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
_NORMS: dict[str, type[nn.BatchNorm1d] | None] = {"none": None, "batch": nn.BatchNorm1d}


class MLP(nn.Module):
    """Linear layers with an activation after each but the last, normalised before it if so wished.

    Args:
        n_outputs: number of outputs.
        in_channels: channels of the images; null: of tables, and of whatever else is flattened.
        image_size: side of the square images; null beside that.
        hidden: units of each hidden layer, at least one layer.
        activation: "relu" or "tanh".
        norm: "none", or "batch": batch normalisation between each linear layer and its activation (S. Ioffe and
            C. Szegedy, arXiv:1502.03167). It draws no random numbers: the initial weights are those of "none". In
            training it needs at least two images.
        dropout: share of the units that each update leaves out after each activation (N. Srivastava et al., JMLR 15
            (2014) 1929), in [0, 1]; None: there is no such layer.

    Shape: float (b, in_channels, image_size, image_size), or of tables (b, ...) -> (b, n_outputs).

    Raises:
        UserError: a size that is not a positive whole number, an unknown activation or norm, an input of another shape.
    """

    def __init__(
        self,
        n_outputs: int = 10,
        in_channels: int | None = 3,
        image_size: int | None = 32,
        hidden: Sequence[int] = (128, 64),
        activation: str = "relu",
        norm: str = "none",
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_count("n_outputs", n_outputs)
        self.sizes = check_sizes(in_channels, image_size)
        if activation not in _ACTIVATIONS:
            raise UserError(f"activation={activation}: expected {' or '.join(_ACTIVATIONS)}")
        if norm not in _NORMS:
            raise UserError(f"norm={norm}: expected {' or '.join(_NORMS)}")
        if not hidden:
            raise UserError("hidden=[]: expected at least one layer", "model=logistic is the network without one")
        before = 0
        layers: list[nn.Module] = [nn.Flatten()]
        for units in hidden:
            check_count("hidden", units)
            layers.append(nn.Linear(before, units) if before else flat_linear(self.sizes, units))
            if (normalise := _NORMS[norm]) is not None:
                layers.append(normalise(units))
            layers.append(_ACTIVATIONS[activation]())
            if dropout is not None:
                layers.append(nn.Dropout(dropout))
            before = units
        self.layers = nn.Sequential(*layers, nn.Linear(before, n_outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs: (b, in_channels, image_size, image_size), or (b, ...) -> (b, n_outputs)."""
        check_flat(inputs, self.sizes, cast(nn.Linear, self.layers[1]))
        outputs: Tensor = self.layers(inputs)
        return outputs
