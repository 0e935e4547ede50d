"""Powell's singular surface: the Hessian at the minimum has half its rank."""

from __future__ import annotations

from torch import Tensor

from optbench.errors import UserError
from optbench.problem import AbstractSurface, check_dim


class Powell(AbstractSurface):
    """f(x) = sum over groups of four of (a + 10 b)^2 + 5 (c - d)^2 + (b - 2c)^4 + 10 (a - d)^4.

    The groups (a, b, c, d) are (x_1, ..., x_4), (x_5, ..., x_8), ...; the minimum 0 at the origin is degenerate.

    Args:
        dim: number of coordinates, a multiple of 4.

    Raises:
        UserError: dim is not a positive multiple of 4.

    Source: M. J. D. Powell, The Computer Journal 5 (1962) 147, extended to n = 4k by J. J. Moré, B. S. Garbow &
    K. E. Hillstrom, ACM TOMS 7 (1981) 17; start (3, -1, 0, 1, ...) of both.
    """

    def __init__(self, dim: int = 4) -> None:
        check_dim(dim, least=4)
        if dim % 4:
            below = dim - dim % 4
            raise UserError(f"dim={dim}: expected a multiple of 4", f"use dim={below} or dim={below + 4}")
        super().__init__([(-4.0, 5.0)] * dim, [3.0, -1.0, 0.0, 1.0] * (dim // 4), [[0.0] * dim], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b, c, d = x[..., 0::4], x[..., 1::4], x[..., 2::4], x[..., 3::4]
        p, q, r, s = a + 10.0 * b, c - d, b - 2.0 * c, a - d
        return (p * p + 5.0 * (q * q) + r**4 + 10.0 * s**4).sum(dim=-1)
