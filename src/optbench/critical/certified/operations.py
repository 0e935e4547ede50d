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
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optbench.critical.certified.arithmetic import CONTINUOUS, JUMPS, SMOOTH, MissingRule
from optbench.critical.certified.recorded import Recorded, truth

Symbols = NDArray[np.object_]
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
GELU = 0.5**0.5  # the double that torch multiplies with
GELU_TANH = (2.0**0.5 * (2.0 / math.sqrt(math.pi)) * 0.5, 0.044715)


class Opaque:
    """A result that must not be used, with the reason: the place of the largest coordinate."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


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
    arrays = [_operand(a) for a in operands]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    flat = [np.broadcast_to(a, shape).reshape(-1).tolist() for a in arrays]
    out = np.empty(math.prod(shape), dtype=object)
    out[:] = [function(*elements) for elements in zip(*flat, strict=True)]
    return out.reshape(shape)


def _operand(value: Any) -> Symbols:
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
    if yes is no or (isinstance(yes, float) and isinstance(no, float) and yes == no):
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


@lowers("where")
def _where(condition: Any, yes: Any = None, no: Any = None) -> Symbols:
    if yes is None:
        raise MissingRule(f"torch.nonzero{REFUSED['nonzero']}")
    return each(choose, condition, yes, no)


@lowers("masked_fill")
def _masked_fill(x: Symbols, mask: Any, value: Any) -> Symbols:
    return each(choose, mask, value, x)


# activations and losses by pieces -------------------------------------------------------------------------------------


@elementwise("softplus")
def _softplus(p: Recorded, beta: float = 1.0, threshold: float = 20.0) -> Recorded:
    scaled = p.scale(beta)
    return scaled.shift(-threshold).where(p, scaled.apply("log1pexp").over(beta), JUMPS)


@elementwise("gelu")
def _gelu(p: Recorded, approximate: str = "none") -> Recorded:
    if approximate == "none":
        return p.scale(GELU).apply("erf").shift(1.0).times(p).scale(0.5)
    beta, kappa = GELU_TANH
    return p.plus(p.power(3).scale(kappa)).scale(beta).apply("tanh").shift(1.0).times(p).scale(0.5)


def elu(p: Recorded, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Recorded:
    """scale p where p > 0, else scale alpha (e^(input_scale p) - 1)."""
    below = p.scale(input_scale).apply("expm1").scale(alpha * scale)
    return p.where(p.scale(scale), below, SMOOTH if alpha == input_scale == 1.0 else CONTINUOUS)


@elementwise("celu")
def _celu(p: Recorded, alpha: float = 1.0) -> Recorded:
    return elu(p, alpha, 1.0, 1.0 / alpha)


@elementwise("clamp", "hardtanh", "clip")
def _clamp(p: Element, min: Element = None, max: Element = None) -> Element:
    p = p if min is None else larger(p, min)
    return p if max is None else smaller(p, max)


LOWERINGS["hardtanh"] = lambda x, low=-1.0, high=1.0: LOWERINGS["clamp"](x, low, high)


@elementwise("threshold")
def _threshold(p: Recorded, threshold: float, value: float) -> Recorded:
    return p.shift(-threshold).where(p, p.constant(value), CONTINUOUS if value == threshold else JUMPS)


@elementwise("softshrink")
def _softshrink(p: Recorded, width: float = 0.5) -> Recorded:
    below = p.scale(-1.0).shift(-width).where(p.shift(width), p.constant(0.0), CONTINUOUS)
    return p.shift(-width).where(p.shift(-width), below, CONTINUOUS)


@elementwise("hardshrink")
def _hardshrink(p: Recorded, width: float = 0.5) -> Recorded:
    below = p.scale(-1.0).shift(-width).where(p, p.constant(0.0), JUMPS)
    return p.shift(-width).where(p, below, JUMPS)


@elementwise("leaky_relu")
def _leaky_relu(p: Recorded, slope: float = 0.01) -> Recorded:
    return p.where(p, p.scale(slope), CONTINUOUS)


_ACTIVATIONS: dict[str, Lowering] = {
    "elu": elu,
    "silu": lambda p: p.times(p.apply("sigmoid")),
    "mish": lambda p: p.times(p.apply("log1pexp").apply("tanh")),
    "hardsigmoid": lambda p: smaller(larger(p.shift(3.0), 0.0), 6.0).over(6.0),
    "hardswish": lambda p: smaller(larger(p.shift(3.0), 0.0), 6.0).times(p).over(6.0),
    "_prelu_kernel": lambda p, slope: pieces(p, p, times(p, slope), CONTINUOUS),
    "clamp_min": larger,
    "clamp_max": smaller,
}


@lowers("log_sigmoid_forward")
def _log_sigmoid(x: Symbols) -> tuple[Symbols, Symbols]:
    found = each(lambda p: times(function("log1pexp", times(p, -1.0)), -1.0), x)
    return found, np.asarray(Opaque("a buffer of log_sigmoid's own"), dtype=object)


# reductions -----------------------------------------------------------------------------------------------------------


def dims_of(x: Symbols, dim: Any) -> list[int]:
    """The axes that an argument `dim` names, counted from 0."""
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return list(range(x.ndim))
    return sorted(d % x.ndim if x.ndim else 0 for d in ([dim] if isinstance(dim, int) else dim))


def fold(rule: Callable[[Element, Element], Element], x: Symbols, dim: Any, keepdim: bool = False) -> Symbols:
    """An associative operation along some axes, from the first element to the last."""
    axes = dims_of(x, dim) if x.ndim else []
    rest = [d for d in range(x.ndim) if d not in axes]
    shape = tuple(x.shape[d] for d in rest)
    lines = _operand(x).transpose(rest + axes).reshape(*shape, -1)
    if not lines.shape[-1]:
        raise MissingRule("a reduction of nothing")
    out = np.empty(shape, dtype=object)
    for place in np.ndindex(shape):
        out[place] = reduce(rule, lines[place])
    return np.expand_dims(out, tuple(axes)) if keepdim else out


def count(x: Symbols, dim: Any) -> float:
    """How many elements a reduction takes together."""
    return float(math.prod(x.shape[d] for d in dims_of(x, dim))) if x.ndim else 1.0


def _double(dtype: Any) -> None:
    if dtype not in (None, torch.float64):
        raise MissingRule(f"dtype={dtype}")


@lowers("sum")
def total(x: Symbols, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Symbols:
    """Sum along some axes."""
    _double(dtype)
    return fold(plus, x, dim, keepdim)


@lowers("mean")
def mean(x: Symbols, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Symbols:
    """Mean along some axes."""
    return each(quotient, total(x, dim, keepdim, dtype=dtype), count(x, dim))


@lowers("prod")
def _prod(x: Symbols, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Symbols:
    _double(dtype)
    return fold(times, x, dim, keepdim)


@lowers("amax")
def _amax(x: Symbols, dim: Any = (), keepdim: bool = False) -> Symbols:
    return fold(larger, x, dim, keepdim)


@lowers("amin")
def _amin(x: Symbols, dim: Any = (), keepdim: bool = False) -> Symbols:
    return fold(smaller, x, dim, keepdim)


def _with_place(rule: Callable[[Element, Element], Element]) -> Lowering:
    def lower(x: Symbols, dim: Any = None, keepdim: bool = False) -> Any:
        found = fold(rule, x, dim, keepdim)
        if dim is None:
            return found
        return found, np.full(found.shape, Opaque(f"torch.argmax{REFUSED['argmax']}"), dtype=object)

    return lower


LOWERINGS |= {"max": _with_place(larger), "min": _with_place(smaller)}


@lowers("var")
def variance(x: Symbols, dim: Any = None, correction: Any = 1, keepdim: bool = False) -> Symbols:
    """Mean square distance from the mean."""
    around: Symbols = mean(x, dim, True)
    squares = each(lambda p: function("square", p), each(minus, x, around))
    return each(quotient, total(squares, dim, keepdim), count(x, dim) - float(1 if correction is None else correction))


@lowers("std")
def _std(x: Symbols, dim: Any = None, **options: Any) -> Symbols:
    return each(lambda p: function("sqrt", p), variance(x, dim, **options))


@lowers("linalg_vector_norm")
def _norm(x: Symbols, ord: float = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Symbols:
    _double(dtype)
    if ord == 2:
        squares = total(each(lambda p: function("square", p), x), dim, keepdim)
        return each(lambda p: function("sqrt", p), squares)
    sizes = each(lambda p: function("abs", p), x)
    if ord == 1:
        return fold(plus, sizes, dim, keepdim)
    if ord in (math.inf, -math.inf):
        return fold(larger if ord > 0 else smaller, sizes, dim, keepdim)
    raise MissingRule(f"a norm of order {ord}")


def _running(rule: Callable[[Element, Element], Element]) -> Lowering:
    def lower(x: Symbols, dim: int, *, dtype: Any = None) -> Symbols:
        _double(dtype)
        out = np.moveaxis(np.array(x), dim, 0)
        for i in range(1, len(out)):
            out[i] = each(rule, out[i - 1], out[i])
        return np.moveaxis(out, 0, dim)

    return lower


LOWERINGS |= {"cumsum": _running(plus), "cumprod": _running(times)}


# matrices -------------------------------------------------------------------------------------------------------------


@lowers("mm", "mv", "bmm", "dot", "vdot")
def product(a: Symbols, b: Symbols) -> Symbols:
    """Matrix product of (..., n, k) and (..., k, m), with vectors where there is one axis."""
    left = a[..., None, :] if a.ndim > 1 else a[None, :]
    right = b if b.ndim == 1 else np.swapaxes(b, -1, -2)[..., None, :, :]
    return fold(plus, each(times, left if b.ndim > 1 else a, right), -1)


@lowers("addmm", "addmv", "baddbmm")
def _add_product(c: Symbols, a: Symbols, b: Symbols, *, beta: float = 1, alpha: float = 1) -> Symbols:
    found = product(a, b) if alpha == 1 else each(times, product(a, b), float(alpha))
    return each(plus, found, c if beta == 1 else each(times, c, float(beta)))


def axis_of(x: Symbols, dim: int) -> int:
    """An axis counted from 0."""
    return dim % x.ndim


def rows_along(x: Symbols, dim: int, rule: Callable[[Sequence[Element]], Sequence[Element]]) -> Symbols:
    """rule of every line of x along an axis, a line of the same length in its place."""
    lines = np.moveaxis(np.array(x), dim, -1)
    for place in np.ndindex(lines.shape[:-1]):
        lines[place] = np.array([*rule(lines[place].tolist()), None], dtype=object)[:-1]
    return np.moveaxis(lines, -1, dim)


for _name, _rule in {**_ARITHMETIC, **_TRUTH, **_ACTIVATIONS}.items():
    elementwise(_name)(_rule)
