"""Which mutants there are, and a fair sample of them.

A *place* is a span of source that an operator of cosmic-ray can change, or one of the two here (a statement left out, a
keyword left out of a call). Places are drawn evenly over all areas, and one of the changes of a place is drawn evenly:
otherwise each `+`, which has eleven replacements, would count eleven times. What Python compiles to the same code
(annotations, docstrings) is no mutant and is drawn again; nor is the bare `*` of a signature, which multiplies nothing,
nor what can change no result by construction: `strict=True` of `zip`, an assertion that lengths are equal; memory only,
`slots=True` of a dataclass; and what only type checkers execute.
"""

from __future__ import annotations

import ast
import random
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

AREAS: dict[str, tuple[str, ...]] = {
    "optimizers": ("optimizers", "optimizer_base*"),
    "descend": ("descend",),
    "metrics": ("metrics*", "statistics"),
    "comparison": ("comparison",),
    "records": ("records",),
    "identity": ("experiment/sources*",),
    "loop": ("loop",),
    "tracing": ("tracing*",),
    "arithmetic": ("critical/arithmetic",),
    "proofs": ("critical/certified", "critical/germs", "critical/programs", "critical/proofs", "critical/second_proof"),
    "curvature": ("curvature",),
}
"""Name -> globs in src/optbench; what is a folder counts with everything below it. Each glob must match."""

Position = tuple[int, int]
"""Line from 1, column from 0."""


@dataclass(frozen=True)
class Change:
    """One way to change a place: an operator and its how-manieth position in the module, or a replacement text."""

    operator: str
    occurrence: int = -1
    text: str = ""


@dataclass(frozen=True)
class Mutant:
    """A changed module. `file` is relative to src/optbench; lines count from 1; before and after are those lines."""

    area: str
    file: str
    first: int
    last: int
    operator: str
    before: str
    after: str
    source: str


def modules(package: Path) -> dict[str, list[Path]]:
    """The modules of each area. Raises SystemExit where a glob matches nothing: something was moved."""
    found: dict[str, list[Path]] = {}
    for area, globs in AREAS.items():
        found[area] = []
        for glob in globs:
            roots = list(package.glob(glob))
            files = sorted(file for root in roots for file in (root.rglob("*.py") if root.is_dir() else [root]))
            if not files:
                raise SystemExit(f"no module of the area {area!r} is at {package / glob}: mend AREAS in {__file__}")
            found[area] += files
    return found


def sample(package: Path, count: int, seed: int, only: list[str] | None = None) -> tuple[list[Mutant], dict[str, int]]:
    """Mutants in random order, and the number of places of each area.

    Args:
        package: the folder src/optbench.
        count: how many.
        seed: of the draw; the same source and seed give the same mutants.
        only: names of areas; all by default.
    """
    rng = random.Random(seed)
    pool: list[tuple[str, Path, Position, Position]] = []
    sizes: dict[str, int] = {}
    for area, files in modules(package).items():
        if only is None or area in only:
            spans = [(area, file, *span) for file in files for span in changes(file)]
            sizes[area] = len(spans)
            pool += spans
    rng.shuffle(pool)
    drawn: list[Mutant] = []
    for area, file, start, end in pool:
        if len(drawn) == count:
            break
        options = list(changes(file)[start, end])
        rng.shuffle(options)
        made = (_made(package, area, file, (start, end), change) for change in options)
        drawn += [mutant for mutant in made if mutant is not None][:1]
    return drawn, sizes


def again(package: Path, earlier: list[dict[str, Any]]) -> list[Mutant]:
    """Mutants of an earlier session, of the source as it is now; those whose lines are gone are named and left out.

    Where the same lines stand more than once, those nearest to where they were are meant.

    Args:
        package: the folder src/optbench.
        earlier: the fields of each mutant; the source is not needed.
    """
    found = []
    for one in earlier:
        file = package / one["file"]
        lines = file.read_text("utf-8").split("\n") if file.exists() else []
        before, after = one["before"].split("\n"), one["after"].split("\n")
        places = [i for i in range(len(lines)) if lines[i : i + len(before)] == before]
        if not places:
            print(f"  the source has no longer: {one['file']}:{one['first']} {one['before'].strip()}")
            continue
        at = min(places, key=lambda i: abs(i + 1 - one["first"]))
        changed = "\n".join([*lines[:at], *after, *lines[at + len(before) :]])
        found.append(Mutant(**(one | {"first": at + 1, "last": at + len(before), "source": changed})))
    return found


