"""sin, cos, exp, log and their kin from + - * / and comparisons alone, in a fixed order: the same bits everywhere.

IEEE 754 rounds those operations in one way, so what is made of nothing else has the same bits in Python's floats, in
NumPy's arrays, in code that numba compiles without fast-math, and in JavaScript; on any processor. Functions of a C
library differ between systems, ECMAScript leaves Math.sin and its kin to the engine, and a fused multiply-add, which
`vector_math` uses by name, is nothing that JavaScript has. So products are exact by splitting where that is needed.

The functions are written once, as text in the part of Python that all four languages share (assignments, arithmetic,
`a if c else b`, calls of each other) and handed out by `portable` and `javascript`; `polynomial(z, "NAME")` stands for
Horner's rule. What looks at the exponent of a number, `_two_to` and `_exponent`, is given by each language; both are
exact.

Accuracy, measured against mpmath at 10^5 arguments and held by tests: exp, log, sin, cos, atan and pow within 1 unit in
the last place; expm1, log1p, tan and tanh within 3. sin, cos and tan are NaN beyond `FARTHEST`, up to where their
arguments are reduced exactly: a run that goes there has diverged. pow does not look at the sign of a zero.

Source: the splittings of pi/2 and ln 2 and the shape of the kernels follow fdlibm (Sun Microsystems, 1993), whose
coefficients sin and cos have; all other series are those of Taylor; products are taken apart as in Dekker, A
floating-point technique for extending the available precision, Numerische Mathematik 18 (1971).
"""

from __future__ import annotations

import math
from typing import Any

FARTHEST = 1.6e6
"""sin, cos and tan are reduced exactly up to here."""

SERIES: dict[str, tuple[float, ...]] = {
    "EXP": tuple(1.0 / math.factorial(k) for k in range(2, 14)),
    "LOG": tuple(2.0 / k for k in range(3, 22, 2)),
    "POW": tuple(1.0 / k for k in range(5, 26, 2)),
    "ATAN": tuple((-1.0) ** k / (2 * k + 3) for k in range(24)),
    "SIN": (8.33333333332248946124e-03, -1.98412698298579493134e-04, 2.75573137070700676789e-06,
            -2.50507602534068634195e-08, 1.58969099521155010221e-10),
    "COS": (4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
            -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11),
}  # fmt: skip
"""Coefficients of the polynomials, the constant one first."""


def polynomial(z: Any, coefficients: str) -> Any:
    """Stands for Horner's rule in the functions below; `portable_text` writes it out."""
    raise NotImplementedError


def _two_to(n: Any) -> Any:
    """2^n of a whole number from -1022 to 1023: each language has its own."""
    raise NotImplementedError


def _exponent(x: Any) -> Any:
    """floor(log2 x) of a normal positive number: each language has its own."""
    raise NotImplementedError


# exact sums and products --------------------------------------------------------------------------------------------


def _nearest(x: Any) -> Any:
    return (x + 6755399441055744.0) - 6755399441055744.0  # 1.5 * 2^52; below 2^51 in magnitude


def _lost_in_sum(a: Any, b: Any, s: Any) -> Any:  # a + b - s, of s = a + b rounded
    c = s - a
    return (a - (s - c)) + (b - c)


def _lost_in_product(a: Any, b: Any, p: Any) -> Any:  # a b - p, of p = a b rounded
    c = 134217729.0 * a
    d = 134217729.0 * b
    e = c - (c - a)
    f = d - (d - b)
    g = a - e
    h = b - f
    return g * h - (((p - e * f) - g * f) - e * h)


# exp ---------------------------------------------------------------------------------------------------------------


def _scaled(y: Any, n: Any) -> Any:  # y 2^n, of n from -1100 to 1100, in two steps
    half = _nearest(n * 0.5)
    return (y * _two_to(half)) * _two_to(n - half)


def _whole_of_exp(y: Any) -> Any:  # how often ln 2 is taken out
    n = _nearest(y * 1.4426950408889634)
    return n if n == n else 0.0


def _exp_sum(y: Any, low: Any) -> Any:  # exp(y + low), |low| far below |y|, -746 <= y <= 710
    n = _whole_of_exp(y)
    a = y - n * 6.93147180369123816490e-01
    b = n * 1.90821492927058770002e-10 - low
    r = a - b
    c = (a - r) - b
    return _scaled(1.0 + (r + (c + r * r * polynomial(r, "EXP"))), n)


def _portable_exp(x: Any) -> Any:
    y = 710.0 if x > 710.0 else x
    y = -746.0 if y < -746.0 else y
    return _exp_sum(y, 0.0)


