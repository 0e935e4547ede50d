"""What the tests of surfaces share: building them, points of their domain, derivatives."""

from __future__ import annotations

import members
import torch
from torch import Tensor

from optbench.problem import AbstractSurface


def make(name: str, dim: int | None = None) -> AbstractSurface:
    """The surface of conf/model, at its YAML's dimension or another."""
    surface: AbstractSurface = members.make("model", name, **({} if dim is None else {"dim": dim}))
    return surface


def samples(surface: AbstractSurface, n: int, seed: int = 0) -> Tensor:
    """n points of the domain, uniform, float64, (n, dim)."""
    low, high = torch.tensor(surface.domain, dtype=torch.float64).T
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, surface.dim, dtype=torch.float64, generator=generator)


def gradient(surface: AbstractSurface, x: Tensor) -> Tensor:
    """Autograd's gradient of the sum of all outputs, the shape of x."""
    x = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(surface(x).sum(), x)
    return g


def hessian(surface: AbstractSurface, point: Tensor) -> Tensor:
    """Autograd's Hessian at one point, (dim, dim)."""
    matrix = torch.autograd.functional.hessian(surface, point)
    assert isinstance(matrix, Tensor)
    return matrix
