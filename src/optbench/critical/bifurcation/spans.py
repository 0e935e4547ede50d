"""The range of a parameter between the places where something happens: how many critical points there are, by type."""

from __future__ import annotations

import itertools

from optbench.critical.bifurcation.diagram import TYPES, Bifurcation, Curve, Span
from optbench.critical.points.found import Range


def spans_of(
    span: Range, bifurcations: list[Bifurcation], blind: list[Range], rooms: list[Range], curves: list[Curve]
) -> list[Span]:
    """The range of the parameter, cut where something happens or nothing is known.

    Args:
        span: (low, high) of the parameter.
        bifurcations: all of them.
        blind: where something is not decided.
        rooms: of the bifurcations, in the parameter.
        curves: all of them; their ends are numbers of bifurcations.
    """
    found: list[Span] = []
    at = span[0]
    unknown = sorted(_merged(blind))
    marks = _merged(_clipped([*(b.a for b in bifurcations), *blind], span))
    for low, high in [*marks, (span[1], span[1])]:
        if low > at:
            found.append(Span((at, low), _counts((at, low), rooms, curves)))
        inside = [(max(a, low), min(b, high)) for a, b in unknown if a <= high and b >= low]
        found += [Span(piece, None) for piece in inside if piece[1] > piece[0]]
        at = max(at, high)
    open_ = {s.a for s in found if any(a <= s.a[0] and s.a[1] <= b for a, b in unknown)}
    changes = [_change(k, b, curves) for k, b in enumerate(bifurcations)]
    for sign in (1, -1):  # from left to right, then back
        order = range(1, len(found)) if sign > 0 else range(len(found) - 2, -1, -1)
        for k in order:
            if found[k].counts is None and found[k].a not in open_:
                found[k] = Span(found[k].a, _led_on(found[k - sign], found[k], sign, bifurcations, changes))
    return found


def _led_on(
    known: Span, wanted: Span, sign: int, bifurcations: list[Bifurcation], changes: list[dict[str, int] | None]
) -> dict[str, int] | None:
    """The counts of a span that rooms cover, from its neighbour's and the bifurcations between them."""
    low, high = (known.a[1], wanted.a[0]) if sign > 0 else (wanted.a[1], known.a[0])
    between = [change for b, change in zip(bifurcations, changes, strict=True) if low <= b.a[0] and b.a[1] <= high]
    if known.counts is None or low > high or not between or None in between:
        return None
    return {kind: n + sign * sum(c[kind] for c in between if c) for kind, n in known.counts.items()}


def _change(number: int, b: Bifurcation, curves: list[Curve]) -> dict[str, int] | None:
    """By how much the number of critical points of each type grows at a bifurcation; None where a curve is missing."""
    begin = [c.type for c in curves if c.start == number]
    end = [c.type for c in curves if c.end == number]
    if not b.room or (len(end), len(begin)) != (b.before, b.after):
        return None
    return {kind: begin.count(kind) - end.count(kind) for kind in TYPES}


def _clipped(ranges: list[Range], span: Range) -> list[Range]:
    return [(max(a, span[0]), min(b, span[1])) for a, b in ranges if b >= span[0] and a <= span[1]]


def _merged(ranges: list[Range]) -> list[Range]:
    out: list[Range] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return out


def _counts(a: Range, rooms: list[Range], curves: list[Curve]) -> dict[str, int] | None:
    """How many curves of each type there are over the open interval; None where rooms cover all of it.

    In a room a curve may end before the interval does: it is counted where no room is.
    """
    free, at = [], a[0]
    for low, high in _merged(rooms):
        if low > at:
            free.append((at, min(low, a[1])))
        at = max(at, high)
    free.append((at, a[1]))
    low, high = max(free, key=lambda f: f[1] - f[0])
    sample = 0.5 * (low + high)
    if not low < sample < high:
        return None
    here = [c.type for c in curves if c.a[0] <= sample <= c.a[1]]
    return {kind: here.count(kind) for kind in TYPES}


def contradictory(spans: list[Span], bifurcations: list[Bifurcation], curves: list[Curve]) -> bool:
    """Whether counts change otherwise than the bifurcations between two spans say: a check of all that was proved."""
    changes = [_change(k, b, curves) for k, b in enumerate(bifurcations)]
    for first, second in itertools.pairwise(spans):
        if first.counts is None or second.counts is None:
            continue
        here = [k for k, b in enumerate(bifurcations) if first.a[1] <= b.a[0] and b.a[1] <= second.a[0]]
        total = sum(second.counts.values()) - sum(first.counts.values())
        if total != sum(bifurcations[k].after - bifurcations[k].before for k in here):
            return True
        known = [c for k in here if (c := changes[k]) is not None]
        if len(known) == len(here) and any(
            second.counts[kind] - first.counts[kind] != sum(c[kind] for c in known) for kind in TYPES
        ):
            return True
    return False
