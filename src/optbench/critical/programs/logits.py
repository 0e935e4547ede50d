"""Torch's operations behind classification losses, on symbols: softmax and its kin, labels.

Everything comes down to log sum_j e^(x_j - x_i) in differences of logits: e^x itself would overflow, and where a logit
occurs on both sides of a difference of sums, intervals would count its width twice. Torch subtracts the largest logit
instead, which is the same function. A logit of -inf (what a mask scatters) counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from optbench.critical.programs.operations import (
    Element,
    each,
    function,
    lowers,
    minus,
    pieces,
    plus,
    quotient,
    times,
    usable,
)
from optbench.critical.programs.reductions import mean, rows_along, total
from optbench.critical.programs.scalar import SMOOTH, MissingRule
from optbench.tracing import Symbols, axes_of

NOTHING = -math.inf


def _log_total(parts: Sequence[Element], i: int) -> Element:
    """log sum_j e^(x_j - x_i) = log(1 + sum_{j != i} e^(x_j - x_i)), in differences, so that intervals stay narrow."""
    differences = [minus(p, parts[i]) for j, p in enumerate(parts) if j != i and p != NOTHING]
    if not differences:
        return 0.0
    found = function("log1pexp", differences[0])
    for difference in differences[1:]:
        # log(e^s + e^d) = s + log(1 + e^(d - s)) does not overflow.
        found = plus(found, function("log1pexp", minus(difference, found)))
    return found


def _log_softmax_of(parts: Sequence[Element]) -> list[Element]:
    return [p if p == NOTHING else times(_log_total(parts, i), -1.0) for i, p in enumerate(parts)]


@lowers("_log_softmax")
def log_softmax(x: Symbols, dim: int, half_to_float: bool = False) -> Symbols:
    """log p_i = x_i - log sum_j e^x_j."""
    return rows_along(x, dim, _log_softmax_of)


@lowers("_softmax")
def _softmax(x: Symbols, dim: int, half_to_float: bool = False) -> Symbols:
    return each(lambda p: function("exp", p), log_softmax(x, dim))


@lowers("logsumexp")
def _logsumexp(x: Symbols, dim: Any, keepdim: bool = False) -> Symbols:
    axes = axes_of(x, dim)
    if len(axes) != 1:
        raise MissingRule("logsumexp over more than one axis")
    lines = np.moveaxis(x, axes[0], -1)
    out = np.empty(lines.shape[:-1], dtype=object)
    for place in np.ndindex(out.shape):
        parts = [p for p in lines[place].tolist() if p != NOTHING]
        if not parts:
            raise MissingRule("logsumexp of nothing")
        out[place] = plus(parts[0], _log_total(parts, 0))
    return np.expand_dims(out, axes[0]) if keepdim else out


@lowers("nll_loss_forward")
def _nll_loss(x: Symbols, target: Any, weight: Any, reduction: int, ignored: int) -> tuple[Symbols, Symbols]:
    if not all(isinstance(label, float) for label in usable(target).flat):
        raise MissingRule("an index that depends on x")
    labels = target.astype(np.int64)
    if weight is not None or x.ndim != 2 or (labels == ignored).any():
        raise MissingRule("cross_entropy with class weights, more axes or labels that are ignored")
    picked = np.take_along_axis(x, labels[:, None], axis=1)[:, 0]
    return reduced(each(lambda p: times(p, -1.0), picked), reduction), np.full((), 0.0, dtype=object)


def reduced(x: Symbols, reduction: int) -> Symbols:
    """Torch's reduction of a loss: 0 none, 1 mean, 2 sum."""
    return x if reduction == 0 else mean(x) if reduction == 1 else total(x)


@lowers("mse_loss")
def _mse_loss(x: Symbols, target: Symbols, reduction: int = 1) -> Symbols:
    return reduced(each(lambda p, q: function("square", minus(p, q)), x, target), reduction)


@lowers("huber_loss")
def _huber_loss(x: Symbols, target: Symbols, reduction: int = 1, delta: float = 1.0) -> Symbols:
    def one(p: Element, q: Element) -> Element:
        size = function("abs", minus(p, q))
        far = times(plus(size, -0.5 * delta), delta)
        return pieces(plus(size, -delta), far, times(function("square", minus(p, q)), 0.5), SMOOTH)

    return reduced(each(one, x, target), reduction)


@lowers("smooth_l1_loss")
def _smooth_l1_loss(x: Symbols, target: Symbols, reduction: int = 1, beta: float = 1.0) -> Symbols:
    def one(p: Element, q: Element) -> Element:
        size = function("abs", minus(p, q))
        if beta == 0:
            return size
        near = quotient(times(function("square", minus(p, q)), 0.5), beta)
        return pieces(plus(size, -beta), plus(size, -0.5 * beta), near, SMOOTH)

    return reduced(each(one, x, target), reduction)


@lowers("binary_cross_entropy_with_logits")
def _binary_cross_entropy(
    x: Symbols, target: Symbols, weight: Any = None, pos_weight: Any = None, reduction: int = 1
) -> Symbols:
    if weight is not None or pos_weight is not None:
        raise MissingRule("binary_cross_entropy_with_logits with weights")

    def one(p: Element, q: Element) -> Element:
        return plus(times(p, minus(1.0, q)), function("log1pexp", times(p, -1.0)))

    return reduced(each(one, x, target), reduction)
