"""The Goldstein-Price surface: degree eight, values from 3 to a million in a small box."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface


class GoldsteinPrice(AbstractSurface):
    """f = (1 + (x+y+1)^2 (19 - 14x + 3x^2 - 14y + 6xy + 3y^2)) (30 + (2x-3y)^2 q).

    Here q = 18 - 32x + 12x^2 + 48y - 36xy + 27y^2. Four minima, of values 3, 30, 84 and 840; the lowest is at (0, -1).

    Source: A. A. Goldstein & J. F. Price, Mathematics of Computation 25 (1971) 569; start (1, 1) ours.
    """

    def __init__(self) -> None:
        super().__init__([(-2.0, 2.0)] * 2, [1.0, 1.0], [[0.0, -1.0]], 3.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        aa, ab, bb = a * a, a * b, b * b
        p, q = a + b + 1.0, 2.0 * a - 3.0 * b
        first = 1.0 + p * p * (19.0 - 14.0 * a + 3.0 * aa - 14.0 * b + 6.0 * ab + 3.0 * bb)
        second = 30.0 + q * q * (18.0 - 32.0 * a + 12.0 * aa + 48.0 * b - 36.0 * ab + 27.0 * bb)
        return first * second
