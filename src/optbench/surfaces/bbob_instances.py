"""What makes an instance of a BBOB function: its own random numbers, and the shifts and rotations made of them.

The numbers must be those of every other implementation, so the generator is the one of the published experiment, bit
for bit: Park and Miller's (multiplier 16807, modulus 2^31 - 1) with a shuffle of 32 places after Bays and Durham, and
normal numbers from pairs of its uniform ones by Box and Muller. Nothing here needs torch.

Source: N. Hansen, S. Finck, R. Ros & A. Auger, "Real-Parameter Black-Box Optimization Benchmarking 2009: Noiseless
Functions Definitions", INRIA RR-6829 (2009, updated 2010), section 0; the generator as in W. H. Press et al.,
"Numerical Recipes", 2nd ed. (1992), section 7.1, `ran1`.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MULTIPLIER, _MODULUS = 16807, 2147483647
_PLACES, _WARM_UP, _DIVISOR = 32, 40, 67108865
_NEVER_ZERO = 1e-99
_LARGEST_OFFSET = 1000.0
_SIDE = 4.0
"""Optima are drawn from [-4, 4]."""


@functools.lru_cache(maxsize=64)
def uniform(n: int, seed: int) -> Floats:
    """n numbers in (0, 1), read-only; the same seed begins the same sequence.

    Args:
        n: how many.
        seed: any whole number; its sign does not count, and 0 is 1.
    """
    state = max(abs(seed), 1)
    table = [0] * _PLACES
    for i in reversed(range(_WARM_UP)):
        state = state * _MULTIPLIER % _MODULUS
        if i < _PLACES:
            table[i] = state
    last, found = table[0], np.empty(n)
    for i in range(n):
        state = state * _MULTIPLIER % _MODULUS
        place = last // _DIVISOR
        last, table[place] = table[place], state
        found[i] = last / _MODULUS or _NEVER_ZERO
    found.flags.writeable = False
    return found


def normal(n: int, seed: int) -> Floats:
    """n numbers of the standard normal distribution: Box and Muller's of the i-th and the (n + i)-th uniform one."""
    radius, angle = uniform(2 * n, seed).reshape(2, n)
    found: Floats = np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * math.pi * angle)
    return np.where(found == 0.0, _NEVER_ZERO, found)


@functools.lru_cache(maxsize=64)
def rotation(dim: int, seed: int) -> Floats:
    """An orthogonal matrix (dim, dim), read-only: columns of normal numbers, made orthonormal by Gram and Schmidt in
    order."""
    columns = normal(dim * dim, seed).reshape(dim, dim).copy()  # row i of it is column i of the matrix
    for i in range(dim):
        for j in range(i):
            columns[i] -= (columns[i] @ columns[j]) * columns[j]
        columns[i] /= math.sqrt(columns[i] @ columns[i])
    found = np.ascontiguousarray(columns.T)
    found.flags.writeable = False
    return found


def optimum(dim: int, seed: int) -> Floats:
    """Where the minimum lies before a function moves it: (dim,) in [-4, 4], multiples of 0.0008, never 0."""
    found = 2.0 * _SIDE * np.floor(1e4 * uniform(dim, seed)) / 1e4 - _SIDE
    return np.where(found == 0.0, -1e-5, found)


def signs(dim: int, seed: int) -> Floats:
    """(dim,) of -1 and 1."""
    return np.where(uniform(dim, seed) < 0.5, -1.0, 1.0)


def offset(seed: int) -> float:
    """The value at the minimum: a quotient of two normal numbers (Cauchy distributed), times 100, within [-1000, 1000],
    rounded to two decimals."""
    quotient = 100.0 * float(normal(1, seed)[0]) / float(normal(1, seed + 1)[0])
    rounded = math.floor(100.0 * quotient + 0.5) / 100.0
    return min(_LARGEST_OFFSET, max(-_LARGEST_OFFSET, rounded))


def order(n: int, seed: int) -> NDArray[np.int64]:
    """A permutation of 0 ... n - 1: the places of n uniform numbers in ascending order."""
    return np.argsort(uniform(n, seed), kind="stable")
