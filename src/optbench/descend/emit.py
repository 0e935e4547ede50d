"""A traced step to the source of a kernel: block of 64 rows -> step -> lane.

The loops over lanes are the inner ones, without a branch, so that they become vector instructions; the state of a block
(coordinates, memories, statistics) lies in one scratch array of 64 numbers a quantity, which stays in the first-level
cache and whose accesses are provably apart. Stop rules and statistics are part of the step: nothing is written to main
memory before a block has ended, except the curves of recorded rows. A store is what a short step waits for, so there
are few: how and when a row ended is one number, and what step 0 alone decides is written after it.

No fast-math: it would assume that there is no NaN, which is how divergence shows. Outside `vector_math` each operation
rounds as torch's does.
"""

from __future__ import annotations

from collections.abc import Sequence

from optbench.descend import portable, vector_math, vector_math_single
from optbench.descend.batch import COMPLETED, DIVERGED, PLATEAU, REST, TARGET
from optbench.descend.body import Body
from optbench.descend.layout import ENDINGS, FAR, LANES, STATISTICS, Layout, at, variable
from optbench.descend.program import Step


def emit(step: Step, layout: Layout, dtype: str) -> tuple[str, list[float]]:
    """The source of the kernel's module, and the constants that it is given (see `Body`)."""
    library = vector_math if dtype == "float64" else vector_math_single
    called = any(i.op in library.FUNCTIONS for i in step.program.code)
    own = {i.op for i in step.program.code if i.op.startswith(portable.PREFIX)}
    if own and dtype != "float64":
        raise NotImplementedError("the portable engine computes in float64")
    functions = [vector_math.source(library.FUNCTIONS)] if called else []
    functions += [portable.numba_source(own)] if own else []
    body = Body(step, layout)
    text = _TEMPLATE.format(
        functions="\n\n\n".join(functions),
        farthest=library.FARTHEST,
        dtype=dtype,
        size=body.slots * LANES,
        lanes=LANES,
        numbers=_lines(8, [f"{variable(n)} = uniform[{i}]" for i, n in enumerate(layout.uniform)]),
        enter=_lines(12, _enter(layout)),
        endings=ENDINGS,
        codes=", ".join(f"ended + F({code})" for code in (REST, PLATEAU, TARGET, DIVERGED, FAR)),
        completed=COMPLETED,
        coefficients=_lines(12, _shared_coefficients(layout)),
        varied=_lines(12, _varied_coefficients(layout)),
        path=_lines(
            20, [f"curve[point, {i + 2}, base + lane] = w[{at(layout, f'x[{i}]')}]" for i in range(layout.dim)]
        ),
        body=_lines(12, body.lines),
        **{name: f"w[{at(layout, name)}]" for name in ("loss", "slope", "start", "bound", "ending")},
        leave=_lines(12, _leave(layout)),
    )
    return text, body.constants


def _lines(indent: int, lines: Sequence[str]) -> str:
    return ("\n" + " " * indent).join(lines) if lines else "pass"


def _enter(layout: Layout) -> list[str]:
    # no row is beyond its bound at step 0 unless it is infinite, since the factor is above 1
    begin = {"best": "INF", "best_step": "-ONE", "low": "INF", "bound": "BIG"} | {
        f"reached{j}": "-ONE" for j in range(layout.targets)
    }
    begin |= {f"x[{i}]": f"x[{i}, base + lane]" for i in range(layout.dim)}
    begin |= {name: f"per_row[{i}, base + lane]" for i, name in enumerate(layout.per_row)}
    return [f"w[{at(layout, name)}] = {begin.get(name, 'ZERO')}" for name in layout.slots]


def _shared_coefficients(layout: Layout) -> list[str]:
    shared = [(j, names) for j, (names, varied) in enumerate(layout.tables) if not varied]
    return [f"{variable(name)} = table{j}[{i}, 0, k]" for j, names in shared for i, name in enumerate(names)]


def _varied_coefficients(layout: Layout) -> list[str]:
    lines = []
    for j, (names, varied) in enumerate(layout.tables):
        if varied:
            lines += ["for lane in range(LANES):", f"    line = index{j}[base + lane]"]
            lines += [f"    w[{at(layout, name)}] = table{j}[{i}, line, k]" for i, name in enumerate(names)]
    return lines


def _leave(layout: Layout) -> list[str]:
    names = [*STATISTICS, *(f"reached{j}" for j in range(layout.targets))]
    lines = [f"statistics[{i}, base + lane] = w[{at(layout, name)}]" for i, name in enumerate(names)]
    return lines + [f"x[{i}, base + lane] = w[{at(layout, f'x[{i}]')}]" for i in range(layout.dim)]


_TEMPLATE = '''"""Written by optbench.descend.emit, named by the hash of its text: a change here is never looked at."""

import math

import numba
import numpy as np
from numba.extending import intrinsic

F = np.{dtype}
ZERO, ONE, INF, NAN, BIG = F(0), F(1), F(np.inf), F(np.nan), np.finfo(F).max
FARTHEST = F({farthest})
LANES = {lanes}
_T = numba.{dtype}
_A1, _A2, _A3, _I1 = _T[::1], _T[:, ::1], _T[:, :, ::1], numba.int64[::1]
_I = numba.int64


{functions}

@numba.njit(
    numba.void(_I, _I, _I, _I, _A2, _A2, _A1, _A3, _A3, _I1, _I1, _A1, _A2, _A3),
    cache=True,
    nogil=True,
    error_model="numpy",
)
def run(begin, stop, steps, every, x, per_row, uniform, table0, table1, index0, index1, limits, statistics, curve):
    room = np.empty({size} + LANES, F)
    skip = (-room.ctypes.data % 64) // room.itemsize  # a vector that crosses a cache line costs two
    w = room[skip : skip + {size}]
    factor, target, flat, delta, patience = limits[0], limits[1], limits[2], limits[3], limits[4]
    if True:
        {numbers}
    for block in range(begin, stop):
        base = block * LANES
        for lane in range(LANES):
            {enter}
        for k in range(steps + 1):
            t = F(k)
            ended = t * F({endings})
            rest, plateau, reached, diverged, far = {codes}
            completed = ended + F({completed}) if k == steps else ZERO
            {coefficients}
            {varied}
            if every > 0 and k % every == 0:
                point = k // every
                for lane in range(LANES):
                    {path}
            {body}
            if k == 0:
                for lane in range(LANES):
                    {start} = {loss}
                    size = math.fabs({loss})
                    widest = factor * (size if size > ONE else ONE)
                    {bound} = widest if widest < BIG else BIG
            if every > 0 and k % every == 0:
                for lane in range(LANES):
                    curve[k // every, 0, base + lane] = {loss}
                    curve[k // every, 1, base + lane] = {slope}
            if k % 16 == 15:
                left = 0
                for lane in range(LANES):
                    left += {ending} == ZERO
                if left == 0:
                    break
        for lane in range(LANES):
            {leave}
'''
