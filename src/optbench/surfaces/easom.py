"""Easom's surface: a plain with one hole in it, where the gradient far away is next to nothing."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.problem import AbstractSurface


class Easom(AbstractSurface):
    """f(x, y) = -cos(x) cos(y) exp(-(x - pi)^2 - (y - pi)^2): minimum -1 at (pi, pi).

    Source: E. E. Easom, master's thesis, University of Louisville (1990). Domain [0, 6.25]^2 and not the
    literature's [-100, 100]^2, on most of which the exponential underflows, value and gradient being exactly 0 in
    float64; start (1.9, 2.6) ours.
    """

    def __init__(self) -> None:
        super().__init__([(0.0, 6.25)] * 2, [1.9, 2.6], [[math.pi, math.pi]], -1.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        p, q = a - math.pi, b - math.pi
        return -(a.cos() * b.cos() * (-(p * p) - q * q).exp())
