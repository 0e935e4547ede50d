"""The page to play with: what it holds, what it refuses, and that it does in a browser what it says."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import Page, serious
from command_tools import command

from optbench.catalogue import described, surface_names
from optbench.errors import IncompatibleError, UserError
from optbench.experiment import plan_run
from optbench.language import choose
from optbench.play import build
from optbench.play.build import plan_play, prepared, said, sliders, words

FOLDER = Path(build.__file__).parent
HOSTILE = "</script><script>document.title='gone'</script>"

SURFACE = '''
import torch
from optbench.problem import AbstractSurface


class Ripple(AbstractSurface):
    """A bowl with ripples."""

    def __init__(self):
        super().__init__([(-3.0, 3.0)] * 2, [2.5, -2.0], [], None)

    def __call__(self, x):
        return (1.0 + (x * x).sum(-1)) ** 1.3 + 0.4 * torch.sin(5.0 * x[..., 0]) * torch.cos(4.0 * x[..., 1])
'''
OPTIMIZER = '''
from optbench.optimizer_base import AbstractPureOptimizer


class Heavy(AbstractPureOptimizer):
    """Polyak's."""

    memories = ("m",)

    def __init__(self, params, lr=0.01, beta=0.9):
        super().__init__(params, {"lr": lr, "beta": beta})

    @staticmethod
    def pure(x, gradient, memory, hyper, t):
        m = hyper["beta"] * memory["m"] + gradient
        return x - hyper["lr"] * m, {"m": m}
