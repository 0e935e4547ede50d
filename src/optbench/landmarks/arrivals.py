"""Where runs stopped: the critical point that each last iterate belongs to, and how the surface curves where it is.

The list of critical points comes first: certified (`certified.certify`), up to LISTED_UP_TO coordinates and BOXES
boxes, which take well under a second. An end belongs to a listed point, of whatever type, within CLOSE of the radius of
`disks`, and to a minimum in its whole disk if it is so low that no descent leads away. Of a continuum (a valley) no
point is listed: there an end belongs to it if Newton's method across the steep directions reaches a zero of the
gradient within the continuum, no further away than CLOSE of the radius.

Where there is no such list (more coordinates, too many boxes, an operation without an interval rule) each end is looked
at by itself: plain Newton from it, and the same rule for the point that this leads to. The type is then numerical, and
"degenerate" where an eigenvalue is too near 0 to trust its sign. Newton does not lead to a minimizer without a Hessian
(the tip of a cone); the surface itself names those.

What is at no critical point says so by having none; nothing is guessed, and outside the box nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optbench.critical.numeric.calculus import Array, Field, Jet, Jets
from optbench.critical.numeric.newton import CONVERGED, PLAIN, SURE, newton_step, refine, sign_trust, spectrum
from optbench.critical.points.describe import box_text, name_of, place_text
from optbench.critical.points.found import Cluster, CriticalPoint, CriticalSet, Kind, type_of
from optbench.landmarks.disks import Disks, disks_round, usual_radius

if TYPE_CHECKING:
    from optbench.problem import Box, Objective

CLOSE = 0.1  # of the radius: as near as that an end is at a critical point of any type, or at a continuum
LISTED_UP_TO = 4  # coordinates: beyond, the budget would be spent in vain at the end of most runs
BOXES = 10_000  # the certified search is given up after as many: the same list on a fast and on a slow machine
FLAT = 1e-3  # of the largest eigenvalue: directions along a continuum
AT_REST = 1e-6  # of the largest eigenvalue x the distance that counts as near: the gradient of a continuum, to rounding
STEPS = 10
CELL = 0.25  # of the radius: of the ends within as much, one is followed by Newton's method
_WORDS = {"continuum": "continuum", "flat": "flat region", "kinks": "kinks", "undecided": "unresolved region"}

Flags = npt.NDArray[np.bool_]
_Names = list[tuple[str, Kind] | None]


@dataclass(frozen=True)
class Arrival:
    """What one end is; every field is a column of the `runs` table.

    Attributes:
        stopped_at: name of the critical point or region, the same for every run that stopped there; None: at none.
        critical_type: its type; None: at none.
        lambda_min: smallest eigenvalue of the Hessian at the end itself; None where there is no finite Hessian.
    """

    stopped_at: str | None = None
    critical_type: Kind | None = None
    lambda_min: float | None = None


@dataclass(frozen=True)
class Landmarks:
    """The critical points of a surface, ready to be compared with ends.

    Attributes:
        objective: (..., d) to (...), float64, or one that knows its derivatives without torch.
        box: (low, high) of each axis.
        found: the certified list; None where there is none, and every end is looked at by itself.
        disks: round the listed points.
        tips: known minimizers without a Hessian, where there is no list.
    """

    objective: Objective | Jets
    box: Box
    found: CriticalSet | None
    disks: Disks
    tips: tuple[CriticalPoint, ...] = ()

    @property
    def near(self) -> float:
        """Distance within which an end is at a point of any type, or at a continuum."""
        return CLOSE * self.disks.radius

    def arrivals(self, x: Array) -> list[Arrival]:
        """What each of the ends x (rows, d) is."""
        field = Field(self.objective, self.box)
        jet = field.jet(x)
        usable = jet.finite() & np.isfinite(x).all(axis=1)
        lowest = np.full(len(x), np.nan)
        lowest[usable] = np.linalg.eigvalsh(field.native(jet[usable]).hess)[:, 0]
        names: _Names = [None] * len(x)
        if self.found is not None:
            _enter(names, self.disks.holding(x, jet.value, CLOSE), self.found.points)
            for cluster in self.found.clusters:
                left = np.array([name is None for name in names], dtype=bool)
                for row in np.flatnonzero(left)[self._on(cluster, field, x[left])]:
                    names[row] = (_region_name(cluster, self.near), "degenerate")
        else:
            self._enter_by_newton(names, field, x, jet, usable)
        least = [float(value) if np.isfinite(value) else None for value in lowest]
        return [
            Arrival(lambda_min=value) if name is None else Arrival(name[0], name[1], value)
            for name, value in zip(names, least, strict=True)
        ]

    def _on(self, cluster: Cluster, field: Field, x: Array) -> Flags:
        """(rows,) which ends belong to a region that is not a single point."""
        low, high = np.array(cluster.box).T
        beside = np.linalg.norm(np.maximum(np.maximum(low - x, x - high), 0.0), axis=1) <= self.near
        if _is_small(cluster, self.near) or not beside.any():
            return np.asarray(beside)
        on = np.zeros(len(x), dtype=bool)
        if cluster.kind in ("continuum", "flat"):
            on[beside] = self._settles(field, x[beside], low, high)
        return on

    def _settles(self, field: Field, x: Array, low: Array, high: Array) -> Flags:
        """(rows,) whether Newton's method across the steep directions finds a zero of the gradient within reach."""
        place = x
        for k in range(STEPS + 1):
            jet = field.native(field.jet(place))
            usable = jet.finite()
            grad = np.where(usable[:, None], jet.grad, np.inf)
            hess = np.where(usable[:, None, None], jet.hess, 0.0)
            if k < STEPS:
                step = (
                    np.linalg.pinv(hess, rcond=FLAT, hermitian=True) @ np.where(usable[:, None], grad, 0.0)[..., None]
                )
                place = np.clip(place - step[..., 0], x - 2 * self.near, x + 2 * self.near)
        steep = np.abs(hess).sum(axis=2).max(axis=1)
        rest = np.linalg.norm(grad, axis=1) <= AT_REST * steep * self.near
        reached = np.linalg.norm(place - x, axis=1) <= self.near
        return np.asarray(rest & reached & ((place >= low - self.near) & (place <= high + self.near)).all(axis=1))

    def _enter_by_newton(self, names: _Names, field: Field, x: Array, jet: Jet, usable: Flags) -> None:
        """Names the ends for which there is no list: tips, and the points in the box to which Newton's method leads."""
        tips = disks_round(self.objective, self.tips, self.box, self.disks.radius).holding(x, jet.value, CLOSE)
        _enter(names, tips, self.tips)
        left = usable & (tips < 0)
        if not left.any():
            return
        step = newton_step(spectrum(field, jet[left]), np.full(int(left.sum()), PLAIN)) * field.width
        seeds = x[left][np.linalg.norm(step, axis=1) <= 2 * self.disks.radius]
        cells = np.floor(seeds / (CELL * self.disks.radius) + 0.37)  # off the origin, round which many ends lie
        seeds = seeds[np.unique(cells, axis=0, return_index=True)[1]]
        ends = refine(field, seeds, np.full(len(seeds), PLAIN)) if len(seeds) else seeds
        ends = ends[field.outside(ends) == 0]
        points = _points_at(field, ends) if len(ends) else []
        held = disks_round(self.objective, points, self.box, self.disks.radius).holding(x, jet.value, CLOSE)
        _enter(names, np.where(left, held, -1), points)


