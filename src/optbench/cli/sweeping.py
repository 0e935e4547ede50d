"""sweep: every combination, then the comparison."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import (
    Callbacks,
    ConfigDir,
    Force,
    Json,
    Out,
    Overrides,
    Quiet,
    Which,
    paths,
    print_json,
    print_lines,
    watch_sweep,
)
from optbench.settings import SAMPLES

if TYPE_CHECKING:
    from optbench.experiment import Stop
    from optbench.experiment.plan import Sweep
    from optbench.launch import Launcher
    from optbench.launch.probe import Cost
    from optbench.launch.sweep import Division, Options, Outcome

DEFAULT = "experiment=book_optimizers"
PointsFile = Annotated[
    Path | None, typer.Option("--points", help="CSV of settings to run: keys in the first line.", show_default=False)
]


def sweep(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    out: Out = None,
    name: Annotated[str | None, typer.Option("--name", help="Folder name of the sweep.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and its cost; run nothing.")] = False,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="Worker processes.", show_default=False)] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Torch threads per run.", show_default=False)] = None,
    retry: Annotated[str, typer.Option("--retry", help="failed: run again what failed.")] = "",
    on_error: Annotated[str, typer.Option("--on-error", help="keep (go on after a failed run) or stop.")] = "keep",
    samples: Annotated[int, typer.Option("--samples", help="Random points drawn from intervals.", min=1)] = SAMPLES,
    points: PointsFile = None,
    engine: Annotated[str, typer.Option("--engine", help="auto, loop, eager, fused, portable, stacked.")] = "auto",
    curves: Annotated[
        int,
        typer.Option("--curves", help="Curves kept per batch; can be raised later.", min=0),
    ] = 20,
    checkpoint: Which = None,
    callback: Callbacks = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run every combination and compare them.

    Values are swept with commas, range(), choice(), glob() and interval() (random search: --samples points; tag(log,
    interval(a,b)) for a logarithmic one); seeds=10 stands for seed=range(10). Without overrides: the book's optimizers
    and torch's on rosenbrock, ten random starts each. The same command again runs only what is missing. Runs on a
    surface that differ only in numbers execute together, as the rows of one array program.

    Examples:

      optbench sweep optimizer=sgd,momentum,adam optimizer.lr=1e-3,1e-2 seeds=5 trainer.start=random

      optbench sweep model=hw3_cnn model.width=16 optimizer=adam,radam seeds=3 --jobs 2

      optbench sweep optimizer=gd,adam 'wrap=none,sam,[clip,lookahead]' seeds=5 trainer.start=random

      optbench sweep optimizer=adam 'optimizer.lr=tag(log,interval(1e-4,1))' --samples 50

      optbench sweep optimizer=adam --points settings.csv seeds=3

      optbench sweep model=mlp optimizer=sgd,adam seeds=3 --callback tensorboard:folder=tb

      optbench sweep +experiment=book_optimizers --dry-run

      optbench sweep hydra/launcher=ray hydra.launcher.address=auto seeds=100
    """
    from optbench import experiment
    from optbench.cli.progress import counter_of_many
    from optbench.config.callbacks import parse_callbacks
    from optbench.experiment.plan import NO_POINTS, Points
    from optbench.experiment.seed_note import seed_note
    from optbench.launch import launcher
    from optbench.launch.sweep import Options, divide, run_sweep
    from optbench.records.chosen import chosen
    from optbench.settings import by_engine

    _check(retry, on_error, engine)
    which, told = chosen(checkpoint), parse_callbacks(callback or (), paths(config_dir))
    with counter_of_many("reading pictures", quiet or as_json) as progress:
        rows = NO_POINTS if points is None else Points.read(points)
        asked, engine = by_engine(overrides or ([DEFAULT] if points is None else []), engine)
        plan = experiment.plan_sweep(asked, paths(config_dir), out, name, samples, progress, rows)
    place = launcher({**plan.launcher, **{k: v for k, v in (("jobs", jobs), ("threads", threads)) if v is not None}})
    options = Options(force, retry == "failed", on_error == "stop", engine, curves, callbacks=told)
    print_lines(seed_note(plan), err=True)
    if dry_run:
        _print_plan(plan, divide(plan, options), place, options, as_json)
        return
    shown = watch_sweep(len(plan), quiet or as_json, checkpoint=which)
    with experiment.interruptible() as stop, shown as watcher:
        outcome = run_sweep(plan, place, stop, watcher, options)
    _report(plan, outcome, as_json, which)
    _end(plan, outcome, stop, stop.requested and not (on_error == "stop" and outcome.failed))


