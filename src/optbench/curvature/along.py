"""Curvature along training: both ends of the Hessian's spectrum and the norm of the whole gradient, at the weights as
they are now.

What the lecture asks of a training curve that has gone flat: is the gradient large still, is it small and the point a
saddle, or is it a minimum? Nothing of the run changes: the model is copied, in evaluation mode, and the random starts
have generators of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from optbench.curvature.hvp import HessianOperator
from optbench.curvature.lanczos import ends
from optbench.curvature.objective import FlatObjective, network_objective
from optbench.curvature.spectrum import full_hessian
from optbench.problem import AbstractProblem, NetworkProblem, SurfaceProblem
from optbench.settings import NetworkTrainer, SurfaceTrainer

EXACT_UP_TO = 60  # weights: the whole Hessian costs little more than the Lanczos steps
STEPS = 20
_DOUBLE_BASIS = 1_000_000  # weights; beyond, a float64 basis would take more than 160 MB


def curvature_of(problem: AbstractProblem, trainer: SurfaceTrainer | NetworkTrainer) -> Callable[[], dict[str, float]]:
    """What the loop calls at every measurement: measure_curvature on the share that the settings ask for."""
    return partial(measure_curvature, problem, trainer.curvature_share if isinstance(trainer, NetworkTrainer) else 1.0)


def measure_curvature(problem: AbstractProblem, share: float = 1.0) -> dict[str, float]:
    """lambda_min, lambda_max, full_grad_norm of the whole training objective; fewer where they are not finite.

    Exact up to 60 weights; beyond, from 20 Lanczos steps: the extreme Ritz values, which lie within the spectrum.

    Args:
        problem: at its current weights; not changed.
        share: part of the training images to use, the same ones every time.
    """
    objective = _objective(problem, share)
    _, gradient = objective.gradient()
    norm = float(gradient.double().norm())
    if not np.isfinite(norm):
        return {}
    low, high = _ends(HessianOperator(objective))
    return {"full_grad_norm": norm} | (
        {"lambda_min": low, "lambda_max": high} if np.isfinite([low, high]).all() else {}
    )


def _objective(problem: AbstractProblem, share: float) -> FlatObjective:
    if isinstance(problem, NetworkProblem):
        return network_objective(problem.module, problem.loss, problem.train, share=share, collator=problem.collator)
    assert isinstance(problem, SurfaceProblem)
    return FlatObjective([problem.field], problem.module.x.detach().clone())  # type: ignore[operator]


def _ends(operator: HessianOperator) -> tuple[float, float]:
    if operator.n <= EXACT_UP_TO:
        hessian = full_hessian(operator)
        if not np.isfinite(hessian).all():
            return np.nan, np.nan
        values = np.linalg.eigvalsh(hessian)
        return float(values[0]), float(values[-1])
    dtype = torch.float64 if operator.n <= _DOUBLE_BASIS else torch.float32
    found = ends(operator, operator.n, STEPS, starts=1, dtype=dtype, device=operator.device)
    return found.low.value, found.high.value
