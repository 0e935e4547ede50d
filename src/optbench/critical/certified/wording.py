"""Regions and results in words: what is proved, what is not, and why."""

from __future__ import annotations

from typing import Literal

import numpy as np

from optbench.critical.arithmetic.ends import Array
from optbench.critical.certified.clusters import Region
from optbench.critical.certified.enumerate import LARGE, UNDERFLOW
from optbench.critical.points.describe import signed
from optbench.critical.points.found import Cluster, CriticalPoint, Verdict

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
ASSUMPTION = (
    "proved for the surface as programmed, in arithmetic rounded outward; library functions (sin, exp ...) are taken "
    "to err by at most 4 units in the last place (--verify arb does without that)"
)


def is_point(region: Region, width: Array) -> bool:
    """Whether the region is listed among the points: small, and proved to hold something; one point or several."""
    if region.endless or is_flat(region) or region.extent(width) > LARGE:
        return False
    return region.continuous and bool(region.extremum or region.index)


def is_flat(region: Region) -> bool:
    """Whether the gradient is too near to underflow all over the region."""
    return region.steepest < UNDERFLOW


def point_of(region: Region, width: Array, value: float, grad_norm: float, eigenvalues: Array) -> CriticalPoint:
    """A region that is proved to hold a critical point (or a kink that acts as one), as a degenerate point.

    Args:
        region: the region.
        width: of the domain, (d,).
        value: f at the centre.
        grad_norm: |gradient| there.
        eigenvalues: of the Hessian there.
    """
    verdict, basis = _verdict(region)
    return CriticalPoint(
        x=tuple((0.5 * (region.low + region.high)).tolist()),
        value=value,
        grad_norm=grad_norm if region.smooth else float("nan"),
        eigenvalues=tuple(eigenvalues.tolist()) if region.smooth else (),
        type="degenerate",
        morse_index=None,
        basis=basis,
        radius=float((0.5 * (region.high - region.low)).max()),
        index=region.index,
        verdict=verdict,
        resolved=False,
        wording=_point_wording(region, width),
    )


def _verdict(region: Region) -> tuple[Verdict, Literal["proved", "numerical", "undecided"]]:
    """What the point is, and what that rests on: an index speaks of a single point, which is not proved."""
    if region.extremum == "minimum":
        return "minimum", "proved"
    if region.extremum == "maximum":
        return "maximum", "proved"
    if region.positive and region.negative:
        return "saddle", "proved"
    if region.index is not None and region.index <= 0:
        return "saddle", "numerical"
    return "undecided", "undecided"


def _point_wording(region: Region, width: Array) -> str:
    parts = []
    if region.extremum:
        above = "above" if region.extremum == "minimum" else "below"
        parts.append(
            f"proved to hold a local {region.extremum}: on the edge of a box of {_share(region.room)} of the domain "
            f"round it f is {above} f here"
        )
    parts.append(_cause(region) or _singular(region))
    parts.append("not proved: that it is one point only")
    if region.index is not None:
        parts.append(f"Poincare index {signed(region.index)}{ways(region.index)}")
        if region.index <= 0 and not (region.positive and region.negative):
            parts.append("an isolated extremum has index +1, so if this is a single point it is none")
    spectrum = _spectrum(region)
    return "; ".join(p for p in (*parts, "" if region.extremum else spectrum) if p)


def cluster_of(region: Region, width: Array) -> Cluster:
    """A region that is not one point, or not known to hold any."""
    if is_flat(region):
        kind: Literal["continuum", "flat", "kinks", "undecided"] = "flat"
    elif region.endless:
        kind = "continuum" if region.smooth else "kinks"
    else:
        kind = "undecided"
    return Cluster(
        box=tuple(zip(region.low.tolist(), region.high.tolist(), strict=True)),
        kind=kind,
        index=region.index,
        wording=_cluster_wording(region, width, kind),
        values=region.values,
        count=region.count,
    )


def _cluster_wording(region: Region, width: Array, kind: str) -> str:
    size = f"{region.count} boxes, {_share(region.extent(width))} of the domain wide"
    some = region.smooth and bool(region.extremum or region.index)
    count = "holds one critical point or more" if some else "may hold 0, 1 or more critical points"
    head = {
        "flat": f"numerically flat: gradient and Hessian are proved to be below {UNDERFLOW:.0e} all over it, too near "
        f"to underflow to be told from 0 ({size})",
        "continuum": f"not isolated as far as these boxes tell: none of them is free of a possible critical point, as "
        f"along a curve or surface of critical points ({size}){_along(region)}",
        "kinks": f"a curve or surface of points ({size}): {_cause(region)}",
        "undecided": f"undecided ({size}): {count}",
    }[kind]
    parts = [head]
    if kind == "undecided":
        parts.append(_cause(region))
        parts.append("it reaches the edge of the box" if region.touches_edge else "")
    if region.extremum:
        parts.append(f"proved to hold a local {region.extremum}")
    if region.lowest:
        gap = region.values[1] - region.values[0]
        parts.append(f"nothing in the box is lower by more than {gap:.2g} (proved): global minima up to that")
    if region.index is not None:
        meaning = ways(region.index) if region.continuous else ""
        parts.append(f"Poincare index {signed(region.index)}{meaning}")
    if kind == "undecided" or (kind == "continuum" and not _along(region)):
        parts.append(_spectrum(region))
    return "; ".join(p for p in parts if p)


def _along(region: Region) -> str:
    """The word for a continuum with one flat direction."""
    d = len(region.low)
    for count, name, sign in ((region.positive, "valley", "positive"), (region.negative, "ridge", "negative")):
        if d > 1 and count == d - 1:
            return f", a {name}: the Hessian has {count} {sign} eigenvalue{'s' * (count > 1)} all along (proved)"
    return ""


def _spectrum(region: Region) -> str:
    """What holds for every critical point in the region, however many there are."""
    p, q = region.positive, region.negative
    if p and q:
        return f"any critical point in it is a saddle ({p} positive and {q} negative eigenvalues proved)"
    if q:
        return f"not a minimum: at least {q} negative eigenvalue{'s' * (q > 1)} proved"
    if p:
        return f"not a maximum: at least {p} positive eigenvalue{'s' * (p > 1)} proved"
    return ""


def _singular(region: Region) -> str:
    """The eigenvalue ranges that hold 0, as one number."""
    open_ = (region.eigenvalues[:, 0] <= 0) & (region.eigenvalues[:, 1] >= 0)
    if not open_.any():
        return ""
    worst = np.abs(region.eigenvalues[open_]).max()
    return f"Hessian singular to within {worst:.1g} (the second-order test cannot decide)"


def _cause(region: Region) -> str:
    if region.smooth:
        return ""
    if np.isfinite(region.values).all():
        return (
            "perhaps not twice differentiable here: no bound on the program's second derivatives (an abs or sqrt kink)"
        )
    return "f is not finite here, or may jump: a pole, an overflow, the edge of the surface's own domain, a threshold"


def ways(index: int) -> str:
    """What a Poincare index says of a single point."""
    if index == 0:
        return " (fold or inflection)"
    if index == -1:
        return " (saddle-like)"
    if index < -1:
        name = NUMBERS.get(1 - index, str(1 - index))
        return f" ({'monkey saddle: ' if index == -2 else ''}{name} ways down)"
    return ""


def _share(share: float) -> str:
    return f"{100 * share:.3g} %" if share >= 1e-3 else f"{share:.0e}"
