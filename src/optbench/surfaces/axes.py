"""What N-dimensional surfaces share: sums and products with one weight an axis, and starts of any length.

Weights stay Python numbers, combined coordinate by coordinate: they then force no dtype or device on the point and need
no tensor constant when a surface is traced or evaluated on intervals.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add, mul

from torch import Tensor


def total(terms: Iterable[Tensor]) -> Tensor:
    """Sum of at least one tensor of shape (...)."""
    return reduce(add, terms)


def product(terms: Iterable[Tensor]) -> Tensor:
    """Product of at least one tensor of shape (...)."""
    return reduce(mul, terms)


def alternate(odd: float, even: float, dim: int) -> list[float]:
    """The point (odd, even, odd, ...) of length dim: odd for x1, x3, ..., even for x2, x4, ..."""
    return [(odd, even)[i % 2] for i in range(dim)]