def landmarks(objective: Objective, box: Box, minimizers: Sequence[Sequence[float]] = ()) -> Landmarks:
    """The critical points of a surface in its box, or the means to tell one where an end is.

    Args:
        objective: (..., d) to (...), float64, twice differentiable almost everywhere.
        box: (low, high) of each axis.
        minimizers: known ones, of length d each; looked at where there is no list.
    """
    found = _certificate(objective, box)
    if found is None:
        nothing = Disks(np.empty((0, len(box))), usual_radius((), box), ())
        return Landmarks(objective, box, None, nothing, _tips(Field(objective, box), minimizers))
    radius = usual_radius(found.points, box)
    return Landmarks(objective, box, found, disks_round(objective, found.points, box, radius))


def _certificate(objective: Objective, box: Box) -> CriticalSet | None:
    """The certified list; None where there is none, or the budget does not reach."""
    from optbench.critical.certified import certify
    from optbench.critical.programs.scalar import MissingRule

    if len(box) > LISTED_UP_TO:
        return None
    try:
        found = certify(objective, box, max_boxes=BOXES)
    except MissingRule:
        return None
    return None if found.boxes >= BOXES or found.factors else found


def _points_at(field: Field, ends: Array) -> list[CriticalPoint]:
    """Converged ends of Newton's method as points, each once."""
    first = np.unique(np.round(ends / field.width, 6), axis=0, return_index=True)[1]
    places = ends[first]
    jet = field.jet(places)
    sure: Flags = np.asarray((sign_trust(field, places, jet, spectrum(field, jet)) < SURE).all(axis=1))
    native = field.native(jet)
    points = []
    for i, eigenvalues in enumerate(np.linalg.eigvalsh(native.hess)):
        kind: Kind = type_of(eigenvalues) if sure[i] else "degenerate"
        points.append(
            CriticalPoint(
                x=tuple(places[i].tolist()),
                value=float(native.value[i]),
                grad_norm=float(np.linalg.norm(native.grad[i])),
                eigenvalues=tuple(eigenvalues.tolist()),
                type=kind,
                morse_index=int((eigenvalues < 0).sum()) if sure[i] else None,
                basis="numerical" if sure[i] else "undecided",
                radius=10 * CONVERGED * float(field.width.max()),
                verdict=kind if kind != "degenerate" else "undecided",
            )
        )
    return points


def _tips(field: Field, minimizers: Sequence[Sequence[float]]) -> tuple[CriticalPoint, ...]:
    """The minimizers at which f has a value but no Hessian."""
    places = np.array(minimizers, dtype=np.float64).reshape(-1, field.dim)
    jet = field.jet(places)
    return tuple(
        CriticalPoint(
            tuple(place.tolist()), float(value), np.nan, (), "degenerate", None, "undecided", verdict="minimum"
        )
        for place, value, smooth in zip(places, jet.value, jet.finite(), strict=True)
        if np.isfinite(value) and not smooth
    )


def _enter(names: _Names, code: npt.NDArray[np.int64], points: Sequence[CriticalPoint]) -> None:
    known = [(name_of(point), point.type) for point in points]
    for row in np.flatnonzero(code >= 0):
        names[row] = known[code[row]]


def _is_small(cluster: Cluster, near: float) -> bool:
    return all(high - low <= near for low, high in cluster.box)


def _region_name(cluster: Cluster, near: float) -> str:
    if _is_small(cluster, near):
        return f"{_WORDS[cluster.kind]} {place_text([0.5 * (low + high) for low, high in cluster.box])}"
    return f"{_WORDS[cluster.kind]} {box_text(tuple((_short(low), _short(high)) for low, high in cluster.box))}"


def _short(value: float) -> float:
    return float(f"{value:.3g}")
