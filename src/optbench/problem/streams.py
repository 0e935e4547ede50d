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
    return _double(words[:, 0], words[:, 1])


def uniforms(seeds: NDArray[np.uint64], purpose: str, count: int) -> NDArray[np.float64]:
    """(seeds, count) the draws of `uniform` for the streams of one purpose of many runs, all of them at once."""
    if 2 * count > _FIRST_WORDS:
        return np.array([uniform(stream_seed(int(seed), purpose), count) for seed in seeds]).reshape(-1, count)
    pieces = [seeds[first : first + _AT_ONCE] for first in range(0, len(seeds), _AT_ONCE)]
    drawn = [_drawn(_stream_words(piece, zlib.crc32(purpose.encode())), count) for piece in pieces]
    return np.concatenate([np.empty((0, count)), *drawn])


def uniforms_along(seed: int, purpose: str, positions: int, count: int) -> NDArray[np.float64]:
    """(positions, count) the draws of `uniform` for the streams of one run at positions 0, 1 ..., all of them at once;
    `count` at most 113."""
    assert 2 * count <= _FIRST_WORDS
    pieces = [np.arange(first, min(first + _AT_ONCE, positions)) for first in range(0, positions, _AT_ONCE)]
    seeds, key = np.full(_AT_ONCE, seed, dtype=np.uint64), zlib.crc32(purpose.encode())
    drawn = [_drawn(_stream_words(seeds[: len(piece)], key, piece), count) for piece in pieces]
    return np.concatenate([np.empty((0, count)), *drawn])


_AT_ONCE = 1 << 14
_FIRST_WORDS = 624 - 397
"""Words of the twister that its first state alone decides."""


def _stream_words(seeds: NDArray[np.uint64], *keys: int | NDArray[np.int64]) -> NDArray[np.uint32]:
    """(seeds,) the lower half of each `stream_seed`: what NumPy's SeedSequence makes of a seed below 2^64 and of keys
    below 2^32, each one of all seeds or (seeds,).

    Source: M. E. O'Neill, "Developing a seed_seq alternative" (2015); numpy/random/bit_generator.pyx.
    """
    halves = seeds & np.uint64(0xFFFFFFFF), seeds >> np.uint64(32)
    entropy = [half.astype(np.uint32) for half in halves]
    entropy += [np.full(len(seeds), word, dtype=np.uint32) for word in (0, 0)]
    further = [np.broadcast_to(np.asarray(key, dtype=np.uint32), seeds.shape) for key in keys]
    constant = 0x43B0D7E5

    def hashed(value: NDArray[np.uint32]) -> NDArray[np.uint32]:
        nonlocal constant
        value = value ^ np.uint32(constant)
        constant = constant * 0x931E8875 & 0xFFFFFFFF
        value = value * np.uint32(constant)
        return value ^ (value >> np.uint32(16))

    def mixed(x: NDArray[np.uint32], y: NDArray[np.uint32]) -> NDArray[np.uint32]:
        result: NDArray[np.uint32] = np.uint32(0xCA01F9DD) * x - np.uint32(0x4973F715) * y
        return result ^ (result >> np.uint32(16))

    pool = [hashed(word) for word in entropy[:4]]
    for source in range(4):
        for target in range(4):
            if source != target:
                pool[target] = mixed(pool[target], hashed(pool[source]))
    for key_word in further:
        for target in range(4):
            pool[target] = mixed(pool[target], hashed(key_word))
    word: NDArray[np.uint32] = (pool[0] ^ np.uint32(0x8B51F9DD)) * np.uint32(0x8B51F9DD * 0x58F38DED & 0xFFFFFFFF)
    return word ^ (word >> np.uint32(16))


def _drawn(words: NDArray[np.uint32], count: int) -> NDArray[np.float64]:
    """(words, count) the first doubles of the Mersenne Twister under each seed; of its state no more is made than they
    need."""
    state, kept = words, [words]
    for i in range(1, 397 + 2 * count):
        state = np.uint32(1812433253) * (state ^ (state >> np.uint32(30))) + np.uint32(i)
        kept.append(state)
    twisted = []
    for i in range(2 * count):
        y = (kept[i] & np.uint32(0x80000000)) | (kept[i + 1] & np.uint32(0x7FFFFFFF))
        y = kept[i + 397] ^ (y >> np.uint32(1)) ^ (np.uint32(0x9908B0DF) * (y & np.uint32(1)))
        y = y ^ (y >> np.uint32(11))
        y = y ^ ((y << np.uint32(7)) & np.uint32(0x9D2C5680))
        y = y ^ ((y << np.uint32(15)) & np.uint32(0xEFC60000))
        twisted.append((y ^ (y >> np.uint32(18))).astype(np.uint64))
    found = np.empty((len(words), count))
    for i in range(count):
        found[:, i] = _double(twisted[2 * i], twisted[2 * i + 1])
    return found


def _double(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Doubles from pairs of words."""
    whole = (first << np.uint64(32)) | second
    return (whole & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53


def start_table(
    name: str, domain: Box, usual: Sequence[float], trainer: SurfaceTrainer, seeds: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """(seeds, dim) the starts of runs that differ in their seeds alone; arguments and errors as of `start_values`."""
    if trainer.start != "random":
        one = start_values(name, domain, usual, trainer, 0)
        return np.broadcast_to(one, (len(seeds), len(one)))
    low, high = np.array(domain, dtype=np.float64).T
    return np.asarray(low + (high - low) * uniforms(seeds, "start", len(domain)))


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
