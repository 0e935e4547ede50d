"""Random streams without torch: which numbers torch's generator gives, and where a run on a surface starts.

Every draw comes from a stream named by (seed, purpose, position). torch's CPU generator is the Mersenne Twister of
NumPy, seeded with the lower half of the seed; a double is the lower 53 bits of two of its words, the first one above.

Source: M. Matsumoto & T. Nishimura, ACM TOMACS 8 (1998) 3; ATen/core/MT19937RNGEngine.h and TransformationHelper.h.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from optbench.errors import UserError
from optbench.settings import SurfaceTrainer

Box = tuple[tuple[float, float], ...]


def stream_seed(seed: int, purpose: str, *position: int) -> int:
    """What seeds the generator of one purpose at one position of a run: 0 to 2^63 - 1; arguments as of `base.stream`.

    Source: SeedSequence spawning keys (O'Neill 2015, as adopted by numpy.random).
    """
    key = (zlib.crc32(purpose.encode()), *position)
    state = np.random.SeedSequence(entropy=seed, spawn_key=key).generate_state(1, np.uint64)
    return int(state[0]) & (2**63 - 1)


def uniform(generator_seed: int, count: int) -> NDArray[np.float64]:
    """(count,) what torch.rand draws in float64 from a CPU generator that has just been given this seed."""
    engine = np.random.RandomState(generator_seed & 0xFFFFFFFF)._bit_generator
    words = engine.random_raw(2 * count).reshape(count, 2).astype(np.uint64)
    whole = (words[:, 0] << np.uint64(32)) | words[:, 1]
    return (whole & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53


def start_values(
    name: str, domain: Box, usual: Sequence[float], trainer: SurfaceTrainer, seed: int
) -> NDArray[np.float64]:
    """The start that the settings ask for, (dim,).

    Args:
        name: of the surface's class, for messages.
        domain: (low, high) of each axis.
        usual: the surface's own start.
        trainer: the settings.
        seed: of a random start.

    Raises:
        UserError: a given start with another number of coordinates, or outside the domain.
    """
    if trainer.start == "usual":
        return np.array(usual, dtype=np.float64)
    if trainer.start == "random":
        low, high = np.array(domain, dtype=np.float64).T
        return np.asarray(low + (high - low) * uniform(stream_seed(seed, "start"), len(domain)))
    start = [float(v) for v in trainer.start]
    if len(start) != len(domain):
        raise UserError(f"trainer.start has {len(start)} coordinates; {name} has {len(domain)}")
    outside = [i for i, v in enumerate(start) if not domain[i][0] <= v <= domain[i][1]]
    if outside and not trainer.start_anywhere:
        i = outside[0]
        bounds = f"[{domain[i][0]:g}, {domain[i][1]:g}]"
        raise UserError(
            f"trainer.start: x{i}={start[i]:g} is outside the domain {bounds} of {name}",
            "add trainer.start_anywhere=true to start there all the same",
        )
    return np.array(start, dtype=np.float64)
