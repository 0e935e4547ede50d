"""Surfaces from formulas as users type them: `--expr "x**4 - 3*x*y + y**2"`.

The text is read by Python's own parser (`ast`), never evaluated: only what the grammar below names becomes part of the
surface, and anything else is an error.

    sum      =  term (("+" | "-") term)*
    term     =  factor (("*" | "/") factor)*
    factor   =  ("+" | "-") factor  |  power
    power    =  atom ["**" factor]
    atom     =  number | constant | variable | function "(" sum ")" | "(" sum ")"
    constant =  pi | e
    function =  sin | cos | tan | exp | log | sqrt | abs | tanh | sinh | cosh | atan
    variable =  x | y | z | w       (the first to the fourth coordinate)
             |  x1 | x2 | ... | xn  (or x0 | x1 | ..., if x0 occurs; not mixed with x, y, z, w)

A power has a constant on one side: a whole exponent up to 100 in size on any base, a real exponent on a base that is
not negative (elsewhere the surface is undefined), or a positive constant base with any exponent. At most 2000
characters, nested at most 50 deep. Equal subexpressions are computed once, so that (x - 1)*(x - 1) is a square to
intervals, too.

Torch is imported when a surface is evaluated, not when its formula is read: a mistake in it is answered at once.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optbench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LONGEST, DEEPEST, LARGEST_POWER, MOST_VARIABLES = 2000, 50, 100, 50
LETTERS = ("x", "y", "z", "w")
LAST = -1  # the coordinate that a parameter becomes
CONSTANTS = {"pi": math.pi, "e": math.e}
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "atan": math.atan,
    "cos": math.cos,
    "cosh": math.cosh,
    "exp": math.exp,
    "log": math.log,
    "sin": math.sin,
    "sinh": math.sinh,
    "sqrt": math.sqrt,
    "tan": math.tan,
    "tanh": math.tanh,
}
"""On numbers; torch has them under the same names."""
OPERATORS: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.Pow: ("**", operator.pow),
}
HINT = 'write it like --expr "x**4 - 3*x*y + y**2"'

Step = tuple[str, tuple[int, ...], float]  # operation, the steps that it takes, a number


@dataclass(frozen=True)
class Expression:
    """A surface given by a formula: a pure batched function, (..., dim) -> (...).

    Attributes:
        text: as typed.
        dim: number of coordinates.
        steps: the formula as a straight-line program; the last step is the value.
    """

    text: str
    dim: int
    steps: tuple[Step, ...]

    def __call__(self, x: Tensor) -> Tensor:
        import torch

        coordinates = x.unbind(-1)
        values: list[Any] = []
        for name, arguments, constant in self.steps:
            taken = [values[i] for i in arguments]
            if name == "number":
                values.append(constant)
            elif name == "variable":
                values.append(coordinates[int(constant)])
            elif name in FUNCTIONS:
                values.append(getattr(torch, name)(taken[0]))
            else:
                values.append(_apply(name, *taken))
        result: Tensor = values[-1]
        return result


def _apply(name: str, a: Any, b: Any) -> Any:
    """An operator on tensors and numbers; a whole exponent is passed as an int."""
    if name == "**" and isinstance(b, float) and b.is_integer():
        return a ** int(b)
    return dict(OPERATORS.values())[name](a, b)


def parse_expression(text: str, dim: int | None = None, parameter: str | None = None) -> Expression:
    """The surface that a formula describes.

    Args:
        text: as typed after --expr.
        dim: number of coordinates; None takes as many as the formula needs.
        parameter: a name in the formula that is not a coordinate; the surface then takes it as one more, the last.

    Raises:
        UserError: it does not keep to the grammar of this module; says where and what is allowed.
    """
    if len(text) > LONGEST:
        raise UserError(
            f"--expr has {len(text)} characters, at most {LONGEST} are read", "put it in a file: --fn file.py:f"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on literals is not for formulas
            tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise UserError(f"--expr {text!r}: {error.msg}", _syntax_hint(text)) from None
    except (ValueError, RecursionError, MemoryError):
        raise UserError(f"--expr {text[:60]!r} cannot be read", HINT) from None
    compiler = _Compiler(text, _variables(text, tree) | _parameter(text, tree, parameter))
    compiler.compile(tree, 0)
    if not compiler.used - {LAST}:
        raise UserError(f"--expr {text!r} has no variable", HINT)
    needed = max(compiler.used) + 1
    if dim is not None and dim < needed:
        raise UserError(f"--expr {text!r} needs {needed} coordinates, --dim gives {dim}")
    size = (needed if dim is None else dim) + (parameter is not None)
    return Expression(text, size, tuple(compiler.steps))


def _syntax_hint(text: str) -> str:
    if re.search(r"\d\s*[A-Za-z(]|\)\s*[\w(]", text):
        return "write the multiplication sign: 2*x, not 2x"
    return HINT


def _parameter(text: str, tree: ast.expr, name: str | None) -> dict[str, int]:
    """The parameter, as the last coordinate."""
    if name is None:
        return {}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if name in CONSTANTS or name in FUNCTIONS or name in LETTERS or re.fullmatch(r"x\d{1,3}", name):
        raise UserError(
            f"{name!r} cannot be a parameter of a formula: it has a meaning of its own", "call it a, b, c ..."
        )
    if name not in names:
        close = difflib.get_close_matches(name, sorted(names - {*CONSTANTS, *FUNCTIONS, *LETTERS}), n=1)
        raise UserError(f"--expr {text!r} has no {name!r}", f"did you mean {close[0]}?" if close else "")
    return {name: LAST}


def _variables(text: str, tree: ast.expr) -> dict[str, int]:
    """Which name is which coordinate."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    numbered = {name for name in names if re.fullmatch(r"x\d{1,3}", name)}
    letters = names & set(LETTERS)
    if numbered and letters:
        raise UserError(
            f"--expr {text!r} mixes {sorted(letters)[0]} with {sorted(numbered)[0]}", "use x, y, z, w or x1, x2, ..."
        )
    if not numbered:
        return {name: i for i, name in enumerate(LETTERS)}
    first = 0 if "x0" in numbered else 1
    return {f"x{i}": i - first for i in range(first, first + MOST_VARIABLES)}


