"""The Styblinski-Tang surface: 2^n minima, one well of each axis a little deeper than the other."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim


class StyblinskiTang(AbstractSurface):
    """f(x) = 1/2 sum_i (x_i^4 - 16 x_i^2 + 5 x_i).

    Separable: every x_i of the minimizer is the lowest root -2.9035... of 4 x^3 - 32 x + 5 = 0; the minimum is
    -39.1661... an axis. The start is near the one maximum, at 0.1567 on every axis.

    Args:
        dim: number of coordinates.

    Source: M. A. Styblinski & T.-S. Tang, Neural Networks 3 (1990) 467; start (0, ..., 0) ours.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        minimizer = [-2.903534027771177] * dim
        super().__init__([(-5.0, 5.0)] * dim, [0.0] * dim, [minimizer], -39.16616570377142 * dim)

    def __call__(self, x: Tensor) -> Tensor:
        square = x * x
        return 0.5 * (square * square - 16.0 * square + 5.0 * x).sum(dim=-1)
