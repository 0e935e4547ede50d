"""Torch's operations on symbols, and the place where it is decided, function by function, what is proved of each.

What is proved is the function *as programmed*, in real arithmetic: thresholds, clamps, special cases and approximating
formulas of torch belong to the function, with the very numbers that torch uses; the rounding of float64 does not (tanh
saturates at 19 in floating point, not here), nor does its overflow. A tensor that does not depend on x is what torch
computes, in its own type. Names are those of torch.ops.aten.

    softplus            x where beta x > threshold, log(1 + e^(beta x)) / beta elsewhere: a jump of about e^-threshold
    log_sigmoid, logaddexp, binary_cross_entropy_with_logits, mish, log_softmax, softmax, logsumexp, cross_entropy
                        torch subtracts a maximum or an absolute value and has no threshold: the functions themselves
    gelu                "none": x/2 (1 + erf(c x)) with c the double next to sqrt(1/2); "tanh": its formula, not gelu
    relu, leaky_relu, prelu, elu, celu, selu, hardtanh, relu6, hardsigmoid, hardswish, softshrink, smooth_l1, huber,
    abs, clamp, maximum, minimum, amax, amin, max, min (values), norms of order 1 and inf
                        exact, by pieces; where pieces meet the gradient is Clarke's (any mean of both sides), and the
                        second derivative is known only if the first is continuous (elu with alpha = 1, huber)
    hardshrink, threshold, sign, heaviside, comparisons, where, masks
                        exact, by pieces; where the pieces are not seen to meet (where(x > 0, x, s x) is), a jump
    sqrt, norm, rsqrt, pow with a fraction
                        at 0 the derivative is unbounded; torch's autograd gives norm the gradient 0 there
    log, log2, log10, log1p, sqrt, pow with a fraction, atanh, acosh, asin, acos
                        outside their domain torch gives NaN: the surface is undefined there
    pow                 a whole exponent up to 1000 on any base; x**0 = 1, also 0**0 and NaN**0; 1**x = 1; a positive
                        constant base with any exponent; x**y with both variable is refused
    division            unbounded where the divisor may be 0
    sum, mean, prod, cumsum, cumprod, var, std, mm, mv, bmm, addmm, einsum, linear ...
                        sums and products in any order; dtype other than float64 is refused
    erf, erfc, expm1, sin ...
                        the functions themselves: what torch's library errs belongs to rounding
    floor, ceil, round, trunc, frac, fmod, remainder, sinc, xlogy, nan_to_num, sort, argmax, cdist, det ...
                        refused (REFUSED names the reason where there is more to say than that there is no rule)
    rand, dropout ...   refused: not a function
    detach, .data       refused: what is proved would not be what an optimizer sees
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from optbench import tracing
from optbench.critical.programs.recorded import Recorded, truth
from optbench.critical.programs.scalar import MissingRule
from optbench.tracing import Opaque, Symbols

Element = Any  # a Recorded or a float
Lowering = Callable[..., Any]
LOWERINGS: dict[str, Lowering] = {}
REFUSED = {
    **dict.fromkeys(("floor", "ceil", "round", "trunc", "frac", "fmod", "remainder"), " (a staircase)"),
    **dict.fromkeys(("detach", "alias"), " (it hides x from differentiation)"),
    **dict.fromkeys(("argmax", "argmin", "sort", "topk", "median", "nonzero"), " (an order that depends on x)"),
    **dict.fromkeys(("sinc", "xlogy", "special_xlog1py"), " (a special case at 0)"),
    "nan_to_num": " (it hides where the surface is undefined)",
    **dict.fromkeys(("equal", "allclose", "is_nonzero"), " (a decision that depends on x)"),
}
"""What is refused for a reason of its own: operation to words."""
LARGEST_POWER = 1000


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Registers a rule for operations of these names: symbols (arrays) and plain arguments in, symbols out."""

    def register(function: Lowering) -> Lowering:
        LOWERINGS.update(dict.fromkeys(names, function))
        return function

    return register


def elementwise(*names: str) -> Callable[[Lowering], Lowering]:
    """Registers a rule for single elements; where all are numbers, torch computes the number."""

    def register(function: Lowering) -> Lowering:
        for name in names:
            LOWERINGS[name] = _spread(name, function)
        return function

    return register


def _spread(name: str, function: Lowering) -> Lowering:
    def lower(*args: Any, **options: Any) -> Symbols:
        tensors = [isinstance(a, np.ndarray) for a in args]

        def one(*elements: Element) -> Element:
            if any(isinstance(e, Recorded) for e in elements):
                return function(*elements, **options)
            numbers = [
                torch.tensor(e, dtype=torch.float64) if tensor else e
                for e, tensor in zip(elements, tensors, strict=True)
            ]
            return float(getattr(torch.ops.aten, name)(*numbers, **options))

        return each(one, *args)

    return lower