class _Compiler:
    """Turns the tree into steps, folding constants and sharing equal steps."""

    def __init__(self, text: str, variables: dict[str, int]) -> None:
        self.text, self.variables = text, variables
        self.steps: list[Step] = []
        self.used: set[int] = set()
        self._known: dict[Step, int] = {}

    def compile(self, node: ast.expr, depth: int) -> int:
        """Number of the step that computes the node."""
        if depth > DEEPEST:
            raise UserError(f"--expr is nested more than {DEEPEST} deep", "put it in a file: --fn file.py:f")
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return self._number(lambda: float(node.value))  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            inner = self.compile(node.operand, depth + 1)
            return inner if isinstance(node.op, ast.UAdd) else self._binary("*", self._number(lambda: -1.0), inner)
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return self._chain(node, depth)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._call(node, node.func.id, depth)
        raise self._error(node)

    def _chain(self, node: ast.BinOp, depth: int) -> int:
        """Operators from left to right, in a loop: a long sum is nested deep, but only to the parser."""
        links: list[ast.BinOp] = []
        first: ast.expr = node
        while isinstance(first, ast.BinOp) and type(first.op) in OPERATORS:
            links.append(first)
            first = first.left
        left = self.compile(first, depth + 1)
        for link in reversed(links):
            left = self._binary(OPERATORS[type(link.op)][0], left, self.compile(link.right, depth + 1))
        return left

    def _call(self, node: ast.Call, name: str, depth: int) -> int:
        if name not in FUNCTIONS:
            raise self._unknown(name, list(FUNCTIONS), "function")
        if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            raise UserError(f"--expr {self.text!r}: {name} takes one argument")
        inner = self.compile(node.args[0], depth + 1)
        value = self._value(inner)
        if value is None:
            return self._step(name, (inner,))
        return self._number(lambda: FUNCTIONS[name](value))

    def _name(self, name: str) -> int:
        if name in CONSTANTS:
            return self._number(lambda: CONSTANTS[name])
        if name not in self.variables:
            variables = LETTERS if "x" in self.variables else tuple(self.variables)[:4]
            if name in FUNCTIONS:
                raise UserError(f"--expr {self.text!r}: {name} needs an argument", f"write {name}(x)")
            raise self._unknown(name, [*variables, *CONSTANTS, *FUNCTIONS], "name")
        self.used.add(self.variables[name])
        return self._step("variable", (), float(self.variables[name]))

    def _binary(self, sign: str, left: int, right: int) -> int:
        a, b = self._value(left), self._value(right)
        if sign == "**":
            self._check_power(a, b)
        if sign == "/" and b == 0.0:
            raise UserError(f"--expr {self.text!r} divides by 0")
        if a is None or b is None:
            return self._step(sign, (left, right))
        return self._number(lambda: float(_apply(sign, a, b)))

    def _check_power(self, base: float | None, exponent: float | None) -> None:
        if exponent is not None and abs(exponent) > LARGEST_POWER:
            raise UserError(f"--expr {self.text!r}: the exponent {exponent:g} is larger than {LARGEST_POWER} in size")
        if exponent is None and (base is None or base <= 0):
            raise UserError(
                f"--expr {self.text!r}: a variable exponent needs a positive constant base",
                "write exp(y*log(x)) for x**y",
            )

    def _number(self, compute: Callable[[], float]) -> int:
        try:
            value = compute()
            finite = not isinstance(value, complex) and math.isfinite(value)
        except (ArithmeticError, ValueError, TypeError):
            finite = False
        if not finite:
            raise UserError(f"--expr {self.text!r} holds a constant that is not a finite real number")
        return self._step("number", (), value)

    def _step(self, name: str, arguments: tuple[int, ...], constant: float = 0.0) -> int:
        step = (name, arguments, constant)
        if step not in self._known:
            self._known[step] = len(self.steps)
            self.steps.append(step)
        return self._known[step]

    def _value(self, step: int) -> float | None:
        name, _, constant = self.steps[step]
        return constant if name == "number" else None

    def _unknown(self, name: str, allowed: list[str], what: str) -> UserError:
        close = difflib.get_close_matches(name, allowed, n=1)
        hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(allowed)}"
        return UserError(f"--expr {self.text!r}: unknown {what} {name!r}", hint)

    def _error(self, node: ast.AST) -> UserError:
        part = ast.get_source_segment(self.text.strip(), node) or type(node).__name__
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            return UserError(f"--expr {self.text!r}: ^ is not a power", "write ** for powers: x**2")
        if isinstance(node, ast.Call):
            return UserError(f"--expr {self.text!r}: {part!r} is not a function call", _syntax_hint(self.text))
        return UserError(
            f"--expr {self.text!r}: {part!r} is not allowed",
            "numbers, variables, + - * / **, parentheses and functions of one argument are",
        )
