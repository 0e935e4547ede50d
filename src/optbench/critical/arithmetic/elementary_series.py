"""Taylor coefficients of the elementary functions at a point, in exact or in interval arithmetic.

phi(u0 + t) = c0 + c1 t + c2 t^2 + ...: from the value (or two) at u0, which only the number system can give, the rest
follows by the differential equation of each function, in + - * / alone (A. Griewank & A. Walther, Evaluating
Derivatives, 2008, section 13.2). A number system is `Exact` (fractions: a value is known where it is rational, as
sin 0 = 0) or `Enclosed` (one interval). What is not analytic at u0 is `Inexact`: nothing is said about it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.exact import MOST_BITS, SPECIAL
from optbench.critical.arithmetic.interval import Interval
from optbench.errors import OptbenchError

Number = Any  # a Fraction or an Interval: something with + - * /


class Inexact(OptbenchError):
    """A value that the number system cannot give, or a function that is not analytic there."""


class Numbers(Protocol):
    """What a number system must be able to do besides + - * /."""

    def lift(self, c: float) -> Number:
        """The number c itself."""

    def is_zero(self, number: Number) -> bool:
        """Whether the number is known to be exactly 0. Raises Inexact for one too long to go on with."""

    def sign(self, number: Number) -> int:
        """1 or -1 where the sign is sure, else 0."""

    def is_known(self, number: Number) -> bool:
        """Whether the number is known to be finite."""

    def at(self, name: str, u0: Number) -> Number:
        """The value of an elementary function. Raises Inexact."""

    def whole_power(self, u0: Number, n: int) -> Number:
        """u0**n for n >= 0."""

    def power(self, u0: Number, p: float) -> Number:
        """u0**p for u0 > 0. Raises Inexact."""


class Exact:
    """Fractions. A function's value is known where it is rational and well known."""

    def lift(self, c: float) -> Fraction:
        return Fraction(c)

    def is_zero(self, number: Fraction) -> bool:
        if max(number.numerator.bit_length(), number.denominator.bit_length()) > MOST_BITS:
            raise Inexact(f"fractions of more than {MOST_BITS} bits")
        return number == 0

    def sign(self, number: Fraction) -> int:
        return (number > 0) - (number < 0)

    def is_known(self, number: Fraction) -> bool:
        return True

    def at(self, name: str, u0: Fraction) -> Fraction:
        if name == "sqrt":
            return _root(u0)
        place, value, _ = SPECIAL.get(name, (None, None, None))
        if value is None or u0 != place:
            raise Inexact(f"{name}({float(u0):g}) is not known exactly")
        return value

    def whole_power(self, u0: Fraction, n: int) -> Fraction:
        return u0**n

    def power(self, u0: Fraction, p: float) -> Fraction:
        if u0 == 1:
            return u0
        if p == int(p):
            return u0 ** int(p)
        if 2 * p == int(2 * p):
            return _root(u0) ** int(2 * p)
        raise Inexact(f"{float(u0):g}**{p:g} is not known exactly")


class Enclosed:
    """Intervals, one at a time, rounded outward; call within numpy.errstate(all="ignore")."""

    def lift(self, c: float) -> Interval:
        return Interval(ends.constant(c))

    def is_zero(self, number: Interval) -> bool:
        return not number.ends.any()

    def sign(self, number: Interval) -> int:
        return int(number.low[0] > 0) - int(number.high[0] < 0)

    def is_known(self, number: Interval) -> bool:
        return math.isfinite(number.ends.sum())

    def at(self, name: str, u0: Interval) -> Interval:
        return u0.apply(name)

    def whole_power(self, u0: Interval, n: int) -> Interval:
        return u0.power(n)

    def power(self, u0: Interval, p: float) -> Interval:
        return u0.real_power(p)


