"""Two logits as the weights: why classification takes cross-entropy and not the squared error."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from optbench.errors import UserError
from optbench.problem import AbstractSurface


class SoftmaxLogits(AbstractSurface):
    """x = (y1, y2) are the first two logits of a three-class softmax; the third is fixed and the label is class 1.

    The surface gives logits, (..., 2) -> (..., 3); a classification loss makes the value. The start (-10, 10) is
    wrong with confidence. There the gradient of the cross-entropy is (-1, 1) up to 2e-9, while that of the squared
    error of the softmax is (-8e-9, 8e-9): the same point is steep for one loss and flat for the other. Both
    fall towards their infimum 0 as y1 - y2 grows and never attain it, so there is no minimizer.

    Args:
        third: the third logit; -1000 takes its class out of play, 0 leaves it in.

    Raises:
        UserError: third is not finite.

    Source: Hung-yi Lee, Machine Learning 2021, "Classification (short version)", the figure that compares mean square
    error with cross-entropy over y1, y2 in [-10, 10] with y3 = -1000; domain [-12, 12]^2 ours, so that the start is
    inside.
    """

    label = 0

    def __init__(self, third: float = -1000.0) -> None:
        if not math.isfinite(third):
            raise UserError(f"third={third}: expected a finite number")
        self.third = float(third)
        super().__init__([(-12.0, 12.0)] * 2, [-10.0, 10.0])

    def __call__(self, x: Tensor) -> Tensor:
        y1, y2 = x.unbind(-1)
        # the constant is made from y1, and so has its shape, dtype and device
        return torch.stack([y1, y2, 0.0 * y1 + self.third], dim=-1)
