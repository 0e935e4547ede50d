"""From thousands of converged seeds to distinct points: which are the same, which can be trusted, which are connected.

Trusted points (the sign of every eigenvalue is sure) are isolated by theory and only need to be told from their own
copies. The others are gathered, and neighbours are tried for a critical point between them: an isolated point pulls
the seed in the middle to itself, a curve of critical points holds it where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from optbench.critical.budget import Budget
from optbench.critical.numeric.calculus import EPS, Array, Field, Jet
from optbench.critical.numeric.newton import SURE, distance_bound, refine, sign_trust, spectrum

COPY = 1e-9  # box widths: copies of one point differ by rounding
SCATTER = 1e-4  # box widths: how far apart Newton may stall round one degenerate point
THIN = 0.02  # box widths between the points that stand for a continuum
REACH = 0.15  # box widths: farthest neighbours that are tried for a point between them
NEIGHBOURS = 3  # of a trusted point, that are tried for being the same one
ON_THE_WAY = (1.0, 0.47, 0.21, 0.76)  # to a neighbour: where the Hessian is looked at
MOST_ISOLATED = 60  # more untrusted points than this are first thinned
ALL_PAIRS = MOST_ISOLATED**2 // 2


@dataclass(frozen=True)
class Groups:
    """Distinct critical points.

    Attributes:
        sure: (n, d) nondegenerate points.
        radius: (n,) bound on their error, in box widths.
        doubtful: (m, d) isolated points at which an eigenvalue's sign is not sure.
        continua: for each curve or surface of critical points, (k, d) points that stand for it.
    """

    sure: Array
    radius: Array
    doubtful: Array
    continua: tuple[Array, ...]


def sort_out(field: Field, found: Array) -> Groups:
    """Groups of the critical points `found` (n, d), repetitions and all; those outside the box are dropped."""
    found = _without_copies(field, found)
    jet = field.jet(found)
    spec = spectrum(field, jet)
    ratio = sign_trust(field, found, jet, spec)
    trusted = (ratio < SURE).all(axis=1)
    error = _error(field, found, jet, spec.values)
    sure, radius = _distinct(field, found[trusted], error[trusted])
    rest = found[~trusted & (field.outside(found) <= 1e-7)]
    if len(sure) and len(rest):
        rest = rest[cKDTree(sure / field.width).query(rest / field.width)[0] > 1e-7]
    doubtful, continua = _hang_together(field, rest)
    return Groups(sure, radius, doubtful, continua)


def gather(
    points: Array, radius: Array, most: int | None = None, budget: Budget | None = None
) -> npt.NDArray[np.int_] | None:
    """Indices of representatives, first come first kept: every point is within its representative's radius (n,).

    None when there would be more than `most` of them.
    """
    kept: list[int] = []
    free = np.ones(len(points), dtype=bool)
    for i in range(len(points)):
        if free[i]:
            kept.append(i)
            if most is not None and len(kept) > most:
                return None
            if budget is not None and len(kept) % 256 == 0:
                budget.poll()
            free &= np.linalg.norm(points - points[i], axis=1) > radius + radius[i]
    return np.array(kept, dtype=int)


def _error(field: Field, x: Array, jet: Jet, values: Array) -> Array:
    """(n,) first-order bound on the distance to the true point, in box widths."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(distance_bound(field, x, jet) / np.abs(values).min(axis=1))


def _without_copies(field: Field, x: Array) -> Array:
    """Rows of x that differ by more than COPY, in a fixed order, near or inside the box."""
    x = x[field.outside(x) <= 1e-7]
    _, first = np.unique(np.round(x / field.width / COPY), axis=0, return_index=True)
    return x[first]


def _distinct(field: Field, x: Array, error: Array) -> tuple[Array, Array]:
    """One row for each trusted point inside the box, best first, and its error."""
    inside = field.outside(x) <= 4 * (EPS + error)  # or not known to be outside
    x, error = x[inside], error[inside]
    order = np.lexsort((*x.T[::-1], error))
    x, error, before = x[order], error[order], len(x) + 1
    while len(x) < before:
        before = len(x)
        x, error = _without_noise(field, x, error)
    kept = gather(x / field.width, COPY + 4 * error, budget=field.budget)
    assert kept is not None
    order = np.lexsort(x[kept].T[::-1])
    return x[kept][order], error[kept][order]


