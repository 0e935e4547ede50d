"""Two interlocking spirals: 194 points in the plane that no line parts, hard for networks of few layers."""

from __future__ import annotations

import math

import torch

from optbench.data._tables import Rows
from optbench.errors import DataError


class TwoSpirals(Rows):
    """Point i of a spiral: radius (104 d - i) / (104 d), angle i pi / (16 d), for i = 0 ... 96 d, with density d; the
    other spiral is the same turned by half a turn. Three full turns, in [-1, 1]^2.

    Args:
        n_classes: 2.
        density: 1 for the published 194 points; d for 2 (96 d + 1).
        validation_share: part of each spiral for validation, above 0.
        test_share: part for the test, 0 for no test split.
        split_seed: names the cut, which is the same for all seeds of runs.

    Raises:
        DataError: another value than what is written above.

    Source: K. J. Lang and M. J. Witbrock, Learning to tell two spirals apart (Connectionist Models Summer School 1988);
    CMU neural network benchmarks, two-spirals, with the radius divided by its 6.5.
    """

    def __init__(
        self,
        n_classes: int = 2,
        density: int = 1,
        validation_share: float = 0.2,
        test_share: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        if n_classes != 2:
            raise DataError(f"n_classes={n_classes}: there are 2 spirals")
        if density < 1:
            raise DataError(f"density={density}: expected a whole number of at least 1")
        i = torch.arange(96 * density + 1, dtype=torch.float64)
        radius, angle = (104 * density - i) / (104 * density), i * math.pi / (16 * density)
        one = torch.stack([radius * angle.sin(), radius * angle.cos()], dim=1)
        labels = torch.arange(2).repeat_interleave(len(i))
        inputs = torch.cat([one, -one])
        super().__init__(
            "two_spirals", inputs, labels, ("one", "other"), validation_share, test_share, split_seed, False
        )
