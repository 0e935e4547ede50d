"""Beale's surface: a flat basin between steep walls, and two saddles that textbooks leave out."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface


class Beale(AbstractSurface):
    """f(x, y) = (1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2.

    Source: E. M. L. Beale, Princeton technical report 25 (1958); start (1, 1) of J. J. Moré, B. S. Garbow &
    K. E. Hillstrom, ACM TOMS 7 (1981) 17.
    """

    def __init__(self) -> None:
        super().__init__([(-4.5, 4.5)] * 2, [1.0, 1.0], [[3.0, 0.5]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        square = b * b
        p, q, r = 1.5 - a + a * b, 2.25 - a + a * square, 2.625 - a + a * (square * b)
        return p * p + q * q + r * r
