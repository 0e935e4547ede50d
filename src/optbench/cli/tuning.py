"""tune: settings searched as hard for each optimizer, chosen on some seeds, reported on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optbench.cli.common import (
    Callbacks,
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
    typer.Option("--against", help="Another optimizer, tuned as hard: adam, adam+sam.", show_default=False),
]
Method = Annotated[str, typer.Option("--method", help="quasirandom, random, halving or tpe (needs optbench[tune]).")]
Spaces = Annotated[
    list[str] | None,
    typer.Option("--space", metavar="NAME:RANGE", help="What is searched of one optimizer alone (repeatable).",
                 show_default=False),
]  # fmt: skip
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
    space: Spaces = None,
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
    callback: Callbacks = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Tune optimizers, each as hard as the others, and report on seeds that no choice has seen.

    What is searched over is what the YAML of an optimizer says (optbench list optimizer, its lines `# tune:`), or
    an interval or choices that you give, of one optimizer alone with --space. The setting with the best median over
    the tuning seeds is chosen. Every run is recorded; the same command again makes only what is missing. An
    experiment with a suite is tuned problem by problem.

    Examples:

      optbench tune model=rosenbrock optimizer=adam --against momentum,rmsprop trainer.start=random

      optbench tune model=mlp optimizer=sgd 'optimizer.lr=tag(log,interval(1e-3,1))' --trials 8

      optbench tune model=mlp optimizer=adam,sgd --space 'adam:optimizer.lr=tag(log,interval(1e-4,10))'

      optbench tune model=mlp optimizer=adamw,sgd --method halving --trials 27 --dry-run

      optbench tune model=mlp optimizer=adamw --against adamw+sam --trials 8 --callback tensorboard

      optbench tune experiment=suite/quick optimizer=momentum --against adam --trials 6
    """
    from optbench.config.callbacks import parse_callbacks
    from optbench.experiment import interruptible
    from optbench.launch.sweep import Options
    from optbench.records.chosen import chosen
    from optbench.tuning import Tuner, tasks_of, tuned_json, tuned_lines

    given, others = list(overrides or ()), [one for text in against or () for one in text.split(",") if one]
    asked = [*given, *others, *(space or ()), str(trials), method, str(tune_seeds), str(search_seed)]
    tasks = tasks_of(
        given, folder_of(out or _FOLDER, name, "tune", asked),
        against=others, trials=trials, method=method, tuning_seeds=tune_seeds, report_seeds=report_seeds,
        search_seed=search_seed, config_dirs=paths(config_dir), checkpoint=chosen(checkpoint), own=space or (),
    )  # fmt: skip
    if dry_run:
        _print_plans(tasks, as_json)
        return
    options = Options(least=2, callbacks=parse_callbacks(callback or (), paths(config_dir)))
    watching = partial(watch_sweep, quiet=quiet or as_json, checkpoint=chosen(checkpoint))
    with interruptible() as stop:
        found = []
        for task in tasks:
            found.append(Tuner(task, stop, lambda n, label: watching(n, label=label), options, _workers(jobs)).run())
            if not as_json:
                print_lines([*tuned_lines(found[-1]), str(task.folder), *[""][: len(tasks) - 1]])
            if stop.requested:
                break
    if as_json:
        made = [tuned_json(one) for one in found]
        print_json(made if len(tasks) > 1 else made[0])
    if stop.requested:
        raise typer.Exit(stop.exit_code)


def _workers(jobs: int | None) -> dict[str, int]:
    """What --jobs says of the launcher."""
    return {} if jobs is None else {"jobs": jobs}


def folder_of(out: Path, name: str | None, command: str, asked: Sequence[str]) -> Path:
    """Where the runs of a search go: the same command finds its own results again."""
    import hashlib
    import re

    from optbench.errors import UserError

    if name is not None and not re.fullmatch(r"[\w][\w.,=+-]*", name):
        raise UserError(f"--name {name}: expected letters, digits and . , = + -")
    digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()[:8]
    return out / (name or f"{command}-{digest}")


def _print_plans(tasks: Sequence[Task], as_json: bool) -> None:
    """What would be searched and run, problem by problem."""
    plans = [_plan(task) for task in tasks]
    if as_json:
        print_json(plans if len(plans) > 1 else plans[0])
        return
    for task, plan in zip(tasks, plans, strict=True):
        _print_plan(task, plan)
    if len(plans) > 1:
        print_lines([f"{sum(plan['runs'] for plan in plans)} runs on {len(plans)} problems"])


def _plan(task: Task) -> dict[str, Any]:
    """What would be searched and run, as plain data."""
    from optbench.protocol import around_name
    from optbench.tuning import spaces_of
    from optbench.tuning.search import rungs

    spaces = spaces_of(task)
    tries = sum(n for n, _ in rungs(task.trials)) if task.method == "halving" else task.trials
    runs = tries * len(task.tuning) + 2 * len(task.report)
    return {
        "folder": task.folder, "runs": runs * len(spaces),
        "contenders": [
            {"optimizer": around_name(planned.choices), "runs": runs,
             "space": [{"override": one.override(), "source": sources.get(one.key, "")} for one in space]}
            for space, sources, planned in spaces.values()
        ],
    }  # fmt: skip


def _print_plan(task: Task, plan: Mapping[str, Any]) -> None:
    chosen = len(task.report)
    for one in plan["contenders"]:
        tries = (one["runs"] - 2 * chosen) // len(task.tuning)
        print_lines([f"{one['optimizer']}: {one['runs']} runs ({tries} settings x {len(task.tuning)} seeds, then the "
                     f"chosen one and the defaults x {chosen})"])  # fmt: skip
        print_lines([f"  {each['override']}  ({each['source']})" for each in one["space"]])
    print_lines([f"{plan['runs']} runs into {task.folder}"])
