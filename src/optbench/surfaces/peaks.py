"""MATLAB's peaks: three hills, three hollows and three passes on a plain."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface


class Peaks(AbstractSurface):
    """f(x, y) = 3 (1-x)^2 e^(-x^2 - (y+1)^2) - 10 (x/5 - x^3 - y^5) e^(-x^2 - y^2) - 1/3 e^(-(x+1)^2 - y^2).

    The minimizer has no closed form; it is computed to full precision by Newton's method.

    Source: The MathWorks, MATLAB documentation, "peaks"; start (0.6, 0.5) ours, on a slope between a hollow and a hill.
    """

    def __init__(self) -> None:
        minimizer = [0.22827892055636909, -1.6255349574999964]
        super().__init__([(-3.0, 3.0)] * 2, [0.6, 0.5], [minimizer], -6.551133332835837)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        left, right, up = 1.0 - a, a + 1.0, b + 1.0
        aa, bb = a * a, b * b
        hill = 3.0 * (left * left) * (-aa - up * up).exp()
        waves = 10.0 * (0.2 * a - aa * a - bb * bb * b) * (-aa - bb).exp()
        return hill - waves - (-(right * right) - bb).exp() / 3.0
