"""The command line: one verb a command, a few lines each. Everything but typer is imported inside the commands, so that
`--help` costs what typer costs and a wrong override is named before torch is loaded."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from optbench.cli import catalogue, critical, homework, results, running
from optbench.cli.common import FREE, report_error
from optbench.errors import OptbenchError

app = typer.Typer(
    name="optbench",
    help="Which optimizer, schedule and loss trains this, and why?",
    epilog="Start with: optbench run optimizer=rmsprop",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("run", context_settings=FREE)(running.run)
app.command("sweep", context_settings=FREE)(running.sweep)
app.command("compare")(results.compare)
app.command("plot")(results.plot)
app.command("classify-critical")(critical.classify_critical)
app.command("evaluate")(homework.evaluate)
app.command("predict")(homework.predict)
app.command("list")(catalogue.list_choices)
app.command("config", context_settings=FREE)(catalogue.config)
app.command("doctor")(catalogue.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"optbench {version('optbench')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command line; optbench's own errors end it in one to three lines and their exit code."""
    try:
        app(prog_name="optbench")
    except OptbenchError as error:
        if os.environ.get("OPTBENCH_TRACEBACK") == "1":
            raise
        report_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: nothing more to say
        sys.exit(1)
