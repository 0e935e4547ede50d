"""The lecture's two-weight linear network: the smallest network whose loss has a saddle point."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.errors import UserError
from optbench.problem import AbstractSurface


class LinearNet(AbstractSurface):
    """f(w1, w2) = (1 - w1 w2)^2 + l2 (w1^2 + w2^2): the network y = w1 w2 x on the one example (x, y) = (1, 1).

    Without weight decay the minima 0 are the hyperbola w1 w2 = 1, a continuum, so no minimizer is listed. With
    0 < l2 < 1 they are the two points w1 = w2 = +-sqrt(1 - l2), of value 2 l2 - l2^2; from l2 = 1 on it is the origin,
    of value 1. The Hessian at the origin has eigenvalues 2 l2 - 2 along (1, 1) and 2 l2 + 2 along (1, -1): for l2 < 1
    it is a saddle with the escape (1, 1). The start lies close to the way into it.

    Args:
        l2: weight decay, 0 or more.

    Raises:
        UserError: l2 is negative or not finite.

    Source: Hung-yi Lee, Machine Learning 2021, "When gradient is small"; the table of critical points (domain).
    """

    def __init__(self, l2: float = 0.0) -> None:
        if not 0.0 <= l2 < math.inf:
            raise UserError(f"l2={l2}: expected a finite number of at least 0")
        self.l2 = float(l2)
        domain, start = [(-2.0, 2.0)] * 2, [-1.0, 1.05]
        if l2 == 0.0:
            super().__init__(domain, start, minimum=0.0)
        elif l2 < 1.0:
            w = math.sqrt(1.0 - l2)
            super().__init__(domain, start, [[w, w], [-w, -w]], l2 * (2.0 - l2))
        else:
            super().__init__(domain, start, [[0.0, 0.0]], 1.0)

    def __call__(self, x: Tensor) -> Tensor:
        w1, w2 = x.unbind(-1)
        error = 1.0 - w1 * w2
        return error * error + self.l2 * (w1 * w1 + w2 * w2)
