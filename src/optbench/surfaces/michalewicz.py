"""Michalewicz's surface: narrow trenches on a plateau that is flat to twenty orders."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim
from optbench.surfaces.axes import alternate, total


class Michalewicz(AbstractSurface):
    """f(x) = -sum_i sin(x_i) sin(i x_i^2 / pi)^20, i = 1..n (steepness m = 10).

    Separable; the minimizer is found axis by axis with Newton's method. For n = 2 it is (2.2029..., pi/2), minimum
    -1.8013...; published values for n = 5 and 10 are -4.687658 and -9.660152.

    Args:
        dim: number of coordinates.

    Source: Z. Michalewicz, Genetic Algorithms + Data Structures = Evolution Programs (1992), as in S. Surjanovic &
    D. Bingham, Virtual Library of Simulation Experiments, "Michalewicz"; start (2, 1.8, 2, ...) ours.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        minimizer = [_deepest(i + 1) for i in range(dim)]
        minimum = -math.fsum(_depth(x, i + 1) for i, x in enumerate(minimizer))
        super().__init__([(0.0, math.pi)] * dim, alternate(2.0, 1.8, dim), [minimizer], minimum)

    def __call__(self, x: Tensor) -> Tensor:
        return -total(c.sin() * ((i + 1) / math.pi * (c * c)).sin() ** 20 for i, c in enumerate(x.unbind(-1)))


def _depth(x: float, i: int) -> float:
    return math.sin(x) * math.sin(i * x * x / math.pi) ** 20


def _deepest(i: int) -> float:
    """Maximizer of the depth along axis i.

    Between two zeros of its second factor the depth has one maximum, next to x = pi sqrt((k + 1/2) / i); the trench
    nearest to x = pi/2, where sin(x) is largest, has k + 1/2 next to i/4.
    """
    lower = max(0, math.floor(i / 4.0 - 0.5))
    trenches = {lower, min(lower + 1, i - 1)}
    return max((_newton(math.pi * math.sqrt((k + 0.5) / i), i) for k in trenches), key=lambda x: _depth(x, i))


def _newton(x: float, i: int) -> float:
    """Zero near x of the logarithmic derivative, cot(x) + 20 u' cot(u) with u = i x^2 / pi."""
    for _ in range(12):
        u, du, ddu = i * x * x / math.pi, 2.0 * i * x / math.pi, 2.0 * i / math.pi
        cot_x, cot_u = 1.0 / math.tan(x), 1.0 / math.tan(u)
        slope = cot_x + 20.0 * du * cot_u
        curvature = -1.0 - cot_x * cot_x + 20.0 * (ddu * cot_u - du * du * (1.0 + cot_u * cot_u))
        x -= slope / curvature
    return x
