"""Boxes in bulk, and the record of what became of each: what a branch and bound leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from typing import Literal

import numpy as np
import numpy.typing as npt

from optbench.critical.arithmetic.ends import Array

THINNER = 64.0  # no side of a box gets thinner than this against another, relative to the domain
Fate = Literal["excluded", "emptied", "proved", "split", "undecided"]


@dataclass
class Boxes:
    """Boxes as they come, in pieces: low and high corners, (n, d) in all."""

    dim: int
    low: list[Array] = default(default_factory=list)
    high: list[Array] = default(default_factory=list)

    def add(self, low: Array, high: Array) -> None:
        """Adds some."""
        self.low.append(low)
        self.high.append(high)

    def arrays(self) -> tuple[Array, Array]:
        """All of them."""
        none = np.empty((0, self.dim))
        return np.concatenate([none, *self.low]), np.concatenate([none, *self.high])

    def cut_back(self, pieces: int) -> None:
        """Forgets all but the first so many pieces."""
        del self.low[pieces:], self.high[pieces:]

    def __len__(self) -> int:
        return sum(map(len, self.low))


class Trail:
    """What became of every box that a search examined; a search keeps one only if it is given one.

    A box is `excluded` (f is undefined all over it, or the range or the mean-value form of its gradient holds no zero),
    `emptied` (Krawczyk's operator leaves nothing of it), `proved` (exactly one critical point in it, or in a larger box
    round it), or `split`: shrunk by Krawczyk's operator, then cut in two. What is too small to cut, or was not
    reached, is `undecided`. A split box covered by nothing that came of it has been emptied by Krawczyk's operator.
    """

    def __init__(self) -> None:
        self._kept: dict[Fate, Boxes] = {}

    def add(self, fate: Fate, low: Array, high: Array) -> None:
        """Records boxes (n, d) that met this fate."""
        self._kept.setdefault(fate, Boxes(low.shape[1])).add(low, high)

    def pieces(self) -> dict[Fate, int]:
        """How many pieces there are of each fate, for `cut_back`."""
        return {fate: len(boxes.low) for fate, boxes in self._kept.items()}

    def cut_back(self, pieces: Mapping[Fate, int]) -> None:
        """Forgets what was added since there were so many pieces."""
        for fate, boxes in self._kept.items():
            boxes.cut_back(pieces.get(fate, 0))

    def forget(self) -> None:
        """Forgets everything: the search starts again."""
        self._kept.clear()

    def cells(self) -> dict[str, tuple[Array, Array]]:
        """Low and high corners, (n, d) each, by fate; fates that no box met are left out."""
        return {fate: boxes.arrays() for fate, boxes in self._kept.items() if len(boxes)}


def steepest_side(steepness: Array, wide: Array, width: Array) -> npt.NDArray[np.int_]:
    """(n,) the side along which the gradient varies most, unless it is far thinner than another.

    Args:
        steepness: (n, d, d) bounds of |second derivatives|.
        wide: (n, d) sides of the boxes.
        width: (d,) of the domain.
    """
    relative, rows = wide / width, np.arange(len(wide))
    with np.errstate(all="ignore"):
        smear = steepness.sum(axis=1) * wide
    usable = np.isfinite(smear).all(axis=1) & (smear > 0).any(axis=1)
    axis = np.where(usable, smear.argmax(axis=1), relative.argmax(axis=1))
    needle = relative[rows, axis] * THINNER < relative.max(axis=1)
    return np.asarray(np.where(needle, relative.argmax(axis=1), axis))


def middle_of(low: Array, high: Array) -> Array:
    """A point of each box next to its centre."""
    return np.asarray(np.clip(0.5 * low + 0.5 * high, low, high))


def halves(low: Array, high: Array, axis: npt.NDArray[np.int_]) -> tuple[Array, Array]:
    """Both halves of every box, cut in the middle of the side `axis` (n,): all lower halves, then all upper ones."""
    rows, left, right = np.arange(len(low)), high.copy(), low.copy()
    left[rows, axis] = right[rows, axis] = middle_of(low, high)[rows, axis]
    return np.concatenate([low, right]), np.concatenate([left, high])
