"""Chinese as a native reader reads it: the glossary's words, no English left over, no blank that a folded line left."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml
from members import ROOT

from applebook.claim import STRAY, load_claims
from applebook.words import PHRASES, WORDS
from optbench.pages.words import PHRASES as OF_PAGES
from optbench.play.build import WORDS as OF_PLAY
from optbench.play.lesson import lessons
from optbench.plot.translate import PHRASES as FIGURES

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.zh-CN.md"), *ROOT.glob("docs/*.zh-CN.md")])
ENGLISH = re.compile(r"(?:\b[a-z]{2,}\b[ ,]+){2,}\b[a-z]{2,}\b")
"""Three plain words in a row: a name alone may be what one types."""


def prose(page: str) -> str:
    """A page without what is code, a link's target or HTML."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`|<[^>\n]*>|\$[^$\n]*\$", "X", text)
    return re.sub(r"\]\([^)]*\)", "]", text)


def texts() -> dict[str, str]:
    """Everything in Chinese, by where it stands."""
    found = {page: prose(page) for page in PAGES}
    lists = {f"{path.parent.name}/{path.name}": path for path in (PHRASES, FIGURES, OF_PAGES, OF_PLAY)}
    found |= {name: "\n".join(yaml.safe_load(path.read_text("utf-8")).values()) for name, path in lists.items()}
    found["words"] = "\n".join(WORDS["zh"].values())
    for lesson in lessons().values():
        parts = [lesson.title, lesson.challenge["text"], lesson.solution["text"]]
        found[f"lesson {lesson.name}"] = "\n".join([*lesson.text["zh"], *(part["zh"] for part in parts)])
    for claim in load_claims():
        parts = [claim.section, claim.title, claim.says, claim.setup, claim.note]
        parts += [*(p.quantity for p in claim.predictions), *claim.figures.values(), *claim.tables.values()]
        found[claim.id] = "\n".join(part["zh"] for part in parts)
    return found


TEXTS = texts()


def glossary() -> list[tuple[str, list[str], list[str]]]:
    """English, the words for it, the words that are not used for it."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]*)\|$", (ROOT / "docs/glossary.md").read_text("utf-8"), re.M)
    return [(en.strip(), zh.strip().split("，"), [w for w in no.strip().split("，") if w]) for en, zh, no in rows[1:]]


def test_the_glossary_has_one_word_for_one_thing() -> None:
    rows = glossary()
    assert len(rows) > 30
    used = [word for _, words, _ in rows for word in words]
    assert len(used) == len(set(used))
    assert not set(used) & {word for _, _, ruled_out in rows for word in ruled_out}
    everything = "".join(TEXTS.values())
    for english, words, _ in rows:
        assert any(word in everything for word in words), f"{english}: nothing uses {words}"


@pytest.mark.parametrize("where", TEXTS)
def test_chinese_keeps_to_the_glossary(where: str) -> None:
    for english, words, ruled_out in glossary():
        for word in ruled_out:
            assert word not in TEXTS[where], f"{word}: {english} is {'，'.join(words)}"


def test_the_notebook_keeps_to_the_glossary() -> None:
    """Its cells are in both languages: what is Chinese in them."""
    cells = json.loads((ROOT / "examples" / "book.ipynb").read_text(encoding="utf-8"))["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"]]
    chinese = [part for line in lines for part in line.split(" · ") if re.search("[\u4e00-\u9fff]", part)]
    assert len(chinese) > 10
    assert [part for part in chinese for _, _, ruled_out in glossary() for word in ruled_out if word in part] == []
    assert [part for part in chinese if STRAY.search(part.strip())] == []


@pytest.mark.parametrize("where", TEXTS)
def test_no_sentence_is_left_in_english(where: str) -> None:
    assert not ENGLISH.search(TEXTS[where])


@pytest.mark.parametrize("where", TEXTS)
def test_no_blank_stands_beside_a_full_width_mark(where: str) -> None:
    bare = re.sub(r"^(?:#+|[-*>|]|\d+\.) +| \| ?|\| -+|\*\*|(?<=[：，]) *(?=\{)", "\n", TEXTS[where], flags=re.M)
    for line in bare.splitlines():
        assert not STRAY.search(line.strip()), line


@pytest.mark.parametrize("page", PAGES)
def test_no_paragraph_is_wrapped(page: str) -> None:
    """A line break within a paragraph is shown as a blank."""
    for above, below in itertools.pairwise(prose(page).splitlines()):
        whole = all(line and line[0] not in "#|>![X-" and not line.endswith("\\") for line in (above, below))
        assert not (whole and STRAY.search(f"{above} {below}")), f"{above}\n{below}"


@pytest.mark.parametrize("page", PAGES)
def test_a_chinese_page_shows_chinese_figures(page: str) -> None:
    shown = re.findall(r"\]\(([^)]*\.(?:png|svg))\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [name for name in shown if not name.endswith((".zh.png", ".zh.svg"))] == []


@pytest.mark.parametrize("path", [PHRASES, FIGURES], ids=lambda path: path.parent.name)
def test_no_chinese_stands_beside_a_formula_in_one_text_of_a_figure(path: Path) -> None:
    """matplotlib sets such a text in the formula's font alone, which shows boxes for Chinese."""
    known = yaml.safe_load(path.read_text(encoding="utf-8")).values()
    assert [text for text in known if "$" in text and re.search(r"[\u4e00-\u9fff]", text)] == []


def test_what_the_tests_look_for_is_found() -> None:
    assert ENGLISH.search("图中 the median loss 是")
    assert not ENGLISH.search("用 book_adam 和 momentum 比较")
    for stray in ("椭圆、 新月", "不精准； RAdam", "正比。 “训练", "所用 （", "两 字"):
        assert STRAY.search(stray), stray
    assert not STRAY.search("用 Adam 时，“σ”很小（见 3.1）")
