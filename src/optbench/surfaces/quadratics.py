"""Quadratic surfaces: one critical point at most (or one line), so only the curvature decides what a step does."""

from __future__ import annotations

import math

from torch import Tensor

from optbench.errors import UserError
from optbench.problem import AbstractSurface, check_dim
from optbench.surfaces.axes import alternate, total


class Sphere(AbstractSurface):
    """f(x) = sum_i x_i^2: equal curvature along every axis, the easiest surface there is.

    Args:
        dim: number of coordinates.

    Source: S. Surjanovic & D. Bingham, Virtual Library of Simulation Experiments, "Sphere"; start (4, -3, 4, ...) ours.
    """

    def __init__(self, dim: int = 2) -> None:
        check_dim(dim)
        super().__init__([(-5.12, 5.12)] * dim, alternate(4.0, -3.0, dim), [[0.0] * dim], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        return (x * x).sum(dim=-1)


class IllQuadratic(AbstractSurface):
    """f(x) = 1/2 sum_i l_i x_i^2 with l_i = condition^((i-1)/(n-1)), i = 1..n: x^2/2 + 500 y^2 in 2-D.

    The Hessian is diagonal with eigenvalues from 1 to `condition`, spaced geometrically. Gradient descent is stable up
    to a learning rate of 2 / condition, and then shrinks the first axis by a factor of 1 - 2 / condition a step.

    Args:
        dim: number of coordinates, at least 2.
        condition: condition number of the Hessian, at least 1.

    Raises:
        UserError: dim or condition out of range.

    Source: Y. Nesterov, Introductory Lectures on Convex Optimization (2004), section 2.1; domain of the project's table
    of critical points; start (4, -3, 4, ...) ours.
    """

    def __init__(self, dim: int = 2, condition: float = 1000.0) -> None:
        check_dim(dim, least=2)
        if not 1.0 <= condition < math.inf:
            raise UserError(f"condition={condition}: expected a finite number of at least 1")
        self._halves = [0.5 * float(condition) ** (i / (dim - 1)) for i in range(dim)]
        super().__init__([(-5.0, 5.0)] * dim, alternate(4.0, -3.0, dim), [[0.0] * dim], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        return total(half * (c * c) for half, c in zip(self._halves, x.unbind(-1), strict=True))


class NearFlatMin(AbstractSurface):
    """f(x, y) = x^2 + y^2 / 10^9: a nondegenerate minimum that any eigenvalue tolerance takes for a flat valley.

    The Hessian is diag(2, 2e-9), condition number 10^9.

    Source: the project's table of critical points (definition and domain); start (1.5, 1) ours.
    """

    def __init__(self) -> None:
        super().__init__([(-2.0, 2.0)] * 2, [1.5, 1.0], [[0.0, 0.0]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        return a * a + b * b / 1e9


class Saddle(AbstractSurface):
    """f(x, y) = x^2 - y^2: the strict saddle, Hessian diag(2, -2), unbounded below.

    The start lies close to the stable axis y = 0, so that a descent visits the saddle before it leaves along y.

    Source: Hung-yi Lee, Machine Learning 2021, "When gradient is small"; the table of critical points (domain).
    """

    def __init__(self) -> None:
        super().__init__([(-2.0, 2.0)] * 2, [1.5, 0.01])

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        return a * a - b * b


class Valley(AbstractSurface):
    """f(x, y) = x^2: a flat valley; every point of the line x = 0 is a minimum and none of them is isolated.

    The minimum 0 is attained on a continuum, so no minimizer is listed.

    Source: the project's table of critical points (definition and domain); start (1.5, 1) ours.
    """

    def __init__(self) -> None:
        super().__init__([(-2.0, 2.0)] * 2, [1.5, 1.0], minimum=0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, _ = x.unbind(-1)
        return a * a


class Ellipse(AbstractSurface):
    """f(x, y) = (x + 4)^2 / a^2 + (y - 2)^2 / b^2 with a = 10, b = 1/10: a long narrow bowl, f = 1 has half-axes a, b.

    The Hessian is diag(0.02, 200), condition number 10^4. From the start (4, -2) the minimum lies a short way off along
    the steep axis and a long way along the flat one, and no one learning rate serves both: gradient descent at 0.01
    multiplies y - 2 by 1 - 0.01 * 200 = -1 and bounces between the walls for ever; at 1e-7 it reaches the valley floor
    in 100,000 updates and has then moved x by 0.0016 of the 8 that it needs.

    Source: the shape is Hung-yi Lee's, Machine Learning 2021, "Error surface is rugged: adaptive learning rate" (rates
    1e-2 and 1e-7); the figure gives no formula, so centre, half-axes, domain and start are ours.
    """

    def __init__(self) -> None:
        super().__init__([(-5.0, 5.0), (-3.0, 3.0)], [4.0, -2.0], [[-4.0, 2.0]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        flat, steep = a + 4.0, b - 2.0
        return flat * flat / 100.0 + 100.0 * (steep * steep)


class Booth(AbstractSurface):
    """f(x, y) = (x + 2y - 7)^2 + (2x + y - 5)^2: a mild rotated bowl, Hessian eigenvalues 2 and 18.

    Source: M. Jamil & X.-S. Yang (2013), arXiv:1308.4008, "Booth"; start (-8, 6) ours.
    """

    def __init__(self) -> None:
        super().__init__([(-10.0, 10.0)] * 2, [-8.0, 6.0], [[1.0, 3.0]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        p, q = a + 2.0 * b - 7.0, 2.0 * a + b - 5.0
        return p * p + q * q


class Matyas(AbstractSurface):
    """f(x, y) = 0.26 (x^2 + y^2) - 0.48 x y: a bowl along the diagonal, Hessian eigenvalues 0.04 and 1.

    Source: M. Jamil & X.-S. Yang (2013), arXiv:1308.4008, "Matyas"; start (8, -6) ours.
    """

    def __init__(self) -> None:
        super().__init__([(-10.0, 10.0)] * 2, [8.0, -6.0], [[0.0, 0.0]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        return 0.26 * (a * a + b * b) - 0.48 * (a * b)
