"""Griewank's surface: a wide bowl under a product of cosines whose frequency falls from axis to axis."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim
from optbench.surfaces.axes import alternate, product


class Griewank(AbstractSurface):
    """f(x) = 1 + 1/4000 sum_i x_i^2 - prod_i cos(x_i / sqrt(i)), i = 1..n.

    Args:
        dim: number of coordinates.

    Source: A. O. Griewank, Journal of Optimization Theory and Applications 34 (1981) 11. Domain [-10, 10]^n of the
    project's table of critical points (59 for n = 2), the literature's is [-600, 600]^n; start (8, -6, 8, ...) ours.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        self._roots = [math.sqrt(i + 1) for i in range(dim)]
        super().__init__([(-10.0, 10.0)] * dim, alternate(8.0, -6.0, dim), [[0.0] * dim], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        waves = product((c / root).cos() for c, root in zip(x.unbind(-1), self._roots, strict=True))
        return 1.0 + (x * x).sum(dim=-1) / 4000.0 - waves
