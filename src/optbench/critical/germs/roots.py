"""Real roots of polynomials with rational coefficients: counted by Sturm's theorem, enclosed by bisection.

A polynomial is the list of its coefficients, lowest degree first, the last one not 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from optbench.critical.arithmetic.exact import simplest_between

Coefficients = list[Fraction]
DIGITS = Fraction(1, 10**17)  # relative width at which a root is as good as a float


def real_roots(polynomial: Sequence[Fraction]) -> list[tuple[Fraction, int]]:
    """(root, multiplicity) of every real root, ascending; a root is exact where it is met, else good to 17 digits."""
    found = []
    for multiplicity, part in enumerate(_squarefree_parts(trimmed(polynomial)), start=1):
        found += [(root, multiplicity) for root in _simple_roots(part)]
    return sorted(found)


def trimmed(polynomial: Sequence[Fraction]) -> Coefficients:
    """Without leading zeros."""
    out = list(polynomial)
    while out and not out[-1]:
        out.pop()
    return out


def value(polynomial: Sequence[Fraction], x: Fraction) -> Fraction:
    """The polynomial at x."""
    out = Fraction(0)
    for c in reversed(polynomial):
        out = out * x + c
    return out


def _simple_roots(p: Coefficients) -> list[Fraction]:
    """The real roots of a polynomial without multiple roots."""
    if len(p) < 2:
        return []
    chain = _sturm(p)
    bound = 1 + max(abs(c / p[-1]) for c in p[:-1])  # Cauchy's
    found = []
    todo = [(-bound, bound)]
    while todo:
        low, high = todo.pop()
        count = _changes(chain, low) - _changes(chain, high)  # roots in (low, high]
        if not count:
            continue
        if count == 1:
            found.append(_bisect(p, low, high))
            continue
        middle = (low + high) / 2
        todo += [(low, middle), (middle, high)]
    return found


def _bisect(p: Coefficients, low: Fraction, high: Fraction) -> Fraction:
    """The one root in (low, high]."""
    if value(p, high) == 0:
        return high
    simple = simplest_between(low, high)
    while high - low > DIGITS * max(abs(low), abs(high)):
        if value(p, simple) == 0:
            return simple
        middle = (low + high) / 2
        at = value(p, middle)
        if at == 0:
            return middle
        if (at > 0) == (value(p, high) > 0):
            high = middle
        else:
            low = middle
        simple = simplest_between(low, high)
    return (low + high) / 2


def _sturm(p: Coefficients) -> list[Coefficients]:
    chain = [p, derivative(p)]
    while len(chain[-1]) > 1:
        rest = _divide(chain[-2], chain[-1])[1]
        if not rest:
            break
        chain.append([-c for c in rest])
    return chain


def _changes(chain: list[Coefficients], x: Fraction) -> int:
    signs = [v > 0 for v in (value(p, x) for p in chain) if v]
    return sum(a != b for a, b in itertools.pairwise(signs))


def derivative(p: Sequence[Fraction]) -> Coefficients:
    """Its derivative."""
    return [k * c for k, c in enumerate(p)][1:]


def _squarefree_parts(p: Coefficients) -> list[Coefficients]:
    """Part k - 1 holds the roots of multiplicity k, each once (Yun's algorithm)."""
    parts: list[Coefficients] = []
    if len(p) < 2:
        return parts
    common = _gcd(p, derivative(p))
    b, c = _divide(p, common)[0], _divide(derivative(p), common)[0]
    d = _minus(c, derivative(b))
    while len(b) > 1:
        a = _gcd(b, d)
        parts.append(a)
        b, c = _divide(b, a)[0], _divide(d, a)[0]
        d = _minus(c, derivative(b))
    return parts


def _gcd(a: Coefficients, b: Coefficients) -> Coefficients:
    while b:
        a, b = b, _divide(a, b)[1]
    return [c / a[-1] for c in a]


def _divide(a: Sequence[Fraction], b: Coefficients) -> tuple[Coefficients, Coefficients]:
    rest, quotient = list(a), [Fraction(0)] * max(len(a) - len(b) + 1, 0)
    for k in range(len(quotient) - 1, -1, -1):
        quotient[k] = rest[k + len(b) - 1] / b[-1]
        for i, c in enumerate(b):
            rest[k + i] -= quotient[k] * c
    return quotient, trimmed(rest[: len(b) - 1])


def _minus(a: Coefficients, b: Coefficients) -> Coefficients:
    n = max(len(a), len(b))
    return trimmed([(a[i] if i < len(a) else Fraction(0)) - (b[i] if i < len(b) else Fraction(0)) for i in range(n)])
