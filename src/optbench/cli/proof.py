"""Certificates as files: classify-critical --certificate writes one, check-proof repeats what it proves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.common import Json, Quiet, print_json, print_lines
from optbench.errors import OutputError, UserError

if TYPE_CHECKING:
    from optbench.critical import CriticalSet
    from optbench.problem import Objective


def check_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What classify-critical --certificate wrote.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a certificate of critical points, independently of the search that wrote it.

    The checker is one file of plain Python (optbench/check_proof.py) with an exact interval arithmetic of its own. It
    prints the function as a formula, for you to compare, and what is proved of it. Exit code 0: accepted, 1: refused,
    2: not a certificate, or one that cannot be checked. "python check_proof.py FILE" does the same without optbench.

    Examples:

      optbench classify-critical --fn himmelblau --certificate proof.json

      optbench check-proof proof.json
    """
    from optbench import check_proof as checker
    from optbench.cli.progress import counter

    try:
        certificate = checker.load(file.read_bytes())
        with counter(f"checking {file.name}", quiet or as_json) as progress:
            verdict = checker.check(certificate, progress and (lambda share: progress(share, 1.0)))
    except checker.Unreadable as error:
        raise UserError(f"{file} cannot be checked: {error}") from None
    except checker.Refused as error:
        if as_json:
            print_json({"accepted": False, "reason": str(error)})
        else:
            typer.echo(f"REFUSED: {error}")
        raise typer.Exit(1) from None
    if as_json:
        print_json({"accepted": True, **checker.to_json(certificate, verdict)})
    else:
        print_lines(checker.describe(certificate, verdict))


def check_option(place: Path, method: str | None) -> None:
    """Refuses --certificate where it cannot be served, before the work.

    Args:
        place: the file to be written.
        method: of the search, as asked for.
    """
    from optbench.records import check_place

    if method == "numeric":
        raise UserError("--certificate writes a proof; --method numeric proves nothing", "drop one")
    if place.exists() and not place.is_dir():
        raise OutputError(f"{place} already exists", "choose another name for --certificate, or remove the file")
    check_place(place)


def write(objective: Objective, found: CriticalSet, place: Path, seconds: float, quiet: bool, aside: bool) -> None:
    """Writes the certificate of what was found, after its checker has accepted it, and says what it proves.

    Args:
        objective: the function searched.
        found: by a certified search.
        place: the file.
        seconds: budget of the pass that cuts the box anew.
        quiet: no progress display.
        aside: whether to say so on standard error.
    """
    from optbench.cli.progress import counter
    from optbench.critical.second_proof.certificate import write_certificate
    from optbench.records import write_bytes

    with counter(f"certificate of {found.surface}", quiet) as progress:
        tell = None if progress is None else (lambda share, phrase: progress(share, 1.0))
        written = write_certificate(objective, found, seconds=seconds, progress=tell)
    write_bytes(place, written.text.encode())
    typer.echo(f"certificate {place}, checked. {written.lines[-1]}", err=aside)
    if found.complete and written.open:
        why = f"--budget {seconds:g} ran out, or there were too many cells, before all were closed"
        if found.counts()["degenerate"]:
            why = "a certificate cannot hold degenerate points: around them its cells stay open"
        typer.echo(f"the search has proved more than the certificate: {why}", err=aside)
