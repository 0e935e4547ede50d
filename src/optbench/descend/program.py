"""A straight-line program of scalars: what one step of one row computes, without a loop, a branch or a repetition.

Values are numbered; an instruction that was seen before gets its old number, and the few simplifications are exact
(NaN and infinity included; only the sign of a zero may change). Tensors are NumPy object arrays of values, and of
floats, which are constants (`optbench.tracing`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from optbench.tracing import Symbols

Value = int


class Instruction(NamedTuple):
    """`op` on earlier values; inputs carry their name and constants their number in `payload`."""

    op: str
    args: tuple[Value, ...] = ()
    payload: Any = None


_LONGEST_PRODUCT = 64
"""Integer powers up to here become products."""


class Program:
    """Instructions in the order in which they were first needed."""

    def __init__(self) -> None:
        self.code: list[Instruction] = []
        self._known: dict[Instruction, Value] = {}

    def _put(self, op: str, *args: Value, payload: Any = None) -> Value:
        instruction = Instruction(op, args, payload)
        key = Instruction(op, args, payload.hex() if op == "const" else payload)
        if key not in self._known:
            self._known[key] = len(self.code)
            self.code.append(instruction)
        return self._known[key]

    def enter(self, instruction: Instruction) -> Value:
        """An instruction of another program, as it stands there."""
        return self._put(instruction.op, *instruction.args, payload=instruction.payload)

    def const(self, number: float | bool) -> Value:
        """A constant; truth values are 1 and 0."""
        return self._put("const", payload=float(number))

    def input(self, name: str) -> Value:
        """A value from outside."""
        return self._put("input", payload=name)

    def number(self, value: Value) -> float | None:
        """The number that a value is known to be, or None."""
        instruction = self.code[value]
        return instruction.payload if instruction.op == "const" else None

    def lifted(self, element: Value | float) -> Value:
        """An element of an array as a value."""
        return self.const(element) if isinstance(element, float) else element

    def apply(self, op: str, *elements: Value | float) -> Value:
        """The value of an operation of `forms.FORMS`, simplified where that is exact."""
        args = tuple(map(self.lifted, elements))
        numbers = [self.number(a) for a in args]
        if op in _NEUTRAL:
            right, left = _NEUTRAL[op]
            if numbers[1] == right:
                return args[0]
            if left is not None and numbers[0] == left:
                return args[1]
        if op == "where" and numbers[0] is not None:
            return args[1] if numbers[0] else args[2]
        if op == "neg" and self.code[args[0]].op == "neg":
            return self.code[args[0]].args[0]
        if op in _SIGNED and (signed := self._without_signs(op, *args)) is not None:
            return signed
        if op == "pow" and numbers[1] is not None:
            return self._power(args[0], numbers[1], args)
        if op in _COMMUTES and args[0] > args[1]:
            args = (args[1], args[0])
        return self._put(op, *args)

    def _without_signs(self, op: str, a: Value, b: Value) -> Value | None:
        """A sum, product or quotient whose arguments have no sign; the next one may absorb what is left of them."""
        (minus_a, a), (minus_b, b) = self._sign(a), self._sign(b)
        if not (minus_a or minus_b):
            return None
        if op in ("mul", "div"):
            found = self.apply(op, a, b)
            return self.apply("neg", found) if minus_a != minus_b else found
        minus_b ^= op == "sub"
        if minus_a and minus_b:
            return self.apply("neg", self.apply("add", a, b))
        if minus_a or minus_b:
            return self.apply("sub", *((b, a) if minus_a else (a, b)))
        return self.apply("add", a, b)

    def _sign(self, value: Value) -> tuple[bool, Value]:
        instruction = self.code[value]
        return (True, instruction.args[0]) if instruction.op == "neg" else (False, value)

    def _power(self, base: Value, exponent: float, args: tuple[Value, ...]) -> Value:
        if exponent == 0.5:
            return self.apply("sqrt", base)
        if exponent == -1.0:
            return self.apply("div", self.const(1.0), base)
        if exponent < 0 or exponent > _LONGEST_PRODUCT or exponent != math.floor(exponent):
            return self._put("pow", *args)
        result, square, left = self.const(1.0), base, int(exponent)
        while left:
            if left & 1:
                result = self.apply("mul", result, square)
            square, left = self.apply("mul", square, square) if left > 1 else square, left >> 1
        return result

    # arrays ----------------------------------------------------------------------------------------------------------

    def all(self, op: str, *operands: Any) -> Symbols:
        """An operation on the elements of arrays, or numbers, that broadcast against each other."""
        from optbench.tracing import each  # which needs torch: a program that was kept does without

        return each(partial(self.apply, op), *map(as_array, operands))

    def fold(self, op: str, array: Symbols, dim: Any, keepdim: bool = False) -> Symbols:
        """An associative operation along some axes, from the first element to the last."""
        from optbench.tracing import fold

        return fold(partial(self.apply, op), array, dim, keepdim)

    def needed(self, results: Sequence[Value]) -> list[Value]:
        """The values that the results depend on, in order."""
        wanted = set(results)
        for value in range(len(self.code) - 1, -1, -1):
            if value in wanted:
                wanted.update(self.code[value].args)
        return sorted(wanted)


@dataclass(frozen=True)
class Step:
    """One step of one row: the values that come out of it, by what they are.

    Attributes:
        program: all instructions.
        loss: the objective at x.
        gradient: (dim,) its gradient.
        x: (dim,) the next iterate.
        memory: name to (dim,) the next memories.
    """

    program: Program
    loss: Value
    gradient: Sequence[Value]
    x: Sequence[Value]
    memory: Mapping[str, Sequence[Value]]


def as_array(operand: Any) -> Symbols:
    """An array of elements from such an array or from a number."""
    return operand if isinstance(operand, np.ndarray) else np.asarray(float(operand), dtype=object)


_NEUTRAL: dict[str, tuple[float, float | None]] = {
    "add": (0.0, 0.0),
    "sub": (0.0, None),
    "mul": (1.0, 1.0),
    "div": (1.0, None),
}
_SIGNED = frozenset({"add", "sub", "mul", "div"})
_COMMUTES = frozenset({"add", "mul", "eq", "ne", "and", "or"})
