"""Directions in the space of a network's weights.

A random direction says nothing by its length: where a layer is followed by batch norm or ReLU, weights ten times as
large compute the same, and a step that shakes one network does not move the other. So each filter of a random direction
is as long as the same filter of the network, and biases and what scales a normalisation stay where they are (Li, Xu,
Taylor, Studer & Goldstein, Visualizing the loss landscape of neural nets, 2018, section 4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from optbench.curvature.objective import cut
from optbench.errors import UserError
from optbench.slices.objective import Layout

_FLAT = 1e-9  # of the longer side: three points on one line to rounding


def random_direction(weights: Tensor, layout: Layout, generator: torch.Generator) -> Tensor:
    """A filter-normalised Gaussian direction, (n,) float64.

    Args:
        weights: of the network, (n,).
        layout: of its parameters. A filter is what makes one output: `weight[i]` of two axes or more.
        generator: draws it.

    Raises:
        UserError: the network has no filter.
    """
    pieces = []
    for own in cut(weights.double(), layout).values():
        drawn = torch.randn(own.shape, generator=generator, dtype=torch.float64)
        if own.ndim < 2:
            drawn.zero_()
        else:
            flat, theirs = drawn.flatten(1), own.flatten(1)
            drawn = (flat * (theirs.norm(dim=1) / flat.norm(dim=1)).unsqueeze(1)).view(own.shape)
        pieces.append(drawn.reshape(-1))
    direction = torch.cat(pieces)
    if not direction.any():
        raise UserError("this network has no filter (a weight of two axes or more): it has no random directions")
    return direction


def through(points: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of the plane through three points: the first towards the second, and towards the third.

    Raises:
        UserError: they lie on one line.
    """
    origin, second, third = points
    u, v = second - origin, third - origin
    length = u.norm()
    rest = v - (v @ u) / (u @ u) * u if length > 0 else v
    if not length > 0 or not rest.norm() > _FLAT * max(float(length), float(v.norm())):
        raise UserError("these three checkpoints lie on one line: there is no plane through them", "take other runs")
    return u / length, rest / rest.norm()


def principal(moves: Tensor) -> tuple[Tensor, Tensor]:
    """The two directions, orthonormal, in which some points lie farthest from the origin, by squares.

    Args:
        moves: (k, n) float64, points relative to the origin.

    Raises:
        UserError: they span no plane.
    """
    gram = moves @ moves.T  # (k, k): n may be millions
    values, vectors = torch.linalg.eigh(gram)
    if len(values) < 2 or not values[-2] > _FLAT**2 * values[-1]:
        raise UserError("the checkpoints of this run span no plane", "trainer.keep_every=1 keeps one each epoch")
    found = [vectors[:, -i] @ moves / values[-i].sqrt() for i in (1, 2)]
    return found[0], found[1]
