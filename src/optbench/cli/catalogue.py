"""list, config and doctor: what there is, what would run, and whether this machine is fit."""

from __future__ import annotations

from typing import Annotated

import typer

from optbench.cli.common import ConfigDir, Json, Overrides, paths, print_json, print_lines
from optbench.cli.complete import complete_group

_ZOO, _OF_ZOO = "zoo", "optimizer"
"""The extra that brings optimizers of other packages, and their group."""


def list_choices(
    group: Annotated[
        str | None,
        typer.Argument(
            help="model, data, augment, collate, loss, optimizer, wrap, scheduler, trainer, "
            "experiment, metric or callback.",
            autocompletion=complete_group,
            show_default=False,
        ),
    ] = None,
    zoo: Annotated[
        bool, typer.Option("--zoo", help="List the optimizers of other packages, which the extra zoo brings.")
    ] = False,
    config_dir: ConfigDir = None,
    as_json: Json = False,
) -> None:
    """List what there is to choose from, with one line each.

    What the extra zoo brings is listed by --zoo alone.

    Examples:

      optbench list

      optbench list optimizer

      optbench list --zoo
    """
    from dataclasses import asdict

    from optbench.catalogue import CALLBACK, METRIC, catalogue
    from optbench.errors import UserError

    found = catalogue(group, paths(config_dir))
    entries = [e for e in found if (e.extra == _ZOO) == zoo]
    if zoo and group not in (None, _OF_ZOO):
        raise UserError(f"the zoo has optimizers, and nothing of '{group}'")
    if as_json:
        print_json([asdict(e) for e in entries])
        return
    width = max((len(e.name) for e in entries), default=0)
    shown = None
    for entry in entries:
        if entry.group != shown:
            head = {CALLBACK: "--callback ", METRIC: "trainer.metrics=[...]"}.get(entry.group, f"{entry.group}=")
            typer.secho(("" if shown is None else "\n") + head, bold=True)
            shown = entry.group
        book = f"; book: {entry.book}" if entry.book else ""
        typer.echo(f"  {entry.name:<{width}}  {entry.description}{book}" + ("  (yours)" if entry.own else ""))
    if (others := len(found) - len(entries)) and not zoo:
        typer.echo(f"\n{others} more from other packages (pip install 'optbench[{_ZOO}]'): optbench list --zoo")


def config(overrides: Overrides = None, config_dir: ConfigDir = None, as_json: Json = False) -> None:
    """Print the composed configuration and run nothing.

    Examples:

      optbench config model=hw3_cnn optimizer=radam

      optbench config model=hw3_cnn --json
    """
    from optbench.config import Composer
    from optbench.experiment.sources import with_sources
    from optbench.records import run_id

    with Composer(paths(config_dir)) as composer:
        composed = with_sources(composer.compose(overrides or []).config)
    if as_json:
        print_json(composed)
        return
    import yaml

    typer.echo(yaml.safe_dump(composed, sort_keys=False, allow_unicode=True), nl=False)
    if not composed["data"].get("root"):
        typer.echo(f"# run_id {run_id(composed)}")


def doctor(as_json: Json = False) -> None:
    """Report what this machine offers: versions, device, threads, torchvision, conf, whether results can be written.

    Exit code 1 when something needed does not work.
    """
    from optbench.doctor import examine

    facts = examine()
    if as_json:
        print_json([{"what": f.what, "value": f.value, "ok": f.ok, "whole": f.whole} for f in facts])
    else:
        width = max(len(f.what) for f in facts)
        print_lines([f"{f.word:<4}  {f.what:<{width}}  {f.value}" for f in facts])
    if not all(f.ok for f in facts):
        raise typer.Exit(1)
