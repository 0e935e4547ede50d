"""export: recorded runs, told to callbacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.common import Callbacks, ConfigDir, Json, Quiet, paths, print_json, print_lines

_MOST_SAID = 10


def export(
    where: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Run folders, sweep folders, or folders of them.", show_default=False),
    ],
    callback: Callbacks = None,
    config_dir: ConfigDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write recorded runs for TensorBoard, MLflow or Weights & Biases, or tell a callback of yours.

    The same as `run --callback` and `sweep --callback` do while runs execute, afterwards and from the records: each
    run's configuration, the curve that it kept, and how it ended. Nothing is run, no record is changed.

    Examples:

      optbench export outputs/ --callback tensorboard

      optbench export outputs/sweeps/race --callback mlflow:uri=sqlite:///mlflow.db

      optbench export outputs/ --callback wandb:project=mine --callback tensorboard:folder=tb
    """
    from optbench.cli.progress import counter_of_many
    from optbench.comparison.filters import nothing
    from optbench.config.callbacks import parse_callbacks
    from optbench.errors import UserError
    from optbench.experiment.watching import tell
    from optbench.records import read
    from optbench.records.run import read_columns

    if not callback:
        raise UserError("export: expected --callback", "e.g. --callback tensorboard; see optbench list callback")
    told = parse_callbacks(callback, paths(config_dir))
    found = read(where)
    runs = found.runs()
    if not runs:
        raise nothing(where, found.unreadable)
    print_lines([f"not read: {one.path}: {one.why}" for one in found.unreadable], err=True)
    failed: list[str] = []
    took = dict.fromkeys((name for name, _ in told.nodes), 0)
    curves = read_columns(runs)
    with counter_of_many("telling", quiet or as_json) as progress:
        for done, (run, columns) in enumerate(zip(runs, curves, strict=True), 1):
            words: list[str] = []
            for name in tell(run, columns, told.nodes, words.append):
                took[name] += 1
            failed += [f"{run.run_id}: {one}" for one in words]
            progress(done, len(runs))
    print_lines(failed[:_MOST_SAID], err=True)
    if len(failed) > _MOST_SAID:
        print_lines([f"... and {len(failed) - _MOST_SAID} more like these"], err=True)
    bare = sum(not columns for columns in curves)
    if as_json:
        print_json({"runs": len(runs), "without_curve": bare, "callbacks": list(took), "told": took, "failed": failed})
    else:
        without = f"; {bare} without a curve, as none was kept" if bare else ""
        print_lines([f"{name}: told of {_share(told_of, len(runs))}{without}" for name, told_of in took.items()])
    if failed:
        raise typer.Exit(1)


def _share(some: int, runs: int) -> str:
    of = "" if some == runs else f"{some} of "
    return f"{of}{runs} run{'s' * (runs != 1)}"
