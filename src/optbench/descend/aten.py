"""What torch's operations mean for a program of scalars.

Each function takes the program and the operation's arguments, tensors as arrays of symbols, and gives the array (or the
tuple of arrays) that the operation returns. Names are those of torch.ops.aten without the overload.

Source: torch's native_functions.yaml and derivatives.yaml for what an operation computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from optbench.descend.program import Program, as_array
from optbench.tracing import Symbols, axes_of

Lowering = Callable[..., Any]
Lowers = TypeVar("Lowers", bound=Lowering)
LOWERINGS: dict[str, Lowering] = {}


def lowers(*names: str) -> Callable[[Lowers], Lowers]:
    """Registers a rule for operations of these names."""

    def register(function: Lowers) -> Lowers:
        LOWERINGS.update(dict.fromkeys(names, function))
        return function

    return register


def _elementwise(name: str, op: str) -> None:
    def lower(p: Program, *args: Any, **_: Any) -> Symbols:
        return p.all(op, *args)

    LOWERINGS[name] = lower


for _name in ("neg", "sin", "cos", "tan", "tanh", "exp", "expm1", "log", "log1p", "sqrt", "abs", "atan", "floor",
              "mul", "maximum", "minimum", "where", "pow", "eq", "ne", "lt", "le", "gt", "ge"):  # fmt: skip
    _elementwise(_name, _name)
for _name, _op in {"sgn": "sign", "sign": "sign", "logical_and": "and", "bitwise_and": "and", "logical_or": "or",
                   "bitwise_or": "or", "logical_not": "not", "bitwise_not": "not"}.items():  # fmt: skip
    _elementwise(_name, _op)


@lowers("add")
def add(p: Program, a: Any, b: Any, alpha: float = 1, *, op: str = "add") -> Symbols:
    """a + alpha b."""
    scaled = b if alpha == 1 else p.all("mul", b, alpha)
    return p.all(op, a, scaled)


@lowers("sub")
def sub(p: Program, a: Any, b: Any, alpha: float = 1) -> Symbols:
    """a - alpha b."""
    return add(p, a, b, alpha, op="sub")


@lowers("rsub")
def _rsub(p: Program, a: Any, b: Any, alpha: float = 1) -> Symbols:
    return sub(p, b, a, alpha)


@lowers("div")
def div(p: Program, a: Any, b: Any, rounding_mode: str | None = None) -> Symbols:
    """a / b; a rounding mode has no rule."""
    if rounding_mode is not None:
        raise NotImplementedError("aten.div with a rounding mode")
    return p.all("div", a, b)


@lowers("reciprocal")
def _reciprocal(p: Program, a: Symbols) -> Symbols:
    return div(p, 1.0, a)


@lowers("rsqrt")
def _rsqrt(p: Program, a: Symbols) -> Symbols:
    return _reciprocal(p, p.all("sqrt", a))


@lowers("sigmoid")
def _sigmoid(p: Program, a: Symbols) -> Symbols:
    return _reciprocal(p, add(p, p.all("exp", p.all("neg", a)), 1.0))


@lowers("tanh_backward")
def _tanh_backward(p: Program, grad: Any, out: Symbols) -> Symbols:
    return p.all("mul", grad, _rsub(p, p.all("mul", out, out), 1.0))


@lowers("sigmoid_backward")
def _sigmoid_backward(p: Program, grad: Any, out: Symbols) -> Symbols:
    return p.all("mul", grad, p.all("mul", _rsub(p, out, 1.0), out))


@lowers("isnan")
def _isnan(p: Program, a: Symbols) -> Symbols:
    return p.all("ne", a, a)


@lowers("clamp")
def _clamp(p: Program, a: Symbols, min: Any = None, max: Any = None) -> Symbols:
    a = a if min is None else p.all("maximum", a, min)
    return a if max is None else p.all("minimum", a, max)


@lowers("round")
def _round(p: Program, a: Symbols, decimals: int = 0) -> Symbols:
    """To the nearest whole number, of two the even one."""
    if decimals != 0:
        raise NotImplementedError("aten.round to decimals")
    low = p.all("floor", a)
    rest, half = sub(p, a, low), p.all("mul", low, 0.5)
    odd = p.all("ne", p.all("floor", half), half)
    up = p.all("or", p.all("gt", rest, 0.5), p.all("and", p.all("eq", rest, 0.5), odd))
    return p.all("where", up, add(p, low, 1.0), low)


@lowers("masked_fill")
def _masked_fill(p: Program, a: Symbols, mask: Any, value: Any) -> Symbols:
    return p.all("where", mask, value, a)


@lowers("_to_copy", "lift_fresh", "positive")
def _same(p: Program, a: Symbols, *_: Any, **options: Any) -> Symbols:
    if getattr(options.get("dtype"), "is_floating_point", True):
        return a
    raise NotImplementedError(f"aten._to_copy to {options['dtype']}")


# reductions ---------------------------------------------------------------------------------------------------------


@lowers("scatter_add")
def _scatteradd(p: Program, a: Any, dim: int, index: Any, source: Symbols) -> Symbols:
    out, where = as_array(a).copy(), np.asarray(index, dtype=np.int64)
    for place in np.ndindex(where.shape):
        to = list(place)
        to[dim] = int(where[place])
        values: Any = (out[tuple(to)], source[place])
        out[tuple(to)] = p.apply("add", *values)
    return out


@lowers("sum")
def total(p: Program, a: Symbols, dim: Any = None, keepdim: bool = False, **_: Any) -> Symbols:
    """Sum along some axes, in the order of the elements."""
    return p.fold("add", a, dim, keepdim)


@lowers("mean")
def _mean(p: Program, a: Symbols, dim: Any = None, keepdim: bool = False, **_: Any) -> Symbols:
    return div(p, total(p, a, dim, keepdim), math.prod(a.shape[d] for d in axes_of(a, dim)))


@lowers("amax")
def _amax(p: Program, a: Symbols, dim: Any = (), keepdim: bool = False) -> Symbols:
    return p.fold("maximum", a, dim, keepdim)


@lowers("amin")
def _amin(p: Program, a: Symbols, dim: Any = (), keepdim: bool = False) -> Symbols:
    return p.fold("minimum", a, dim, keepdim)
