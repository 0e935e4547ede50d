"""The Dixon-Price surface: a chain of parabolas that fixes each coordinate by the one before it."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface, check_dim
from optbench.surfaces.axes import alternate, total


class DixonPrice(AbstractSurface):
    """f(x) = (x_1 - 1)^2 + sum_{i>=2} i (2 x_i^2 - x_{i-1})^2.

    Minimum 0 where x_1 = 1 and 2 x_i^2 = x_{i-1}: x_i = 2^-(1 - 2^(1-i)), the last coordinate of either sign (n >= 2).

    Args:
        dim: number of coordinates.

    Source: L. C. W. Dixon & R. C. Price, Journal of Optimization Theory and Applications 60 (1989) 261; start
    (8, -6, 8, ...) ours.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        plus = [2.0 ** -(1.0 - 2.0**-i) for i in range(dim)]
        minimizers = [plus] if dim == 1 else [plus, [*plus[:-1], -plus[-1]]]
        super().__init__([(-10.0, 10.0)] * dim, alternate(8.0, -6.0, dim), minimizers, 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        first = x[..., 0] - 1.0
        links = 2.0 * (x * x)[..., 1:] - x[..., :-1]
        squares = (links * links).unbind(-1)
        return total([first * first, *((i + 2) * square for i, square in enumerate(squares))])
