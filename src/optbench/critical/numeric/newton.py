"""Newton's method for grad f = 0 from many seeds at once, to critical points of every kind.

Plain Newton goes to whatever zero of the gradient is near: minimum, saddle or maximum alike. With |eigenvalue| in place
of the eigenvalue a step always goes down (or always up), which reaches minima (maxima) from afar; the last iterations
are plain in every case. |grad|^2 is never minimised: its other minima are gradient-flat regions, not critical points
(Frye et al., Neural Computation 33 (2021) 1469).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optbench.critical.budget import Spent
from optbench.critical.numeric.calculus import EPS, Array, Field, Jet

LONGEST_STEP = 0.1  # box widths
STRAY = 0.25  # box widths outside the box after which a seed is given up
SURE, LOST = 1 / 16, 1 / 4  # Kantorovich ratios: the eigenvalue's sign is sure; it may be zero
CONVERGED = 1e-9  # box widths: the last Newton step of an accepted point
GUIDED = 15  # iterations during which a descent or ascent seed stays one
PLAIN, DOWN, UP = 0, 1, -1


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition of n Hessians and the Newton step in it, in box units.

    Attributes:
        values: (n, d) eigenvalues, ascending.
        vectors: (n, d, d), columns are eigenvectors.
        slope: (n, d) gradient along each eigenvector.
        null: (n, d) True where the eigenvalue is within the rounding error of the eigensolver itself, i.e. the sign is
            not a result but an accident of rounding. (Not a tolerance on flatness: ~16 d eps of the largest.)
    """

    values: Array
    vectors: Array
    slope: Array
    null: npt.NDArray[np.bool_]


def spectrum(field: Field, jet: Jet) -> Spectrum:
    """Eigenvalues, eigenvectors and slopes of finite jets."""
    values, vectors = np.linalg.eigh(jet.hess)
    size = np.abs(values).max(axis=1)
    slope = np.einsum("nij,ni->nj", vectors, jet.grad)
    null = np.abs(values) <= 16 * field.dim * EPS * size[:, None]
    return Spectrum(values, vectors, slope, null)


def gradient_noise(field: Field, x: Array, jet: Jet) -> Array:
    """(n,) rounding error of the gradient at x (n, d): what the point itself costs, and what is measured nearby.

    A step of 1e-11 box widths changes the gradient by the Hessian times the step and nothing else that float64 can see;
    what it changes beyond that is rounding (the idea of Moré and Wild, SIAM J. Sci. Comput. 33 (2011) 1292). It is
    large where big terms cancel, as in (x - 0.3)^3 written out.
    """
    noise = EPS * np.abs(jet.hess).max(axis=(1, 2)) * (1.0 + np.abs(x / field.width).max(axis=1))
    for step in 1e-11 * np.random.default_rng(0).uniform(-1.0, 1.0, (6, field.dim)):
        moved = x + step * field.width
        real = (moved - x) / field.width
        with np.errstate(invalid="ignore", over="ignore"):
            error = field.gradient(moved)[1] - jet.grad - np.einsum("nij,nj->ni", jet.hess, real)
        noise = np.fmax(noise, np.abs(error).max(axis=1))
    return np.asarray(noise)


def distance_bound(field: Field, x: Array, jet: Jet) -> Array:
    """(n,) gradient plus its rounding error: over |lambda_i|, a first-order bound on the distance to the true point."""
    return np.asarray(np.sqrt(field.dim) * np.abs(jet.grad).max(axis=1) + gradient_noise(field, x, jet))


def newton_step(found: Spectrum, mode: npt.NDArray[np.int_]) -> Array:
    """(n, d) step in box widths, not longer than LONGEST_STEP; flat directions are left alone."""
    curvature = np.where(mode[:, None] == PLAIN, found.values, mode[:, None] * np.abs(found.values))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        parts = np.where(found.null, 0.0, -found.slope / curvature)
    parts = np.clip(parts, -1e3, 1e3)
    step = np.einsum("nij,nj->ni", found.vectors, parts)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, LONGEST_STEP / np.maximum(length, LONGEST_STEP)))


