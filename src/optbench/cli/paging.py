"""compare --html and view: the page of a comparison, in a file or served while a sweep runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from optbench.cli.common import paths
from optbench.errors import UserError

if TYPE_CHECKING:
    from optbench.comparison import Comparison
    from optbench.comparison.targets import Aim
    from optbench.pages import Asked, Ground
    from optbench.records import Run

SUFFIXES = (".html", ".htm")


def check_page(path: Path | None) -> Path | None:
    """The same path; refuses, before the work, one that is no page by its name or cannot be written."""
    if path is None:
        return None
    from optbench.records import check_place

    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--html {path}: expected a file ending in {' or '.join(SUFFIXES)}")
    check_place(path.expanduser())
    return path


def asked_of(aim: Aim, config_dir: list[Path] | None) -> Asked:
    """What a page is asked for: in the language that is meant, with the command line that makes it."""
    from importlib.metadata import version

    from optbench.language import language
    from optbench.pages import Asked

    def ground(run: Run) -> Ground:
        from optbench.experiment.surface import recorded_ground

        return recorded_ground(run, paths(config_dir))

    command = ["optbench", *sys.argv[1:]]
    return Asked(language(), command, aim, ground, version("optbench"))


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

    write_bytes(path, page(document(found, each, asked)).encode())
    typer.echo(str(path))
