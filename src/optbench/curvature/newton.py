"""How much the loss would still fall: the damped Newton step, from a Lanczos run started at the gradient.

With H = V T V' on the Krylov space of g, g' f(H) g = |g|^2 e1' f(T) e1 is Gauss's quadrature, and f(H) g itself comes
for free. f(x) = 1 / (|x| + delta) is Newton's step with the curvature made positive: it descends at saddles too.
A small gradient alone says nothing: it is small as well where the loss is flat and still high.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from optbench.curvature.hvp import HessianOperator
from optbench.curvature.lanczos import Step, lanczos

STEPS = 30
SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)  # of the step, tried in turn
_DAMPING = 1e-3  # of the largest |lambda|


@dataclass(frozen=True)
class NewtonGain:
    """What a damped Newton step promises and does.

    Attributes:
        grad_norm: |g|.
        hess_grad: |Hg| / (|g| lambda_max); 0 for g = 0 or H = 0.
        predicted: g'(|H| + delta)^-1 g / (2 |loss|): relative fall of the loss.
        measured: largest relative fall over SHARES of the step; negative where the loss rose every time.
        share: the share of the step that did it.
    """

    grad_norm: float
    hess_grad: float
    predicted: float
    measured: float
    share: float


def newton_gain(
    operator: HessianOperator,
    loss: float,
    gradient: Tensor,
    norm: float,
    dtype: torch.dtype,
    steps: int = STEPS,
    tell: Step | None = None,
) -> NewtonGain:
    """The gain at the operator's point.

    Args:
        operator: H.
        loss: the objective there.
        gradient: its gradient, (n,).
        norm: largest |eigenvalue| of H.
        dtype: of the Krylov basis.
        steps: products at most.
        tell: called after each product.
    """
    size = float(gradient.double().norm())
    if size == 0.0:
        return NewtonGain(0.0, 0.0, 0.0, 0.0, 1.0)
    run = lanczos(operator, gradient, steps, dtype, tell)
    values, vectors, _ = run.tridiagonal.ritz()
    damping = _DAMPING * norm
    with np.errstate(divide="ignore"):
        inverse = 1.0 / (np.abs(values) + damping)
    if not np.isfinite(inverse).all():  # a slope and no curvature at all: there is no Newton step, and no bottom
        return NewtonGain(size, 0.0, math.inf, *_fall(operator, loss, -gradient))
    scale = max(abs(loss), math.ulp(0.0))
    predicted = size**2 * float(vectors[0] ** 2 @ inverse) / (2.0 * scale)
    step = -size * run.combine(vectors @ (inverse * vectors[0]))
    t = run.tridiagonal
    image = math.hypot(float(t.alpha[0]), float(t.beta[0]))
    return NewtonGain(size, image / norm if norm else 0.0, predicted, *_fall(operator, loss, step))


def _fall(operator: HessianOperator, loss: float, step: Tensor) -> tuple[float, float]:
    """Largest relative fall of the loss over SHARES of a step, and that share."""
    objective = operator.objective
    falls = []
    for share in SHARES:
        value = objective.value(objective.weights + (share * step).to(operator.dtype))
        falls.append(((loss - value) / max(abs(loss), math.ulp(0.0)) if math.isfinite(value) else -math.inf, share))
    return max(falls)
