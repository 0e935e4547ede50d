"""What every network checks: its sizes when it is built, its input when it runs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

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
