"""Polynomials whose critical points teach: where the Hessian decides nothing, and a double well where it does."""

from __future__ import annotations

from torch import Tensor

from optbench.problem import AbstractSurface


class MonkeySaddle(AbstractSurface):
    """f(x, y) = x^3 - 3 x y^2: three ways down and three up; the Hessian at the origin is zero, the index -2.

    Unbounded below. The start lies close to the axis y = 0, along which a descent runs into the saddle.

    Source: M. Spivak, Comprehensive Introduction to Differential Geometry III; the table of critical points (domain).
    """

    def __init__(self) -> None:
        super().__init__([(-2.0, 2.0)] * 2, [1.5, 0.01])

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        return a * a * a - 3.0 * a * (b * b)


class QuarticBowl(AbstractSurface):
    """f(x, y) = x^4 + y^4: a minimum with zero Hessian; descent slows down algebraically, not exponentially.

    Source: the project's table of critical points (definition and domain); start (1.5, 1) ours.
    """

    def __init__(self) -> None:
        super().__init__([(-2.0, 2.0)] * 2, [1.5, 1.0], [[0.0, 0.0]], 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        return (x**4).sum(dim=-1)


class X2MinusY4(AbstractSurface):
    """f(x, y) = x^2 - y^4: a saddle whose Hessian diag(2, 0) looks like that of a minimum; the way down is of order 4.

    Unbounded below.

    Source: the project's table of critical points (definition and domain); start (1.5, 0.1) ours.
    """

    def __init__(self) -> None:
        super().__init__([(-2.0, 2.0)] * 2, [1.5, 0.1])

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        return a * a - b**4


class X2PlusY3(AbstractSurface):
    """f(x, y) = x^2 + y^3: a fold of index 0; from y > 0 descent creeps to the origin, from y < 0 it falls for ever.

    Unbounded below.

    Source: V. I. Arnold, Catastrophe Theory (1992), type A2; domain [-2, 2]^2 and start (1.5, 1) ours.
    """

    def __init__(self) -> None:
        super().__init__([(-2.0, 2.0)] * 2, [1.5, 1.0])

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unbind(-1)
        return a * a + b * b * b


class DoubleWell1D(AbstractSurface):
    """f(x) = x^4 - 2 x^2: two equal minima at -1 and 1, a maximum at 0; x has shape (..., 1).

    Source: the project's table of critical points (definition and domain); start 0.1 ours, close to the maximum.
    """

    def __init__(self) -> None:
        super().__init__([(-2.0, 2.0)], [0.1], [[-1.0], [1.0]], -1.0)

    def __call__(self, x: Tensor) -> Tensor:
        (a,) = x.unbind(-1)
        square = a * a
        return square * square - 2.0 * square
