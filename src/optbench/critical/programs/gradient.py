"""The gradient of a recorded surface as a program of its own: reverse-mode differentiation, exact.

Every derivative is written with operations on real numbers that give it exactly: 2 x for x^2, cos for sin, a step
"tanh'" for the derivative of tanh. Factors are gathered only where floating point multiplies or adds them without an
error, so the equations g_i(x) = 0 are those of the programmed surface. What two derivatives have in common is one step
of the program: constraint propagation (`propagate`) lives on that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from optbench.critical.programs.program import Program
from optbench.critical.programs.recorded import Step, Tape

SLOPES = (
    "tanh",
    "sigmoid",
    "atan",
    "asinh",
    "erf",
    "log1pexp",
)  # derivatives that are steps of their own, "tanh'": the rule's range
SMOOTH = frozenset({"sin", "cos", "exp", "expm1", "sinh", "cosh", "square", *SLOPES})
LINEAR = frozenset({"x", "constant", "plus", "times", "shift", "scale", "over"})


@dataclass(frozen=True)
class Equations:
    """The gradient of a surface.

    Attributes:
        dim: coordinates.
        steps: as in `Program`, with "tanh'" and its like for derivatives; steps[i] is coordinate i for i < dim.
        results: the step whose value is the derivative by each coordinate.
    """

    dim: int
    steps: tuple[Step, ...]
    results: tuple[int, ...]


class Scaled(NamedTuple):
    """A number times the value of a step, or the number alone (at None)."""

    number: float
    at: int | None


def is_smooth(program: Program) -> bool:
    """Whether every operation is differentiable everywhere: no kink, no pole, no edge of a domain."""
    return all(_is_smooth(step) for step in program.steps)


def _is_smooth(step: Step) -> bool:
    if step.number is not None and not math.isfinite(step.number):
        return False
    if step.op == "over":
        return step.number != 0.0
    if step.op == "power":
        return (step.number or 0) >= 0
    return step.op in LINEAR or step.op in SMOOTH


def gradient(program: Program) -> Equations:
    """The derivatives of a smooth program by its coordinates.

    Raises:
        ValueError: an operation that is not differentiable everywhere (see `is_smooth`).
    """
    if not is_smooth(program):
        raise ValueError("an operation of the program is not differentiable everywhere")
    return _Reverse(program).equations()


class _Reverse:
    """Adjoints, from the result back to the coordinates."""

    def __init__(self, program: Program) -> None:
        self.program, self.tape = program, Tape()
        for step in program.steps:  # the numbering of the program's own steps is kept
            self.tape.put(step.op, step.args, step.number)

    def equations(self) -> Equations:
        adjoint: dict[int, Scaled] = {self.program.result: Scaled(1.0, None)}
        for k in range(len(self.program.steps) - 1, -1, -1):
            step = self.program.steps[k]
            if k not in adjoint or step.op in ("x", "constant"):
                continue
            for arg, slope in self._through(k, step, adjoint[k]):
                adjoint[arg] = self._sum(adjoint[arg], slope) if arg in adjoint else slope
        found = {}
        for k, step in enumerate(self.program.steps):
            if step.op == "x":
                found[int(step.number or 0)] = self._at(adjoint.get(k, Scaled(0.0, None)))
        return _pruned(self.program.dim, self.tape.steps, [found[i] for i in range(self.program.dim)])

    def _through(self, at: int, step: Step, adjoint: Scaled) -> list[tuple[int, Scaled]]:
        """What a step passes on to each of its arguments."""
        number, a = step.number or 0.0, step.args[0]
        if step.op == "plus":
            return [(k, adjoint) for k in step.args]
        if step.op == "times":
            b = step.args[1]
            return [(a, self._product(adjoint, self._plain(b))), (b, self._product(adjoint, self._plain(a)))]
        if step.op == "shift":
            return [(a, adjoint)]
        if step.op == "scale":
            return [(a, self._product(adjoint, Scaled(number, None)))]
        if step.op == "over":
            return [(a, Scaled(1.0, self.tape.put("over", (self._at(adjoint),), number)))]
        return [(a, self._product(adjoint, slope)) for slope in self._slope(at, step, a)]

    def _slope(self, at: int, step: Step, a: int) -> list[Scaled]:
        """The derivative of an elementary function; nothing where it is 0."""
        put = self.tape.put
        if step.op == "power":
            n = int(step.number or 0)
            if n < 3:
                return [Scaled(float(n), a if n == 2 else None)] if n else []
            return [Scaled(float(n), put("square", (a,)) if n == 3 else put("power", (a,), float(n - 1)))]
        simple = {
            "square": lambda: Scaled(2.0, a),
            "sin": lambda: Scaled(1.0, put("cos", (a,))),
            "cos": lambda: Scaled(-1.0, put("sin", (a,))),
            "exp": lambda: Scaled(1.0, at),
            "expm1": lambda: Scaled(1.0, put("exp", (a,))),
            "sinh": lambda: Scaled(1.0, put("cosh", (a,))),
            "cosh": lambda: Scaled(1.0, put("sinh", (a,))),
        }
        return [simple[step.op]() if step.op in simple else Scaled(1.0, put(f"{step.op}'", (a,)))]

    def _product(self, a: Scaled, b: Scaled) -> Scaled:
        """a b; the numbers are multiplied where that is exact."""
        number = a.number * b.number
        if not _same(Fraction(a.number) * Fraction(b.number), number):
            a, b, number = Scaled(1.0, self._at(a)), b, b.number
        if a.at is None or b.at is None:
            return Scaled(number, a.at if b.at is None else b.at)
        if a.at == b.at:
            return Scaled(number, self.tape.put("square", (a.at,)))
        return Scaled(number, self.tape.put("times", (a.at, b.at)))

    def _sum(self, a: Scaled, b: Scaled) -> Scaled:
        """a + b; multiples of one step are added where that is exact."""
        number = a.number + b.number
        if a.at == b.at and _same(Fraction(a.number) + Fraction(b.number), number):
            return Scaled(number, a.at if number else None)
        for one, other in ((a, b), (b, a)):
            if one.at is None and other.at is not None:
                return Scaled(1.0, self.tape.put("shift", (self._at(other),), one.number))
        return Scaled(1.0, self.tape.put("plus", (self._at(a), self._at(b))))

    def _plain(self, at: int) -> Scaled:
        """The value of a step, as a multiple of what it is a multiple of."""
        step = self.tape.steps[at]
        return Scaled(step.number or 0.0, step.args[0]) if step.op == "scale" else Scaled(1.0, at)

    def _at(self, value: Scaled) -> int:
        """The step that has the value."""
        if value.at is None:
            return self.tape.put("constant", number=value.number)
        return value.at if value.number == 1.0 else self.tape.put("scale", (value.at,), value.number)


def _same(exact: Fraction, rounded: float) -> bool:
    return math.isfinite(rounded) and Fraction(rounded) == exact


def _pruned(dim: int, steps: Sequence[Step], results: Sequence[int]) -> Equations:
    """Without the steps that no derivative needs."""
    needed, todo = set(range(dim)), list(results)
    while todo:
        k = todo.pop()
        if k not in needed:
            needed.add(k)
            todo += steps[k].args
    number = {k: i for i, k in enumerate(sorted(needed))}
    kept = [Step(steps[k].op, tuple(number[a] for a in steps[k].args), steps[k].number) for k in sorted(needed)]
    return Equations(dim, tuple(kept), tuple(number[k] for k in results))
