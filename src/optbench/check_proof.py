"""Checks a certificate of critical points. Nothing but Python's standard library, nothing of the program that wrote it.

    python check_proof.py proof.json        0: accepted, 1: refused, 2: the file cannot be read or checked

WHAT IS PROVED. Let f be the real function that the listed steps define, every operation exact, every number the one in
the file. If this program accepts, then for the box in the file

  * each listed point is one zero z of the gradient of f, the only one in its `unique` box, and |z - x| <= radius in
    every coordinate; its Hessian is regular and has exactly `morse_index` negative eigenvalues; it lies in the (closed)
    box where `place` is "inside", not in it where it is "outside", and "edge" says that this is not known;
  * two listed points are two different points;
  * every other critical point of f in the box lies in a cell that is listed as open. None is open, and no point is on
    the edge, where `complete` is true: then the box holds exactly the points counted.

A critical point is one at which f is differentiable and its gradient vanishes, or at which f has a kink (abs, relu) and
0 lies in Clarke's generalized gradient. Cells listed as undefined hold no point at which f is defined.

WHAT IS NOT. That these steps are the function somebody had in mind: the formula is printed, compare it.
where(c, a, b) in it is a where c > 0 and b elsewhere; maximum(a, b) is the larger.

HOW. The box is cut into cells by halving; the list of cells is the tree in preorder, so the cells cover the box by
construction. A cell is closed by one of these tests, G and H being ranges of gradient and Hessian over the cell X:
  range i         0 is not in G_i
  mean i          0 is not in g_i(m) + sum_j H_ij (X_j - m_j), with m the middle of the cell (mean-value theorem)
  combination y   0 is not in sum_i y_i G_i, or not in sum_i y_i g_i(m) + sum_j (sum_i y_i H_ij) (X_j - m_j)
  point k         X lies in the unique box of point k, where there is no other zero
  undefined s     the argument of step s lies outside its domain, all over X
A point is proved with any matrix Y (an approximate inverse of H) and R = |I - Y H|, entry by entry, and widths w > 0:
  unique          R w < w over the box U of widths w: every matrix in H(U) is regular, so that the gradient is injective
                  on U (Neumaier, Interval Methods for Systems of Equations, 1990, section 5.1)
  exists          |Y g(x)| + R u < 33/64 u over the box E = x +- u: Krawczyk's operator maps E into its interior (5.1.8)
  exact i         where x_i is an end of the box and the range of g_i over E, E_i = {x_i}, is exactly [0, 0], the
                  point is sought in the other coordinates alone
  type            the signs of V' H(E) V, diagonally dominant by rows, are those of H (Gershgorin, Sylvester)
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

FORMAT = "optbench critical points 1"
Interval = tuple[int, int] | None  # ends in units of 2^-P; None: any number, or undefined
Box = tuple[tuple[int, int], ...]
P, GUARD = 256, 128
ONE, W = 1 << P, P + GUARD
ZERO, UNITY = (0, 0), (ONE, ONE)
LARGEST = 1 << 13  # bits of a number; what is longer becomes unknown
FINE = 80  # a point's coordinates are given to 2^-80 of the size of the box
KINDS = ("minimum", "maximum", "saddle")


class Refused(Exception):
    """The certificate does not prove what it claims."""


class Unreadable(Exception):
    """Not a certificate, or one that this program cannot check."""


# ---- Intervals: numbers n / 2^P, lower ends rounded down, upper ends rounded up. >> and // round down, also below 0.


def add(a: Interval, b: Interval) -> Interval:
    """a + b."""
    return None if a is None or b is None else (a[0] + b[0], a[1] + b[1])


def neg(a: Interval) -> Interval:
    """-a."""
    return None if a is None else (-a[1], -a[0])


def mul(a: Interval, b: Interval) -> Interval:
    """a b; unknown where a factor is, also times 0."""
    if a is None or b is None:
        return None
    if a == ZERO or b == ZERO:
        return ZERO
    ends = (a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1])
    return _known(min(ends) >> P, -(-max(ends) >> P))


def inverse(a: Interval) -> Interval:
    """1 / a; unknown where a holds 0."""
    return None if a is None or a[0] <= 0 <= a[1] else (ONE * ONE // a[1], -(-ONE * ONE // a[0]))


def power(a: Interval, n: int) -> Interval:
    """a^n for whole n."""
    if n < 0:
        return inverse(power(a, -n))
    if a is None or n == 0:
        return None if a is None else UNITY
    if (max(map(abs, a)).bit_length() - P) * n > LARGEST:
        return None
    ends, shift = sorted(v**n for v in a), P * (n - 1)
    low = 0 if n % 2 == 0 and a[0] < 0 < a[1] else ends[0]
    return _known(low >> shift, -(-ends[1] >> shift))


def size(a: Interval) -> int | None:
    """The largest absolute value."""
    return None if a is None else max(-a[0], a[1])


def _known(low: int, high: int) -> Interval:
    return None if max(low.bit_length(), high.bit_length()) > LARGEST else (low, high)


# ---- Elementary functions at a number n / 2^P. Each computes v with |v / 2^W - value| < SLACK / 2^W and lets `_ends`
# ---- round that outward. Every step of a series truncates by less than 4 units of 2^-W and there are fewer than 1000;
# ---- constants (below 2^12 units) are taken at most 2^33 times; all terms are positive, the sums stop at a term of 0,
# ---- and from there on terms fall by more than a factor of 2: all errors together are far below SLACK = 2^64 units.
# ---- (In the series of erf the terms grow at first, and with them the errors: by less than e^36 < 2^52.)

SLACK = 1 << 64
FAR = 1 << 32  # no phase of a wave is resolved beyond it
MOST = 1 << 12  # no exponential is computed beyond it


def _ends(v: int) -> tuple[int, int]:
    return (v - SLACK) >> GUARD, -((-v - SLACK) >> GUARD)


def _odd_series(z: int, sign: int) -> int:
    """The sum of sign^j z^(2j+1) / (2j+1), for 0 <= z <= 1/3: atanh for sign 1, atan for sign -1."""
    total, term, j = 0, z, 0
    while term:
        total += (sign if j % 2 else 1) * (term // (2 * j + 1))
        term, j = term * z * z >> 2 * W, j + 1
    return total


LN2 = 2 * _odd_series((1 << W) // 3, 1)
PI = 16 * _odd_series((1 << W) // 5, -1) - 4 * _odd_series((1 << W) // 239, -1)  # Machin
ROOT_PI = _ends(math.isqrt(PI << W))


@lru_cache(1 << 14)
def exp_at(n: int) -> tuple[int, int]:
    """e^n = 2^k e^r with 0 <= r < log 2."""
    if n == 0:
        return UNITY
    if n < -MOST * ONE:
        return 0, 1
    k = (n << GUARD) // LN2
    total, term, j = 0, 1 << W, 0
    r = max((n << GUARD) - k * LN2, 0)
    while term:
        total, j = total + term, j + 1
        term = (term * r >> W) // j
    low, high = _ends(total)
    return (low << k, high << k) if k >= 0 else (low >> -k, -(-high >> -k))


@lru_cache(1 << 14)
def log_at(n: int) -> tuple[int, int]:
    """log n = k log 2 + 2 atanh((m - 1) / (m + 1)) with 2/3 <= m <= 4/3; n > 0."""
    if n == ONE:
        return ZERO
    k = n.bit_length() - P - 1
    m = n << GUARD + W >> k + W  # a shift by a number that may be negative
    if 3 * m > 4 << W:
        k, m = k + 1, m >> 1
    z = (abs(m - (1 << W)) << W) // (m + (1 << W))
    return _ends(k * LN2 + (2 if m > 1 << W else -2) * _odd_series(z, 1))


@lru_cache(1 << 14)
def atan_at(n: int) -> tuple[int, int]:
    """By atan x = pi/2 - atan 1/x beyond 1 and atan x = 2 atan(x / (1 + sqrt(1 + x^2))), twice."""
    if n == 0:
        return ZERO
    x = abs(n) << GUARD
    t = x if x <= 1 << W else (1 << 2 * W) // x
    for _ in range(2):
        t = (t << W) // ((1 << W) + math.isqrt((1 << 2 * W) + t * t))
    v = 4 * _odd_series(t, -1)
    v = v if x <= 1 << W else PI // 2 - v
    return _ends(v if n > 0 else -v)


@lru_cache(1 << 14)
def _sin_cos(n: int) -> tuple[int, int]:
    """Both waves at n = k pi/2 + r, 0 <= r < pi/2."""
    k = 2 * (n << GUARD) // PI
    r = max((n << GUARD) - k * PI // 2, 0)
    waves, term, j = [0, 0], 1 << W, 0
    while term:
        waves[j % 2] += -term if j % 4 > 1 else term
        j += 1
        term = (term * r >> W) // j
    cos, sin = waves
    return [(sin, cos), (cos, -sin), (-sin, -cos), (-cos, sin)][k % 4]


def sin_at(n: int) -> tuple[int, int]:
    """sin n, exactly 0 at 0."""
    return ZERO if n == 0 else _ends(_sin_cos(n)[0])


def cos_at(n: int) -> tuple[int, int]:
    """cos n, exactly 1 at 0."""
    return UNITY if n == 0 else _ends(_sin_cos(n)[1])


def sinh_at(n: int) -> tuple[int, int]:
    """(e^n - e^-n) / 2."""
    up, down = exp_at(n), exp_at(-n)
    return up[0] - down[1] >> 1, -(down[0] - up[1] >> 1)


def cosh_at(n: int) -> tuple[int, int]:
    """(e^n + e^-n) / 2."""
    up, down = exp_at(n), exp_at(-n)
    return up[0] + down[0] >> 1, -(-up[1] - down[1] >> 1)


def asinh_at(n: int) -> tuple[int, int]:
    """log(|n| + sqrt(n^2 + 1)), with the sign of n."""
    root = math.isqrt(n * n + ONE * ONE)
    low, high = log_at(abs(n) + root)[0], log_at(abs(n) + root + 1)[1]
    return ZERO if n == 0 else (low, high) if n > 0 else (-high, -low)


def erf_at(n: int) -> tuple[int, int]:
    """2/sqrt(pi) e^(-x^2) sum 2^k x^(2k+1) / (1 3 5 ... (2k+1)); beyond 6 it is 1 to within 2^-55."""
    if abs(n) > 6 * ONE:
        return (ONE - (ONE >> 55), ONE) if n > 0 else (-ONE, (ONE >> 55) - ONE)
    x = abs(n) << GUARD
    total, term, k = 0, x, 0
    while term:
        total, k = total + term, k + 1
        term = 2 * term * x * x // ((2 * k + 1) << 2 * W)
    low, high = mul(mul(TWO, mul(inverse(ROOT_PI), exp(neg(power((n, n), 2))))), _ends(total)) or (-ONE, ONE)
    return ZERO if n == 0 else (low, high) if n > 0 else (-high, -low)


# ---- The same of intervals.


def rising(at: Callable[[int], tuple[int, int]], a: Interval) -> Interval:
    """The range of a rising function."""
    return None if a is None else _known(at(a[0])[0], at(a[1])[1])


def exp(a: Interval) -> Interval:
    """e^a."""
    return None if a is None or a[1] > MOST * ONE else rising(exp_at, a)


def log(a: Interval) -> Interval:
    """log a, where a is positive all over."""
    return None if a is None or a[0] <= 0 else rising(log_at, a)


def sinh(a: Interval) -> Interval:
    """sinh a."""
    return None if a is None or max(map(abs, a)) > MOST * ONE else rising(sinh_at, a)


def cosh(a: Interval) -> Interval:
    """It rises with |x|."""
    return None if sinh(a) is None else rising(cosh_at, absolute(a))


def sqrt(a: Interval) -> Interval:
    """The root of a, where a holds nothing negative."""
    return None if a is None or a[0] < 0 else (math.isqrt(a[0] << P), math.isqrt(a[1] << P) + 1)


def wave(a: Interval, at: Callable[[int], tuple[int, int]], phase: int) -> Interval:
    """Range of sin or cos: the ends, and the extrema at phase + k pi in between, or too near an end to tell."""
    if a is None or max(map(abs, a)) > FAR * ONE or a[1] - a[0] > 7 * ONE:
        return None if a is None else (-ONE, ONE)
    ends = (*at(a[0]), *at(a[1]))
    low, high = max(min(ends), -ONE), min(max(ends), ONE)
    first = -((phase + SLACK - (a[0] << GUARD)) // PI)
    for k in range(first, ((a[1] << GUARD) - phase + SLACK) // PI + 1):
        low, high = (low, ONE) if k % 2 == 0 else (-ONE, high)
    return low, high


def sin(a: Interval) -> Interval:
    """sin a."""
    return wave(a, sin_at, PI // 2)


def cos(a: Interval) -> Interval:
    """cos a."""
    return wave(a, cos_at, 0)


def tan(a: Interval) -> Interval:
    """Where cos has no zero in between it rises."""
    if a is None or inverse(cos(a)) is None:
        return None
    low, high = (mul(sin((n, n)), inverse(cos((n, n)))) for n in a)
    return None if low is None or high is None else (low[0], high[1])


def absolute(a: Interval) -> Interval:
    """|a|."""
    return None if a is None else (max(a[0], -a[1], 0), max(-a[0], a[1]))


def hull(a: Interval, b: Interval) -> Interval:
    """The smallest interval that holds both."""
    return None if a is None or b is None else (min(a[0], b[0]), max(a[1], b[1]))


# ---- Rules: the ranges of f, f' and f'' over an interval; f'' is None where f is not twice differentiable all over it.

Rule = Callable[[Interval], tuple[Interval, Interval, Interval]]
TWO, HALF = (2 * ONE, 2 * ONE), (ONE // 2, ONE // 2)


def _bent(v: Interval, slope: Interval, factor: Interval) -> tuple[Interval, Interval, Interval]:
    """For functions with f'' = factor f'."""
    return v, slope, mul(factor, slope)