def _root(u0: Fraction) -> Fraction:
    if u0 > 0:
        above, below = math.isqrt(u0.numerator), math.isqrt(u0.denominator)
        if above * above == u0.numerator and below * below == u0.denominator:
            return Fraction(above, below)
    raise Inexact(f"sqrt({float(u0):g}) is not known exactly")


def coefficients(name: str, u0: Number, order: int, numbers: Numbers) -> list[Number]:
    """Taylor coefficients c0 .. c_order of an elementary function of functions.RULES at u0.

    Raises:
        Inexact: the value is not known in this number system, or the function is not analytic at u0.
    """
    if name not in _SERIES:
        raise Inexact(f"{name} has no series")
    return _SERIES[name](u0, order, numbers)


def power_coefficients(p: float, u0: Number, order: int, numbers: Numbers) -> list[Number]:
    """Taylor coefficients of u^p at u0: for whole p >= 0 everywhere, for other whole p off 0, else for u0 > 0.

    Raises:
        Inexact: u0 is not, or is not known to be, in that range.
    """
    if p == int(p) and p >= 0:
        n = int(p)
        return [numbers.whole_power(u0, n - k) * math.comb(n, k) for k in range(min(order, n) + 1)]
    if numbers.sign(u0) == 0 or (p != int(p) and numbers.sign(u0) < 0):
        raise Inexact(f"a power {p:g} of a number that may be 0 or less")
    if p == int(p):
        return _binomial(numbers.whole_power(1 / u0, -int(p)), p, u0, order, numbers)
    return _binomial(numbers.power(u0, p), p, u0, order, numbers)


def _binomial(first: Number, p: float, u0: Number, order: int, numbers: Numbers) -> list[Number]:
    """c_k = c_{k-1} (p - k + 1) / (k u0)."""
    found, inverse = [first], 1 / u0
    for k in range(1, order + 1):
        found.append(found[-1] * (numbers.lift(p) - (k - 1)) * inverse / k)
    return found


def _exp(u0: Number, order: int, numbers: Numbers) -> list[Number]:
    first = numbers.at("exp", u0)
    return [first / math.factorial(k) for k in range(order + 1)]


def _expm1(u0: Number, order: int, numbers: Numbers) -> list[Number]:
    return [numbers.at("expm1", u0), *_exp(u0, order, numbers)[1:]]


def _log(u0: Number, order: int, numbers: Numbers) -> list[Number]:
    if numbers.sign(u0) <= 0:
        raise Inexact("the logarithm of a number that may be 0 or less")
    inverse, power, found = 1 / u0, numbers.lift(1.0), [numbers.at("log", u0)]
    for k in range(1, order + 1):
        power = power * inverse
        found.append(power * (-1) ** (k - 1) / k)
    return found


def _log1p(u0: Number, order: int, numbers: Numbers) -> list[Number]:
    if numbers.sign(u0 + 1) <= 0:
        raise Inexact("the logarithm of a number that may be 0 or less")
    slopes = power_coefficients(-1.0, u0 + 1, max(order - 1, 0), numbers)
    return [numbers.at("log1p", u0), *(slopes[k] / (k + 1) for k in range(order))]


def _waves(odd: str, even: str, sign: int) -> Callable[[Number, int, Numbers], list[Number]]:
    """A function with f'' = sign f and f' the other: sin, cos, sinh, cosh."""

    def series(u0: Number, order: int, numbers: Numbers) -> list[Number]:
        f, slope = numbers.at(odd, u0), numbers.at(even, u0)
        if odd == "cos":
            slope = -slope
        cycle = [f, slope, f * sign, slope * sign]
        return [cycle[k % 4] / math.factorial(k) for k in range(order + 1)]

    return series


