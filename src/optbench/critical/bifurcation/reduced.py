"""The gradient near a singular Hessian, reduced to one equation b(t, a) = 0 in one coordinate t and the parameter.

Where one eigenvalue of the Hessian of f(., a) passes through 0 and t = x_i is a coordinate that the null vector moves,
the other equations can be solved: df/dx_j = 0 for j != i defines s(t, a), the other coordinates, in the whole box if
Krawczyk's operator contracts in s for all t and a at once. Critical points in the box are then the zeros of
b(t, a) = df/dx_i (t, s(t, a), a) (Lyapunov-Schmidt). Derivatives of b over the box come from the Taylor coefficients of
f over the box, by implicit differentiation, in intervals: they hold at every point of the surface s = s(t, a).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optbench.critical.arithmetic.elementary_series import Enclosed, Inexact, Number, Numbers
from optbench.critical.arithmetic.ends import Array
from optbench.critical.arithmetic.interval import Interval
from optbench.critical.arithmetic.power_series import Exponents, PowerSeries, coordinates, series_of
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.krawczyk import contract_for_all

ORDER = 3  # of the derivatives of b
TIGHTER = 5  # applications of Krawczyk's operator
WIDER = 4  # times that the box of s is made wider
LEAST = 1e-13  # of the box: by which a side is made wider at least
PIECES = 16  # of a side, when a sign is looked for all along it


@dataclass(frozen=True)
class Expansion:
    """Taylor coefficients of b, and of s, in (t, a), as ranges over a box.

    Attributes:
        b: (low, high) of each coefficient by the exponents of t and a; (0, 0) is b itself.
        s: of each other coordinate, the same; (0, 0) is absent.
        rest: (low, high) of each other equation; 0 lies in it on the surface s = s(t, a).
        slope: middle of the Hessian in s, (d - 1, d - 1).
    """

    b: dict[tuple[int, int], tuple[float, float]]
    s: tuple[dict[tuple[int, int], tuple[float, float]], ...]
    rest: tuple[tuple[float, float], ...]
    slope: Array

    def sign(self, key: tuple[int, int]) -> int:
        """1 or -1 where the coefficient has that sign all over the box, else 0."""
        low, high = self.b.get(key, (0.0, 0.0))
        return int(low > 0) - int(high < 0)

    def middle(self, key: tuple[int, int]) -> float:
        """The middle of a coefficient."""
        low, high = self.b.get(key, (0.0, 0.0))
        return 0.5 * (low + high)


def expand(field: Field, i: int, low: Array, high: Array) -> Expansion:
    """The expansion over the box low, high (d + 1,), with t = x_i and the last coordinate as the parameter.

    Raises:
        Inexact: f is not analytic in the box, or the Hessian in s may be singular.
    """
    d = field.dim - 1
    boxes = [Interval.between(low[k : k + 1], high[k : k + 1]) for k in range(d + 1)]
    with np.errstate(all="ignore"):
        f = series_of(field.program, coordinates(boxes, ORDER + 1, Enclosed()))
        b, s = reduce_gradient(f, i)
    others = [j for j in range(d) if j != i]
    slopes = [f.derivative(j) for j in others]
    unit = [tuple(int(k == j) for k in range(d + 1)) for j in range(d + 1)]
    center = [[float(np.mean(_ends(p.terms.get(unit[j])))) for j in others] for p in slopes]
    return Expansion(
        {key: _ends(v) for key, v in b.terms.items()},  # type: ignore[misc]
        tuple({key: _ends(v) for key, v in p.terms.items() if any(key)} for p in s),  # type: ignore[misc]
        tuple(_ends(p.center) for p in slopes),
        np.array(center).reshape(d - 1, d - 1),
    )


def reduce_gradient(f: PowerSeries, i: int) -> tuple[PowerSeries, list[PowerSeries]]:
    """b, and s - s0 for each other coordinate, as series in (t, a).

    Args:
        f: series of f in (x, a) at points where the other equations hold (their constant terms are taken as 0).
        i: which coordinate is t.

    Raises:
        Inexact: the Hessian in the other coordinates may be singular.
    """
    d = f.dim - 1
    others = [j for j in range(d) if j != i]
    slopes = [f.derivative(j) for j in others]
    inverse = _inverse(slopes, others, f.numbers)
    s = [PowerSeries({}, 2, f.order - 1, f.numbers) for _ in others]
    for order in range(1, f.order):
        rest = [_composed(p, s, others, i) for p in slopes]
        for row, part in zip(inverse, s, strict=True):
            for key in {k for p in rest for k in p.terms if sum(k) == order}:
                terms: list[Number] = [
                    entry * p.terms[key] for entry, p in zip(row, rest, strict=True) if key in p.terms
                ]
                part.terms[key] = -sum(terms[1:], terms[0])
    return _composed(f.derivative(i), s, others, i), s


def _ends(value: Interval | None) -> tuple[float, float]:
    return (0.0, 0.0) if value is None else (float(value.low[0]), float(value.high[0]))


def _composed(p: PowerSeries, s: list[PowerSeries], others: list[int], i: int) -> PowerSeries:
    """A series in (x, a) at x_i = t, x_j = s_j(t, a)."""

    def made(terms: dict[Exponents, Number]) -> PowerSeries:
        return PowerSeries(terms, 2, p.order, p.numbers)

    one = p.numbers.lift(1.0)
    powers = {i: made({(1, 0): one}), p.dim - 1: made({(0, 1): one}), **dict(zip(others, s, strict=True))}
    total = made({})
    for key, c in p.terms.items():
        term = made({(0, 0): c})
        for k, exponent in enumerate(key):
            for _ in range(exponent):
                term = term.times(powers[k])
        total = total.plus(term)
    return total


def _inverse(slopes: list[PowerSeries], others: list[int], numbers: Numbers) -> list[list[Number]]:
    """Of the Hessian in s, by Cramer's rule: at most two other coordinates."""
    zero, one = numbers.lift(0.0), numbers.lift(1.0)
    h: list[list[Number]] = [
        [p.terms.get(tuple(int(k == j) for k in range(p.dim)), zero) for j in others] for p in slopes
    ]
    if not h:
        return []
    if len(h) == 1:
        determinant, adjugate = h[0][0], [[one]]
    else:
        determinant = h[0][0] * h[1][1] - h[0][1] * h[1][0]
        adjugate = [[h[1][1], -h[0][1]], [-h[1][0], h[0][0]]]
    if numbers.sign(determinant) == 0:
        raise Inexact("the Hessian in the other coordinates may be singular")
    return [[entry / determinant for entry in row] for row in adjugate]


