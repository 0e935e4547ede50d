"""Lanczos with full reorthogonalisation: both ends of a spectrum, with error bounds, from products alone.

After k products from a start v, the tridiagonal T (diagonal alpha, off-diagonal beta) is the operator on the Krylov
space, V T - H V = -beta_k v_{k+1} e_k'. Its eigenpairs (theta, s) are approximations with |H y - theta y| =
beta_k |s_k|, y = V s; its nodes and weights s_1^2 are the Gauss quadrature of v's spectral measure. Vectors are made
orthogonal to all earlier ones twice (Parlett's "twice is enough"), so that no eigenvalue appears twice.

A residual bound says that an eigenvalue is near theta; it does not say that none is below. That is only known with
probability, over the random start: Kuczynski and Wozniakowski, *Estimating the largest eigenvalue by the power and
Lanczos algorithms with a random start*, SIAM J. Matrix Anal. Appl. 13 (1992) 1094.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from optbench.curvature.hvp import random_unit

Array = NDArray[np.float64]
Operator = Callable[[Tensor], Tensor]
Step = Callable[[], None]
_EXHAUSTED = 10.0  # rounding errors: an off-diagonal this small means that the Krylov space is invariant


@dataclass(frozen=True)
class Tridiagonal:
    """The operator on a Krylov space.

    Attributes:
        alpha: diagonal, (k,).
        beta: off-diagonal, (k,); beta[k-1] couples to what lies outside; 0: the space is invariant.
    """

    alpha: Array
    beta: Array

    @property
    def steps(self) -> int:
        """Dimension of the Krylov space."""
        return len(self.alpha)

    @property
    def exhausted(self) -> bool:
        """The space is invariant: from a random start it holds every distinct eigenvalue."""
        return bool(self.beta[-1] == 0.0)

    def ritz(self) -> tuple[Array, Array, Array]:
        """Ritz values (k,) ascending, eigenvectors of T as columns (k, k), residual bounds (k,)."""
        values, vectors = eigh_tridiagonal(self.alpha, self.beta[:-1])
        return values, vectors, np.abs(self.beta[-1] * vectors[-1])


@dataclass(frozen=True)
class Krylov:
    """A Lanczos run: its tridiagonal and its orthonormal basis, (k, n)."""

    tridiagonal: Tridiagonal
    basis: Tensor

    def combine(self, coefficients: Array) -> Tensor:
        """sum_i coefficients[i] basis[i], (n,)."""
        return self.basis.T @ torch.as_tensor(coefficients, dtype=self.basis.dtype, device=self.basis.device)


@dataclass(frozen=True)
class Pair:
    """An approximate eigenpair: Ritz value, bound of |Hv - value v|, unit vector (n,)."""

    value: float
    residual: float
    vector: Tensor


@dataclass(frozen=True)
class Ends:
    """Both ends of a spectrum.

    Attributes:
        low: pair of the smallest Ritz value of all starts.
        high: pair of the largest.
        probes: the tridiagonal of each start.
        miss: eps: with `confidence`, no eigenvalue lies further out than eps times the width of the spectrum.
        confidence: of both ends together.
    """

    low: Pair
    high: Pair
    probes: tuple[Tridiagonal, ...]
    miss: float
    confidence: float

    @property
    def lower_bound(self) -> float:
        """With `confidence`, no eigenvalue is below; -inf where too few products were made to say."""
        return self.low.value - self._beyond()

    @property
    def upper_bound(self) -> float:
        """With `confidence`, no eigenvalue is above."""
        return self.high.value + self._beyond()

    def _beyond(self) -> float:
        if self.miss >= 0.5:
            return math.inf
        return self.miss * (self.high.value - self.low.value) / (1.0 - 2.0 * self.miss)


def lanczos(operator: Operator, start: Tensor, steps: int, dtype: torch.dtype, tell: Step | None = None) -> Krylov:
    """Up to `steps` Lanczos steps; fewer where the Krylov space is invariant earlier.

    Args:
        operator: symmetric, float (n,) -> (n,).
        start: (n,), not zero.
        steps: products to make, at most n.
        dtype: of the basis.
        tell: called after each product.
    """
    steps = min(steps, start.numel())
    basis = torch.empty((steps, start.numel()), dtype=dtype, device=start.device)
    basis[0] = start.to(dtype) / start.to(dtype).norm()
    alpha, beta = np.zeros(steps), np.zeros(steps)
    for k in range(steps):
        product = operator(basis[k])
        rounding = max(torch.finfo(product.dtype).eps, torch.finfo(dtype).eps)
        image = product.to(dtype)
        alpha[k] = float(basis[k] @ image)
        known = basis[: k + 1]
        for _ in range(2):
            image -= known.T @ (known @ image)
        beta[k] = float(image.norm())
        if tell is not None:
            tell()
        scale = max(float(np.abs(alpha[: k + 1]).max()), float(beta[: k + 1].max()))
        if k + 1 == start.numel() or beta[k] <= _EXHAUSTED * rounding * scale:
            beta[k] = 0.0
            return Krylov(Tridiagonal(alpha[: k + 1], beta[: k + 1]), basis[: k + 1])
        if k + 1 < steps:
            basis[k + 1] = image / beta[k]
    return Krylov(Tridiagonal(alpha, beta), basis)


def ends(
    operator: Operator,
    n: int,
    steps: int,
    starts: int,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
    confidence: float = 0.999,
    tell: Step | None = None,
) -> Ends:
    """Both ends of the spectrum from several random starts; one basis is in memory at a time.

    Args:
        operator: symmetric, float (n,) -> (n,).
        n: its dimension.
        steps: products from each start.
        starts: independent starts.
        seed: of the starts.
        dtype: of the basis.
        device: of the vectors; None: CPU.
        confidence: of the statement on what was missed.
        tell: called after each product.
    """
    low: Pair | None = None
    high: Pair | None = None
    probes: list[Tridiagonal] = []
    for i in range(starts):
        run = lanczos(operator, random_unit(n, seed, i, dtype, device or torch.device("cpu")), steps, dtype, tell)
        values, vectors, bounds = run.tridiagonal.ritz()
        if low is None or values[0] < low.value:
            low = Pair(float(values[0]), float(bounds[0]), run.combine(vectors[:, 0]))
        if high is None or values[-1] > high.value:
            high = Pair(float(values[-1]), float(bounds[-1]), run.combine(vectors[:, -1]))
        probes.append(run.tridiagonal)
        del run  # or its basis would still be there when the next one is taken
    assert low is not None
    assert high is not None
    miss = 0.0 if any(p.exhausted for p in probes) else missed(n, min(p.steps for p in probes), starts, confidence)
    return Ends(low, high, tuple(probes), miss, confidence)


def missed(n: int, steps: int, starts: int, confidence: float) -> float:
    """eps such that, with `confidence`, both extreme eigenvalues are within eps (lambda_max - lambda_min) of the ends.

    One start misses an end by more with probability at most 1.648 sqrt(n) exp(-sqrt(eps) (2 steps - 1)) (Kuczynski and
    Wozniakowski 1992, theorem 4.2); independent starts multiply, and the two ends share 1 - confidence.
    """
    allowed = ((1.0 - confidence) / 2.0) ** (1.0 / starts)
    root = math.log(1.648 * math.sqrt(n) / allowed) / (2 * steps - 1)
    return min(1.0, max(0.0, root) ** 2)