def _from_equation(name: str, slope: tuple[int, int, int]) -> Callable[[Number, int, Numbers], list[Number]]:
    """A function with y' = a + b y + c y^2: tan, tanh, sigmoid."""
    a, b, c = slope

    def series(u0: Number, order: int, numbers: Numbers) -> list[Number]:
        found = [numbers.at(name, u0)]
        for k in range(order):
            square = sum((found[i] * found[k - i] for i in range(1, k + 1)), found[0] * found[k])
            found.append((square * c + found[k] * b + (a if k == 0 else 0)) / (k + 1))
        return found

    return series


def _log1pexp(u0: Number, order: int, numbers: Numbers) -> list[Number]:
    slopes = coefficients("sigmoid", u0, max(order - 1, 0), numbers)
    return [numbers.at("log1pexp", u0), *(slopes[k] / (k + 1) for k in range(order))]


def _atan(u0: Number, order: int, numbers: Numbers) -> list[Number]:
    """Its slope is 1 / (1 + u^2)."""
    inverse = 1 / (u0 * u0 + 1)
    slopes = [inverse]
    for k in range(1, order):
        before = slopes[k - 2] if k > 1 else numbers.lift(0.0)
        slopes.append(-(u0 * 2 * slopes[k - 1] + before) * inverse)
    return [numbers.at("atan", u0), *(slopes[k] / (k + 1) for k in range(order))]


def _asinh(u0: Number, order: int, numbers: Numbers) -> list[Number]:
    """Its slope g is 1 / sqrt(1 + u^2): (1 + u^2) g' = -u g."""
    base = u0 * u0 + 1
    slopes = [numbers.power(base, -0.5)]
    for k in range(order - 1):
        before = slopes[k - 1] if k else numbers.lift(0.0)
        slopes.append(-(u0 * slopes[k] * (2 * k + 1) + before * k) / (base * (k + 1)))
    return [numbers.at("asinh", u0), *(slopes[k] / (k + 1) for k in range(order))]


def _erf(u0: Number, order: int, numbers: Numbers) -> list[Number]:
    """Its slope h is 2 / sqrt(pi) e^(-u^2): h' = -2 u h."""
    pi = numbers.at("atan", numbers.lift(1.0)) * 4
    slopes = [numbers.at("exp", -(u0 * u0)) * numbers.power(pi, -0.5) * 2]
    for k in range(order - 1):
        before = slopes[k - 1] if k else numbers.lift(0.0)
        slopes.append(-(u0 * slopes[k] + before) * 2 / (k + 1))
    return [numbers.at("erf", u0), *(slopes[k] / (k + 1) for k in range(order))]


def _kinked(left: float) -> Callable[[Number, int, Numbers], list[Number]]:
    """A function of slope `left` below 0 and 1 above."""

    def series(u0: Number, order: int, numbers: Numbers) -> list[Number]:
        sign = numbers.sign(u0)
        if sign == 0:
            raise Inexact("a kink")
        slope = numbers.lift(1.0 if sign > 0 else left)
        return [u0 * slope, slope][: order + 1]

    return series


_SERIES: dict[str, Callable[[Number, int, Numbers], list[Number]]] = {
    "abs": _kinked(-1.0),
    "asinh": _asinh,
    "atan": _atan,
    "cos": _waves("cos", "sin", -1),
    "cosh": _waves("cosh", "sinh", 1),
    "erf": _erf,
    "exp": _exp,
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "log1pexp": _log1pexp,
    "reciprocal": lambda u0, order, numbers: power_coefficients(-1.0, u0, order, numbers),
    "relu": _kinked(0.0),
    "sigmoid": _from_equation("sigmoid", (0, 1, -1)),
    "sin": _waves("sin", "cos", -1),
    "sinh": _waves("sinh", "cosh", 1),
    "sqrt": lambda u0, order, numbers: power_coefficients(0.5, u0, order, numbers),
    "square": lambda u0, order, numbers: [u0 * u0, u0 * 2, numbers.lift(1.0)][: order + 1],
    "tan": _from_equation("tan", (1, 0, 1)),
    "tanh": _from_equation("tanh", (1, 0, -1)),
}
