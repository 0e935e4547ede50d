"""What the operations of a network are on `series`: the table behind `enclosure`, by the names of torch's operators.

A rule gets the operands as the program gave them, with a `Series` in place of each tensor that depends on t, and the
tensor that the program computed, for its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.functions import RULES, power_rule, real_power_rule
from optbench.curvature import series, windows
from optbench.curvature.operands import NoRule, Result, numbers, series_of, shape_of
from optbench.curvature.series import Series

ELEMENTARY = frozenset(RULES) - {"relu", "softplus", "square"}  # torch's softplus is linear beyond a threshold


def _elementwise(function: Callable[[Series, Series], Series], a: Any, b: Any, out: Tensor) -> Series:
    order = next(x.order for x in (a, b) if isinstance(x, Series))
    left, right = (series_of(x, order).full(shape_of(out)) for x in (a, b))
    found = function(left, right).full(shape_of(out))
    if left.twins is None or right.twins is None:
        return found
    return replace(found, twins=windows.alike(left.twins[..., None], right.twins[..., None]))


def _add(a: Any, b: Any, *, alpha: float = 1, out: Tensor) -> Series:
    if isinstance(b, Series):
        b = _scaled(b, float(alpha))
    elif alpha != 1:
        raise NoRule("add with alpha")
    return _elementwise(series.plus, a, b, out)


def _sub(a: Any, b: Any, *, alpha: float = 1, out: Tensor) -> Series:
    if alpha != 1:
        raise NoRule("sub with alpha")
    b = series.negative(b) if isinstance(b, Series) else -b
    return _elementwise(series.plus, a, b, out)


def _mul(a: Any, b: Any, *, out: Tensor) -> Series:
    if a is b:
        return series.through(a, RULES["square"])
    if isinstance(b, Series) and not isinstance(a, Series):
        a, b = b, a
    if not isinstance(b, Series | Tensor):
        return _scaled(a, float(b))
    return _elementwise(series.times, a, b, out)


def _scaled(a: Series, c: float) -> Series:
    return a.map(lambda p: ends.scale(p, c))


def _div(a: Any, b: Any, *, rounding_mode: None = None, out: Tensor) -> Series:
    if rounding_mode is not None:
        raise NoRule(f"division rounded by {rounding_mode}")
    if isinstance(b, Series):
        return _elementwise(series.times, a, series.through(b, RULES["reciprocal"]), out)
    if isinstance(b, Tensor):
        return _elementwise(series.times, a, Series((ends.reciprocal(series_of(b, 0).value), *[None] * a.order)), out)
    assert isinstance(a, Series)
    return a.map(lambda p: ends.divide(p, float(b)))


def _pow(a: Any, b: Any, *, out: Tensor) -> Series:
    if isinstance(b, Series | Tensor) or not isinstance(a, Series):
        raise NoRule("a power with an exponent that is not a number")
    return series.through(a, power_rule(int(b)) if b == int(b) else real_power_rule(float(b)))


def _axes(a: Series, dim: Any) -> tuple[int, ...]:
    rank = a.value.ndim - 1
    chosen = range(rank) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return tuple(sorted(d % rank for d in chosen))


def _sum(a: Series, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Tensor) -> Series:
    found = series.total(a, _axes(a, dim), keepdim)
    return found.map(lambda p: p.reshape(2, *shape_of(out)))


def _mean(a: Series, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Tensor) -> Series:
    n = a.value[0].size // max(1, out.numel())
    return _sum(a, dim, keepdim, out=out).map(lambda p: ends.divide(p, float(n)))


def _mm(a: Any, b: Any, *, out: Tensor) -> Series:
    order = next(x.order for x in (a, b) if isinstance(x, Series))
    left, right = series_of(a, order), series_of(b, order)
    found = series.bilinear(series.inner(np.matmul, left.value.shape[-1]), left, right)
    return found.map(lambda p: p.reshape(2, *shape_of(out)))


def _addmm(bias: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1, out: Tensor) -> Series:
    if (beta, alpha) != (1, 1):
        raise NoRule("addmm with beta or alpha")
    return _elementwise(series.plus, _mm(a, b, out=out), bias, out)


def _convolution(
    x: Any,
    w: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    turned: bool,
    _: Any,
    groups: int,
    *,
    out: Tensor,
) -> Series:
    if turned:
        raise NoRule("a transposed convolution")
    order = next(v.order for v in (x, w) if isinstance(v, Series))
    twins = x.twins if isinstance(x, Series) else windows.pictures(numbers(x))
    x, w = series_of(x, order), series_of(w, order)
    if x.value.ndim != w.value.ndim:
        raise NoRule("a convolution of one image without a batch")
    product = windows.convolution(stride, padding, dilation, groups)
    if twins is not None:
        twins = windows.alike(windows.patches(twins, w.value.shape[3:], stride, padding, dilation))
    found = series.bilinear(series.inner(product, w.value[0, 0].size), x, w)
    if bias is not None:
        found = series.plus(found, _channels(bias, order, out).full(shape_of(out)))
    return replace(found, twins=twins)


def _channels(operand: Any, order: int, out: Tensor) -> Series:
    """One series a channel, shaped to broadcast."""
    return series_of(operand, order).map(lambda p: p.reshape(2, 1, -1, *[1] * (out.ndim - 2)))


def _batch_norm(
    x: Series, weight: Any, bias: Any, mean: Any, var: Any, training: bool, _: float, eps: float, *, out: Tensor
) -> Result:
    if training or mean is None or isinstance(mean, Series) or isinstance(var, Series):
        raise NoRule("batch normalisation by the statistics of the batch")
    order = x.order
    deviation = RULES["sqrt"](ends.shift(series_of(var, 0).value, float(eps)), 0)[0]
    factor = Series((ends.reciprocal(deviation), *[None] * order))
    if weight is not None:
        factor = series.times(series_of(weight, order), factor)
    center = series.plus(x, _channels(-mean, order, out).full(shape_of(out)))
    found = series.times(center, _channels(factor, order, out).full(shape_of(out)))
    if bias is not None:
        found = series.plus(found, _channels(bias, order, out).full(shape_of(out)))
    return replace(found, twins=x.twins), None, None


def _max_pool(
    x: Series,
    size: Any,
    stride: Any = (),
    padding: Any = (0,),
    dilation: Any = (1,),
    ceil: bool = False,
    *,
    out: Tensor,
) -> Result:
    d = x.value.ndim - 3
    if ceil or d != 2:
        raise NoRule("max pooling with ceil_mode, or of one image without a batch")
    size, padding, dilation = (list(v) * d if len(v) == 1 else v for v in (size, padding, dilation))
    stride = list(stride) * d if len(stride) == 1 else (stride or size)
    places = np.arange(x.value[0].size).reshape(x.value.shape[1:])
    places = np.pad(places, ((0, 0), (0, 0), *((p, p) for p in padding)), constant_values=-1)
    index = windows.windows(places, size, stride, dilation)
    index = index.reshape(*index.shape[: 2 + d], -1)
    beyond = np.array([np.inf, -np.inf]).reshape(2, *[1] * index.ndim)  # what pads is below everything
    parts = [None if p is None else p.reshape(2, -1)[:, index] for p in x.parts]
    parts[0] = np.where(index < 0, beyond, x.value.reshape(2, -1)[:, index])
    if x.twins is None:
        return series.greatest(Series(tuple(parts))), None
    twins = windows.patches(x.twins, size, stride, padding, dilation, windows.EDGE)
    return replace(series.greatest(Series(tuple(parts)), twins[:, None]), twins=windows.alike(twins)), None


def _nll(a: Series, target: Tensor, weight: Any, reduction: int, ignored: int, *, out: Tensor) -> Result:
    if reduction != 0 or a.value.ndim != 3 or bool((target == ignored).any()):
        raise NoRule("nll_loss with a reduction, ignored labels or positions")
    rows, labels = np.arange(len(target)), target.cpu().numpy()
    found = series.negative(a.map(lambda p: p[:, rows, labels]))
    if weight is not None:
        found = series.times(found, series.constant(numbers(weight)[labels], a.order))
    return found, None


def _along(function: Callable[[Series, int], Series]) -> Callable[..., Series]:
    def rule(a: Series, dim: int, half: bool = False, *, out: Tensor) -> Series:
        if half:
            raise NoRule("a softmax to another format")
        return function(a, dim)

    return rule


def _log_softmax(a: Series, axis: int) -> Series:
    return series.plus(a, series.negative(series.log_sum_exp(a, axis)).full(a.value.shape[1:]))


def _logsumexp(a: Series, dim: Any, keepdim: bool = False, *, out: Tensor) -> Series:
    if len(dim) != 1:
        raise NoRule("logsumexp over several axes")
    return series.log_sum_exp(a, dim[0]).map(lambda p: p.reshape(2, *shape_of(out)))


def _scatter(a: Series, dim: int, index: Tensor, value: Any, *, out: Tensor) -> Series:
    mask = torch.zeros(a.value.shape[1:], dtype=torch.bool).scatter(dim, index.cpu(), True)
    return _masked_fill(a, mask, value, out=out)


def _masked_fill(a: Series, mask: Any, value: Any, *, out: Tensor) -> Series:
    if isinstance(mask, Series) or isinstance(value, Series):
        raise NoRule("filling by what depends on the weights")
    replaced, number = mask.cpu().expand(a.value.shape[1:]).numpy(), float(value)
    parts = [None if p is None else np.where(replaced, 0.0, p) for p in a.parts]
    parts[0] = np.where(replaced, np.array([-number, number]).reshape(2, *[1] * replaced.ndim), a.value)
    return Series(tuple(parts))


def _same_format(a: Series, *, dtype: torch.dtype | None = None, out: Tensor, **_: Any) -> Series:
    if dtype not in (None, torch.float64, torch.float32):
        raise NoRule(f"a conversion to {dtype}")
    return a


def _cat(tensors: Sequence[Any], dim: int = 0, *, out: Tensor) -> Series:
    order = next(t.order for t in tensors if isinstance(t, Series))
    pieces = [series_of(t, order) for t in tensors]
    axis, parts = dim % out.ndim + 1, []
    for k in range(order + 1):
        there = [p.parts[k] for p in pieces]
        full = [np.zeros_like(p.value) if part is None else part for p, part in zip(pieces, there, strict=True)]
        parts.append(None if all(part is None for part in there) else np.concatenate(full, axis=axis))
    return Series(tuple(parts))


TABLE: dict[str, Callable[..., Result]] = {
    **{name: (lambda a, *, out, name=name: series.through(a, RULES[name])) for name in ELEMENTARY},
    "_log_softmax": _along(_log_softmax),
    "_softmax": _along(series.softmax),
    "_to_copy": _same_format,
    "add": _add,
    "addmm": _addmm,
    **dict.fromkeys(("bmm", "dot", "mm", "mv"), _mm),
    "cat": _cat,
    "convolution": _convolution,
    "div": _div,
    "logsumexp": _logsumexp,
    "masked_fill": _masked_fill,
    "max_pool2d_with_indices": _max_pool,
    "mean": _mean,
    "mul": _mul,
    "native_batch_norm": _batch_norm,
    "neg": lambda a, *, out: series.negative(a),
    "nll_loss_forward": _nll,
    "pow": _pow,
    "relu": lambda a, *, out: series.relu(a),
    "rsqrt": lambda a, *, out: series.through(series.through(a, RULES["sqrt"]), RULES["reciprocal"]),
    "scatter": _scatter,
    "square": lambda a, *, out: series.through(a, RULES["square"]),
    "sub": _sub,
    "sum": _sum,
}
