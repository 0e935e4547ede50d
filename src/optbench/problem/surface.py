"""A surface as a problem: its weights are the coordinates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from optbench.errors import UserError
from optbench.problem.base import AbstractProblem, AbstractSurface, Batch, seed_torch, stream, surface_objective
from optbench.problem.streams import start_values, stream_seed
from optbench.settings import SurfaceTrainer


def starting_point(surface: AbstractSurface, trainer: SurfaceTrainer, seed: int) -> list[float]:
    """The start that the settings ask for, as `start_of` has it."""
    start: list[float] = start_of(surface, trainer, seed).tolist()
    return start


def start_of(surface: AbstractSurface, trainer: SurfaceTrainer, seed: int) -> Tensor:
    """The start that the settings ask for: usual, random by seed, or given; (dim,) float64.

    Args:
        surface: the surface.
        trainer: the settings.
        seed: of a random start.

    Raises:
        UserError: a given start with another number of coordinates, or outside the domain.
    """
    values = start_values(type(surface).__name__, surface.domain, surface.start, trainer, seed)
    return torch.from_numpy(values)


_CONTRACT = "a surface takes a tensor (..., dim) and returns (...), in torch operations"


class _Point(nn.Module):
    """The one parameter of a surface: x, float64, (dim,)."""

    def __init__(self, start: list[float], device: torch.device) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start, dtype=torch.float64, device=device))


class SurfaceProblem(AbstractProblem):
    """A surface under a loss, from a start; each step sees the whole objective.

    Args:
        surface: the surface.
        loss: SurfaceLoss, or a classification loss where the surface gives logits.
        trainer: start and gradient noise.
        seed: root seed of the run.
        device: where x lives.
    """

    steps_per_epoch = None

    def __init__(
        self,
        surface: AbstractSurface,
        loss: nn.Module,
        trainer: SurfaceTrainer,
        seed: int,
        device: torch.device,
    ) -> None:
        self.surface = surface
        self.field = surface_objective(surface, loss)
        self._seed, self._noise = seed, trainer.grad_noise
        self._module = _Point(starting_point(surface, trainer, seed), device)
        with torch.no_grad():  # a loss that does not take the surface's outputs says so now
            value: Any = self.field(self._module.x)
        if not isinstance(value, Tensor) or value.shape != ():
            came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            name = type(surface).__name__
            raise UserError(f"{name} returns {came} for a point ({surface.dim},); expected a tensor ()", _CONTRACT)

    @property
    def module(self) -> nn.Module:
        return self._module

    @property
    def exact_gradient(self) -> bool:
        return not self._noise

    def batch(self, step: int) -> Batch:
        return Batch(torch.empty(0), torch.empty(0, dtype=torch.long))

    def objective(self, batch: Batch) -> Tensor:
        return self.field(self._module.x)

    def seed_draws(self, step: int) -> None:
        seed_torch(stream_seed(self._seed, "optimizer", step), self._module.x.device)

    def evaluate(self) -> dict[str, float]:
        return {}

    def perturb_gradient(self, step: int) -> None:
        gradient = self._module.x.grad
        if self._noise and gradient is not None:
            noise = torch.randn(gradient.shape, generator=stream(self._seed, "noise", step), dtype=gradient.dtype)
            gradient.add_(noise.to(gradient.device), alpha=self._noise)

    def coordinates(self) -> list[float] | None:
        values: Any = self._module.x.detach().tolist()
        return [float(v) for v in values]
