"""Zakharov's surface: a bowl that one direction of degree four bends into a plate."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim
from optbench.surfaces.axes import alternate, total


class Zakharov(AbstractSurface):
    """f(x) = sum_i x_i^2 + s^2 + s^4 with s = 1/2 sum_i i x_i: one critical point, the minimum at the origin.

    Args:
        dim: number of coordinates.

    Source: S. Surjanovic & D. Bingham, Virtual Library of Simulation Experiments, "Zakharov"; start
    (8, -4, 8, ...) ours.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        super().__init__([(-5.0, 10.0)] * dim, alternate(8.0, -4.0, dim), [[0.0] * dim], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        tilt = total(0.5 * (i + 1) * c for i, c in enumerate(x.unbind(-1)))
        square = tilt * tilt
        return (x * x).sum(dim=-1) + square + square * square
