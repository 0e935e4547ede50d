"""The command line: one verb a command, a few lines each. Everything but typer is imported inside the commands, so that
`--help` costs what typer costs and a wrong override is named before torch is loaded. Other packages register further
commands under the entry points `optbench.commands`."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Annotated, Any, NamedTuple

import typer

from optbench.cli.collecting import spare
from optbench.cli.common import FREE, report_error
from optbench.cli.ranked import after_the_first, check_command, silent_unless_first
from optbench.cli.streams import guarded_streams
from optbench.errors import Interrupted, OptbenchError, UserError
from optbench.ranks import Rank, of_environment

log = logging.getLogger(__name__)


class Command(NamedTuple):
    """A verb of the command line.

    Attributes:
        name, line: as the overview has them.
        place: its function, `module:function`.
        overrides: whether it takes Hydra overrides.
        goes_on: whether the same command, after an interrupt, finds what was recorded and goes on from there.
    """

    name: str
    line: str
    place: str
    overrides: bool = False
    goes_on: bool = False

    def function(self) -> Callable[..., None]:
        """Its function; importing the module that has it. Raises UserError where that fails."""
        module, _, name = self.place.partition(":")
        try:
            found: Callable[..., None] = getattr(importlib.import_module(module), name)
        except Exception as error:  # it may be another package's code
            reason = f"{self.place} cannot be loaded ({error!r})"
            raise UserError(f"{self.name}: {reason}", "reinstall the package that brings this command") from error
        return found


COMMANDS = (
    Command("run", "Run one configuration and record it.", "optbench.cli.running:run", True, True),
    Command("sweep", "Run every combination and compare them.", "optbench.cli.sweeping:sweep", True, True),
    Command("tune", "Tune optimizers, report on fresh seeds.", "optbench.cli.tuning:tune", True, True),
    Command("which", "Find the best optimizer within a budget.", "optbench.cli.which:which", True, True),
    Command("transfer", "Show whether the best rate moves.", "optbench.cli.transferring:transfer", True, True),
    Command("compare", "Compare recorded runs.", "optbench.cli.results:compare"),
    Command("view", "Follow a sweep in the browser.", "optbench.cli.paging:view"),
    Command("rank", "Rank configurations in a sentence.", "optbench.cli.ranking:rank"),
    Command("plot", "Draw loss curves, or paths on a surface.", "optbench.cli.results:plot"),
    Command("classify-critical", "Find and classify critical points.", "optbench.cli.critical:classify_critical", True),
    Command("power", "Say how many seeds a difference needs.", "optbench.cli.planning:power"),
    Command("cost", "Measure what optimizers cost.", "optbench.cli.costing:cost", True),
    Command("verify", "Run again and compare the numbers.", "optbench.cli.verifying:verify"),
    Command("import", "Make records of other tools' logs.", "optbench.cli.importing:import_logs"),
    Command("export", "Write runs for TensorBoard, MLflow, W&B.", "optbench.cli.exporting:export"),
    Command("curvature", "Describe the loss where a run stopped.", "optbench.cli.curvature:curvature"),
    Command("check-proof", "Check a certificate of critical points.", "optbench.cli.proof:check_proof"),
    Command("basins", "Show where each start of a grid ends.", "optbench.cli.exploring:basins", True),
    Command("play", "Make a page to play with.", "optbench.cli.playing:play", True, True),
    Command("sensitivity", "Show the outcome over the learning rate.", "optbench.cli.exploring:sensitivity", True),
    Command("evaluate", "Compute accuracy and confusion matrix.", "optbench.cli.homework:evaluate"),
    Command("predict", "Classify images, write submission.csv.", "optbench.cli.homework:predict"),
    Command("explain", "Show what a network looks at.", "optbench.cli.explaining:explain"),
    Command("list", "List what there is to choose from.", "optbench.cli.catalogue:list_choices"),
    Command("config", "Print a composed configuration.", "optbench.cli.catalogue:config", True),
    Command("cache", "Show what is kept on disk, or empty it.", "optbench.cli.caching:cache"),
    Command("doctor", "Report what this machine offers.", "optbench.cli.catalogue:doctor"),
)
GROUP = "optbench.commands"
"""Entry points of this group are further commands, each the Command of an installed package."""


def registered() -> Iterator[Command]:
    """The commands that installed packages register, by name; one that cannot be loaded says so in its line."""
    from importlib.metadata import entry_points

    taken = {command.name for command in COMMANDS}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        if point.name in taken:
            log.warning("the command %s of %s is left out: another command has that name", point.name, point.value)
            continue
        taken.add(point.name)
        try:
            yield point.load()
        except Exception as error:  # another package's code
            yield Command(point.name, f"Cannot be loaded ({error!r}).", point.value)


def every_command() -> list[Command]:
    """The commands of this command line, optbench's own first."""
    return [*COMMANDS, *registered()]


