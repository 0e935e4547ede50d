"""What classify-critical --sweep does: a family of surfaces in one parameter, its bifurcation diagram, the answer."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from optbench.cli.common import print_json, print_lines
from optbench.errors import UserError

if TYPE_CHECKING:
    from optbench.critical.bifurcation.diagram import Diagram
    from optbench.problem import AbstractSurface, Box, Objective

TRIED = 5  # points at which a surface of the catalogue is compared with one built for the same parameter


@dataclass(frozen=True)
class Family:
    """f(x, a) with its parameter as the last coordinate, the box of x, and the range of a."""

    name: str
    objective: Objective
    box: Box
    parameter: str
    span: tuple[float, float]


def family(
    text: str,
    fn: str | None,
    expr: str | None,
    box: Box | None,
    dim: int | None,
    overrides: list[str],
    config_dirs: list[Path],
) -> Family:
    """The family that the options describe; what can be refused before torch is imported is refused first."""
    from optbench.critical.typed.parse import fit_box, parse_function, parse_sweep

    parameter, span = parse_sweep(text)
    if fn is not None and expr is not None:
        raise UserError("--fn and --expr: choose one")
    if not (fn or expr):
        raise UserError("--sweep needs a family of surfaces", f'write --expr "x**4 - {parameter}*x**2" or --fn ...')
    file = parse_function(fn) if fn else None
    if overrides and (file or expr):
        raise UserError(f"{overrides[0]}: overrides belong to surfaces of the catalogue", "drop them")
    if file is None and expr is None:
        name, objective, domain = _from_catalogue(str(fn), dim, overrides, config_dirs, parameter, span)
        return Family(name, objective, fit_box(box, len(domain)) if box else domain, parameter, span)
    if expr:
        from optbench.critical.typed.expression import parse_expression

        formula = parse_expression(expr, dim, parameter)
        name, objective, size = expr, formula, formula.dim - 1
    if box is None:
        what = "a formula" if expr else "a function from a file"
        raise UserError(f"{what} has no domain", 'say where to look: --box "-2,2;-1,3"')
    if file is not None:
        name, objective, size = _from_file(file, dim, box, parameter, span)
    return Family(name, objective, fit_box(box, size), parameter, span)


def _from_file(
    file: Any, dim: int | None, box: Box, parameter: str, span: tuple[float, float]
) -> tuple[str, Objective, int]:
    import torch

    from optbench.critical.typed.function import check_function, depends_on_last, load_function

    pairs = len(box)
    size = dim or max(2, pairs)
    objective = load_function(file, parameter=parameter)
    middle = 0.5 * (span[0] + span[1])
    if dim is None and pairs == 1:  # one pair serves all coordinates: of how many does the function look at?
        check_function(objective, size + 1, file.name)
        fixed = lambda x: objective(torch.cat([x, torch.full_like(x[..., :1], middle)], dim=-1))  # noqa: E731
        size = 2 if depends_on_last(fixed, 2) else 1
    check_function(objective, size + 1, file.name)
    return f"{file.path.name}:{file.name}", objective, size


def _from_catalogue(
    name: str, dim: int | None, overrides: list[str], config_dirs: list[Path], parameter: str, span: tuple[float, float]
) -> tuple[str, Objective, Box]:
    from optbench.experiment.surface import build_field, compose_surface
    from optbench.settings import did_you_mean

    config = compose_surface(name, dim, overrides, config_dirs)
    numbers = {key: v for key, v in config["model"].items() if isinstance(v, float)}
    if parameter not in numbers:
        hint = did_you_mean(parameter, list(numbers)) if numbers else ""
        known = f"its numbers: {', '.join(numbers)}" if numbers else 'a family of your own: --expr "x**4 - a*x**2"'
        raise UserError(f"{name} has no number {parameter!r} to sweep over", hint or known)
    made = [
        build_field({**config, "model": {**config["model"], parameter: a}})
        for a in (span[0], 0.5 * (span[0] + span[1]), span[1])
    ]
    if any(field.objective is not field.surface for field in made):
        raise UserError(f"{name} is a surface of logits: --sweep takes surfaces of values")
    objective = _swept(made[1].surface, parameter)
    _check(objective, [(getattr(f.surface, parameter, None), f) for f in made], parameter, name)
    return name, objective, made[1].surface.domain


def _swept(surface: AbstractSurface, parameter: str) -> Objective:
    """The surface with its parameter as one more coordinate: the attribute of that name takes any value."""

    def objective(x: Any) -> Any:
        moved = copy.copy(surface)
        setattr(moved, parameter, x[..., -1])
        return moved(x[..., :-1])

    return objective


def _check(objective: Objective, made: list[tuple[Any, Any]], parameter: str, name: str) -> None:
    """Compares the family with surfaces built for some values of the parameter."""
    import torch

    for a, field in made:
        fits = isinstance(a, float)
        if fits:
            low, high = torch.tensor(field.surface.domain, dtype=torch.float64).T
            x = low + (high - low) * torch.linspace(0.1, 0.9, TRIED * field.surface.dim).reshape(TRIED, -1).double()
            together = objective(torch.cat([x, torch.full((TRIED, 1), a, dtype=torch.float64)], dim=-1))
            fits = torch.allclose(together, field.objective(x), rtol=1e-12, atol=1e-12)
        if not fits:
            raise UserError(
                f"{name} does more with {parameter!r} than keep it: no sweep over it", "use --expr or a file"
            )


def answer_sweep(asked: Family, budget: float, plot: Path | None, as_json: bool, quiet: bool) -> None:
    """The diagram as a table or JSON, and as a figure where asked for."""
    from optbench.cli.progress import counter
    from optbench.critical.bifurcation.describe import describe_diagram
    from optbench.critical.bifurcation.sweep import sweep
    from optbench.critical.bifurcation.tubes import INTERRUPTED
    from optbench.critical.programs.scalar import MissingRule

    with counter(f"critical points of {asked.name}", quiet or as_json) as progress:
        tell = None if progress is None else (lambda share, phrase: progress(share, 1.0))
        try:
            found = sweep(
                asked.objective, asked.box, asked.span, name=asked.name, parameter=asked.parameter, seconds=budget,
                progress=tell,
            )  # fmt: skip
        except MissingRule as error:
            raise UserError(error.message, "--sweep gives proofs, which need a rule for every operation") from error
    if plot is not None:
        _draw(found, plot)
    if as_json:
        print_json(found.to_json())
    else:
        print_lines(describe_diagram(found))
    if found.why.startswith(INTERRUPTED):
        raise typer.Exit(130)


def _draw(found: Diagram, plot: Path) -> None:
    import numpy as np

    from optbench.plot import save
    from optbench.plot.bifurcation import Branch, Meeting, bifurcation_figure

    figure = bifurcation_figure(
        [Branch(np.array(c.points), c.type) for c in found.curves],
        [Meeting(b.kind, 0.5 * sum(b.a), tuple(0.5 * sum(v) for v in b.x)) for b in found.bifurcations],
        [(o.a, *o.box) for o in found.open],
        found.box,
        found.range,
        found.parameter,
        f"critical points of {found.surface}",
    )
    save(figure, plot)
    typer.echo(f"figure {plot}", err=True)
