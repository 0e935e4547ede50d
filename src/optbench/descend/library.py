"""Functions of arrays with the bits of the compiled loop, for rows side by side.

NumPy's sin, cos, exp and log are its own; those of the compiled loop are `vector_math` and the C library's. So these
are one compiled function that applies one of them to an array: compiled once a machine (seconds), loaded in
milliseconds, kept as a kernel is (`kernel`).
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from optbench.descend import vector_math
from optbench.descend.forms import FORMS
from optbench.descend.kernel import is_compiled, load

LIBRARY = (*vector_math.FUNCTIONS, "tan", "tanh", "atan", "expm1", "log", "log1p", "pow")
"""Operations that are functions here."""

_TEMPLATE = '''"""Written by optbench.descend.library, named by the hash of its text: changes here do nothing."""

import math

import numba
import numpy as np
from numba.extending import intrinsic

F = np.float64
_A1, _I = numba.float64[::1], numba.int64


{functions}

@numba.njit(numba.void(_I, _A1, _A1, _A1), cache=True, nogil=True, error_model="numpy")
def run(op, a, b, out):
{branches}
'''


@functools.cache
def source() -> str:
    """The source of the module."""
    lines = []
    for i, op in enumerate(LIBRARY):
        lines += [f"    if op == {i}:", "        for i in range(len(out)):"]
        lines += [f"            out[i] = {FORMS[op].format('a[i]', 'b[i]')}"]
    return _TEMPLATE.format(functions=vector_math.source(vector_math.FUNCTIONS), branches="\n".join(lines))


def is_there() -> bool:
    """Whether the functions can be had: numba is installed."""
    return importlib.util.find_spec("numba") is not None


def is_ready() -> bool:
    """Whether they are compiled already."""
    return is_compiled(source())


def functions() -> Mapping[str, Callable[..., Any]]:
    """Each of LIBRARY as a function of numbers or arrays (rows,). Raises NotImplementedError where numba refuses."""
    run = load(source())

    def function(op: int) -> Callable[..., Any]:
        def apply(a: Any, b: Any = None) -> Any:
            first = np.ascontiguousarray(a, dtype=np.float64)
            second = first if b is None else np.ascontiguousarray(b, dtype=np.float64)
            if first.shape != second.shape:
                first, second = (np.ascontiguousarray(v) for v in np.broadcast_arrays(first, second))
            first, second = (v if v.flags.writeable else v.copy() for v in (first, second))  # what numba takes
            out = np.empty_like(first)
            run(op, first, second, out)
            return out

        return apply

    return {op: function(i) for i, op in enumerate(LIBRARY)}