def _without_noise(field: Field, x: Array, error: Array) -> tuple[Array, Array]:
    """One row for zeros of the computed gradient that are one zero of the true one, its error as wide as their scatter.

    From one true zero to the next the gradient grows and falls again, so the Hessian must change on the way. Where it
    stays as it is, and the gradient should have grown by H s, two zeros are rounding: big terms cancel there.
    """
    n = len(x)
    if n < 2:
        return x, error
    scaled = x / field.width
    near = cKDTree(scaled).query(scaled, k=min(NEIGHBOURS + 1, n))[1][:, 1:]
    first, second = np.repeat(np.arange(n), near.shape[1]), near.ravel()
    step, hess = scaled[second] - scaled[first], field.jet(x).hess
    growth = np.einsum("nij,nj->ni", hess[first], step)
    same = np.ones(len(first), dtype=bool)
    for t in ON_THE_WAY:
        at = np.flatnonzero(same)
        there = field.jet(x[first[at]] + t * step[at] * field.width).hess
        change = np.einsum("nij,nj->ni", there - hess[first[at]], step[at])
        same[at] = np.linalg.norm(change, axis=1) < 0.25 * np.linalg.norm(growth[at], axis=1)
    edges = coo_matrix((same[same], (first[same], second[same])), shape=(n, n))
    label = np.asarray(connected_components(edges, directed=False)[1])
    kept, scatter = [], []
    for members in np.split(np.argsort(label, kind="stable"), np.cumsum(np.bincount(label))[:-1]):
        distance = np.linalg.norm(scaled[members] - scaled[members].mean(axis=0), axis=1)
        kept.append(members[distance.argmin()])
        scatter.append(
            2.0 * float(distance.max()) + float(error[members].max()) if len(members) > 1 else error[members[0]]
        )
    order = np.argsort(kept)
    return x[np.array(kept)[order]], np.array(scatter)[order]


def _hang_together(field: Field, x: Array) -> tuple[Array, tuple[Array, ...]]:
    """Splits untrusted points into isolated ones and continua."""
    if not len(x):
        return x, ()
    order = np.lexsort((*x.T[::-1], np.abs(field.gradient(x)[1]).max(axis=1)))
    x = x[order]
    scaled = x / field.width
    kept = gather(scaled, np.full(len(x), SCATTER / 2), MOST_ISOLATED)
    if kept is None:
        kept = np.unique(np.floor(scaled / THIN), axis=0, return_index=True)[1]  # the best of each cell
    label = _joined(field, x[kept])
    nearest = label[cKDTree(scaled[kept]).query(scaled)[1]]
    alone, together = [x[:0]], []
    for k in range(label.max() + 1):
        if (label == k).sum() <= 2:
            alone.append(x[kept][label == k][:1])
        else:
            together.append(np.clip(x[nearest == k], field.low, field.high))  # samples: their hull is in the box
    return np.concatenate(alone), tuple(group[np.lexsort(group.T[::-1])] for group in together)


def _joined(field: Field, x: Array) -> npt.NDArray[np.int_]:
    """(n,) labels: neighbours with a critical point of their own between them share a label."""
    n = len(x)
    pairs = cKDTree(x / field.width).query_pairs(REACH, output_type="ndarray")
    if not len(pairs):
        return np.arange(n)
    gap = np.linalg.norm((x[pairs[:, 0]] - x[pairs[:, 1]]) / field.width, axis=1)
    nearest = np.argsort(gap, kind="stable")[: max(6 * n, ALL_PAIRS)]
    pairs, gap = pairs[nearest], gap[nearest]
    middle = 0.5 * (x[pairs[:, 0]] + x[pairs[:, 1]])
    held = _held(field, middle, gap)
    edges = coo_matrix((held[held], (pairs[held, 0], pairs[held, 1])), shape=(n, n))
    return np.asarray(connected_components(edges, directed=False)[1])


def _held(field: Field, middle: Array, gap: Array) -> npt.NDArray[np.bool_]:
    """(n,) True where Newton from the middle of a pair ends near the middle, not at one of the pair."""
    ends = refine(field, middle, np.zeros(len(middle), dtype=int))
    if not len(ends):
        return np.zeros(len(middle), dtype=bool)
    distance = cKDTree(ends / field.width).query(middle / field.width)[0]
    return np.asarray(distance < 0.3 * gap)
