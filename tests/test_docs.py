"""What the documents promise: commands that compose, targets that exist, counts that hold, links that lead there."""

from __future__ import annotations

import doctest
import importlib
import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from members import ROOT

from optbench.cli import every_command
from optbench.config import Composer

PAGES = ["README.md", "README.zh-CN.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/book.md",
         "docs/book.zh-CN.md", "docs/gallery.md", "docs/inside.md", "docs/optimizers.md", "docs/pages.md",
         "docs/pictures.md", "docs/races.md",
         "docs/races.zh-CN.md"]  # fmt: skip
READMES = PAGES[:2]
RACES = PAGES[-2:]


def commands(page: str) -> list[list[str]]:
    """The words of every optbench command in a page's code blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("optbench ")]


@pytest.mark.slow
def test_every_command_exists_and_its_overrides_compose() -> None:
    found = [
        *commands(READMES[0]),
        *commands(RACES[0]),
        *commands("docs/optimizers.md"),
    ]  # the others have the same, see below
    assert len(found) > 20
    known = {command.name for command in every_command()}
    with Composer() as composer:
        for words in found:
            assert words[1] in known, words
            overrides = [w for w in words[2:] if re.match(r"[+~]?[\w./]+=", w) and "data.root" not in w]
            wrong = [o for o in overrides if "lrr" in o]  # the one that shows an error message
            if words[1] in ("run", "sweep", "config") and not wrong:
                plain = [o for o in overrides if not o.startswith("seeds=")]
                plain += ["data.fold=0" for o in overrides if o.startswith("data.folds=")]  # which stands for all
                assert next(iter(composer.grid(plain))).composed.config


def test_both_readmes_have_the_same_sections_commands_and_figures() -> None:
    """What is between backquotes and fences stands in both, in the same order; the words around it are a language's."""
    kinds = {
        "sections": r"^(#+) ", "figures": r"^!\[[^\]]*\]\(([^)]*)\)", "links": r"(?<!!)\[[^\]]*\]\(([^)]*)\)",
        "rows of tables": r"^\| *(`?)",
    }  # fmt: skip
    english, chinese = ((ROOT / page).read_text(encoding="utf-8") for page in READMES)
    for what, pattern in kinds.items():
        found = [re.findall(pattern, text, re.MULTILINE) for text in (english, chinese)]
        swapped = [link.replace("README.zh-CN.md", "README.md").replace(".zh-CN.md", ".md") for link in found[1]]
        swapped = [link.replace(".zh.png", ".png") for link in swapped]
        other = [link.replace("README.zh-CN.md", "README.md") for link in found[0]]
        assert sorted(swapped) == sorted(other), what
        assert what == "links" or swapped == other, what
    code = [re.findall(r"^```(?:\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL) for text in (english, chinese)]
    bare = [[re.sub(r" +#(?![#\d]).*$", "", block, flags=re.MULTILINE) for block in blocks] for blocks in code]
    assert bare[0] == bare[1]
    plain = [re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL) for text in (english, chinese)]
    names = [{" ".join(name.split()) for name in re.findall(r"`([^`]+)`", text)} for text in plain]
    assert names[0] == names[1]


def test_the_pages_of_races_have_the_same_commands_numbers_and_figures() -> None:
    english, chinese = ((ROOT / page).read_text(encoding="utf-8") for page in RACES)
    for pattern in (r"^```\n.*?^```", r"^#+ ", r"`[^`\n]+`", r"\d+\.\d+ \[[^]]*\]", r"images/races/(\w+)"):
        found = [sorted(set(re.findall(pattern, text, re.MULTILINE | re.DOTALL))) for text in (english, chinese)]
        assert found[0] == found[1], pattern
    assert not re.search("@[A-Z]", english + chinese)  # a place for a number that was not filled


@pytest.mark.parametrize("page", PAGES)
def test_targets_of_make_and_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)", text) + re.findall(r"^make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in link or (ROOT / page).parent.joinpath(link).exists(), link


def test_the_surface_of_contributing_is_what_it_says() -> None:
    blocks = [b.partition("```")[0] for b in (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("```python\n")[1:]]
    (block,) = [block for block in blocks if "(AbstractSurface)" in block]
    names: dict[str, Any] = {}
    exec(block, names)
    egg, torch = names["Egg"](), importlib.import_module("torch")
    x = torch.tensor([[0.0, 0.0], [1.0, -2.0]], dtype=torch.float64)
    expected = [0.0, 5.0 + 25.0 * (math.sin(1.0) ** 2 + math.sin(2.0) ** 2)]
    assert egg(x).tolist() == pytest.approx(expected)
    assert egg.minimum == expected[0]


@pytest.mark.parametrize("page", [*READMES, "CHANGELOG.md", "CONTRIBUTING.md", "ARCHITECTURE.md"])
def test_no_page_counts_what_is_there_to_choose_from(page: str) -> None:
    """A new member is a file and a YAML: nothing else has to be edited for it, and no number goes stale."""
    kinds = r"(?:loss\s+)?(?:surfaces|optimizers|schedulers|losses|networks|data sets|augmentations)"
    counted = re.compile(rf"\b\d+\s+{kinds}\b|\d+\s*[个种](?:真值已知的)?(?:误差曲面|优化器|调度|损失函数|数据集)")
    assert not counted.findall((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", READMES)
def test_the_verdicts_of_the_book_are_those_of_the_records(page: str) -> None:
    records = json.loads((ROOT / "docs" / "book.json").read_text(encoding="utf-8"))
    predictions = [p["verdict"] for r in records for p in r["predictions"]]
    verdicts = [r["verdict"] for r in records]
    expected = [len(records), *(verdicts.count(v) for v in ("supported", "depends", "not supported"))]
    expected += [len(predictions), *(predictions.count(v) for v in ("supported", "not supported", "undecided"))]
    text = (ROOT / page).read_text(encoding="utf-8")
    sentence = re.search(r"(?:Of the|在这) *(\d+ .*?)[.。]", text, re.DOTALL)
    assert sentence
    assert [int(n) for n in re.findall(r"\d+", sentence[1])] == expected


@pytest.mark.parametrize("page", READMES)
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["short", "whole"])
def test_the_python_of_a_page_runs(page: str, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands there; short: with fewer steps, without figures and the claims of the book."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        if not whole:
            kept = [line for line in block.splitlines() if not re.search(r"reproduce\(|loss_curves|figure", line)]
            block = re.sub(r"\.(run|sweep)\(", r'.\1("trainer.steps=20", ', "\n".join(kept))
        names: dict[str, Any] = {}
        exec(block, names)
        made = [names["run"], *names.get("runs", [])]
        assert {run.status for run in made} == {"completed"}
        assert len(names["optbench"].compare(made).runs) == len(made)


EXAMPLES = [
    path
    for path in sorted((ROOT / "src").rglob("*.py"))
    if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.M)
]


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name + "." + path.stem)
def test_the_examples_of_docstrings_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_no_example_is_left_out() -> None:
    assert [path for path in EXAMPLES if "+SKIP" in path.read_text(encoding="utf-8")] == []
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("page", READMES)
def test_no_place_holder_is_left(page: str) -> None:
    assert not re.findall(r"\b[A-Z]+_(?:TABLE|VERDICTS)(?:_ZH)?\b", (ROOT / page).read_text(encoding="utf-8"))
