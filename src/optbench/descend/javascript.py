"""A portable program as JavaScript: the emitter beside those for numba (`emit`) and for Python's floats (`scalar`).

JavaScript's numbers are doubles and + - * / round as IEEE 754 says, and so, in every engine there is, does Math.sqrt.
Math.abs, Math.floor and Math.fround are exact by ECMAScript's own words. No other function of Math is called: all else
comes from `portable_math`, written out from the same definitions as for the other languages.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

from optbench.descend.portable import PREFIX, needed_by
from optbench.descend.portable_math import FUNCTIONS

Plain = Mapping[str, Any]

FORMS: Mapping[str, str] = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "sqrt": "Math.sqrt({0})",
    "abs": "Math.abs({0})",
    "floor": "Math.floor({0})",
    "sign": "{0} > 0 ? 1 : ({0} < 0 ? -1 : 0)",
    "maximum": "{0} > {1} || {0} !== {0} ? {0} : {1}",
    "minimum": "{0} < {1} || {0} !== {0} ? {0} : {1}",
    "where": "{0} ? {1} : {2}",
    "eq": "{0} == {1}",  # not ===: a truth may be compared with 1 or 0
    "ne": "{0} != {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "and": "{0} && {1}",
    "or": "{0} || {1}",
    "not": "!{0}",
    **{PREFIX + name: f"_{PREFIX}{name}({{0}})" for name in FUNCTIONS},
    PREFIX + "pow": f"_{PREFIX}pow({{0}}, {{1}})",
}
"""The text of each operation; a running product (`cumprod32`) is written by `function`."""

_PRIMITIVES = """const _f64 = new Float64Array(1), _u32 = new Uint32Array(_f64.buffer);
_f64[0] = 1;
const _high = _u32[1] === 0x3ff00000 ? 1 : 0, _low = 1 - _high;
function _two_to(n) { _u32[_low] = 0; _u32[_high] = (n + 1023) << 20; return _f64[0]; }
function _exponent(x) { _f64[0] = x; return ((_u32[_high] >>> 20) & 2047) - 1023; }"""


def library(*programs: Plain) -> str:
    """The functions that some portable programs call."""
    names = {op for plain in programs for op, _, _ in plain["code"] if op.startswith(PREFIX)}
    return "\n".join([_PRIMITIVES, *map(_definition, needed_by(names))])


def function(name: str, plain: Plain) -> str:
    """A program as a function of an array of its inputs, in order, that writes its results into another array; with
    running products a third one holds them (`products` of them, 1 before the first call).

    Raises:
        NotImplementedError: an operation without a form, by its name.
    """
    place = {quantity: i for i, quantity in enumerate(plain["inputs"])}
    lines, words, products = list[str](), list[str](), 0
    for value, (op, args, payload) in enumerate(plain["code"]):
        if op == "const":
            words.append(_number(payload))
            continue
        words.append(f"v{value}")
        if op == "input":
            text = f"given[{place[payload]}]"
        elif op == "cumprod32":
            text = f"(kept[{products}] = Math.fround(kept[{products}] * Math.fround({words[args[0]]})))"
            products += 1
        elif op in FORMS:
            text = FORMS[op].format(*(words[a] for a in args))
        else:
            raise NotImplementedError(f"{op} has no form in JavaScript")
        lines.append(f"  const v{value} = {text};")
    results = [f"  out[{i}] = {words[value]};" for i, value in enumerate(plain["results"])]
    return "\n".join([f"function {name}(given, out, kept) {{", *lines, *results, "}"])


def products(plain: Plain) -> int:
    """How many running products a program has."""
    return sum(op == "cumprod32" for op, _, _ in plain["code"])


def _number(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "(-Infinity)"
    return repr(float(number)) if number >= 0 and math.copysign(1.0, number) > 0 else f"({float(number)!r})"


# definitions of portable_math ---------------------------------------------------------------------------------------

_OPERATORS: Mapping[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Eq: "===", ast.NotEq: "!==", ast.And: "&&", ast.Or: "||",
}  # fmt: skip


def _definition(definition: ast.FunctionDef) -> str:
    known = {a.arg for a in definition.args.args}
    lines = []
    for statement in definition.body:
        if isinstance(statement, ast.Return) and statement.value is not None:
            lines.append(f"  return {_text(statement.value)};")
        elif isinstance(statement, ast.Assign) and isinstance(target := statement.targets[0], ast.Name):
            word = "" if target.id in known else "let "
            known.add(target.id)
            lines.append(f"  {word}{target.id} = {_text(statement.value)};")
        else:
            raise NotImplementedError(f"{definition.name}: {ast.unparse(statement)}")
    return "\n".join([f"function {definition.name}({', '.join(a.arg for a in definition.args.args)}) {{", *lines, "}"])


def _text(node: ast.expr) -> str:
    """An expression of the part of Python that `portable_math` keeps to."""
    writers: Mapping[type, Callable[[Any], str]] = {
        ast.Constant: lambda n: _number(float(n.value)),
        ast.Name: lambda n: str(n.id),
        ast.BinOp: lambda n: f"({_text(n.left)} {_OPERATORS[type(n.op)]} {_text(n.right)})",
        ast.UnaryOp: lambda n: f"(-{_text(n.operand)})",
        ast.Compare: lambda n: f"({_text(n.left)} {_OPERATORS[type(n.ops[0])]} {_text(n.comparators[0])})",
        ast.BoolOp: lambda n: "(" + f" {_OPERATORS[type(n.op)]} ".join(map(_text, n.values)) + ")",
        ast.IfExp: lambda n: f"({_text(n.test)} ? {_text(n.body)} : {_text(n.orelse)})",
        ast.Call: lambda n: f"{_called(n.func.id)}({', '.join(map(_text, n.args))})",
    }
    return writers[type(node)](node)


def _called(name: str) -> str:
    return "Math.abs" if name == "abs" else name
