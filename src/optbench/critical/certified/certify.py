"""All critical points of a surface in a box, with proof: the public entry of the certified enumerator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optbench.critical.arithmetic.ends import Array, Mask
from optbench.critical.budget import Budget, Progress, Spent
from optbench.critical.certified.clusters import Region, regions
from optbench.critical.certified.distinct import distinct
from optbench.critical.certified.enumerate import Search
from optbench.critical.certified.germ_points import exact_points
from optbench.critical.certified.product import listed, many, multiplied, search_parts
from optbench.critical.certified.wording import ASSUMPTION, cluster_of, is_point, point_of
from optbench.critical.certified.zoom import resolved
from optbench.critical.points.describe import edge_text
from optbench.critical.points.found import ORDER, Basis, CriticalPoint, CriticalSet, Winding, kind_of
from optbench.critical.points.verdicts import SHOWN
from optbench.critical.proofs.boxes import Trail, middle_of
from optbench.critical.proofs.edge import INSIDE, OUTSIDE, places, reaches
from optbench.critical.proofs.faithful import check_faithful
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.inertia import eigenvalue_ranges
from optbench.critical.proofs.winding import certified_winding
from optbench.errors import UserError
from optbench.problem import Box, Objective

MAX_BOXES = 2_000_000
DEPTH = 1e-7  # of the domain: what is not decided at this width stays undecided


def certify(
    objective: Objective,
    box: Box,
    *,
    name: str = "surface",
    max_boxes: int = MAX_BOXES,
    seconds: float = 60.0,
    budget: Budget | None = None,
    depth: float = DEPTH,
    progress: Progress | None = None,
    trail: Trail | None = None,
) -> CriticalSet:
    """Proves what critical points the box holds, as far as the budgets reach.

    Every point with basis "proved" exists, is the only critical point within its enclosure, and has the type and Morse
    index given; it lies in the closed box unless `inside` is False. `complete` is True if the box is proved to hold
    no others.

    Args:
        objective: torch callable (..., d) -> (...), of operations that have an interval rule.
        box: (low, high) of each of the d axes.
        name: of the surface, for the report.
        max_boxes: boxes examined at most.
        seconds: wall time, kept to within a fifth and a second.
        budget: of time and memory, in place of `seconds`.
        depth: width, relative to the box, below which a region is left undecided.
        progress: called with the share of the volume that is done (0..1) and a phrase.
        trail: told what became of every box examined.

    Raises:
        MissingRule: the objective uses an operation without an interval rule; search numerically instead.
        UserError: a bad box or budget, or a function that is finite nowhere in the box.

    Source: R. B. Kearfott, Rigorous Global Search: Continuous Problems (1996); A. Neumaier (1990), see `krawczyk`.
    """
    _check(box, max_boxes, depth)
    budget = Budget(seconds) if budget is None else budget
    field = Field(objective, box)
    check_faithful(field)
    field.budget = budget
    search = Search(field, depth, max_boxes, budget, progress, trail)
    parts = search_parts(search)
    if many(search, parts):
        budget.sort_out()
        result = multiplied(search, name, parts, _conclude)
    else:
        if not listed(search, parts):
            search.run()
        budget.sort_out()
        result = _conclude(search, name)
    return replace(result, seconds=budget.elapsed())


def _conclude(search: Search, name: str) -> CriticalSet:
    """What a finished search has proved."""
    field = search.field
    box = tuple(zip(field.low.tolist(), field.high.tolist(), strict=True))
    low, high, inside, overlaps = _distinct(search)
    points = _certified(field, low, high, inside)
    settled, found = _exact_points(field, regions(search, low, high), low, high)
    if _looked_closer(search, found):
        return _conclude(search, name)
    budget, field.budget = field.budget, None  # describe what was found, however long it takes
    points += settled
    points += [_degenerate(field, region) for region in found if is_point(region, field.width)]
    nowhere = field.undefined_share()
    field.budget = budget
    points.sort(key=lambda p: (ORDER[p.type], p.x))
    clusters = tuple(cluster_of(r, field.width) for r in found if not is_point(r, field.width))
    winding = _winding(field, points, found)
    notes = (
        ASSUMPTION,
        *([f"no winding number: {winding.reason}"] if winding.number is None and len(box) <= 2 else []),
        *([f"f is undefined in at least {100 * nowhere:.3g} % of the box, which is excluded"] if nowhere else []),
    )
    result = CriticalSet(
        name, box, "certified", False, "", winding.number, tuple(points), clusters, 0.0, search.boxes, notes,
        exhaustive=not (search.stopped or found or overlaps),
    )  # fmt: skip
    why = _open_questions(search, result, found, overlaps)
    return replace(result, complete=not why, why=why or SHOWN["complete"])


def _looked_closer(search: Search, found: list[Region]) -> bool:
    """Whether a closer look at the small regions has resolved one."""
    try:
        small = [r for r in found if r.smooth and is_point(r, search.field.width)]
        looks = [resolved(search, region) for region in small]  # at each of them
        return any(looks)
    except Spent:
        return False


def _exact_points(
    field: Field, found: list[Region], low: Array, high: Array
) -> tuple[list[CriticalPoint], list[Region]]:
    """The points that `exact_points` proves in regions, and the regions that are left."""
    try:
        return exact_points(field, found, low, high)
    except Spent:
        return [], found


def _check(box: Box, max_boxes: int, depth: float) -> None:
    if not box or any(not (np.isfinite([a, b]).all() and a < b and np.isfinite(b - a)) for a, b in box):
        raise UserError(f"box {box}: expected finite pairs (low, high) with low < high")
    if max_boxes < 1 or not 0 < depth < 1:
        raise UserError(f"max_boxes={max_boxes}, depth={depth}: expected at least one box and 0 < depth < 1")


def _distinct(search: Search) -> tuple[Array, Array, Mask, int]:
    """Enclosures of the distinct points that the box holds or may hold, polished; which of them are proved to be
    inside; and how many pairs could not be told apart.
    """
    apart = distinct(search)
    found = places(search.field, apart.low, apart.high, apart.unique_low, apart.unique_high)
    here = found.where != OUTSIDE
    return found.low[here], found.high[here], found.where[here] == INSIDE, apart.overlaps


def _certified(field: Field, low: Array, high: Array, inside: Mask) -> list[CriticalPoint]:
    """The certified points with their proved types; inside (n,): which of them are proved to lie in the box."""
    if not len(low):
        return []
    field.budget, budget = None, field.budget  # describe what was found, however long it takes
    eigen_low, eigen_high = eigenvalue_ranges(field.enclose(low, high, 2).hess)
    x = middle_of(low, high) + 0.0  # no -0.0
    reach = np.where(inside, 0.0, reaches(field, low, high))
    radius = np.where(high > low, np.nextafter(np.maximum(high - x, x - low), np.inf), 0.0).max(axis=1)
    value, grad, centers = _at(field, x)
    field.budget = budget
    edge = np.asarray(((low <= field.low) | (high >= field.high)).any(axis=1))
    points = []
    for i in range(len(x)):
        positive, negative = int((eigen_low[i] > 0).sum()), int((eigen_high[i] < 0).sum())
        sure = positive + negative == field.dim
        kind = kind_of(negative, field.dim) if sure else "degenerate"
        basis: Basis = "proved" if sure else "undecided"
        points.append(
            CriticalPoint(
                x=tuple(x[i].tolist()),
                value=float(value[i]),
                grad_norm=float(grad[i]),
                eigenvalues=tuple(np.clip(np.linalg.eigvalsh(centers[i]), eigen_low[i], eigen_high[i]).tolist()),
                type=kind,
                morse_index=negative if sure else None,
                basis=basis,
                radius=float(radius[i]),
                index=(-1) ** negative if sure else None,
                verdict=kind if kind != "degenerate" else "undecided",
                wording=""
                if sure
                else "proved to exist and to be nondegenerate; the signs of its eigenvalues are open",
                on_boundary=bool(edge[i]),
                inside=bool(inside[i]),
                reach=float(reach[i]),
                eigenvalue_bounds=tuple(zip(eigen_low[i].tolist(), eigen_high[i].tolist(), strict=True)),
            )
        )
    return points


def _at(field: Field, x: Array) -> tuple[Array, Array, Array]:
    """Value in floating point, |gradient| and Hessian by the middle of their enclosures, at x (n, d)."""
    at = field.at(x, 2)
    with np.errstate(all="ignore"):
        grad, hess = (0.5 * v[0] + 0.5 * v[1] for v in (at.grad, at.hess))
        value = np.clip(field.values(x), at.value[0], at.value[1])
        return value, np.linalg.norm(grad, axis=1), hess


def _degenerate(field: Field, region: Region) -> CriticalPoint:
    field.budget, budget = None, field.budget
    value, grad, hess = _at(field, 0.5 * (region.low + region.high)[None])
    field.budget = budget
    eigenvalues = np.linalg.eigvalsh(hess[0]) if region.smooth else np.empty(0)
    return point_of(region, field.width, float(value[0]), float(grad[0]), eigenvalues)


def _winding(field: Field, points: list[CriticalPoint], found: list[Region]) -> Winding:
    if any(point.on_boundary for point in points) or any(region.touches_edge for region in found):
        return Winding(None, "a critical point or an undecided region lies on the edge of the box")
    try:
        return certified_winding(field, field.low, field.high)
    except Spent as reason:
        return Winding(None, str(reason))


def _open_questions(search: Search, result: CriticalSet, found: list[Region], overlaps: int) -> str:
    """Why the list is not proved complete; empty where it is."""
    reasons = []
    if search.stopped:
        reasons.append(search.stopped)
    if found:
        low, high = search.open_boxes()
        share = float(np.prod((high - low) / search.field.width, axis=1).sum())
        plural = "regions are" if len(found) > 1 else "region is"
        reasons.append(
            f"{len(found)} {plural} not resolved; outside there is proved to be nothing else, which covers "
            f"{_percent(1.0 - share)} of the box"
        )
    if not search.stopped and any(cluster.kind == "undecided" for cluster in result.clusters):
        reasons.append(f"a depth below {search.depth:g} (--depth) may resolve more")
    unknown = sum(p.basis == "undecided" and p.eigenvalue_bounds != () for p in result.points)
    if unknown:
        reasons.append(f"the type of {unknown} certified point{'s' * (unknown > 1)} is open")
    if result.at_edge:
        many = len(result.at_edge) > 1
        reasons.append(f"{edge_text(result)}: whether {'they lie' if many else 'it lies'} inside is not proved")
    if overlaps:
        reasons.append(f"{overlaps} pair{'s' * (overlaps > 1)} of certified points could not be told apart")
    if not reasons and result.mismatch:
        reasons.append("the index sum is not the winding number, which contradicts the proof: please report this")
    return "; ".join(reasons)


def _percent(share: float) -> str:
    """A share that is never rounded up to 100 %."""
    if share >= 1.0 - 1e-12:
        return "all but 1e-12"
    missing = 1.0 - share
    return f"{100 * share:.3g} %" if missing > 1e-3 else f"all but {missing:.1g}"
