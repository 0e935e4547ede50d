"""A shallow well beside a deep one: what it takes to leave a poor minimum."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim


class TwoWell(AbstractSurface):
    """f(x) = x_1^4 / 4 + x_1^3 / 3 - x_1^2 + 1/2 sum_{i>=2} x_i^2.

    Along x_1 the derivative is x (x + 2) (x - 1): a shallow minimum of -5/12 at 1 (curvature 3), a deep one of -8/3 at
    -2 (curvature 6) and a barrier of 0 at 0 (curvature -2); leaving the shallow well costs 5/12. All points are exact.

    Args:
        dim: number of coordinates.

    Source: ours, a tilted double well with rational critical points, for the escape from minima as in H. A. Kramers,
    Physica 7 (1940) 284; the start (1.5, 1, ..., 1) is on the side of the shallow well.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        rest = dim - 1
        domain = [(-3.0, 2.0)] + [(-2.0, 2.0)] * rest
        super().__init__(domain, [1.5] + [1.0] * rest, [[-2.0] + [0.0] * rest], -8.0 / 3.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, rest = x[..., 0], x[..., 1:]
        square = a * a
        return square * square / 4.0 + square * a / 3.0 - square + 0.5 * (rest * rest).sum(dim=-1)
