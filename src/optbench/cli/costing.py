"""cost: what optimizers cost on a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optbench.cli.common import ConfigDir, Json, Overrides, Quiet, paths, print_json, print_lines

if TYPE_CHECKING:
    from optbench.cost import Row

DEFAULT = ["model=mlp", "optimizer=sgd,momentum,adam,adamw,lion,muon"]


def cost(
    overrides: Overrides = None,
    repeats: Annotated[
        int, typer.Option("--repeats", help="Updates that are timed, after 5 that are not.", min=1)
    ] = 50,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
    as_md: Annotated[bool, typer.Option("--md", help="Print Markdown.")] = False,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
) -> None:
    """Measure what optimizers cost on a network: bytes of state, peak memory, time of a step, share of an update.

    Each configuration has a process of its own, one after another. Nothing is recorded. One that fails is a row with
    its reason, and the exit code is then 3. Times of different devices, batches or networks stand in tables of their
    own. Optimizers of your own are found in --config-dir. Without overrides: six optimizers on the mlp.

    Examples:

      optbench cost model=mlp optimizer=sgd,adam,lion,muon

      optbench cost model=hw3_cnn data=synthetic_food optimizer=adamw,muon --md

      optbench cost model=mlp optimizer=adam trainer.batch_size=32,256 --repeats 200 --csv
    """
    from optbench import experiment
    from optbench.cli.progress import counter_of_many
    from optbench.cost import cost_rows, csv_text, markdown_text, plan_costs, text_lines
    from optbench.errors import UserError

    forms = [form for form, wanted in (("csv", as_csv), ("json", as_json), ("md", as_md)) if wanted]
    if len(forms) > 1:
        raise UserError(f"--{forms[0]} and --{forms[1]}: choose one form")
    silent = quiet or bool(forms)
    with counter_of_many("reading pictures", silent) as progress:
        planned = plan_costs(overrides or DEFAULT, paths(config_dir), progress)
    with experiment.interruptible() as stop, _watched(len(planned), silent) as told:
        rows = list(cost_rows(planned, repeats, stop, told))
    if as_json:
        print_json(_document(rows, repeats))
    elif as_csv:
        typer.echo(csv_text(rows), nl=False)
    elif as_md:
        typer.echo(markdown_text(rows), nl=False)
    else:
        print_lines(text_lines(rows))
    failed = [row for row in rows if row.reason]
    print_lines([f"failed: {row.label}: {row.reason}" for row in failed], err=True)
    if stop.requested:
        print_lines([f"interrupted: {len(rows)} of {len(planned)} were measured"], err=True)
        raise typer.Exit(stop.exit_code)
    if failed:
        raise typer.Exit(3)


def _document(rows: Sequence[Row], repeats: int) -> dict[str, Any]:
    from optbench.cost import json_rows
    from optbench.cost.measure import WARM_UP
    from optbench.experiment.provenance import package_version, processor
    from optbench.launch.probe import load_per_core

    header = {"repeats": repeats, "warm_up": WARM_UP, "processor": processor(), "torch": package_version("torch")}
    return {"header": header | {"load_per_core": load_per_core()}, "rows": json_rows(rows)}


@contextmanager
def _watched(count: int, quiet: bool) -> Iterator[Any]:
    """A callback(label, update, updates) that moves a bar over all configurations, where a person watches."""
    from optbench.cli.progress import counter

    with counter("cost", quiet) as update:
        seen: list[str] = []

        def told(label: str, done: int, total: int) -> None:
            if update is None:
                return
            if label not in seen:
                seen.append(label)
            update(len(seen) - 1 + done / total, count, f"{label}, update {done} of {total}")

        yield told
