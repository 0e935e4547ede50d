"""The table of the chapter: every command in it runs, every prediction exists, and both languages say the same."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from command_tools import invoke
from members import ROOT

from applebook.claim import load_claims

PAGES = ("docs/coverage.md", "docs/coverage.zh-CN.md")
ROW = re.compile(r"^\| (.+?) \| `(optbench [^`]+)` \| \[`(\w+)\.(\w+)`\]\(([\w.-]+)#(\w+)\) \|$", re.MULTILINE)


def rows(page: str) -> list[tuple[str, ...]]:
    return ROW.findall((ROOT / page).read_text(encoding="utf-8"))


def test_every_row_is_read_and_both_pages_have_the_same() -> None:
    english, chinese = (rows(page) for page in PAGES)
    for page, found in zip(PAGES, (english, chinese), strict=True):
        lines = [line for line in (ROOT / page).read_text("utf-8").splitlines() if line.startswith("| ")]
        headings = sum(line.startswith(("| in the text", "| 书中内容")) for line in lines)
        assert len(found) == len(lines) - headings > 50
    assert [row[1:4] for row in english] == [row[1:4] for row in chinese]


def test_every_prediction_exists_and_every_claim_is_there() -> None:
    claims = {claim.id: {p.id for p in claim.predictions} for claim in load_claims()}
    named = [(claim, prediction, anchor) for _, _, claim, prediction, _, anchor in rows(PAGES[0])]
    for claim, prediction, anchor in named:
        assert claim == anchor
        assert prediction in claims[claim], f"{claim}.{prediction}"
    assert {claim for claim, _, _ in named} == set(claims)


def expanded(word: str) -> list[str]:
    """As a shell would: the folders that a pattern below outputs/ names."""
    return sorted(map(str, Path().glob(word))) if word.startswith("outputs/") and "*" in word else [word]


@pytest.mark.slow
def test_every_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the text, in one folder: later commands may look at what earlier ones recorded."""
    monkeypatch.chdir(tmp_path)
    for _, command, *_ in rows(PAGES[0]):
        words = [w for word in shlex.split(command)[1:] for w in expanded(word)]
        code, out, err = invoke(capsys, *words)
        assert code == 0, f"{command}\n{err}"
        assert out.strip(), command
