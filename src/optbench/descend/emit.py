"""A traced step to the source of a kernel: block of 64 rows -> step -> lane.

The loop over lanes is the inner one, without a branch, so that it becomes vector instructions; the state of a block
(coordinates, memories, statistics) lies in one scratch array of 64 numbers a quantity, which stays in the first-level
cache and whose accesses are provably apart. Stop rules and statistics are part of the step: nothing is written to main
memory before a block has ended, except the curves of recorded rows.

No fast-math: it would assume that there is no NaN, which is how divergence shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from optbench.descend import vector_math
from optbench.descend.batch import COMPLETED, DIVERGED, PLATEAU, REST, TARGET
from optbench.descend.plan import Plan
from optbench.descend.program import Instruction
from optbench.descend.trace import Step

LANES = 64
STATISTICS = ("code", "end", "start", "loss", "slope", "best", "best_step", "far")
"""What a block hands back, a row each, before the first steps at the targets; slope is the squared gradient norm, far
whether an argument of sin or cos was out of reach."""

FORMS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "pow": "{0} ** {1}",
    "sqrt": "math.sqrt({0})",
    "abs": "math.fabs({0})",
    **{name: f"math.{name}({{0}})" for name in ("tan", "tanh", "atan", "expm1", "log", "log1p")},
    **{name: f"F(_vector_{name}(np.float64({{0}})))" for name in vector_math.FUNCTIONS},
    "sign": "ONE if {0} > ZERO else (-ONE if {0} < ZERO else ZERO)",
    "maximum": "{0} if ({0} > {1}) | ({0} != {0}) else {1}",
    "minimum": "{0} if ({0} < {1}) | ({0} != {0}) else {1}",
    "where": "{1} if {0} else {2}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "not": "not {0}",
}
"""The text of each operation; truth values come from comparisons alone."""


@dataclass(frozen=True)
class Layout:
    """Which quantity lies where.

    Attributes:
        dim: number of coordinates.
        memories: names of the rule's memories.
        per_row: numbers that differ between rows, in the order of the kernel's `per_row` argument; "floor" is last.
        uniform: numbers that all rows share, likewise.
        tables: for the two tables, the coefficients' names and whether rows differ.
        targets: how many first steps are kept.
        plateau: whether that stop rule is in use.
    """

    dim: int
    memories: tuple[str, ...]
    per_row: tuple[str, ...]
    uniform: tuple[str, ...]
    tables: tuple[tuple[tuple[str, ...], bool], ...]
    targets: int
    plateau: bool

    @cached_property
    def slots(self) -> dict[str, int]:
        """Position of each quantity in the scratch array, in units of LANES."""
        names = [f"x[{i}]" for i in range(self.dim)]
        names += [f"{m}[{i}]" for m in self.memories for i in range(self.dim)]
        names += list(STATISTICS) + [f"reached{j}" for j in range(self.targets)]
        names += ["bound", *(("low", "low_step") if self.plateau else ()), *self.per_row]
        names += [name for coefficients, varied in self.tables if varied for name in coefficients]
        return {name: i for i, name in enumerate(names)}


def layout_of(plan: Plan, dim: int, targets: int, plateau: bool) -> Layout:
    """The layout that a plan needs."""
    numbers = dict(plan.hyper) | ({} if plan.floor is None else {"floor": plan.floor})
    rows = tuple(name for name, value in numbers.items() if isinstance(value, np.ndarray))
    tables = tuple((table.names, table.index is not None) for table in plan.tables)
    uniform = tuple(name for name in numbers if name not in rows)
    return Layout(dim, plan.rule.memories, rows, uniform, tables, targets, plateau)


def emit(step: Step, layout: Layout, dtype: str) -> str:
    """The source of the kernel's module."""
    called = any(i.op in vector_math.FUNCTIONS for i in step.program.code)
    return _TEMPLATE.format(
        functions=vector_math.source() if called else "",
        farthest=vector_math.FARTHEST,
        dtype=dtype,
        size=len(layout.slots) * LANES,
        lanes=LANES,
        numbers=_lines(8, [f"{_name(n)} = uniform[{i}]" for i, n in enumerate(layout.uniform)]),
        enter=_lines(12, _enter(layout)),
        coefficients=_lines(12, _shared_coefficients(layout)),
        varied=_lines(12, _varied_coefficients(layout)),
        path=_lines(
            20, [f"curve[point, {i + 2}, base + lane] = w[{_at(layout, f'x[{i}]')}]" for i in range(layout.dim)]
        ),
        body=_lines(16, [*_loads(layout), *_computed(step, layout), *_rules(layout), *_stores(step, layout)]),
        loss=f"w[{_at(layout, 'loss')}]",
        slope=f"w[{_at(layout, 'slope')}]",
        code=f"w[{_at(layout, 'code')}]",
        leave=_lines(12, _leave(layout)),
    )


