"""A bifurcation diagram in words: plain lines for a terminal, a log or a report."""

from __future__ import annotations

from optbench.critical.bifurcation.diagram import Bifurcation, Diagram, OpenRegion, Span
from optbench.critical.points.describe import box_text, count_text, table
from optbench.critical.points.found import Range

MOST_LINES = 40  # of one table; the rest is counted
ASSUMPTION = (
    "proved for the surface as programmed and every value of the parameter in between, in arithmetic rounded outward; "
    "library functions (sin, exp ...) are taken to err by at most 4 units in the last place"
)


def describe_diagram(diagram: Diagram, most: int = MOST_LINES) -> list[str]:
    """The counts over the parameter, the bifurcations, what is open, and how complete all that is.

    Args:
        diagram: the result of a sweep.
        most: lines of each table at most; everything is in `to_json`.
    """
    a = diagram.parameter
    low, high = diagram.range
    lines = [
        f"{diagram.surface} on {box_text(diagram.box)} for {a} from {low:g} to {high:g}, certified bifurcation diagram"
    ]
    spans = [[_span_text(s, diagram), _counts_text(s)] for s in diagram.spans]
    lines += _cut(table([a, "critical points"], spans), most)
    found = [_bifurcation_cells(k, b) for k, b in enumerate(diagram.bifurcations)]
    lines += _cut(table(["bifurcation", "basis", a, "point", "critical points near it", ""], found), most)
    lines += _cut([_open_line(o, a) for o in diagram.open], most)
    curves = len(diagram.curves)
    lines.append(f"{curves} smooth curve{'s' * (curves != 1)} of nondegenerate critical points, each of one type")
    return [*lines, ASSUMPTION, conclusion_of(diagram)]


def conclusion_of(diagram: Diagram) -> str:
    """The last sentence."""
    low, high = diagram.range
    over = f"{diagram.parameter} in [{low:g}, {high:g}]"
    if diagram.complete:
        n = len(diagram.bifurcations)
        values = f"{n} value{'s' * (n > 1)} enclosed above" if n else ""
        return f"COMPLETE: the critical points are proved for all {over}" + (f" but the {values}." if n else ".")
    return f"NOT COMPLETE: counted for {_share(diagram.covered)} of {over}; {diagram.why}."


def _share(share: float) -> str:
    """Never rounded up to 100 %."""
    if share > 0.999:
        return f"all but {1.0 - share:.1g}" if share < 1.0 - 1e-12 else "all but 1e-12"
    return f"{100 * share:.3g} %"


def _cut(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most + 1 else [*lines[: most + 1], f"... and {len(lines) - most - 1} more lines"]


def _span_text(span: Span, diagram: Diagram) -> str:
    """(-1, 0.0877205): open where a bifurcation is, closed at the ends of the range."""
    left = "[" if span.a[0] == diagram.range[0] else "("
    right = "]" if span.a[1] == diagram.range[1] else ")"
    return f"{left}{_number(span.a[0])}, {_number(span.a[1])}{right}"


def _number(value: float) -> str:
    return "0" if abs(value) < 1e-15 else f"{value:.10g}"


def _counts_text(span: Span) -> str:
    if span.counts is None:
        return "open"
    counts = {kind: n for kind, n in span.counts.items() if kind != "undecided"}
    unknown = span.counts.get("undecided", 0)
    return count_text(counts) + (f" and {unknown} of open type" if unknown else "")


def _bifurcation_cells(number: int, b: Bifurcation) -> list[str]:
    place = "(" + ", ".join(_middle(side) for side in b.x) + ")"
    return [f"{number}: {b.kind}", b.basis, _enclosed(b.a), place, f"{b.before} -> {b.after}", b.wording]


def _middle(side: Range) -> str:
    return _number(0.5 * (side[0] + side[1]))


def _enclosed(a: Range) -> str:
    radius = 0.5 * (a[1] - a[0])
    middle = 0.5 * (a[0] + a[1])
    if radius == 0.0:
        return _number(middle)
    return f"{_number(middle)} +- {radius:.1g}"


def _open_line(region: OpenRegion, a: str) -> str:
    return f"open: {a} from {_number(region.a[0])} to {_number(region.a[1])}, {box_text(region.box)}: {region.why}"
