"""A bifurcation diagram as plain values: curves of critical points over a parameter, and where they meet.

No torch here: a diagram can be printed, written and drawn without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from optbench.critical.points.found import Range, json_of

Type = Literal["minimum", "maximum", "saddle", "undecided"]
TYPES: tuple[Type, ...] = ("minimum", "maximum", "saddle", "undecided")


@dataclass(frozen=True)
class Curve:
    """A smooth curve x(a) of nondegenerate critical points, proved over its whole range.

    Attributes:
        type: the same all along; "undecided" where the signs of the eigenvalues are open.
        morse_index: number of negative eigenvalues; None where open.
        a: (low, high) of the parameter over which it is proved.
        start, end: what lies beyond: the number of a bifurcation, "range" (the end of the parameter's range), "edge"
            (it leaves the box) or "open".
        points: (a, x1, ..., xd), rising a, each good to rounding.
    """

    type: Type
    morse_index: int | None
    a: Range
    start: int | str
    end: int | str
    points: tuple[tuple[float, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        ends = {"from": self.a[0], "to": self.a[1]}
        return {**json_of(self, "type", "morse_index"), **ends, **json_of(self, "start", "end", "points")}


@dataclass(frozen=True)
class Bifurcation:
    """A parameter value at which critical points appear, vanish or meet.

    Attributes:
        kind: "fold", "transcritical", "pitchfork"; "multiple" for a point verified exactly at which curves meet in
            another way.
        a: (low, high): the enclosure of the value.
        x: (low, high) of each coordinate of the degenerate critical point there.
        before, after: critical points in its neighbourhood for each a below and above.
        basis: "proved" for a whole neighbourhood given by `room`; "germ": proved of a neighbourhood of unknown size.
        room: (low, high) of x and a in which `before` and `after` are proved; empty for a germ.
        wording: one sentence.
    """

    kind: Literal["fold", "transcritical", "pitchfork", "multiple"]
    a: Range
    x: tuple[Range, ...]
    before: int
    after: int
    basis: Literal["proved", "germ"]
    room: tuple[Range, ...]
    wording: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return json_of(self)


@dataclass(frozen=True)
class Span:
    """An open interval of the parameter in which the number of critical points of each type is proved to be constant.

    Attributes:
        a: (low, high).
        counts: by type; None where they are open.
    """

    a: Range
    counts: dict[str, int] | None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {"from": self.a[0], "to": self.a[1], "counts": self.counts}


@dataclass(frozen=True)
class OpenRegion:
    """Where nothing is decided: (low, high) of each coordinate and of the parameter, and why."""

    box: tuple[Range, ...]
    a: Range
    why: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return json_of(self)


@dataclass(frozen=True)
class Diagram:
    """The critical points of f(x, a) in a box for all a of a range.

    Attributes:
        surface: name.
        parameter: its name.
        range: (low, high) of it.
        box: (low, high) of each coordinate.
        complete: every a of the range is in a span with proved counts or in the enclosure of a proved bifurcation.
        why: what is open; empty if nothing is.
        curves, bifurcations, spans, open: what was found, by rising a.
        seconds: wall time.
        boxes: cells examined.
    """

    surface: str
    parameter: str
    range: Range
    box: tuple[Range, ...]
    complete: bool
    why: str
    curves: tuple[Curve, ...]
    bifurcations: tuple[Bifurcation, ...]
    spans: tuple[Span, ...]
    open: tuple[OpenRegion, ...]
    seconds: float
    boxes: int

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.box)

    @property
    def covered(self) -> float:
        """Share of the parameter's range in which the counts are proved."""
        known = sum(s.a[1] - s.a[0] for s in self.spans if s.counts is not None)
        return min(1.0, known / (self.range[1] - self.range[0]))

    def to_json(self) -> dict[str, Any]:
        """The object that `classify-critical --sweep --json` prints."""
        head = ("surface", "parameter", "range", "dim", "box", "complete", "why", "covered")
        return json_of(self, *head, "spans", "bifurcations", "curves", "open", "seconds", "boxes")