def _name(quantity: str) -> str:
    """A name for generated code."""
    return "q_" + quantity.replace("[", "_").replace("]", "").replace(".", "_")


def _lines(indent: int, lines: Sequence[str]) -> str:
    return ("\n" + " " * indent).join(lines) if lines else "pass"


def _at(layout: Layout, quantity: str) -> str:
    return f"lane + {layout.slots[quantity] * LANES}"


def _enter(layout: Layout) -> list[str]:
    begin = {"best": "INF", "best_step": "-ONE", "low": "INF"} | {f"reached{j}": "-ONE" for j in range(layout.targets)}
    begin |= {f"x[{i}]": f"x[{i}, base + lane]" for i in range(layout.dim)}
    begin |= {name: f"per_row[{i}, base + lane]" for i, name in enumerate(layout.per_row)}
    return [f"w[{_at(layout, name)}] = {begin.get(name, 'ZERO')}" for name in layout.slots]


def _shared_coefficients(layout: Layout) -> list[str]:
    shared = [(j, names) for j, (names, varied) in enumerate(layout.tables) if not varied]
    return [f"{_name(name)} = table{j}[{i}, 0, k]" for j, names in shared for i, name in enumerate(names)]


def _varied_coefficients(layout: Layout) -> list[str]:
    lines = []
    for j, (names, varied) in enumerate(layout.tables):
        if varied:
            lines += ["for lane in range(LANES):", f"    line = index{j}[base + lane]"]
            lines += [f"    w[{_at(layout, name)}] = table{j}[{i}, line, k]" for i, name in enumerate(names)]
    return lines


def _loads(layout: Layout) -> list[str]:
    lines = [f"{_name(name)} = w[{_at(layout, name)}]" for name in layout.slots if name not in ("loss", "slope")]
    if "floor" in layout.per_row + layout.uniform:
        return [*lines, "rate = q_floor + (q_lr - q_floor) * q_factor"]
    return [*lines, "rate = q_lr * q_factor"]


def _computed(step: Step, layout: Layout) -> list[str]:
    program = step.program
    squares = [program.apply("mul", g, g) for g in step.gradient]
    slope = squares[0]
    for square in squares[1:]:
        slope = program.apply("add", slope, square)
    outputs = [slope, step.loss, *step.x, *(v for name in layout.memories for v in step.memory[name])]
    lines = [f"v{v} = {_expression(program.code[v])}" for v in program.needed(outputs)]
    turned = {program.code[v].args[0] for v in program.needed(outputs) if program.code[v].op in ("sin", "cos")}
    far = " | ".join(f"(math.fabs(v{v}) > FARTHEST)" for v in sorted(turned))
    lines.append(f"far = (ONE if {far} else q_far) if q_code == ZERO else q_far" if far else "far = ZERO")
    return [*lines, f"loss = v{step.loss}", f"slope = v{slope}"]


