"""Levy's surface: sine ridges across a bowl, 40 minima in two dimensions."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim
from optbench.surfaces.axes import alternate


class Levy(AbstractSurface):
    """f(x) = sin^2(pi w_1) + sum_{i<n} (w_i - 1)^2 [1 + 10 sin^2(pi w_i + 1)] + (w_n - 1)^2 [1 + sin^2(2 pi w_n)].

    Here w_i = 1 + (x_i - 1) / 4; the sum is empty for n = 1.

    Args:
        dim: number of coordinates.

    Source: A. V. Levy & A. Montalvo, SIAM Journal on Scientific and Statistical Computing 6 (1985) 15, in the form of
    S. Surjanovic & D. Bingham, Virtual Library of Simulation Experiments, "Levy"; start (-8, 6, -8, ...) ours.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        super().__init__([(-10.0, 10.0)] * dim, alternate(-8.0, 6.0, dim), [[1.0] * dim], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        offset = 0.25 * (x - 1.0)
        angle = math.pi * (1.0 + offset)
        squares = offset * offset
        first, last = angle[..., 0].sin(), (2.0 * angle[..., -1]).sin()
        ridges = (angle[..., :-1] + 1.0).sin()
        middle = (squares[..., :-1] * (1.0 + 10.0 * (ridges * ridges))).sum(dim=-1)
        return first * first + middle + squares[..., -1] * (1.0 + last * last)
