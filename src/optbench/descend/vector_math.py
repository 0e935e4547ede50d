"""sin, cos and exp without a branch or a call, so that the lanes of a kernel become vector instructions.

The functions are copied as text into every kernel that uses them, so that a kernel's name covers them. They are within
2 units in the last place of the C library's; NaN and infinities come out as they should. The arguments of sin and cos
are reduced exactly up to `FARTHEST` in magnitude only: a kernel marks rows that go beyond, and the engine runs those
again with torch. Polynomials are summed in pairs (Estrin): a step of one row is a long chain, and its length is what
a processor waits for. Products and sums are fused where that gains precision, by name (`_fma`) and not as a compiler
likes, so that a kernel and Python's own floats (`scalar`) come to the same bits on every machine.

Source: fdlibm (Sun Microsystems, 1993), k_sin.c, k_cos.c, e_rem_pio2.c, for coefficients and the splitting of pi/2; exp
is its Taylor polynomial of degree 13 on [-ln 2 / 2, ln 2 / 2], where the remainder is below 5e-18.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
import sys
import types
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

FARTHEST = 1.6e6


def _exact_fma(a: float, b: float, c: float) -> float:
    """a b + c with one rounding, in fractions."""
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    return exact.numerator / exact.denominator if exact else a * b + c


@functools.cache
def _library_fma() -> Callable[[float, float, float], float]:
    """a b + c with one rounding: Python's own from 3.13 on, else the C library's, else in fractions."""
    if hasattr(math, "fma"):
        return math.fma  # type: ignore[no-any-return]
    import ctypes

    try:
        found = ctypes.CDLL(None).fma
    except (AttributeError, OSError, TypeError):
        return _exact_fma
    found.argtypes, found.restype = [ctypes.c_double] * 3, ctypes.c_double
    tiny = 2.0**-30
    return found if found(1.0 + tiny, 1.0 - tiny, -1.0) == -(tiny * tiny) else _exact_fma


def _fma(a: Any, b: Any, c: Any) -> Any:
    return _library_fma()(a, b, c)


def _shifted(x: Any, factor: Any) -> Any:
    return _fma(x, factor, 6755399441055744.0)  # 1.5 * 2^52: the integer nearest to the product is in the last bits


def _bits(y: Any) -> Any:
    return np.float64(y).view(np.int64)


def _with_sign_of(y: Any, quarters: Any) -> Any:
    return np.int64(_bits(y) ^ ((quarters & np.int64(2)) << np.int64(62))).view(np.float64)


def _remainder(x: Any, n: Any) -> Any:
    r = _fma(n, -6.07710050630396597660e-11, _fma(n, -1.57079632673412561417e00, x))
    return _fma(n, -8.47842766036889956997e-32, _fma(n, -2.02226624871116645580e-21, r))


def _sin_near_0(r: Any) -> Any:
    z = r * r
    low = _fma(z, 8.33333333332248946124e-03, -1.66666666666666324348e-01)
    high = _fma(z, 2.75573137070700676789e-06, -1.98412698298579493134e-04)
    top = _fma(z, 1.58969099521155010221e-10, -2.50507602534068634195e-08)
    square = z * z
    return _fma(r * z, _fma(square, _fma(square, top, high), low), r)


def _cos_near_0(r: Any) -> Any:
    z = r * r
    low = _fma(z, -1.38888888888741095749e-03, 4.16666666666666019037e-02)
    high = _fma(z, -2.75573143513906633035e-07, 2.48015872894767294178e-05)
    top = _fma(z, -1.13596475577881948265e-11, 2.08757232129817482790e-09)
    square = z * z
    return _fma(square, _fma(square, _fma(square, top, high), low), _fma(z, -0.5, 1.0))


def _vector_sin(x: Any) -> Any:
    m = _shifted(x, 0.6366197723675814)
    r, q = _remainder(x, m - 6755399441055744.0), _bits(m)
    s, c = _sin_near_0(r), _cos_near_0(r)
    return _with_sign_of(c if q & np.int64(1) else s, q)


def _vector_cos(x: Any) -> Any:
    m = _shifted(x, 0.6366197723675814)
    r, q = _remainder(x, m - 6755399441055744.0), _bits(m)
    s, c = _sin_near_0(r), _cos_near_0(r)
    return _with_sign_of(s if q & np.int64(1) else c, q + np.int64(1))


def _two_to(n: Any) -> Any:
    return np.int64((n + np.int64(1023)) << np.int64(52)).view(np.float64)


def _vector_exp(x: Any) -> Any:
    x = 710.0 if x > 710.0 else x
    x = -746.0 if x < -746.0 else x
    m = _shifted(x, 1.4426950408889634)
    n = m - 6755399441055744.0
    r = _fma(n, -1.90821492927058770002e-10, _fma(n, -6.93147180369123816490e-01, x))
    z = r * r
    a = _fma(r, 1.0 / 6.0, 0.5)
    b = _fma(r, 1.0 / 120.0, 1.0 / 24.0)
    c = _fma(r, 1.0 / 5040.0, 1.0 / 720.0)
    d = _fma(r, 1.0 / 362880.0, 1.0 / 40320.0)
    e = _fma(r, 1.0 / 39916800.0, 1.0 / 3628800.0)
    f = _fma(r, 1.0 / 6227020800.0, 1.0 / 479001600.0)
    fourth = z * z
    p = _fma(fourth, _fma(fourth, _fma(z, f, e), _fma(z, d, c)), _fma(z, b, a))
    whole = _bits(m)
    half = whole >> np.int64(1)
    return (1.0 + _fma(z, p, r)) * _two_to(half) * _two_to(whole - half)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {"sin": _vector_sin, "cos": _vector_cos, "exp": _vector_exp}
"""By the name of the operation that they are."""


@functools.cache
def scalar() -> Mapping[str, Callable[[float], float]]:
    """The same functions on Python's own floats, finite ones (ValueError for others, which `forms` knows): the same
    code, with what looks at bits in a form that has whole numbers."""
    names: dict[str, Any] = dict(globals()) | {
        "_fma": _library_fma(),
        "np": types.SimpleNamespace(int64=int),
        "_bits": lambda m: int(m - 6755399441055744.0),  # the last bits, and the sign, of the integer in them
        "_with_sign_of": lambda y, quarters: -y if quarters & 2 else y,
        "_two_to": lambda n: math.ldexp(1.0, n),
    }
    for name, found in list(names.items()):
        if isinstance(found, types.FunctionType) and found.__module__ == __name__ and name in globals():
            if found is not globals()[name] or name[:1] != "_":
                continue
            names[name] = types.FunctionType(found.__code__, names, name)
    return {name: names[function.__name__] for name, function in FUNCTIONS.items()}


_INTRINSIC = """@intrinsic
def _fma(context, a, b, c):
    def build(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return a(a, b, c), build"""


def source(functions: Mapping[str, Callable[..., Any]]) -> str:
    """The module of `functions` (this or the one in single precision) as text for a kernel's module."""
    module = vars(sys.modules[next(iter(functions.values())).__module__])
    own = [(name, f) for name, f in module.items() if name.startswith("_") and inspect.isfunction(f)]
    parts = [f for name, f in own if not name.endswith("_fma")]
    texts = (re.sub(r": Any\b| -> Any\b", "", inspect.getsource(f)) for f in parts)
    fused = "_fma" in module
    how = "error_model='numpy'" + ("" if fused else ", fastmath={'contract'}")
    return "\n\n".join([*([_INTRINSIC] if fused else []), *(f"@numba.njit({how})\n{text}" for text in texts)])
