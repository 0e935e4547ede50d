"""A part of the picture, enlarged to the whole: the crops with which networks from scratch are trained longest."""

from __future__ import annotations

from torch import Tensor

import optbench.vision  # noqa: F401  declares, before torchvision is imported, the operators that a CPU torch lacks


class WideCrop:
    """torchvision's RandomResizedCrop to the size that the images have, which it wants to be told.

    Args:
        scale: smallest and largest share of the area.
        ratio: smallest and largest width by height.

    Source: Szegedy et al. 2015, arXiv:1409.4842, section 6.
    """

    def __init__(self, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)) -> None:
        self._scale, self._ratio = tuple(scale), tuple(ratio)

    def __call__(self, images: Tensor) -> Tensor:
        from torchvision.transforms.v2 import RandomResizedCrop

        crop = RandomResizedCrop(tuple(images.shape[-2:]), self._scale, self._ratio, antialias=True)
        cropped: Tensor = crop(images)
        return cropped
