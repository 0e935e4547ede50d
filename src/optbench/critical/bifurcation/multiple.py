"""Bifurcations of no common kind, at points that can be named: how many curves meet there, in exact arithmetic.

At a point (x, a) with simple coordinates f is expanded in fractions, the gradient is reduced to b(t, a) = 0 (`reduced`,
the same equations in another number system), and the half-branches of that plane curve are read off Newton's polygon:
so many critical points come in from smaller a, so many go out to larger a. That is proved of a neighbourhood, the size
of which is not known: what lies between the tubes on both sides and the point is not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from optbench.critical.arithmetic.elementary_series import Inexact
from optbench.critical.arithmetic.ends import Array
from optbench.critical.arithmetic.exact import exact_gradient, simplest_between
from optbench.critical.bifurcation.reduced import reduce_gradient
from optbench.critical.germs.branches import HalfBranch, half_branches, words
from optbench.critical.germs.germ import MOST_TERMS, expansion
from optbench.critical.proofs.field import Field

ORDERS = (4, 6, 8, 10)


@dataclass(frozen=True)
class MultiplePoint:
    """A point where critical points of the family meet, verified exactly.

    Attributes:
        x: the critical point, (d,), exact.
        a: the parameter, exact.
        before, after: critical points near it for each a just below and just above.
        shapes: how they leave it: |dt| ~ c |da|^m.
    """

    x: tuple[Fraction, ...]
    a: Fraction
    before: int
    after: int
    shapes: str


def multiple_point(field: Field, low: Array, high: Array) -> MultiplePoint | None:
    """The point in the hull low, high (d + 1,) where curves of critical points meet, if it can be verified exactly."""
    place = tuple(simplest_between(Fraction(a), Fraction(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    try:
        for order in ORDERS:
            if math.comb(field.dim + order, order) > MOST_TERMS:
                return None
            found = _curves_at(field, place, order)
            if found is not None:
                return found
    except Inexact:
        return None
    return None


def _curves_at(field: Field, place: tuple[Fraction, ...], order: int) -> MultiplePoint | None:
    d = field.dim - 1
    f = expansion(field.program, place, order)
    if any(f.derivative(k).center for k in range(d)):
        return None
    for i in range(d):
        try:
            b, _ = reduce_gradient(f, i)
        except Inexact:  # t cannot be this coordinate
            continue
        if b.terms.get((1, 0)) or not b.terms:
            return None
        fixed = all(g == 0 for g in exact_gradient(field.program, (*place[:d], None))[:d])
        found = _meeting(b.terms, fixed)
        if found is not None:
            branches = found
            sides = [h.side[1] for h in branches]
            shapes = words([h for h in branches if h.exponent is not None], ("dt", "da"))
            return MultiplePoint(place[:d], place[d], sides.count(-1), sides.count(1), shapes)
    return None


def _meeting(b: dict[tuple[int, ...], Fraction], fixed: bool) -> list[HalfBranch] | None:
    """The half-branches of b = 0, where terms that were cut off cannot change them."""
    lowest = min(p for p, _ in b)
    if lowest > int(fixed) or min(q for _, q in b) > 0:
        return None  # divisible by t as far as is known, but not for certain; or every x is critical at this a
    found, every = half_branches({(p, q): c for (p, q), c in b.items()}, deepest=0)
    return found if every else None
