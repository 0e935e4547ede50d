"""Rastrigin's surface: a bowl under a regular grid of wells, 11 an axis."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim
from optbench.surfaces.axes import alternate


class Rastrigin(AbstractSurface):
    """f(x) = 10 n + sum_i (x_i^2 - 10 cos(2 pi x_i)): 121 minima, 220 saddles and 100 maxima for n = 2.

    Args:
        dim: number of coordinates.

    Source: L. A. Rastrigin (1974); N-D form H. Mühlenbein, M. Schomisch & J. Born, Parallel Computing 17 (1991) 619;
    start (3.3, -2.6, 3.3, ...) ours.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        super().__init__([(-5.12, 5.12)] * dim, alternate(3.3, -2.6, dim), [[0.0] * dim], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        return (x * x + 10.0 - 10.0 * (2.0 * math.pi * x).cos()).sum(dim=-1)
