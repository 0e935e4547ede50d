"""The update of an optimizer as a formula, read off its own traced rule: one line a memory, then the iterate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optbench.descend.program import Program, Value

_LOOSE, _SUM, _PRODUCT, _SIGN, _POWER, _TIGHT = range(6)
_INFIX = {"add": (" + ", _SUM), "sub": (" − ", _SUM), "mul": (" · ", _PRODUCT), "div": (" / ", _PRODUCT),
          "lt": (" < ", _LOOSE), "le": (" ≤ ", _LOOSE), "gt": (" > ", _LOOSE), "ge": (" ≥ ", _LOOSE),
          "eq": (" = ", _LOOSE), "ne": (" ≠ ", _LOOSE), "and": (" and ", _LOOSE), "or": (" or ", _LOOSE)}  # fmt: skip
_CALLED = {"sqrt": "√", "maximum": "max", "minimum": "min", "abs": "abs"}


def formula(program: Program, x: Value, memory: Mapping[str, Value]) -> list[dict[str, Any]]:
    """The lines of an update of one coordinate (`trace.trace_update`).

    Returns:
        For each memory that the update changes, and then for `x`: `name`, and `tokens`, texts that follow each
        other; one that begins with `$` is a quantity by name, with a prime where it is a memory after the update.
    """
    after = {value: f"${name}′" for name, value in memory.items() if program.code[value].op not in ("input", "const")}
    lines = [(name, value) for name, value in memory.items() if value in after] + [("x", x)]
    found = []
    for name, value in lines:
        known = {v: word for v, word in after.items() if word != f"${name}′"}
        found.append({"name": name, "tokens": _merged(_Writer(program, known).write(value, _LOOSE))})
    return found


class _Writer:
    """Expressions of a program; `known`: values that have a name of their own."""

    def __init__(self, program: Program, known: Mapping[Value, str]) -> None:
        self._program, self._known = program, known

    def write(self, value: Value, outside: int) -> list[str]:
        """The tokens of a value, in brackets where it binds less than what stands round it."""
        if value in self._known:
            return [self._known[value]]
        op, args, payload = self._program.code[value]
        if op == "const":
            number = f"{payload:g}".replace("-", "−")
            return [f"({number})" if payload < 0 and outside > _LOOSE else number]
        if op == "input":
            return [f"${str(payload).removesuffix('[0]')}"]
        if op in _INFIX:
            sign, level = _INFIX[op]
            right = level + (op in ("sub", "div"))
            return _bracketed([*self.write(args[0], level), sign, *self.write(args[1], right)], level < outside)
        if op == "neg":
            return _bracketed(["−", *self.write(args[0], _SIGN)], outside > _SUM)
        if op == "where":
            test, yes, no = args
            parts = [*self.write(yes, _LOOSE), " if ", *self.write(test, _LOOSE), " else ", *self.write(no, _LOOSE)]
            return ["(", *parts, ")"]
        return [_CALLED.get(op, op), "(", *self._listed(args), ")"]

    def _listed(self, args: Sequence[Value]) -> list[str]:
        tokens = list[str]()
        for a in args:
            tokens += ([", "] if tokens else []) + self.write(a, _LOOSE)
        return tokens


def _bracketed(tokens: list[str], wanted: bool) -> list[str]:
    return ["(", *tokens, ")"] if wanted else tokens


def _merged(tokens: Sequence[str]) -> list[str]:
    """The same with texts that follow each other as one."""
    found: list[str] = []
    for token in tokens:
        if found and not token.startswith("$") and not found[-1].startswith("$"):
            found[-1] += token
        else:
            found.append(token)
    return found
