"""Sums of functions that share no coordinate: found in the program, by its structure alone.

A surface that is f_1(x_1, x_2) + f_2(x_3) + ... has for its critical points every combination of critical points of its
terms, and its Hessian is made of the Hessians of the terms: what is proved of each of the terms is proved of the sum.
The terms are found by taking the recorded program apart along its additions: c (a + b) is c a + c b, (a + b) / c is
a / c + b / c, and a number that is added changes no derivative. These are identities of real numbers, so the split
function is the programmed one exactly; nothing is measured. Terms that share a coordinate, directly or through others,
belong together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from optbench.critical.programs.program import Program
from optbench.critical.programs.recorded import Step, Tape

MOST_TERMS = 10_000  # a sum that uses itself again and again has too many


class Factor(NamedTuple):
    """A part of a separable surface.

    Attributes:
        coordinates: of the surface, rising: its own coordinates 0, 1, ... in that order.
        program: the sum of its terms; the constant 0 for a coordinate that no term uses.
    """

    coordinates: tuple[int, ...]
    program: Program


class Term(NamedTuple):
    """What an earlier step contributes to the sum: its value, multiplied and divided by numbers.

    Attributes:
        at: the step.
        chain: of "scale" and "over" with their numbers, applied from the first to the last.
    """

    at: int
    chain: tuple[tuple[str, float], ...]


def factors(program: Program) -> list[Factor]:
    """The parts of a surface that share no coordinate, by their first coordinates; one part if it is not separable."""
    supports = _supports(program)
    found = terms(program)
    return [_factor(program, group, found, supports) for group in _groups(program.dim, found, supports)]


def terms(program: Program) -> list[Term]:
    """The surface as a sum; numbers added to it are left out."""
    found: list[Term] = []
    todo = [Term(program.result, ())]
    while todo:
        if len(todo) + len(found) > MOST_TERMS:
            return [Term(program.result, ())]
        at, chain = todo.pop()
        step = program.steps[at]
        if step.op == "plus":
            todo += [Term(k, chain) for k in reversed(step.args)]
        elif step.op == "shift" and math.isfinite(step.number or 0.0):
            todo.append(Term(step.args[0], chain))
        elif step.op in ("scale", "over") and _divides(step):
            todo.append(Term(step.args[0], ((step.op, float(step.number or 0.0)), *chain)))
        elif step.op != "constant":
            found.append(Term(at, chain))
    return found


def _divides(step: Step) -> bool:
    """Whether multiplying or dividing by the step's number is a linear map."""
    number = step.number or 0.0
    return math.isfinite(number) and (step.op == "scale" or number != 0.0)


def _supports(program: Program) -> list[int]:
    """The coordinates that each step depends on, as bits."""
    found: list[int] = []
    for step in program.steps:
        bits = 1 << int(step.number or 0) if step.op == "x" else 0
        for k in step.args:
            bits |= found[k]
        found.append(bits)
    return found


def _groups(dim: int, found: Sequence[Term], supports: Sequence[int]) -> list[int]:
    """Sets of coordinates that no term connects, as bits, by their lowest ones."""
    groups = [1 << i for i in range(dim)]
    for term in found:
        bits = supports[term.at]
        joined = [g for g in groups if g & bits]
        if len(joined) > 1:
            groups = [g for g in groups if not g & bits] + [sum(joined)]
    return sorted(groups, key=lambda g: g & -g)


def _factor(program: Program, group: int, found: Sequence[Term], supports: Sequence[int]) -> Factor:
    """The sum of the terms whose coordinates are in the group; constant terms change no derivative."""
    coordinates = tuple(i for i in range(program.dim) if group >> i & 1)
    tape = Tape(len(coordinates))
    copied = {i: k for k, i in enumerate(coordinates)}
    total = None
    for term in found:
        if not supports[term.at] & group:
            continue
        at = _copy(program, term.at, tape, copied)
        for op, number in term.chain:
            at = tape.put(op, (at,), number)
        total = at if total is None else tape.put("plus", (total, at))
    result = tape.put("constant", number=0.0) if total is None else total
    return Factor(coordinates, Program(len(coordinates), tuple(tape.steps), result))


def _copy(program: Program, at: int, tape: Tape, copied: dict[int, int]) -> int:
    """The step and all that it needs, on another tape."""
    needed, todo = set(), [at]
    while todo:
        k = todo.pop()
        if k not in needed and k not in copied:
            needed.add(k)
            todo += program.steps[k].args
    for k in sorted(needed):
        step = program.steps[k]
        copied[k] = tape.put(step.op, tuple(copied[a] for a in step.args), step.number)
    return copied[at]
