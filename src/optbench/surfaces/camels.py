"""The camels: polynomials of degree six with three and six minima."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface


class ThreeHumpCamel(AbstractSurface):
    """f(x, y) = 2 x^2 - 1.05 x^4 + x^6 / 6 + x y + y^2: the minimum 0 between two of 0.2986.

    Source: F. H. Branin, IBM Journal of Research and Development 16 (1972) 504, as in S. Surjanovic & D. Bingham,
    Virtual Library of Simulation Experiments, "Three-Hump Camel"; start (-3, 2) ours.
    """

    def __init__(self) -> None:
        super().__init__([(-5.0, 5.0)] * 2, [-3.0, 2.0], [[0.0, 0.0]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        square = a * a
        return 2.0 * square - 1.05 * (square * square) + square**3 / 6.0 + a * b + b * b


class SixHumpCamel(AbstractSurface):
    """f(x, y) = (4 - 2.1 x^2 + x^4 / 3) x^2 + x y + (4 y^2 - 4) y^2: six minima in two equal lowest, symmetric in sign.

    The minimizers are roots of a polynomial without a simpler form, computed to full precision by Newton's method.

    Source: L. C. W. Dixon & G. P. Szegö, Towards Global Optimisation 2 (1978), as in S. Surjanovic & D. Bingham,
    Virtual Library of Simulation Experiments, "Six-Hump Camel"; start (-2, 1.5) ours.
    """

    def __init__(self) -> None:
        a, b = 0.08984201310031806, -0.7126564030207396
        super().__init__([(-3.0, 3.0), (-2.0, 2.0)], [-2.0, 1.5], [[a, b], [-a, -b]], -1.0316284534898774)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        p, q = a * a, b * b
        return (4.0 - 2.1 * p + p * p / 3.0) * p + a * b + (4.0 * q - 4.0) * q