'''


def own_folder(folder: Path) -> Path:
    """A folder for --config-dir with a surface and an optimizer of one's own."""
    heavy = "# mine\n_target_: play_heavy.Heavy\n_partial_: true\nlr: 0.01\nbeta: 0.9\n"
    ripple = f"# {HOSTILE}\ndefaults: [_surface]\n_target_: play_ripple.Ripple\n"
    for group, name, text in (("model", "ripple", ripple), ("optimizer", "heavy", heavy)):
        (folder / group).mkdir(parents=True)
        (folder / group / f"{name}.yaml").write_text(text)
    (folder / "play_ripple.py").write_text(SURFACE)
    (folder / "play_heavy.py").write_text(OPTIMIZER)
    return folder


def made(folder: Path, *more: str) -> Path:
    """A page, made by the command."""
    page = folder / "page.html"
    assert command("play", *more, "-o", page, "--records", folder / "records", "-q") == 0
    return page


def data_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    return dict(json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1]))  # type: ignore[index]


def test_what_one_page_cannot_show_is_refused_with_the_reason() -> None:
    for overrides, words_ in (
        (["model=mlp"], "network"),
        (["model=himmelblau,ackley"], "one"),
        (["trainer.engine=auto"], "portable engine alone"),
        (["trainer.start=[1,1],[2,2]"], "several starts"),
        (["trainer.start=random", "seed=0,1"], "several starts"),
        (["trainer.steps=30000"], "20000 at most"),
        (["optimizer.lr=1,2,3,4,5,6,7,8,9"], "at most 8"),
    ):
        with pytest.raises(UserError, match=words_):
            plan_play(overrides, [], None)
    with pytest.raises(UserError, match="4 coordinates"):
        prepared(plan_play(["model=powell"], [], None)[0])
    with pytest.raises(IncompatibleError, match="no pure update rule"):
        prepared(plan_play(["optimizer=lbfgs"], [], None)[0])


def test_sliders_are_of_the_numbers_that_the_program_looks_at() -> None:
    """And of the formula every quantity is one that the page knows; momentum's is the textbooks'."""
    for overrides, names in (
        (["optimizer=adam"], ["lr", "betas.0", "betas.1", "eps"]),
        (["optimizer=momentum"], ["lr", "momentum"]),
    ):
        planned = plan_run([*overrides, "model=himmelblau", "trainer.engine=portable"])
        step, formula = prepared(planned)
        found = sliders(step, planned.config["optimizer"])
        assert sorted(one["name"] for one in found) == sorted(names)
        assert all(one["rest"] == one["name"].startswith(("betas", "momentum", "alpha")) for one in found)
        known = {name.partition("[")[0] for name in step.spec["inputs"]} | {"g"}
        known |= {f"{name}′" for name in step.spec["memories"]}
        tokens = {token[1:] for line in formula for token in line["tokens"] if token.startswith("$")}
        assert tokens <= known
        assert formula[-1]["name"] == "x"
    assert ["".join(line["tokens"]) for line in formula] == ["$g + $m · $momentum", "$x − $lr · $m′"]


def test_every_phrase_has_its_chinese() -> None:
    script, template = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.js", "page.html"))
    phrases = set(re.findall(r'\bt\("((?:[^"\\]|\\.)*)"', script)) | set(
        re.findall(r'data-(?:t|label)="([^"]*)"', template)
    )
    phrases |= set(re.findall(r'said\("([^"]*)"', (FOLDER / "build.py").read_text(encoding="utf-8")))
    phrases |= {"minimum", "maximum", "saddle", "degenerate", "proved", "numerical", "undecided"}
    assert all(re.search("[一-鿿]", described("model", name, "zh")) for name in surface_names())
    choose("zh")
    try:
        assert {html.unescape(phrase) for phrase in phrases} <= words().keys()
        assert all(phrase.count("{}") == chinese.count("{}") for phrase, chinese in words().items())
        assert said("{} on {}", "adam", "ackley") == "adam 在 ackley 上"
    finally:
        choose(None)


# in a browser ---------------------------------------------------------------------------------------------------------


def opened(tab: Page, page: Path, address: str = "", **view: Any) -> None:
    tab.view(**{"width": 1280, **view})
    tab.call("Page.navigate", url="about:blank")
    tab.open(page.as_uri() + address)
    tab.until("document.documentElement.dataset.ready === 'yes'")


def text(tab: Page, name: str) -> str:
    return str(tab.js(f"document.getElementById('{name}').textContent"))


@pytest.mark.slow
def test_a_page_repeats_its_runs_and_does_what_its_controls_say(tab: Page, tmp_path: Path) -> None:
    page = made(tmp_path, "model=himmelblau", "optimizer=momentum,adam,rmsprop", "trainer.steps=200")
    opened(tab, page)
    assert tab.js("document.documentElement.dataset.verified") == "3/3"
    assert text(tab, "verified").count("200 steps, bit for bit") == 3
    assert "COMPLETE: proved" in text(tab, "complete")
    assert tab.js("document.querySelectorAll('#points tr').length") == 9
    tab.click("#step")
    tab.click("#step")
    tab.until("document.getElementById('k-text').textContent === '2 / 200'")
    tab.click("#play")
    tab.until("+document.getElementById('k').value > 10")
    tab.click("#play")
    x, y = tab.middle("#map")
    for kind, dx in (("mousePressed", 0), ("mouseMoved", 60), ("mouseReleased", 60)):
        tab.call("Input.dispatchMouseEvent", type=kind, x=x + dx, y=y, button="left", buttons=1, clickCount=1)
    tab.until("+document.getElementById('x').value > 0.3")
    tab.js("document.getElementById('map').focus()")
    before = tab.js("+document.getElementById('x').value")
    tab.press("ArrowRight")
    tab.until(f"+document.getElementById('x').value > {before}")
    before = text(tab, "n1")
    tab.js(
        "(() => { const s = document.getElementById('s1-0'); s.value = 900; s.dispatchEvent(new Event('input')); })()"
    )
    tab.until(f"document.getElementById('n1').textContent !== {json.dumps(before)}")
    tab.until("location.hash.includes('1.lr=')")
    address = tab.js("location.hash")
    shown = text(tab, "n1")
    opened(tab, page, address)  # as somebody does who was sent it
    tab.until(f"document.getElementById('n1').textContent === {json.dumps(shown)}")
    tab.js(
        "(() => { const s = document.getElementById('basin'); s.value = 0; s.dispatchEvent(new Event('change')); })()"
    )
    tab.until("document.documentElement.dataset.basins === '102400'", seconds=120)
    assert "minimum (" in text(tab, "basin-text")
    for dark in (False, True):
        opened(tab, page, "#view=solid&k=50", width=390, phone=True, dark=dark)
        assert tab.js("document.documentElement.scrollWidth") <= 390
        assert tab.js("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    before = tab.js("getComputedStyle(document.body).color")
    tab.js("dispatchEvent(new Event('beforeprint'))")
    assert tab.js("document.documentElement.dataset.theme") == "light"  # paper is white
    tab.js("dispatchEvent(new Event('afterprint'))")
    assert tab.js("getComputedStyle(document.body).color") == before
    assert tab.errors == []


@pytest.mark.slow
def test_a_surface_of_one_coordinate_is_a_graph(tab: Page, tmp_path: Path) -> None:
    page = made(tmp_path, "model=double_well_1d", "optimizer=momentum,adam", "trainer.steps=100")
    opened(tab, page, "#k=20&view=solid")
    assert tab.js("document.documentElement.dataset.verified") == "2/2"
    assert tab.js("[...document.querySelectorAll('[data-plane]')].every((e) => e.offsetParent === null)")
    assert tab.js("document.querySelectorAll('#points tr').length") == 3
    x, y = tab.middle("#map")
    for kind, dx in (("mousePressed", 0), ("mouseMoved", 60), ("mouseReleased", 60)):
        tab.call("Input.dispatchMouseEvent", type=kind, x=x + dx, y=y, button="left", buttons=1, clickCount=1)
    tab.until("+document.getElementById('x').value > 0.2")
    tab.until("location.hash.includes('s=0.')")
    tab.js(
        "(() => { const s = document.getElementById('basin'); s.value = 0; s.dispatchEvent(new Event('change')); })()"
    )
    tab.until("document.documentElement.dataset.basins === '2048'")
    shares = re.findall(r"([\d.]+) % minimum", text(tab, "basin-text"))
    assert len(shares) == 2
    assert shares[0] == shares[1]  # x^4 - 2 x^2 is even, and so is every program of it
    assert tab.errors == []


@pytest.mark.slow
def test_axe_finds_nothing_serious_in_a_lesson(tab: Page, tmp_path: Path) -> None:
    """In both themes, on a phone and on a desk; a lesson has all that a page has."""
    page = made(tmp_path, "--lesson", "batch-size")
    for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
        tab.view(width, 900, dark, phone=width < 500)
        assert serious(tab, page.as_uri()) == []


@pytest.mark.slow
def test_a_page_of_ones_own_surface_and_optimizer(tab: Page, tmp_path: Path) -> None:
    """And a name that would be markup stays text; one changed bit of a record is named by its step."""
    mine = own_folder(tmp_path / "mine")
    asked = ("--config-dir", str(mine), "--budget", "2", "--lang", "zh")
    page = made(tmp_path, *asked, "model=ripple", "optimizer=heavy,nadam", "trainer.steps=80")
    opened(tab, page)
    assert tab.js("document.documentElement.dataset.verified") == "2/2"
    assert text(tab, "about") == HOSTILE
    assert tab.js("document.title") == "heavy, nadam 在 ripple 上"
    assert "逐位相同" in text(tab, "verified")
    told = page.read_text(encoding="utf-8")
    path = data_of(page)["runs"][0]["path"]
    place = path.index("A", 900)
    page.write_text(told.replace(path, path[:place] + "B" + path[place + 1 :]), encoding="utf-8")
    opened(tab, page)
    assert tab.js("document.documentElement.dataset.verified") == "1/2"
    assert re.search(r"在第 \d+ 步不同", text(tab, "verified"))
    assert tab.errors == []
