"""Ackley's surface: a rippled plateau round one funnel whose tip is a kink."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim
from optbench.surfaces.axes import alternate


class Ackley(AbstractSurface):
    """f(x) = 20 + e - 20 exp(-1/5 sqrt(1/n sum_i x_i^2)) - exp(1/n sum_i cos(2 pi x_i)).

    The global minimum at the origin is a kink, a cone of slope 4: the surface is not differentiable there, and autograd
    gives NaN at exactly that point (the derivative of the square root at 0).

    Args:
        dim: number of coordinates.

    Source: D. H. Ackley, A Connectionist Machine for Genetic Hillclimbing (1987), N-D form of T. Bäck (1996). Domain
    [-5, 5]^n of the project's table of critical points, the literature's is [-32.768, 32.768]^n; start (3.3, -2.6, ...)
    ours.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        super().__init__([(-5.0, 5.0)] * dim, alternate(3.3, -2.6, dim), [[0.0] * dim], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        radius = ((x * x).sum(dim=-1) / self.dim).sqrt()
        ripple = (2.0 * math.pi * x).cos().sum(dim=-1) / self.dim
        return 20.0 * (1.0 - (-0.2 * radius).exp()) + (math.e - ripple.exp())
