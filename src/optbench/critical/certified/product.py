"""A separable surface: its factors are searched one by one, and what is proved of them is combined.

The critical points of a sum of functions that share no coordinate (`separable`) are all combinations of critical points
of the functions, in every box; the Hessian there is made of theirs, so numbers of negative eigenvalues add up. A few
combinations are listed, and are judged one by one as if the whole box had been searched. Many are counted: the result
keeps the points of the factors, and the first of the combinations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, islice, product
from typing import NamedTuple

import numpy as np

from optbench.critical.arithmetic.ends import Array
from optbench.critical.certified.distinct import distinct
from optbench.critical.certified.enumerate import Search
from optbench.critical.certified.wording import ASSUMPTION
from optbench.critical.points.found import Cluster, CriticalPoint, CriticalSet, FactorSet, Verdict, kind_of
from optbench.critical.programs.program import Program
from optbench.critical.programs.separable import Factor, factors
from optbench.critical.proofs.field import Field

LEAST = 3  # coordinates from which factors are looked for: a plane is searched faster than taken apart
MOST_LISTED = 20_000  # combinations
WHOLE = 4  # coordinates up to which a surface is searched as a whole where a factor leaves something open
FIRST = 1000  # combinations that are listed of those that are counted
COMPLETE = "each factor is proved to have exactly the points listed; the critical points are all their combinations"


class Part(NamedTuple):
    """A factor, searched: its coordinates among those of the surface. Factors that are alike share a search."""

    coordinates: tuple[int, ...]
    search: Search


class FactorField(Field):
    """A factor on its box: a field that has a program and no code.

    Args:
        program: of the factor.
        low: lower corner of its box, (d,).
        high: upper corner.
    """

    def __init__(self, program: Program, low: Array, high: Array) -> None:
        self.program, self.dim = program, len(low)
        self.low, self.high, self.width = low, high, high - low

    def values(self, x: Array) -> Array:
        """f at the points x (n, d), the middle of its enclosure."""
        value = self.at(x, 0).value
        return np.asarray(0.5 * value[0] + 0.5 * value[1])


def search_parts(search: Search) -> list[Part]:
    """The factors of the search's surface, searched; none if it is not separable, or small."""
    field = search.field
    if field.dim < LEAST or search.trail is not None:
        return []
    found = factors(field.program)
    if len(found) == 1:
        return []
    known: dict[tuple[Program, bytes, bytes], Search] = {}
    parts = []
    for k, factor in enumerate(found):
        at = list(factor.coordinates)
        key = (factor.program, field.low[at].tobytes(), field.high[at].tobytes())
        if key not in known:
            known[key] = _searched(search, factor)
            search.boxes += known[key].boxes
        parts.append(Part(factor.coordinates, known[key]))
        search.progress((k + 1) / len(found), f"{k + 1} of {len(found)} factors searched")
    return parts


def _searched(search: Search, factor: Factor) -> Search:
    """A factor's own search, within what is left of the budgets."""
    field, at = search.field, list(factor.coordinates)
    own = FactorField(factor.program, field.low[at], field.high[at])
    own.budget = search.budget
    part = Search(own, search.depth, search.max_boxes, search.budget)
    part.run()
    return part


def many(search: Search, parts: Sequence[Part]) -> bool:
    """Whether the combinations are to be counted: too many to be listed, or a factor leaves something open that would
    be open many times over."""
    if not parts or _nothing(parts):
        return False
    count = math.prod(len(part.search.held) for part in parts)
    return count > MOST_LISTED or (search.field.dim > WHOLE and not all(map(_settled, parts)))


def listed(search: Search, parts: Sequence[Part]) -> bool:
    """Fills the search with the combinations of the points of its parts; False where a part leaves something open."""
    if _nothing(parts):
        return True
    if not parts or not all(map(_settled, parts)):
        return False
    points = [distinct(part.search) for part in parts]
    if any(p.overlaps for p in points):
        return False
    sizes = [len(p.low) for p in points]
    if 0 in sizes:
        return True
    index = np.unravel_index(np.arange(math.prod(sizes)), sizes)
    corners = [np.empty((math.prod(sizes), search.field.dim)) for _ in range(4)]
    for part, p, rows in zip(parts, points, index, strict=True):
        for corner, values in zip(corners, p[:4], strict=True):
            corner[:, list(part.coordinates)] = values[rows]
    search.held.add(corners[0], corners[1])
    search.unique.add(corners[2], corners[3])
    return True


def _settled(part: Part) -> bool:
    """Whether the part's search has left nothing open."""
    return not part.search.stopped and not len(part.search.open_boxes()[0])


def _nothing(parts: Sequence[Part]) -> bool:
    """Whether some part is proved to have no critical point: then the surface has none, whatever the others have."""
    return any(_settled(part) and not len(part.search.held) for part in parts)


