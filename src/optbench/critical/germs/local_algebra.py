"""The local algebra of an isolated critical point in exact arithmetic: multiplicity, index, and a room of its own.

At a critical point p let I be the ideal that the derivatives of f generate among the power series in the offsets from
p. If p is isolated (over the complex numbers), the algebra Q = R[[x]] / I has finite dimension: the multiplicity, or
Milnor number: so many nondegenerate points a small change of f can make of it. Everything is found by elimination among
the multiples x^b df/dx_k, lowest degree first, in fractions:

* If every monomial of degree L leads a row, then m^L lies in I + m^(L+1), hence in I (Nakayama's lemma), and the
  multiplicity counts the monomials that lead none. It depends on the Taylor polynomial of degree L + 1 alone.
* The Poincare index is the signature of (a, b) -> phi(a b) on Q, for any linear phi that is positive on the determinant
  of the Hessian (D. Eisenbud & H. Levine, Annals of Mathematics 106 (1977) 19; G. N. Khimshiashvili, 1977).
* The rows that lead with a monomial of degree L say x^d = sum c x^g with |g| > L wherever all derivatives vanish. Where
  sum |c| r^g < r^d for each of them, no other point with |x_i| <= r_i, real or complex, is critical.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

Exponents = tuple[int, ...]
Polynomial = dict[Exponents, Fraction]
_Key = tuple[int, tuple[int, ...]]  # total degree, then exponents; or _REST, then the derivative and its factor
_Row = dict[_Key, Fraction]
_REST = 10**6  # above every degree: what Taylor's formula leaves over of a multiple of a derivative


@dataclass(frozen=True)
class LocalAlgebra:
    """What is proved of an isolated critical point.

    Attributes:
        multiplicity: dimension of the local algebra.
        index: Poincare index.
        degree: L: every monomial of this degree lies in the ideal.
        rows: for each monomial x^d of degree L, d, the terms c x^g in x^d = sum c x^g, and the terms c x^b R_k, with
            R_k the rest of Taylor's formula for derivative k.
    """

    multiplicity: int
    index: int
    degree: int
    rows: tuple[tuple[Exponents, Polynomial, dict[tuple[int, Exponents], Fraction]], ...]

    def alone_within(self, radius: Sequence[Fraction], rest: Sequence[Mapping[Exponents, Fraction]] | None) -> bool:
        """Whether no other point with |x_i| <= radius_i is critical, real or complex.

        Args:
            radius: of the box, one per axis; 0 is allowed.
            rest: for each derivative, bounds on the coefficients of the remainder sum c x^a of Taylor's formula, by a;
                None where f is a polynomial and there is no remainder.
        """
        # A side of no length holds one point only; any length larger than it serves as the unit.
        r = [max(v, Fraction(1, 2**200)) for v in radius]
        for leading, terms, left in self.rows:
            total = sum((abs(c) * _monomial(r, g) for g, c in terms.items()), Fraction(0))
            for (k, b), c in left.items():
                if rest is not None:
                    total += abs(c) * _monomial(r, b) * sum(v * _monomial(r, a) for a, v in rest[k].items())
            if total >= _monomial(r, leading):
                return False
        return True


def local_algebra(taylor: Polynomial, dim: int, order: int, whole: bool) -> LocalAlgebra | None:
    """The local algebra of a critical point at the origin.

    Args:
        taylor: Taylor polynomial of f there, exact; its linear terms are 0.
        dim: number of variables.
        order: its degree.
        whole: f is this polynomial and nothing was cut off.

    Returns:
        None where the order does not show that the point is isolated.
    """
    gradient = [_derivative(taylor, i) for i in range(dim)]
    known = order - 1  # degree to which the derivatives are known
    rows = _echelon(gradient, dim, known, whole)
    degree = _degree_of_ideal(rows, dim, known)
    if degree is None:
        return None
    rows = {key: row for key, row in rows.items() if key[0] <= degree}
    _reduce(rows)
    basis = [m for e in range(degree) for m in monomials(dim, e) if (e, m) not in rows]
    # The Hessian's determinant, and products of basis elements, are needed up to degree L - 1.
    if not whole and order < len(basis) + 1:
        return None
    index = _signature_of(gradient, basis, rows, degree)
    leading = tuple(_parts(key[1], row) for key, row in sorted(rows.items()) if key[0] == degree)
    return LocalAlgebra(len(basis), index, degree, leading)


def monomials(dim: int, degree: int) -> list[Exponents]:
    """All exponents of a total degree."""
    if dim == 1:
        return [(degree,)]
    return [(k, *rest) for k in range(degree + 1) for rest in monomials(dim - 1, degree - k)]


def _echelon(gradient: Sequence[Polynomial], dim: int, known: int, whole: bool) -> dict[_Key, _Row]:
    """Rows with leading coefficient 1 and different leading monomials, that span the multiples of the derivatives."""
    rows: dict[_Key, _Row] = {}
    for e in range(known):
        for k, part in enumerate(gradient):
            for b in monomials(dim, e):
                row = {_key(_times(b, a)): c for a, c in part.items()}
                if not whole:
                    row[(_REST, (k, *b))] = Fraction(1)
                _insert(rows, row, known)
    return rows


def _insert(rows: dict[_Key, _Row], row: _Row, known: int) -> None:
    while row:
        lead = min(row)
        if lead[0] > known:
            return
        if lead not in rows:
            inverse = 1 / row[lead]
            rows[lead] = {key: c * inverse for key, c in row.items()}
            return
        _subtract(row, rows[lead], row[lead])


def _subtract(row: _Row, other: _Row, factor: Fraction) -> None:
    """row - factor other, in place."""
    for key, c in other.items():
        value = row.get(key, 0) - factor * c
        if value:
            row[key] = value
        else:
            row.pop(key, None)


def _degree_of_ideal(rows: Mapping[_Key, _Row], dim: int, known: int) -> int | None:
    """The lowest degree of which every monomial leads a row."""
    for e in range(known + 1):
        if all((e, m) in rows for m in monomials(dim, e)):
            return e
    return None


def _reduce(rows: dict[_Key, _Row]) -> None:
    """Takes the leading monomials of all rows out of all other rows."""
    for lead in sorted(rows, reverse=True):
        row = rows[lead]
        for key in [k for k in row if k != lead and k in rows]:
            if key in row:
                _subtract(row, rows[key], row[key])


def _parts(leading: Exponents, row: _Row) -> tuple[Exponents, Polynomial, dict[tuple[int, Exponents], Fraction]]:
    terms = {key[1]: -c for key, c in row.items() if key[0] != _REST and key[1] != leading}
    left = {(key[1][0], key[1][1:]): -c for key, c in row.items() if key[0] == _REST}
    return leading, terms, left


def _signature_of(
    gradient: Sequence[Polynomial], basis: list[Exponents], rows: Mapping[_Key, _Row], degree: int
) -> int:
    """The signature of (a, b) -> phi(a b)."""
    normal = _normal(_determinant([[_derivative(g, j) for j in range(len(gradient))] for g in gradient], degree),
                     rows, degree)  # fmt: skip
    # The class of the determinant is not 0 in Q: some coordinate of it can serve as phi, with its sign.
    socle, value = next(iter(normal.items()))
    sign = 1 if value > 0 else -1
    matrix = [[Fraction(0)] * len(basis) for _ in basis]
    for i, a in enumerate(basis):
        for j, b in enumerate(basis[: i + 1]):
            product = _normal({_times(a, b): Fraction(1)}, rows, degree)
            matrix[i][j] = matrix[j][i] = sign * product.get(socle, Fraction(0))
    positive, negative = signature(matrix)
    return positive - negative


def _normal(polynomial: Polynomial, rows: Mapping[_Key, _Row], degree: int) -> Polynomial:
    """The polynomial in terms of the basis of Q."""
    found: Polynomial = {}
    for exponents, c in polynomial.items():
        if sum(exponents) >= degree:
            continue
        row = rows.get(_key(exponents))
        parts = {exponents: c} if row is None else {
            key[1]: -c * v for key, v in row.items() if key[0] < degree and key[1] != exponents
        }  # fmt: skip
        for m, v in parts.items():
            found[m] = found.get(m, Fraction(0)) + v
    return {m: v for m, v in found.items() if v}


def signature(matrix: Sequence[Sequence[Fraction]]) -> tuple[int, int]:
    """Numbers of positive and of negative squares of a symmetric matrix, by Lagrange's reduction in fractions."""
    a = [list(row) for row in matrix]
    positive = negative = 0
    while a:
        n = len(a)
        pivot = next((i for i in range(n) if a[i][i]), None)
        if pivot is None:
            pair = next(((i, j) for i, j in itertools.combinations(range(n), 2) if a[i][j]), None)
            if pair is None:
                break
            # x_i x_j alone: add row and column j to row and column i, which puts 2 a_ij on the diagonal.
            pivot, other = pair
            for k in range(n):
                a[pivot][k] += a[other][k]
            for k in range(n):
                a[k][pivot] += a[k][other]
        head = a[pivot]
        positive, negative = positive + (head[pivot] > 0), negative + (head[pivot] < 0)
        rest = [i for i in range(n) if i != pivot]
        a = [[a[i][j] - head[i] * head[j] / head[pivot] for j in rest] for i in rest]
    return positive, negative


