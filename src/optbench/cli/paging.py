"""compare --html and view: the page of a comparison, in a file or served while a sweep runs."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optbench.cli.common import ConfigDir, Lang, Which, paths, print_lines
from optbench.cli.targets import aim_of
from optbench.errors import OptbenchError, UserError

if TYPE_CHECKING:
    from optbench.comparison import Comparison
    from optbench.comparison.targets import Aim
    from optbench.pages import Asked, Ground, Looked, Networks
    from optbench.records import Run

SUFFIXES = (".html", ".htm")


def check_page(path: Path | None) -> Path | None:
    """The same path; refuses, before the work, one that is no page by its name or cannot be written."""
    if path is None:
        return None
    from optbench.records import check_place

    check_place(path.expanduser())
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--html {path}: expected a file ending in {' or '.join(SUFFIXES)}")
    return path


def asked_of(aim: Aim, config_dir: list[Path] | None, networks: Networks | None = None) -> Asked:
    """What a page is asked for: in the language that is meant, with the command line that makes it."""
    from importlib.metadata import version

    from optbench.language import language
    from optbench.pages import Asked

    def ground(run: Run) -> Ground:
        from optbench.experiment.surface import recorded_ground

        return recorded_ground(run, paths(config_dir))

    command = ["optbench", *sys.argv[1:]]
    return Asked(language(), command, aim, ground, networks, version("optbench"))


def networks_of(most: int | None, config_dir: list[Path] | None) -> Networks:
    """Networks that say what they get wrong: at most so many, or a few quick ones. torch is imported for the first."""
    from optbench.pages import Networks

    dirs = paths(config_dir)
    known: dict[tuple[str, str | None, int], Looked] = {}

    def looked_at(run: Run, checkpoint: str | None, count: int) -> Looked:
        from optbench.prediction.worst import looked_at

        key = run.run_id, checkpoint, count
        if key not in known:  # a page that is followed asks again and again
            known[key] = looked_at(run, checkpoint, dirs, count)
        return known[key]

    def thumbnails(run: Run, names: Collection[str], checkpoint: str | None) -> Mapping[str, bytes]:
        from optbench.prediction.worst import thumbnails

        return thumbnails(run, names, checkpoint, dirs)

    return Networks(looked_at, thumbnails, most)


def write_page(path: Path, found: Comparison, each: Comparison, asked: Asked) -> None:
    """Writes the page of a comparison and prints its name.

    Args:
        path: of the file.
        found: the comparison.
        each: of the same runs, every setting a group of its own.
        asked: see `pages.Asked`.
    """
    from optbench.pages import document, page
    from optbench.records import write_bytes

    made = document(found, each, asked)
    write_bytes(path, page(made).encode())
    typer.echo(str(path))
    print_lines(made["unread"], err=True)


_Places = Annotated[list[Path], typer.Argument(metavar="PATH", help="Run folders, sweep folders, or folders of them.")]
_Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", "-f", help="Keep runs where key=value holds (also != < > and ~glob).", metavar="TEST"),
]
_GroupBy = Annotated[
    str | None, typer.Option("--group-by", "-g", help="Keys that make a group, comma-separated.", metavar="KEYS")
]
_Port = Annotated[
    int, typer.Option("--port", help="Port on 127.0.0.1; 0: any that is free.", min=0, max=65535, metavar="PORT")
]


def view(
    where: _Places,
    filters: _Filters = None,
    group_by: _GroupBy = None,
    port: _Port = 0,
    config_dir: ConfigDir = None,
    checkpoint: Which = None,
    lang: Lang = None,
) -> None:
    """Serve the page of compare --html while a sweep runs: it follows the records as they are written.

    On this machine alone (127.0.0.1), under an address with a token that nobody else has; it only reads. Ctrl-C ends
    it. On another machine: ssh -L PORT:127.0.0.1:PORT, and the same address here.

    Examples:

      optbench view outputs/

      optbench view outputs/sweeps/race --port 8000 --group-by optimizer
    """
    from optbench.pages.serve import Server

    if missing := [str(path) for path in where if not path.exists()]:
        raise UserError(f"{missing[0]}: there is no such file or folder", "give the folder that the sweep writes to")
    asked = asked_of(aim_of(None, "", None, config_dir), config_dir, networks_of(None, config_dir))
    try:
        server = Server(lambda: _now(where, filters or (), group_by, checkpoint, asked), port)
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}", "--port 0 takes one that is free") from error
    with server:
        typer.echo(server.address)
        typer.echo("Ctrl-C ends it", err=True)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            typer.echo("ended", err=True)


def _now(
    where: list[Path], filters: Sequence[str], group_by: str | None, checkpoint: str | None, asked: Asked
) -> Mapping[str, Any]:
    """The document of what is recorded at this moment; where there is nothing to compare, one that says why."""
    from optbench.comparison import compare, read_runs
    from optbench.pages import document
    from optbench.pages.document import waiting
    from optbench.records import read

    try:
        if not len(read(where)):
            return waiting(asked)
        runs = read_runs(where)
        found = compare(runs, filters=filters, group_by=group_by, checkpoint=checkpoint)
        each = found if group_by is None else compare(runs, filters=filters, checkpoint=checkpoint)
        return document(found, each, asked)
    except OptbenchError as error:  # such as seeds that allow no choice yet, which those to come may
        return waiting(asked, f"{error.message} {error.hint or ''}".strip())
