"""Mirror and shift: the augmentation of small images since He et al. (2016)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from optbench.problem import AbstractAugmentation


class FlipCrop(AbstractAugmentation):
    """Mirrors every second image left to right, on average, and shifts each by up to an eighth of its side.

    The edge that a shift uncovers is black: zero padding and a random crop, 4 pixels at size 32 as in He et al. (2016),
    section 4.2, and in proportion at other sizes. A mirrored digit is seldom a digit: use it where left and right say
    nothing.
    """

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        margin = max(1, height // 8)
        corners = torch.randint(0, 2 * margin + 1, (n, 2), generator=generator).tolist()
        mirrored = torch.randint(0, 2, (n,), generator=generator).bool().to(images.device)
        padded = pad(images, (margin, margin, margin, margin))
        # Slices copy whole rows: on a CPU several times faster than one gather by row and column indices.
        crops = [padded[i, :, y : y + height, x : x + width] for i, (y, x) in enumerate(corners)]
        result = torch.stack(crops)
        result[mirrored] = result[mirrored].flip(-1)
        return result
