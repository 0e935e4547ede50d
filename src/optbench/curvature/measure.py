"""A spectrum, by either way: all of it, or both ends and moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from optbench.curvature.hvp import HessianOperator, random_unit
from optbench.curvature.lanczos import Array, Step, ends, lanczos
from optbench.curvature.spectrum import (
    Density,
    Shares,
    density,
    estimated_shares,
    exact_shares,
    full_hessian,
    gauss,
    positive_definite,
)

_BLOCK = 1 << 16  # weights whose part of the basis is rotated in place at a time


@dataclass(frozen=True)
class Measured:
    """What both ways end in.

    Attributes:
        v_min, v_max: unit vectors (n,) of the smallest and the largest eigenvalue.
        lower_bound, upper_bound: of the spectrum; the extreme eigenvalues themselves if exact.
        shares: of a tau.
        density: of a tau.
        positive: of a tau: orthonormal rows (m, n) of eigenvalues above it, as far as they are known.
        definite: of a shift: whether H - shift I has a Cholesky factorization; False where H is not known.
        exact: the whole Hessian was computed.
    """

    v_min: Tensor
    v_max: Tensor
    lower_bound: float
    upper_bound: float
    shares: Callable[[float], Shares]
    density: Callable[[float], Density]
    positive: Callable[[float], Tensor]
    definite: Callable[[float], bool]
    exact: bool


def measure_exactly(operator: HessianOperator, tell: Step | None = None) -> Measured:
    """By the whole Hessian: n products and an eigendecomposition."""
    hessian = full_hessian(operator, tell)
    values, vectors = np.linalg.eigh(hessian)
    columns = torch.from_numpy(vectors).to(operator.device)

    def positive(tau: float) -> Tensor:
        return columns[:, torch.from_numpy(values > tau)].T.contiguous()

    return Measured(
        v_min=columns[:, 0].contiguous(),
        v_max=columns[:, -1].contiguous(),
        lower_bound=float(values[0]),
        upper_bound=float(values[-1]),
        shares=lambda tau: exact_shares(values, tau),
        density=lambda tau: density(values, np.full(len(values), 1.0 / len(values)), tau),
        positive=positive,
        definite=lambda shift: positive_definite(hessian, shift),
        exact=True,
    )


def measure_by_lanczos(
    operator: HessianOperator,
    starts: int,
    steps: int,
    seed: int,
    dtype: torch.dtype,
    confidence: float,
    tell: Step | None = None,
) -> Measured:
    """By Lanczos from random starts; arguments as in lanczos.ends."""
    found = ends(
        operator,
        operator.n,
        steps,
        starts,
        seed=seed,
        dtype=dtype,
        device=operator.device,
        confidence=confidence,
        tell=tell,
    )
    pairs = [gauss(probe) for probe in found.probes]
    nodes: Array = np.concatenate([nodes for nodes, _ in pairs])
    weights: Array = np.concatenate([weights for _, weights in pairs]) / len(pairs)
    return Measured(
        v_min=found.low.vector,
        v_max=found.high.vector,
        lower_bound=found.lower_bound,
        upper_bound=found.upper_bound,
        shares=lambda tau: estimated_shares(found.probes, operator.n, tau),
        density=lambda tau: density(nodes, weights, tau),
        positive=lambda tau: _positive(operator, steps, seed, dtype, tau),
        definite=lambda shift: False,
        exact=False,
    )


def _positive(operator: HessianOperator, steps: int, seed: int, dtype: torch.dtype, tau: float) -> Tensor:
    """Ritz vectors whose eigenvalue is surely above tau, from a run of its own: seldom needed, and large."""
    run = lanczos(operator, random_unit(operator.n, seed, 0, dtype, operator.device), steps, dtype)
    values, vectors, bounds = run.tridiagonal.ritz()
    rotation = torch.as_tensor(vectors[:, (values > tau) & (bounds < 0.5 * values)].T.copy(), dtype=dtype)
    rotation = rotation.to(operator.device)
    for block in run.basis.split(_BLOCK, dim=1):
        block[: len(rotation)] = rotation @ block
    return run.basis[: len(rotation)]