@cache
def changes(file: Path) -> dict[tuple[Position, Position], tuple[Change, ...]]:
    """All places of a module, with the changes of each."""
    source = file.read_text("utf-8")
    nodes = list(ast_nodes(get_ast(source)))
    found: dict[tuple[Position, Position], list[Change]] = {}
    for name, operator in _operators().items():
        positions = ((node, span) for node in nodes for span in operator.mutation_positions(node))
        for occurrence, (node, span) in enumerate(positions):
            if node.parent is None or node.parent.type not in ("parameters", "lambdef"):  # a bare * there divides names
                found.setdefault(span, []).append(Change(name, occurrence))
    tree = ast.parse(source)
    for span, change in _left_out(tree, source):
        found.setdefault(span, []).append(change)
    idle = list(_idle(tree, source))
    return {
        span: tuple(options)
        for span, options in sorted(found.items())
        if not any(first <= span[0] and span[1] <= last for first, last in idle)
    }


def _idle(tree: ast.Module, source: str) -> Iterator[tuple[Position, Position]]:
    """Spans in which no change can change a result, by construction."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if (ast.unparse(node.func), keyword.arg) in (("zip", "strict"), ("dataclass", "slots")):
                    yield _span(keyword, source)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (_span(statement, source) for statement in node.body)


@cache
def _operators() -> dict[str, object]:
    """cosmic-ray's, without those that want arguments and the one that changes nothing."""
    kinds = {name: get_operator(name) for name in operator_names()}
    return {name: kind() for name, kind in kinds.items() if not kind.arguments() and not name.endswith("NoOp")}


def _left_out(tree: ast.Module, source: str) -> Iterator[tuple[tuple[Position, Position], Change]]:
    """Statements that can be left out, and keywords of calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and not _is_text(node):
            yield _span(node, source), Change("StatementLeftOut", text="pass")
        elif isinstance(node, ast.Call):
            for one in (keyword for keyword in node.keywords if keyword.arg):
                yield _span(one, source), Change("KeywordLeftOut", text="**{}")


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _span(node: ast.stmt | ast.keyword, source: str) -> tuple[Position, Position]:
    """ast counts bytes of UTF-8, parso characters."""
    lines = source.split("\n")
    ends = ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
    first, last = ((line, len(lines[line - 1].encode()[:column].decode())) for line, column in ends)
    return first, last


def _made(package: Path, area: str, file: Path, span: tuple[Position, Position], change: Change) -> Mutant | None:
    source = file.read_text("utf-8")
    if change.occurrence < 0:
        changed = _replaced(source, span, change.text)
    else:
        try:
            changed = mutate_code(source, _operators()[change.operator], change.occurrence)
        except AttributeError:  # cosmic-ray's ExceptionReplacer knows no dotted name (8.7.0)
            changed = None
    if changed is None or not _differs(source, changed):
        return None
    lines, others = source.split("\n"), changed.split("\n")
    first, last = span[0][0], span[1][0]
    return Mutant(
        area=area,
        file=str(file.relative_to(package)),
        first=first,
        last=last,
        operator=change.operator.removeprefix("core/"),
        before="\n".join(lines[first - 1 : last]),
        after="\n".join(others[first - 1 : last + len(others) - len(lines)]),
        source=changed,
    )


def _replaced(source: str, span: tuple[Position, Position], text: str) -> str:
    lines = source.split("\n")
    (first, left), (last, right) = span
    lines[first - 1 : last] = [lines[first - 1][:left] + text + lines[last - 1][right:]]
    return "\n".join(lines)


def _differs(one: str, other: str) -> bool:
    """Whether two modules do anything differently; what the compiler refuses or warns of is no mutant."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SyntaxWarning)
        try:
            compile(other, "", "exec")
        except SyntaxError:
            return False
    return _compiled(one) != _essence(compile(_bare(other), "", "exec"))


@cache
def _compiled(source: str) -> tuple[object, ...]:
    return _essence(compile(_bare(source), "", "exec"))


def _bare(source: str) -> ast.Module:
    """The module without annotations and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.copy_location(ast.Constant(value=None), node.annotation)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.copy_location(ast.Constant(value=""), node.value)
    return tree


def _essence(code: types.CodeType) -> tuple[object, ...]:
    """A compiled module without line numbers; constants with their types, since 1 == True == 1.0."""
    constants = tuple(_essence(c) if isinstance(c, types.CodeType) else (type(c), repr(c)) for c in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, code.co_exceptiontable, constants
