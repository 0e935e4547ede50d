"""Himmelblau's surface: four equal minima, four saddles and one maximum, all of them algebraic numbers."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface


class Himmelblau(AbstractSurface):
    """f(x, y) = (x^2 + y - 11)^2 + (x + y^2 - 7)^2.

    Of the four minimizers (3, 2) is exact; x of the others solves x^3 + 3 x^2 - 13 x - 38 = 0, y = 11 - x^2.

    Source: D. M. Himmelblau, Applied Nonlinear Programming (1972); start (0, 0), near the local maximum.
    """

    def __init__(self) -> None:
        minimizers = [
            [3.0, 2.0],
            [3.5844283403304917, -1.8481265269644036],
            [-2.805118086952745, 3.131312518250573],
            [-3.779310253377747, -3.2831859912861696],
        ]
        super().__init__([(-5.0, 5.0)] * 2, [0.0, 0.0], minimizers, 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        p, q = a * a + b - 11.0, a + b * b - 7.0
        return p * p + q * q
