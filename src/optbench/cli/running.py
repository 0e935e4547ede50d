"""run and sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import ConfigDir, Force, Json, Out, Overrides, Quiet, paths, print_json, print_lines

if TYPE_CHECKING:
    from optbench.records import Run


def run(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    out: Out = None,
    force: Force = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the run's figures into its folder.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run one configuration and record it.

    The same configuration is the same run: one that is done is shown, not repeated (see --force); one that was
    interrupted goes on.

    Examples:

      optbench run optimizer=rmsprop

      optbench run model=himmelblau optimizer=adam optimizer.lr=0.1 trainer.start=[0,0] --plot

      optbench run model=hw3_cnn model.width=16 trainer.epochs=5
    """
    from optbench import experiment
    from optbench.cli.progress import display

    planned = experiment.plan_run(overrides or [], paths(config_dir), out)
    before = planned.recorded()
    with experiment.interruptible() as stop, display(quiet or as_json) as shown:
        shown.start(planned.label, 0, 1)
        done = experiment.execute(planned, stop, shown, force)
        shown.end(done)
    figures = []
    if plot:
        from optbench.landscape import draw_run

        figures = draw_run(done)
    if as_json:
        print_json({**done.summary, "path": done.path})
    else:
        from optbench.report import run_lines

        known = before is not None and before.status.final and not force
        print_lines([*run_lines(done), *(f"figure    {f}" for f in figures)])
        if known:
            typer.echo("this run was done already; --force runs it again", err=True)
    _exit_for([done])


def sweep(
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
    out: Out = None,
    name: Annotated[str | None, typer.Option("--name", help="Folder name of the sweep.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and run nothing.")] = False,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run every combination and compare them.

    Values are swept with commas, range(), choice() and glob(); seeds=10 stands for seed=range(10). Without overrides:
    the book's optimizers on rosenbrock, ten random starts each. The same command again runs only what is missing.

    Examples:

      optbench sweep optimizer=sgd,momentum,adam optimizer.lr=1e-3,1e-2 seeds=5 trainer.start=random

      optbench sweep model=hw3_cnn model.width=16 optimizer=adam,radam seeds=3

      optbench sweep +experiment=book_optimizers --dry-run
    """
    from optbench import experiment
    from optbench.cli.progress import display

    wanted = overrides or ["experiment=book_optimizers"]
    planned = experiment.plan_sweep(wanted, paths(config_dir), out, name)
    if dry_run:
        _print_plan(planned, as_json)
        return
    with experiment.interruptible() as stop, display(quiet or as_json) as shown:
        runs = list(experiment.execute_all(planned, stop, shown, force))
    if as_json:
        print_json([{**r.summary, "path": r.path} for r in runs])
    else:
        from optbench.compare import compare
        from optbench.report import print_comparison

        print_comparison(compare([r.path for r in runs if r.path is not None]))
        typer.echo(f"{len(runs)} of {len(planned)} runs in {planned[0].folder.parent}", err=True)
    _exit_for(runs, interrupted=stop.requested)


def _print_plan(planned: list, as_json: bool) -> None:  # type: ignore[type-arg]
    rows = []
    for item in planned:
        found = item.recorded()
        todo = found is None or not found.status.final
        rows.append(
            {
                "run_id": item.run_id,
                "status": "to do" if todo or found is None else str(found.status),
                "label": item.label,
                "path": item.folder,
                **item.swept,
            }
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['status']:>15}  {row['label']}")
    left = sum(row["status"] == "to do" for row in rows)
    typer.echo(f"{len(rows)} runs planned, {left} to do, in {planned[0].folder.parent}", err=True)


def _exit_for(runs: list[Run], interrupted: bool = False) -> None:
    """Exit code 130 after an interrupt, 3 if a run failed; failures are listed again at the end."""
    failed = [r for r in runs if r.status == "failed"]
    if len(failed) and len(runs) > 1:
        typer.echo(f"{len(failed)} of {len(runs)} runs failed:", err=True)
        for r in failed:
            typer.echo(f"  {r.path}: {r.reason}", err=True)
    if interrupted or any(r.status == "interrupted" for r in runs):
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(3)
