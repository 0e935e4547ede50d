"""run: one configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import (
    Callbacks,
    ConfigDir,
    Force,
    Json,
    Lang,
    Out,
    Overrides,
    Quiet,
    paths,
    print_json,
    print_lines,
)

if TYPE_CHECKING:
    from optbench.experiment import Display, Planned, Stop
    from optbench.ranks import Rank
    from optbench.records import Run


def run(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    out: Out = None,
    force: Force = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the run's figures into its folder.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how long it will take, from ten updates; run nothing.")
    ] = False,
    engine: Annotated[
        str, typer.Option("--engine", help="auto, or portable: the same bits everywhere, but for a schedule's factors.")
    ] = "auto",
    callback: Callbacks = None,
    lang: Lang = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run one configuration and record it.

    The same configuration is the same run: one that is done is shown, not repeated (see --force); one that was
    interrupted goes on. On a network trainer.batch_size=1 is SGD, trainer.batch_size=n a mini-batch (32 unless
    said) and trainer.batch_size=full the whole data set, as optimizer=gd has it.

    Examples:

      optbench run optimizer=rmsprop

      optbench run model=himmelblau optimizer=adam optimizer.lr=0.1 trainer.start=[0,0] --plot

      optbench run optimizer=adam wrap=sam

      optbench run model=hw3_cnn model.width=16 trainer.epochs=5

      optbench run model=mlp optimizer=sgd trainer.batch_size=1

      optbench run model=hw3_cnn data=digits optimizer=adamw optimizer.groups=no_decay

      optbench run model=hw3_cnn --callback tensorboard

      optbench run experiment=hw3/boss data=food11 data.root=path/to/food11 --dry-run

      torchrun --standalone --nproc-per-node 2 -m optbench run model=mlp
    """
    from optbench import experiment
    from optbench.cli.progress import counter_of_many, display
    from optbench.errors import UserError
    from optbench.experiment.schedule_note import note_of
    from optbench.records import check_place
    from optbench.settings import by_engine

    if engine not in ("auto", "portable"):
        raise UserError(f"--engine {engine}: expected auto or portable")
    with counter_of_many("reading pictures", quiet or as_json) as progress:
        asked, folders = by_engine(overrides or [], engine)[0], paths(config_dir)
        planned = experiment.plan_run(asked, folders, out, progress, callback or ())
    rank = _one_of_several(planned, dry_run)
    if dry_run:
        _say_how_long(planned, as_json)
        return
    before, flaw = planned.look()
    known = before is not None and before.status.final and not force
    if flaw is not None:
        typer.echo(f"{planned.folder}: {flaw}; the run is done again", err=True)
    if plot and before is not None:
        check_place(planned.folder / "loss.png")
    _say(note := note_of(planned.config))
    with experiment.interruptible() as stop, display(quiet or as_json) as shown:
        shown.start(planned.label, 0, 1)
        here = before if known and rank is None else None
        done = here or experiment.execute(planned, stop, shown, force, looked=True, rank=rank)
        _end_or_show(rank, done, stop, shown)
    if note is None and done.status == "completed":  # on a network the data say how many updates there are
        _say(note_of(planned.config, done.summary["steps"]))
    _say_untold(known and bool(callback))
    _show(done, known, plot, as_json, folders)
    exit_for([done], stop)


def _one_of_several(planned: Planned, dry_run: bool) -> Rank | None:
    """What this process is of those that do a run together, None of one; checks, before torch is there, that they
    can."""
    from optbench.cli.ranked import outlive_the_others
    from optbench.errors import UserError
    from optbench.experiment.several import check_can_share
    from optbench.ranks import of_environment

    if (rank := of_environment()) is None:
        return None
    if dry_run:
        raise UserError("--dry-run tries ten updates in one process", "leave out torchrun")
    check_can_share(planned, rank)
    outlive_the_others()
    return rank


def _say_untold(is_untold: bool) -> None:
    if is_untold:
        typer.echo("callbacks are told of runs that execute; optbench export tells of this one", err=True)


def _end_or_show(rank: Rank | None, done: Run, stop: Stop, shown: Display) -> None:
    """Shows that a run ended; ends other processes than the first one, which says and draws what there is."""
    if rank is not None and not rank.is_first:
        exit_for([done], stop)
        raise typer.Exit
    shown.end(done)


def _say(note: str | None) -> None:
    print_lines([f"note: {note}"] if note else [], err=True)


def _show(done: Run, known: bool, plot: bool, as_json: bool, config_dirs: Sequence[Path]) -> None:
    """Prints a run, and draws it where that was asked for; `known`: it was done before."""
    figures = []
    if plot:
        from optbench.landscape import draw_run

        figures = draw_run(done, config_dirs)
    if as_json:
        print_json({**done.summary, "path": done.path})
        return
    from optbench.report import run_lines

    print_lines([*run_lines(done), *(f"figure    {f}" for f in figures)])
    if known:
        typer.echo("this run was done already; --force runs it again", err=True)


def _say_how_long(planned: Planned, as_json: bool) -> None:
    """What a run will take; nothing is written."""
    from dataclasses import asdict

    from optbench.launch.probe import outlook_lines, outlook_of

    before = planned.recorded()
    status = before.status if before is not None else "to do"
    found = outlook_of(planned)
    if as_json:
        facts = {"run_id": planned.run_id, "path": planned.folder, "status": status}
        print_json({**facts, **asdict(found), "seconds": found.seconds})
        return
    print_lines([f"{planned.label}: {status}", *outlook_lines(found), str(planned.folder)])


def exit_for(runs: list[Run], stop: Stop) -> None:
    """The exit code of an interrupt (130 after Ctrl-C), 3 if a run failed."""
    if any(r.status == "interrupted" for r in runs):
        raise typer.Exit(stop.exit_code)
    if any(r.status == "failed" for r in runs):
        raise typer.Exit(3)