def other_coordinates(field: Field, i: int, low: Array, high: Array) -> tuple[Array, Array, Array, Array] | None:
    """Where s(t, a) is, for all t and a of the box low, high (d + 1,); None where that is not proved.

    Returns:
        A box that covers low, high, wider in s at most, in which s(t, a) is the only solution for each t and a; and the
        same box with the sides in s that hold it: Krawczyk's operator maps the first into the second.
    """
    others = _others(field, i)
    low, high = low.copy(), high.copy()
    if not others:
        return low, high, low, high
    for _ in range(WIDER):
        k = _contract_others(field, i, others, low[None], high[None])[:, 0]
        if not np.isfinite(k).all():
            return None
        if (k[0] > low[others]).all() and (k[1] < high[others]).all():
            held_low, held_high = _tightened(field, i, low[None], high[None])
            return low, high, held_low[0], held_high[0]
        center, half = 0.5 * (k[0] + k[1]), 0.75 * (k[1] - k[0]) + LEAST * field.width[others]
        low[others], high[others] = np.minimum(low[others], center - half), np.maximum(high[others], center + half)
    return None


def sign_along(field: Field, i: int, low: Array, high: Array) -> int:
    """1 or -1 if b has that sign on the whole box low, high (d + 1,), else 0; the box holds s(t, a).

    The sides in t and a are cut in pieces; on each of them s is enclosed anew.
    """
    d = field.dim - 1
    cuts = [np.unique(np.append(np.linspace(low[k], high[k], PIECES + 1)[:-1], high[k])) for k in (i, d)]
    pairs = [np.stack([c[:-1], c[1:]], axis=1) if len(c) > 1 else np.stack([c, c], axis=1) for c in cuts]
    t, a = (grid.ravel() for grid in np.meshgrid(*(np.arange(len(p)) for p in pairs), indexing="ij"))
    piece_low, piece_high = np.tile(low, (len(t), 1)), np.tile(high, (len(t), 1))
    for k, pair, n in ((i, pairs[0], t), (d, pairs[1], a)):
        piece_low[:, k], piece_high[:, k] = pair[n, 0], pair[n, 1]
    piece_low, piece_high = _tightened(field, i, piece_low, piece_high)
    grad = field.enclose(piece_low, piece_high, 1).grad[:, :, i]
    return int((grad[0] > 0).all()) - int((grad[1] < 0).all())


def _others(field: Field, i: int) -> list[int]:
    return [j for j in range(field.dim - 1) if j != i]


def _tightened(field: Field, i: int, low: Array, high: Array) -> tuple[Array, Array]:
    """Boxes (n, d + 1) that hold s(t, a), with their sides in s as narrow as Krawczyk's operator makes them."""
    others = _others(field, i)
    low, high = low.copy(), high.copy()
    for _ in range(TIGHTER if others else 0):
        k = _contract_others(field, i, others, low, high)
        before = high[:, others] - low[:, others]
        low[:, others], high[:, others] = np.fmax(low[:, others], k[0]), np.fmin(high[:, others], k[1])
        if (high[:, others] - low[:, others] > 0.9 * before).all():
            break
    return low, high


def _contract_others(field: Field, i: int, others: list[int], low: Array, high: Array) -> Array:
    """Krawczyk's operator in s, for all t and a of each of the boxes low, high (n, d + 1): (2, n, d - 1)."""
    k = contract_for_all(field, low, high, others, [i, field.dim - 1], field.enclose(low, high, 2).hess)
    return np.stack([k.low, k.high])