def each(function: Callable[..., Element], *operands: Any) -> Symbols:
    """function of the elements of operands that broadcast against each other; what is None stays None."""
    return tracing.each(function, *map(usable, operands))


def usable(value: Any) -> Symbols:
    """An operand as an array; refused if a part of it must not be used."""
    if isinstance(value, np.ndarray):
        for element in value.flat:
            if isinstance(element, Opaque):
                raise MissingRule(element.reason)
        return value
    if isinstance(value, complex):
        raise MissingRule("a complex number")
    out = np.empty((), dtype=object)
    out[()] = float(value) if isinstance(value, int | float) else value
    return out


def lifted(p: Element, like: Element) -> Recorded:
    """An element as a recorded value."""
    return p if isinstance(p, Recorded) else like.constant(p)


# arithmetic -----------------------------------------------------------------------------------------------------------


def plus(p: Element, q: Element) -> Element:
    """p + q."""
    if isinstance(q, float):
        return p + q if isinstance(p, float) else p.shift(q)
    return q.shift(p) if isinstance(p, float) else p.plus(q)


def times(p: Element, q: Element) -> Element:
    """p q."""
    if isinstance(q, float):
        return p * q if isinstance(p, float) else p.scale(q)
    return q.scale(p) if isinstance(p, float) else p.times(q)


def minus(p: Element, q: Element) -> Element:
    """p - q."""
    return plus(p, times(q, -1.0))


def quotient(p: Element, q: Element) -> Element:
    """p / q."""
    if isinstance(q, float):
        return _library("div", p, q) if isinstance(p, float) else p.over(q)
    return times(q.apply("reciprocal"), p)


def function(name: str, p: Element) -> Element:
    """An elementary function of functions.RULES, or torch's value of it."""
    return _library(name, p) if isinstance(p, float) else p.apply(name)


def _library(name: str, *numbers: float) -> float:
    if name == "log1pexp":
        return _library("log1p", _library("exp", *numbers)) if numbers[0] < 30 else numbers[0]
    return float(getattr(torch, name)(*(torch.tensor(n, dtype=torch.float64) for n in numbers)))


def larger(p: Element, q: Element) -> Element:
    """max(p, q)."""
    if isinstance(p, float) and isinstance(q, float):
        return _library("maximum", p, q)
    if isinstance(p, float):
        p, q = q, p
    if isinstance(q, float) and q == 0.0:
        return p.apply("relu")
    return lifted(p, q).maximum(lifted(q, p))


def smaller(p: Element, q: Element) -> Element:
    """min(p, q)."""
    return times(larger(times(p, -1.0), times(q, -1.0)), -1.0)


def pieces(c: Element, positive: Element, other: Element, meet: int) -> Element:
    """`positive` where c > 0, else `other`."""
    if isinstance(c, float):
        return positive if c > 0 else other
    return c.where(lifted(positive, c), lifted(other, c), meet)


@elementwise("add")
def _add(p: Element, q: Element, alpha: float = 1) -> Element:
    return plus(p, times(q, float(alpha)) if alpha != 1 else q)


@elementwise("sub", "subtract")
def _sub(p: Element, q: Element, alpha: float = 1) -> Element:
    return plus(p, times(q, -float(alpha)))


@elementwise("rsub")
def _rsub(p: Element, q: Element, alpha: float = 1) -> Element:
    return _sub(q, p, alpha)


@elementwise("div", "divide", "true_divide")
def _div(p: Element, q: Element, rounding_mode: str | None = None) -> Element:
    if rounding_mode is not None:
        raise MissingRule("a division that is rounded to whole numbers")
    return quotient(p, q)


@elementwise("pow")
def power(p: Element, q: Element) -> Element:
    """p**q with a constant on one side."""
    if isinstance(q, float):
        if q == 0:
            return 1.0  # of NaN, too
        if not q.is_integer():
            if not math.isfinite(q):
                raise MissingRule(f"a power {q}")
            return p.apply("sqrt") if q == 0.5 else p.real_power(q)
        if abs(q) > LARGEST_POWER:
            raise MissingRule(f"a whole power beyond {LARGEST_POWER}")
        return p.apply("square") if q == 2 else p.power(int(q))
    if not isinstance(p, float) or not 0 < p < math.inf:
        raise MissingRule("a power with a variable exponent and a base that is not a positive number")
    if p == 1:
        return 1.0  # to the power NaN, too
    return q.times(q.constant(p).apply("log")).apply("exp")


