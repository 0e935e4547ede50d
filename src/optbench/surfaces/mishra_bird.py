"""Mishra's bird: steep walls round a deep hollow, with slopes up to a few thousand."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface


class MishraBird(AbstractSurface):
    """f(x, y) = sin(y) e^((1 - cos x)^2) + cos(x) e^((1 - sin y)^2) + (x - y)^2.

    On the domain 3 minima, 6 saddles and 3 maxima; the minimizer has no closed form; it is computed to full precision
    by Newton's method. Here without the disc constraint that is sometimes added.

    Source: S. K. Mishra, Some new test functions for global optimization, MPRA paper 2718 (2006), with the coordinates
    in the order and on the domain [-10, 0] x [-6.5, 0] of the constrained form; start (-6, -3) ours.
    """

    def __init__(self) -> None:
        minimizer = [-3.1302468034546562, -1.5821421769300335]
        super().__init__([(-10.0, 0.0), (-6.5, 0.0)], [-6.0, -3.0], [minimizer], -106.76453674926468)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        cos, sin = a.cos(), b.sin()
        p, q, across = 1.0 - cos, 1.0 - sin, a - b
        return sin * (p * p).exp() + cos * (q * q).exp() + across * across
