"""Degenerate critical points that can be named: verified exactly, with multiplicity, index, branches and kind, proved.

A region that branch and bound leaves undecided often holds a point with simple coordinates: 0, 1/3, 0.1 as a float.
There the surface's own code is run on power series with fractions as coefficients. If the gradient is exactly 0 the
point is critical, and its Hessian, local algebra and Newton polygon are known exactly. If besides the local algebra
shows that it is the only critical point of the region, nothing is left open: whatever the region holds, it is this.

Out of reach, and left as they are: points whose coordinates or Taylor coefficients are irrational (exp at 1), points
with a kink, points that are not isolated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as default
from fractions import Fraction
from typing import Literal

import numpy as np

from optbench.critical.arithmetic.elementary_series import Enclosed, Exact, Inexact
from optbench.critical.arithmetic.ends import Array
from optbench.critical.arithmetic.exact import above, below, simplest_between
from optbench.critical.arithmetic.interval import Interval
from optbench.critical.arithmetic.power_series import PowerSeries, coordinates, series_of
from optbench.critical.germs.branches import HalfBranch, half_branches
from optbench.critical.germs.local_algebra import LocalAlgebra, Polynomial, local_algebra, signature
from optbench.critical.programs.program import Program
from optbench.critical.proofs.field import Field

ORDERS = (4, 6, 8, 12, 16, 20)  # of the Taylor polynomials tried
MOST_TERMS = 500  # of one polynomial
MOST_COORDINATES = 4
Nature = Literal["minimum", "maximum", "saddle", "undecided"]


@dataclass(frozen=True)
class Germ:
    """A critical point that is verified in exact arithmetic and alone in its region.

    Attributes:
        point: its coordinates, exact.
        hessian: d rows of d, exact.
        positive, negative: eigenvalues of that sign; the others are exactly 0.
        multiplicity: dimension of the local algebra (Milnor number); 1 for a nondegenerate point.
        index: Poincare index.
        nature: minimum, maximum, saddle (neither), or undecided.
        singularity: Arnold's name (A3, D4-, E6 ...); empty where it is not looked up.
        branches: half-branches of {f = f(point)}, in the offsets from the point; two coordinates only.
        all_branches: whether those are all.
        taylor: Taylor polynomial of f there, exact.
        algebra: its local algebra.
    """

    point: tuple[Fraction, ...]
    hessian: tuple[tuple[Fraction, ...], ...]
    positive: int
    negative: int
    multiplicity: int
    index: int
    nature: Nature
    singularity: str
    branches: tuple[HalfBranch, ...]
    all_branches: bool
    taylor: PowerSeries = default(repr=False)
    algebra: LocalAlgebra = default(repr=False)

    @property
    def degenerate(self) -> bool:
        """Whether the Hessian is singular."""
        return self.positive + self.negative < len(self.point)

    @property
    def x(self) -> tuple[float, ...]:
        """The nearest floats."""
        return tuple(map(float, self.point))

    @property
    def radius(self) -> float:
        """How far the point is from `x`: 0, or a rounding error."""
        gap = max(abs(p - Fraction(v)) for p, v in zip(self.point, self.x, strict=True))
        return math.nextafter(float(gap), math.inf) if gap else 0.0

    @property
    def eigenvalues(self) -> tuple[float, ...]:
        """Of the Hessian, ascending, in floating point; what is exactly 0 is 0."""
        values = np.linalg.eigvalsh(np.array(self.hessian, dtype=np.float64))
        smallest = np.argsort(np.abs(values))[: len(values) - self.positive - self.negative]
        values[smallest] = 0.0
        return tuple(np.sort(values).tolist())


def germ_in(field: Field, low: Array, high: Array) -> Germ | None:
    """The one critical point between low and high (d,), if it can be verified exactly and proved to be the only one."""
    if field.dim > MOST_COORDINATES:
        return None
    for point in _candidates(low, high):
        try:
            taylor = expansion(field.program, point, 2)
            if not _critical(taylor):
                continue
            found = _algebra(field, point)
            germ = None if found is None else _germ(point, *found)
            if germ is not None and alone(field, germ, low, high):
                return germ
        except Inexact:
            return None  # a constant or a function that fractions do not hold
    return None


def expansion(program: Program, point: tuple[Fraction, ...], order: int) -> PowerSeries:
    """The exact Taylor polynomial of the surface at a point.

    Raises:
        Inexact: a coefficient is not rational, or the surface is not analytic there.
    """
    return series_of(program, coordinates(point, order, Exact()))


def _candidates(low: Array, high: Array) -> Iterator[tuple[Fraction, ...]]:
    """Points of the box with simple coordinates: fractions, or decimals as floating point holds them."""
    per_axis = []
    for a, b in zip(low.tolist(), high.tolist(), strict=True):
        first, second = Fraction(a), Fraction(b)
        simple = [simplest_between(first, second)]
        decimal = _shortest_decimal(a, b)
        if decimal is not None and decimal not in simple:
            simple.append(decimal)
        per_axis.append(simple)
    yield from itertools.product(*per_axis)


def _shortest_decimal(low: float, high: float) -> Fraction | None:
    """The float with the fewest decimal digits in [low, high]."""
    middle = 0.5 * low + 0.5 * high
    for digits in range(1, 18):
        near = float(f"{middle:.{digits}g}")
        if low <= near <= high:
            return Fraction(near)
    return None


def _critical(taylor: PowerSeries) -> bool:
    return all(sum(key) != 1 for key in taylor.terms)


def _algebra(field: Field, point: tuple[Fraction, ...]) -> tuple[PowerSeries, LocalAlgebra] | None:
    for order in ORDERS:
        if math.comb(field.dim + order, order) > MOST_TERMS:
            return None
        taylor = expansion(field.program, point, order)
        found = local_algebra(_without_constant(taylor), field.dim, order, taylor.whole)
        if found is not None:
            return taylor, found
    return None


def _without_constant(taylor: PowerSeries) -> Polynomial:
    return {key: value for key, value in taylor.terms.items() if any(key)}


def alone(field: Field, germ: Germ, low: Array, high: Array) -> bool:
    """Whether the point is proved to be the only critical point between low and high (d,); it may lie outside."""
    ends = zip(germ.point, low.tolist(), high.tolist(), strict=True)
    reach = [max(abs(p - Fraction(a)), abs(Fraction(b) - p)) for p, a, b in ends]
    for radius in (reach, [max(reach)] * len(reach)):
        try:
            rest = None if germ.taylor.whole else _rest(field, germ.point, radius, germ.taylor.order)
        except Inexact:
            return False
        if germ.algebra.alone_within(radius, rest):
            return True
    return False


def _rest(
    field: Field, point: tuple[Fraction, ...], radius: list[Fraction], order: int
) -> list[dict[tuple[int, ...], Fraction]]:
    """For each derivative, bounds on the coefficients of the remainder of its Taylor polynomial of degree order - 1."""
    low = np.array([below(p - r) for p, r in zip(point, radius, strict=True)])
    high = np.array([above(p + r) for p, r in zip(point, radius, strict=True)])
    boxes = [Interval.between(low[i : i + 1], high[i : i + 1]) for i in range(field.dim)]
    with np.errstate(all="ignore"):
        found = series_of(field.program, coordinates(boxes, order + 1, Enclosed()))
    rest = []
    for k in range(field.dim):
        bounds = {}
        for key, value in found.derivative(k).terms.items():
            if sum(key) == order:
                size = float(np.abs(value.ends).max())
                if not np.isfinite(size):
                    raise Inexact("a derivative that is not bounded in the region")
                bounds[key] = Fraction(size)
        rest.append(bounds)
    return rest


def _germ(point: tuple[Fraction, ...], taylor: PowerSeries, algebra: LocalAlgebra) -> Germ:
    d = len(point)
    hessian = _hessian(taylor)
    positive, negative = signature(hessian)
    terms = _without_constant(taylor)
    branches, every = half_branches({(i, j): c for (i, j), c in terms.items()}) if d == 2 else ([], False)
    every = every and len(branches) == 2 * (1 - algebra.index)
    return Germ(
        point,
        tuple(map(tuple, hessian)),
        positive,
        negative,
        algebra.multiplicity,
        algebra.index,
        _nature(d, positive, negative, algebra, terms),
        _singularity(d, d - positive - negative, algebra.multiplicity, terms),
        tuple(branches),
        every,
        taylor,
        algebra,
    )


def _hessian(taylor: PowerSeries) -> list[list[Fraction]]:
    zero = (0,) * taylor.dim
    return [
        [taylor.derivative(i).derivative(j).terms.get(zero, Fraction(0)) for j in range(taylor.dim)]
        for i in range(taylor.dim)
    ]


def _nature(d: int, positive: int, negative: int, algebra: LocalAlgebra, terms: Polynomial) -> Nature:
    """What the point is.

    By the splitting lemma f is a sum of squares and a function g of as many variables as the Hessian has zeros, with
    the same local algebra. In one variable g is +-t^(multiplicity + 1). In two, g = 0 has 2 (1 - index) half-branches
    between which the sign alternates. An isolated minimum has index 1, a maximum (-1)^d, in any dimension.
    """
    if positive and negative:
        return "saddle"
    flat, inner = d - positive - negative, algebra.index * (-1) ** negative
    if flat == 0:
        return "maximum" if negative else "minimum"
    if flat == 1:
        if inner == 0 or (inner > 0 and negative) or (inner < 0 and positive):
            return "saddle"
        return "minimum" if inner > 0 else "maximum"
    if algebra.index not in (1, (-1) ** d) or (flat == 2 and inner != 1):
        return "saddle"
    if d == 2:
        along = min((key for key in terms if key[1] == 0), default=None)
        if along is not None:
            return "minimum" if terms[along] > 0 else "maximum"
    return "undecided"


def _singularity(d: int, flat: int, multiplicity: int, terms: Polynomial) -> str:
    """Arnold's name (V. I. Arnold, Uspekhi Mat. Nauk 28 (1973) 17), where the rank and the cubic part tell."""
    if flat <= 1:
        return f"A{multiplicity}"
    if d != 2:
        return ""
    a, b, c, e = (terms.get((3 - k, k), Fraction(0)) for k in range(4))
    if not (a or b or c or e):
        return "X9" if multiplicity == 9 else ""
    discriminant = b**2 * c**2 - 4 * a * c**3 - 4 * b**3 * e - 27 * a**2 * e**2 + 18 * a * b * c * e
    if discriminant:
        return "D4-" if discriminant > 0 else "D4+"
    if b**2 == 3 * a * c and b * c == 9 * a * e and c**2 == 3 * b * e:
        return f"E{multiplicity}" if multiplicity <= 8 else ""
    return f"D{multiplicity}"
