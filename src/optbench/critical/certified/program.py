"""A surface as a straight-line program: the operations that its code applies to x, in order, each on earlier values.

Intervals run the surface's own code, which is all that branch and bound needs. Whoever has to go through the
operations backwards, to look for structure in them, or to write them down for somebody else to check, needs them as
data. `record` runs the code once on values that note what is done to them; what two places compute alike is noted
once. `Program.run` applies the same operations to any other arithmetic of `traced`, with the code's own results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch

from optbench.critical.certified import logits, operations  # noqa: F401  they fill the table of traced
from optbench.critical.certified.traced import Columns, MissingRule, Scalar
from optbench.errors import UserError
from optbench.problem import Objective

BINARY = ("plus", "times")
WITH_NUMBER = ("shift", "scale", "over", "real_power", "power")


class Step(NamedTuple):
    """One operation.

    Attributes:
        op: "x" (a coordinate), "constant", a method of `Scalar` (plus, times, shift, scale, over, power, real_power),
            or an elementary function of functions.RULES.
        args: numbers of earlier steps.
        number: of a constant, a shift, a factor, a divisor, an exponent, or which coordinate; None where there is none.
    """

    op: str
    args: tuple[int, ...] = ()
    number: float | None = None


@dataclass(frozen=True)
class Program:
    """A surface (dim coordinates) -> value.

    Attributes:
        dim: coordinates.
        steps: in the order in which they can be run; steps[i] is coordinate i for i < dim.
        result: the step whose value is f.
    """

    dim: int
    steps: tuple[Step, ...]
    result: int

    def run(self, x: Sequence[Scalar]) -> list[Any]:
        """The values of all steps in another arithmetic: scalars, and numbers for constants.

        Args:
            x: one scalar a coordinate.
        """
        values: list[Any] = []
        for step in self.steps:
            values.append(_value(step, x, values))
        return values

    def to_json(self) -> dict[str, Any]:
        """Plain lists; numbers in hexadecimal, so that every bit is kept."""
        steps = [[s.op, list(s.args), None if s.number is None else float(s.number).hex()] for s in self.steps]
        return {"dim": self.dim, "steps": steps, "result": self.result}


def _value(step: Step, x: Sequence[Scalar], values: Sequence[Any]) -> Any:
    if step.op == "x":
        return x[int(step.number or 0)]
    if step.op == "constant":
        return step.number
    first = values[step.args[0]]
    if step.op in BINARY:
        return getattr(first, step.op)(values[step.args[1]])
    if step.op == "power":
        return first.power(int(step.number or 0))
    if step.op in WITH_NUMBER:
        return getattr(first, step.op)(step.number)
    return first.apply(step.op)


class Tape:
    """Steps so far, each once."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.known: dict[tuple[str, tuple[int, ...], str | None], int] = {}

    def put(self, op: str, args: tuple[int, ...] = (), number: float | None = None) -> int:
        key = (op, args, None if number is None else float(number).hex())  # hex: 0.0 and -0.0 are two numbers
        if key not in self.known:
            self.known[key] = len(self.steps)
            self.steps.append(Step(op, args, number))
        return self.known[key]


class Recorded(Scalar):
    """A value of a surface's code that notes what is done to it."""

    __slots__ = ("at", "tape")

    def __init__(self, tape: Tape, at: int) -> None:
        self.tape, self.at = tape, at

    def plus(self, other: Self) -> Self:
        return self._put("plus", (self.at, other.at))

    def times(self, other: Self) -> Self:
        return self._put("times", (self.at, other.at))

    def shift(self, c: float) -> Self:
        return self._put("shift", (self.at,), c)

    def scale(self, c: float) -> Self:
        return self._put("scale", (self.at,), c)

    def over(self, c: float) -> Self:
        return self._put("over", (self.at,), c)

    def apply(self, name: str) -> Self:
        return self._put(name, (self.at,))

    def power(self, n: int) -> Self:
        return self._put("power", (self.at,), n)

    def real_power(self, p: float) -> Self:
        return self._put("real_power", (self.at,), p)

    def _put(self, op: str, args: tuple[int, ...], number: float | None = None) -> Self:
        return type(self)(self.tape, self.tape.put(op, args, number))


def record(objective: Objective, dim: int) -> Program:
    """The operations that the objective's code applies to x.

    Args:
        objective: torch callable (..., dim) -> (...), of operations that have an interval rule.
        dim: coordinates.

    Raises:
        MissingRule: the objective uses an operation without an interval rule.
        UserError: it does not return one value a point.
    """
    tape = Tape()
    x = Columns([Recorded(tape, tape.put("x", number=float(i))) for i in range(dim)])
    found = trace(objective, x)
    result = tape.put("constant", number=float(found)) if isinstance(found, float) else found.at
    return Program(dim, tuple(tape.steps), result)


def trace(objective: Objective, x: Columns) -> Any:
    """What the objective's code returns for x: a scalar of x's arithmetic, or a float where f is constant.

    Raises:
        MissingRule: the objective uses an operation without an interval rule.
        UserError: it does not return one value a point.
    """
    try:
        found: Any = objective(x)  # type: ignore[arg-type]
    except MissingRule:
        raise
    except Exception as error:  # a user's function may raise anything when it is not given a tensor
        text = str(error).strip().splitlines()
        raise MissingRule(f"the surface ({text[0] if text else type(error).__name__})") from error
    if isinstance(found, torch.Tensor) and found.numel() == 1 and not found.requires_grad:
        found = float(found)
    if isinstance(found, int | float):
        return float(found)
    if not isinstance(found, Scalar):
        raise UserError(f"the surface returns a {type(found).__name__} on intervals, not one value a point")
    return found
