"""A surface as a straight-line program: the operations that its code applies to x, in order, each on earlier values.

`record` lets torch run the surface's code on a few points (`traced`) and notes what is done to each of them. That all
these programs are one, bit for bit, is what makes it a function of the point: what depends on the place in the batch,
the size of the batch, the call, or a number drawn or read somewhere, differs. From then on the program stands for the
surface: `Program.run` applies it to any arithmetic (intervals, jets, Arb balls), and the code is not asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optbench.critical.programs.recorded import Recorded, Step, Tape
from optbench.critical.programs.scalar import MissingRule, Scalar
from optbench.critical.programs.traced import Tracer
from optbench.errors import UserError, first_line
from optbench.problem import Objective

BINARY = ("plus", "times", "maximum")
WITH_NUMBER = ("shift", "scale", "over", "real_power")
BATCHES = (1, 3)  # sizes of the batches on which the code is run


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
        """The values of all steps in another arithmetic.

        Args:
            x: one scalar a coordinate.
        """
        values: list[Any] = []
        for step in self.steps:
            values.append(_value(step, x, values))
        return values

    def value(self, x: Sequence[Scalar]) -> Any:
        """The value of f in another arithmetic; keeps no more values than it needs."""
        values: list[Any] = []
        for i, step in enumerate(self.steps):
            values.append(_value(step, x, values))
            for done in self._last_uses[i]:
                values[done] = None
        return values[self.result]

    @property
    def _last_uses(self) -> list[list[int]]:
        found = self.__dict__.get("last_uses")
        if found is None:
            last = {a: i for i, step in enumerate(self.steps) for a in step.args}
            found = [
                [a for a in set(step.args) if last[a] == i and a != self.result] for i, step in enumerate(self.steps)
            ]
            self.__dict__["last_uses"] = found
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain lists; numbers in hexadecimal, so that every bit is kept."""
        steps = [[s.op, list(s.args), None if s.number is None else float(s.number).hex()] for s in self.steps]
        return {"dim": self.dim, "steps": steps, "result": self.result}


def _value(step: Step, x: Sequence[Scalar], values: Sequence[Any]) -> Any:
    if step.op == "x":
        return x[int(step.number or 0)]
    if step.op == "constant":
        return x[0].constant(float(step.number or 0.0))
    first, *others = (values[a] for a in step.args)
    if step.op in BINARY:
        return getattr(first, step.op)(*others)
    if step.op == "where":
        return first.where(*others, int(step.number or 0))
    if step.op == "power":
        return first.power(int(step.number or 0))
    if step.op in WITH_NUMBER:
        return getattr(first, step.op)(step.number)
    return first.apply(step.op)


def record(objective: Objective, dim: int, points: NDArray[np.float64] | None = None) -> Program:
    """The operations that the objective's code applies to x.

    Args:
        objective: torch callable (..., dim) -> (...), of operations that have an interval rule.
        dim: coordinates.
        points: where the code is run, (3, dim); None: somewhere in the unit cube.

    Raises:
        MissingRule: the objective uses an operation without an interval rule, or is not one function of the point.
        UserError: it does not return one value a point.
    """
    x = np.random.default_rng(0).uniform(0.1, 0.9, (max(BATCHES), dim)) if points is None else points
    programs = [program for size in BATCHES for program in _record(objective, x[:size])]
    kinds = {str(program.to_json()) for program in programs}
    if len(kinds) > 1:
        raise MissingRule("a surface that is not one function (it differs from call to call or from point to point)")
    return programs[0]


def _record(objective: Objective, points: NDArray[np.float64]) -> list[Program]:
    """The program of each of the points of a batch (n, dim)."""
    n, dim = points.shape
    tapes = [Tape(dim) for _ in range(n)]
    x = torch.from_numpy(np.array(points))
    tracer = Tracer()
    tracer.track(x, np.array([tape.x for tape in tapes], dtype=object))
    found = _run(objective, x, tracer)
    if isinstance(found, int | float):
        found = torch.full((n,), float(found), dtype=torch.float64)
    if not isinstance(found, torch.Tensor):
        raise UserError(f"the surface returns a {type(found).__name__}, not one value a point")
    if tuple(found.shape) not in ((n,), ()):
        raise UserError(
            f"the surface returns shape {tuple(found.shape)} for x of shape {(n, dim)}, not one value a point"
        )
    symbols = np.broadcast_to(tracer.symbols(found), (n,))
    return [_program(tape, symbol) for tape, symbol in zip(tapes, symbols.tolist(), strict=True)]


def _run(objective: Objective, x: torch.Tensor, tracer: Tracer) -> Any:
    try:
        with tracer:
            found: Any = objective(x)
    except MissingRule:
        raise
    except Exception as error:  # a user's function may raise anything when something is refused
        tracer.check()
        raise MissingRule(f"the surface ({first_line(error)})") from error
    tracer.check()
    return found


def _program(tape: Tape, symbol: Any) -> Program:
    """The steps that the result needs, numbered anew."""
    if isinstance(symbol, Recorded) and symbol.tape is not tape:
        raise MissingRule("a point's value that depends on the other points of its batch")
    result = symbol.at if isinstance(symbol, Recorded) else tape.put("constant", (), symbol)
    needed = {*range(len(tape.x)), result}
    for i in range(len(tape.steps) - 1, -1, -1):
        if i in needed:
            needed.update(tape.steps[i].args)
    number = {old: new for new, old in enumerate(sorted(needed))}
    steps = tuple(s._replace(args=tuple(number[a] for a in s.args)) for i, s in enumerate(tape.steps) if i in number)
    return Program(len(tape.x), steps, number[result])
