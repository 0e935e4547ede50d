"""Operands of a network's operations as `series`, and the operations that only move numbers about.

What only moves numbers needs no rule of its own: the operation is applied to the numbers' places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optbench.critical.arithmetic.ends import Array
from optbench.curvature import series
from optbench.curvature.series import Series
from optbench.errors import OptbenchError

Result = Series | tuple[Series | None, ...]


class NoRule(OptbenchError):
    """An operation of the network has no interval rule: nothing can be proved about it."""


MOVES = frozenset(
    {"view", "_unsafe_view", "reshape", "t", "transpose", "permute", "unsqueeze", "squeeze", "expand", "select"}
    | {"slice", "split", "split_with_sizes", "clone", "alias", "detach", "gather", "index", "flip", "unbind"}
)


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """The shape that a Series of it has: a number has one axis."""
    return tuple(tensor.shape) or (1,)


def numbers(tensor: Tensor) -> Array:
    """A tensor's numbers in float64, which holds all formats of the program exactly."""
    if tensor.dtype == torch.float64 or not tensor.dtype.is_floating_point:
        return np.asarray(tensor.detach().cpu().to(torch.float64).numpy()).reshape(shape_of(tensor))
    return np.asarray(tensor.detach().cpu().double().numpy()).reshape(shape_of(tensor))


def series_of(operand: Any, order: int) -> Series:
    """An operand that may be constant: a number, a tensor or a Series."""
    if isinstance(operand, Series):
        return operand
    values = numbers(operand) if isinstance(operand, Tensor) else np.array([float(operand)])
    return series.constant(values, order)


def moved(func: Any, args: Sequence[Any], kwargs: dict[str, Any], like: Tensor) -> Result:
    """An operation that moves the numbers of its first operand about."""
    if func._overloadname == "dtype":
        raise NoRule("a view of the bits")
    places = torch.arange(like.numel()).view(like.shape)
    found = func(places, *args[1:], **kwargs)
    if isinstance(found, list | tuple):
        return tuple(_taken(args[0], f) for f in found)
    moved = _taken(args[0], found)
    return replace(moved, twins=args[0].twins) if torch.equal(found, places) else moved


def _taken(a: Series, places: Tensor) -> Series:
    index = places.numpy().reshape(shape_of(places))
    return Series(a.map(lambda p: p.reshape(2, -1)[:, index]).parts)
