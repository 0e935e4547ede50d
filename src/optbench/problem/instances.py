"""An instance of a surface: turned and moved by a number, so that neither the axes nor the origin help an optimizer.

    f_instance(x) = f(c + R^T (x - c - s))

c is the middle of the domain, R a random rotation (perhaps with a reflection) and s a random shift of at most a quarter
of the domain's sides. Both keep distances, so conditioning, basins and the set of critical points are those of the
surface, at c + s + R (y - c). Start and minimizers are their images, the minimum is the same number.

The domain of an instance is the smallest box with sides along the axes that contains the turned domain, and beyond that
on each side a margin of its own, at most a fifth of its half-width, so that its middle says nothing about where a
minimizer lies. In its corners the surface is what its formula says outside the domain that the literature uses, and may
attain its minimum once more (Branin's does). Where it goes below the minimum there (`may_turn` is False), an instance
exchanges and reflects axes and shifts, and does not turn: then its domain is the image of the domain.
"""

from __future__ import annotations

import torch
from torch import Tensor

from optbench.errors import UserError
from optbench.problem.base import AbstractSurface, stream

SHIFT = 0.25
"""Of the sides of the domain."""
MARGIN = 0.2
"""Of the half-widths of the box."""


class Instance(AbstractSurface):
    """An instance of a surface; made by `instance_of`, which names its class.

    Args:
        surface: the surface.
        number: of the instance, from 1 on; the same motion for all surfaces of a dimension.

    Attributes:
        surface: as given.
    """

    def __init__(self, surface: AbstractSurface, number: int) -> None:
        generator = stream(number, "instance", surface.dim)
        low, high = torch.tensor(surface.domain, dtype=torch.float64).T
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        turn = (_rotation if surface.may_turn else _exchange)(surface.dim, generator)
        shift = 2.0 * SHIFT * half * _between(2, surface.dim, generator)[0]
        margins = MARGIN * _between(2, surface.dim, generator).abs() * float(surface.may_turn)
        reach = turn.abs() @ half
        self.surface, self.label = surface, surface.label
        self._turn, self._middle, self._place = turn, middle, middle + shift
        box = torch.stack([self._place - reach * (1.0 + margins[0]), self._place + reach * (1.0 + margins[1])], dim=-1)
        super().__init__(
            [(a, b) for a, b in box.tolist()], self.image(surface.start), [self.image(m) for m in surface.minimizers],
            surface.minimum,
        )  # fmt: skip

    def image(self, point: tuple[float, ...]) -> list[float]:
        """Where a point of the surface, (dim,), lies in the instance."""
        y = torch.tensor(point, dtype=torch.float64)
        found: list[float] = (self._place + self._turn @ (y - self._middle)).tolist()
        return found

    def __call__(self, x: Tensor) -> Tensor:
        # products and sums: a library's matrix product rounds a point otherwise in a larger batch
        moved = (x - self._place.to(x)).unsqueeze(-2) * self._turn.T.to(x)
        return self.surface(self._middle.to(x) + moved.sum(dim=-1))


def instance_of(surface: AbstractSurface, number: int) -> AbstractSurface:
    """An instance of a surface. Raises UserError for a number below 1."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise UserError(f"instance={number}: expected a whole number of at least 1")
    named = type(f"{type(surface).__name__}, instance {number}", (Instance,), {"__doc__": Instance.__doc__})
    found: AbstractSurface = named(surface, number)
    return found


def _between(n: int, dim: int, generator: torch.Generator) -> Tensor:
    """(n, dim) numbers in [-1, 1]."""
    return 2.0 * torch.rand(n, dim, generator=generator, dtype=torch.float64) - 1.0


def _rotation(dim: int, generator: torch.Generator) -> Tensor:
    """An orthogonal matrix (dim, dim), by Haar's measure.

    Source: F. Mezzadri, "How to generate random matrices from the classical compact groups", Notices of the AMS 54
    (2007) 592: the columns of QR's Q with the signs of R's diagonal.
    """
    q, r = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
    found: Tensor = q * r.diagonal().sign()
    return found


def _exchange(dim: int, generator: torch.Generator) -> Tensor:
    """A permutation of the axes, some of them reflected, (dim, dim)."""
    signs = torch.where(torch.rand(dim, generator=generator, dtype=torch.float64) < 0.5, -1.0, 1.0).to(torch.float64)
    return torch.diag(signs)[torch.randperm(dim, generator=generator)]
