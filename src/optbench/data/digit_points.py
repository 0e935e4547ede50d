"""The handwritten digits as sets: of each image the pixels that have ink, as points in no order of meaning."""

from __future__ import annotations

import torch

from optbench.data.digits import Digits
from optbench.problem import AbstractData, Ragged, Split

_SIDE = 8


class DigitPoints(AbstractData):
    """Of each digit of `data.digits.Digits`, 8x8 pixels in 17 grey levels, the points (column, row, ink) of its inked
    pixels: float32 (t, 3), column and row from -1 to 1, ink from 1/16 to 1; t differs.

    Splits are those of the images.

    Args:
        n_classes, validation_share, test_share, split_seed: as of `data.digits.Digits`.

    Raises:
        DataError: as `data.digits.Digits`.
    """

    def __init__(
        self, n_classes: int = 10, validation_share: float = 0.2, test_share: float = 0.1, split_seed: int = 0
    ) -> None:
        self._images = Digits(n_classes, 1, _SIDE, validation_share, test_share, split_seed)
        self.n_classes, self.class_names = n_classes, self._images.class_names

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split, all with labels; DataError where there is none."""
        found = self._images.load(split)
        images = found.images[:, 0]
        image, row, column = torch.nonzero(images, as_tuple=True)
        ink = images[image, row, column].float() / 255.0
        points = torch.stack([_placed(column), _placed(row), ink], dim=1)
        counts = torch.bincount(image, minlength=len(images))
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        names = tuple(name.removesuffix(".png") for name in found.names)
        return Split(Ragged(points, offsets), found.targets, names)


def _placed(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float() * (2.0 / (_SIDE - 1)) - 1.0
