"""What torch's operations behind classification losses mean for a program of scalars; importing it registers them.

See `aten` for the conventions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.descend.aten import add, div, lowers, sub, total
from optbench.descend.program import Program
from optbench.tracing import Symbols, axes_of


@lowers("logsumexp")
def _logsumexp(p: Program, a: Symbols, dim: Any, keepdim: bool = False) -> Symbols:
    top = p.fold("maximum", a, dim, keepdim=True)
    # as torch does: an infinite maximum is not subtracted
    shift = p.all("where", p.all("lt", p.all("abs", top), np.inf), top, 0.0)
    found = add(p, p.all("log", total(p, p.all("exp", sub(p, a, shift)), dim, keepdim=True)), shift)
    return found if keepdim else np.squeeze(found, tuple(axes_of(a, dim)))


@lowers("_softmax")
def _softmax(p: Program, a: Symbols, dim: int, _half: bool) -> Symbols:
    powers = p.all("exp", sub(p, a, p.fold("maximum", a, dim, keepdim=True)))
    return div(p, powers, total(p, powers, dim, keepdim=True))


@lowers("_log_softmax")
def _log_softmax(p: Program, a: Symbols, dim: int, _half: bool) -> Symbols:
    shifted = sub(p, a, p.fold("maximum", a, dim, keepdim=True))
    return sub(p, shifted, p.all("log", total(p, p.all("exp", shifted), dim, keepdim=True)))


@lowers("_softmax_backward_data")
def _softmax_backward(p: Program, grad: Symbols, out: Symbols, dim: int, _dtype: Any) -> Symbols:
    mean = total(p, p.all("mul", grad, out), dim, keepdim=True)
    return p.all("mul", sub(p, grad, mean), out)


@lowers("_log_softmax_backward_data")
def _log_softmax_backward(p: Program, grad: Any, out: Symbols, dim: int, _dtype: Any) -> Symbols:
    return sub(p, grad, p.all("mul", p.all("exp", out), total(p, grad, dim, keepdim=True)))


@lowers("nll_loss_forward")
def _nll_loss(
    p: Program, a: Symbols, target: Any, weight: Any, reduction: int, ignored: int
) -> tuple[Symbols, Symbols]:
    _plain_nll(weight, reduction)
    picked = np.take_along_axis(a, np.asarray(target, dtype=np.int64)[:, None], axis=1)[:, 0]
    return p.all("neg", picked), np.asarray(0.0, dtype=object)


@lowers("nll_loss_backward")
def _nll_loss_backward(
    p: Program, grad: Any, a: Symbols, target: Any, weight: Any, reduction: int, ignored: int, _total: Any
) -> Symbols:
    _plain_nll(weight, reduction)
    out = np.full(a.shape, 0.0, dtype=object)
    values = p.all("neg", grad)
    np.put_along_axis(out, np.asarray(target, dtype=np.int64)[:, None], values[:, None], axis=1)
    return out


def _plain_nll(weight: Any, reduction: int) -> None:
    if weight is not None or reduction != 0:
        raise NotImplementedError("aten.nll_loss with class weights or a reduction")
