"""A plane in the space of weights: what is on it, and the shadow that a path of checkpoints casts.

A point w of the path is shown at the coordinates (a, b) that bring origin + a u + b v nearest to it. The share of the
path that the plane explains is sum |shadow|^2 / sum |w - pivot|^2 over its checkpoints, both from the checkpoint that
the path leads to (the pivot, as in Li et al. 2018, section 7): 1 for a path in the plane, about 2 / n for a random
plane among n weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from optbench.slices.line import Evaluate, Floats, Progress

_MARGIN = 0.15  # of what is to be seen, on each side


@dataclass(frozen=True)
class Path:
    """The shadow of a path on a plane.

    Attributes:
        name: of its run.
        steps: (k,), rising.
        places: (k, 2), in the coordinates of the plane.
        share: of the path, that the plane explains; NaN of a single checkpoint.
    """

    name: str
    steps: tuple[int, ...]
    places: Floats
    share: float


@dataclass(frozen=True)
class Plane:
    """What is on a plane.

    Attributes:
        x, y: (m,) coordinates, ascending, in units of the directions.
        z: (m, m) losses, z[j, i] at (x[i], y[j]).
        paths: what runs left on it.
        marks: named points on it.
        labels: of the two axes.
        split: whose loss it is.
        notes: what a reader must know, a sentence each.
    """

    x: Floats
    y: Floats
    z: Floats
    paths: tuple[Path, ...]
    marks: Mapping[str, tuple[float, float]]
    labels: tuple[str, str]
    split: str
    notes: tuple[str, ...] = ()


def shadow(
    name: str, origin: Tensor, directions: tuple[Tensor, Tensor], path: Iterable[tuple[int, Tensor]], pivot: Tensor
) -> Path:
    """Where the checkpoints of a run lie on a plane.

    Args:
        name: of the run.
        origin: of the plane, (n,).
        directions: that span it, (n,) each; neither orthogonal nor of length 1, but independent.
        path: step and weights (n,) of each, looked at one at a time.
        pivot: the point (n,) that the path leads to.
    """
    basis = torch.stack(directions)
    inverse = torch.linalg.inv(basis @ basis.T)
    steps, places, seen, whole = [], [], 0.0, 0.0
    for step, weights in path:
        steps.append(step)
        places.append((inverse @ (basis @ (weights - origin))).tolist())
        move = weights - pivot
        inside = basis @ move
        seen += float(inside @ inverse @ inside)
        whole += float(move @ move)
    share = seen / whole if whole > 0 else float("nan")
    return Path(name, tuple(steps), np.array(places, dtype=np.float64).reshape(-1, 2), share)


def axes(points: Sequence[tuple[float, float]], n: int, least: float = 0.0) -> tuple[Floats, Floats]:
    """Coordinates of a square that shows some points with a margin.

    Args:
        points: to be seen.
        n: of a side.
        least: how far it reaches at least, to all sides of 0.
    """
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    if least and np.abs([low, high]).max() <= least:
        return np.linspace(-least, least, n), np.linspace(-least, least, n)
    low, high = np.minimum(low, -least), np.maximum(high, least)
    half = (0.5 + _MARGIN) * (float((high - low).max()) or 1.0)
    middle = (low + high) / 2
    return np.linspace(middle[0] - half, middle[0] + half, n), np.linspace(middle[1] - half, middle[1] + half, n)


def survey(
    evaluate: Evaluate, origin: Tensor, directions: tuple[Tensor, Tensor], x: Floats, y: Floats, split: str,
    progress: Progress | None = None,
) -> Floats:  # fmt: skip
    """The loss on a split on a grid of a plane, (len(y), len(x)).

    Args:
        evaluate: at a point (n,), by split.
        origin, directions: of the plane.
        x, y: coordinates.
        split: whose loss.
        progress: is told how many of how many points are done.
    """
    z = np.empty((len(y), len(x)))
    for j, b in enumerate(y.tolist()):
        for i, a in enumerate(x.tolist()):
            z[j, i] = evaluate(origin + a * directions[0] + b * directions[1])[split].loss
            if progress is not None:
                progress(j * len(x) + i + 1, z.size)
    return z