def _reciprocal(a: Interval) -> tuple[Interval, Interval, Interval]:
    v = inverse(a)
    return v, neg(power(v, 2)), mul(TWO, power(v, 3))


def _log(a: Interval) -> tuple[Interval, Interval, Interval]:
    v = None if log(a) is None else inverse(a)
    return log(a), v, neg(power(v, 2))


def _sqrt(a: Interval) -> tuple[Interval, Interval, Interval]:
    slope = None if a is None or a[0] <= 0 else mul(HALF, inverse(sqrt(a)))
    return sqrt(a), slope, neg(mul(TWO, power(slope, 3)))


def _tanh(a: Interval) -> tuple[Interval, Interval, Interval]:
    v = add(UNITY, neg(mul(TWO, inverse(add(exp(mul(TWO, a)), UNITY)))))
    return _bent(v, add(UNITY, neg(power(v, 2))), neg(mul(TWO, v)))


def _sigmoid(a: Interval) -> tuple[Interval, Interval, Interval]:
    v, other = inverse(add(UNITY, exp(neg(a)))), inverse(add(UNITY, exp(a)))
    return _bent(v, mul(v, other), add(other, neg(v)))


def _atan(a: Interval) -> tuple[Interval, Interval, Interval]:
    slope = inverse(add(UNITY, power(a, 2)))
    return _bent(rising(atan_at, a), slope, neg(mul(mul(TWO, a), slope)))


