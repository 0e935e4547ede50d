"""The real half-branches of a plane curve P(x, y) = 0 at the origin, by Newton's polygon and Puiseux's series.

Every half-branch that is not a coordinate axis begins as |y| = c |x|^m in one of the four quadrants. The slopes of
Newton's polygon give the exponents m, the roots of each edge's polynomial the coefficients c: one half-branch in each
of two quadrants for a simple root. Where a root is multiple, rational, and m or 1/m is whole, the curve that it
describes is made the axis and the polygon is drawn again; other multiple roots are reported as unresolved.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from optbench.critical.germs.roots import real_roots

Polynomial = Mapping[tuple[int, int], Fraction]
DEEPEST = 8  # substitutions one inside the other


@dataclass(frozen=True)
class HalfBranch:
    """One half of a branch, from the origin on.

    Attributes:
        side: signs of x and y along it, 0 where it is the axis on which that coordinate is 0.
        exponent: m in |y| = c |x|^m; None where the half-branch is an axis.
        coefficient: c > 0; 0 where the half-branch is an axis.
    """

    side: tuple[int, int]
    exponent: Fraction | None
    coefficient: float

    def to_json(self) -> dict[str, object]:
        """Exponents as text, so that 3/2 stays 3/2."""
        exponent = None if self.exponent is None else str(self.exponent)
        return {"side": list(self.side), "exponent": exponent, "coefficient": self.coefficient}


def half_branches(p: Polynomial, deepest: int = DEEPEST) -> tuple[list[HalfBranch], bool]:
    """The half-branches of P = 0 at the origin, and whether they are all.

    Args:
        p: coefficients by the exponents of x and y; not all 0, the constant term 0.
        deepest: substitutions one inside the other; 0: what one polygon shows, which terms above it cannot change.
    """
    return _half_branches({key: c for key, c in p.items() if c}, deepest)


def _half_branches(p: Polynomial, deeper: int) -> tuple[list[HalfBranch], bool]:
    found: list[HalfBranch] = []
    complete = True
    low_x, low_y = min(i for i, _ in p), min(j for _, j in p)
    if low_x:
        found += [HalfBranch((0, s), None, 0.0) for s in (1, -1)]
    if low_y:
        found += [HalfBranch((s, 0), None, 0.0) for s in (1, -1)]
    for a, b, edge in _edges(p):
        for root, multiplicity in real_roots(edge):
            if multiplicity == 1:
                found += _of_simple_root(a, b, root)
                continue
            part = _of_multiple_root(p, a, b, root, deeper) if deeper else None
            complete &= part is not None and part[1]
            found += part[0] if part else []
    return sorted(found, key=lambda h: math.atan2(h.side[1], h.side[0])), complete


def _edges(p: Polynomial) -> list[tuple[int, int, list[Fraction]]]:
    """(a, b, polynomial in z = x^a / y^b) of the edges of Newton's polygon: along one, |y| is like |x|^(a/b)."""
    lowest: dict[int, int] = {}
    for i, j in p:
        lowest[i] = min(j, lowest.get(i, j))
    corner = min(lowest)
    edges: list[tuple[int, int, list[Fraction]]] = []
    while True:
        ahead = [i for i in lowest if i > corner and lowest[i] < lowest[corner]]
        if not ahead:
            return edges
        steepest = max(Fraction(lowest[corner] - lowest[i], i - corner) for i in ahead)
        on = [i for i in ahead if Fraction(lowest[corner] - lowest[i], i - corner) == steepest]
        a, b = steepest.denominator, steepest.numerator
        last = max(on)
        edge = [p.get((corner + k * a, lowest[corner] - k * b), Fraction(0)) for k in range((last - corner) // a + 1)]
        edges.append((a, b, edge))
        corner = last


def _of_simple_root(a: int, b: int, root: Fraction) -> list[HalfBranch]:
    """z = x^a / y^b = root, in the quadrants where the signs allow it."""
    coefficient = float(abs(root)) ** (-1.0 / b)
    quadrants = [(s, t) for s, t in itertools.product((1, -1), repeat=2) if (s**a * t**b > 0) == (root > 0)]
    return [HalfBranch(side, Fraction(a, b), coefficient) for side in quadrants]


def _of_multiple_root(
    p: Polynomial, a: int, b: int, root: Fraction, deeper: int
) -> tuple[list[HalfBranch], bool] | None:
    """The half-branches that begin like y = c x^a (or x = c y^b) with a multiple, rational c."""
    if b == 1:
        swap, power, c = False, a, 1 / root
    elif a == 1:
        swap, power, c = True, b, root
    else:
        return None
    if c.denominator > 10**9:
        return None  # a root that is known by its digits only
    turned = {(j, i): v for (i, j), v in p.items()} if swap else dict(p)
    inner, complete = _half_branches(_substituted(turned, c, power), deeper - 1)
    # What stays nearer to the new axis than the next power belongs to this root; the others have been seen.
    near = [h for h in inner if h.side[0] != 0 and (h.exponent is None or h.exponent > power)]
    found = []
    for h in near:
        x = h.side[0]
        y = int(math.copysign(1, c)) * x**power
        found.append(HalfBranch((y, x) if swap else (x, y), Fraction(1, power) if swap else Fraction(power),
                                float(abs(c)) ** (-1.0 / power) if swap else float(abs(c))))  # fmt: skip
    return found, complete


def _substituted(p: Polynomial, c: Fraction, power: int) -> Polynomial:
    """P(x, y + c x^power)."""
    out: dict[tuple[int, int], Fraction] = {}
    for (i, j), v in p.items():
        for k in range(j + 1):
            key = (i + power * (j - k), k)
            out[key] = out.get(key, Fraction(0)) + v * math.comb(j, k) * c ** (j - k)
    return {key: v for key, v in out.items() if v}


def words(branches: list[HalfBranch], names: tuple[str, str]) -> str:
    """The half-branches, pair by pair, as a list of curves: y = +-1.5 |x|^(3/2) (x > 0)."""
    shapes: dict[str, int] = {}
    for h in branches:
        shapes[_shape(h, names)] = shapes.get(_shape(h, names), 0) + 1
    return ", ".join(f"{shape}{f' ({n} half-branches)' if n > 1 else ''}" for shape, n in shapes.items())


def _shape(h: HalfBranch, names: tuple[str, str]) -> str:
    x, y = names
    if h.exponent is None:
        return f"{x} = 0" if h.side[0] == 0 else f"{y} = 0"
    power = "" if h.exponent == 1 else f"^{h.exponent}" if h.exponent.denominator == 1 else f"^({h.exponent})"
    factor = "" if abs(h.coefficient - 1.0) < 1e-12 else f"{h.coefficient:.4g} "
    return f"|{y}| ~ {factor}|{x}|{power}"
