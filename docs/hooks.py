"""The pages of the site that are made from what exists: commands, choices, lessons, the Python API, the
papers of the root.

mkdocs calls these hooks (`hooks:` in mkdocs.yml). Nothing here describes anything: the text of the commands is their
own help, the choices are the first lines of their YAML files, the API is the docstrings of what `optbench` exports.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import optbench
from optbench.catalogue import LISTED, Entry, catalogue
from optbench.cli import build_app, every_command
from optbench.comparison.rules import RULES
from optbench.language import LANGUAGES, choose
from optbench.play.lesson import lessons
from optbench.records.vocabulary import curve_columns
from optbench.statistics import INTERVAL, MEDIAN, STATISTICS
from optbench.statistics.of_targets import OF_TARGETS

ROOT = Path(__file__).parents[1]
PAPERS = {
    "README.md": "index.md",
    "README.zh-CN.md": "index.zh-CN.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/results/engine.md": "engine.md",
}
"""Papers of the root -> pages of the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    pages = {page: _paper(paper) for paper, page in PAPERS.items()}
    pages |= {"commands.md": _commands(), "choices.md": _choices(), "rules.md": _rules(), "api.md": _api()}
    pages |= {"lessons.md": _lessons(), **_lesson_pages()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def _paper(paper: str) -> str:
    """A paper of the root with its links turned to where things are on the site; code stays a name."""
    folder = (ROOT / paper).parent

    def turned(match: re.Match[str]) -> str:
        words, link, anchor = match.groups()
        if "://" in link:
            return match[0]
        target = (folder / link).resolve().relative_to(ROOT).as_posix()
        if target in PAPERS or target.startswith("docs/"):
            return f"[{words}]({PAPERS.get(target, target.removeprefix('docs/'))}{anchor or ''})"
        return words if words.startswith("`") else f"{words} (`{target}`)"

    return re.sub(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)", turned, (ROOT / paper).read_text(encoding="utf-8"))


def _commands() -> str:
    lines = ["# Commands\n", "Each command's own help, as `optbench COMMAND --help` prints it.\n"]
    group: Any = typer.main.get_command(build_app())
    for name in (command.name for command in every_command()):
        command = group.commands[name]
        context = command.make_context(f"optbench {name}", [], resilient_parsing=True)
        lines += [f"## {name}\n", "```text", command.get_help(context).strip(), "```\n"]
    return "\n".join(lines)


def _choices() -> str:
    lines = ["# Choices\n", "What `optbench list` prints: `group=name` on the command line.\n"]
    for group, entries in _shelves():
        lines += [f"## {group}\n", "| name | what it is |", "|---|---|"]
        for entry in entries:
            book = f" (book: {entry.book})" if entry.book else ""
            lines.append(f"| `{entry.name}` | {_cell(entry.description + book)} |")
        lines.append("")
    return "\n".join(lines)


def _shelves() -> Iterator[tuple[str, list[Entry]]]:
    """The choices of each group, those of an extra after the others."""
    for group in LISTED:
        entries = catalogue(group)
        yield group, [entry for entry in entries if not entry.extra]
        for extra in sorted({entry.extra for entry in entries} - {""}):
            yield f"{group}, with the extra {extra}", [entry for entry in entries if entry.extra == extra]


def _rules() -> str:
    lines = [
        "# Rules\n",
        "What every number is: the scores of `optbench compare` (`--explain NAME` says the same)",
    ]
    lines += ["and the columns of a run's curve.\n", "## Scores\n"]
    lines += [f"**{_cell(one.name)}** ({_cell(one.title)}): {_cell(one.rule)}.\n" for one in (*STATISTICS.values(), *STATISTICS.of_metrics.values(), *OF_TARGETS.values())]
    lines += [f"Median: {_cell(MEDIAN)}. {_cell(INTERVAL)}.\n"]
    lines += ["## Comparisons\n", *(f"**{name}**: {_cell(rule)}.\n" for name, rule in RULES.items())]
    lines += ["## Columns of a curve\n", "| column | what it is |"]
    lines += ["|---|---|", *(f"| `{one.name}` | {_cell(one.rule)} |" for one in curve_columns(1, True, True))]
    return "\n".join(lines)


def _lessons() -> str:
    lines = [
        "# Lessons · 课程\n",
        "Pages to play with, each with a text and a challenge that the page itself checks: for",
    ]
    lines += ["the sections of the book's chapter. `optbench play --lesson NAME` makes one, `--lang zh` in Chinese.\n"]
    lines += [
        "按书中本章各节安排，可以动手：先看什么，再做一道由网页自己检查的挑战。用 `optbench play --lesson NAME --lang zh` 生成。\n"
    ]
    lines += ["| section | lesson | 课程 |", "|---|---|---|"]
    for one in lessons().values():
        links = (f"[{one.title[language]}]({_lesson_file(one.name, language)})" for language in LANGUAGES)
        lines.append(f"| {one.section} | {' | '.join(links)} |")
    return "\n".join(lines)


def _lesson_file(name: str, language: str) -> str:
    return f"lessons/{name}{'' if language == 'en' else '.' + language}.html"


def _lesson_pages() -> dict[str, str]:
    """The lessons themselves, as the command makes them."""
    command, found = typer.main.get_command(build_app()), {}
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records"
        for name in lessons():
            for language in LANGUAGES:
                file = _lesson_file(name, language)
                own = Path(folder) / Path(file).name
                given = [
                    "play",
                    "--lesson",
                    name,
                    "--lang",
                    language,
                    "--json",
                    "-o",
                    str(own),
                    "--records",
                    str(records),
                ]
                with contextlib.redirect_stdout(io.StringIO()):
                    command.main(given, prog_name="optbench", standalone_mode=False)
                found[file] = own.read_text(encoding="utf-8")
    choose(None)
    return found


def _cell(text: str) -> str:
    for sign in "\\|*_<`":
        text = text.replace(sign, f"\\{sign}")
    return text


def _api() -> str:
    idea, code, rest = (inspect.getdoc(optbench) or "").split("\n\n", 2)
    lines = ["# Python\n", f"{idea}\n", f"```pycon\n{textwrap.dedent(code)}\n```\n", f"{rest}\n"]
    worked = [f"`{name}`: [{title}]({page})" for name, (title, page) in _WORKED.items()]
    lines += [f"Examples to follow from an empty folder: {', '.join(worked)}.\n"]
    homes = [getattr(optbench, name).__module__ for name in optbench.__all__]
    return "\n".join([*lines, *(f"::: {home}.{name}" for home, name in zip(homes, optbench.__all__, strict=True))])


_WORKED = {
    "AbstractData": ("data of your own", "own_data.md#a-class"),
    "Split": ("the same", "own_data.md#a-class"),
    "AbstractSurface": ("a surface of your own", "own_surface.md#a-class"),
    "AbstractPureOptimizer": ("add an optimizer", "contributing.md#add-an-optimizer"),
}
"""Names to derive from, with the pages that show how."""
