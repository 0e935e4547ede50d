"""What part of a Hessian's eigenvalues is negative, zero, positive; and how they are spread.

Up to a few thousand weights the whole Hessian is computed and the answer is exact. Beyond, a random vector's spectral
measure stands for the spectrum: its expectation is the distribution of the eigenvalues. Lanczos gives the measure's
moments, and the Chebyshev-Markov-Stieltjes inequalities the range in which its mass below a point must lie (Szego,
*Orthogonal Polynomials*, section 3.41), attained by the quadrature with that point as a node (Golub, *Some modified
matrix eigenvalue problems*, SIAM Review 15 (1973) 318). The spread between random vectors is known: v'Pv for a
projector P of rank pn and v uniform on the sphere is Beta(pn/2, (1-p)n/2), of variance 2p(1-p)/(n+2).

An eigenvalue that is zero is never zero in floating point, so a share of positive eigenvalues means nothing without a
class of zeros: |lambda| <= tau, and tau is said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import cholesky, eigh_tridiagonal

from optbench.critical.points.found import Range
from optbench.curvature.hvp import HessianOperator
from optbench.curvature.lanczos import Array, Step, Tridiagonal

EXACT_UP_TO = 3000  # weights: 72 MB of Hessian, minutes of eigenvalues
ZERO = 1e-3  # of the largest |lambda|: eigenvalues up to this count as zero
_DEVIATIONS = 3.29  # a normal variable lies within with probability 99.9 %
_SAME = 1e-8  # of the largest node: nearer, x and the node are one; the corner would drown the other nodes
_GRID = 801
_BLUR = 0.08  # relative width of the density's kernels


@dataclass(frozen=True)
class Shares:
    """Shares of negative, zero and positive eigenvalues as ranges (low, high).

    Attributes:
        tau: |lambda| <= tau counts as zero.
        exact: counted from all eigenvalues, ranges of width 0; else with 99.9 % for the spread between probes.
    """

    negative: Range
    zero: Range
    positive: Range
    tau: float
    exact: bool

    @property
    def minimum_ratio(self) -> tuple[Range, Range]:
        """The lecture's share of positive eigenvalues: strictly positive, and counting zeros."""
        return self.positive, (1.0 - self.negative[1], 1.0 - self.negative[0])


@dataclass(frozen=True)
class Density:
    """Spectral density: eigenvalues lie at `grid` with `density` per unit, (m,) both."""

    grid: Array
    density: Array


def full_hessian(operator: HessianOperator, tell: Step | None = None) -> Array:
    """The Hessian, float64 (n, n), symmetrized: n products with unit vectors."""
    rows = np.empty((operator.n, operator.n))
    unit = torch.zeros(operator.n, dtype=operator.dtype, device=operator.device)
    for i in range(operator.n):
        unit[i] = 1.0
        rows[i] = operator(unit).double().cpu().numpy()
        unit[i] = 0.0
        if tell is not None:
            tell()
    return 0.5 * (rows + rows.T)


def positive_definite(hessian: Array, shift: float) -> bool:
    """Whether H - shift I has a Cholesky factorization."""
    try:
        cholesky(hessian - shift * np.eye(len(hessian)), lower=True)
    except np.linalg.LinAlgError:
        return False
    return True


def exact_shares(eigenvalues: Array, tau: float) -> Shares:
    """Counted shares."""
    negative = float((eigenvalues < -tau).mean())
    positive = float((eigenvalues > tau).mean())
    zero = 1.0 - negative - positive
    return Shares((negative, negative), (zero, zero), (positive, positive), tau, exact=True)


def estimated_shares(probes: Sequence[Tridiagonal], n: int, tau: float) -> Shares:
    """Ranges that hold the shares with 99.9 % each.

    Args:
        probes: Lanczos runs from independent uniform starts.
        n: dimension of the operator.
        tau: |lambda| <= tau counts as zero.
    """
    # below -tau, and up to and including tau, as ranges over the probes' own measures
    below = np.mean([mass_below(probe, -tau) for probe in probes], axis=0)
    up_to = np.mean([mass_below(probe, tau, inclusive=True) for probe in probes], axis=0)
    zero = (max(0.0, up_to[0] - below[1]), min(1.0, up_to[1] - below[0]))
    vectors = len(probes) * (n + 2) / 2.0
    return Shares(
        widened((below[0], below[1]), vectors),
        widened(zero, vectors),
        widened((1.0 - up_to[1], 1.0 - up_to[0]), vectors),
        tau,
        exact=False,
    )


