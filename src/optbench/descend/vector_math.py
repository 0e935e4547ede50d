"""sin, cos and exp without a branch or a call, so that the lanes of a kernel become vector instructions.

The functions are copied as text into every kernel that uses them, so that a kernel's name covers them. They are within
2 units in the last place of the C library's; NaN and infinities come out as they should. The arguments of sin and cos
are reduced exactly up to `FARTHEST` in magnitude only: a kernel marks rows that go beyond, and the engine runs those
again with torch. Polynomials are summed in pairs (Estrin): a step of one row is a long chain, and its length is what
a processor waits for. Only here may the compiler fuse a product and a sum; it gains precision by it.

Source: fdlibm (Sun Microsystems, 1993), k_sin.c, k_cos.c, e_rem_pio2.c, for coefficients and the splitting of pi/2; exp
is its Taylor polynomial of degree 13 on [-ln 2 / 2, ln 2 / 2], where the remainder is below 5e-18.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

FARTHEST = 1.6e6


def _shifted(y: Any) -> Any:
    return y + 6755399441055744.0  # 1.5 * 2^52: the integer nearest to y stands in the last bits


def _bits(y: Any) -> Any:
    return np.float64(y).view(np.int64)


def _with_sign_of(y: Any, quarters: Any) -> Any:
    return np.int64(_bits(y) ^ ((quarters & np.int64(2)) << np.int64(62))).view(np.float64)


def _remainder(x: Any, n: Any) -> Any:
    r = (x - n * 1.57079632673412561417e00) - n * 6.07710050630396597660e-11
    return (r - n * 2.02226624871116645580e-21) - n * 8.47842766036889956997e-32


def _sin_near_0(r: Any) -> Any:
    z = r * r
    low = -1.66666666666666324348e-01 + z * 8.33333333332248946124e-03
    high = -1.98412698298579493134e-04 + z * 2.75573137070700676789e-06
    top = -2.50507602534068634195e-08 + z * 1.58969099521155010221e-10
    square = z * z
    return r + r * z * (low + square * (high + square * top))


def _cos_near_0(r: Any) -> Any:
    z = r * r
    low = 4.16666666666666019037e-02 + z * -1.38888888888741095749e-03
    high = 2.48015872894767294178e-05 + z * -2.75573143513906633035e-07
    top = 2.08757232129817482790e-09 + z * -1.13596475577881948265e-11
    square = z * z
    return (1.0 - 0.5 * z) + square * (low + square * (high + square * top))


def _vector_sin(x: Any) -> Any:
    m = _shifted(x * 0.6366197723675814)
    r, q = _remainder(x, m - 6755399441055744.0), _bits(m)
    s, c = _sin_near_0(r), _cos_near_0(r)
    return _with_sign_of(c if q & np.int64(1) else s, q)


def _vector_cos(x: Any) -> Any:
    m = _shifted(x * 0.6366197723675814)
    r, q = _remainder(x, m - 6755399441055744.0), _bits(m)
    s, c = _sin_near_0(r), _cos_near_0(r)
    return _with_sign_of(s if q & np.int64(1) else c, q + np.int64(1))


def _two_to(n: Any) -> Any:
    return np.int64((n + np.int64(1023)) << np.int64(52)).view(np.float64)


def _vector_exp(x: Any) -> Any:
    x = 710.0 if x > 710.0 else x
    x = -746.0 if x < -746.0 else x
    m = _shifted(x * 1.4426950408889634)
    n = m - 6755399441055744.0
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    z = r * r
    a = 0.5 + r * (1.0 / 6.0)
    b = 1.0 / 24.0 + r * (1.0 / 120.0)
    c = 1.0 / 720.0 + r * (1.0 / 5040.0)
    d = 1.0 / 40320.0 + r * (1.0 / 362880.0)
    e = 1.0 / 3628800.0 + r * (1.0 / 39916800.0)
    f = 1.0 / 479001600.0 + r * (1.0 / 6227020800.0)
    fourth = z * z
    p = (a + z * b) + fourth * ((c + z * d) + fourth * (e + z * f))
    whole = _bits(m)
    half = whole >> np.int64(1)
    return (1.0 + (r + z * p)) * _two_to(half) * _two_to(whole - half)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {"sin": _vector_sin, "cos": _vector_cos, "exp": _vector_exp}
"""By the name of the operation that they are."""


def source(functions: Mapping[str, Callable[..., Any]]) -> str:
    """The module of `functions` (this or the one in single precision) as text for a kernel's module."""
    module = vars(sys.modules[next(iter(functions.values())).__module__])
    parts = [f for name, f in module.items() if name.startswith("_") and inspect.isfunction(f)]
    texts = (re.sub(r": Any\b| -> Any\b", "", inspect.getsource(f)) for f in parts)
    return "\n\n".join(f"@numba.njit(error_model='numpy', fastmath={{'contract'}})\n{text}" for text in texts)
