"""import: logs of other tools as records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import Json, print_json, print_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optbench.foreign import Brought


SeedFrom = Annotated[
    str | None,
    typer.Option(
        "--seed-from",
        help="Setting that is the seed; name: the last number in the run's name.",
        metavar="SETTING",
        show_default="seed",
    ),
]
Ignored = Annotated[
    str | None,
    typer.Option("--ignore", help="Settings that tell nothing apart.", metavar="SETTINGS", show_default=False),
]


def import_logs(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE", help="Log files, or folders of them.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the records.")] = Path("outputs/imported"),
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", help="csv, lightning, wandb, mlflow, tensorboard.", metavar="KIND", show_default="as is found"
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="Columns and settings: loss=nll,seed=run.", metavar="NAMES", show_default="by usual names"
        ),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config", help="Settings of all runs: optimizer=adam,lr=0.1.", metavar="SETTINGS", show_default=False
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Columns of a CSV that tell its runs apart.", metavar="COLUMNS", show_default="run, seed, ..."
        ),
    ] = None,
    seed_from: SeedFrom = None,
    ignore: Ignored = None,
    percent: Annotated[bool, typer.Option("--percent", help="Accuracies are from 0 to 100.")] = False,
    as_json: Json = False,
) -> None:
    """Make records of runs that other tools logged.

    Read are CSV files, folders of Lightning's CSVLogger, charts and run tables that W&B exports, MLflow's mlruns or
    mlflow.db, and TensorBoard's event files.

    compare, plot and power read them like runs of optbench, and beside them. Configuration and seed come from the
    logged hyperparameters; nothing that a log does not tell is made up. The same log is the same record however
    often it is imported. A run whose last loss is not finite counts as diverged, any other as the tool says that it
    ended, or as completed.

    Examples:

      optbench import lightning_logs --config model=resnet18,data=cifar10

      optbench import runs.csv --map loss=train/nll --by lr,seed

      optbench import charts/ runs.csv --kind wandb --config model=gpt2

      optbench import logs --seed-from name --percent --out outputs/theirs
    """
    from optbench.foreign import Wishes, bring
    from optbench.foreign.columns import parse_map
    from optbench.foreign.settings import parse_config

    found = bring(
        sources,
        out,
        Wishes(
            kind, parse_map(columns or ()), parse_config(config or ()), seed_from, _words(ignore), _words(by), percent
        ),
    )
    if as_json:
        print_json(found.to_json())
        return
    print_lines(_lines(found, out))
    print_lines([f"note: {note}" for note in found.notes], err=True)


def _words(text: str | None) -> list[str]:
    return [word for word in (text or "").split(",") if word]


def _lines(found: Brought, out: Path) -> list[str]:
    n = len(found.folders)
    again = f", {found.again} of them again" if found.again else ""
    return [
        f"{n} run{'s' * (n != 1)} ({', '.join(found.kinds)}) in {out}{again}",
        f"columns:   {_pairs(found.columns)}",
        f"settings:  {_pairs(found.settings) or 'none'}",
        f"not read:  {', '.join(found.unused) or 'nothing'}",
        f"now: optbench compare {out}",
    ]


def _pairs(found: Mapping[str, Sequence[str]]) -> str:
    """ "loss = train/loss", a name alone where both are one."""
    return ", ".join(name if list(was) == [name] else f"{name} = {' or '.join(was)}" for name, was in found.items())