def mass_below(probe: Tridiagonal, x: float, inclusive: bool = False) -> Range:
    """Smallest and largest mass below x of a measure with the moments that the probe knows.

    The quadrature with x as a node attains both: without the weight at x, and with it.

    Args:
        probe: a Lanczos run of k steps: 2k moments.
        x: any number.
        inclusive: whether mass at x itself counts; matters only where the measure is known exactly.
    """
    if probe.exhausted:
        nodes, weights = gauss(probe)
        mass = float(weights[nodes <= x if inclusive else nodes < x].sum())
        return mass, mass
    nodes, weights, at = _with_node(probe, x)
    left = float(weights[:at].sum())
    return max(0.0, left), min(1.0, left + float(weights[at]))


def gauss(probe: Tridiagonal) -> tuple[Array, Array]:
    """Nodes (k,) ascending and weights (k,), of sum 1."""
    values, vectors, _ = probe.ritz()
    return values, vectors[0] ** 2


def _with_node(probe: Tridiagonal, x: float) -> tuple[Array, Array, int]:
    """The quadrature of k + 1 nodes one of which is x: nodes, weights, index of x.

    T is extended by one row whose diagonal, x + beta^2 e'(T - x)^-1 e, makes x an eigenvalue; e is the last unit
    vector. Where x is a Ritz value already the diagonal is infinite, and the plain quadrature has the node.
    """
    values, vectors, _ = probe.ritz()
    nearest = int(np.abs(values - x).argmin())
    scale = max(float(np.abs(values).max()), abs(x), 1e-300)
    if abs(values[nearest] - x) <= _SAME * scale:
        return values, vectors[0] ** 2, nearest
    beta = float(probe.beta[-1])
    corner = x + beta**2 * float((vectors[-1] ** 2 / (values - x)).sum())
    nodes, extended = eigh_tridiagonal(np.append(probe.alpha, corner), np.append(probe.beta[:-1], beta))
    return nodes, extended[0] ** 2, int(np.abs(nodes - x).argmin())


def widened(share: Range, vectors: float) -> Range:
    """A range of a mean over probes, made wide enough for the share itself (score interval of Wilson 1927).

    Args:
        share: of the mean.
        vectors: probes (n + 2) / 2: a mean over probes has variance p (1 - p) / vectors round the share p.
    """
    return _score(share[0], vectors, -_DEVIATIONS), _score(share[1], vectors, _DEVIATIONS)


def _score(p: float, count: float, z: float) -> float:
    centre = p + z * z / (2 * count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) if 0 <= p <= 1 else 0.0
    return min(1.0, max(0.0, (centre + half) / (1 + z * z / count)))


def density(nodes: Array, weights: Array, tau: float) -> Density:
    """A smooth picture of point masses: each becomes a normal density of width max(tau, 8 % of its node).

    Args:
        nodes: eigenvalues, or quadrature nodes of all probes, (m,).
        weights: their masses, (m,), of sum 1.
        tau: width round zero.
    """
    tau = tau or 1.0
    low, high = float(nodes.min()), float(nodes.max())
    span = 4 * max(tau, _BLUR * max(abs(low), abs(high)))
    # even steps of asinh: linear within tau of zero, logarithmic beyond
    grid = tau * np.sinh(np.linspace(np.arcsinh((low - span) / tau), np.arcsinh((high + span) / tau), _GRID))
    width = np.maximum(tau, _BLUR * np.abs(nodes))
    total = np.zeros_like(grid)
    for node, weight, sigma in zip(nodes, weights, width, strict=True):
        total += weight / (sigma * math.sqrt(2 * math.pi)) * np.exp(-0.5 * ((grid - node) / sigma) ** 2)
    return Density(grid, total)
