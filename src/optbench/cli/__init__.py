"""The command line: one verb a command, a few lines each. Everything but typer is imported inside the commands, so that
`--help` costs what typer costs and a wrong override is named before torch is loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
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

COMMANDS: tuple[tuple[str, str, Callable[..., None], bool], ...] = (
    ("run", "Run one configuration and record it.", running.run, True),
    ("sweep", "Run every combination and compare them.", running.sweep, True),
    ("compare", "Compare recorded runs.", results.compare, False),
    ("plot", "Draw loss curves, or paths on a surface.", results.plot, False),
    ("classify-critical", "Find and classify critical points.", critical.classify_critical, True),
    ("evaluate", "Accuracy and confusion matrix of a run.", homework.evaluate, False),
    ("predict", "Classify images, write submission.csv.", homework.predict, False),
    ("list", "List what there is to choose from.", catalogue.list_choices, False),
    ("config", "Print a composed configuration.", catalogue.config, True),
    ("doctor", "Say what this machine offers.", catalogue.doctor, False),
)
"""Name, line in the overview, function, and whether it takes overrides."""

for _name, _line, _function, _overrides in COMMANDS:
    app.command(_name, short_help=_line, context_settings=FREE if _overrides else None)(_function)


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
