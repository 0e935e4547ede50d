"""What classify-critical does for a surface: which one is asked about, the search, the answer in the requested form."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from optbench.cli.common import print_json, print_lines
from optbench.errors import UserError

if TYPE_CHECKING:
    from optbench.critical import CriticalSet
    from optbench.critical.budget import Budget
    from optbench.critical.proofs.boxes import Trail
    from optbench.experiment.recorder import Stop
    from optbench.problem import Box, Objective


@dataclass(frozen=True)
class Search:
    """How to search: the options of the command, None where it decides."""

    method: str | None
    verify: str | None
    budget: float
    max_boxes: int | None
    max_memory: float | None
    depth: float | None
    plot: Path | None
    boxes: bool
    certificate: Path | None = None


@dataclass(frozen=True)
class Question:
    """A surface in a box, and the one point to look at, if any."""

    name: str
    objective: Objective
    box: Box
    point: tuple[float, ...] | None


def ask(
    fn: str | None,
    expr: str | None,
    at: tuple[float, ...] | None,
    box: Box | None,
    dim: int | None,
    overrides: list[str],
    config_dirs: list[Path],
) -> Question:
    """The question that the options ask; what can be refused before torch is imported is refused first."""
    from optbench.critical.typed.parse import fit_box, fit_point, parse_function

    if fn is not None and expr is not None:
        raise UserError("--fn and --expr: choose one")
    for option, text in (("--fn", fn), ("--expr", expr)):
        if text is not None and not text.strip():
            raise UserError(f"{option} is empty", "optbench list model names the surfaces of the catalogue")
    file = parse_function(fn) if fn else None
    if overrides and (file or expr):
        raise UserError(f"{overrides[0]}: overrides belong to surfaces of the catalogue", "drop them")
    point = at if at is None or dim is None else fit_point(at, dim)
    if file is None and expr is None:
        name, objective, domain = _from_catalogue(fn or "rosenbrock", dim, overrides, config_dirs)
        limits = fit_box(box, len(domain)) if box else domain
    else:
        formula = _formula(expr, dim) if expr else None
        if box is None and point is None:
            what = "a formula" if expr else "a function from a file"
            raise UserError(f"{what} has no domain", 'say where to look: --box "-2,2;-1,3"')
        name, objective, size = formula or _from_file(file, dim, box, point)
        around = fit_point(point, size) if point else ()
        limits = fit_box(box, size) if box else tuple((v - 1.0, v + 1.0) for v in around)
    return Question(name, objective, limits, fit_point(point, len(limits)) if point else None)


def _from_catalogue(
    name: str, dim: int | None, overrides: list[str], config_dirs: list[Path]
) -> tuple[str, Objective, Box]:
    from optbench.experiment.surface import build_field, compose_surface

    field = build_field(compose_surface(name, dim, overrides, config_dirs))
    return field.name, field.objective, field.surface.domain


def _formula(text: str, dim: int | None) -> tuple[str, Objective, int]:
    from optbench.critical.typed.expression import parse_expression

    formula = parse_expression(text, dim)
    return text, formula, formula.dim


def _from_file(
    file: Any, dim: int | None, box: Box | None, point: tuple[float, ...] | None
) -> tuple[str, Objective, int]:
    from optbench.critical import load_function
    from optbench.critical.typed.function import check_function, depends_on_last

    size = dim or (len(point) if point else max(2, len(box or ())))
    objective = load_function(file, size)
    guessed = dim is None and point is None and size == 2 and len(box or ()) == 1
    if guessed and not depends_on_last(objective, size):
        size = 1  # one pair serves all coordinates, and the function looks at one
        check_function(objective, size, file.name)
    return f"{file.path.name}:{file.name}", objective, size


def look(question: Question, as_json: bool) -> None:
    """The Taylor picture at one point."""
    from optbench.critical import inspect_point
    from optbench.critical.points.describe import describe_picture

    assert question.point is not None
    picture = inspect_point(question.objective, question.point, name=question.name, box=question.box)
    if as_json:
        print_json(picture.to_json())
    else:
        print_lines(describe_picture(picture))


def answer(question: Question, search: Search, as_csv: bool, as_json: bool, quiet: bool) -> None:
    """The point asked about, or all critical points in the box; the figure and the second proof where asked for."""
    if question.point is not None:
        look(question, as_json)
        return
    from optbench.cli.progress import counter
    from optbench.experiment.interrupting import interruptible

    if search.plot is not None and len(question.box) > 2:
        raise UserError(f"--plot: {question.name} has {len(question.box)} coordinates; contours need one or two")
    if search.certificate is not None:
        from optbench.critical.second_proof.certificate import checkable

        checkable(question.objective, question.box)
        search = replace(search, method="certified")
    with interruptible() as stop:
        with counter(f"critical points of {question.name}", quiet or as_json) as progress:
            found, trail = _found(question, search, progress, stop)
        _print(question, search, found, trail, as_csv, as_json)
        if search.certificate is not None and not stop.requested:
            from optbench.cli.proof import write

            write(question.objective, found, search.certificate, search.budget, quiet or as_json, as_json or as_csv)
        if search.verify and not stop.requested:
            _verify(question, search, found, as_json or as_csv, stop)
    if stop.requested:
        raise typer.Exit(stop.exit_code)


def _print(
    question: Question, search: Search, found: CriticalSet, trail: Trail | None, as_csv: bool, as_json: bool
) -> None:
    """The result, in the requested form, and the figure."""
    from optbench.critical.points.describe import describe

    if search.plot is not None:
        _draw(question, found, search.plot, trail)
    if as_json:
        print_json(found.to_json())
    elif as_csv:
        _print_csv(found)
    else:
        print_lines(describe(found))


def _budget(search: Search, stop: Stop) -> Budget:
    """A budget that begins now."""
    from optbench.critical.budget import Budget

    memory = None if search.max_memory is None else int(1e9 * search.max_memory)
    return Budget(search.budget, memory, lambda: stop.requested)


def _found(question: Question, search: Search, progress: Any, stop: Stop) -> tuple[CriticalSet, Trail | None]:
    from optbench.critical import critical_points
    from optbench.critical.certified import DEPTH, MAX_BOXES
    from optbench.critical.proofs.boxes import Trail

    tell = None if progress is None else (lambda share, phrase: progress(share, 1.0, phrase))
    trail = Trail() if search.boxes else None
    found = critical_points(
        question.objective,
        question.box,
        name=question.name,
        method=search.method,
        budget=_budget(search, stop),
        max_boxes=search.max_boxes or MAX_BOXES,
        depth=search.depth or DEPTH,
        progress=tell,
        trail=trail,
    )
    return found, trail


def _draw(question: Question, found: CriticalSet, plot: Path, trail: Trail | None) -> None:
    from optbench.landscape import landscape, marks_of
    from optbench.plot import critical_points_figure, save

    if trail is not None and found.method != "certified":
        raise UserError("--boxes: there are no boxes, because the function was searched numerically", *found.notes[-1:])
    marks = marks_of(found, question.objective)
    ground = landscape(question.objective, question.box, marks, question.name)
    save(critical_points_figure(ground, None if trail is None else trail.cells()), plot)
    typer.echo(f"figure {plot}", err=True)


def _verify(question: Question, search: Search, found: CriticalSet, aside: bool, stop: Stop) -> None:
    from optbench.critical.second_proof.verify import verify_arb

    if found.method != "certified":
        raise UserError("--verify arb: there is no proof to repeat", "the function was searched numerically")
    second = verify_arb(question.objective, found, budget=_budget(search, stop))
    word = "VERIFIED" if second.agrees else "NOT VERIFIED"
    typer.echo(f"{word} ({second.boxes} boxes, {second.seconds:.1f} s): {second.why}", err=aside)
    if not second.agrees and not stop.requested:
        raise typer.Exit(1)


def _print_csv(found: CriticalSet) -> None:
    writer = csv.DictWriter(sys.stdout, found.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.rows())
    total = sum(found.counts().values())
    if found.factors and total > len(found.points):
        typer.echo(f"{len(found.points):,} of {total:,} points; --json has the factors of the others", err=True)