def _unused() -> None:
    """Stands for a command that is only named in the overview."""


def _at_home(function: Callable[..., None]) -> Callable[..., None]:
    """The same command, with `~` expanded in its paths: no shell does that in `--out=~/runs` or between quotes."""

    @functools.wraps(function)
    def called(**given: Any) -> None:
        function(**{name: _expanded(value) for name, value in given.items()})

    return called


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(one) for one in value]
    return type(value)(os.path.expanduser(value)) if isinstance(value, PurePath) else value


def build_app(wanted: str | None = None) -> typer.Typer:
    """The command line.

    Args:
        wanted: the one command that is going to be used. The others are then named and not built: typer takes a
            millisecond or two to read the options of each, which `--help` need not pay. None: all of them.

    Raises:
        UserError: the command is another package's and cannot be loaded.
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
    own = any(command.name == wanted for command in COMMANDS)  # looking for others takes some milliseconds
    for command in COMMANDS if own else every_command():
        function = command.function() if wanted in (None, command.name) else _unused
        context = FREE if command.overrides else None
        app.command(command.name, short_help=command.line, context_settings=context)(_at_home(function))
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


_INTERRUPTED = (129, 130, 143)
"""Exit codes after SIGHUP, Ctrl-C and SIGTERM."""


def _said(code: int) -> int:
    """The exit code; after an interrupt it is said what the same command does now."""
    if code in _INTERRUPTED:
        wanted = next((command for command in every_command() if command.name == _wanted()), None)
        goes_on = wanted is not None and wanted.goes_on
        what = "goes on from what is recorded" if goes_on else "starts from the beginning: it keeps nothing"
        typer.echo(f"interrupted; the same command {what}", err=True)
    return code


def main() -> None:
    """Runs the command line; optbench's own errors end it in one to three lines and their exit code."""
    spare()
    with guarded_streams():
        try:
            rank = of_environment()
        except UserError as error:
            report_error(error)
            sys.exit(error.exit_code)
        with silent_unless_first(rank):
            code = _run_command(rank)
        sys.exit(code)


def _run_command(rank: Rank | None) -> int:
    """The exit code of the command on the command line."""
    verbose = os.environ.get("OPTBENCH_TRACEBACK") == "1"
    try:
        if rank is not None:
            check_command(_wanted(), rank)
        code: int | None = build_app(_wanted())(prog_name="optbench", standalone_mode=False)
        sys.stdout.flush()
        return _said(code or 0)
    except _UsageError as error:
        _report_usage(error)
        return 2
    except OptbenchError as error:
        if verbose:
            raise
        if rank is not None and not rank.is_first:
            after_the_first(error, rank)
        report_error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort) as error:
        return _said(error.exit_code if isinstance(error, Interrupted) else 130)
    except BrokenPipeError:
        return 1  # the reader is gone: nothing more to say
    except OSError as error:
        if error.filename is None or verbose:
            raise
        report_error(UserError(f"{error.filename}: {error.strerror}"))  # a name too long, another user's folder
        return 2
