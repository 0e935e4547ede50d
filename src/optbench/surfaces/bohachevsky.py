"""Bohachevsky's three surfaces: a bowl with a ripple that is separable, a product, and a plane wave."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.problem import AbstractSurface

_DOMAIN = [(-100.0, 100.0)] * 2
_START = [-60.0, 40.0]


class Bohachevsky1(AbstractSurface):
    """f(x, y) = x^2 + 2 y^2 - 0.3 cos(3 pi x) - 0.4 cos(4 pi y) + 0.7: 25 minima, all within two units of the origin.

    Source: I. O. Bohachevsky, M. E. Johnson & M. L. Stein, Technometrics 28 (1986) 209; start (-60, 40) ours.
    """

    def __init__(self) -> None:
        super().__init__(_DOMAIN, _START, [[0.0, 0.0]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        ripple = -0.3 * (3.0 * math.pi * a).cos() - 0.4 * (4.0 * math.pi * b).cos()
        return a * a + 2.0 * (b * b) + (ripple + 0.7)


class Bohachevsky2(AbstractSurface):
    """f(x, y) = x^2 + 2 y^2 - 0.3 cos(3 pi x) cos(4 pi y) + 0.3.

    Source: I. O. Bohachevsky, M. E. Johnson & M. L. Stein, Technometrics 28 (1986) 209; start (-60, 40) ours.
    """

    def __init__(self) -> None:
        super().__init__(_DOMAIN, _START, [[0.0, 0.0]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        ripple = (3.0 * math.pi * a).cos() * (4.0 * math.pi * b).cos()
        return a * a + 2.0 * (b * b) + 0.3 * (1.0 - ripple)


class Bohachevsky3(AbstractSurface):
    """f(x, y) = x^2 + 2 y^2 - 0.3 cos(3 pi x + 4 pi y) + 0.3.

    Source: I. O. Bohachevsky, M. E. Johnson & M. L. Stein, Technometrics 28 (1986) 209; start (-60, 40) ours.
    """

    def __init__(self) -> None:
        super().__init__(_DOMAIN, _START, [[0.0, 0.0]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        ripple = (3.0 * math.pi * a + 4.0 * math.pi * b).cos()
        return a * a + 2.0 * (b * b) + 0.3 * (1.0 - ripple)
