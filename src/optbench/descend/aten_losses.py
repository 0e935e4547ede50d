"""What torch's operations behind classification losses mean for a program of scalars; importing it registers them.

See `aten` for the conventions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.descend.aten import add, as_array, dims_of, div, lowers, squeeze, sub
from optbench.descend.program import Array, Program


@lowers("logsumexp")
def _logsumexp(p: Program, a: Array, dim: Any, keepdim: bool = False) -> Array:
    dims = dims_of(a, dim)
    top = p.fold("maximum", a, dims, keepdim=True)
    # as torch does: an infinite maximum is not subtracted
    shift = p.all("where", p.all("lt", p.all("abs", top), p.constants(np.inf)), top, p.constants(0.0))
    found = add(p, p.all("log", p.sum(p.all("exp", sub(p, a, shift)), dims, keepdim=True)), shift)
    return found if keepdim else squeeze(p, found, dims)


@lowers("_softmax")
def _softmax(p: Program, a: Array, dim: int, _half: bool) -> Array:
    powers = p.all("exp", sub(p, a, p.fold("maximum", a, [dim], keepdim=True)))
    return div(p, powers, p.sum(powers, [dim], keepdim=True))


@lowers("_log_softmax")
def _log_softmax(p: Program, a: Array, dim: int, _half: bool) -> Array:
    shifted = sub(p, a, p.fold("maximum", a, [dim], keepdim=True))
    return sub(p, shifted, p.all("log", p.sum(p.all("exp", shifted), [dim], keepdim=True)))


@lowers("_softmax_backward_data")
def _softmax_backward(p: Program, grad: Array, out: Array, dim: int, _dtype: Any) -> Array:
    grad = as_array(p, grad)
    mean = p.sum(p.all("mul", grad, out), [dim], keepdim=True)
    return p.all("mul", sub(p, grad, mean), out)


@lowers("_log_softmax_backward_data")
def _log_softmax_backward(p: Program, grad: Any, out: Array, dim: int, _dtype: Any) -> Array:
    grad = as_array(p, grad)
    return sub(p, grad, p.all("mul", p.all("exp", out), p.sum(grad, [dim], keepdim=True)))


@lowers("nll_loss_forward")
def _nll_loss(p: Program, a: Array, target: Any, weight: Any, reduction: int, ignored: int) -> tuple[Array, Array]:
    _plain_nll(weight, reduction)
    picked = np.take_along_axis(a, np.asarray(target, dtype=np.int64)[:, None], axis=1)[:, 0]
    return p.all("neg", picked), p.constants(0.0)


@lowers("nll_loss_backward")
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
