"""basins and sensitivity: what the surface engine answers with millions of runs that are not recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optbench.cli.common import (
    Box,
    ConfigDir,
    Json,
    Lang,
    Overrides,
    Plot,
    Quiet,
    check_figure,
    paths,
    print_json,
    print_lines,
)
from optbench.settings import MOST_THREADS

if TYPE_CHECKING:
    from optbench.explore import Run

_SHOWN = 12
"""Endings of an optimizer that the table shows one by one."""

Grid = Annotated[int, typer.Option("--grid", help="Starts along each axis.", min=2, max=5000)]
Radius = Annotated[
    float | None,
    typer.Option("--radius", help="Distance that counts as arrived; default 1/100 of the box.", show_default=False),
]
Search = Annotated[float, typer.Option("--budget", help="Seconds to search for critical points.", min=0.1)]
Engine = Annotated[str, typer.Option("--engine", help="auto, eager, fused or portable.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", help="Threads of the engine.", min=1, max=MOST_THREADS, show_default="all cores"),
]
Csv = Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")]
Over = Annotated[str, typer.Option("--over", help="The setting to vary.", metavar="KEY")]
Points = Annotated[
    int | None,
    typer.Option(
        "--points", help="Number of values; default 200, or 60 per axis with --and.", min=2, show_default=False
    ),
]
Range = Annotated[
    str | None, typer.Option("--range", help="Range of the setting: lo,hi.", show_default="1e-5,10 for lr")
]
And = Annotated[
    str | None, typer.Option("--and", help="A second setting: a heat map.", metavar="KEY", show_default=False)
]
AndRange = Annotated[
    str | None, typer.Option("--and-range", help="Range of the second setting: lo,hi.", show_default=False)
]
Seeds = Annotated[int, typer.Option("--seeds", help="Runs per value, from random starts.", min=1)]


def basins(
    overrides: Overrides = None,
    grid: Grid = 1000,
    box: Box = None,
    radius: Radius = None,
    budget: Search = 60.0,
    plot: Plot = None,
    lang: Lang = None,
    as_csv: Csv = False,
    as_json: Json = False,
    engine: Engine = "auto",
    threads: Threads = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
) -> None:
    """Show which critical point each start of a grid reaches, and how fast: basins of attraction.

    For surfaces of two coordinates. Several optimizers (any choices, as in optbench sweep) stand side by side. Up to
    500 steps unless trainer.steps says otherwise. The picture's colour says where a start ends, brightness how fast.
    The rule of assignment is printed below the table.

    Examples:

      optbench basins model=himmelblau optimizer=adam

      optbench basins model=himmelblau optimizer=gd,momentum,adam --plot basins.png

      optbench basins model=two_well optimizer=momentum optimizer.lr=1e-3,1e-2 --grid 400 --box "-3,3"
    """
    from optbench.critical.typed.parse import fit_box
    from optbench.explore import find_basins, plan_cases
    from optbench.settings import by_engine

    _check(plot, as_csv, as_json, engine)
    refused = {
        "trainer.start": "the starts are those of the grid: --grid and --box",
        "trainer.target": "a start is followed to its end",
        "trainer.seconds": "set trainer.steps",
    }
    asked, engine = by_engine(overrides or [], engine)
    cases = plan_cases(asked, refused, paths(config_dir), steps=500)
    limits = None if box is None else fit_box(box, 2)
    with _working("basins", engine, threads, quiet or as_json) as run:
        found = find_basins(cases, limits, grid, radius, budget, run, drawn=plot is not None)
    if plot is not None:
        _draw_basins(found, plot)
    rows = found.rows()
    if as_json:
        levels = [{**p.to_json(), "level": v} for p, v in zip(found.found.points, found.disks.levels, strict=True)]
        facts = {"surface": found.field.name, "box": found.box, "grid": grid, "radius": found.radius}
        print_json({**facts, "rule": found.rule, "points": levels, "rows": rows})
    elif as_csv:
        _print_csv(rows)
    else:
        title = f"{found.field.name}: where {grid * grid} starts end"
        _print_table(title, ("optimizer", "share, %", "ends at", "median steps"), _largest(rows))
        print_lines(["", *found.rule, _timing(found.maps)])


def sensitivity(
    overrides: Overrides = None,
    over: Over = "optimizer.lr",
    points: Points = None,
    limits: Range = None,
    second: And = None,
    second_limits: AndRange = None,
    seeds: Seeds = 20,
    plot: Plot = None,
    lang: Lang = None,
    as_csv: Csv = False,
    as_json: Json = False,
    engine: Engine = "auto",
    threads: Threads = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
) -> None:
    """Show final loss, success and divergence over the learning rate or any other number, and where it works.

    Every value is run from the same random starts (trainer.start=usual for the literature's one). Success is reaching
    trainer.target, or a thousandth of the way above the known minimum; the exact rule is printed below the table.
    Values are spaced logarithmically where the range is positive and spans a factor of 30. --csv prints one row per
    value.

    Examples:

      optbench sensitivity model=rosenbrock optimizer=adam,rmsprop

      optbench sensitivity model=himmelblau optimizer=momentum --and optimizer.momentum --plot heat.png

      optbench sensitivity model=rosenbrock optimizer=adam --over optimizer.betas.1 --range 0.9,0.9999 --csv > b.csv
    """
    from optbench.errors import UserError
    from optbench.explore import check_key, find_sensitivity, make_axis, plan_cases
    from optbench.settings import by_engine

    _check(plot, as_csv, as_json, engine)
    if second == over:
        raise UserError(f"--and {second}: expected a setting other than that of --over")
    if second_limits and not second:
        raise UserError("--and-range needs --and", "name the second setting: --and optimizer.momentum")
    count = points or (60 if second else 200)
    refused = dict.fromkeys(("seed", "seeds"), "use --seeds") | dict.fromkeys([over], "use --range")
    refused |= dict.fromkeys([second] if second else [], "use --and-range") | {"trainer.seconds": "set trainer.steps"}
    for key in (over, second):
        check_key(key or over)
    asked, engine = by_engine(overrides or [], engine)
    cases = plan_cases(asked, refused, paths(config_dir), start="random")
    first = make_axis(over, limits, count, "--range", cases)
    other = make_axis(second, second_limits, count, "--and-range", cases) if second else None
    with _working("sensitivity", engine, threads, quiet or as_json) as run:
        found = find_sensitivity(cases, first, other, seeds, run)
    if plot is not None:
        _draw_sensitivity(found, plot)
    if as_json:
        facts = {"surface": found.field.name, "over": over, "and": second, "starts": seeds, "rule": found.rule}
        print_json({**facts, "summary": found.summary(), "rows": found.rows()})
    elif as_csv:
        _print_csv(found.rows())
    else:
        _print_sensitivity(found)


def _check(plot: Path | None, as_csv: bool, as_json: bool, engine: str) -> None:
    from optbench.errors import UserError

    if as_csv and as_json:
        raise UserError("--csv and --json: choose one form")
    if engine not in ("auto", "eager", "fused", "portable"):
        raise UserError(f"--engine {engine}: expected auto, eager, fused or portable")
    check_figure(plot)


@contextmanager
def _working(label: str, engine: str, threads: int | None, quiet: bool) -> Iterator[Run]:
    from optbench.cli.progress import counter
    from optbench.experiment import interruptible
    from optbench.explore import Run
    from optbench.launch.base import available_cores

    with interruptible() as stop, counter(label, quiet) as progress:
        yield Run(threads or available_cores(), engine, lambda: stop.requested, progress)


def _largest(rows: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Cells of the table: each optimizer's largest basins, and the rest as one."""
    from optbench.report import percent

    cells: list[tuple[Any, ...]] = []
    for case in dict.fromkeys(row["case"] for row in rows):
        own = [row for row in rows if row["case"] == case]
        for row in own[:_SHOWN]:
            share = percent(row["share"]) if row["share"] >= 5e-4 else "<0.1"
            cells.append((case, share, row["ending"], row["median_steps"]))
        if rest := own[_SHOWN:]:
            share = percent(sum(row["share"] for row in rest))
            cells.append((case, share, f"{len(rest)} others (--csv shows them)", None))
    return cells


def _draw_basins(found: Any, plot: Path) -> None:
    from optbench.landscape import landscape, marks_of
    from optbench.plot import Panel, basins_figure, save

    marks = marks_of(found.found, found.field.objective)
    ground = landscape(found.field.objective, found.box, marks, found.field.name)
    panels = [Panel(ends.label, ends.ending, ends.steps) for ends in found.maps]
    save(basins_figure(ground, found.endings, panels), plot)
    typer.echo(f"figure {plot}", err=True)


def _draw_sensitivity(found: Any, plot: Path) -> None:
    from optbench.plot import Outcome, Scale, heat_figure, save, sensitivity_figure

    first, second = (None if a is None else Scale(a.key, a.values, a.log) for a in (found.first, found.second))
    assert first is not None
    outcomes = [
        Outcome(r.label, r.median, r.low, r.high, r.success, r.diverged, r.widest if second is None else None)
        for r in found.responses
    ]
    if second is None:
        figure = sensitivity_figure(found.field.name, first, outcomes, found.minimum)
    else:
        figure = heat_figure(found.field.name, first, second, outcomes, found.minimum)
    save(figure, plot)
    typer.echo(f"figure {plot}", err=True)


def _print_sensitivity(found: Any) -> None:
    from optbench.report import number, percent

    rows = found.summary()
    key = found.first.key
    if found.second is None:
        header = ["optimizer", f"best {key}", "works", "loss at best", "success there, %", "half diverge from"]
    else:
        header = ["optimizer", "works, %", "best at", "loss there", "success there, %"]
    cells = []
    for row in rows:
        outcome = [row["loss_at_best"], percent(row["success_at_best"])]
        if found.second is None:
            cells.append([row["case"], row[f"best {key}"], _interval(row, found), *outcome, row["diverges_from"]])
        else:
            best = " ".join(f"{k}={number(row[f'best {k}'])}" for k in (key, found.second.key))
            cells.append([row["case"], percent(row["works_share"]), best, *outcome])
    _print_table(found.field.name, header, cells)
    print_lines(["", *found.rule, _timing(found.responses)])


def _interval(row: dict[str, Any], found: Any) -> str:
    """The range that works, with what it says about values outside the tested ones."""
    from optbench.report import number

    low, high = row["works_from"], row["works_to"]
    if low is None:
        return "-" if row["works_share"] is None else "nowhere"
    before = "<= " if low == found.first.values[0] else ""
    after = " or more" if high == found.first.values[-1] else ""
    more = f" (longest of {row['working_ranges']})" if row["working_ranges"] > 1 else ""
    return f"{before}{number(low)} to {number(high)}{after}{more}"


def _timing(parts: Sequence[Any]) -> str:
    engines = ", ".join(dict.fromkeys(part.engine for part in parts))
    return f"Engine {engines}, {sum(part.seconds for part in parts):.1f} s of runs, compilation included."


def _print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from optbench.report import Sheet, aligned, number

    cells = tuple(tuple(v if isinstance(v, str) else number(v) for v in row) for row in rows)
    print_lines([title, *aligned(Sheet(title, tuple(header), cells, (False,) * len(cells)))])


def _print_csv(rows: Sequence[dict[str, Any]]) -> None:
    import csv
    import sys

    writer = csv.DictWriter(sys.stdout, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
