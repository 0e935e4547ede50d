"""All critical points of f(x, a) in a box for all a of a range, with proof: a certified bifurcation diagram.

Branch and bound finds tubes (`tubes`); what it leaves lies round the bifurcations, each of which is proved in a room
that covers all that is left there (`events`), or left open. Between two such places no cell is undecided and no curve
crosses a wall, so that the number of critical points of each type is constant there: it is counted once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from optbench.critical.arithmetic.ends import Array
from optbench.critical.bifurcation.curves import join
from optbench.critical.bifurcation.diagram import Bifurcation, Curve, Diagram, OpenRegion, Span, Type
from optbench.critical.bifurcation.edges import inside_box
from optbench.critical.bifurcation.events import Event, prove
from optbench.critical.bifurcation.multiple import MultiplePoint, multiple_point
from optbench.critical.bifurcation.spans import contradictory, spans_of
from optbench.critical.bifurcation.tubes import (
    INTERRUPTED,
    SPENT,
    Index,
    Search,
    Tubes,
    at_parameter,
    inertia,
)
from optbench.critical.budget import Progress
from optbench.critical.points.found import Range, kind_of
from optbench.critical.proofs.components import components
from optbench.critical.proofs.faithful import check_faithful
from optbench.critical.proofs.field import Field
from optbench.errors import UserError
from optbench.problem import Box, Objective

MOST_COORDINATES = 3
DEPTHS = tuple(2.0**-k for k in (9, 12, 15, 18, 20))  # of the box, in x; in a, their powers of 3/2
SEARCH = 0.8  # of the seconds; the rest is for joining what was found into curves
CROWD = 30_000  # cells: beyond this many, none is cut further
MOST_CLUSTERS = 200
WIDEST = 0.5  # of an axis: what is longer is not a neighbourhood of a point
FINE = 2.0**-15  # depth from which on a point of another kind is looked for
UNKNOWN = "a bifurcation of another kind, or too flat a place"
_Place = tuple[Bifurcation, tuple[Array, Array]]


def sweep(
    objective: Objective,
    box: Box,
    span: Range,
    *,
    name: str = "surface",
    parameter: str = "a",
    seconds: float = 60.0,
    max_boxes: int = 2_000_000,
    progress: Progress | None = None,
) -> Diagram:
    """The certified bifurcation diagram of a family of surfaces.

    Args:
        objective: torch callable (..., d + 1) -> (...): x, then the parameter; of operations with an interval rule.
        box: (low, high) of each of the d coordinates, one to three.
        span: (low, high) of the parameter.
        name: of the surface, for the report.
        parameter: its name, for the report.
        seconds: wall time after which nothing new is started.
        max_boxes: cells examined at most.
        progress: called with the share of the volume that is done (0..1) and a phrase.

    Raises:
        MissingRule: the objective uses an operation without an interval rule.
        UserError: too many coordinates, or a function that is finite nowhere in the box.
    """
    if len(box) > MOST_COORDINATES:
        raise UserError(f"--sweep draws diagrams of one to {MOST_COORDINATES} coordinates, {name} has {len(box)}")
    start = time.perf_counter()
    field = Field(objective, (*box, span))
    check_faithful(field)
    search = Search(field, max_boxes, start + SEARCH * seconds, progress)
    events, named, low, high = _explore(field, search)
    tubes, crossings = inside_box(field, search.tubes())
    joined = join(field, tubes)
    left = _open_regions(field, low, high, search.stopped)
    here = [e for e in events if e.a_high >= span[0] and e.a_low <= span[1]]
    bifurcations = sorted([_bifurcation(e) for e in here] + [_germ(n) for n in named], key=lambda b: (b.a, b.x))
    near = [_neighbourhood(b, named) for b in bifurcations]
    blind = [o.a for o in left] + crossings + list(joined.doubtful) + [n.a for n in named]
    curves = _curves(field, tubes, joined.curve, list(zip(bifurcations, near, strict=True)), crossings)
    curves = [c for c in curves if not _fragment(c, near)]
    rooms = [(float(e.room_low[-1]), float(e.room_high[-1])) for e in events]
    spans = spans_of(span, bifurcations, blind, rooms, curves)
    why = _why(search.stopped, left, crossings, joined.doubtful, named, spans, curves, bifurcations)
    return Diagram(
        surface=name,
        parameter=parameter,
        range=span,
        box=box,
        complete=not why,
        why=why,
        curves=tuple(curves),
        bifurcations=tuple(bifurcations),
        spans=tuple(spans),
        open=tuple(left),
        seconds=time.perf_counter() - start,
        boxes=search.boxes,
    )


@dataclass(frozen=True)
class _Named:
    """A multiple point with the hull of the cells round it that are not decided, (d + 1,)."""

    point: MultiplePoint
    low: Array
    high: Array

    @property
    def a(self) -> Range:
        return float(self.low[-1]), float(self.high[-1])


def _explore(field: Field, search: Search) -> tuple[list[Event], list[_Named], Array, Array]:
    """Branch and bound, deeper and deeper, with a try at each place that is left; what stays open is returned."""
    d = field.dim - 1
    events: list[Event] = []
    named: list[_Named] = []
    low, high = field.low[None], field.high[None]
    for depth in DEPTHS:
        low, high = search.run(low, high, np.array([depth] * d + [depth**1.5]))
        if search.stopped or not len(low):
            break
        try:
            low, high = _with_events(field, low, high, events, named if depth <= FINE else None, search.deadline)
        except KeyboardInterrupt:
            search.stopped = INTERRUPTED
            break
        if time.perf_counter() > search.deadline:
            search.stopped = SPENT
        if not len(low) or len(low) > CROWD or search.stopped:
            break
    return events, named, low, high


def _with_events(
    field: Field, low: Array, high: Array, events: list[Event], named: list[_Named] | None, deadline: float
) -> tuple[Array, Array]:
    """Adds the bifurcations that can be proved now; returns the cells that none of them explains."""
    label = components(low, high, field.width)
    open_ = np.ones(len(low), dtype=bool)
    for c in range(min(int(label.max()) + 1, MOST_CLUSTERS)):
        if time.perf_counter() > deadline:
            break
        here = label == c
        hull_low, hull_high = low[here].min(axis=0), high[here].max(axis=0)
        if ((hull_high - hull_low) > WIDEST * field.width).any() or not open_[here].any():
            continue
        event = prove(field, hull_low, hull_high)
        if event is not None and not _overlaps(event, events):
            events.append(event)
            open_ &= ~((low >= event.room_low) & (high <= event.room_high)).all(axis=1)
            continue
        interior = bool(((hull_low > field.low) & (hull_high < field.high)).all())
        point = multiple_point(field, hull_low, hull_high) if named is not None and interior else None
        if point is not None and named is not None:
            named.append(_Named(point, hull_low, hull_high))
            open_ &= ~here
    return low[open_], high[open_]


def _overlaps(event: Event, events: list[Event]) -> bool:
    """Whether the room meets another one: each zero must be counted once."""
    return any(((event.room_low <= e.room_high) & (event.room_high >= e.room_low)).all() for e in events)


def _open_regions(field: Field, low: Array, high: Array, stopped: str) -> list[OpenRegion]:
    """What is left, place by place."""
    regions = []
    label = components(low, high, field.width)
    if label.max(initial=0) >= MOST_CLUSTERS:
        label[:] = 0
    for c in range(int(label.max(initial=-1)) + 1):
        here = label == c
        hull_low, hull_high = low[here].min(axis=0), high[here].max(axis=0)
        a = (float(hull_low[-1]), float(hull_high[-1]))
        sides = tuple(zip(hull_low[:-1].tolist(), hull_high[:-1].tolist(), strict=True))
        count = f"{int(here.sum())} cell{'s' * int(here.sum() > 1)}"
        regions.append(OpenRegion(sides, a, stopped or f"{count} not decided: {UNKNOWN}"))
    return regions


def _neighbourhood(b: Bifurcation, named: list[_Named]) -> tuple[Array, Array]:
    """Where a curve that ends leads to the bifurcation: low and high, (d + 1,)."""
    if b.room:
        sides = np.array(b.room)
        return sides[:, 0], sides[:, 1]
    n = next(
        n for n in named if float(n.point.a) == b.a[0] and tuple(map(float, n.point.x)) == tuple(v for v, _ in b.x)
    )
    slack = 0.5 * (n.high - n.low)
    return n.low - slack, n.high + slack


def _curves(field: Field, tubes: Tubes, label: Index, places: list[_Place], crossings: list[Range]) -> list[Curve]:
    """The curves with their types, sampled at the ends of every tube."""
    if not len(tubes):
        return []
    samples = [(a, *at_parameter(field, tubes, a)) for a in (tubes.a_low, tubes.a_high)]
    index = inertia(field, samples[0][1], samples[0][2], samples[0][0])
    curves = []
    for c in range(int(label.max()) + 1):
        here = np.flatnonzero(label == c)
        known = index[here][index[here] >= 0]
        negative = int(known[0]) if len(known) else None
        a = np.concatenate([s[0][here] for s in samples])
        x = np.concatenate([0.5 * (s[1] + s[2])[here] for s in samples])
        order = np.unique(a, return_index=True)[1]
        a, x = a[order], x[order]
        ends = [_end(field, e, a[k], x[k], places, crossings) for k, e in ((0, field.low[-1]), (-1, field.high[-1]))]
        points = _with_ends(np.column_stack([a, x]), ends, places)
        type_: Type = "undecided" if negative is None else kind_of(negative, field.dim - 1)
        curves.append(Curve(type_, negative, (float(a[0]), float(a[-1])), ends[0], ends[1], points))
    return sorted(curves, key=lambda c: (c.a, c.points[0]))


def _fragment(curve: Curve, near: list[tuple[Array, Array]]) -> bool:
    """Whether a curve lies near one bifurcation: a piece of its branches, between undecided cells."""
    points = np.roll(np.array(curve.points), -1, axis=1)
    inside = any(((points >= low) & (points <= high)).all() for low, high in near)
    return inside and "range" not in (curve.start, curve.end)


def _end(field: Field, limit: float, a: float, x: Array, places: list[_Place], crossings: list[Range]) -> int | str:
    """What lies beyond the end (a, x) of a curve."""
    if a == limit:
        return "range"
    point = np.append(x, a)
    for k, (_, (low, high)) in enumerate(places):
        if ((point >= low) & (point <= high)).all():
            return k
    slack = 1e-12 * field.width[-1]
    return "edge" if any(low - slack <= a <= high + slack for low, high in crossings) else "open"


def _with_ends(points: Array, ends: list[int | str], places: list[_Place]) -> tuple[tuple[float, ...], ...]:
    """The points of a curve, led on to the bifurcations at its ends."""
    rows = points.tolist()
    for k, end in enumerate(ends):
        if isinstance(end, int):
            at = places[end][0]
            rows.insert(0 if k == 0 else len(rows), [0.5 * sum(at.a), *(0.5 * sum(v) for v in at.x)])
    return tuple(map(tuple, rows))


def _bifurcation(event: Event) -> Bifurcation:
    words = {
        "fold": "two critical points meet and vanish" if event.after == 0 else "two critical points appear",
        "transcritical": "two curves cross and exchange their types",
        "pitchfork": "one critical point becomes three" if event.after == 3 else "three critical points become one",
    }  # fmt: skip
    return Bifurcation(
        event.kind,
        (event.a_low, event.a_high),
        tuple(zip(event.low.tolist(), event.high.tolist(), strict=True)),
        event.before,
        event.after,
        "proved",
        tuple(zip(event.room_low.tolist(), event.room_high.tolist(), strict=True)),
        words[event.kind],
    )


def _germ(named: _Named) -> Bifurcation:
    point, (low, high) = named.point, named.a
    words = f"verified in exact arithmetic: {point.before} curves come in and {point.after} go out"
    words += f" ({point.shapes})" if point.shapes else ""
    words += f"; counted up to {low:.3g} and from {high:.3g}"
    x = tuple((float(v), float(v)) for v in point.x)
    a = float(point.a)
    return Bifurcation("multiple", (a, a), x, point.before, point.after, "germ", (), words)


def _why(
    stopped: str,
    left: list[OpenRegion],
    crossings: list[Range],
    doubtful: tuple[Range, ...],
    named: list[_Named],
    spans: list[Span],
    curves: list[Curve],
    bifurcations: list[Bifurcation],
) -> str:
    """What is open; empty where nothing is."""
    reasons = [stopped] if stopped else []
    if left:
        reasons.append(f"{len(left)} place{'s are' if len(left) > 1 else ' is'} not decided")
    if named:
        reasons.append(f"close to {len(named)} multiple point{'s' * (len(named) > 1)} nothing is counted")
    if crossings:
        reasons.append("curves cross or run along the edge of the box, where they are not counted")
    if doubtful:
        reasons.append("some tubes could not be told apart")
    if any(c.type == "undecided" for c in curves):
        reasons.append("the type of some curves is open")
    if any(s.counts is None for s in spans) and not reasons:
        reasons.append("two bifurcations are too near to count between them")
    if not reasons and contradictory(spans, bifurcations, curves):
        reasons.append("the counts do not fit the bifurcations, which contradicts the proof: please report this")
    return "; ".join(reasons)