def _asinh(a: Interval) -> tuple[Interval, Interval, Interval]:
    slope = inverse(sqrt(add(UNITY, power(a, 2))))
    return _bent(rising(asinh_at, a), slope, neg(mul(a, power(slope, 2))))


def _erf(a: Interval) -> tuple[Interval, Interval, Interval]:
    slope = mul(mul(TWO, inverse(ROOT_PI)), exp(neg(power(a, 2))))
    return _bent(rising(erf_at, a), slope, neg(mul(TWO, a)))


def _kink(left: int) -> Rule:
    """Slope `left` below 0 and 1 above."""

    def rule(a: Interval) -> tuple[Interval, Interval, Interval]:
        if a is None:
            return None, None, None
        ends = sorted(n if n > 0 else left * n for n in a)
        sides = [(left * ONE, left * ONE)] * (a[0] <= 0) + [UNITY] * (a[1] >= 0)
        at_kink = len(sides) > 1
        return (0 if at_kink else ends[0], ends[1]), hull(sides[0], sides[-1]), None if at_kink else ZERO

    return rule


def _real_power(p: Interval) -> Rule:
    """x^p for x > 0."""
    less = [add(p, (-k * ONE, -k * ONE)) for k in range(3)]  # p, p - 1, p - 2

    def rule(a: Interval) -> tuple[Interval, Interval, Interval]:
        powers = [exp(mul(q, log(a))) for q in less]
        return powers[0], mul(p, powers[1]), mul(mul(p, less[1]), powers[2])

    return rule


def _power(n: int) -> Rule:
    def rule(a: Interval) -> tuple[Interval, Interval, Interval]:
        factors = [(f * ONE, f * ONE) for f in (n, n * (n - 1))]
        slopes = [ZERO if f == ZERO else mul(f, power(a, n - k)) for k, f in enumerate(factors, 1)]
        return power(a, n), slopes[0], slopes[1]

    return rule


def _over(c: Interval) -> Rule:
    return lambda a: (mul(a, inverse(c)), inverse(c), ZERO)


FUNCTIONS: dict[str, Rule] = {
    "abs": _kink(-1),
    "asinh": _asinh,
    "atan": _atan,
    "cos": lambda a: (cos(a), neg(sin(a)), neg(cos(a))),
    "cosh": lambda a: (cosh(a), sinh(a), cosh(a)),
    "erf": _erf,
    "exp": lambda a: (exp(a), exp(a), exp(a)),
    "expm1": lambda a: (add(exp(a), neg(UNITY)), exp(a), exp(a)),
    "log": _log,
    "log1p": lambda a: _log(add(a, UNITY)),
    "log1pexp": lambda a: (log(add(UNITY, exp(a))), *_sigmoid(a)[:2]),
    "reciprocal": _reciprocal,
    "relu": _kink(0),
    "sigmoid": _sigmoid,
    "sin": lambda a: (sin(a), cos(a), neg(sin(a))),
    "sinh": lambda a: (sinh(a), cosh(a), sinh(a)),
    "sqrt": _sqrt,
    "square": _power(2),
    "tan": lambda a: _bent(tan(a), add(UNITY, power(tan(a), 2)), mul(TWO, tan(a))),
    "tanh": _tanh,
}


# ---- The program, and its value with all first and second derivatives over a box.


class Step(NamedTuple):
    """One operation on earlier steps; a coordinate of x; a constant."""

    op: str
    args: tuple[int, ...]
    number: str | None  # as in the file
    rule: Rule | None = None  # of what is a function of one earlier step
    c: Interval = None  # the number


class Program(NamedTuple):
    """f, as a list of steps; steps[i] is coordinate i for i < dim."""

    dim: int
    steps: tuple[Step, ...]
    result: int


