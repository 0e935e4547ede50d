"""Mirror and shift: the augmentation of small images since He et al. (2016)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from optbench.problem import AbstractAugmentation
from optbench.problem.base import moved


class FlipCrop(AbstractAugmentation):
    """Mirrors every second image left to right, on average, and shifts each by up to an eighth of its side.

    The edge that a shift uncovers is black: zero padding and a random crop, 4 pixels at size 32 as in He et al. (2016),
    section 4.2, and in proportion at other sizes. A mirrored digit is seldom a digit: use it where left and right say
    nothing.
    """

    on_device = True

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, _ = images.shape
        margin = max(1, height // 8)
        corners = torch.randint(0, 2 * margin + 1, (n, 2), generator=generator)
        mirrored = torch.randint(0, 2, (n,), generator=generator).bool()
        padded = pad(images, (margin, margin, margin, margin))
        if images.device.type == "cuda":
            shifted = gathered(padded, moved(corners, images.device), images.shape[-2:])
            return flipped(shifted, moved(mirrored, images.device))
        result = sliced(padded, corners.tolist(), images.shape[-2:])
        result[mirrored] = result[mirrored].flip(-1)
        return result


def sliced(padded: Tensor, corners: list[list[int]], size: Sequence[int]) -> Tensor:
    """The window of each image (n, c, H, W) with its corner (row, column) and this size.

    Slices copy whole rows: on a CPU several times faster than one gather by row and column indices.
    """
    height, width = size
    return torch.stack([padded[i, :, y : y + height, x : x + width] for i, (y, x) in enumerate(corners)])


def gathered(padded: Tensor, corners: Tensor, size: Sequence[int]) -> Tensor:
    """The same in one operation, corners (n, 2): on a GPU a slice an image would be a launch an image."""
    rows, columns = (
        corners[:, axis, None] + torch.arange(side, device=padded.device)
        for axis, side in zip((0, 1), size, strict=True)
    )
    images = torch.arange(len(padded), device=padded.device)[:, None, None]
    return padded[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def flipped(images: Tensor, which: Tensor) -> Tensor:
    """Images (n, c, h, w) with those mirrored that `which`, (n,), says; a GPU need not tell how many they are."""
    return torch.where(which[:, None, None, None], images.flip(-1), images)
