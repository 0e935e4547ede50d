"""The command line: one verb a command, a few lines each. Everything but typer is imported inside the commands, so that
`--help` costs what typer costs and a wrong override is named before torch is loaded."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from optbench.cli.common import FREE, report_error
from optbench.cli.streams import guarded_streams
from optbench.errors import OptbenchError, UserError

COMMANDS: tuple[tuple[str, str, str, bool], ...] = (
    ("run", "Run one configuration and record it.", "running:run", True),
    ("sweep", "Run every combination and compare them.", "sweeping:sweep", True),
    ("compare", "Compare recorded runs.", "results:compare", False),
    ("plot", "Draw loss curves, or paths on a surface.", "results:plot", False),
    ("classify-critical", "Find and classify critical points.", "critical:classify_critical", True),
    ("check-proof", "Check a certificate of critical points.", "proof:check_proof", False),
    ("basins", "Where each start of a grid ends, how fast.", "exploring:basins", True),
    ("sensitivity", "Outcome over the learning rate.", "exploring:sensitivity", True),
    ("reproduce", "Run and judge the book's claims.", "book:reproduce", False),
    ("evaluate", "Accuracy and confusion matrix of a run.", "homework:evaluate", False),
    ("predict", "Classify images, write submission.csv.", "homework:predict", False),
    ("list", "List what there is to choose from.", "catalogue:list_choices", False),
    ("config", "Print a composed configuration.", "catalogue:config", True),
    ("doctor", "Say what this machine offers.", "catalogue:doctor", False),
)
"""Name, line in the overview, module and function, and whether it takes overrides."""


def function_of(place: str) -> Callable[..., None]:
    """The function of a command."""
    module, _, name = place.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(f"optbench.cli.{module}"), name)
    return function


def _unused() -> None:
    """Stands for a command that is only named in the overview."""


def build_app(wanted: str | None = None) -> typer.Typer:
    """The command line.

    Args:
        wanted: the one command that is going to be used. The others are then named and not built: typer takes a
            millisecond or two to read the options of each, which `--help` need not pay. None: all of them.
    """
    app = typer.Typer(
        name="optbench",
        help="Which optimizer, schedule and loss trains this, and why?",
        epilog="Start with: optbench run optimizer=rmsprop",
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, line, place, overrides in COMMANDS:
        function = function_of(place) if wanted in (None, name) else _unused
        app.command(name, short_help=line, context_settings=FREE if overrides else None)(function)
    app.callback()(options)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"optbench {version('optbench')}")
        raise typer.Exit


def options(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Which optimizer, schedule and loss trains this, and why?"""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


_UsageError: type[BaseException] = typer.BadParameter.__mro__[1]
"""What typer raises for a wrong command line; some versions of typer bring their own copy of click's."""


def _report_usage(error: Any) -> None:
    command = error.ctx.command_path if error.ctx is not None else "optbench"
    report_error(UserError(" ".join(error.format_message().split()), f"see {command} --help"))


def _wanted() -> str | None:
    """The command on the command line; an empty word when there is none. None when a shell asks for completions."""
    if "_OPTBENCH_COMPLETE" in os.environ:
        return None
    return next((word for word in sys.argv[1:] if not word.startswith("-")), "")


def main() -> None:
    """Runs the command line; optbench's own errors end it in one to three lines and their exit code."""
    with guarded_streams():
        sys.exit(_run_command())


def _run_command() -> int:
    """The exit code of the command on the command line."""
    verbose = os.environ.get("OPTBENCH_TRACEBACK") == "1"
    try:
        code: int | None = build_app(_wanted())(prog_name="optbench", standalone_mode=False)
        sys.stdout.flush()
        return code or 0
    except _UsageError as error:
        _report_usage(error)
        return 2
    except OptbenchError as error:
        if verbose:
            raise
        report_error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return 1  # the reader left: nothing more to say
    except OSError as error:
        if error.filename is None or verbose:
            raise
        report_error(UserError(f"{error.filename}: {error.strerror}"))  # a name too long, a folder that is not ours
        return 2
