"""Torch's sums, products, extrema and matrix products on symbols: along axes, element by element in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from optbench import tracing
from optbench.critical.programs.operations import (
    LOWERINGS,
    REFUSED,
    Element,
    Lowering,
    each,
    function,
    larger,
    lowers,
    minus,
    plus,
    quotient,
    smaller,
    times,
    usable,
)
from optbench.critical.programs.scalar import MissingRule
from optbench.tracing import Opaque, Symbols, axes_of


def fold(rule: Callable[[Element, Element], Element], x: Symbols, dim: Any, keepdim: bool = False) -> Symbols:
    """An associative operation along some axes, from the first element to the last."""
    if not count(x, dim):
        raise MissingRule("a reduction of nothing")
    return tracing.fold(rule, usable(x), dim, keepdim)


def count(x: Symbols, dim: Any) -> float:
    """How many elements a reduction takes together."""
    return float(math.prod(x.shape[d] for d in axes_of(x, dim)))


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


def rows_along(x: Symbols, dim: int, rule: Callable[[Sequence[Element]], Sequence[Element]]) -> Symbols:
    """rule of every line of x along an axis, a line of the same length in its place."""
    lines = np.moveaxis(np.array(x), dim, -1)
    for place in np.ndindex(lines.shape[:-1]):
        lines[place] = np.array([*rule(lines[place].tolist()), None], dtype=object)[:-1]
    return np.moveaxis(lines, -1, dim)