def _expression(instruction: Instruction) -> str:
    if instruction.op == "const":
        number = repr(float(instruction.payload))
        return {"inf": "INF", "-inf": "-INF", "nan": "NAN"}.get(number, f"F({number})")
    if instruction.op == "input":
        name = str(instruction.payload)
        return {"lr": "rate", "t": "t"}.get(name, _name(name))
    return FORMS[instruction.op].format(*(f"v{a}" for a in instruction.args))


def _rules(layout: Layout) -> list[str]:
    """Statistics, then the stop rules in the order of loop.rules; an ended row repeats its last iterate for ever."""
    lines = [
        "size = math.fabs(loss)",
        "widest = factor * (size if size > ONE else ONE)",
        "widest = widest if widest < BIG else BIG",
        "bound = widest if first else q_bound",
        "start = loss if first else q_start",
        "better = loss < q_best",
        "best = loss if better else q_best",
        "best_step = t if better else q_best_step",
        "sound = (size <= bound) & (slope < INF)",
        f"new = F({COMPLETED}) if last else ZERO",
    ]
    if layout.plateau:
        lines += [
            "enough = delta * math.fabs(q_low) if math.fabs(q_low) < INF else ZERO",
            "lower = loss < q_low - enough",
            "low = loss if lower else q_low",
            "low_step = t if lower else q_low_step",
            f"new = F({PLATEAU}) if t - low_step >= patience else new",
        ]
    for j in range(layout.targets):
        hit = f"(q_reached{j} < ZERO) & (loss <= limits[{j + 5}]) & sound"
        lines.append(f"reached{j} = t if {hit} else q_reached{j}")
    return [
        *lines,
        f"new = F({REST}) if slope <= flat else new",
        f"new = F({TARGET}) if loss <= target else new",
        f"new = new if sound else F({DIVERGED})",
        "running = q_code == ZERO",
        "code = new if running else q_code",
        "end = t if running else q_end",
        "go = code == ZERO",
    ]


def _stores(step: Step, layout: Layout) -> list[str]:
    kept = [*STATISTICS, "bound", *(f"reached{j}" for j in range(layout.targets))]
    kept += ["low", "low_step"] if layout.plateau else []
    lines = [f"w[{_at(layout, name)}] = {name}" for name in kept]
    for i, value in enumerate(step.x):
        lines.append(f"w[{_at(layout, f'x[{i}]')}] = v{value} if go else {_name(f'x[{i}]')}")
    for name in layout.memories:
        lines += [f"w[{_at(layout, f'{name}[{i}]')}] = v{value}" for i, value in enumerate(step.memory[name])]
    return lines


def _leave(layout: Layout) -> list[str]:
    names = [*STATISTICS, *(f"reached{j}" for j in range(layout.targets))]
    lines = [f"statistics[{i}, base + lane] = w[{_at(layout, name)}]" for i, name in enumerate(names)]
    return lines + [f"x[{i}, base + lane] = w[{_at(layout, f'x[{i}]')}]" for i in range(layout.dim)]


_TEMPLATE = '''"""Written by optbench.descend.emit, named by the hash of its text: a change here is never looked at."""

import math

import numba
import numpy as np

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
    w = np.empty({size}, F)
    factor, target, flat, delta, patience = limits[0], limits[1], limits[2], limits[3], limits[4]
    if True:
        {numbers}
    for block in range(begin, stop):
        base = block * LANES
        for lane in range(LANES):
            {enter}
        for k in range(steps + 1):
            t = F(k)
            first, last = k == 0, k == steps
            {coefficients}
            {varied}
            if every > 0 and k % every == 0:
                point = k // every
                for lane in range(LANES):
                    {path}
            for lane in range(LANES):
                {body}
            if every > 0 and k % every == 0:
                for lane in range(LANES):
                    curve[k // every, 0, base + lane] = {loss}
                    curve[k // every, 1, base + lane] = {slope}
            if k % 16 == 15:
                left = 0
                for lane in range(LANES):
                    left += {code} == ZERO
                if left == 0:
                    break
        for lane in range(LANES):
            {leave}
'''
