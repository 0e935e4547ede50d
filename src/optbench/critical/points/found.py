"""What a search for critical points found, as plain values: the same types for a numerical and for a certified search.

No torch here: a result can be printed, written and compared without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["minimum", "maximum", "saddle", "degenerate"]
Basis = Literal["proved", "numerical", "undecided"]
Sure = Literal["minimum", "maximum", "saddle"]
Verdict = Literal["minimum", "maximum", "saddle", "undecided"]
Range = tuple[float, float]
TYPES = ("minimum", "maximum", "saddle", "degenerate")
ORDER: dict[Kind, int] = {"minimum": 0, "maximum": 1, "saddle": 2, "degenerate": 3}  # in which lists show them


@dataclass(frozen=True)
class CriticalPoint:
    """One critical point.

    Attributes:
        x: coordinates.
        value: f(x).
        grad_norm: |gradient| at x; NaN where there is no gradient (a kink).
        eigenvalues: of the Hessian, ascending; empty where there is no Hessian.
        type: by the second-order test; "degenerate" where that test cannot decide.
        morse_index: number of negative eigenvalues; None for a degenerate point.
        basis: what the type rests on; for a degenerate point, what the verdict rests on.
        radius: the point is within this distance of x in every coordinate; None if unknown.
        index: Poincare index (2-D: +1 extremum, -1 saddle); None if unknown.
        verdict: what a degenerate point is by other means; equal to `type` for the others.
        wording: one sentence on how it was decided; empty where the eigenvalues say it all.
        resolved: False for a region of `radius` round x that acts like one degenerate point, and may hold several.
        on_boundary: the point lies on the edge of the box, or its enclosure reaches it.
        inside: the point lies in the closed box: proved where the existence of the point is; False where its enclosure
            (x +- radius) straddles the edge, so that it may lie on either side.
        reach: how far from the edge such a point may be, in the largest coordinate; 0 for all others.
        eigenvalue_bounds: proved (lowest, highest) of each eigenvalue; empty where nothing is proved.
        multiplicity: dimension of the local algebra (Milnor number), proved; None if unknown.
        singularity: Arnold's name of a point verified exactly (A3, D4-, E6 ...); empty for all others.
        exact: its coordinates as fractions; empty for all others.
        branches: its half-branches of {f = f(x)} in two coordinates: {side, exponent, coefficient}, |dy| ~ c |dx|^m on
            that side; exponent None for a half of an axis.
    """

    x: tuple[float, ...]
    value: float
    grad_norm: float
    eigenvalues: tuple[float, ...]
    type: Kind
    morse_index: int | None
    basis: Basis
    radius: float | None = None
    index: int | None = None
    verdict: Verdict = "undecided"
    wording: str = ""
    resolved: bool = True
    on_boundary: bool = False
    inside: bool = True
    reach: float = 0.0
    eigenvalue_bounds: tuple[Range, ...] = ()
    multiplicity: int | None = None
    singularity: str = ""
    exact: tuple[str, ...] = ()
    branches: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object; NaN becomes null."""
        return json_of(self)


@dataclass(frozen=True)
class Cluster:
    """A region that is not a single, resolved critical point.

    Attributes:
        box: smallest box round it, (low, high) of each axis.
        kind: "continuum" (a curve or surface of critical points), "flat" (f is constant in float64), "kinks" (a curve
            of points without derivative) or "undecided" (may hold none, one or several critical points).
        index: sum of the indices inside; None if unknown.
        wording: one sentence.
        values: (lowest, highest) f seen in it.
        count: how many points or boxes stand for it.
    """

    box: tuple[Range, ...]
    kind: Literal["continuum", "flat", "kinks", "undecided"]
    index: int | None
    wording: str
    values: Range = (math.nan, math.nan)
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return json_of(self)


@dataclass(frozen=True)
class FactorSet:
    """The critical points of one of the functions, of coordinates of its own, that a separable surface is the sum of.

    Attributes:
        coordinates: of the surface, rising.
        found: its points, with these coordinates in this order; values up to a constant.
    """

    coordinates: tuple[int, ...]
    found: CriticalSet

    @property
    def title(self) -> str:
        """x0, x3."""
        return ", ".join(f"x{i}" for i in self.coordinates)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"coordinates": list(self.coordinates), "points": [point.to_json() for point in self.found.points]}


