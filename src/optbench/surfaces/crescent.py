"""A crescent-shaped valley: the best step along one and the same axis changes on the way."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface


class Crescent(AbstractSurface):
    """f(x, y) = 10 (y - x^2/5)^2 + (x - 4)^2 / 20: minimum 0 at (4, 16/5), the only critical point.

    On the valley floor y = x^2/5 the curvature along x is 16 x^2 / 5 + 1/10: 51.3 in the arms (x = +-4) and 0.1 at the
    bottom of the bend (x = 0), while along y it is 20 throughout. From the start in the left arm a descent meets the
    steep stretch, the flat one and the steep one again. AdaGrad never forgets the first; RMSProp does.

    Source: the shape is that of Hung-yi Lee, Machine Learning 2021, "Error surface is rugged: adaptive learning rate"
    (RMSProp); the figure gives no formula, so the polynomial, its domain and its start are ours.
    """

    def __init__(self) -> None:
        super().__init__([(-5.0, 5.0), (-2.0, 6.0)], [-4.0, 3.0], [[4.0, 3.2]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        across, along = b - 0.2 * (a * a), a - 4.0
        return 10.0 * (across * across) + 0.05 * (along * along)
