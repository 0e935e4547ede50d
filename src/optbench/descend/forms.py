"""The operations of a traced program, as text: for a kernel, and for Python's own floats.

The two give the same bits: both round each operation as IEEE 754 says, call the same functions of the C library, and
have sin, cos and exp from `vector_math`, or all functions from `portable_math`, which never raise. Python raises where
the other gives an infinity or a NaN (1/0, log(-1)), so there is a third form, functions that do not, for the steps
where that happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from optbench.descend import portable_math, vector_math

FORMS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "pow": "{0} ** {1}",
    "sqrt": "math.sqrt({0})",
    "abs": "math.fabs({0})",
    "floor": "np.floor({0})",
    **{name: f"math.{name}({{0}})" for name in ("tan", "tanh", "atan", "expm1", "log", "log1p")},
    **{name: f"_vector_{name}({{0}})" for name in vector_math.FUNCTIONS},
    **{f"portable_{name}": f"_portable_{name}({{0}})" for name in portable_math.FUNCTIONS},
    "portable_pow": "_portable_pow({0}, {1})",
    "sign": "ONE if {0} > ZERO else (-ONE if {0} < ZERO else ZERO)",
    "maximum": "{0} if ({0} > {1}) | ({0} != {0}) else {1}",
    "minimum": "{0} if ({0} < {1}) | ({0} != {0}) else {1}",
    "where": "{1} if {0} else {2}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "not": "not {0}",
}
"""The text of each operation; truth values come from comparisons alone."""

TRUTHS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"})

QUICK = FORMS | {"pow": "math.pow({0}, {1})", "floor": "float(math.floor({0}))"}
"""The same for Python, whose ** of a negative number is complex. It may raise what RAISED names."""

_NUMPY = {"sqrt": "sqrt", "abs": "fabs", "tan": "tan", "tanh": "tanh", "atan": "arctan", "expm1": "expm1", "log": "log",
          "log1p": "log1p", "sin": "sin", "cos": "cos", "exp": "exp"}  # fmt: skip
ARRAYS = FORMS | {
    **{op: f"np.{name}({{0}})" for op, name in _NUMPY.items()},
    "div": "np.divide({0}, {1})",
    "pow": "np.power({0}, {1})",
    "sign": "np.where({0} > ZERO, ONE, np.where({0} < ZERO, -ONE, ZERO))",
    "maximum": "np.where(({0} > {1}) | ({0} != {0}), {0}, {1})",
    "minimum": "np.where(({0} < {1}) | ({0} != {0}), {0}, {1})",
    "where": "np.where({0}, {1}, {2})",
    "not": "np.logical_not({0})",
}
"""The same for many rows at once, to rounding: NumPy has functions of its own. Nothing raises."""

OVER_STEPS = ARRAYS | {"cumprod32": "np.cumprod({0}, axis=-1, dtype=np.float32).astype(np.float64)"}
"""And for arrays whose last axis are the steps of a run, along which a running product goes."""

RAISED = (ZeroDivisionError, ValueError, OverflowError)


def _div(a: float, b: float) -> float:
    if b != 0.0:
        return a / b
    return math.nan if a == 0.0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _pow(a: float, b: float) -> float:
    try:
        return math.pow(a, b)
    except OverflowError:
        odd = b == math.floor(b) and b % 2.0 == 1.0
        return -math.inf if a < 0.0 and odd else math.inf
    except ValueError:
        if a == 0.0 and b < 0.0:
            odd = b == math.floor(b) and b % 2.0 == 1.0
            return math.copysign(math.inf, a) if odd else math.inf
        return math.nan


def _sqrt(a: float) -> float:
    return math.sqrt(a) if a >= 0.0 else math.nan


def _log(a: float) -> float:
    return math.log(a) if a > 0.0 else -math.inf if a == 0.0 else math.nan


def _log1p(a: float) -> float:
    return math.log1p(a) if a > -1.0 else -math.inf if a == -1.0 else math.nan


def _expm1(a: float) -> float:
    try:
        return math.expm1(a)
    except OverflowError:
        return math.inf


def _floor(a: float) -> float:
    return float(math.floor(a)) if math.isfinite(a) else a


def _tan(a: float) -> float:
    return math.tan(a) if math.isfinite(a) else math.nan


def _turned(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda a: function(a) if math.isfinite(a) else math.nan


def _risen(function: Callable[[float], float]) -> Callable[[float], float]:
    def exp(a: float) -> float:
        try:
            return function(a) if a == a else a
        except OverflowError:
            return math.inf

    return exp


_WHOLE: Mapping[str, Callable[..., float]] = {
    "div": _div,
    "pow": _pow,
    "sqrt": _sqrt,
    "log": _log,
    "log1p": _log1p,
    "expm1": _expm1,
    "floor": _floor,
    "tan": _tan,
}
SAFE = QUICK | {
    op: f"whole_{op}({'{0}, {1}' if op in ('div', 'pow') else '{0}'})" for op in (*_WHOLE, *vector_math.FUNCTIONS)
}
"""The same as QUICK where what may raise is a call of what `whole` gives, and nothing raises."""


def whole() -> Mapping[str, Callable[..., float]]:
    """Of the operations that may raise in Python, the functions that give what a processor gives."""
    found = vector_math.scalar()
    return {**_WHOLE, "sin": _turned(found["sin"]), "cos": _turned(found["cos"]), "exp": _risen(found["exp"])}
