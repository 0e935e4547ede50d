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


def _lowers(*names: str) -> Callable[[Lowers], Lowers]:
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


@_lowers("add")
def _add(p: Program, a: Any, b: Any, alpha: float = 1, *, op: str = "add") -> Array:
    scaled = p.all("mul", as_array(p, b), p.constants(float(alpha)))
    return p.all(op, as_array(p, a), scaled)


@_lowers("sub")
def _sub(p: Program, a: Any, b: Any, alpha: float = 1) -> Array:
    return _add(p, a, b, alpha, op="sub")


@_lowers("rsub")
def _rsub(p: Program, a: Any, b: Any, alpha: float = 1) -> Array:
    return _sub(p, b, a, alpha)


@_lowers("div")
def _div(p: Program, a: Any, b: Any, rounding_mode: str | None = None) -> Array:
    if rounding_mode is not None:
        raise NotImplementedError("aten.div with a rounding mode")
    return p.all("div", as_array(p, a), as_array(p, b))


@_lowers("reciprocal")
def _reciprocal(p: Program, a: Array) -> Array:
    return _div(p, 1.0, a)


@_lowers("rsqrt")
def _rsqrt(p: Program, a: Array) -> Array:
    return _reciprocal(p, p.all("sqrt", a))


@_lowers("sigmoid")
def _sigmoid(p: Program, a: Array) -> Array:
    return _reciprocal(p, _add(p, p.all("exp", p.all("neg", a)), 1.0))


@_lowers("isnan")
def _isnan(p: Program, a: Array) -> Array:
    return p.all("ne", a, a)


@_lowers("clamp")
def _clamp(p: Program, a: Array, min: Any = None, max: Any = None) -> Array:
    a = a if min is None else p.all("maximum", a, as_array(p, min))
    return a if max is None else p.all("minimum", a, as_array(p, max))


@_lowers("masked_fill")
def _masked_fill(p: Program, a: Array, mask: Any, value: Any) -> Array:
    return p.all("where", as_array(p, mask), as_array(p, value), a)


# shapes -------------------------------------------------------------------------------------------------------------


@_lowers("detach", "alias", "clone", "_to_copy", "positive", "lift_fresh")
def _same(p: Program, a: Array, *_: Any, **options: Any) -> Array:
    if getattr(options.get("dtype"), "is_floating_point", True):
        return a
    raise NotImplementedError(f"aten._to_copy to {options['dtype']}")


@_lowers("view", "reshape", "_unsafe_view")
def _view(p: Program, a: Array, shape: Sequence[int]) -> Array:
    return a.reshape(tuple(shape))


@_lowers("expand")
def _expand(p: Program, a: Array, shape: Sequence[int], **_: Any) -> Array:
    lead = len(shape) - a.ndim
    full = [a.shape[i - lead] if size == -1 else size for i, size in enumerate(shape)]
    return np.broadcast_to(a, full)


@_lowers("select")
def _select(p: Program, a: Array, dim: int, index: int) -> Array:
    return np.asarray(np.moveaxis(a, dim, 0)[index], dtype=object)