def accepted(field: Field, x: Array, jet: Jet) -> npt.NDArray[np.bool_]:
    """(n,) True where a finite jet is that of a critical point, up to rounding.

    Two conditions: the Newton step is below CONVERGED box widths, and the slope along directions without curvature
    (which no step can reduce) is within the rounding error of the gradient.
    """
    found = spectrum(field, jet)
    step = np.abs(newton_step(found, np.zeros(len(x), dtype=int))).max(axis=1, initial=0.0)
    flat_slope = np.abs(np.where(found.null, found.slope, 0.0)).max(axis=1, initial=0.0)
    good = step <= CONVERGED
    ask = good & (flat_slope > 0)
    if ask.any():
        good[ask] = flat_slope[ask] <= 16 * gradient_noise(field, x[ask], jet[ask])
    return np.asarray(good)


def refine(field: Field, seeds: Array, mode: npt.NDArray[np.int_], iterations: int = 80) -> Array:
    """Critical points that Newton reaches from the seeds: (m, d), m <= n, with repetitions.

    A degenerate point is reached linearly (a third-order one gains one binary digit a step), hence the many
    iterations; the ordinary seeds stop after five to ten. Where the field's budget ends, so does this, with the points
    reached so far.

    Args:
        field: the objective on its box.
        seeds: (n, d).
        mode: (n,) PLAIN, DOWN or UP for each seed.
        iterations: most steps of a seed.
    """
    done: list[Array] = []
    with suppress(Spent):
        _refine(field, seeds, mode, iterations, done)
    return np.concatenate(done) if done else np.empty((0, field.dim))


def _refine(field: Field, seeds: Array, mode: npt.NDArray[np.int_], iterations: int, done: list[Array]) -> None:
    """Appends the points that Newton reaches from the seeds to `done`, as they converge."""
    x, mode = seeds.copy(), mode.copy()
    for k in range(iterations + 1):
        jet = field.jet(x)
        keep = jet.finite() & (field.outside(x) <= STRAY)
        x, mode = x[keep], mode[keep]
        if not len(x):
            break
        jet = jet[keep]
        found = spectrum(field, jet)
        step = newton_step(found, mode if k < GUIDED else np.zeros_like(mode))
        floor = 2 * EPS * np.maximum(1.0, np.abs(x / field.width).max(axis=1))
        stop = (np.abs(step).max(axis=1) <= floor) | (k == iterations)
        if stop.any():
            ok = accepted(field, x[stop], jet[stop])
            done.append(x[stop][ok])
        x, mode = (x + step * field.width)[~stop], mode[~stop]


def sign_trust(field: Field, x: Array, jet: Jet, found: Spectrum) -> Array:
    """(n, d) Kantorovich ratio r_i = d_i L_i / |lambda_i| of each eigenvalue at converged points x (n, d).

    d_i bounds the distance of the true point along eigenvector i, L_i is the change of the Hessian per distance,
    measured at x +- 2 d_i v_i. r is dimensionless and does not depend on the scale of x or f: r < 1/16 means that the
    Hessian cannot change sign between x and the true point; r > 1/4 means that it may vanish there. Infinite where the
    eigenvalue is within rounding of zero. No threshold on the eigenvalue itself can do this.

    Source: Kantorovich's theorem (h = beta eta K <= 1/2); the two limits were measured on 516 nondegenerate points
    (largest r 1.4e-9) and on every degenerate one of the truth table (smallest 0.38).
    """
    n, dim = x.shape
    size = np.abs(found.values)
    error = distance_bound(field, x, jet)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.clip(np.where(size > 0, error[:, None] / size, np.inf), 1e-14, 0.1)
    ratio = np.full((n, dim), np.inf)
    for i in range(dim):
        change = np.full(n, np.nan)
        for side in (2.0, -2.0):
            shift = side * distance[:, i, None] * found.vectors[:, :, i]
            other = field.jet(x + shift * field.width).hess
            with np.errstate(invalid="ignore"):
                change = np.fmax(change, np.abs(other - jet.hess).sum(axis=2).max(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio[:, i] = np.where(found.null[:, i], np.inf, 0.5 * change / size[:, i])
    return np.asarray(np.nan_to_num(ratio, nan=np.inf))
