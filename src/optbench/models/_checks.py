"""What every network checks: its sizes when it is built, its input when it runs; and its first layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from optbench.errors import UserError


def check_count(name: str, value: int, least: int = 1) -> int:
    """Returns `value` if it is a whole number of at least `least`; raises UserError naming the parameter otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name}={value}: expected a whole number of at least {least}")
    return value


def check_input(images: Tensor, channels: int, image_size: int) -> None:
    """Raises UserError unless `images` is (b, channels, image_size, image_size)."""
    expected: Sequence[int] = (channels, image_size, image_size)
    if images.dim() != 4 or tuple(images.shape[1:]) != tuple(expected):
        raise UserError(
            f"the network was built for images (b, {channels}, {image_size}, {image_size}); got {tuple(images.shape)}",
            "give the network the data's channels and image_size",
        )


def check_sizes(in_channels: int | None, image_size: int | None) -> tuple[int, int] | None:
    """Channels and side of the pictures that a network is for; None where both are null: whatever comes is flattened.

    Raises:
        UserError: one of them alone, or no whole number of at least 1.
    """
    if in_channels is None and image_size is None:
        return None
    for name, value in (("in_channels", in_channels), ("image_size", image_size)):
        if value is None:
            raise UserError(f"{name}=null: expected both sizes of pictures, or neither, of tables")
    return check_count("in_channels", cast(int, in_channels)), check_count("image_size", cast(int, image_size))


def flat_linear(sizes: tuple[int, int] | None, units: int) -> nn.Linear:
    """A linear layer on the numbers of an example, flattened: of pictures of these sizes, else of as many as come."""
    if sizes is None:
        return nn.LazyLinear(units)
    channels, side = sizes
    return nn.Linear(channels * side * side, units)


def check_flat(inputs: Tensor, sizes: tuple[int, int] | None, layer: nn.Linear) -> None:
    """Raises UserError unless inputs are what a network that flattens them was built for: pictures of these sizes, or
    rows of as many numbers; and for integers, which are tokens and no numbers."""
    if not inputs.is_floating_point():
        raise UserError(
            f"the network takes numbers; got {inputs.dtype} {tuple(inputs.shape)}, tokens",
            "choose a model that embeds tokens",
        )
    if sizes is not None and inputs.ndim != 2:
        check_input(inputs, *sizes)
    width = inputs.shape[1:].numel()
    if layer.in_features and width != layer.in_features:
        raise UserError(
            f"the network was built for rows of {layer.in_features} numbers; got {tuple(inputs.shape)}",
            "give it the data that it was trained on, or in their form",
        )
