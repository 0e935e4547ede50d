"""Second-order jets of Arb balls: the arithmetic of the independent second proof (F. Johansson, IEEE Trans. Comput. 66
(2017) 1281, through python-flint).

One box at a time, every elementary function proved by the library, sharing nothing with the intervals but the
surface's program. A ball that is not finite stands for "unknown". Integer powers are products: `arb ** int` of
python-flint 0.9 is NaN for a ball with midpoint 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import flint

from optbench.critical.programs.scalar import CONTINUOUS, JUMPS, Scalar

UNKNOWN = flint.arb("nan")
NONE = flint.arb(0)  # this very object: a derivative by a coordinate that the value does not depend on
EDGES = {"log": 0, "log1p": -1, "sqrt": 0}  # below it the function is NaN
Slopes = tuple[Any, Any, Any]


def ball(low: float, high: float) -> Any:
    """The ball that holds [low, high]."""
    return flint.arb(low).union(flint.arb(high))


class ArbJet(Scalar):
    """Value, gradient and Hessian as balls.

    Attributes:
        value: arb.
        grad: d of them.
        hess: d rows of d.
        void: whether it is NaN all over the box; where it may be, its value is unknown.
    """

    __slots__ = ("grad", "hess", "value", "void")

    def __init__(self, value: Any, grad: list[Any], hess: list[list[Any]], void: bool = False) -> None:
        self.value, self.grad, self.hess, self.void = value, grad, hess, void

    def constant(self, c: float) -> Self:
        n = range(len(self.grad))
        return type(self)(flint.arb(c), [NONE for _ in n], [[NONE for _ in n] for _ in n])

    def plus(self, other: Self) -> Self:
        rows = zip(self.hess, other.hess, strict=True)
        return type(self)(
            self.value + other.value,
            [_add(a, b) for a, b in zip(self.grad, other.grad, strict=True)],
            [[_add(a, b) for a, b in zip(p, q, strict=True)] for p, q in rows],
            self.void or other.void,
        )

    def times(self, other: Self) -> Self:
        u, v, n = self, other, range(len(self.grad))
        return type(self)(
            u.value * v.value,
            [_add(_mul(u.value, v.grad[i]), _mul(v.value, u.grad[i])) for i in n],
            [
                [
                    _add(
                        _mul(u.value, v.hess[i][j]),
                        _mul(v.value, u.hess[i][j]),
                        _mul(u.grad[i], v.grad[j]),
                        _mul(u.grad[j], v.grad[i]),
                    )
                    for j in n
                ]
                for i in n
            ],
            u.void or v.void,
        )

    def maximum(self, other: Self) -> Self:
        if self.value > other.value:
            return self
        if other.value > self.value:
            return other
        return self._pieces(other, bent=True, void=self.void or other.void)

    def where(self, positive: Self, other: Self, meet: int) -> Self:
        if self.value > 0:
            return positive
        if self.value < 0:
            return other
        a, b = positive.value, other.value
        if (meet != JUMPS and self.value.is_finite()) or (a.is_exact() and a == b):
            return positive._pieces(other, bent=meet == CONTINUOUS, void=positive.void and other.void)
        n = range(len(self.grad))
        free = [all(v.grad[i] is NONE for v in (self, positive, other)) for i in n]
        grad = [NONE if f else UNKNOWN for f in free]
        hess = [[NONE if f or g else UNKNOWN for g in free] for f in free]
        return type(self)(UNKNOWN, grad, hess, positive.void and other.void)

    def _pieces(self, other: Self, bent: bool, void: bool) -> Self:
        """The hull of self and other; no second derivative is known if the first one may jump."""
        grad = [_hull(a, b) for a, b in zip(self.grad, other.grad, strict=True)]
        rows = zip(self.hess, other.hess, strict=True)
        hess = [[_hull(a, b) for a, b in zip(p, q, strict=True)] for p, q in rows]
        if bent:
            hess = [[NONE if NONE is g or NONE is h else UNKNOWN for h in grad] for g in grad]
        return type(self)(_hull(self.value, other.value), grad, hess, void)

    def shift(self, c: float) -> Self:
        return type(self)(self.value + c, self.grad, self.hess, self.void)

    def scale(self, c: float) -> Self:
        return self._map(lambda a: a * c)

    def over(self, c: float) -> Self:
        return self._map(lambda a: a / c)

    def apply(self, name: str) -> Self:
        found = self._through(SLOPES[name](self.value))
        found.void = self.void or (name in EDGES and bool(self.value < EDGES[name]))
        return found

    def power(self, n: int) -> Self:
        if n == 0:
            return self.constant(1.0)
        if n < 0:
            return self.power(-n).apply("reciprocal")
        x = self.value
        return self._through((_power(x, n), n * _power(x, n - 1), n * (n - 1) * _power(x, n - 2)))

    def real_power(self, p: float) -> Self:
        exponent, log = flint.arb(p), _positive(self.value, self.value.log())
        derivatives = (((exponent - k) * log).exp() for k in range(3))
        value, first, second = derivatives
        found = self._through((value, exponent * first, exponent * (exponent - 1) * second))
        found.void = self.void or (p != int(p) and bool(self.value < 0))
        return found

    def _through(self, slopes: Slopes) -> Self:
        """Chain rule."""
        value, first, second = slopes
        n, g, h = range(len(self.grad)), self.grad, self.hess
        return type(self)(
            value,
            [_mul(first, g[i]) for i in n],
            [
                [_add(_mul(first, h[i][j]), _mul(second, _square(g[i]) if i == j else _mul(g[i], g[j]))) for j in n]
                for i in n
            ],
            self.void,
        )

    def _map(self, function: Callable[[Any], Any]) -> Self:
        """A linear function of value and derivatives."""
        same: Callable[[Any], Any] = lambda a: a if a is NONE else function(a)  # noqa: E731
        hess = [[same(h) for h in row] for row in self.hess]
        return type(self)(function(self.value), [same(g) for g in self.grad], hess, self.void)


def arb_point(balls: list[Any]) -> list[ArbJet]:
    """The point x over a box given by its balls."""
    one, n = flint.arb(1), range(len(balls))
    rows = [[NONE] * len(balls) for _ in n]
    return [ArbJet(x, [one if i == k else NONE for k in n], rows) for i, x in enumerate(balls)]


def _hull(a: Any, b: Any) -> Any:
    """The hull of a and b, derivatives of two pieces."""
    if a is NONE and b is NONE:
        return NONE
    return a.union(b) if a.is_finite() and b.is_finite() else UNKNOWN


def _mul(a: Any, b: Any) -> Any:
    """a b; no dependence stays none whatever it is multiplied with, but a derivative that is 0 here times an unknown
    slope (sqrt(x^2) at 0) is unknown."""
    return NONE if a is NONE or b is NONE else a * b


def _add(*terms: Any) -> Any:
    """The sum of what is there."""
    there = [t for t in terms if t is not NONE]
    return sum(there[1:], there[0]) if there else NONE


def _square(x: Any) -> Any:
    if x is NONE:
        return NONE
    small, large = abs(x).abs_lower(), abs(x).abs_upper()
    return (small * small).union(large * large)


def _power(x: Any, n: int) -> Any:
    """x^n by products; 0 for n < 0, whose factor is 0."""
    if n <= 0:
        return flint.arb(1 if n == 0 else 0)
    half = _square(_power(x, n // 2)) if n > 1 else flint.arb(1)
    return half * x if n % 2 else half


def _positive(x: Any, value: Any) -> Any:
    """The value where x > 0 is proved, else unknown."""
    return value if x > 0 else UNKNOWN


def _reciprocal(x: Any) -> Slopes:
    inverse = 1 / x
    return inverse, -(inverse * inverse), 2 * inverse * inverse * inverse


def _sqrt(x: Any) -> Slopes:
    if not x > 0:
        return (ball(0.0, 0.0).union(x.abs_upper().sqrt()) if x >= 0 else UNKNOWN), UNKNOWN, UNKNOWN
    root = x.sqrt()
    return root, 1 / (2 * root), -1 / (4 * root * x)


def _abs(x: Any) -> Slopes:
    if x.contains(0):
        return abs(x), ball(-1.0, 1.0), UNKNOWN
    return abs(x), flint.arb(1 if x > 0 else -1), flint.arb(0)


def _relu(x: Any) -> Slopes:
    if x.contains(0):
        return ball(0.0, 0.0).union(x.upper()), ball(0.0, 1.0), UNKNOWN
    return (x, flint.arb(1), flint.arb(0)) if x > 0 else (flint.arb(0),) * 3


def _log(x: Any) -> Slopes:
    inverse = _positive(x, 1 / x)
    return _positive(x, x.log()), inverse, -(inverse * inverse)


def _log1p(x: Any) -> Slopes:
    inverse = _positive(1 + x, 1 / (1 + x))
    return _positive(1 + x, x.log1p()), inverse, -(inverse * inverse)


def _tan(x: Any) -> Slopes:
    t = x.tan()
    return t, 1 + t * t, 2 * t * (1 + t * t)


def _tanh(x: Any) -> Slopes:
    t, s = x.tanh(), _square(x.sech())
    return t, s, -2 * t * s


def _sigmoid(x: Any) -> Slopes:
    s, t = 1 / (1 + (-x).exp()), 1 / (1 + x.exp())
    return s, s * t, s * t * (t - s)


def _log1pexp(x: Any) -> Slopes:
    s, first, _ = _sigmoid(x)
    return x.exp().log1p(), s, first


def _asinh(x: Any) -> Slopes:
    s = 1 / (1 + _square(x)).sqrt()
    return x.lower().asinh().union(x.upper().asinh()), s, -x * s * s * s  # a rising function; of a wide ball it is nan


def _erf(x: Any) -> Slopes:
    s = 2 / flint.arb.pi().sqrt() * (-_square(x)).exp()
    return x.erf(), s, -2 * x * s


def _atan(x: Any) -> Slopes:
    s = 1 / (1 + _square(x))
    return x.atan(), s, -2 * x * s * s


SLOPES: dict[str, Callable[[Any], Slopes]] = {
    "abs": _abs,
    "asinh": _asinh,
    "atan": _atan,
    "cos": lambda x: (x.cos(), -x.sin(), -x.cos()),
    "cosh": lambda x: (x.cosh(), x.sinh(), x.cosh()),
    "erf": _erf,
    "exp": lambda x: (x.exp(),) * 3,
    "expm1": lambda x: (x.expm1(), x.exp(), x.exp()),
    "log": _log,
    "log1p": _log1p,
    "log1pexp": _log1pexp,
    "reciprocal": _reciprocal,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "sin": lambda x: (x.sin(), x.cos(), -x.sin()),
    "sinh": lambda x: (x.sinh(), x.cosh(), x.sinh()),
    "sqrt": _sqrt,
    "square": lambda x: (_square(x), 2 * x, flint.arb(2)),
    "tan": _tan,
    "tanh": _tanh,
}
