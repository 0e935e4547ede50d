"""The straight line between two points, and the barrier on it.

B = max over a in [0, 1] of L((1 - a) x + a y) - ((1 - a) L(x) + a L(y)): how far the loss rises above what lies between
those of the ends (Entezari, Sedghi, Saukh & Neyshabur 2022, definition 1). Frankle, Dziugaite, Roy & Carbin (2020,
"Linear mode connectivity") compare with the mean of both ends, which is the same where they are alike. It is taken over
the points of the line that were looked at, so the true one may be higher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optbench.slices.objective import Reading

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]
Evaluate = Callable[[Tensor], Mapping[str, Reading]]


class Barrier(NamedTuple):
    """How far the loss rises above the chord of its ends, 0 or more, and where; NaN where a loss is not finite."""

    height: float
    at: float


@dataclass(frozen=True)
class Line:
    """What is on a line.

    Attributes:
        alphas: (m,), from 0 at the first end to 1 at the second.
        losses: (m,) by split.
        accuracies: (m,) by split, in [0, 1]; without those that have no classes.
        ends: what the ends are called.
        distance: between the ends.
        notes: what a reader must know, a sentence each.
    """

    alphas: Floats
    losses: Mapping[str, Floats]
    accuracies: Mapping[str, Floats]
    ends: tuple[str, str]
    distance: float
    notes: tuple[str, ...] = ()

    @property
    def barriers(self) -> dict[str, Barrier]:
        """By split."""
        return {name: barrier(self.alphas, losses) for name, losses in self.losses.items()}


def barrier(alphas: Floats, losses: Floats) -> Barrier:
    """The barrier on a line, see above.

    Args:
        alphas: (m,), from 0 to 1.
        losses: (m,), at them.
    """
    above = losses - ((1.0 - alphas) * losses[0] + alphas * losses[-1])
    if not np.isfinite([losses[0], losses[-1]]).all() or np.isnan(above).any():
        return Barrier(np.nan, np.nan)
    highest = int(np.argmax(above))
    return Barrier(max(0.0, float(above[highest])), float(alphas[highest]))


def walk(
    evaluate: Evaluate, x: Tensor, y: Tensor, points: int, ends: tuple[str, str], notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Line:  # fmt: skip
    """Loss and accuracy on the straight line from x to y.

    Args:
        evaluate: at a point (n,), by split.
        x, y: (n,).
        points: how many, the ends among them.
        ends: what they are called.
        notes: what a reader must know.
        progress: is told how many of how many are done.
    """
    alphas = np.linspace(0.0, 1.0, points)
    found = []
    for done, alpha in enumerate(alphas.tolist(), 1):
        found.append(evaluate(torch.lerp(x, y, alpha)))
        if progress is not None:
            progress(done, points)
    losses = {name: np.array([one[name].loss for one in found]) for name in found[0]}
    accuracies = {
        name: np.array([one[name].accuracy for one in found], dtype=np.float64)
        for name, reading in found[0].items()
        if reading.accuracy is not None
    }
    return Line(alphas, losses, accuracies, ends, float((y - x).norm()), tuple(notes))
