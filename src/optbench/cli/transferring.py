"""transfer: whether the best learning rate of a small network is that of a large one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import (
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
    watch_sweep,
)

if TYPE_CHECKING:
    from optbench.metrics.optimum import Optimum
    from optbench.tuning.transfer import Question, Transfer

_FOLDER = Path("outputs/transfer")
_DEFAULT = "optimizer.lr=1e-4,3e-4,1e-3,3e-3,1e-2,3e-2,1e-1,3e-1"

Widths = Annotated[str | None, typer.Option("--widths", help="Widths to go over: 32,64,128.", show_default=False)]
Depths = Annotated[str | None, typer.Option("--depths", help="Or depths.", show_default=False)]
Batches = Annotated[str | None, typer.Option("--batches", help="Or sizes of batches.", show_default=False)]
Base = Annotated[
    int | None, typer.Option("--base", help="Width at which muP changes nothing.", min=1, show_default="the smallest")
]
Only = Annotated[str, typer.Option("--parametrization", help="both, standard or mup.")]
Seeds = Annotated[int, typer.Option("--seeds", help="Seeds of each width and rate.", min=1)]
Metric = Annotated[str, typer.Option("--metric", help="final_loss, val_loss or best_val_loss.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for results.", show_default=False)]
Name = Annotated[str | None, typer.Option("--name", help="Folder name of the runs.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would run; run nothing.")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", help="Worker processes.", show_default=False)]


def transfer(
    overrides: Overrides = None,
    widths: Widths = None,
    depths: Depths = None,
    batches: Batches = None,
    base: Base = None,
    only: Only = "both",
    seeds: Seeds = 3,
    metric: Metric = "final_loss",
    plot: Plot = None,
    lang: Lang = None,
    config_dir: ConfigDir = None,
    out: Out = None,
    name: Name = None,
    dry_run: DryRun = False,
    jobs: Jobs = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show whether the best learning rate moves with the width: under the standard parametrisation, and under muP.

    For networks whose YAML names the setting that is their width (# width: model.KEY) or depth, and for sizes of
    batches. The rates are the values of optimizer.lr, by default eight from 1e-4 to 0.3. Every run is recorded; the
    same command again makes only what is missing. muP is for SGD and Adam and their kin.

    Examples:

      optbench transfer model=mlp optimizer=adam --widths 32,64,128,256 --plot transfer.png

      optbench transfer model=gpt optimizer=adam optimizer.lr=1e-3,3e-3,1e-2,3e-2 --widths 16,32,64 --seeds 2

      optbench transfer model=mlp optimizer=momentum --batches 8,32,128
    """
    from optbench.cli.tuning import folder_of
    from optbench.experiment import interruptible
    from optbench.tuning.transfer import RATE, carry_out, question_of
    from optbench.tuning.transfer_words import transfer_json, transfer_lines

    axis, text = _axis(widths, depths, batches)
    check_figure(plot)
    given = list(overrides or ())
    asked = given if any(o.lstrip("+").startswith(f"{RATE}=") for o in given) else [*given, _DEFAULT]
    key = [*asked, axis, text, str(base), only, str(seeds), metric]
    question = question_of(
        asked, folder_of(out or _FOLDER, name, "transfer", key),
        axis=axis, sizes=_sizes(f"--{_OPTIONS[axis]}", text), base=base, only=only, seeds=seeds, metric=metric,
        config_dirs=paths(config_dir),
    )  # fmt: skip
    if dry_run:
        _print_plan(question, as_json)
        return
    with interruptible() as stop:
        found = carry_out(
            question, stop, lambda count, label: watch_sweep(count, quiet or as_json, label, "last"), jobs
        )
    if as_json:
        print_json(transfer_json(found))
    else:
        print_lines([*transfer_lines(found), str(question.folder)])
    if plot is not None and found.curves:
        _draw(found, plot)
    if stop.requested:
        raise typer.Exit(stop.exit_code)


_OPTIONS = {"width": "widths", "depth": "depths", "batch": "batches"}


def _axis(widths: str | None, depths: str | None, batches: str | None) -> tuple[str, str]:
    """Which axis is asked for, and its sizes as typed. Raises UserError."""
    from optbench.errors import UserError

    given = [(axis, text) for axis, text in zip(_OPTIONS, (widths, depths, batches), strict=True) if text is not None]
    if len(given) != 1:
        said = " and ".join(f"--{_OPTIONS[axis]}" for axis, _ in given) if given else "no sizes"
        raise UserError(f"{said}: expected one of --widths, --depths and --batches", "e.g. --widths 32,64,128")
    return given[0]


def _sizes(option: str, text: str) -> list[int]:
    """Raises UserError for what are no sizes."""
    from optbench.errors import UserError

    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"{option} {text}: expected whole numbers above 0, such as 32,64,128")
    return [int(part) for part in parts]


def _print_plan(question: Question, as_json: bool) -> None:
    cells = list(dict.fromkeys((cell.name, cell.overrides) for cell in question.cells))
    if as_json:
        print_json({"folder": question.folder, "runs": question.runs, "rates": list(question.rates),
                    "sweeps": [{"name": name, "overrides": list(given)} for name, given in cells]})  # fmt: skip
        return
    each = len(question.rates) * question.seeds
    print_lines([f"{name}: {' '.join(given)} ({each} runs)" for name, given in cells])
    print_lines([f"{question.runs} runs into {question.folder}"])


def _marked(best: Optimum | None) -> tuple[float, float, float, float] | None:
    return None if best is None else (best.value, best.low, best.high, best.least)


def _draw(found: Transfer, plot: Path) -> None:
    from optbench.plot import save
    from optbench.plot.transfer import Sized, transfer_figure
    from optbench.statistics import STATISTICS
    from optbench.tuning.transfer import STANDARD

    names = {kind: "standard parametrisation" if kind == STANDARD else "muP" for kind in ("standard", "mup")}
    panels = []
    for kind in dict.fromkeys(one.parametrisation for one in found.curves):
        curves = [Sized(one.size, one.losses, _marked(one.best)) for one in found.of(kind)]
        panels.append((names[kind], curves))
    asked = found.question
    note = f"lines: median of {asked.seeds} seeds; bands: least to largest"
    loss = STATISTICS[asked.metric].title
    save(transfer_figure(asked.problem, asked.axis, loss, asked.rates, panels, note), plot)
    typer.echo(f"figure {plot}", err=True)
