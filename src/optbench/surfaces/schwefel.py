"""Schwefel's surface: the lowest well lies in a corner, far from the next best."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim
from optbench.surfaces.axes import alternate


class Schwefel(AbstractSurface):
    """f(x) = 418.9829 n - sum_i x_i sin(sqrt(|x_i|)).

    Every x_i of the minimizer is 420.968746359982..., a root of tan(s) = -s/2 in s = sqrt(x). The literature's
    constant is rounded, so the minimum is 1.27e-5 an axis and not 0. On x_i = 0 the surface is C^1
    but not C^2: the true slope is 0, and autograd gives NaN at exactly that coordinate.

    Args:
        dim: number of coordinates.

    Source: H.-P. Schwefel, Numerical Optimization of Computer Models (1981), as in S. Surjanovic & D. Bingham, Virtual
    Library of Simulation Experiments, "Schwefel"; start (-300, 200, -300, ...) ours.
    """

    may_turn = False  # in the corners of a turned box it is lower

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        minimizer, minimum = [420.96874635998205] * dim, 1.2727566293725214e-5 * dim
        super().__init__([(-500.0, 500.0)] * dim, alternate(-300.0, 200.0, dim), [minimizer], minimum)

    def __call__(self, x: Tensor) -> Tensor:
        return (418.9829 - x * x.abs().sqrt().sin()).sum(dim=-1)
