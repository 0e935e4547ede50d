"""The portable engine: a traced step with the same bits in numba, NumPy, Python and JavaScript, on every machine but
for the factors of a schedule.

A step is a program of operations that IEEE 754 rounds in one way, but for sin, exp and their kin, and its coefficients
are powers that NumPy takes from wherever it was built. Here both get functions that are made of such operations alone
(`portable_math`), by another name in the program, so that whatever executes it asks for these. `trainer.engine:
portable` chooses it; it is part of a run's identity, since the last digits are others than elsewhere.

What stays of the machine: the factors of a schedule, which its own scheduler makes (a cosine by the C library). They
are data of a run, and go with it as such. Gradient noise is `portable_noise`'s, the same everywhere.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from optbench.descend import portable_math
from optbench.descend.portable_math import FUNCTIONS, PRIMITIVES, SERIES

ENGINE = "portable"
PREFIX = "portable_"
Plain = Mapping[str, Any]


def is_portable(settings: Any) -> bool:
    """Whether a trainer's settings, a mapping or typed, ask for this engine."""
    asked = settings.get("engine") if isinstance(settings, Mapping) else getattr(settings, "engine", None)
    return asked == ENGINE


def portable_program(plain: Plain) -> dict[str, Any]:
    """A plain program with the portable functions in place of the C library's."""
    code = [[PREFIX + op if op in FUNCTIONS else op, args, payload] for op, args, payload in plain["code"]]
    return {**plain, "code": code}


def portable_step(program: Plain) -> dict[str, Any]:
    """A kept step (`known.plain_step`) in its portable form; nowhere is it too far for sin or cos."""
    step = portable_program(program["step"])
    results = list(step["results"])
    step["code"] = [*step["code"], ["const", [], 0.0]]
    results[2] = len(step["code"]) - 1
    step["results"] = results
    return {**program, "step": step, "coefficients": PREFIX + program["coefficients"]}


def calls_portable(plain: Plain) -> bool:
    """Whether a plain program calls any of the functions."""
    return any(op.startswith(PREFIX) for op, _, _ in plain["code"])


# the functions, written out ------------------------------------------------------------------------------------------


class _Written(ast.NodeTransformer):
    """Horner's rule where `polynomial` stands, and no annotations."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "polynomial":
            z, name = node.args
            assert isinstance(name, ast.Constant)
            *others, last = SERIES[str(name.value)]
            found: ast.expr = ast.Constant(last)
            for coefficient in reversed(others):
                found = ast.BinOp(ast.Constant(coefficient), ast.Add(), ast.BinOp(z, ast.Mult(), found))
            return found
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node


@functools.cache
def definitions() -> tuple[ast.FunctionDef, ...]:
    """The functions of `portable_math` as syntax, each after those that it calls."""
    tree = _Written().visit(ast.parse(inspect.getsource(portable_math)))
    skipped = ("polynomial", *PRIMITIVES)
    return tuple(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name not in skipped)


def needed_by(names: set[str]) -> tuple[ast.FunctionDef, ...]:
    """Those of the functions that the named operations (with their prefix) call, directly or not."""
    wanted = {f"_{name}" for name in names}
    for definition in reversed(definitions()):
        if definition.name in wanted:
            calls = (n for n in ast.walk(definition) if isinstance(n, ast.Call))
            wanted |= {n.func.id for n in calls if isinstance(n.func, ast.Name)}
    return tuple(d for d in definitions() if d.name in wanted)


_NUMBA = """@numba.njit(error_model='numpy')
def _two_to(n):
    return np.int64((np.int64(n) + np.int64(1023)) << np.int64(52)).view(np.float64)


@numba.njit(error_model='numpy')
def _exponent(x):
    return np.float64(((np.float64(x).view(np.int64) >> np.int64(52)) & np.int64(2047)) - np.int64(1023))"""


def numba_source(names: set[str]) -> str:
    """The functions as text for a kernel's module."""
    texts = (ast.unparse(ast.fix_missing_locations(d)) for d in needed_by(names))
    return "\n\n\n".join([_NUMBA, *(f"@numba.njit(error_model='numpy')\n{text}" for text in texts)])


@functools.cache
def scalar_functions() -> Mapping[str, Callable[..., float]]:
    """By name in FORMS, `_portable_sin` ..., on Python's own floats; they never raise."""
    given = {"_two_to": lambda n: math.ldexp(1.0, int(n)), "_exponent": lambda x: float(math.frexp(x)[1] - 1)}
    return _made(definitions(), given)


@functools.cache
def array_functions() -> Mapping[str, Callable[..., Any]]:
    """The same on NumPy's arrays; both sides of a choice are computed, so whoever calls silences its warnings."""

    def two_to(n: Any) -> Any:
        return ((np.asarray(n, dtype=np.float64).astype(np.int64) + 1023) << 52).view(np.float64)

    def exponent(x: Any) -> Any:
        bits = np.ascontiguousarray(x, dtype=np.float64).view(np.int64)
        return (((bits >> 52) & 2047) - 1023).astype(np.float64).reshape(np.shape(x))

    chosen = tuple(_Arrays().visit(ast.parse(ast.unparse(ast.fix_missing_locations(d)))).body[0] for d in definitions())
    return _made(chosen, {"np": np, "_two_to": two_to, "_exponent": exponent})


class _Arrays(ast.NodeTransformer):
    """Choices and truths element by element."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return _called("np.where", node.test, node.body, node.orelse)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        name = "np.logical_and" if isinstance(node.op, ast.And) else "np.logical_or"
        return functools.reduce(lambda a, b: _called(name, a, b), node.values)


def _called(name: str, *args: ast.expr) -> ast.expr:
    call = ast.parse(f"{name}()", mode="eval").body
    assert isinstance(call, ast.Call)
    call.args = list(args)
    return call


def _made(these: tuple[ast.FunctionDef, ...], given: Mapping[str, Any]) -> Mapping[str, Callable[..., Any]]:
    names = dict(given)
    module = ast.fix_missing_locations(ast.Module(list(these), []))
    exec(compile(ast.unparse(module), "<portable functions>", "exec"), names)
    return {d.name: names[d.name] for d in these if d.name.startswith("_" + PREFIX)}
