"""What the commands share: options, and how an error ends a command. It imports only typer and the error tree."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optbench.cli.complete import complete_override
from optbench.errors import OptbenchError

if TYPE_CHECKING:
    from optbench.launch.sweep import SweepWatcher

FREE = {"ignore_unknown_options": True}
"""Lets overrides such as ~scheduler through as positional arguments."""

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OVERRIDES]...",
        help="Hydra overrides: group=choice (optimizer=adam) or key=value (optimizer.lr=1e-3). See 'optbench list'.",
        autocompletion=complete_override,
        show_default=False,
    ),
]
ConfigDir = Annotated[
    list[Path] | None,
    typer.Option("--config-dir", help="Your own conf folder, laid over optbench's (repeatable).", show_default=False),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder for results.", show_default=False),
]
Plot = Annotated[Path | None, typer.Option("--plot", help="Draw into this file (.png .svg .pdf).", show_default=False)]


def _choose_language(asked: str | None) -> str | None:
    from optbench.language import choose

    choose(asked)
    return asked


Lang = Annotated[
    str | None,
    typer.Option(
        "--lang",
        help="Language of pages and figures: en or zh.",
        callback=_choose_language,
        metavar="LANGUAGE",
        show_default="OPTBENCH_LANG, or the locale's",
    ),
]
Which = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        help="Which accuracy of a network counts: of its best epoch on the validation data, or of the last.",
        metavar="best|last",
        show_default="OPTBENCH_CHECKPOINT, or best",
    ),
]
Callbacks = Annotated[
    list[str] | None,
    typer.Option(
        "--callback",
        help="Told of every run: tensorboard, mlflow, wandb or yours (repeatable; NAME:KEY=VALUE,...).",
        metavar="NAME",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Run again even what is already done.")]


def _read_box(text: str) -> Any:
    from optbench.critical.typed.parse import parse_box

    return parse_box(text)


def _read_point(text: str) -> Any:
    from optbench.critical.typed.parse import parse_point

    return parse_point(text)


# Read once, as the command line is; `fit_box` and `fit_point` fit them to a surface.
Box = Annotated[
    Any,
    typer.Option(
        "--box", help="lo,hi;lo,hi (one pair serves all axes).", metavar="BOX", parser=_read_box, show_default=False
    ),
]
Point = Annotated[
    Any,
    typer.Option("--at", help="Look at one point only: x,y", metavar="POINT", parser=_read_point, show_default=False),
]


def paths(folders: list[Path] | None) -> list[Path]:
    """The folders, or none."""
    return list(folders or ())


def watch_sweep(
    count: int | None, quiet: bool, label: str = "all runs", checkpoint: str | None = None
) -> AbstractContextManager[SweepWatcher]:
    """Reports a sweep's runs to the user (`count` of them, if known): a live table on a terminal, else lines.

    Args:
        count, label: as LiveSweep has them.
        quiet: lines alone.
        checkpoint: as --checkpoint has it.
    """
    from optbench.cli.progress import watched
    from optbench.cli.sweep_display import LiveSweep, PlainSweep
    from optbench.records.chosen import chosen

    return nullcontext(PlainSweep(quiet)) if quiet or not watched() else LiveSweep(count, label, chosen(checkpoint))


def check_figure(path: Path | None) -> None:
    """Refuses, before the work, a figure of unknown format or one that cannot be written; None passes."""
    if path is None:
        return
    from optbench.plot import check_suffix
    from optbench.records import check_place

    check_suffix(path)
    check_place(path)


def print_json(value: Any) -> None:
    """Prints one strict JSON document."""
    from optbench.records import to_json

    typer.echo(to_json(value))


def report_error(error: OptbenchError) -> None:
    """Prints an error in one line and its hint in another, on standard error."""
    typer.secho(f"error: {error.message}", fg=typer.colors.RED, err=True)
    if error.hint:
        typer.echo(error.hint, err=True)


def print_lines(lines: list[str], err: bool = False) -> None:
    """Prints lines of plain text; on a terminal, sentences that are longer than it is wide break between words."""
    stream = sys.stderr if err else sys.stdout
    width = shutil.get_terminal_size().columns if stream is not None and stream.isatty() else None
    for line in lines:
        typer.echo(line if width is None else wrapped(line, width), err=err)


def wrapped(line: str, width: int) -> str:
    """A sentence in lines of at most `width` characters, below its own beginning where it is indented or stands beside
    a name; rows of a table of more columns and sentences with a path, which is there to be copied, stay as they are."""
    before, sentence = re.fullmatch(r"(\s*(?:\S+\s{2,})?)(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]
    if len(line) <= width or len(before) > width // 2 or "  " in sentence or re.search(r"\S/\S*[/.]|/\S", sentence):
        return line
    inside = textwrap.wrap(sentence, width - len(before), break_long_words=False, break_on_hyphens=False)
    return before + ("\n" + " " * len(before)).join(inside)
