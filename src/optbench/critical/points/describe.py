"""Results in words: plain lines with aligned columns, for a terminal, a log or a report."""

from __future__ import annotations

from collections.abc import Sequence

from optbench.critical.points.found import Cluster, CriticalPoint, CriticalSet, FactorSet
from optbench.critical.points.picture import TaylorPicture
from optbench.critical.points.verdicts import legend

TAYLOR = "Taylor: f(x + d) = f(x) + d'g + d'Hd/2 + ..., g the gradient, H the Hessian; d a step along an eigenvector"
MOST_LINES = 60  # of one table; the rest is counted
PLURAL = {"minimum": "minima", "maximum": "maxima", "saddle": "saddles", "degenerate": "degenerate points"}


def describe(found: CriticalSet, most: int = MOST_LINES) -> list[str]:
    """A table of the points, the clusters, what was checked, and how complete the list is.

    Args:
        found: the result of a search.
        most: points listed at most; all are in `to_json` and `rows`.
    """
    lines = [f"{found.surface} on {box_text(found.box)}, {found.method} search"]
    lines += table(
        ["type", "basis", "point", "f", "|gradient|", "eigenvalues", ""],
        [_point_cells(point) for point in found.points[:most]],
    )
    total = sum(found.counts().values()) if found.factors else len(found.points)
    if total > most:
        lines.append(f"... and {total - len(found.points[:most]):,} more points")
    lines += _factor_lines(found)
    lines += [_cluster_line(cluster) for cluster in found.clusters]
    return [*lines, *legend(found), *found.notes, *_check(found), conclusion(found)]


def _factor_lines(found: CriticalSet) -> list[str]:
    """The functions that a separable surface is the sum of, those with the same points in one line."""
    alike: dict[int, list[FactorSet]] = {}
    for factor in found.factors:
        alike.setdefault(id(factor.found), []).append(factor)
    lines = []
    for same in alike.values():
        titles = [factor.title for factor in same]
        each = "each of " * (len(same) > 1) + ("; " if len(same[0].coordinates) > 1 else ", ").join(titles)
        places = ", ".join(_factor_point(p) for p in same[0].found.points[:MOST_LINES])
        lines.append(f"factor, a function of {each} alone: {count_text(same[0].found.counts())}: {places}")
    if lines:
        lines.append("the surface is the sum of these factors; its critical points are all combinations of theirs")
    return lines


def _factor_point(point: CriticalPoint) -> str:
    """Its place; of a degenerate point also what it is, and why."""
    text = point_text(point.x, point.radius)
    return text if point.type != "degenerate" else f"{_kind_words(point)} {text} [{point.wording}]"


def conclusion(found: CriticalSet) -> str:
    """The last sentence: what was found, and whether that is all."""
    counts, places = found.counts(), sum(not point.resolved for point in found.points) * (not found.factors)
    counts["degenerate"] -= places
    inventory = count_text(counts)
    if places:
        inventory += f", {places} place{'s' * (places > 1)} with one degenerate critical point or several each"
    if found.at_edge:
        inventory += f" inside, and {edge_text(found)}"
    regions = len(found.clusters)
    if regions:
        inventory += (
            f" and {regions} region{'s' * (regions > 1)} that {'are' if regions > 1 else 'is'} not a single point"
        )
    if found.complete:
        check = ""
        if found.index_sum is not None and found.index_sum == found.winding_number:
            check = f"; index sum {found.index_sum} = winding number {found.winding_number}"
        return f"COMPLETE: proved that the box holds exactly {inventory}{check}."
    reason = found.why.removeprefix("not proved complete: ")
    if found.exhaustive:
        return f"NOT COMPLETE: proved that there are exactly {inventory}; {reason}."
    return f"NOT COMPLETE: found {inventory}, not proved to be all; {reason}."


def edge_text(found: CriticalSet) -> str:
    """2 (1 minimum, 1 saddle) on or within 2.3e-16 of the edge of the box."""
    parts = [f"{n} {kind_text(kind, n)}" for kind, n in found.counts(inside=False).items() if n]
    return f"{len(found.at_edge)} ({', '.join(parts)}) on or within {upward(found.edge_reach)} of the edge of the box"


def upward(value: float) -> str:
    """Two digits, never below the value: for bounds."""
    text = f"{value:.2g}"
    return text if float(text) >= value else f"{value * 1.05:.2g}"


def count_text(counts: dict[str, int]) -> str:
    """9 critical points (4 minima, 1 maximum, 4 saddles)."""
    total = sum(counts.values())
    if not total:
        return "no critical point"
    parts = [f"{n:,} {kind_text(kind, n)}" for kind, n in counts.items() if n]
    return f"{total:,} critical point{'s' * (total != 1)} ({', '.join(parts)})"


def kind_text(kind: str, n: int) -> str:
    """The type in singular or plural."""
    if n != 1:
        return PLURAL[kind]
    return "degenerate point" if kind == "degenerate" else kind


def _check(found: CriticalSet) -> list[str]:
    """What the index sum and the winding number say together."""
    if found.winding_number is None:
        return [] if found.notes else ["no winding number: nothing to check the list against"]
    turns = f"winding number of the gradient along the edge of the box: {found.winding_number}"
    if found.index_sum is None:
        return [f"{turns}; the index sum is unknown, because a point or region has no known index"]
    if not found.mismatch:
        return [f"index sum {found.index_sum} = {turns} (necessary, not sufficient: +1 and -1 cancel)"]
    return [
        f"index sum {found.index_sum} differs from the {turns}: at least one critical point, kink or pole is missing "
        "from the list or was judged wrongly"
    ]


