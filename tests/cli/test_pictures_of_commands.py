"""Every page and figure that a command makes is in the language that --lang asks for: the commands are found by their
options, so that a new one is asked too."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
from command_tools import invoke
from figure_words import english
from matplotlib.figure import Figure
from typer.models import OptionInfo

from optbench import language
from optbench.cli import every_command
from optbench.plot import translate

ENGLISH = re.compile(r"(?:\b[a-z]{2,}\b[ ,]+){2,}\b[a-z]{2,}\b")
PICTURE = re.compile(r"\b(?:Draw|figure|page)s?\b")


class Options(NamedTuple):
    """Of a command: whether it has --lang, and the other options that ask for a picture or a page."""

    lang: bool
    pictures: list[str]


def options(name: str) -> Options:
    (command,) = [command for command in every_command() if command.name == name]
    function = command.function()
    hints = get_type_hints(function, include_extras=True)
    found = [
        ([str(extra.default), *(extra.param_decls or ())], extra.help or "")  # in Annotated its name comes first
        for parameter in inspect.signature(function).parameters
        for extra in get_args(hints[parameter])[1:]
        if isinstance(extra, OptionInfo)
    ]
    lang = any("--lang" in names for names, _ in found)
    return Options(lang, [names[0] for names, words in found if "--lang" not in names and PICTURE.search(words)])


NAMES = [command.name for command in every_command()]
RUN = ("run", "model=himmelblau", "trainer.steps=5", "--out", "runs")
NETWORK = ("run", "model=mlp", "model.hidden=[4]", "data.image_size=8", "data.channels=1", "trainer.batch_size=full",
           "trainer.epochs=2", "trainer.curvature_every=1", "trainer.keep_every=1", "--out", "net")  # fmt: skip
FEW = ("model=himmelblau", "optimizer=momentum")
SURFACE = ("classify-critical", "--fn", "himmelblau", "--box", "2,4")
WORDS: dict[str, list[tuple[str, ...]]] = {
    "run": [(*RUN, "--plot")],
    "plot": [
        (*RUN, "optimizer=rmsprop"), (*RUN, "optimizer=book_rmsprop"), (*RUN, "optimizer=adam", "scheduler=cosine"),
        ("plot", "runs"), ("plot", "runs", "--path"), ("plot", "runs", "--bands"),
        ("plot", "runs", "--path", "--facets", "--size", "3.4x2.5in"), ("plot", "runs", "--path", "--3d"),
        ("plot", "runs", "--figure", "ecdf", "--size", "3.4x2.5in", "--title", "As typed"),
        ("plot", "runs", "--figure", "ecdf", "--target", "1,2", "--cost", "evals"),
        ("run", "model=rosenbrock", "optimizer=rmsprop", "trainer.steps=5", "--out", "runs"),
        ("run", "model=rosenbrock", "optimizer=book_rmsprop", "trainer.steps=5", "--out", "runs"),
        ("plot", "runs", "--bands"), ("plot", "runs", "--y-axis", "log,:9", "--x-label", "As typed"),
        ("plot", "runs", "--figure", "profile", "--target", "100", "-f", "optimizer=rmsprop,book_rmsprop"),
        ("plot", "runs", "--figure", "ranks", "-f", "optimizer=rmsprop,book_rmsprop"),
        (*RUN, "optimizer=rmsprop", "optimizer.lr=0.1"), ("plot", "runs", "--figure", "best-of"),
        ("plot", "runs", "--over", "lr", "-f", "optimizer=rmsprop"),
    ],
    "classify-critical": [
        (*SURFACE, "--plot", "a.png"), (*SURFACE, "--plot", "b.png", "--boxes"),
        ("classify-critical", "--fn", "linear_net_l2", "--box", "0.5,2", "--sweep", "l2=0.4:0.6", "--plot", "c.png"),
    ],
    "curvature": [NETWORK, ("curvature", "net/*", "--budget", "0.1", "--plot", "d.png")],
    "transfer": [
        ("transfer", *NETWORK[1:6], "trainer.epochs=1", "optimizer=sgd", "optimizer.lr=0.1,0.2,0.3", "--widths", "4,8",
         "--seeds", "1", "--plot", "t.png"),
        ("transfer", *NETWORK[1:5], "trainer.epochs=1", "optimizer=sgd", "optimizer.lr=0.1,0.2,0.3",
         "--batches", "64,128", "--seeds", "1", "--plot", "u.png"),
    ],
    "basins": [("basins", *FEW, "--grid", "8", "--plot", "e.png")],
    "sensitivity": [
        ("sensitivity", *FEW, "--points", "3", "--seeds", "2", "--plot", "f.png"),
        ("sensitivity", *FEW, "--points", "3", "--seeds", "2", "--and", "optimizer.momentum", "--and-range", "0.1,0.9",
         "--plot", "f.png"),
    ],
    "evaluate": [
        (*NETWORK, "--plot"), ("evaluate", "net/*", "--plot", "g.png", "--errors", "j.png"),
        ("plot", "net"), ("plot", "net", "--curvature"), ("plot", "net", "--plane", "random", "--points", "3"),
        ("plot", "net", "--plane", "pca", "--points", "3", "--share", "0.5"), (*NETWORK, "seed=1"),
        ("plot", "net", "--interpolate", "--points", "3"), (*NETWORK, "seed=2"),
        ("plot", "net", "--plane", "checkpoints", "--points", "3"),
    ],
    "explain": [NETWORK, ("explain", "net/*", "--saliency", "h.png", "--features", "i.png"),
                ("explain", "net/*", "--method", "tsne")],
    "compare": [(*RUN, "optimizer=adam"), (*RUN, "optimizer=momentum"), ("compare", "runs", "--html", "compared.html")],
    "play": [("play", *FEW, "trainer.steps=5", "--out", "play.html")],
    "reproduce": [("reproduce", "hessian_signs", "--quick", "--html", "page.html", "--docs", "docs")],
}  # fmt: skip
"""Of each command that makes pages or figures, a way to each kind of them, after what it needs."""
SLOW = {"reproduce", "transfer", "curvature", "evaluate", "explain", "play"}
DRAWN_IN_THE_BROWSER = {"compare", "play"}
SERVED = {"view"}
"""Its page is that of compare; see test_pages_browser."""


def test_every_command_that_makes_a_picture_has_the_option_and_is_asked() -> None:
    found = {name: options(name) for name in NAMES}
    assert all(of.lang for of in found.values() if of.pictures), "a picture without --lang"
    assert {name for name, of in found.items() if of.lang} == set(WORDS) | SERVED
    for name, of in found.items():
        asked = {word for words in WORDS.get(name, []) for word in words}
        assert set(of.pictures) <= asked, name


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What each figure says in English as it is written; drawing itself takes longer than all the rest."""
    found: list[list[str]] = []

    def savefig(figure: Figure, file: Any, **keywords: Any) -> None:
        found.append(english(figure))
        file.write(b"a figure")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(translate, "chinese_font", lambda: "DejaVu Sans")
    monkeypatch.setattr(Figure, "savefig", savefig)
    monkeypatch.setattr(language, "_asked", [])
    return found


@pytest.mark.filterwarnings("ignore:Glyph")  # the font that stands for a Chinese one has none, and texts are measured
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in WORDS])
def test_no_command_makes_a_picture_that_is_half_english(
    name: str, drawn: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in WORDS[name]:
        before = len(drawn)
        given = [str(next(Path().glob(word))) if word.endswith("/*") else word for word in words]
        ended, _, err = invoke(capsys, *given, *(("--lang", "zh") if words[0] in WORDS else ()))
        assert ended == 0, (words, err)
        made = words[0] in DRAWN_IN_THE_BROWSER or not {"plot", "--plot", "--html"} & set(words)
        assert len(drawn) > before or made, (words, "no figure")
    if name == "reproduce":  # which draws each figure in both languages
        assert 2 * sum(not said for said in drawn) >= len(drawn)
    else:
        assert [said for said in drawn if said] == []
    for page in [*Path().rglob("*.html"), *Path().rglob("*.zh-CN.md")]:
        code = r"```.*?```|`[^`]*`|<(style|script|code|pre)\b.*?</\1>|<[^>]*>"
        text = re.sub(code, " ", page.read_text("utf-8"), flags=re.DOTALL)
        assert not ENGLISH.search(text), (page, ENGLISH.search(text))
