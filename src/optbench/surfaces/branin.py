"""Branin's surface: three equal minima in one valley that repeats along x."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.problem import AbstractSurface


class Branin(AbstractSurface):
    """f(x, y) = (y - 5.1 x^2 / (4 pi^2) + 5 x / pi - 6)^2 + 10 (1 - 1/(8 pi)) cos(x) + 10.

    Minimum 5 / (4 pi) at (-pi, 12.275), (pi, 2.275) and (3 pi, 2.475), all exact.

    Source: F. H. Branin, IBM Journal of Research and Development 16 (1972) 504, with the constants of L. C. W. Dixon &
    G. P. Szegö, Towards Global Optimisation 2 (1978); start (2.5, 7.5), the centre of the domain.
    """

    def __init__(self) -> None:
        minimizers = [[-math.pi, 12.275], [math.pi, 2.275], [3.0 * math.pi, 2.475]]
        super().__init__([(-5.0, 10.0), (0.0, 15.0)], [2.5, 7.5], minimizers, 5.0 / (4.0 * math.pi))

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        floor = b - 5.1 / (4.0 * math.pi**2) * (a * a) + 5.0 / math.pi * a - 6.0
        return floor * floor + 10.0 * (1.0 - 1.0 / (8.0 * math.pi)) * a.cos() + 10.0