def _point_cells(point: CriticalPoint) -> list[str]:
    remarks = [f"Morse index {point.morse_index}"] if point.type == "saddle" else []
    remarks += [point.wording] if point.wording else []
    if point.on_boundary:
        remarks.append("at the edge of the box" if point.inside else f"on or within {upward(point.reach)} of the edge")
    values = "[" + ", ".join(short(v) for v in point.eigenvalues) + "]" if point.eigenvalues else "none"
    norm = f"{point.grad_norm:.1e}" if point.grad_norm == point.grad_norm else "none"
    return [
        _kind_words(point) + " (or several)" * (not point.resolved),
        point.basis,
        point_text(point.x, point.radius),
        short(point.value),
        norm,
        values,
        "; ".join(remarks),
    ]


def _kind_words(point: CriticalPoint) -> str:
    return point.type if point.type != "degenerate" else f"degenerate {point.verdict}".replace(" undecided", "")


def name_of(point: CriticalPoint) -> str:
    """What a point is called among the points of its surface: minimum (3, 2)."""
    return f"{_kind_words(point)} {place_text(point.x, point.radius or 0.0)}"


def place_text(x: Sequence[float], radius: float = 0.0) -> str:
    """Coordinates to four digits; what is below the place's own uncertainty, or rounding noise, is 0."""
    return f"({', '.join('0' if abs(v) <= max(radius, 5e-10) else f'{v:.4g}' for v in x)})"


def _cluster_line(cluster: Cluster) -> str:
    low, high = cluster.values
    values = f"; f = {short(low)}" if short(low) == short(high) else f"; f from {short(low)} to {short(high)}"
    return f"region {box_text(cluster.box)}: {cluster.wording}{values if low == low else ''}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Left-aligned columns, two spaces apart; nothing when there are no rows."""
    if not rows:
        return []
    width = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, width, strict=True)).rstrip() for row in [head, *rows]]


def point_text(x: tuple[float, ...], radius: float | None = None) -> str:
    """Coordinates to ten digits; what is below the point's own uncertainty is 0."""
    noise = max(radius or 0.0, 1e-10)
    return "(" + ", ".join("0" if abs(v) <= noise < 1e-6 * max(1.0, *map(abs, x)) else f"{v:.10g}" for v in x) + ")"


def box_text(box: tuple[tuple[float, float], ...]) -> str:
    """[-2, 2] x [-1, 3], equal sides as a power."""
    if len(box) > 1 and len(set(box)) == 1:
        return f"{_side_text(*box[0])}^{len(box)}"
    return " x ".join(_side_text(*side) for side in box)


def _side_text(low: float, high: float) -> str:
    """[low, high] to six digits, or as many as it takes to see its width."""
    digits = 6
    while digits < 17 and abs(float(f"{high:.{digits}g}") - float(f"{low:.{digits}g}") - (high - low)) > 0.1 * (
        high - low
    ):
        digits += 1
    return f"[{low:.{digits}g}, {high:.{digits}g}]"


def short(value: float) -> str:
    """Six digits; a plain 0 for both zeros."""
    return f"{value:.6g}" if value else "0"


def describe_picture(picture: TaylorPicture) -> list[str]:
    """The Taylor picture of one point: derivatives, v'Hv, predicted against measured, verdict."""
    lines = [f"{picture.surface} at {point_text(picture.x)}: f = {short(picture.value)}"]
    if picture.gradient:
        lines.append(f"gradient {vector_text(picture.gradient)}, norm {picture.grad_norm:.4g}")
        lines += ["Hessian", *table([""] * len(picture.x), [[short(v) for v in row] for row in picture.hessian])[1:]]
        pairs = zip(picture.eigenvalues, picture.eigenvectors, strict=True)
        lines += table(["eigenvalue", "eigenvector"], [[short(value), vector_text(v)] for value, v in pairs])
        rays = [[vector_text(ray.direction), short(ray.curvature)] for ray in picture.fan]
        lines += ["", *table(["direction v", "v'Hv"], rays)]
        lines += ["", *_changes(picture)]
    if picture.escape is not None:
        way = picture.escape
        lines.append(
            f"way down: a step of {short(way.step)} along {vector_text(way.direction)} changes f by "
            f"{short(way.measured)} (predicted {short(way.predicted)})"
        )
    if not picture.critical and picture.nearest is not None:
        lines.append(f"Newton's method leads to {point_text(picture.nearest)}, {short(picture.distance or 0.0)} away")
    kind = {"not critical": "", "degenerate": f"degenerate, {picture.verdict}: "}.get(picture.type, f"{picture.type}: ")
    return [*lines, f"verdict: {kind}{picture.wording}"]


def _changes(picture: TaylorPicture) -> list[str]:
    """Change of f along the eigenvectors: d'g and d'Hd/2 apart, and both together against f itself."""
    rows = []
    for c in picture.changes:
        parts = (c.by_gradient, c.by_hessian, c.predicted, c.measured)
        place = [short(c.eigenvalue), vector_text(c.direction), short(c.step)]
        rows.append([*place, *(f"{value + 0.0:.4e}" for value in parts)])
    head = ["eigenvalue", "along", "step", "d'g", "d'Hd/2", "predicted", "measured"]
    return [TAYLOR, *table(head, rows)]


def vector_text(v: tuple[float, ...]) -> str:
    """Components to four digits; rounding noise is 0."""
    size = max(map(abs, v), default=0.0)
    return "(" + ", ".join("0" if abs(c) <= 1e-12 * size else f"{c:.4g}" for c in v) + ")"


def signed(index: int) -> str:
    """An index with its sign; 0 has none."""
    return f"{index:+d}" if index else "0"
