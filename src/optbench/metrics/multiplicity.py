"""Many pairs judged together: p-values adjusted so that at most a share alpha of whole families says anything false.

Hypotheses about pairs hang together: if a is b and b is c, then a is c. So of the 15 pairs of six configurations not
any number can be the same: all 15, or at most 10 (five are alike), 7, 6, 4 and fewer. A procedure that knows this is
uniformly more powerful than Holm's, and asks no more of the p-values: each must be one, however they depend on each
other.

    Bergmann and Hommel   a set of pairs is exhaustive if exactly its pairs can be the same: those within the parts of
                          a partition of the configurations. A pair is told apart if no exhaustive set that has it
                          passes Bonferroni's test of all its pairs, |I| min p > alpha: the closed test of Marcus,
                          Peritz and Gabriel. Up to 9 configurations, of which there are 21,147 partitions.
    Shaffer               of an exhaustive set only the size is known: beyond 9 configurations, for all pairs of them.
    Holm                  any number may be the same: where pairs are no more than some of all, as beyond 9
                          configurations with others than all pairs. Against one baseline the first is this too.

Other weights than equal ones within an exhaustive set would be as valid. Ryan's, by which a set of m alike gets its
share m of alpha, find one standard deviation (six normal samples of 30 that share nothing, 4,000 families) in 85 %
instead of 82 % where one configuration differs from five alike, and in 85 % instead of 86 % where three differ from
three: no gain that holds whatever is true, and less than Holm's at times, which equal weights never are.

Problems are independent of one another in this logic: their sets combine freely, and their sizes add up.

Source: G. Bergmann and G. Hommel, Improvements of general multiple test procedures for redundant systems of hypotheses,
in Multiple Hypothesenpruefung (1988) 100; J. P. Shaffer, J. Am. Stat. Assoc. 81 (1986) 826; R. Marcus, E. Peritz and
K. R. Gabriel, Biometrika 63 (1976) 655; S. Garcia and F. Herrera, J. Mach. Learn. Res. 9 (2008) 2677.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optbench.metrics.estimates import Floats

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

EXHAUSTIVE = 9
"""Configurations of a problem up to which all partitions are looked at."""
MANY = 2000
"""Pairs in all beyond which they are not: sizes of sets have to do."""
_LARGE = 400
"""Configurations beyond which not even all sizes are: that all are the same, or at most all but one, has to do."""


@dataclass(frozen=True)
class Adjusted:
    """P-values of a family, adjusted.

    Attributes:
        p: (m,) the least level of the family at which each is rejected.
        left: (m,) how many pairs at most can be the same with each one among them, once all that are rejected are
            gone: what its level is divided by.
    """

    p: Floats
    left: Ints


def adjust(p: Sequence[float], pairs: Sequence[tuple[int, int]], problems: Sequence[int], alpha: float) -> Adjusted:
    """The adjusted p-values of pairs of configurations.

    Args:
        p: one a pair, (m,).
        pairs: its two configurations, by numbers of their problem.
        problems: number of its problem.
        alpha: level of the family, which `left` depends on.
    """
    given, whose = np.asarray(p, dtype=float), np.asarray(problems, dtype=np.int64)
    taus = np.unique(given)
    members = [np.flatnonzero(whose == one) for one in np.unique(whose)]
    parts = [_sizes(given[own], [pairs[i] for i in own.tolist()], taus, len(given)) for own in members]
    together = np.sum([whole for whole, _ in parts], axis=0)
    found = np.empty(len(given))
    for own, (whole, having) in zip(members, parts, strict=True):
        sizes = having + (together - whole)
        held = np.where(taus <= given[own, None], taus * sizes, 0.0)
        found[own] = np.minimum(held.max(axis=1), 1.0)
    left = np.ones(len(given), dtype=np.int64)
    if (undecided := found > alpha).any():
        at = int(np.searchsorted(taus, given[undecided].min()))
        for own, (whole, having) in zip(members, parts, strict=True):
            left[own] = np.maximum(having[:, at] + together[at] - whole[at], 1)
    return Adjusted(found, left)


def _sizes(p: Floats, pairs: Sequence[tuple[int, int]], taus: Floats, family: int) -> tuple[Ints, Ints]:
    """How many pairs of a problem can be the same, all of p at least tau: in all, (t,), and with each one, (m, t)."""
    numbers = np.unique(np.asarray(pairs, dtype=np.int64), return_inverse=True)[1].reshape(len(pairs), 2)
    k = int(numbers.max()) + 1
    if k <= EXHAUSTIVE and family <= MANY:
        return _of_partitions(p, numbers, k, taus)
    at_least = len(p) - np.searchsorted(np.sort(p), taus)
    most = _possible(k)[at_least] if len(p) == k * (k - 1) // 2 else at_least
    return most, np.broadcast_to(most, (len(p), len(taus)))


def _of_partitions(p: Floats, numbers: Ints, k: int, taus: Floats) -> tuple[Ints, Ints]:
    parts = partitions(k)
    same = parts[:, numbers[:, 0]] == parts[:, numbers[:, 1]]
    least = np.where(same, p, np.inf).min(axis=1)
    order = np.argsort(-least, kind="stable")
    sizes = same.sum(axis=1)[order]
    having = np.maximum.accumulate(np.where(same[order], sizes[:, None], 0), axis=0)
    count = np.searchsorted(-least[order], -taus, side="right")  # the partitions with all p at least tau
    rows = np.concatenate([np.zeros((1, len(p)), dtype=np.int64), having])[count]
    whole = np.append(0, np.maximum.accumulate(sizes))[count]
    return whole, rows.T


@functools.lru_cache(maxsize=EXHAUSTIVE + 1)
def partitions(k: int) -> npt.NDArray[np.int8]:
    """All partitions of k things, (Bell's number of k, k): the number of each one's part, by first appearance."""
    found = np.zeros((1, 1), dtype=np.int8)
    for _ in range(k - 1):
        most = found.max(axis=1) + 1
        rows = np.repeat(np.arange(len(found)), most + 1)
        new = np.arange(len(rows)) - np.repeat(np.cumsum(most + 1) - (most + 1), most + 1)
        found = np.column_stack([found[rows], new.astype(np.int8)])
    found.flags.writeable = False
    return found


def possible_counts(k: int) -> list[int]:
    """How many of all pairs of k configurations can be the same, ascending: Shaffer's S(k); of 6, for one,
    0, 1, 2, 3, 4, 6, 7, 10 and 15."""
    masks = [1]  # bit n: that n pairs can be
    for size in range(1, k + 1):
        mask = 0
        for part in range(1, size + 1):
            mask |= masks[size - part] << (part * (part - 1) // 2)
        masks.append(mask)
    return [n for n, bit in enumerate(reversed(bin(masks[k])[2:])) if bit == "1"]


@functools.lru_cache(maxsize=16)
def _possible(k: int) -> Ints:
    """The most pairs that can be the same if at most n are, n = 0 ... all pairs of k."""
    n = np.arange(k * (k - 1) // 2 + 1)
    if k > _LARGE:
        return np.where(n < n[-1], np.minimum(n, (k - 1) * (k - 2) // 2), n)
    counts = np.array(possible_counts(k))
    return np.asarray(counts[np.searchsorted(counts, n, side="right") - 1], dtype=np.int64)
