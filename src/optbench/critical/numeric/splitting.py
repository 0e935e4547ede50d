"""The splitting lemma at work: what a function is like along the directions in which its Hessian says nothing.

Near a critical point x, f is a quadratic form in the directions P whose curvature is sure plus a function F(t) of the
others, F(t) = f(x + N t + P y(t)), y(t) making the gradient along P vanish (Gromoll and Meyer, Topology 8 (1969) 361).
So f has a minimum at x exactly if F has and no curvature along P is negative. A Taylor test along the null direction
alone is wrong: Peano's (y - x^2)(y - 3 x^2) is +3 t^4 along it and -t^4 along y(t).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optbench.critical.numeric.calculus import EPS, Array, Field

LADDER = np.array([1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01])  # radii of the spheres, of the largest one
FAN = 720  # directions tried on a sphere
DESCENTS = 8  # of them, the lowest: followed downhill on the sphere, in three and more flat directions


@dataclass(frozen=True)
class Sphere:
    """The reduced function on one sphere: `radius` in box widths, lowest and highest F - f(x), in units of f."""

    radius: float
    lowest: float
    highest: float


def reduced_spheres(
    field: Field, x: Array, vectors: Array, sure: npt.NDArray[np.bool_], largest: float
) -> list[Sphere]:
    """F - f(x) on spheres of the unsure directions, the largest first; changes within the rounding of f count as zero.

    Args:
        field: the objective on its box.
        x: (d,) the critical point.
        vectors: (d, d), eigenvectors of the Hessian in the columns, in box units.
        sure: (d,) which of them span P.
        largest: radius of the largest sphere, in box widths.
    """
    null, fixed = vectors[:, ~sure], vectors[:, sure]
    if not null.shape[1]:
        return []
    start = float(field.value(x[None])[0])
    spheres = []
    for radius in largest * LADDER:
        fan = directions(null.shape[1], FAN)
        points = _lift(field, x, null, fixed, radius, fan)
        if null.shape[1] > 2:
            points = np.concatenate([points, _descend(field, x, null, fixed, radius, fan, points)])
        # Also outside the box: whether a point on its edge is a minimum is a question about f, not about the box.
        value = field.value(points[np.isfinite(points).all(axis=1)])
        value = value[np.isfinite(value)]
        if len(value):
            change = value - start
            change[np.abs(change) <= 16 * EPS * np.maximum(np.abs(value), abs(start))] = 0.0
            spheres.append(Sphere(float(radius), float(change.min()), float(change.max())))
    return spheres


def _lift(field: Field, x: Array, null: Array, fixed: Array, radius: float, fan: Array) -> Array:
    """x + N t + P y(t) for the unit vectors t/radius in the rows of `fan`."""
    return _solve_fixed(field, x + radius * (fan @ null.T) * field.width, fixed, 3.0 * radius)


def _descend(field: Field, x: Array, null: Array, fixed: Array, radius: float, fan: Array, points: Array) -> Array:
    """Minimises F on the sphere from its lowest sampled points: a narrow way down escapes a sample in many dimensions.

    The gradient of F is that of f along N, because f is stationary along P.
    """
    best = np.argsort(np.nan_to_num(field.value(points), nan=np.inf), kind="stable")[:DESCENTS]
    t, at = fan[best], points[best]
    step = np.full(len(t), 0.3)
    value, grad = field.gradient(at)
    for _ in range(30):
        slope = np.nan_to_num(grad @ null)
        along = slope - (slope * t).sum(axis=1, keepdims=True) * t
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), np.finfo(float).tiny)
        trial = t - step[:, None] * along
        trial /= np.linalg.norm(trial, axis=1, keepdims=True)
        there = _lift(field, x, null, fixed, radius, trial)
        new_value, new_grad = field.gradient(there)
        better = new_value < value
        t, at = np.where(better[:, None], trial, t), np.where(better[:, None], there, at)
        value, grad = np.where(better, new_value, value), np.where(better[:, None], new_grad, grad)
        step = np.where(better, step, 0.5 * step)
    return at


def _solve_fixed(field: Field, points: Array, fixed: Array, reach: float) -> Array:
    """Moves points (n, d) along the columns of `fixed` until the gradient along them vanishes, else to NaN."""
    if not fixed.shape[1] or not len(points):
        return points
    origin = points
    for _ in range(8):
        jet = field.jet(points)
        usable = jet.finite()
        inner = np.einsum("ia,nij,jb->nab", fixed, jet.hess[usable], fixed)
        slope = jet.grad[usable] @ fixed
        step = np.full_like(points, np.nan)
        step[usable] = -np.einsum("nab,nb->na", np.linalg.pinv(inner), slope) @ fixed.T
        points = points + step * field.width
        if not np.nanmax(np.abs(step), initial=0.0) > 1e-12 * reach:
            break
    far = ~(np.linalg.norm((points - origin) / field.width, axis=1) <= reach)
    points[far] = np.nan
    return points


def directions(dim: int, count: int) -> Array:
    """Unit vectors (n, dim): both signs in 1-D, a regular fan in 2-D, Sobol points and the axes beyond."""
    if dim == 1:
        return np.array([[1.0], [-1.0]])
    if dim == 2:
        angle = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    from scipy.stats import qmc  # half a second to import: only where it is needed

    normal = qmc.MultivariateNormalQMC(np.zeros(dim), engine=qmc.Sobol(dim, seed=0)).random(
        1 << (count - 1).bit_length()
    )
    axes = np.concatenate([np.eye(dim), -np.eye(dim)])
    return np.concatenate([axes, normal / np.linalg.norm(normal, axis=1, keepdims=True)])