class Jet(NamedTuple):
    """Ranges over a box: of a value, its d derivatives and its second ones (upper triangle, by rows; or none)."""

    value: Interval
    grad: list[Interval]
    hess: list[Interval]


WITH_NUMBER = ("constant", "shift", "scale", "over", "real_power", "power", "x")
COUNTS = {"x": 0, "constant": 0, "plus": 2, "times": 2, "maximum": 2, "where": 3}  # arguments, where not 1


def run(program: Program, box: Box, order: int) -> list[Jet]:
    """The jets of all steps over the box, with derivatives up to this order (1 or 2)."""
    d = program.dim
    pairs = list(itertools.combinations_with_replacement(range(d), 2)) if order > 1 else []
    none: list[Interval] = [ZERO] * len(pairs)
    jets: list[Jet] = []
    for op, args, _, rule, c in program.steps:
        a = jets[args[0]] if args else Jet(c, [ZERO] * d, none)
        if op == "x":
            i = len(jets)
            jets.append(Jet(box[i], [UNITY if j == i else ZERO for j in range(d)], none))
        elif op == "constant":
            jets.append(a)
        elif op == "shift":
            jets.append(Jet(add(a.value, c), a.grad, a.hess))
        elif op == "scale":
            jets.append(Jet(mul(a.value, c), [mul(g, c) for g in a.grad], [mul(h, c) for h in a.hess]))
        elif op == "plus":
            b = jets[args[1]]
            jets.append(Jet(add(a.value, b.value), [*map(add, a.grad, b.grad)], [*map(add, a.hess, b.hess)]))
        elif op == "times" and rule is None:
            b = jets[args[1]]
            grad = [add(mul(a.value, q), mul(b.value, p)) for p, q in zip(a.grad, b.grad, strict=True)]
            outer = [add(mul(a.grad[i], b.grad[j]), mul(a.grad[j], b.grad[i])) for i, j in pairs]
            bent = [add(mul(a.value, q), mul(b.value, p)) for p, q in zip(a.hess, b.hess, strict=True)]
            jets.append(Jet(mul(a.value, b.value), grad, [*map(add, outer, bent)]))
        elif op in ("maximum", "where"):
            jets.append(_pieces(*(jets[i] for i in args)))
        elif rule is not None:  # the chain rule
            value, first, second = rule(a.value)
            outer = [power(a.grad[i], 2) if i == j else mul(a.grad[i], a.grad[j]) for i, j in pairs]
            hess = [add(mul(second, o), mul(first, h)) for o, h in zip(outer, a.hess, strict=True)]
            jets.append(Jet(value, [mul(first, g) for g in a.grad], hess))
    return jets


def _pieces(*parts: Jet) -> Jet:
    """The larger of two jets, or the second of three where the first is > 0 and the third where it is < 0.

    Where two functions are equal their maximum has a kink; of a function in pieces nothing is known where they meet.
    """
    over = add(parts[-2].value, neg(parts[-1].value)) if len(parts) == 2 else parts[0].value
    if no_zero(over):
        return parts[-2] if over is not None and over[0] > 0 else parts[-1]
    a, b = parts[-2:]
    if len(parts) == 3:
        return Jet(None, [None] * len(a.grad), [None] * len(a.hess))
    value = None if a.value is None or b.value is None else tuple(map(max, a.value, b.value))
    return Jet(value, [*map(hull, a.grad, b.grad)], [None] * len(a.hess))  # type: ignore[arg-type]


def undefined(step: Step, a: Interval) -> bool:
    """Whether the step is undefined for every argument in a."""
    if a is None:
        return False
    if step.op in ("log", "log1p"):
        return a[1] <= (0 if step.op == "log" else -ONE)
    if step.op == "real_power":  # a whole exponent has a meaning below 0, too
        return a[1] < 0 and step.c is not None and step.c[0] % ONE != 0
    if step.op == "reciprocal" or (step.op == "power" and step.c is not None and step.c[1] < 0):
        return a == ZERO
    return step.op == "sqrt" and a[1] < 0


def needed(program: Program) -> set[int]:
    """The steps without which f is undefined: no piece that may not be looked at, nothing raised to the power 0."""
    found, todo = set(), [program.result]
    while todo:
        k = todo.pop()
        step = program.steps[k]
        found.add(k)
        loose = step.op == "where" or (step.op == "power" and step.c == ZERO)
        todo += [] if loose else [i for i in step.args if i not in found]
    return found


# ---- Tests of a cell.


def no_zero(a: Interval) -> bool:
    """Whether it is known that a holds no 0."""
    return a is not None and not a[0] <= 0 <= a[1]


def total(terms: list[Interval]) -> Interval:
    """The sum."""
    found: Interval = ZERO
    for term in terms:
        found = add(found, term)
    return found


def matrix(jet: Jet, d: int) -> list[list[Interval]]:
    """The Hessian, in full."""
    full: list[list[Interval]] = [[None] * d for _ in range(d)]
    for (i, j), h in zip(itertools.combinations_with_replacement(range(d), 2), jet.hess, strict=True):
        full[i][j] = full[j][i] = h
    return full


class Cell:
    """What is known of the gradient over a box."""

    def __init__(self, program: Program, box: Box, order: int = 2) -> None:
        self.program, self.box, self.d = program, box, program.dim
        over = run(program, box, order)[program.result]
        self.grad = over.grad
        if order > 1:
            middle = tuple((low + high >> 1,) * 2 for low, high in box)
            self.hess, self.at_middle = matrix(over, self.d), run(program, middle, 1)[program.result].grad
            self.off = [(low - m, high - m) for (low, high), (m, _) in zip(box, middle, strict=True)]

    def by_range(self) -> int | None:
        """The first component whose range holds no 0."""
        return next((i for i in range(self.d) if no_zero(self.grad[i])), None)

    def by_mean(self) -> int | None:
        """The first component whose mean-value form holds no 0."""
        return next((i for i in range(self.d) if no_zero(self._mean([int(j == i) for j in range(self.d)]))), None)

    def by_combination(self, y: list[int]) -> bool:
        """Whether this combination of the components has no zero."""
        thin = [(v * ONE, v * ONE) for v in y]
        return no_zero(total([mul(v, g) for v, g in zip(thin, self.grad, strict=True)])) or no_zero(self._mean(y))

    def _mean(self, y: list[int]) -> Interval:
        thin = [(v * ONE, v * ONE) for v in y]
        terms = [mul(v, g) for v, g in zip(thin, self.at_middle, strict=True)]
        for j, off in enumerate(self.off):
            terms.append(mul(total([mul(v, self.hess[i][j]) for i, v in enumerate(thin)]), off))
        return total(terms)

    def test(self, y: list[int] | None = None) -> list[Any] | None:
        """The one test that closes the cell: the first that does, a combination where no component alone does."""
        for name, find in (("range", self.by_range), ("mean", self.by_mean)):
            found = find()
            if found is not None:
                return [name, found]
        return ["combination", *y] if y is not None and self.by_combination(y) else None


