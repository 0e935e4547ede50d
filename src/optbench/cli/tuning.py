"""tune: settings searched as hard for each optimizer, chosen on some seeds, reported on others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import (
    ConfigDir,
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

if TYPE_CHECKING:
    from optbench.tuning import Task

_FOLDER = Path("outputs/tune")


Against = Annotated[
    list[str] | None,
    typer.Option("--against", help="Another optimizer, tuned as hard (repeatable).", show_default=False),
]
Method = Annotated[str, typer.Option("--method", help="quasirandom, random, halving or tpe (needs optbench[tune]).")]
Trials = Annotated[int, typer.Option("--trials", help="Settings that each may try.", min=1)]
TuneSeeds = Annotated[int, typer.Option("--tune-seeds", help="Seeds to choose by: 0, 1 ...", min=1)]
ReportSeeds = Annotated[int, typer.Option("--report-seeds", help="Fresh seeds to report on.", min=1)]
SearchSeed = Annotated[int, typer.Option("--search-seed", help="Of the search's own draws.", min=0)]
Name = Annotated[str | None, typer.Option("--name", help="Folder name of the tuning.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the spaces and the runs; run nothing.")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", help="Worker processes.", show_default=False)]


def tune(
    overrides: Overrides = None,
    against: Against = None,
    trials: Trials = 16,
    method: Method = "quasirandom",
    tune_seeds: TuneSeeds = 3,
    report_seeds: ReportSeeds = 10,
    search_seed: SearchSeed = 0,
    config_dir: ConfigDir = None,
    out: Out = None,
    name: Name = None,
    dry_run: DryRun = False,
    jobs: Jobs = None,
    checkpoint: Which = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tune optimizers, each as hard as the others, and report on seeds that no choice has seen.

    What is searched over is what the YAML of an optimizer says (optbench list optimizer, its lines `# tune:`), or an
    interval or choices that you give. The setting with the best median over the tuning seeds is chosen. Every run is
    recorded; the same command again makes only what is missing.

    Examples:

      optbench tune model=rosenbrock optimizer=adam --against momentum,rmsprop trainer.start=random

      optbench tune model=mlp optimizer=sgd 'optimizer.lr=tag(log,interval(1e-3,1))' --trials 8

      optbench tune model=mlp optimizer=adamw,sgd --method halving --trials 27 --dry-run
    """
    from optbench.experiment import interruptible
    from optbench.launch.sweep import Options
    from optbench.records.chosen import chosen
    from optbench.tuning import Tuner, task_of, tuned_json, tuned_lines

    given = list(overrides or ())
    others = [one for text in against or () for one in text.split(",") if one]
    asked = [*given, *others, str(trials), method, str(tune_seeds), str(search_seed)]
    task = task_of(
        given, folder_of(out or _FOLDER, name, "tune", asked),
        against=others, trials=trials, method=method, tuning_seeds=tune_seeds, report_seeds=report_seeds,
        search_seed=search_seed, config_dirs=paths(config_dir), checkpoint=chosen(checkpoint),
    )  # fmt: skip
    if dry_run:
        _print_plan(task, as_json)
        return
    with interruptible() as stop:
        result = Tuner(
            task,
            stop,
            lambda count, label: watch_sweep(count, quiet or as_json, label, task.checkpoint),
            Options(least=2),
            {} if jobs is None else {"jobs": jobs},
        ).run()
    if as_json:
        print_json(tuned_json(result))
    else:
        print_lines([*tuned_lines(result), str(task.folder)])
    if stop.requested:
        raise typer.Exit(stop.exit_code)


def folder_of(out: Path, name: str | None, command: str, asked: Sequence[str]) -> Path:
    """Where the runs of a search go: the same command finds its own results again."""
    import hashlib
    import re

    from optbench.errors import UserError

    if name is not None and not re.fullmatch(r"[\w][\w.,=+-]*", name):
        raise UserError(f"--name {name}: expected letters, digits and . , = + -")
    digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()[:8]
    return out / (name or f"{command}-{digest}")


def _print_plan(task: Task, as_json: bool) -> None:
    """What would be searched and run."""
    from optbench.tuning import spaces_of
    from optbench.tuning.search import rungs

    spaces = spaces_of(task)
    tries = sum(n for n, _ in rungs(task.trials)) if task.method == "halving" else task.trials
    runs = {name: tries * len(task.tuning) + 2 * len(task.report) for name in spaces}
    if as_json:
        print_json({
            "folder": task.folder, "runs": sum(runs.values()),
            "contenders": [
                {"optimizer": name, "runs": runs[name],
                 "space": [{"override": one.override(), "source": sources.get(one.key, "")} for one in space]}
                for name, (space, sources, _) in spaces.items()
            ],
        })  # fmt: skip
        return
    for name, (space, sources, _) in spaces.items():
        print_lines([f"{name}: {runs[name]} runs ({tries} settings x {len(task.tuning)} seeds, then the chosen one and "
                     f"the defaults x {len(task.report)})"])  # fmt: skip
        print_lines([f"  {one.override()}  ({sources.get(one.key, '')})" for one in space])
    print_lines([f"{sum(runs.values())} runs into {task.folder}"])
