"""The site of documentation: it builds without a warning, holds everything there is, and asks nobody for anything."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from members import ROOT

import optbench
from optbench.catalogue import catalogue
from optbench.cli import every_command
from optbench.play.lesson import lessons
from optbench.records import Status

TINY = re.compile(r"\b\d(\.\d+)?e-[12]\d\b")
"""Numbers at the level of rounding, whose digits are the machine's."""


class Page(HTMLParser):
    """The text of a page, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words: list[str] = []
        self.loaded: list[str] = []
        self.pictures: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe") and given.get("src"):
            self.loaded.append(given["src"] or "")
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "preconnect", "icon"):
            self.loaded.append(given.get("href") or "")
        if tag == "img":
            self.pictures.append(given.get("src") or "")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site") / "页 面"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # strict: a link that leads nowhere is an error
    return folder


@pytest.mark.slow
def test_everything_there_is_stands_on_the_site(site: Path) -> None:
    commands = Page(site / "commands.html").text
    assert [c.name for c in every_command() if f"Usage: optbench {c.name} " not in commands] == []
    choices = Page(site / "choices.html").text
    assert [e for e in catalogue() if e.name not in choices or e.description.split("  ")[0] not in choices] == []
    pages = {path.name for path in (site / "lessons").glob("*.html")}
    assert pages == {f"{name}{ending}" for name in lessons() for ending in (".html", ".zh.html")}
    api = (site / "api.html").read_text(encoding="utf-8")
    homes = [f"{getattr(optbench, name).__module__}.{name}" for name in optbench.__all__]
    assert [home for home in homes if f'id="{home}"' not in api] == []


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere_and_every_picture_is_there(site: Path) -> None:
    pages = sorted(site.glob("*.html"))
    assert len(pages) > 12
    for path in pages:
        page = Page(path)
        assert page.loaded
        assert [link for link in page.loaded if "//" in link] == [], path.name
        assert [p for p in page.pictures if not (site / p).exists()] == [], path.name


@pytest.mark.slow
@pytest.mark.parametrize(("words", "page"), [("himmelblau", "commands.html"), ("批量归一化", "book.zh-CN.html")])
def test_the_search_works_where_the_site_is_opened_from_disk(site: Path, tmp_path: Path, words: str, page: str) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser to open the site with")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom",
               f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000"]  # fmt: skip
    address = f"{(site / 'start.html').as_uri()}?q={quote(words)}"
    done = subprocess.run([browser, *options, address], capture_output=True, text=True, check=False, timeout=300)
    found = re.findall(r'<a href="([^"]*)" class="md-search-result__link"', done.stdout)
    assert (site / page).as_uri() in found


def test_every_status_has_its_line() -> None:
    text = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [status.value for status in Status]


@pytest.mark.slow
def test_the_walk_through_prints_what_it_shows(tmp_path: Path) -> None:
    """Every command of docs/start.md that is shown with its output, in order, from one empty folder."""
    text = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n\$ optbench (.*?)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    env = os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for words, expected in blocks:
        command = [sys.executable, "-m", "optbench", *shlex.split(words)]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        output = done.stdout or done.stderr  # an error has no output
        shown, printed = (TINY.sub("0", text) for text in (expected, output))
        assert doctest.OutputChecker().check_output(shown, printed, flags), f"{words}\n{printed}"