@dataclass(frozen=True)
class CriticalSet:
    """The critical points of a surface in a box.

    Attributes:
        surface: name.
        box: (low, high) of each axis.
        method: "numeric" or "certified".
        complete: proved that the box holds these critical points and no other.
        why: why it is, or is not, complete.
        winding_number: of the gradient along the edge of the box (2-D; 1-D: the degree); None if undefined.
        points: sorted by coordinates within their type.
        clusters: what is not a single point.
        seconds: wall time.
        boxes: cells (numeric) or boxes (certified) examined.
        notes: remarks on the search, e.g. why there is no winding number.
        exhaustive: proved that the box holds no critical point besides those listed; unlike with `complete`, whether
            one of them lies inside, or its type, may be open.
        factors: of a separable surface with too many points to list: the critical points are all combinations of one
            point of each factor, `counts` counts them, and `points` has the first of them.
    """

    surface: str
    box: tuple[Range, ...]
    method: Literal["numeric", "certified"]
    complete: bool
    why: str
    winding_number: int | None
    points: tuple[CriticalPoint, ...]
    clusters: tuple[Cluster, ...]
    seconds: float
    boxes: int
    notes: tuple[str, ...] = ()
    exhaustive: bool = False
    factors: tuple[FactorSet, ...] = ()

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.box)

    @property
    def index_sum(self) -> int | None:
        """Sum of the indices of all points and clusters; None if one is unknown, or whether it is inside the box."""
        if self.factors:
            sums = [factor.found.index_sum for factor in self.factors]
            return None if None in sums else math.prod(s for s in sums if s is not None)
        found = [p.index if p.inside else None for p in self.points] + [c.index for c in self.clusters]
        known = [index for index in found if index is not None]
        return sum(known) if len(known) == len(found) else None

    @property
    def mismatch(self) -> bool:
        """True where the index sum and the winding number are both known and differ: something was missed."""
        return None not in (self.winding_number, self.index_sum) and self.winding_number != self.index_sum

    @property
    def at_edge(self) -> tuple[CriticalPoint, ...]:
        """The points of which it is not known whether they lie in the box."""
        return tuple(point for point in self.points if not point.inside)

    @property
    def edge_reach(self) -> float:
        """How far from the edge of the box, in the largest coordinate, the points `at_edge` are at most."""
        return max((point.reach for point in self.at_edge), default=0.0)

    def counts(self, inside: bool = True) -> dict[str, int]:
        """Number of points of each type, in a fixed order: those in the box, or those of which it is not known."""
        if self.factors:
            within, all_ = _multiplied(self.factors, edge=False), _multiplied(self.factors, edge=True)
            return within if inside else {kind: all_[kind] - within[kind] for kind in TYPES}
        return {kind: sum(p.type == kind and p.inside == inside for p in self.points) for kind in TYPES}

    def to_json(self) -> dict[str, Any]:
        """The object that `classify-critical --json` prints; its keys are part of what scripts may rely on."""
        head = ("surface", "dim", "box", "method", "complete", "exhaustive", "why", "winding_number", "index_sum")
        tail = ("points", "factors", "clusters", "seconds", "boxes", "notes")
        return {**json_of(self, *head), "counts": self.counts(), **json_of(self, *tail)}

    @property
    def columns(self) -> list[str]:
        """The keys of each of `rows`."""
        coordinates, eigenvalues = ([f"{name}{i}" for i in range(self.dim)] for name in ("x", "lambda"))
        first, last = (
            ["surface", "type", "verdict"],
            ["morse_index", "index", "basis", "radius", "on_boundary", "inside"],
        )
        return [*first, *coordinates, "value", "grad_norm", *eigenvalues, *last]

    def rows(self) -> list[dict[str, Any]]:
        """One flat row a point, for CSV: x0 ... x{d-1}, lambda0 ... lambda{d-1}; an absent eigenvalue is empty."""
        rows = []
        for point in self.points:
            row: dict[str, Any] = {"surface": self.surface, "type": point.type, "verdict": point.verdict}
            row |= {f"x{i}": v for i, v in enumerate(point.x)}
            row |= {"value": point.value, "grad_norm": point.grad_norm}
            padded: tuple[float | None, ...] = (*point.eigenvalues, *[None] * self.dim)
            row |= {f"lambda{i}": padded[i] for i in range(self.dim)}
            row |= {key: getattr(point, key) for key in ("morse_index", "index", "basis", "radius")}
            row |= {"on_boundary": point.on_boundary, "inside": point.inside}
            rows.append(row)
        return rows


def _multiplied(factors: tuple[FactorSet, ...], edge: bool) -> dict[str, int]:
    """Numbers of combinations of each type: of points inside, or also of those of which that is not known."""
    negative, total = [1], 1  # how many combinations have 0, 1, ... negative eigenvalues, and how many there are
    for factor in factors:
        points = [p for p in factor.found.points if edge or p.inside]
        total *= len(points)
        longer = [0] * (len(negative) + factor.found.dim)
        for p in points:
            for k, n in enumerate(negative if p.morse_index is not None else ()):
                longer[k + (p.morse_index or 0)] += n
        negative = longer
    sure = sum(negative)
    kinds = (negative[0], negative[-1], sure - negative[0] - negative[-1], total - sure)
    return dict(zip(TYPES, kinds, strict=True))


def as_json(value: Any) -> Any:
    """A value as JSON has it: tuples as lists, what has a `to_json` by that, and None for what is not finite."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return json_of(value)
    if isinstance(value, Mapping):
        return {key: as_json(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_of(value: Any, *names: str) -> dict[str, Any]:
    """Attributes of an object as JSON has them; without names, all fields of a dataclass."""
    return {name: as_json(getattr(value, name)) for name in names or [field.name for field in fields(value)]}


@dataclass(frozen=True)
class Winding:
    """A winding number, or the reason why there is none."""

    number: int | None
    reason: str = ""


def kind_of(negative: int, dim: int) -> Sure:
    """What a nondegenerate critical point of a function of `dim` coordinates is, by its negative eigenvalues."""
    return "minimum" if negative == 0 else "maximum" if negative == dim else "saddle"


def type_of(eigenvalues: NDArray[Any]) -> Sure:
    """Minimum, maximum or saddle by the signs of eigenvalues that are sure not to be 0."""
    if (eigenvalues > 0).all():
        return "minimum"
    return "maximum" if (eigenvalues < 0).all() else "saddle"