@_lowers("slice")
def _slice(p: Program, a: Array, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Array:
    return np.moveaxis(np.moveaxis(a, dim, 0)[start:end:step], 0, dim)


@_lowers("unbind")
def _unbind(p: Program, a: Array, dim: int = 0) -> tuple[Array, ...]:
    return tuple(_select(p, a, dim, i) for i in range(a.shape[dim]))


@_lowers("unsqueeze")
def _unsqueeze(p: Program, a: Array, dim: int) -> Array:
    return np.expand_dims(a, dim)


@_lowers("squeeze")
def _squeeze(p: Program, a: Array, dim: Any = None) -> Array:
    dims = range(a.ndim) if dim is None else ([dim] if isinstance(dim, int) else dim)
    return np.squeeze(a, tuple(d for d in dims if a.ndim and a.shape[d] == 1))


@_lowers("permute")
def _permute(p: Program, a: Array, dims: Sequence[int]) -> Array:
    return a.transpose(tuple(dims))


@_lowers("transpose")
def _transpose(p: Program, a: Array, one: int, other: int) -> Array:
    return a.swapaxes(one, other)


@_lowers("t")
def _t(p: Program, a: Array) -> Array:
    return a.T


@_lowers("stack")
def _stack(p: Program, arrays: Sequence[Any], dim: int = 0) -> Array:
    return np.stack([as_array(p, a) for a in arrays], axis=dim)


@_lowers("cat")
def _cat(p: Program, arrays: Sequence[Any], dim: int = 0) -> Array:
    return np.concatenate([as_array(p, a) for a in arrays], axis=dim)


@_lowers("flip")
def _flip(p: Program, a: Array, dims: Sequence[int]) -> Array:
    return np.flip(a, tuple(dims))


@_lowers("select_backward")
def _select_backward(p: Program, grad: Array, sizes: Sequence[int], dim: int, index: int) -> Array:
    out = p.constants(np.zeros(tuple(sizes)))
    np.moveaxis(out, dim, 0)[index, ...] = grad
    return out


@_lowers("slice_backward")
def _slice_backward(p: Program, grad: Array, sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> Array:
    out = p.constants(np.zeros(tuple(sizes)))
    np.moveaxis(out, dim, 0)[start:end:step] = np.moveaxis(grad, dim, 0)
    return out


@_lowers("gather")
def _gather(p: Program, a: Array, dim: int, index: Any, **_: Any) -> Array:
    return np.take_along_axis(a, np.asarray(index, dtype=np.int64), axis=dim)


@_lowers("scatter")
def _scatter(p: Program, a: Any, dim: int, index: Any, value: Any) -> Array:
    out = as_array(p, a).copy()
    filling = np.broadcast_to(as_array(p, value), np.shape(index))
    np.put_along_axis(out, np.asarray(index, dtype=np.int64), filling, axis=dim)
    return out


@_lowers("scatter_add")
def _scatter_add(p: Program, a: Any, dim: int, index: Any, source: Array) -> Array:
    out, where = as_array(p, a).copy(), np.asarray(index, dtype=np.int64)
    for place in np.ndindex(where.shape):
        to = list(place)
        to[dim] = int(where[place])
        values: Any = (out[tuple(to)], source[place])
        out[tuple(to)] = p.apply("add", *values)
    return out


# reductions ---------------------------------------------------------------------------------------------------------


@_lowers("sum")
def _sum(p: Program, a: Array, dim: Any = None, keepdim: bool = False, **_: Any) -> Array:
    return p.sum(a, _dims(a, dim), keepdim)


@_lowers("mean")
def _mean(p: Program, a: Array, dim: Any = None, keepdim: bool = False, **_: Any) -> Array:
    dims = _dims(a, dim)
    return _div(p, p.sum(a, dims, keepdim), float(np.prod([a.shape[d] for d in dims])))


@_lowers("prod")
def _prod(p: Program, a: Array, dim: Any = None, keepdim: bool = False, **_: Any) -> Array:
    return p.fold("mul", a, _dims(a, dim), keepdim)


@_lowers("amax")
def _amax(p: Program, a: Array, dim: Any = (), keepdim: bool = False) -> Array:
    return p.fold("maximum", a, _dims(a, dim), keepdim)


@_lowers("amin")
def _amin(p: Program, a: Array, dim: Any = (), keepdim: bool = False) -> Array:
    return p.fold("minimum", a, _dims(a, dim), keepdim)


def _dims(a: Array, dim: Any) -> list[int]:
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return list(range(a.ndim))
    return [dim] if isinstance(dim, int) else list(dim)


@_lowers("logsumexp")
def _logsumexp(p: Program, a: Array, dim: Any, keepdim: bool = False) -> Array:
    dims = _dims(a, dim)
    top = p.fold("maximum", a, dims, keepdim=True)
    # as torch does: an infinite maximum is not subtracted
    shift = p.all("where", p.all("lt", p.all("abs", top), p.constants(np.inf)), top, p.constants(0.0))
    found = _add(p, p.all("log", p.sum(p.all("exp", _sub(p, a, shift)), dims, keepdim=True)), shift)
    return found if keepdim else _squeeze(p, found, dims)


@_lowers("_softmax")
def _softmax(p: Program, a: Array, dim: int, _half: bool) -> Array:
    powers = p.all("exp", _sub(p, a, p.fold("maximum", a, [dim], keepdim=True)))
    return _div(p, powers, p.sum(powers, [dim], keepdim=True))


@_lowers("_log_softmax")
def _log_softmax(p: Program, a: Array, dim: int, _half: bool) -> Array:
    shifted = _sub(p, a, p.fold("maximum", a, [dim], keepdim=True))
    return _sub(p, shifted, p.all("log", p.sum(p.all("exp", shifted), [dim], keepdim=True)))


@_lowers("_softmax_backward_data")
def _softmax_backward(p: Program, grad: Array, out: Array, dim: int, _dtype: Any) -> Array:
    product = p.all("mul", as_array(p, grad), out)
    return _sub(p, product, p.all("mul", out, p.sum(product, [dim], keepdim=True)))


@_lowers("_log_softmax_backward_data")
def _log_softmax_backward(p: Program, grad: Any, out: Array, dim: int, _dtype: Any) -> Array:
    grad = as_array(p, grad)
    return _sub(p, grad, p.all("mul", p.all("exp", out), p.sum(grad, [dim], keepdim=True)))


@_lowers("nll_loss_forward")
def _nll_loss(p: Program, a: Array, target: Any, weight: Any, reduction: int, ignored: int) -> tuple[Array, Array]:
    _plain_nll(weight, reduction)
    picked = np.take_along_axis(a, np.asarray(target, dtype=np.int64)[:, None], axis=1)[:, 0]
    return p.all("neg", picked), p.constants(0.0)


@_lowers("nll_loss_backward")
def _nll_loss_backward(
    p: Program, grad: Any, a: Array, target: Any, weight: Any, reduction: int, ignored: int, _total: Any
) -> Array:
    _plain_nll(weight, reduction)
    out = p.constants(np.zeros(a.shape))
    values = p.all("neg", as_array(p, grad))
    np.put_along_axis(out, np.asarray(target, dtype=np.int64)[:, None], values[:, None], axis=1)
    return out


def _plain_nll(weight: Any, reduction: int) -> None:
    if weight is not None or reduction != 0:
        raise NotImplementedError("aten.nll_loss with class weights or a reduction")
