"""McCormick's surface: a sine ripple on a tilted valley."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.problem import AbstractSurface


class McCormick(AbstractSurface):
    """f(x, y) = sin(x + y) + (x - y)^2 - 1.5 x + 2.5 y + 1.

    On the domain the minimum -sqrt(3)/2 - pi/3 is attained at (1/2 - pi/3, -1/2 - pi/3); outside it the surface falls
    without bound along the diagonal.

    Source: S. Surjanovic & D. Bingham, Virtual Library of Simulation Experiments, "McCormick"; start (3, -2) ours.
    """

    may_turn = False  # beyond its domain it has no lower bound

    def __init__(self) -> None:
        third = math.pi / 3.0
        minimizer = [0.5 - third, -0.5 - third]
        super().__init__([(-1.5, 4.0), (-3.0, 4.0)], [3.0, -2.0], [minimizer], -math.sqrt(3.0) / 2.0 - third)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        across = a - b
        return (a + b).sin() + across * across - 1.5 * a + 2.5 * b + 1.0
