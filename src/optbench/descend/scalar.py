"""A traced program in Python's own floats: one row, without torch and without a compiler, to the bits of the kernel.

A step of a run on a surface is some hundred operations on numbers; Python does them in microseconds, a tenth of what
one operation of torch costs, and what it takes to load and to compile is nothing. So a run by itself is computed here.
It comes to the same bits as the row of a batch that the compiled program computes (`forms` says why).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optbench.descend import vector_math
from optbench.descend.forms import ARRAYS, QUICK, RAISED, SAFE, whole
from optbench.descend.portable import array_functions, calls_portable, scalar_functions
from optbench.loop.progress import Progress, Row
from optbench.loop.rules import Verdict, verdict
from optbench.records import MAX_COORDINATES, Status
from optbench.settings import SurfaceTrainer

if TYPE_CHECKING:
    from optbench.descend.program import Program, Value

Floats = NDArray[np.float64]
Plain = Mapping[str, Any]
Function = Callable[..., tuple[float, ...]]


class TooFarError(Exception):
    """An argument of sin or cos was beyond what `vector_math` reduces exactly."""


def plain_program(program: Program, inputs: Sequence[str], results: Sequence[Value]) -> dict[str, Any]:
    """What results need of a program, as plain data: its instructions, the inputs in order, the results."""
    needed = program.needed(results)
    number = {value: i for i, value in enumerate(needed)}
    code = [[i.op, [number[a] for a in i.args], i.payload] for i in (program.code[value] for value in needed)]
    return {"code": code, "inputs": list(inputs), "results": [number[value] for value in results]}


_NAMES: Mapping[str, Any] = {"math": math, "np": np, "ZERO": 0.0, "ONE": 1.0, "inf": math.inf, "nan": math.nan}


def function_of(plain: Plain) -> Function:
    """The function of floats that a plain program is: its inputs in order, a tuple of its results.

    It never raises for numbers: what is none in Python (1/0) is computed again by functions that have an answer.
    """
    names = {**_NAMES, **{f"whole_{op}": function for op, function in whole().items()}}
    if any(op in vector_math.FUNCTIONS for op, _, _ in plain["code"]):
        names |= {f"_vector_{op}": function for op, function in vector_math.scalar().items()}
    names |= scalar_functions() if calls_portable(plain) else {}
    for name, texts in (("quick", QUICK), ("whole", SAFE)):
        exec(compile(_text(name, plain, texts), f"<traced {name}>", "exec"), names)
    quick, safe = names["quick"], names["whole"]

    def function(*given: float) -> tuple[float, ...]:
        try:
            return quick(*given)  # type: ignore[no-any-return]
        except RAISED:
            return safe(*given)  # type: ignore[no-any-return]

    return function


def array_function_of(
    plain: Plain, texts: Mapping[str, str] = ARRAYS, library: Mapping[str, Callable[..., Any]] | None = None
) -> Callable[..., tuple[Any, ...]]:
    """The same program as a function of arrays (rows,); a result that is the same for all is a number.

    Args:
        plain: the program.
        texts: of the operations; a portable program is so to the bit.
        library: functions of arrays for some operations; without it they are NumPy's, and the rest is so to rounding.
    """
    own = {op: f"library_{op}({'{0}, {1}' if op == 'pow' else '{0}'})" for op in library or ()}
    names = {**_NAMES, **(array_functions() if calls_portable(plain) else {})}
    names |= {f"library_{op}": function for op, function in (library or {}).items()}
    exec(compile(_text("rows", plain, {**texts, **own}), "<traced rows>", "exec"), names)
    function: Callable[..., tuple[Any, ...]] = np.errstate(all="ignore")(names["rows"])
    return function


def _text(name: str, plain: Plain, texts: Mapping[str, str]) -> str:
    place = {quantity: f"a{i}" for i, quantity in enumerate(plain["inputs"])}
    lines, words = [], list[str]()
    for value, (op, args, payload) in enumerate(plain["code"]):
        if op == "const":
            words.append(f"({float(payload)!r})")
        elif op == "input":
            words.append(place[payload])
        else:
            words.append(f"v{value}")
            lines.append(f"    v{value} = {texts[op].format(*(words[a] for a in args))}")
    results = "".join(f"{words[value]}, " for value in plain["results"])
    return "\n".join([f"def {name}({', '.join(place.values())}):", *lines, f"    return ({results})", ""])


class Jets:
    """Value, gradient and Hessian of a surface by its traced program; what `critical.numeric.calculus` asks of one.

    Args:
        plain: a program of value, gradient and Hessian (row by row).
        dim: number of coordinates.
    """

    def __init__(self, plain: Plain, dim: int) -> None:
        self._function, self._dim = array_function_of(plain), dim

    def derivatives(self, x: Floats, order: int) -> tuple[Floats, Floats, Floats]:
        """Value (n,), gradient (n, d) and Hessian (n, d, d) at x (n, d), all of them whatever the order."""
        d = self._dim
        found = np.empty((len(x), 1 + d + d * d))
        for i, values in enumerate(self._function(*np.asarray(x, dtype=np.float64).T)):
            found[:, i] = values
        return found[:, 0], found[:, 1 : d + 1], found[:, d + 1 :].reshape(-1, d, d)


@dataclass(frozen=True)
class Numbers:
    """What a row's program is given beside the iterate; see plan.Plan.

    Attributes:
        hyper: name to number.
        floor: lowest learning rate, or None.
        coefficients: name to one number for each step.
        factors: of the learning rate, one for each step.
    """

    hyper: Mapping[str, float]
    floor: float | None
    coefficients: Mapping[str, Sequence[float]]
    factors: Sequence[float]


@dataclass(frozen=True)
class ScalarStep:
    """A step of one row as plain data.

    Attributes:
        plain: its program; results are the loss, the squared gradient norm, the farthest argument of sin or cos, the
            next iterate, the next memories.
        dim: number of coordinates.
        memories: how many numbers the memories are; they begin at 0.
    """

    plain: Plain
    dim: int
    memories: int


class Walk:
    """One run, from its start to its end.

    Args:
        step: its program.
        numbers: its numbers, those of `trainer.steps` + 1 iterates.
        trainer: budget and stop rules.
        start: (dim,).

    Attributes:
        progress: of the run, as the training loop has it.
        ended: status and reason, once a rule has ended it.
        x: the iterate.
    """

    def __init__(self, step: ScalarStep, numbers: Numbers, trainer: SurfaceTrainer, start: Sequence[float]) -> None:
        self._step, self._numbers, self._trainer = step, numbers, trainer
        self._function = function_of(step.plain)
        self.progress, self.x = Progress(), [float(v) for v in start]
        self.ended: Verdict | None = None

    def rows(self) -> Iterator[Row]:
        """The row of each iterate; the last one is that at which a rule ended the run.

        Raises:
            TooFarError: the program is none any more, and whoever asked must take another way.
        """
        p, trainer, numbers, dim = self.progress, self._trainer, self._numbers, self._step.dim
        given = self._inputs()
        memory: Sequence[float] = [0.0] * self._step.memories
        shown = range(dim) if dim <= MAX_COORDINATES else range(0)
        lr, floor = numbers.hyper["lr"], 0.0 if numbers.floor is None else numbers.floor
        for k in range(trainer.steps + 1):
            begun = perf_counter()
            rate = lr * numbers.factors[k] if numbers.floor is None else floor + (lr - floor) * numbers.factors[k]
            loss, slope, far, *following = self._function(*self.x, *memory, *given(k, rate))
            if far > vector_math.FARTHEST:
                raise TooFarError
            p.grad_norm = math.sqrt(slope)
            row: Row = {"step": k, "evals": k, "seconds": p.seconds, "lr": rate, "loss": loss, "grad_norm": p.grad_norm}
            row.update({f"x{i}": self.x[i] for i in shown})
            p.start_loss = loss if p.start_loss is None else p.start_loss
            p.judge(loss, trainer.plateau_delta)
            self.ended = verdict(row, p, trainer, not trainer.grad_noise)
            if self.ended is None and k == trainer.steps:
                self.ended = Status.COMPLETED, f"made all {k} updates"
            p.seconds += perf_counter() - begun
            yield row
            if self.ended is not None:
                return
            self.x, memory = following[:dim], following[dim:]
            p.step = p.evals = k + 1

    def _inputs(self) -> Callable[[int, float], list[float]]:
        """What stands behind iterate and memories in the program's inputs, at a step and a learning rate."""
        numbers, skipped = self._numbers, self._step.dim + self._step.memories
        names = list(self._step.plain["inputs"])[skipped:]
        fixed = [numbers.hyper.get(name, math.nan) for name in names]  # what is none of them comes with the step
        tables = [(i, numbers.coefficients[name]) for i, name in enumerate(names) if name in numbers.coefficients]
        place = {name: i for i, name in enumerate(names)}

        def given(k: int, rate: float) -> list[float]:
            fixed[place["lr"]], fixed[place["t"]] = rate, float(k)
            for i, table in tables:
                fixed[i] = table[k]
            return fixed

        return given
