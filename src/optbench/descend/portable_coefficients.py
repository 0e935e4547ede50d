"""What an optimizer multiplies with at update t, as a program: the functions of `coefficients`, listened to.

They are called with symbols for t and for the numbers, and what they do with them is written down, so that powers
become portable ones and the same program runs as NumPy's arrays and in JavaScript. A running product is the one thing
that looks back in time (`cumprod32`, which NAdam keeps in single precision as torch does).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from optbench.descend.coefficients import BY_NAME, Coefficients, Times, Values
from optbench.descend.forms import OVER_STEPS
from optbench.descend.portable import PREFIX, Plain, portable_program
from optbench.descend.program import Program, Value
from optbench.descend.scalar import array_function_of, plain_program

Symbolic = Any


class _Symbol:
    """A number that a program computes."""

    def __init__(self, program: Program, value: Value) -> None:
        self.program, self.value = program, value

    def of(self, op: str, *operands: Any) -> _Symbol:
        values = [o.value if isinstance(o, _Symbol) else self.program.const(float(o)) for o in operands]
        return _Symbol(self.program, self.program.apply(op, *values))

    def astype(self, kind: Any) -> _Symbol:
        """A truth as 0 or 1; a number, which is float64 already, as it is."""
        if kind is not np.float64:
            raise NotImplementedError(f"a coefficient as {kind}")
        truth = self.program.code[self.value].op in ("gt", "ge", "lt", "le", "eq", "ne", "or", "and", "not")
        return self.of("where", self, 1.0, 0.0) if truth else self

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_: Any) -> _Symbol:
        op = _UFUNCS.get(ufunc.__name__)
        if op is None or method != "__call__":
            raise NotImplementedError(f"a coefficient that calls numpy.{ufunc.__name__}")
        return self.of(op, *inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> _Symbol:
        if function is np.where:
            return self.of("where", *args)
        if function is np.cumprod and kwargs.get("dtype") is np.float32:
            return self.of("cumprod32", *args)
        raise NotImplementedError(f"a coefficient that calls numpy.{function.__name__}")


_UFUNCS = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "power": "pow",
           "sqrt": "sqrt", "equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt",
           "greater_equal": "ge", "bitwise_or": "or", "bitwise_and": "and", "negative": "neg"}  # fmt: skip


def _operator(op: str, reflected: bool) -> Callable[[_Symbol, Any], _Symbol]:
    return lambda self, other: self.of(op, *((other, self) if reflected else (self, other)))


for _name, _op in {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "pow": "pow", "or": "or"}.items():
    setattr(_Symbol, f"__{_name}__", _operator(_op, False))
    setattr(_Symbol, f"__r{_name}__", _operator(_op, True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(_Symbol, f"__{_name}__", _operator(_name, False))


class _Names(dict[str, _Symbol]):
    """The numbers that are looked at, each a symbol from then on."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program

    def __missing__(self, name: str) -> _Symbol:
        self[name] = _Symbol(self._program, self._program.input(name))
        return self[name]


@functools.cache
def coefficient_program(name: str) -> tuple[tuple[str, ...], Plain]:
    """The names of the coefficients of this name, and their portable program; its inputs are `t` and the numbers."""
    program = Program()
    names = _Names(program)
    t: Symbolic = _Symbol(program, program.input("t"))
    values: Symbolic = names
    found: Symbolic = BY_NAME[name](t, values)
    plain = plain_program(program, ["t", *names], [symbol.value for symbol in found.values()])
    return tuple(found), portable_program(plain)


def portable(name: str) -> Coefficients:
    """The portable form of coefficients, by `portable_` and their name."""
    names, plain = coefficient_program(name.removeprefix(PREFIX))

    def coefficients(t: Times, h: Values) -> dict[str, Any]:
        if not names:
            return {}
        inputs = [t if key == "t" else h[key] for key in plain["inputs"]]
        return dict(zip(names, array_function_of(plain, OVER_STEPS)(*inputs), strict=True))

    return coefficients


def named(name: str) -> Coefficients:
    """The coefficients of a kept program by their name, in either form."""
    return BY_NAME[name] if name in BY_NAME else portable(name)