def _portable_expm1(x: Any) -> Any:
    y = 40.0 if x > 40.0 else x
    y = -40.0 if y < -40.0 else y
    n = _whole_of_exp(y)
    a = y - n * 6.93147180369123816490e-01
    b = n * 1.90821492927058770002e-10
    r = a - b
    c = (a - r) - b
    e = r + (c + r * r * polynomial(r, "EXP"))
    two = _two_to(n)
    near = two * e + (two - 1.0) if n != 0.0 else e
    return _portable_exp(x) if x > 40.0 else near


# log ---------------------------------------------------------------------------------------------------------------


def _proper(x: Any) -> Any:  # what has a logarithm, as a normal number; else 1
    y = x * 18014398509481984.0 if x < 2.2250738585072014e-308 else x
    z = y if y > 0.0 else 1.0
    return z if z < 1e999 else 1.0


def _binary(y: Any) -> Any:  # the whole number k with y 2^-k in [0.707, 1.415)
    e = _exponent(y)
    return e + 1.0 if _scaled(y, -e) > 1.4142135623730951 else e


def _portable_log(x: Any) -> Any:
    y = _proper(x)
    k = _binary(y)
    f = _scaled(y, -k) - 1.0
    k = k - 54.0 if x < 2.2250738585072014e-308 else k
    s = f / (2.0 + f)
    z = s * s
    h = 0.5 * f * f
    found = k * 6.93147180369123816490e-01 - (
        (h - (s * (h + z * polynomial(z, "LOG")) + k * 1.90821492927058770002e-10)) - f
    )
    found = found if x > 0.0 else (-1e999 if x == 0.0 else 1e999 - 1e999)
    return found if x < 1e999 else x


def _portable_log1p(x: Any) -> Any:
    u = 1.0 + x
    c = x - (u - 1.0) if x < 1.0 else 1.0 - (u - x)
    v = u if u > 0.0 else 1.0
    found = _portable_log(u) + c / v if u > 0.0 else _portable_log(u)
    found = found if x < 1e999 else x
    return x if x == 0.0 else found


# sin, cos, tan -------------------------------------------------------------------------------------------------------


def _quarters(x: Any) -> Any:  # how often pi/2 is taken out
    return _nearest(x * 0.6366197723675814)


def _turned(x: Any, n: Any) -> Any:  # x - n pi/2, rounded; |n| < 2^20, so that the products are exact
    a = x - n * 1.5707963267341256
    w = n * 6.077100506303966e-11
    b = a - w
    v = n * 2.0222662487111665e-21
    c = b - v
    return c + ((_lost_in_sum(a, -w, b) + _lost_in_sum(b, -v, c)) - n * 8.4784276603689e-32)


def _turned_low(x: Any, n: Any, r: Any) -> Any:  # x - n pi/2 - r, of r = _turned(x, n)
    a = x - n * 1.5707963267341256
    w = n * 6.077100506303966e-11
    b = a - w
    v = n * 2.0222662487111665e-21
    c = b - v
    return (c - r) + ((_lost_in_sum(a, -w, b) + _lost_in_sum(b, -v, c)) - n * 8.4784276603689e-32)


def _sin_near_0(r: Any, low: Any) -> Any:
    z = r * r
    v = z * r
    return r - ((z * (0.5 * low - v * polynomial(z, "SIN")) - low) + v * 1.66666666666666324348e-01)


def _cos_near_0(r: Any, low: Any) -> Any:
    z = r * r
    h = 0.5 * z
    w = 1.0 - h
    return w + (((1.0 - w) - h) + (z * (z * polynomial(z, "COS")) - r * low))


def _rotated(x: Any, more: Any) -> Any:  # sin(x + more pi/2)
    y = x if abs(x) <= 1.6e6 else 0.0
    n = _quarters(y)
    r = _turned(y, n)
    low = _turned_low(y, n, r)
    q = n + more
    q = q - 4.0 * _nearest(q * 0.25 - 0.375)
    s = _sin_near_0(r, low)
    c = _cos_near_0(r, low)
    found = s if q == 0.0 else (c if q == 1.0 else (-s if q == 2.0 else -c))
    return found if abs(x) <= 1.6e6 else 1e999 - 1e999


def _portable_sin(x: Any) -> Any:
    return _rotated(x, 0.0)


def _portable_cos(x: Any) -> Any:
    return _rotated(x, 1.0)


def _portable_tan(x: Any) -> Any:
    return _rotated(x, 0.0) / _rotated(x, 1.0)  # no double is a zero of cos


