"""Doubles and intervals on which interval arithmetic breaks first, and exact numbers to hold it to.

An interval that reaches to infinity holds every real number on that side: `members` stands for them with a number far
beyond every double.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from optbench.critical.arithmetic.ends import Array

TINY, LEAST_NORMAL, MOST = 2.0**-1074, 2.0**-1022, sys.float_info.max
BEYOND = Fraction(2) ** 1200
SIZES = (
    *(0.0, TINY, 3 * TINY, LEAST_NORMAL - TINY, LEAST_NORMAL, 1e-200, 1.3e-162, 3e-155, 2.0**-52 / 3, 1e-9, 0.1),
    *(1 / 3, 1 - 2.0**-53, 1.0, 1 + 2.0**-52, 1.5, 2.0, math.e, 7.7, 1e9 + 1 / 3, 2.0**53 + 2, 1e154, 2e155, 1e200),
    *(1.6e308, 1.7e308, MOST, math.inf),
)
HARD = np.array([*sorted({*SIZES, *(-x for x in SIZES)}), -0.0])
FINITE = HARD[np.isfinite(HARD)]


def hard_intervals(n: int, seed: int, finite: bool = False) -> tuple[Array, Array]:
    """Every number as an interval of equal ends, every neighbouring pair, and n more pairs: low and high, (m,)."""
    x = FINITE if finite else HARD
    drawn = np.random.default_rng(seed).choice(x, (2, n))
    risen = np.sort(x[np.isfinite(x)])
    low = np.concatenate([x[np.isfinite(x)], risen[:-1], drawn.min(axis=0)])
    high = np.concatenate([x[np.isfinite(x)], risen[1:], drawn.max(axis=0)])
    real = ~((low == high) & np.isinf(low))  # infinity alone is no interval of real numbers
    return low[real], high[real]


def exact(x: float) -> Fraction:
    """A double as a fraction; infinities lie far beyond all doubles."""
    return Fraction(x) if math.isfinite(x) else BEYOND if x > 0 else -BEYOND


def members(low: float, high: float) -> list[Fraction]:
    """The ends, the middle and, where it lies between them, 0."""
    a, b = exact(low), exact(high)
    return [a, b, (a + b) / 2] + [Fraction(0)] * (a < 0 < b)


def images(function: Callable[..., Any], *boxes: tuple[float, float]) -> Iterator[Fraction]:
    """Exact values of function at members of intervals, where it has one."""
    for point in product(*(members(*box) for box in boxes)):
        try:
            yield function(*point)
        except ZeroDivisionError:
            continue


def beyond(value: Fraction, low: float, high: float) -> bool:
    """Whether the exact value lies outside [low, high]; NaN at an end holds nothing."""
    return not (low <= value <= high)


def is_tight(end: float, truth: Fraction, steps: int) -> bool:
    """Whether an end that was rounded outward is near the truth: within 5/2 units of 2^-52 a step, or an overflow."""
    slack = Fraction(5, 2) * steps * (abs(truth) * Fraction(2) ** -52 + Fraction(TINY))
    return abs(truth) + slack > Fraction(1.7e308) or abs(exact(end) - truth) <= slack
