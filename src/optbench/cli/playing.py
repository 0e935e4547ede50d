"""play: a page to play with, made of recorded runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.common import ConfigDir, Force, Json, Lang, Overrides, Quiet, paths, print_json, print_lines


def play(
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, an .html file.", metavar="FILE")] = Path(
        "play.html"
    ),
    lesson: Annotated[
        bool, typer.Option("--lesson", help="A lesson with a challenge, given its NAME; without a name what there is.")
    ] = False,
    records: Annotated[
        Path | None,
        typer.Option("--records", help="Folder that holds the runs' records.", show_default="outputs/sweeps"),
    ] = None,
    budget: Annotated[float, typer.Option("--budget", help="Seconds to search for critical points.", min=0.1)] = 60.0,
    config_dir: ConfigDir = None,
    force: Force = False,
    lang: Lang = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a page to play with: optimizers race on a surface of one or two coordinates.

    One file that opens from disk without a network, on a phone too: drag the start, change learning rates, step
    through the formula with its numbers, see the basins. The page runs the tool's own traced programs; each run is
    recorded (--engine portable, 500 steps unless trainer.steps says otherwise), and the page repeats it as it opens and
    says whether the bits are equal. Your own surfaces and optimizers work too; what cannot be traced is refused.

    Examples:

      optbench play model=himmelblau optimizer=momentum,adam,rmsprop -o play.html

      optbench play model=rosenbrock optimizer=adam optimizer.lr=0.01,0.1 trainer.start=[-1.5,2]

      optbench play --config-dir mine model=my_surface optimizer=my_optimizer --lang zh

      optbench play --lesson saddle -o saddle.html
    """
    if lesson and not overrides:
        return _tell_lessons(as_json)
    from optbench.errors import UserError
    from optbench.records import check_place

    check_place(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {out}: expected a name that ends in .html")
    if lesson and config_dir:
        raise UserError("--config-dir does not go with --lesson, a lesson has its own settings")
    if records is not None:
        check_place(records, folder=True)
    _make(overrides or [], lesson, out, records, budget, paths(config_dir), force, as_json, quiet)
    return None


def _tell_lessons(as_json: bool) -> None:
    from optbench.play.lesson import lesson_lines, lessons

    if as_json:
        print_json([{"name": one.name, "section": one.section, "title": one.title} for one in lessons().values()])
        return
    print_lines(lesson_lines())


def _make(
    given: list[str], lesson: bool, out: Path, records: Path | None, budget: float, config_dirs: list[Path],
    force: bool, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Plans, records and writes; says what was done."""
    from optbench import experiment
    from optbench.cli.progress import display
    from optbench.errors import UserError
    from optbench.play.lesson import lesson_of

    taught = lesson_of(given) if lesson else None
    from optbench.play.build import Played, make_page, plan_lesson, plan_play, prepared
    from optbench.records import check_place, write_bytes

    plan = plan_play(given, config_dirs, records) if taught is None else plan_lesson(taught, records)
    check_place(plan[0].folder.parent, folder=True)
    steps = [prepared(item) for item in plan]
    played: list[Played] = []
    with experiment.interruptible() as stop, display(quiet or as_json) as shown:
        for number, (item, (step, lines)) in enumerate(zip(plan, steps, strict=True)):
            shown.start(item.label, number, len(plan))
            run = experiment.execute(item, stop, shown, force)
            shown.end(run)
            if not run.status.final:
                raise UserError(f"{item.label}: {run.status}: {run.reason}")
            played.append(Played(item, run, step, lines))
    command = [
        "optbench",
        "play",
        *(["--lesson"] if lesson else []),
        *given,
        *(f"--config-dir={p}" for p in config_dirs),
        "-o",
        out.name,
    ]
    page = make_page(played, given, command, budget, config_dirs, taught).encode()
    write_bytes(out, page)
    if as_json:
        print_json({"page": out, "bytes": len(page), "runs": [{**p.run.summary, "path": p.run.path} for p in played]})
        return
    print_lines([f"{p.planned.label}: {p.run.status}, {p.run.reason}" for p in played])
    print_lines([f"page      {out} ({len(page) / 1000:.0f} kB)"])