# atan, tanh, pow -----------------------------------------------------------------------------------------------------


def _portable_atan(x: Any) -> Any:
    a = abs(x)
    b = 1.0 if a > 2.4375 else a
    t = (b - 1.5) / (1.0 + 1.5 * b)
    t = (b - 1.0) / (b + 1.0) if a < 1.1875 else t
    t = (2.0 * b - 1.0) / (2.0 + b) if a < 0.6875 else t
    t = b if a < 0.4375 else t
    t = -1.0 / (a if a > 2.4375 else 1.0) if a > 2.4375 else t
    high = 1.5707963267948966 if a > 2.4375 else 0.982793723247329
    high = 0.7853981633974483 if a < 1.1875 else high
    high = 0.4636476090008061 if a < 0.6875 else high
    low = 6.123233995736766e-17 if a > 2.4375 else 1.3903311031230998e-17
    low = 3.061616997868383e-17 if a < 1.1875 else low
    low = 2.2698777452961687e-17 if a < 0.6875 else low
    z = t * t
    s = z * polynomial(z, "ATAN")
    found = t - t * s if a < 0.4375 else high - ((t * s - low) - t)
    found = -found if x < 0.0 else found
    return found if x == x else x


def _portable_tanh(x: Any) -> Any:
    a = abs(x)
    y = 22.0 if a > 22.0 else a
    large = y >= 1.0
    t = _portable_expm1(2.0 * y if large else -2.0 * y)
    found = 1.0 - 2.0 / (t + 2.0) if large else -t / (t + 2.0)
    found = 1.0 if a > 22.0 else found
    found = -found if x < 0.0 else found
    return x if x == 0.0 else found


def _power_of_positive(a: Any, y: Any) -> Any:
    b = _proper(a)
    k = _binary(b)
    f = _scaled(b, -k) - 1.0
    k = k - 54.0 if a < 2.2250738585072014e-308 else k
    d = 2.0 + f
    e = _lost_in_sum(2.0, f, d)
    s = f / d
    p = s * d
    t = ((f - p) - _lost_in_product(s, d, p) - s * e) / d  # s + t = f / (2 + f)
    z = s * s
    zl = _lost_in_product(s, s, z) + 2.0 * (s * t)
    u = z * polynomial(z, "POW")
    th = 0.3333333333333333 + u
    tl = _lost_in_sum(0.3333333333333333, u, th) + 1.850371707708594e-17
    w = z * th
    wl = _lost_in_product(z, th, w) + (z * tl + zl * th)
    v = 2.0 * s * w
    vl = _lost_in_product(2.0 * s, w, v) + 2.0 * (s * wl + t * w)
    near = 2.0 * s + v
    ll = _lost_in_sum(2.0 * s, v, near) + (2.0 * t + vl)  # near + ll = log of b 2^-k
    c = k * 6.93147180369123816490e-01
    h = c + near
    hl = _lost_in_sum(c, near, h) + (ll + k * 1.90821492927058770002e-10)
    high = h + hl
    low = (h - high) + hl
    q = y * high
    ql = _lost_in_product(y, high, q) + y * low
    r = 710.0 if q > 710.0 else (-746.0 if q < -746.0 else q)
    return _exp_sum(r, ql if r == q else 0.0)


def _portable_pow(x: Any, y: Any) -> Any:
    a = abs(x)
    usual = a > 0.0 and a < 1e999 and abs(y) < 1e300
    found = _power_of_positive(a if usual else 2.0, y if usual else 1.0)
    n = _nearest((y if abs(y) < 2251799813685248.0 else 0.0) * 0.5) * 2.0
    whole = _nearest(y if abs(y) < 2251799813685248.0 else 0.0) == y or abs(y) >= 9007199254740992.0
    odd = whole and abs(y) < 2251799813685248.0 and n != y
    grows = (a > 1.0 and y > 0.0) or (a < 1.0 and y < 0.0)
    extreme = 1.0 if a == 1.0 else (1e999 if grows else 0.0)
    found = found if usual else extreme
    signed = -found if odd else found
    signed = signed if whole or a == 0.0 or a == 1e999 else 1e999 - 1e999
    found = signed if x < 0.0 else found
    found = x + y if x != x or y != y else found
    return 1.0 if y == 0.0 or x == 1.0 else found


PRIMITIVES = ("_two_to", "_exponent")
FUNCTIONS = ("sin", "cos", "tan", "exp", "expm1", "log", "log1p", "tanh", "atan", "pow")
"""The operations of a program that a C library would do."""
