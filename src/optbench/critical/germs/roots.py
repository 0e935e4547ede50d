"""Real roots of polynomials with rational coefficients, by sympy: counted and isolated exactly."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

DIGITS = Fraction(1, 10**17)  # relative width at which a root is as good as a float


def real_roots(polynomial: Sequence[Fraction]) -> list[tuple[Fraction, int]]:
    """(root, multiplicity) of every real root, ascending; rational roots are exact, others good to 17 digits.

    Args:
        polynomial: its coefficients, lowest degree first; not all 0.
    """
    from sympy import QQ, Poly, Symbol

    coefficients = [QQ(c.numerator, c.denominator) for c in reversed(polynomial)]
    found = []
    for factor, multiplicity in Poly.from_list(coefficients, Symbol("z"), domain=QQ).factor_list()[1]:
        for (low, high), _ in factor.intervals():
            while high - low > DIGITS * max(abs(low), abs(high)):
                low, high = factor.refine_root(low, high, steps=8)
            found.append((Fraction(str((low + high) / 2)), multiplicity))
    return sorted(found)
