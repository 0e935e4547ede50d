"""sin, cos and exp without a branch or a call, so that the lanes of a kernel become vector instructions.

The functions are copied as text into every kernel that uses them, so that a kernel's name covers them. They are within
2 units in the last place of the C library's; NaN and infinities come out as they should. The arguments of sin and cos
are reduced exactly up to `FARTHEST` in magnitude only: a kernel marks rows that go beyond, and the engine runs those
again with torch.

Source: fdlibm (Sun Microsystems, 1993), k_sin.c, k_cos.c, e_rem_pio2.c, for coefficients and the splitting of pi/2; exp
is its Taylor polynomial of degree 13 on [-ln 2 / 2, ln 2 / 2], where the remainder is below 5e-18.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import numpy as np

FARTHEST = 1.6e6


def _quarters(x: float) -> float:
    return (x * 0.6366197723675814 + 6755399441055744.0) - 6755399441055744.0


def _remainder(x: float, n: float) -> float:
    r = (x - n * 1.57079632673412561417e00) - n * 6.07710050630396597660e-11
    return (r - n * 2.02226624871116645580e-21) - n * 8.47842766036889956997e-32


def _sin_near_0(r: float) -> float:
    z = r * r
    p = 2.75573137070700676789e-06 + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)
    p = 8.33333333332248946124e-03 + z * (-1.98412698298579493134e-04 + z * p)
    return r + r * z * (-1.66666666666666324348e-01 + z * p)


def _cos_near_0(r: float) -> float:
    z = r * r
    p = -2.75573143513906633035e-07 + z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)
    p = 4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 + z * (2.48015872894767294178e-05 + z * p))
    half = 0.5 * z
    w = 1.0 - half
    return w + (((1.0 - w) - half) + z * z * p)


def _vector_sin(x: float) -> float:
    n = _quarters(x)
    r = _remainder(x, n)
    q = n - 4.0 * math.floor(n * 0.25)
    s, c = _sin_near_0(r), _cos_near_0(r)
    v = c if (q == 1.0) | (q == 3.0) else s
    return -v if q >= 2.0 else v


def _vector_cos(x: float) -> float:
    n = _quarters(x)
    r = _remainder(x, n)
    q = n - 4.0 * math.floor(n * 0.25)
    s, c = _sin_near_0(r), _cos_near_0(r)
    v = s if (q == 1.0) | (q == 3.0) else c
    return -v if (q == 1.0) | (q == 2.0) else v


def _two_to(n: float) -> float:
    bits = np.float64(n + 6755399441055744.0).view(np.int64)
    return np.int64((bits + np.int64(1023)) << np.int64(52)).view(np.float64)


def _vector_exp(x: float) -> float:
    x = 710.0 if x > 710.0 else x
    x = -746.0 if x < -746.0 else x
    n = (x * 1.4426950408889634 + 6755399441055744.0) - 6755399441055744.0
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    p = 1.0 / 39916800.0 + r * (1.0 / 479001600.0 + r * (1.0 / 6227020800.0))
    p = 1.0 / 40320.0 + r * (1.0 / 362880.0 + r * (1.0 / 3628800.0 + r * p))
    p = 1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0 + r * p))
    p = 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * p))
    half = (n * 0.5 + 6755399441055744.0) - 6755399441055744.0
    return (1.0 + (r + r * r * p)) * _two_to(half) * _two_to(n - half)


_SHARED: tuple[Callable[..., float], ...] = (_quarters, _remainder, _sin_near_0, _cos_near_0, _two_to)
FUNCTIONS: dict[str, Callable[[float], float]] = {"sin": _vector_sin, "cos": _vector_cos, "exp": _vector_exp}
"""By the name of the operation that they are."""


def source() -> str:
    """All functions as text for a kernel's module."""
    texts = (
        inspect.getsource(f).replace(": float", "").replace(" -> float", "") for f in (*_SHARED, *FUNCTIONS.values())
    )
    return "\n\n".join(f"@numba.njit(error_model='numpy')\n{text}" for text in texts)
