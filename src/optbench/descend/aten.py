"""What torch's operations mean for a program of scalars.

Each function takes the program and the operation's arguments, tensors as arrays of values, and gives the array (or the
tuple of arrays) that the operation returns. Names are those of torch.ops.aten without the overload.

Source: torch's native_functions.yaml and derivatives.yaml for what an operation computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from optbench.descend.program import Array, Program

Lowering = Callable[..., Any]
Lowers = TypeVar("Lowers", bound=Lowering)
LOWERINGS: dict[str, Lowering] = {}


def lowers(*names: str) -> Callable[[Lowers], Lowers]:
    """Registers a rule for operations of these names."""

    def register(function: Lowers) -> Lowers:
        LOWERINGS.update(dict.fromkeys(names, function))
        return function

    return register


def as_array(p: Program, value: Any) -> Array:
    """An array of values from an array or a number."""
    return value if isinstance(value, np.ndarray) and value.dtype == object else p.constants(value)


def _elementwise(name: str, op: str) -> None:
    def lower(p: Program, *args: Any, **_: Any) -> Array:
        return p.all(op, *(as_array(p, a) for a in args))

    LOWERINGS[name] = lower


for _name in ("neg", "sin", "cos", "tan", "tanh", "exp", "expm1", "log", "log1p", "sqrt", "abs", "atan",
              "mul", "maximum", "minimum", "where", "pow", "eq", "ne", "lt", "le", "gt", "ge"):  # fmt: skip
    _elementwise(_name, _name)
for _name, _op in {"sgn": "sign", "sign": "sign", "logical_and": "and", "bitwise_and": "and", "logical_or": "or",
                   "bitwise_or": "or", "logical_not": "not", "bitwise_not": "not"}.items():  # fmt: skip
    _elementwise(_name, _op)


@lowers("add")
def add(p: Program, a: Any, b: Any, alpha: float = 1, *, op: str = "add") -> Array:
    """a + alpha b."""
    scaled = as_array(p, b) if alpha == 1 else p.all("mul", as_array(p, b), p.constants(float(alpha)))
    return p.all(op, as_array(p, a), scaled)


@lowers("sub")
def sub(p: Program, a: Any, b: Any, alpha: float = 1) -> Array:
    """a - alpha b."""
    return add(p, a, b, alpha, op="sub")


@lowers("rsub")
def _rsub(p: Program, a: Any, b: Any, alpha: float = 1) -> Array:
    return sub(p, b, a, alpha)


@lowers("div")
def div(p: Program, a: Any, b: Any, rounding_mode: str | None = None) -> Array:
    """a / b; a rounding mode has no rule."""
    if rounding_mode is not None:
        raise NotImplementedError("aten.div with a rounding mode")
    return p.all("div", as_array(p, a), as_array(p, b))


@lowers("reciprocal")
def _reciprocal(p: Program, a: Array) -> Array:
    return div(p, 1.0, a)


@lowers("rsqrt")
def _rsqrt(p: Program, a: Array) -> Array:
    return _reciprocal(p, p.all("sqrt", a))


@lowers("sigmoid")
def _sigmoid(p: Program, a: Array) -> Array:
    return _reciprocal(p, add(p, p.all("exp", p.all("neg", a)), 1.0))


@lowers("tanh_backward")
def _tanh_backward(p: Program, grad: Any, out: Array) -> Array:
    return p.all("mul", as_array(p, grad), _rsub(p, p.all("mul", out, out), 1.0))


@lowers("sigmoid_backward")
def _sigmoid_backward(p: Program, grad: Any, out: Array) -> Array:
    return p.all("mul", as_array(p, grad), p.all("mul", _rsub(p, out, 1.0), out))


@lowers("isnan")
def _isnan(p: Program, a: Array) -> Array:
    return p.all("ne", a, a)


@lowers("clamp")
def _clamp(p: Program, a: Array, min: Any = None, max: Any = None) -> Array:
    a = a if min is None else p.all("maximum", a, as_array(p, min))
    return a if max is None else p.all("minimum", a, as_array(p, max))


@lowers("masked_fill")
def _masked_fill(p: Program, a: Array, mask: Any, value: Any) -> Array:
    return p.all("where", as_array(p, mask), as_array(p, value), a)


# shapes -------------------------------------------------------------------------------------------------------------


@lowers("detach", "alias", "clone", "_to_copy", "positive", "lift_fresh")
def _same(p: Program, a: Array, *_: Any, **options: Any) -> Array:
    if getattr(options.get("dtype"), "is_floating_point", True):
        return a
    raise NotImplementedError(f"aten._to_copy to {options['dtype']}")


@lowers("view", "reshape", "_unsafe_view")
def _view(p: Program, a: Array, shape: Sequence[int]) -> Array:
    return a.reshape(tuple(shape))


@lowers("expand")
def _expand(p: Program, a: Array, shape: Sequence[int], **_: Any) -> Array:
    lead = len(shape) - a.ndim
    full = [a.shape[i - lead] if size == -1 else size for i, size in enumerate(shape)]
    return np.broadcast_to(a, full)


@lowers("select")
def _select(p: Program, a: Array, dim: int, index: int) -> Array:
    return np.asarray(np.moveaxis(a, dim, 0)[index], dtype=object)


@lowers("slice")
def _slice(p: Program, a: Array, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Array:
    return np.moveaxis(np.moveaxis(a, dim, 0)[start:end:step], 0, dim)


@lowers("unbind")
def _unbind(p: Program, a: Array, dim: int = 0) -> tuple[Array, ...]:
    return tuple(_select(p, a, dim, i) for i in range(a.shape[dim]))


@lowers("unsqueeze")
def _unsqueeze(p: Program, a: Array, dim: int) -> Array:
    return np.expand_dims(a, dim)


@lowers("squeeze")
def squeeze(p: Program, a: Array, dim: Any = None) -> Array:
    """The array without its sides of length 1, all or the given ones."""
    dims = range(a.ndim) if dim is None else ([dim] if isinstance(dim, int) else dim)
    return np.squeeze(a, tuple(d for d in dims if a.ndim and a.shape[d] == 1))


@lowers("permute")
def _permute(p: Program, a: Array, dims: Sequence[int]) -> Array:
    return a.transpose(tuple(dims))


@lowers("transpose")
def _transpose(p: Program, a: Array, one: int, other: int) -> Array:
    return a.swapaxes(one, other)


@lowers("t")
def _t(p: Program, a: Array) -> Array:
    return a.T


@lowers("stack")
def _stack(p: Program, arrays: Sequence[Any], dim: int = 0) -> Array:
    return np.stack([as_array(p, a) for a in arrays], axis=dim)


@lowers("cat")
def _cat(p: Program, arrays: Sequence[Any], dim: int = 0) -> Array:
    return np.concatenate([as_array(p, a) for a in arrays], axis=dim)


@lowers("flip")
def _flip(p: Program, a: Array, dims: Sequence[int]) -> Array:
    return np.flip(a, tuple(dims))


@lowers("select_backward")
def _select_backward(p: Program, grad: Array, sizes: Sequence[int], dim: int, index: int) -> Array:
    out = p.constants(np.zeros(tuple(sizes)))
    np.moveaxis(out, dim, 0)[index, ...] = grad
    return out


@lowers("slice_backward")
def _slice_backward(p: Program, grad: Array, sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> Array:
    out = p.constants(np.zeros(tuple(sizes)))
    np.moveaxis(out, dim, 0)[start:end:step] = np.moveaxis(grad, dim, 0)
    return out


@lowers("gather")
def _gather(p: Program, a: Array, dim: int, index: Any, **_: Any) -> Array:
    return np.take_along_axis(a, np.asarray(index, dtype=np.int64), axis=dim)


@lowers("scatter")
def _scatter(p: Program, a: Any, dim: int, index: Any, value: Any) -> Array:
    out = as_array(p, a).copy()
    filling = np.broadcast_to(as_array(p, value), np.shape(index))
    np.put_along_axis(out, np.asarray(index, dtype=np.int64), filling, axis=dim)
    return out


@lowers("scatter_add")
def _scatteradd(p: Program, a: Any, dim: int, index: Any, source: Array) -> Array:
    out, where = as_array(p, a).copy(), np.asarray(index, dtype=np.int64)
    for place in np.ndindex(where.shape):
        to = list(place)
        to[dim] = int(where[place])
        values: Any = (out[tuple(to)], source[place])
        out[tuple(to)] = p.apply("add", *values)
    return out


# reductions ---------------------------------------------------------------------------------------------------------


@lowers("sum")
def _sum(p: Program, a: Array, dim: Any = None, keepdim: bool = False, **_: Any) -> Array:
    return p.sum(a, dims_of(a, dim), keepdim)


@lowers("mean")
def _mean(p: Program, a: Array, dim: Any = None, keepdim: bool = False, **_: Any) -> Array:
    dims = dims_of(a, dim)
    return div(p, p.sum(a, dims, keepdim), float(np.prod([a.shape[d] for d in dims])))


@lowers("prod")
def _prod(p: Program, a: Array, dim: Any = None, keepdim: bool = False, **_: Any) -> Array:
    return p.fold("mul", a, dims_of(a, dim), keepdim)


@lowers("amax")
def _amax(p: Program, a: Array, dim: Any = (), keepdim: bool = False) -> Array:
    return p.fold("maximum", a, dims_of(a, dim), keepdim)


@lowers("amin")
def _amin(p: Program, a: Array, dim: Any = (), keepdim: bool = False) -> Array:
    return p.fold("minimum", a, dims_of(a, dim), keepdim)


def dims_of(a: Array, dim: Any) -> list[int]:
    """The axes that an argument `dim` names, counted from 0."""
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return list(range(a.ndim))
    return [dim] if isinstance(dim, int) else list(dim)
