"""What torch's operations behind losses mean for a program of scalars; importing it registers them.

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


# losses of numbers ----------------------------------------------------------------------------------------------------


@lowers("binary_cross_entropy_with_logits")
def _binary_cross_entropy(
    p: Program, a: Symbols, target: Any, weight: Any = None, of_ones: Any = None, reduction: int = 1
) -> Symbols:
    if weight is not None or of_ones is not None or reduction != 0:
        raise NotImplementedError("aten.binary_cross_entropy_with_logits with weights or a reduction")
    beside = p.all("log1p", p.all("exp", p.all("neg", p.all("abs", a))))
    return add(p, sub(p, p.all("maximum", a, 0.0), p.all("mul", a, target)), beside)


@lowers("mse_loss")
def _squared(p: Program, a: Symbols, target: Any, reduction: int = 1) -> Symbols:
    away = _apart(p, a, target, reduction)
    return p.all("mul", away, away)


@lowers("mse_loss_backward")
def _squared_backward(p: Program, grad: Any, a: Symbols, target: Any, reduction: int = 1) -> Symbols:
    return p.all("mul", grad, p.all("mul", 2.0, _apart(p, a, target, reduction)))


@lowers("huber_loss")
def _huber(p: Program, a: Symbols, target: Any, reduction: int = 1, delta: float = 1.0) -> Symbols:
    away = p.all("abs", _apart(p, a, target, reduction))
    far = p.all("mul", delta, sub(p, away, 0.5 * delta))
    return p.all("where", p.all("le", away, delta), p.all("mul", 0.5, p.all("mul", away, away)), far)


@lowers("huber_loss_backward")
def _huber_backward(p: Program, grad: Any, a: Symbols, target: Any, reduction: int = 1, delta: float = 1.0) -> Symbols:
    cut = p.all("minimum", p.all("maximum", _apart(p, a, target, reduction), -delta), delta)
    return p.all("mul", grad, cut)


@lowers("smooth_l1_loss")
def _smooth_l1(p: Program, a: Symbols, target: Any, reduction: int = 1, beta: float = 1.0) -> Symbols:
    away = p.all("abs", _apart(p, a, target, reduction))
    near = p.all("div", p.all("mul", 0.5, p.all("mul", away, away)), beta) if beta else away
    return p.all("where", p.all("lt", away, beta), near, sub(p, away, 0.5 * beta))


@lowers("smooth_l1_loss_backward")
def _smooth_l1_backward(
    p: Program, grad: Any, a: Symbols, target: Any, reduction: int = 1, beta: float = 1.0
) -> Symbols:
    away = _apart(p, a, target, reduction)
    far = p.all("sign", away)
    near = p.all("div", away, beta) if beta else far
    return p.all("mul", grad, p.all("where", p.all("lt", p.all("abs", away), beta), near, far))


def _apart(p: Program, a: Symbols, target: Any, reduction: int) -> Symbols:
    if reduction != 0:
        raise NotImplementedError("a loss with a reduction")
    return sub(p, a, target)
