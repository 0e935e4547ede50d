"""Gradient noise of the portable engine: the numbers that torch's generator gives, to the same bits on every machine.

Each update of a run has a stream of its own (`problem.streams`): the words of a Mersenne Twister, which are whole
numbers and the same everywhere. Pairs of uniform numbers become pairs of normal ones as torch makes them, by log1p, sin
and cos; here these are the portable ones. So a run has the noise that other engines give it, but for the last digits.

Source: G. E. P. Box & M. E. Muller, Ann. Math. Statist. 29 (1958) 610; ATen/core/DistributionsHelper.h.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from optbench.descend.portable import array_functions
from optbench.problem.streams import uniforms_along

NOISE = "noise"
"""Purpose of the stream, and name of the inputs of a step."""
MOST_NOISY = 15
"""Coordinates: torch draws more at once in another order."""


def noise_inputs(dim: int) -> Sequence[str]:
    """Names of the inputs of a step that are the noise of each coordinate."""
    return [f"{NOISE}[{i}]" for i in range(dim)]


def normal_draws(seed: int, updates: int, dim: int) -> NDArray[np.float64]:
    """(updates, dim) standard normal numbers: row k is what update k of a run with this root seed draws.

    Args:
        seed: root seed of the run.
        updates: how many.
        dim: at most MOST_NOISY.
    """
    pairs = -(-dim // 2)
    uniforms = uniforms_along(seed, NOISE, updates, 2 * pairs)
    first, second = uniforms.reshape(updates, pairs, 2).transpose(2, 0, 1)
    log1p, sin, cos = (array_functions()[f"_portable_{name}"] for name in ("log1p", "sin", "cos"))
    with np.errstate(all="ignore"):  # both sides of a choice are computed
        radius, angle = np.sqrt(-2.0 * log1p(-second)), 2.0 * math.pi * first
        both = np.stack([radius * cos(angle), radius * sin(angle)], axis=-1)
    return np.ascontiguousarray(both.reshape(updates, 2 * pairs)[:, :dim])
