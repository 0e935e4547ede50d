"""Boxes in bulk, and the record of what became of each: what a branch and bound leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from typing import Literal

import numpy as np

from optbench.critical.arithmetic.ends import Array

Fate = Literal["excluded", "emptied", "proved", "split", "undecided"]


@dataclass
class Boxes:
    """Boxes as they come, in pieces: low and high corners, (n, d) in all."""

    dim: int
    low: list[Array] = default(default_factory=list)
    high: list[Array] = default(default_factory=list)

    def add(self, low: Array, high: Array) -> None:
        """Takes some more."""
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
    `emptied` (Krawczyk's operator
    leaves nothing of it), `proved` (exactly one critical point in it, or in a larger box round it), or `split`: shrunk
    by Krawczyk's operator, then cut in two. What is too small to be cut, or was not reached, is `undecided`. Where a
    split box is covered by nothing that came of it, Krawczyk's operator has emptied it.
    """

    def __init__(self) -> None:
        self._kept: dict[Fate, Boxes] = {}

    def add(self, fate: Fate, low: Array, high: Array) -> None:
        """Takes boxes (n, d) that met this fate."""
        self._kept.setdefault(fate, Boxes(low.shape[1])).add(low, high)

    def pieces(self) -> dict[Fate, int]:
        """How many pieces there are of each fate, for `cut_back`."""
        return {fate: len(boxes.low) for fate, boxes in self._kept.items()}

    def cut_back(self, pieces: Mapping[Fate, int]) -> None:
        """Forgets what was added since there were so many pieces."""
        for fate, boxes in self._kept.items():
            boxes.cut_back(pieces.get(fate, 0))

    def forget(self) -> None:
        """The search begins afresh."""
        self._kept.clear()

    def cells(self) -> dict[str, tuple[Array, Array]]:
        """Low and high corners, (n, d) each, by fate; fates that no box met are left out."""
        return {fate: boxes.arrays() for fate, boxes in self._kept.items() if len(boxes)}
