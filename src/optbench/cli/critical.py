"""classify-critical: where the gradient vanishes, and what is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optbench.cli.common import ConfigDir, Json, Overrides, Quiet, paths, print_json, print_lines

if TYPE_CHECKING:
    from optbench.problem import Box, Objective


Fn = Annotated[
    str, typer.Option("--fn", help="A surface of the catalogue, or path/to/file.py:function.", metavar="NAME")
]
At = Annotated[
    str | None, typer.Option("--at", help="Look at one point only: x,y", metavar="POINT", show_default=False)
]
BoxText = Annotated[
    str | None,
    typer.Option("--box", help="lo,hi;lo,hi (one pair serves all axes).", metavar="BOX", show_default=False),
]
Dim = Annotated[int | None, typer.Option("--dim", help="Number of coordinates.", show_default=False)]
Budget = Annotated[float, typer.Option("--budget", help="Seconds to search.", min=0.1)]
Plot = Annotated[Path | None, typer.Option("--plot", help="Draw into this file (.png .svg .pdf).", show_default=False)]
Csv = Annotated[bool, typer.Option("--csv", help="Print one row a point as CSV.")]
RecordedRun = Annotated[
    Path | None, typer.Option("--run", help="Where this recorded run stopped, network or surface.", show_default=False)
]
Checkpoint = Annotated[str, typer.Option("--checkpoint", help="best or last, with --run.")]
Share = Annotated[float, typer.Option("--share", help="Part of the training data to use, with --run.")]
Products = Annotated[
    int | None, typer.Option("--products", help="Hessian-vector products to spend, with --run.", show_default=False)
]


def classify_critical(
    overrides: Overrides = None,
    fn: Fn = "rosenbrock",
    at: At = None,
    box: BoxText = None,
    dim: Dim = None,
    budget: Budget = 60.0,
    plot: Plot = None,
    as_csv: Csv = False,
    as_json: Json = False,
    run: RecordedRun = None,
    checkpoint: Checkpoint = "best",
    share: Share = 1.0,
    products: Products = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
) -> None:
    """Find and classify the critical points of a surface: minima, maxima, saddles, degenerate points.

    With --run: the point where a recorded run stopped. For a network that is a checkpoint: gradient, extreme
    eigenvalues of the Hessian, shares of negative, zero and positive ones, a way down, and a verdict; the cost is
    printed before it starts.

    The search is numerical (multistart Newton in float64) and says so: "not proved complete". In two dimensions the
    winding number of the gradient along the edge of the box is an independent check.

    Examples:

      optbench classify-critical --fn rosenbrock

      optbench classify-critical --fn himmelblau --box "-6,6" --plot himmelblau.png

      optbench classify-critical --fn linear_net --at 0,0

      optbench classify-critical --fn my_surface.py:f --box "-2,2;-1,3" --json

      optbench classify-critical --run outputs/runs/hw3_cnn-adam-s0-1a2b3c --plot spectrum.png
    """
    from optbench.critical.parse import parse_box, parse_function, parse_point
    from optbench.errors import UserError

    if as_csv and as_json:
        raise UserError("--csv and --json: choose one form")
    if plot is not None:
        from optbench.plot import check_suffix

        check_suffix(plot)
    if run is not None:
        from optbench.cli.curvature import classify_run

        if as_csv or at or box or overrides:
            raise UserError("--run looks at one recorded point: --csv, --at, --box and overrides do not apply")
        classify_run(run, checkpoint, share, products, plot, as_json, paths(config_dir), quiet)
        return
    file = parse_function(fn)
    point = parse_point(at, dim) if at else None
    if box:
        parse_box(box)  # a box that cannot be read is named before torch is imported
    if file is None:
        name, objective, domain = _from_catalogue(fn, dim, overrides or [], paths(config_dir))
        limits = parse_box(box, len(domain)) if box else domain
    else:
        if overrides:
            raise UserError(f"{overrides[0]}: overrides belong to surfaces of the catalogue", "drop them")
        size, limits = _place_to_look(dim, box, point)
        name, objective = f"{file.path.name}:{file.name}", _from_file(file, size)
    if point is not None:
        _one_point(objective, parse_point(at or "", len(limits)), name, limits, as_json)
    else:
        _all_points(objective, limits, name, budget, plot, as_csv, as_json, quiet)


def _place_to_look(dim: int | None, box: str | None, point: tuple[float, ...] | None) -> tuple[int, Box]:
    """Dimension and box for a function from a file: as given, or around the point."""
    from optbench.critical.parse import parse_box
    from optbench.errors import UserError

    if box is None and point is None:
        raise UserError("a function from a file has no domain", 'say where to look: --box "-2,2;-1,3"')
    size = dim or (len(point) if point else max(2, len(parse_box(box or ""))))
    return size, parse_box(box, size) if box else tuple((v - 1.0, v + 1.0) for v in point or ())


def _from_catalogue(
    name: str, dim: int | None, overrides: list[str], config_dirs: list[Path]
) -> tuple[str, Objective, Box]:
    from optbench.experiment.surface import build_field, compose_surface

    field = build_field(compose_surface(name, dim, overrides, config_dirs))
    return field.name, field.objective, field.surface.domain


def _from_file(file: Any, dim: int) -> Objective:
    from optbench.critical import load_function

    return load_function(file, dim)


def _one_point(objective: Objective, point: tuple[float, ...], name: str, box: Box, as_json: bool) -> None:
    from optbench.critical import inspect_point
    from optbench.critical.describe import describe_picture

    picture = inspect_point(objective, point, name=name, box=box)
    if as_json:
        print_json(picture.to_json())
    else:
        print_lines(describe_picture(picture))


def _all_points(
    objective: Objective,
    box: Box,
    name: str,
    budget: float,
    plot: Path | None,
    as_csv: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from optbench.cli.progress import counter
    from optbench.critical import find_critical
    from optbench.critical.describe import describe

    with counter(f"critical points of {name}", quiet or as_json) as progress:
        tell = None if progress is None else (lambda share, phrase: progress(share, 1.0))
        found = find_critical(objective, box, name=name, budget_seconds=budget, progress=tell)
    if plot is not None:
        from optbench.landscape import landscape, marks_of
        from optbench.plot import critical_points_figure, save

        figure = critical_points_figure(landscape(objective, box, marks_of(found, objective), name))
        save(figure, plot)
        typer.echo(f"figure {plot}", err=True)
    if as_json:
        print_json(found.to_json())
    elif as_csv:
        _print_csv(found.rows())
    else:
        print_lines(describe(found))


def _print_csv(rows: list[dict[str, Any]]) -> None:
    import csv
    import sys

    if rows:
        writer = csv.DictWriter(sys.stdout, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