# ---- Tests of a point.


class Point(NamedTuple):
    """A critical point as the file states it, with what proves it."""

    x: tuple[int, ...]
    radius: tuple[int, ...]
    exact: tuple[int, ...]  # coordinates that are known exactly
    kind: str
    morse_index: int
    place: str
    unique: Box
    inverse: list[list[Interval]]
    diagonal: list[list[Interval]]

    def enclosure(self) -> Box:
        pairs = enumerate(zip(self.x, self.radius, strict=True))
        return tuple((x, x) if i in self.exact else (x - u, x + u) for i, (x, u) in pairs)


def fine(box: Box) -> tuple[int, ...]:
    """The radius of all points: a power of two in each coordinate, 2^-80 of the largest number in it."""
    return tuple(1 << max(max(map(abs, side)).bit_length() - FINE, 0) for side in box)


def check_size(box: Box) -> None:
    """Refuses a box so small that 2^-P would not do as its unit."""
    if min(fine(box)) < 1 << FINE // 2:
        raise Refused(f"the box {box_text(box)} is too small for this arithmetic")


def lies_in(box: Box, other: Box) -> bool:
    """Whether a box is a part of another."""
    return all(b[0] <= a[0] and a[1] <= b[1] for a, b in zip(box, other, strict=True))


def product(a: list[list[Interval]], b: list[list[Interval]]) -> list[list[Interval]]:
    """The matrix product."""
    return [
        [total([mul(p, q) for p, q in zip(row, column, strict=True)]) for column in zip(*b, strict=True)] for row in a
    ]


def residual(y: list[list[Interval]], h: list[list[Interval]]) -> list[list[int | None]]:
    """|I - Y H|, entry by entry, in units of 2^-P."""
    found = product(y, h)
    return [[size(add(UNITY if i == j else ZERO, neg(v))) for j, v in enumerate(row)] for i, row in enumerate(found)]


def contracts(r: list[list[int | None]], start: list[int | None], w: list[int], limit: list[int]) -> bool:
    """Whether start + R w < limit, in every coordinate."""
    for row, first, most in zip(r, start, limit, strict=True):
        known = [v for v in row if v is not None]
        if first is None or len(known) < len(row):
            return False
        if (first << P) + sum(a * b for a, b in zip(known, w, strict=True)) >= most << P:
            return False
    return True


def unique_fails(program: Program, point: Point) -> bool:
    """Whether the Hessian is not seen to be regular all over the unique box."""
    h = matrix(run(program, point.unique, 2)[program.result], program.dim)
    w = [high - low for low, high in point.unique]
    return not contracts(residual(point.inverse, h), [0] * program.dim, w, w)