_ARITHMETIC: dict[str, Lowering] = {
    "mul": times, "multiply": times, "maximum": larger, "minimum": smaller,
    "neg": lambda p: times(p, -1.0),
    "negative": lambda p: times(p, -1.0),
    "positive": lambda p: p,
    "exp2": lambda p: power(2.0, p),
    "rsqrt": lambda p: p.apply("sqrt").apply("reciprocal"),
    "erfc": lambda p: plus(1.0, times(p.apply("erf"), -1.0)),
    "log2": lambda p: p.apply("log").times(p.constant(2.0).apply("log").apply("reciprocal")),
    "log10": lambda p: p.apply("log").times(p.constant(10.0).apply("log").apply("reciprocal")),
    "asin": lambda p: arc_sine(p),
    "acos": lambda p: p.constant(1.0).apply("atan").scale(2.0).plus(arc_sine(p).scale(-1.0)),
    "acosh": lambda p: p.plus(p.apply("square").shift(-1.0).apply("sqrt")).apply("log"),
    "atanh": lambda p: p.apply("log1p").plus(p.scale(-1.0).apply("log1p").scale(-1.0)).scale(0.5),
    "addcmul": lambda p, q, r, value=1: plus(p, times(times(q, r), float(value))),
    "addcdiv": lambda p, q, r, value=1: plus(p, times(quotient(q, r), float(value))),
    "lerp": lambda p, q, w: plus(p, times(minus(q, p), w)),
    "hypot": lambda p, q: function("sqrt", plus(function("square", p), function("square", q))),
    "logaddexp": lambda p, q: plus(p, function("log1pexp", minus(q, p))),
}  # fmt: skip
for _name in ("abs", "asinh", "atan", "cos", "cosh", "erf", "exp", "expm1", "log", "log1p", "reciprocal", "relu",
              "sigmoid", "sin", "sinh", "sqrt", "square", "tan", "tanh"):  # fmt: skip
    elementwise(_name)(lambda p, name=_name: p.apply(name))


def arc_sine(p: Recorded) -> Recorded:
    """atan(p / sqrt(1 - p^2))."""
    root = p.apply("square").scale(-1.0).shift(1.0).apply("sqrt")
    return p.times(root.apply("reciprocal")).apply("atan")


# truth values: 1 and 0 ------------------------------------------------------------------------------------------------


def greater(p: Element, q: Element) -> Element:
    """Whether p > q."""
    c = minus(p, q)
    return float(c > 0) if isinstance(c, float) else truth(c)


def negated(t: Element) -> Element:
    """1 - t."""
    return 1.0 - t if isinstance(t, float) else choose(t, 0.0, 1.0)


def choose(t: Element, yes: Element, no: Element) -> Element:
    """`yes` where the truth value t is 1, else `no`."""
    if isinstance(t, float):
        return yes if t else no
    if yes == no:  # numbers; a symbol equals itself alone
        return yes
    return t.choose(lifted(yes, t), lifted(no, t))


def both(s: Element, t: Element) -> Element:
    """Whether both are true."""
    return choose(s, t, 0.0)


def _equal(p: Element, q: Element) -> Element:
    return both(negated(greater(p, q)), negated(greater(q, p)))


_TRUTH: dict[str, Lowering] = {
    "gt": greater,
    "lt": lambda p, q: greater(q, p),
    "ge": lambda p, q: negated(greater(q, p)),
    "le": lambda p, q: negated(greater(p, q)),
    "eq": _equal,
    "ne": lambda p, q: negated(_equal(p, q)),
    **dict.fromkeys(("logical_not", "bitwise_not"), lambda t: negated(t)),
    **dict.fromkeys(("logical_and", "bitwise_and"), lambda s, t: both(s, t)),
    **dict.fromkeys(("logical_or", "bitwise_or"), lambda s, t: choose(s, 1.0, t)),
    "sign": lambda p: plus(greater(p, 0.0), times(greater(0.0, p), -1.0)),
    "sgn": lambda p: plus(greater(p, 0.0), times(greater(0.0, p), -1.0)),
    "heaviside": lambda p, at_0: choose(greater(p, 0.0), 1.0, choose(greater(0.0, p), 0.0, at_0)),
}  # fmt: skip


@lowers("_to_copy", "lift_fresh")
def _same(x: Symbols, *_: Any, **__: Any) -> Symbols:
    return x  # traced looks at the type and the shape of the result


@lowers("where")
def _where(condition: Any, yes: Any = None, no: Any = None) -> Symbols:
    if yes is None:
        raise MissingRule(f"torch.nonzero{REFUSED['nonzero']}")
    return each(choose, condition, yes, no)


@lowers("masked_fill")
def _masked_fill(x: Symbols, mask: Any, value: Any) -> Symbols:
    return each(choose, mask, value, x)


for _name, _rule in {**_ARITHMETIC, **_TRUTH}.items():
    elementwise(_name)(_rule)