def multiplied(
    search: Search, name: str, parts: Sequence[Part], conclude: Callable[[Search, str], CriticalSet]
) -> CriticalSet:
    """The result of a search whose combinations are counted.

    Args:
        search: of the surface.
        name: of the surface.
        parts: its factors.
        conclude: gives the result of a factor's search.
    """
    known: dict[int, CriticalSet] = {}
    for part in parts:
        if id(part.search) not in known:
            known[id(part.search)] = conclude(part.search, name)
    found = tuple(FactorSet(part.coordinates, known[id(part.search)]) for part in parts)
    box = tuple(zip(search.field.low.tolist(), search.field.high.tolist(), strict=True))
    why = [f"in {factor.title}: {factor.found.why}" for factor in found if not factor.found.complete]
    return CriticalSet(
        name,
        box,
        "certified",
        not why,
        "; ".join(why) or COMPLETE,
        None,
        _first(search.field, found),
        tuple(_widened(cluster, factor, box) for factor in found for cluster in factor.found.clusters),
        0.0,
        search.boxes,
        (ASSUMPTION,),
        exhaustive=all(factor.found.exhaustive for factor in found),
        factors=found,
    )


def _widened(cluster: Cluster, part: FactorSet, box: Sequence[tuple[float, float]]) -> Cluster:
    """A region of a factor as one of the surface: the other coordinates may be anything."""
    sides = list(box)
    for i, side in zip(part.coordinates, cluster.box, strict=True):
        sides[i] = side
    return replace(cluster, box=tuple(sides), index=None, values=(math.nan, math.nan),
                   wording=f"{part.title} here, the others anywhere: {cluster.wording}")  # fmt: skip


def _first(field: Field, parts: Sequence[FactorSet]) -> tuple[CriticalPoint, ...]:
    """The first combinations of points inside: minima, then maxima, then saddles, then degenerate points."""
    inside = [[p for p in part.found.points if p.inside] for part in parts]
    sure = [[p for p in points if p.morse_index is not None] for points in inside]
    pure = [product(*([p for p in points if p.type == kind] for points in sure)) for kind in ("minimum", "maximum")]
    mixed = (c for c in product(*sure) if len({p.type for p in c}) > 1 or c[0].type == "saddle")
    vague = (c for c in product(*inside) if any(p.morse_index is None for p in c))
    points = [_combined(parts, c, field.dim) for c in islice(chain(*pure, mixed, vague), FIRST)]
    values = field.values(np.array([p.x for p in points])).tolist() if points else []
    return tuple(replace(p, value=value) for p, value in zip(points, values, strict=True))


def _combined(parts: Sequence[FactorSet], points: Sequence[CriticalPoint], dim: int) -> CriticalPoint:
    """The critical point of the surface that is made of one of each factor; its value is left out."""
    x = [0.0] * dim
    for part, point in zip(parts, points, strict=True):
        for i, v in zip(part.coordinates, point.x, strict=True):
            x[i] = v
    sure = all(p.morse_index is not None for p in points)
    negative = sum(p.morse_index or 0 for p in points)
    kind = kind_of(negative, dim)
    vague = ", ".join(part.title for part, p in zip(parts, points, strict=True) if p.morse_index is None)
    known = [p.index for p in points if p.index is not None]
    bounds = [pair for p in points for pair in p.eigenvalue_bounds]  # of a union: the k-th lowest of the lower ends ...
    ends = zip(sorted(low for low, _ in bounds), sorted(high for _, high in bounds), strict=True)
    smooth = all(p.eigenvalues for p in points)
    return CriticalPoint(
        x=tuple(x),
        value=math.nan,
        grad_norm=math.hypot(*(p.grad_norm for p in points)),
        eigenvalues=tuple(sorted(v for p in points for v in p.eigenvalues)) if smooth else (),
        type=kind if sure else "degenerate",
        morse_index=negative if sure else None,
        basis=min((p.basis for p in points), key=("undecided", "numerical", "proved").index),
        radius=max(p.radius or 0.0 for p in points),
        index=math.prod(known) if len(known) == len(points) else None,
        verdict=_verdict([p.verdict for p in points]),
        wording="" if sure else f"degenerate in {vague}: see the factors",
        on_boundary=any(p.on_boundary for p in points),
        eigenvalue_bounds=tuple(ends) if len(bounds) == dim else (),
    )


def _verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """What a sum is at a point where each of its terms is this: where a term rises or falls, so does the sum."""
    if "saddle" in verdicts or {"minimum", "maximum"} <= set(verdicts):
        return "saddle"
    return verdicts[0] if len(set(verdicts)) == 1 else "undecided"