def _determinant(matrix: Sequence[Sequence[Polynomial]], degree: int) -> Polynomial:
    """Determinant of a small matrix of polynomials, below a degree."""
    if len(matrix) == 1:
        return dict(matrix[0][0])
    found: Polynomial = {}
    for j, entry in enumerate(matrix[0]):
        minor = _determinant([[c for k, c in enumerate(row) if k != j] for row in matrix[1:]], degree)
        for (p, a), (q, b) in itertools.product(entry.items(), minor.items()):
            if sum(p) + sum(q) < degree:
                key = _times(p, q)
                found[key] = found.get(key, Fraction(0)) + (-1) ** j * a * b
    return {key: c for key, c in found.items() if c}


def _derivative(polynomial: Mapping[Exponents, Fraction], i: int) -> Polynomial:
    return {(*e[:i], e[i] - 1, *e[i + 1 :]): c * e[i] for e, c in polynomial.items() if e[i]}


def _times(a: Exponents, b: Exponents) -> Exponents:
    return tuple(i + j for i, j in zip(a, b, strict=True))


def _key(exponents: Exponents) -> _Key:
    return sum(exponents), exponents


def _monomial(r: Sequence[Fraction], exponents: Exponents) -> Fraction:
    return math.prod((v**e for v, e in zip(r, exponents, strict=True)), start=Fraction(1))