def _check(retry: str, on_error: str, engine: str) -> None:
    """Raises UserError for a word that is none of an option's."""
    from optbench.errors import UserError
    from optbench.launch.sweep import ENGINES

    for option, value, known in (
        ("--retry", retry, ("", "failed")),
        ("--on-error", on_error, ("keep", "stop")),
        ("--engine", engine, ENGINES),
    ):
        if value not in known:
            raise UserError(f"{option} {value}: expected {' or '.join(filter(None, known))}")


def _print_plan(plan: Sweep, division: Division, place: Launcher, options: Options, as_json: bool) -> None:
    from optbench.launch.probe import Cost, engine_of, estimate

    cost = estimate(division, options.recorded, options.backend) if division.todo else Cost()
    planned = dict.fromkeys(cost.incompatible, "incompatible") | dict(division.done)
    engines = {p.run_id: "rows" for r in division.rows for p in r.planned}
    engines |= {p.run_id: "stacked" for s in division.stacks for p in s.planned}
    engines |= {p.run_id: engine_of(p) for p in division.single if p.run_id not in planned}
    rows = [
        {
            "run_id": p.run_id,
            "status": planned.get(p.run_id, "to do"),
            "engine": None if p.run_id in planned else engines[p.run_id],
            "why": division.why.get(p.run_id, ""),
            "reason": cost.incompatible.get(p.run_id) or division.flaws.get(p.run_id, ""),
            "label": p.label,
            "path": p.folder,
            **p.swept,
        }
        for p in plan
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows[:40]:
        typer.echo(f"{row['status']:>15}  {row['label']}")
    if len(rows) > 40:
        typer.echo(f"{'':>15}  ... and {len(rows) - 40} more")
    counts = ", ".join(f"{n} {status}" for status, n in Counter(row["status"] for row in rows).items())
    typer.echo(f"{len(plan)} runs planned ({counts}) into {plan.folder}")
    for reason, n in Counter(cost.incompatible.values()).items():
        label = next(row["label"] for row in rows if row["reason"] == reason)
        typer.echo(f"incompatible: {n} like {label}: {reason}")
    if (left := division.without(cost.incompatible)).todo:
        _print_cost(left, cost, place)


def _print_cost(division: Division, cost: Cost, place: Launcher) -> None:
    batched = sum(len(r.planned) for r in division.rows)
    if batched:
        programs = f"{len(division.rows)} array program{'s' * (len(division.rows) > 1)}"
        typer.echo(f"{batched} as rows of {programs}")
    for stack in division.stacks:
        typer.echo(f"{len(stack.planned)} stacked as one program: {stack.why}")
    if division.single:
        typer.echo(f"{len(division.single)} one by one, {place.where(division.single)}")
    for sentence in division.notes(everything=True):
        typer.echo(sentence)
    from optbench.launch.outlook import TooLargeError, duration
    from optbench.launch.sweep import forecast

    for rows in division.rows:
        try:
            words, _ = forecast(rows)
        except TooLargeError as error:
            words = f"cannot start: {error.message}"
        if words:
            typer.echo(words)
    typer.echo(
        f"about {duration(cost.seconds)} of computing on one worker, {cost.disk / 1e6:.1f} MB on disk (from a probe)"
    )
    for why in cost.unable:
        typer.echo(f"cannot start: {why}")


def _report(plan: Sweep, outcome: Outcome, as_json: bool, checkpoint: str) -> None:
    if as_json:
        from optbench.report import runs_json

        for piece in runs_json(plan.folder, [item.run_id for item in plan]):
            typer.echo(piece, nl=False)
        typer.echo()
        return
    if outcome.by_status:
        from optbench.comparison import compare
        from optbench.report import print_comparison

        print_comparison(compare([plan.folder], checkpoint=checkpoint))


def _end(plan: Sweep, outcome: Outcome, stop: Stop, interrupted: bool) -> None:
    """Failures once more, a last line, and the exit code: of an interrupt (130 after Ctrl-C), or 3 if a run failed."""
    if outcome.failed:
        typer.echo(f"{len(outcome.failed)} of {len(plan)} runs failed:", err=True)
    for run in outcome.failed[:20]:
        typer.echo(f"failed: {run.path}: {run.reason}", err=True)
    if len(outcome.failed) > 20:
        typer.echo(f"... and {len(outcome.failed) - 20} more failed", err=True)
    before = outcome.by_status["failed"] - len(outcome.failed)
    if before > 0:
        typer.echo(f"{before} failed before; --retry failed runs them again", err=True)
    ended = sum(n for status, n in outcome.by_status.items() if status != "interrupted") - outcome.gone
    typer.echo(f"{ended} of {len(plan)} runs in {plan.folder}", err=True)
    if interrupted or outcome.by_status["interrupted"]:
        raise typer.Exit(stop.exit_code)
    if outcome.by_status["failed"] or outcome.gone:
        raise typer.Exit(3)
