"""reproduce: the claims of the book's chapter 3, run, measured and judged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optbench.cli.common import ConfigDir, Force, Json, Lang, Out, Quiet, paths, print_json, print_lines, watch_sweep

if TYPE_CHECKING:
    from applebook.claim import Claim
    from optbench import SweepWatcher


def reproduce(
    claims: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Claims by name or number.", show_default="all of them"),
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="List the claims; run nothing.")] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Fewer seeds and steps: all claims in two minutes; what they cannot judge is withheld."
        ),
    ] = False,
    lang: Lang = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one self-contained page.", show_default=False)
    ] = None,
    docs: Annotated[
        Path | None, typer.Option("--docs", help="Write the Markdown pages into this folder.", show_default=False)
    ] = None,
    out: Out = None,
    config_dir: ConfigDir = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the claims of the Apple Book's chapter 3 as experiments and judge them.

    Each claim is an overlay in conf/experiment/book/ with its predictions written down beforehand. Its runs are
    recorded under outputs/book like any others, with figures, the evidence as CSV and the verdict; what is done is not
    repeated. Pages are made of all claims recorded in that folder.

    Examples:

      optbench reproduce --list

      optbench reproduce momentum

      optbench reproduce --quick --html book.html

      optbench reproduce 13 14 --lang zh
    """
    from applebook.claim import choose, load_claims
    from optbench.language import choose as choose_language

    language = choose_language(lang)
    chosen = choose(load_claims(paths(config_dir)), claims or [])
    if list_only:
        _print_list(chosen, language, as_json)
        return
    from applebook.runner import book_folder, reproduced

    _check_places([book_folder(out, quick) / claim.id for claim in chosen], html, docs)

    def watching(claim: Claim) -> AbstractContextManager[SweepWatcher]:
        return watch_sweep(None, quiet or as_json, f"{claim.number}. {claim.title[language]}")

    done: list[Mapping[str, Any]] = []
    for record in reproduced([c.id for c in chosen], quick, out, paths(config_dir), force, watching=watching):
        done.append(record)
        if not as_json:
            _print_record(record, language)
    if as_json:
        print_json(done)
    folder = book_folder(out, quick)
    _write_pages(folder, html, docs, language)
    _end(done, len(chosen), folder, language)


def _check_places(claims: list[Path], html: Path | None, docs: Path | None) -> None:
    """Checks, before the work, that everything can be written. Raises OutputError."""
    from optbench import check_place

    if html is not None:
        check_place(html)
    for folder in ([] if docs is None else [docs]) + claims:
        check_place(folder, folder=True)


def _print_list(claims: list[Claim], language: str, as_json: bool) -> None:
    if as_json:
        print_json([{"id": c.id, "number": c.number, "title": c.title, "section": c.section, "says": c.says,
                     "predictions": [vars(p) for p in c.predictions],
                     "commands": {a.name: c.command(a) for a in c.arms}} for c in claims])  # fmt: skip
        return
    width = max(len(c.id) for c in claims)
    print_lines([f"{c.number:>2}  {c.id:{width}}  {place_of(c, language):6} {c.title[language]}" for c in claims])


def place_of(claim: Claim, language: str) -> str:
    """The number of the claim's section, the innermost that is named; its first word where it has none."""
    section = claim.section[language]
    return (re.findall(r"\d+(?:\.\d+)+", section) or section.split()[:1])[-1]


def _print_record(record: Mapping[str, Any], language: str) -> None:
    from applebook.words import VERDICTS, WORDS, measured, predicted, sizes, verdict_of

    verdicts, words = VERDICTS[language], WORDS[language]
    lines = [f"{record['number']}. {record['title'][language]}{words['section_in'].format(record['section'][language])}"
             f"{words['colon']}{verdict_of(record, language)}"]  # fmt: skip
    for p in record["predictions"]:
        lines.append(f"   {p['quantity'][language]}")
        judged = words["judged"].format(predicted(p, language), verdicts[p["verdict"]])
        lines.append(f"      {measured(p)} (n = {sizes(p)}){judged}")
    print_lines(lines)


def _write_pages(folder: Path, html: Path | None, docs: Path | None, language: str) -> None:
    if html is None and docs is None:
        return
    from applebook import pages
    from applebook.runner import read_records
    from applebook.words import WORDS
    from optbench import write_bytes

    records = read_records(folder)
    if docs is not None:
        for path in pages.write_docs(records, folder, docs):
            typer.echo(WORDS[language]["page"].format(path), err=True)
    if html is not None:
        write_bytes(html, pages.html(records, folder, language).encode())
        typer.echo(WORDS[language]["page"].format(html), err=True)


def _end(done: list[Mapping[str, Any]], wanted: int, folder: Path, language: str) -> None:
    from applebook.words import WORDS, counted

    counts = counted((record["verdict"] for record in done), language)
    counts = counts and WORDS[language]["colon"] + counts
    typer.echo(WORDS[language]["end"].format(done=len(done), wanted=wanted, counts=counts, folder=folder), err=True)
    if len(done) < wanted:
        raise typer.Exit(130)