def exists_fails(program: Program, point: Point, h: list[list[Interval]], grad: list[Interval]) -> bool:
    """Krawczyk's test on the enclosure; with 33/64 of its radius, so that only the nearest x of its grid passes."""
    if any(grad[i] != ZERO for i in point.exact):
        return True
    free = [i for i in range(program.dim) if i not in point.exact]
    y = [[point.inverse[i][j] for j in free] for i in free]
    at = tuple((x, x) for x in point.x)
    g = run(program, at, 1)[program.result].grad
    start = [size(total([mul(v, g[j]) for v, j in zip(row, free, strict=True)])) for row in y]
    u = [point.radius[i] for i in free]
    return not contracts(residual(y, [[h[i][j] for j in free] for i in free]), start, u, [33 * v // 64 for v in u])


def negative_eigenvalues(h: list[list[Interval]], v: list[list[Interval]]) -> int | None:
    """How many eigenvalues are negative; None where V' H V is not seen to be diagonally dominant."""
    m = product(product([list(row) for row in zip(*v, strict=True)], h), v)
    count = 0
    for i, row in enumerate(m):
        rest = [size(entry) for j, entry in enumerate(row) if j != i]
        middle = row[i]
        if middle is None or None in rest:
            return None
        radius = sum(entry or 0 for entry in rest)
        if middle[0] <= radius and middle[1] >= -radius:
            return None
        count += middle[1] < 0
    return count


def place_of(enclosure: Box, box: Box) -> str:
    """Where the enclosure lies: inside the box, outside, or on its edge as far as one can see."""
    if any(e[1] < b[0] or e[0] > b[1] for e, b in zip(enclosure, box, strict=True)):
        return "outside"
    return "inside" if lies_in(enclosure, box) else "edge"


def kind_of(negative: int, d: int) -> str:
    """What a regular critical point of this Morse index is."""
    return "minimum" if negative == 0 else "maximum" if negative == d else "saddle"


def point_fails(program: Program, box: Box, point: Point) -> str:
    """Which of the statements about a point is not proved; empty where all are."""
    if point.radius != fine(box):
        return "its radius is not 2^-80 of the box"
    if any(x % u for i, (x, u) in enumerate(zip(point.x, point.radius, strict=True)) if i not in point.exact):
        return "x is finer than the radius"
    if any(point.x[i] not in box[i] for i in point.exact):
        return "an exact coordinate is not an end of the box"
    e = point.enclosure()
    if not all(u[0] <= x - r and x + r <= u[1] for x, r, u in zip(point.x, point.radius, point.unique, strict=True)):
        return "its enclosure does not lie in its unique box"
    over = run(program, e, 2)[program.result]
    h = matrix(over, program.dim)
    if exists_fails(program, point, h, over.grad):
        return "Krawczyk's test does not prove that it exists"
    if unique_fails(program, point):
        return "that it is the only one in its unique box is not proved"
    if negative_eigenvalues(h, point.diagonal) != point.morse_index:
        return "the signs of the eigenvalues are not proved to be as stated"
    if point.kind != kind_of(point.morse_index, program.dim):
        return f"a point of Morse index {point.morse_index} is not a {point.kind}"
    if point.place != place_of(e, box):
        return f"it is not proved to be {point.place}"
    return ""


# ---- The certificate as a whole.


class Certificate(NamedTuple):
    """The file, read."""

    surface: str
    program: Program
    box: Box
    points: tuple[Point, ...]
    cells: tuple[Any, ...]
    claim: dict[str, Any]
    digest: tuple[str, str]  # as written, as computed


class Verdict(NamedTuple):
    """What is proved: the claim, the points, the open cells, how many cells each test closed."""

    claim: dict[str, Any]
    points: tuple[Point, ...]
    open: tuple[Box, ...]
    tests: dict[str, int]


def check(certificate: Certificate, progress: Callable[[float], object] | None = None) -> Verdict:
    """Repeats every test. Raises Refused at the first that fails; progress is called with the share done."""
    if certificate.digest[0] != certificate.digest[1]:
        raise Refused("the digest is not that of the content: something was changed after it was written")
    check_size(certificate.box)
    points, n = certificate.points, len(certificate.points) + len(certificate.cells)
    tell = progress or (lambda share: None)
    for k, point in enumerate(points):
        why = point_fails(certificate.program, certificate.box, point)
        if why:
            raise Refused(f"point {k}, {point.kind} at {point_text(point)}: {why}")
        tell((k + 1) / n)
    _distinct(points)
    tests, left = _walk(certificate, lambda k: tell((len(points) + k) / n))
    claim = summary(points, tests)
    if claim != certificate.claim:
        raise Refused(f"claimed is {certificate.claim}, proved is {claim}")
    used = {cell[1] for cell in certificate.cells if type(cell) is list and cell[0] == "point"}
    for k, point in enumerate(points):
        if point.place == "outside" and k not in used:
            raise Refused(f"point {k} at {point_text(point)} lies outside the box and no cell needs it")
    return Verdict(claim, points, tuple(left), tests)


def summary(points: tuple[Point, ...], tests: dict[str, int]) -> dict[str, Any]:
    """The claim that these points and tests support."""
    inside = [point.kind for point in points if point.place == "inside"]
    places = {name: sum(point.place == name for point in points) for name in ("edge", "outside")}
    counts = {kind: inside.count(kind) for kind in KINDS}
    rest = {name: tests.get(name, 0) for name in ("open", "undefined")}
    return {"complete": not places["edge"] and not rest["open"], **counts, **places, **rest}


def _distinct(points: tuple[Point, ...]) -> None:
    boxes = sorted((point.enclosure(), k) for k, point in enumerate(points))
    for at, (box, k) in enumerate(boxes):
        for other, j in boxes[at + 1 :]:
            if other[0][0] > box[0][1]:
                break
            if all(a[0] <= b[1] and b[0] <= a[1] for a, b in zip(box, other, strict=True)):
                raise Refused(f"points {min(k, j)} and {max(k, j)} at {point_text(points[k])} may be one point")


def _walk(certificate: Certificate, tell: Callable[[int], object]) -> tuple[dict[str, int], list[Box]]:
    """Goes through the cells in order; the boxes still to come are on the stack."""
    stack, tests, left = [certificate.box], dict[str, int](), list[Box]()
    for k, cell in enumerate(certificate.cells):
        if not stack:
            raise Refused(f"cell {k}: the cells before it fill the box already")
        box = stack.pop()
        if type(cell) is int:
            stack += halves(box, cell)[::-1]
            continue
        why = cell_fails(certificate, box, cell)
        if why:
            raise Refused(f"cell {k}, {box_text(box)}, is not closed by {' '.join(map(str, cell))}: {why}")
        tests[cell[0]] = tests.get(cell[0], 0) + 1
        left += [box] if cell[0] == "open" else []
        tell(k + 1)
    if stack:
        raise Refused(f"no cell covers {box_text(stack[-1])}")
    return tests, left


def halves(box: Box, axis: int) -> list[Box]:
    """The box cut in the middle of a side."""
    low, high = box[axis]
    if (low + high) % 2:
        raise Refused(f"{box_text(box)} is too small to be cut")
    middle = (low + high) // 2
    return [(*box[:axis], side, *box[axis + 1 :]) for side in ((low, middle), (middle, high))]


def cell_fails(certificate: Certificate, box: Box, cell: list[Any]) -> str:
    """Why the test does not close the cell; empty where it does."""
    name, program = cell[0], certificate.program
    if name == "open":
        return ""
    if name == "point":
        inside = lies_in(box, certificate.points[cell[1]].unique)
        return "" if inside else "the cell is not in the unique box of that point"
    if name == "undefined":
        step = program.steps[cell[1]]
        jets = run(program, box, 1)
        known = cell[1] in needed(program) and step.args and undefined(step, jets[step.args[0]].value)
        return "" if known else "f may be defined there"
    if name == "range":
        found = Cell(program, box, 1).by_range()
        return "" if found == cell[1] else f"the first component whose range holds no 0 is {found}"
    proved = Cell(program, box).test(cell[1:] if name == "combination" else None)
    return "" if proved == cell else f"the test that closes it is {proved}"


# ---- Reading. Whatever the file holds, it is data; what is not exactly of this form is refused in one line.

NUMBER = re.compile(r"(-?)0x([0-9a-f]{1,80})(?:\.([0-9a-f]{1,80}))?p([+-]?\d{1,4})")
LEAVES = {"range": 1, "mean": 1, "point": 1, "undefined": 1, "open": 0}  # and how many numbers follow


def load(data: bytes) -> Certificate:
    """A certificate from the bytes of its file. Raises Unreadable."""
    try:
        found = json.loads(data, parse_float=_no_number, parse_constant=_no_number, object_pairs_hook=_object)
        return _certificate(found)
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable("it is nested too deep") from None
    except (ValueError, UnicodeError) as error:
        raise Unreadable(f"it is not JSON: {str(error).splitlines()[0][:200]}") from None


def _no_number(text: str) -> Any:
    raise Unreadable(f"{text[:40]}: numbers are whole, or strings in hexadecimal")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable("a name occurs twice in one object")
    return found


def _keys(value: Any, what: str, *names: str) -> list[Any]:
    """The values under these names, which must be all that there are."""
    if type(value) is not dict or set(value) != set(names):
        raise Unreadable(f"{what}: expected an object with {', '.join(names)}")
    return [value[name] for name in names]


def _list(value: Any, what: str, n: int | None = None) -> list[Any]:
    if type(value) is not list or n not in (None, len(value)):
        raise Unreadable(f"{what}: expected a list{'' if n is None else f' of {n}'}")
    return value


def _whole(value: Any, what: str, below: int) -> int:
    if type(value) is not int or not 0 <= value < below:
        raise Unreadable(f"{what}: expected a whole number from 0 to {below - 1}")
    return value


def number(value: Any, what: str) -> tuple[int, int]:
    """A number in hexadecimal, rounded outward to units of 2^-P."""
    match = NUMBER.fullmatch(value) if type(value) is str else None
    if match is None or abs(int(match[4])) > 1100:
        raise Unreadable(f"{what}: expected a number like 0x1.8p+3, not {str(value)[:40]!r}")
    fraction = match[3] or ""
    n, e = int(match[1] + match[2] + fraction, 16), int(match[4]) - 4 * len(fraction) + P
    found = (n << e, n << e) if e >= 0 else (n >> -e, -(-n >> -e))
    if max(map(abs, found)).bit_length() > P + 1023:
        raise Unreadable(f"{what}: {value} is too large")
    return found


def _exact(value: Any, what: str) -> int:
    low, high = number(value, what)
    if low != high:
        raise Unreadable(f"{what}: {value} is finer than 2^-{P}")
    return low


def _rows(value: Any, what: str, d: int) -> list[list[Interval]]:
    return [[number(v, what) for v in _list(row, what, d)] for row in _list(value, what, d)]


def read_box(value: Any, what: str, d: int) -> Box:
    """A box from the ends of its sides."""
    sides = [_list(side, what, 2) for side in _list(value, what, d)]
    box = tuple((_exact(low, what), _exact(high, what)) for low, high in sides)
    if any(low >= high for low, high in box):
        raise Unreadable(f"{what}: a lower end is not below its upper end")
    return box


def _certificate(value: Any) -> Certificate:
    names = ("format", "surface", "program", "box", "points", "cells", "claim", "digest")
    _, surface, steps, box, points, cells, claim, digest = _keys(value, "the file", *names)
    if value["format"] != FORMAT:
        raise Unreadable(f"format {str(value['format'])[:60]!r}: this program reads {FORMAT!r}")
    if type(surface) is not str or type(digest) is not str:
        raise Unreadable("surface, digest: expected text")
    program = read_program(steps)
    d = program.dim
    listed = tuple(_point(p, f"point {k}", d) for k, p in enumerate(_list(points, "points")))
    tree = tuple(_cell(c, f"cell {k}", program, len(listed)) for k, c in enumerate(_list(cells, "cells")))
    claimed = ("complete", *KINDS, "edge", "outside", "open", "undefined")
    complete, *counts = _keys(claim, "claim", *claimed)
    if type(complete) is not bool or any(type(n) is not int for n in counts):
        raise Unreadable("claim: expected complete to be true or false, and whole numbers")
    return Certificate(surface, program, read_box(box, "box", d), listed, tree, claim, (digest, digest_of(value)))


def digest_of(value: dict[str, Any]) -> str:
    """SHA-256 of everything else in the file, written without spaces and with sorted names."""
    rest = {name: part for name, part in value.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def read_program(value: Any) -> Program:
    """The program from the file."""
    dim, steps, result = _keys(value, "program", "dim", "steps", "result")
    steps = _list(steps, "steps")
    dim, result = _whole(dim - 1 if type(dim) is int else dim, "dim", 64) + 1, _whole(result, "result", len(steps))
    read = [_step(_list(step, f"step {k}", 3), k, dim) for k, step in enumerate(steps)]
    used = {result, *range(dim), *(i for step in read for i in step.args)}
    if len(used) < len(read) or len(read) < dim:
        raise Unreadable("program: a step that nothing uses, or too few")
    return Program(dim, tuple(read), result)


def _step(value: list[Any], k: int, dim: int) -> Step:
    op, args, text = value
    what = f"step {k}"
    if type(op) is not str or (op not in FUNCTIONS and op not in (*WITH_NUMBER, *COUNTS)):
        raise Unreadable(f"{what} is {str(op)[:40]!r}, an operation that this program does not know")
    count = COUNTS.get(op, 1)
    before = tuple(_whole(i, f"{what}, {op}", k) for i in _list(args, what, count))
    if (op == "x") != (k < dim) or (text is None) == (op in WITH_NUMBER):
        raise Unreadable(
            f"{what}, {op}: the coordinates come first, then what is made of them; a number where one belongs"
        )
    if text is None:
        square = op == "times" and before[0] == before[1]
        return Step(op, before, None, _power(2) if square else FUNCTIONS.get(op))
    c = number(text, f"{what}, {op}")
    if (op in ("x", "power") and (c[0] % ONE or abs(c[0]) > 1000 * ONE)) or (op == "x" and c[0] != k * ONE):
        raise Unreadable(f"{what}, {op}: {text} is not its number")
    if op == "over" and c[0] <= 0 <= c[1]:
        raise Unreadable(f"{what}: a division by {text}")
    made = {"over": _over, "real_power": _real_power}.get(op)
    return Step(op, before, text, _power(c[0] >> P) if op == "power" else made(c) if made else None, c)


def _point(value: Any, what: str, d: int) -> Point:
    names = ("x", "radius", "exact", "type", "morse_index", "place", "unique", "inverse", "diagonal")
    x, radius, exact, kind, index, place, unique, y, v = _keys(value, what, *names)
    if kind not in KINDS or place not in ("inside", "edge", "outside"):
        raise Unreadable(f"{what}: type {str(kind)[:40]!r}, place {str(place)[:40]!r}")
    known = tuple(_whole(i, f"{what}, exact", d) for i in _list(exact, what))
    if list(known) != sorted(set(known)):
        raise Unreadable(f"{what}, exact: expected rising numbers")
    here, around = (tuple(_exact(n, what) for n in _list(list_, what, d)) for list_ in (x, radius))
    morse = _whole(index, f"{what}, morse_index", d + 1)
    rows = (_rows(m, f"{what}, {name}", d) for m, name in ((y, "inverse"), (v, "diagonal")))
    return Point(here, around, known, kind, morse, place, read_box(unique, f"{what}, unique", d), *rows)


def _cell(value: Any, what: str, program: Program, points: int) -> Any:
    if type(value) is int:
        return _whole(value, f"{what}, axis", program.dim)
    name, *rest = _list(value, what) or [None]
    if name == "combination" and len(rest) == program.dim and all(type(n) is int and abs(n) < 1000 for n in rest):
        if math.gcd(*rest) == 1 and next(n for n in rest if n) > 0:
            return value
    elif type(name) is str and name in LEAVES and len(rest) == LEAVES[name]:
        most = {"point": points, "undefined": len(program.steps)}.get(name, program.dim)
        return [name, *(_whole(n, f"{what}, {name}", most) for n in rest)]
    raise Unreadable(f"{what}: {str(value)[:60]} is neither an axis nor a test of this format")


# ---- Words.

FORMS: dict[str, tuple[str, int, int]] = {  # how it is written, how strongly it binds, how strongly its parts must
    "plus": ("{} + {}", 1, 1), "shift": ("{} + {n}", 1, 1), "times": ("{}*{}", 2, 2), "scale": ("{n}*{}", 2, 2),
    "over": ("{}/{n}", 2, 2), "reciprocal": ("1/{}", 2, 4), "square": ("{}**2", 3, 4), "power": ("{}**{n}", 3, 4),
    "real_power": ("{}**{n}", 3, 4),
}  # fmt: skip


def formula(program: Program, longest: int = 100) -> list[str]:
    """The program as one writes it by hand; what is long, or used twice, gets a line of its own."""
    letters = "xyzw" if program.dim <= 4 else ""
    uses = [i for step in program.steps for i in step.args]
    texts: list[tuple[str, int]] = []
    lines: list[str] = []
    for k, (op, args, text, *_) in enumerate(program.steps):
        n = "" if text is None else decimal(text)
        form, binds, least = FORMS.get(op, (f"{op}({', '.join(['{}'] * len(args))})", 4, 0))
        form = "-{}" if op == "scale" and n == "-1" else form
        if op in ("x", "constant"):
            form = n if op == "constant" else letters[k] if letters else f"x{k + 1}"
        parts = [f"({t})" if b < least else t for t, b in (texts[i] for i in args)]
        written = form.format(*parts, n=f"({n})" if n[:1] == "-" and op in ("over", "power", "real_power") else n)
        if args and k != program.result and (uses.count(k) > 1 or len(written) > longest):
            lines.append(f"t{k} = {written}")
            written, binds = f"t{k}", 4
        texts.append((written, binds))
    names = ", ".join(text for text, _ in texts[: program.dim])
    return [line.replace("+ -", "- ") for line in (*lines, f"f({names}) = {texts[program.result][0]}")]


def decimal(text: str) -> str:
    """The shortest decimal number that is this number of float64."""
    return repr(float.fromhex(text)).removesuffix(".0")


def value_text(n: int) -> str:
    """Ten digits; 0 for what is below 2^-100."""
    return f"{n / ONE:.10g}" if abs(n) >= ONE >> 100 else "0"


def box_text(box: Box) -> str:
    """[0, 1] x [-2, 2]."""
    return " x ".join(f"[{value_text(low)}, {value_text(high)}]" for low, high in box)


def point_text(point: Point) -> str:
    """(1, -2)."""
    return f"({', '.join(map(value_text, point.x))})"


def count_text(verdict: Verdict) -> str:
    """9 critical points (4 minima, 1 maximum, 4 saddles)."""
    counts = [(verdict.claim[kind], kind) for kind in KINDS]
    names = [f"{n} {kind if n == 1 else {'saddle': 'saddles'}.get(kind, kind[:-2] + 'a')}" for n, kind in counts if n]
    total_ = sum(n for n, _ in counts)
    return f"{total_} critical point{'s' * (total_ != 1)} ({', '.join(names)})" if names else "no critical point"


def describe(certificate: Certificate, verdict: Verdict) -> list[str]:
    """What is proved, in words."""
    claim, radius = verdict.claim, max(r / ONE for r in fine(certificate.box))
    lines = [
        *formula(certificate.program),
        f"on {box_text(certificate.box)}; the file calls it {certificate.surface!r}",
    ]
    for point in verdict.points:
        place = {"inside": "", "edge": ", on the edge of the box or next to it", "outside": ", outside the box"}
        lines.append(f"  {point.kind} at {point_text(point)}{place[point.place]}")
    tests = ", ".join(f"{n} {name}" for name, n in sorted(verdict.tests.items()))
    lines.append(f"{sum(verdict.tests.values())} cells: {tests}; every point is known to {radius:.1g}")
    count = sum(claim[kind] for kind in KINDS)
    if claim["complete"]:
        return [*lines, f"ACCEPTED: the box holds {'exactly ' * (count > 0)}{count_text(verdict)}."]
    rest = [f"{claim['edge']} on its edge or within {radius:.1g} of it"] if claim["edge"] else []
    if verdict.open:
        hull = tuple(
            (min(b[i][0] for b in verdict.open), max(b[i][1] for b in verdict.open))
            for i in range(len(fine(certificate.box)))
        )
        rest.append(
            f"whatever lies in {len(verdict.open)} open cell{'s' * (len(verdict.open) > 1)} within {box_text(hull)}"
        )
    return [*lines, f"ACCEPTED: the box holds {count_text(verdict)}, besides {' and '.join(rest)}; there is no other."]


def to_json(certificate: Certificate, verdict: Verdict) -> dict[str, Any]:
    """The same as an object of plain numbers, rounded."""
    return {
        "surface": certificate.surface,
        "formula": formula(certificate.program),
        "box": [[low / ONE, high / ONE] for low, high in certificate.box],
        **verdict.claim,
        "points": [
            {"x": [x / ONE for x in p.x], "type": p.kind, "morse_index": p.morse_index, "place": p.place}
            for p in verdict.points
        ],
        "cells": verdict.tests,
        "open_cells": [[[low / ONE, high / ONE] for low, high in box] for box in verdict.open],
    }


def main(arguments: list[str]) -> int:
    """The command line of this file alone; returns the exit code."""
    say, aside = sys.stdout.write, sys.stderr.write
    if len(arguments) != 1 or arguments[0].startswith("-"):
        aside("usage: python check_proof.py proof.json\n")
        return 2
    watched = sys.stderr.isatty()
    try:
        with open(arguments[0], "rb") as file:
            certificate = load(file.read())
        verdict = check(certificate, (lambda share: bool(aside(f"\r{share:4.0%} "))) if watched else None)
    except (OSError, Unreadable) as error:
        aside(f"error: {arguments[0]} cannot be checked: {getattr(error, 'strerror', None) or error}\n")
        return 2
    except Refused as error:
        say(f"REFUSED: {error}\n")
        return 1
    say("\n".join(describe(certificate, verdict)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
