"""Elementary functions with their first two derivatives in high precision: what intervals and balls are held to.

The forms cancel nowhere, so that at 60 digits they are true to far more than a double holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
from mpmath import cos, cosh, exp, log, log1p, mpf, sin, sinh, sqrt, tan, tanh

DIGITS = 60
Function = Callable[[Any], Any]


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + exp(-x)) if x > 0 else exp(x) / (1 + exp(x))


def _bell(x: Any) -> Any:
    """sigmoid'."""
    return exp(-abs(x)) / (1 + exp(-abs(x))) ** 2


class Form(NamedTuple):
    """A function.

    Attributes:
        value, first, second: f, f', f''.
        least: the domain of f is x > least, or x >= least where `closed`.
        closed: see least.
        kinks: where f' or f'' is not defined although f is.
        poles: where f is not defined.
        period: f, f' and f'' are monotonic between neighbouring multiples of it; None: between those of `turns`.
        turns: where f, f' or f'' has an extremum.
    """

    value: Function
    first: Function
    second: Function
    least: float = -mpmath.inf
    closed: bool = False
    kinks: tuple[float, ...] = ()
    poles: tuple[float, ...] = ()
    period: Any = None
    turns: tuple[Any, ...] = (0,)


def power_form(p: float) -> Form:
    """x^p: for whole p on all reals, else for x > 0 (x >= 0 for p > 0)."""
    if p == int(p):
        n = int(p)
        return Form(
            lambda x: x**n,
            (lambda x: n * x ** (n - 1)) if n else lambda x: mpf(0),
            (lambda x: n * (n - 1) * x ** (n - 2)) if n * (n - 1) else lambda x: mpf(0),
            poles=(0,) * (n < 0),
        )
    r = mpf(p)
    return Form(
        lambda x: x**r, lambda x: r * x ** (r - 1), lambda x: r * (r - 1) * x ** (r - 2), 0, p > 0, (0,), turns=()
    )


_HALF = sqrt(mpf(1) / 2)
_ATAN = 1 / sqrt(mpf(3))
FORMS: dict[str, Form] = {
    "abs": Form(abs, lambda x: mpf(1 if x > 0 else -1), lambda x: mpf(0), kinks=(0,)),
    "asinh": Form(
        mpmath.asinh, lambda x: 1 / sqrt(1 + x * x), lambda x: -x / sqrt(1 + x * x) ** 3, turns=(0, _HALF, -_HALF)
    ),
    "atan": Form(
        mpmath.atan,
        lambda x: 1 / (1 + x * x),
        lambda x: -2 * x / (1 + x * x) ** 2,
        turns=(0, _ATAN, -_ATAN),
    ),
    "cos": Form(cos, lambda x: -sin(x), lambda x: -cos(x), period=mpmath.pi / 2),
    "cosh": Form(cosh, sinh, cosh),
    "erf": Form(
        mpmath.erf,
        lambda x: 2 / sqrt(mpmath.pi) * exp(-x * x),
        lambda x: -4 * x / sqrt(mpmath.pi) * exp(-x * x),
        turns=(0, _HALF, -_HALF),
    ),
    "exp": Form(exp, exp, exp),
    "expm1": Form(mpmath.expm1, exp, exp),
    "log": Form(log, lambda x: 1 / x, lambda x: -1 / x**2, 0),
    "log1p": Form(log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2, -1),
    "log1pexp": Form(lambda x: log1p(exp(x)) if x < 0 else x + log1p(exp(-x)), _sigmoid, _bell),
    "reciprocal": power_form(-1),
    "relu": Form(lambda x: max(x, mpf(0)), lambda x: mpf(1 if x > 0 else 0), lambda x: mpf(0), kinks=(0,)),
    "sigmoid": Form(
        _sigmoid,
        _bell,
        lambda x: -_bell(x) * tanh(x / 2),
        turns=(0, log(2 + sqrt(3)), -log(2 + sqrt(3))),
    ),
    "sin": Form(sin, cos, lambda x: -sin(x), period=mpmath.pi / 2),
    "sinh": Form(sinh, cosh, sinh),
    "sqrt": Form(sqrt, lambda x: 1 / (2 * sqrt(x)), lambda x: -1 / (4 * x * sqrt(x)), 0, True, (0,)),
    "square": power_form(2),
    "tan": Form(tan, lambda x: 1 / cos(x) ** 2, lambda x: 2 * sin(x) / cos(x) ** 3, period=mpmath.pi / 2),
    "tanh": Form(
        tanh,
        lambda x: 1 / cosh(x) ** 2,
        lambda x: -2 * tanh(x) / cosh(x) ** 2,
        turns=(0, mpmath.atanh(_ATAN), -mpmath.atanh(_ATAN)),
    ),
}


def inside(form: Form, low: Any, high: Any) -> list[Any]:
    """Points of [low, high] in the domain of f: ends, points between, and where f, f' or f'' has an extremum."""
    low, high = mpf(low), mpf(high)
    points = [low, high, *(low + (high - low) * k / 7 for k in range(1, 7))]
    points += [mpf(t) for t in form.turns]
    if form.period is not None:
        first = mpmath.ceil(low / form.period)
        points += [(first + k) * form.period for k in range(5)]
    points = [x for x in points if low <= x <= high and x not in form.poles]
    return [x for x in points if x > form.least or (form.closed and x == form.least)]
