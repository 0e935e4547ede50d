"""which: the optimizer, schedule and loss that train a problem best, found within a budget."""

from __future__ import annotations

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
from optbench.cli.tuning import Jobs, Name, SearchSeed, Spaces, folder_of

if TYPE_CHECKING:
    from optbench.tuning.tournament import Question

_FOLDER = Path("outputs/which")
_CURVES = 250  # of a batch: it is from curves that the answer says how runs ended
_Budget = Annotated[
    str, typer.Option("--budget", help="What it may cost: 90s, 10m, 2h, or 200runs.", metavar="TIME|RUNS")
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and its cost; run nothing.")]


def which(
    overrides: Overrides = None,
    budget: _Budget = "10m",
    space: Spaces = None,
    search_seed: SearchSeed = 0,
    config_dir: ConfigDir = None,
    out: Out = None,
    name: Name = None,
    dry_run: _DryRun = False,
    jobs: Jobs = None,
    checkpoint: Which = None,
    callback: Callbacks = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the optimizer, schedule and loss that train a problem best, within a budget, and say how sure that is.

    Contenders are all combinations of optimizer=, scheduler=, loss= and wrap=; without them a short list. Each tries
    the same number of settings on tuning seeds with short runs, the better half goes on with longer ones, and the best
    meet on fresh seeds. Every run is recorded; the same command again makes only what is missing, and with a larger
    --budget it goes on from there.

    Examples:

      optbench which model=mlp data=digits --budget 10m

      optbench which model=rosenbrock trainer.start=random optimizer=gd,adam --budget 200runs

      optbench which model=mlp optimizer=sgd,adamw loss=cross_entropy,mse_softmax --budget 1h --dry-run

      optbench which model=mlp optimizer=sgd,adamw 'wrap=none,sam,[clip,lookahead]' --budget 20m
    """
    from optbench.config.callbacks import parse_callbacks
    from optbench.experiment import interruptible
    from optbench.launch.sweep import Options
    from optbench.records.chosen import chosen
    from optbench.tuning.answer import answer_json, answer_lines
    from optbench.tuning.budget import Budget
    from optbench.tuning.tournament import Tournament, question_of

    given, checked = list(overrides or ()), Budget.read(budget)
    told = parse_callbacks(callback or (), paths(config_dir))
    asked = [*given, *(space or ()), checked.kind, str(search_seed)]
    question = question_of(
        given, folder_of(out or _FOLDER, name, "which", asked), checked,
        search_seed=search_seed, config_dirs=paths(config_dir), checkpoint=chosen(checkpoint), own=space or (),
    )  # fmt: skip
    if dry_run:
        _print_plan(question, as_json)
        return
    with interruptible() as stop:
        found = Tournament(
            question,
            stop,
            lambda count, label: watch_sweep(count, quiet or as_json, label, question.checkpoint),
            Options(least=2, recorded=_CURVES, callbacks=told),
            {} if jobs is None else {"jobs": jobs},
        ).run()
    if as_json:
        print_json(answer_json(found))
    else:
        print_lines(answer_lines(found))
    if stop.requested:
        raise typer.Exit(stop.exit_code)
    if found.failed:
        raise typer.Exit(3)


def _print_plan(question: Question, as_json: bool) -> None:
    """What would be run, and what it costs."""
    from optbench.launch.outlook import duration
    from optbench.launch.probe import outlook_of
    from optbench.tuning.budget import Rate, ladder, lengths, runs_of, size_of_runs, size_of_seconds
    from optbench.tuning.tournament import decided_of, entrants_of, length_of

    entrants, kept = entrants_of(question), decided_of(question)
    key, whole = length_of(entrants)
    unit, n, taken = key.partition(".")[2], len(entrants), kept.taken_over(len(lengths(whole)))
    a_run = outlook_of(entrants[0].planned).seconds
    fixed = kept.size
    if fixed is None and question.budget.runs is not None:
        fixed = size_of_runs(question.budget.runs, n, whole, taken)
    left, rates = (question.budget.seconds or 0.0) - kept.spent, kept.rates or {whole: Rate(a_run)}
    size = fixed or size_of_seconds(left, n, whole, rates, taken)
    rungs = ladder(n, whole, size)
    finalists = min(size.finalists, n)
    seconds = a_run * (size.tuning * sum(rung.runs * rung.share for rung in rungs) + finalists * size.report)
    runs = runs_of(n, whole, size)
    if as_json:
        plan: dict[str, Any] = {
            "folder": question.folder, "runs": runs, "decided": fixed is not None, "seconds": seconds,
            "goes_on_from": {"budgets": kept.before, "runs": kept.taken},
            "contenders": [
                {"contender": one.name, "space": [d.override() for d in one.space]} for one in entrants
            ],
            "rungs": [{"contenders": rung.contenders, "settings": rung.settings, "length": rung.length, "unit": unit,
                       "seeds": size.tuning} for rung in rungs],
            "finalists": finalists, "report_seeds": size.report,
        }  # fmt: skip
        print_json(plan)
        return
    for one in entrants:
        print_lines([f"{one.name}: {', '.join(d.override() for d in one.space)}"])
    for rung in rungs:
        tried = f"{rung.contenders} contenders x {_counted(rung.settings, 'settings')} x "
        print_lines([f"{tried}{_counted(size.tuning, 'seeds')}, {_counted(rung.length, unit)}"])
    print_lines([f"{finalists} finalists x {size.report} fresh seeds, {whole} {unit}"])
    about = "" if fixed is not None else "; the time of the first runs decides"
    if kept.before:
        print_lines(
            [f"goes on from --budget {kept.before[-1]}: {kept.taken} runs are there, and what went on there does here"]
        )
    print_lines([f"{runs} runs, about {duration(seconds)} of computing on one worker (from a probe){about}"])


def _counted(n: int, what: str) -> str:
    """Such as 3 seeds, 1 epoch."""
    return f"{n} {what.removesuffix('s') if n == 1 else what}"
