"""Pages in a real Chromium, opened from disk without a network: what a reader does, in both themes, wide and narrow."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import MISSING, Browser, Page, browser_path, chromium, serious
from hostile import hostile_names
from made_runs import make_run
from test_pages import NETWORK, ground

from optbench import comparison
from optbench.pages import document, page
from optbench.pages.document import Asked
from optbench.pages.networks import Example, Looked, Networks
from optbench.prediction.worst import thumbnail
from optbench.records.seal import sum_of_bytes

pytestmark = [pytest.mark.slow, pytest.mark.skipif(browser_path() is None, reason=MISSING)]
PNG = thumbnail(np.arange(25, dtype=np.uint8).reshape(1, 5, 5))
LOOKS = [(1280, False), (1280, True), (390, False), (390, True)]
KEPT = b"image,fold,label,cat,dog\na.png,0,0,0.9,0.1\nb.png,0,0,0.2,0.8\nc.png,0,1,0.4,0.6\n"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a surface with three configurations of five seeds, and of a classifier; one run diverged."""
    folder = tmp_path_factory.mktemp("report")
    for k in range(15):
        lr, seed = (0.1, 0.01, 0.001)[k // 5], k % 5
        curve = [{"step": s, "evals": s + 1, "loss": (1 + seed) * lr * 1.1 ** (60 - s), "x0": 3 - s / 20, "x1": lr * s}
                 for s in range(61)]  # fmt: skip
        make_run(folder / str(k), {"optimizer.lr": lr, "seed": seed}, curve, final_loss=lr * (1 + seed), best_loss=lr,
                 status="diverged" if k == 14 else "completed", reason=f"reason {k}")  # fmt: skip
    for seed in range(2):
        bent = {"lambda_min": -0.1, "lambda_max": 1.0, "full_grad_norm": 0.5}
        curve = [{"step": s, "epoch": s / 4, "loss": 2.0 - 0.1 * s, "seconds": 0.1 * s, **bent} for s in range(13)]
        net = make_run(folder / f"net{seed}", {"seed": seed}, curve, model="mlp", data="digits",
                       loss_name="cross_entropy", val_accuracy=0.5, best_val_accuracy=0.5,
                       provenance={"files": {"out_of_fold.csv": sum_of_bytes(KEPT)}})  # fmt: skip
        (net / "out_of_fold.csv").write_bytes(KEPT)
    found = comparison.compare(folder)
    place = folder / "report.html"
    networks = Networks(lambda *given: pytest.fail("predictions are kept"), lambda run, names, which: {"b.png": PNG}, 3)
    asked = Asked(ground_of=ground, networks=networks, command=["optbench", "compare"])
    place.write_text(page(document(found, found, asked)), "utf-8")
    return place


def opened(browser: Browser, place: Path, width: int = 1280, dark: bool = False) -> Page:
    tab = browser.page()
    tab.offline()
    tab.view(width, 900, dark, phone=width < 500)
    tab.open(place.as_uri())
    tab.js("localStorage.clear()")  # the theme that another test has chosen
    tab.open(place.as_uri())
    tab.until("document.querySelector('main') !== null")
    return tab


def column(tab: Page, place: int) -> list[str]:
    rows = "[...document.querySelectorAll('#p1 ~ [data-table=scores] tbody tr')]"
    return list(tab.js(f"{rows}.map(r => r.children[{place}].textContent)"))


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_a_reader_sorts_filters_looks_and_plays(browser: Browser, report: Path, width: int, dark: bool) -> None:
    tab = opened(browser, report, width, dark)
    assert tab.js("document.documentElement.scrollWidth") <= width, "the page itself never scrolls sideways"
    assert tab.js("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    head = "#p1 ~ [data-table=scores] th[data-column=final_loss]"
    before = column(tab, 0)
    assert len(before) == 3
    tab.click(f"{head} button")
    assert tab.js(f"document.querySelector('{head}').ariaSort") == "ascending"
    numbers = [float(cell.split(" ")[0].replace("inf", "Infinity")) for cell in column(tab, 3)]
    assert numbers == sorted(numbers)
    tab.click(f"{head} button")
    assert [float(cell.split(" ")[0]) for cell in column(tab, 3)] == sorted(numbers, reverse=True)
    tab.hover(f"{head} button")
    tab.until("!document.getElementById('tip').hidden")
    assert "median of the loss at the last iterate" in tab.js("document.getElementById('tip').textContent").lower()
    tab.press("Escape")
    assert tab.js("document.getElementById('tip').hidden")
    tab.click("#filter")
    tab.write("lr=0.01")
    tab.until("document.querySelectorAll('#p1 ~ [data-table=scores] tbody tr').length === 1")
    assert "lr=0.01" in column(tab, 0)[0]
    tab.js(
        "(() => { const f = document.getElementById('filter'); f.value = ''; f.dispatchEvent(new Event('input')); })()"
    )
    plays(tab)
    shades(tab, dark)
    tab.js("document.querySelector('.seen img').scrollIntoView()")
    image = "(i => [i.complete, i.naturalWidth, i.alt])(document.querySelector('.seen img'))"
    assert tab.js(image) == [True, 5, "picture of b.png"]
    assert tab.errors == []


def plays(tab: Page) -> None:
    """The race over the surface: from the start to the end, and back by the slider."""
    tab.click("[id$=-play]")
    tab.until("Number(document.querySelector('[id$=-time]').value) > 20")
    tab.click("[id$=-play]")
    held = tab.js("document.querySelector('[id$=-time]').value")
    assert tab.js("document.querySelector('[id$=-time]').value") == held
    tab.js("document.querySelector('[id$=-time]').focus()")
    tab.press("End")
    tab.until("document.querySelector('[id$=-time]').value === '1000'")
    inked = """(() => { const c = document.querySelector('[data-figure=paths] canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const seen = new Set();
        for (let i = 0; i < d.length; i += 400) seen.add(`${d[i]},${d[i + 1]},${d[i + 2]}`); return seen.size; })()"""
    assert tab.js(inked) > 20


def shades(tab: Page, dark: bool) -> None:
    """The switch of the theme, against what the system wants and back."""
    back = "getComputedStyle(document.body).backgroundColor"
    before = tab.js(back)
    for _ in range(2 if dark is False else 1):
        tab.click("#theme")
    assert tab.js(back) != before
    assert tab.js("document.documentElement.dataset.theme") == ("light" if dark else "dark")


def test_everything_is_reached_and_said_by_keyboard(browser: Browser, report: Path) -> None:
    tab = opened(browser, report)
    wanted = tab.js("""[...document.querySelectorAll('a[href],button,input,select,summary,[tabindex="0"]')]
        .filter(e => e.offsetParent !== null && !e.closest('details:not([open]) > :not(summary)')).length""")
    tab.js("window.reached = new Set(); document.addEventListener('focusin', e => reached.add(e.target))")
    for _ in range(wanted + 5):
        tab.press("Tab")
    assert tab.js("reached.size") >= wanted
    tab.js("document.querySelector('#p1 ~ [data-figure=lines] .chart').focus()")
    tab.press("Home")
    tab.press("ArrowRight")
    said = tab.js("document.querySelector('#p1 ~ [data-figure=lines] .read').textContent")
    assert said.startswith("step 1: ")
    assert said.count("lr=") == 3
    tab.js("document.querySelector('th[data-column=final_loss] button').focus()")
    assert not tab.js("document.getElementById('tip').hidden")
    tab.press("Enter")
    assert tab.js("document.querySelector('th[data-column=final_loss]').ariaSort") == "ascending"
    key = "document.querySelector('[data-figure=lines] .key')"
    tab.js(f"{key}.focus()")
    tab.press(" ")
    assert tab.js(f"{key}.getAttribute('aria-pressed')") == "false"
    assert tab.errors == []


@pytest.mark.parametrize(("width", "dark"), [LOOKS[0], LOOKS[3]])
def test_axe_finds_nothing_serious(browser: Browser, report: Path, width: int, dark: bool) -> None:
    tab = browser.page()
    tab.view(width, 900, dark, phone=width < 500)
    assert serious(tab, report.as_uri()) == []


def test_a_line_has_one_colour_on_the_whole_page(browser: Browser, tmp_path: Path) -> None:
    """Those of no configuration too, such as an optimizer over its rates, in whatever order figures list them."""
    for k in range(12):
        name, lr, seed = ("sgd", "adam")[k // 6], (0.1, 0.01, 0.001)[k // 2 % 3], k % 2
        loss = lr * (2 if name == "adam" else 1) * (1 + seed)
        make_run(tmp_path / "runs" / str(k), {"optimizer.lr": lr, "seed": seed, "optimizer._target_": f"torch.{name}"},
                 optimizer=name, final_loss=loss, best_loss=loss)  # fmt: skip
    found = comparison.compare(tmp_path)
    place = tmp_path / "page.html"
    place.write_text(page(document(found, found)), "utf-8")
    tab = opened(browser, place)
    keys = "[...document.querySelectorAll('button.key')].filter(k => k.querySelector('line'))"
    told = tab.js(
        f"{keys}.map(k => [k.querySelector('span').textContent, k.querySelector('line').getAttribute('stroke')])"
    )
    colours: dict[str, set[str]] = {}
    for label, colour in told:
        colours.setdefault(label, set()).add(colour)
    assert {"adam", "sgd"} <= colours.keys()
    assert [label for label, own in colours.items() if len(own) > 1] == []
    assert sum(label == "adam" for label, _ in told) >= 2, "in two figures"


def test_it_prints_light_and_whole(browser: Browser, report: Path) -> None:
    tab = opened(browser, report, dark=True)
    pdf = tab.pdf()
    assert pdf.startswith(b"%PDF")
    assert 2 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type/Page\n") + pdf.count(b"/Type /Page/") <= 30
    assert tab.js("document.documentElement.dataset.theme") == "dark"  # again
    assert tab.errors == []


def test_hostile_names_execute_nothing(browser: Browser, tmp_path: Path) -> None:
    names = hostile_names(525)
    for i in range(175):
        name, reason, column_ = names[3 * i : 3 * i + 3]
        curve = [{"step": s, "loss": 1.0 / (s + 1), "x0": 0.1 * s, "x1": 0.2} for s in range(3)]
        settings = {f"optimizer.{column_.replace('.', '')}": name, "seed": i % 3}
        make_run(tmp_path / str(i), settings, curve, optimizer=name,
                 model=names[i % 4], reason=reason, status="failed" if i % 2 else "completed", stopped_at=reason,
                 lambda_min=1.0, provenance={"host": name, "versions": {"torch": reason}})  # fmt: skip
    make_run(tmp_path / "net", {}, [], **NETWORK, provenance={"files": {"best.pt": "0"}})
    found = comparison.compare(tmp_path)
    place = tmp_path / "hostile.html"
    worst = [Example(name, 1.0, names[i], names[-i], 0.5, PNG) for i, name in enumerate(names[50:62])]
    looked = Looked(names[0], 2, names[:2], [[0, 1], [1, 0]], worst)
    networks = Networks(lambda *given: looked, lambda *given: {}, 1)
    asked = Asked(command=names[:50], ground_of=ground, networks=networks)
    place.write_text(page(document(found, found, asked)), "utf-8")
    tab = opened(browser, place)
    tab.js("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for where in ("th button", ".key", "[data-figure=lines] .chart"):
        tab.hover(where)
    tab.js("document.querySelectorAll('.key, th button').forEach(b => b.click())")
    assert tab.js(
        "[window.pwned === undefined, document.title.includes('pwned'), document.querySelectorAll('script').length]"
    ) == [True, False, 3]
    assert (
        tab.js("document.querySelectorAll('iframe, object, embed, form, [onerror], [onload], [onclick]').length") == 0
    )
    images = "[...document.querySelectorAll('img')].map(i => [i.getAttributeNames().join(), i.src.slice(0, 22)])"
    assert tab.js(images) == [["src,alt", "data:image/png;base64,"]] * len(worst)
    assert tab.js("[...document.querySelectorAll('a')].every(a => a.getAttribute('href').startsWith('#'))")
    assert tab.errors == []


def test_a_sweep_is_followed_and_strangers_are_refused(browser: Browser, tmp_path: Path) -> None:
    server = subprocess.Popen([sys.executable, "-m", "optbench", "view", str(tmp_path), "--lang", "en"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        strangers(address)
        tab = browser.page()
        tab.open(address)
        tab.until("document.querySelector('h1').textContent === '0 runs so far'")
        for seed in range(3):
            make_run(tmp_path / str(seed), {"seed": seed}, final_loss=0.5)
        tab.until("document.querySelector('h1').textContent.startsWith('3 runs')")
        tab.click("#filter")
        tab.write("adam")
        make_run(tmp_path / "late", {"seed": 9}, final_loss=0.25)
        tab.until("document.querySelector('h1').textContent.startsWith('4 runs')")
        assert tab.js("[document.getElementById('filter').value, document.activeElement.id]") == ["adam", "filter"]
        assert tab.errors == []
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=20)
        assert (server.returncode, out) == (0, "")
        assert "Traceback" not in err
        tab.until("document.getElementById('live').textContent.includes('ended')")
    finally:
        server.kill()
        server.wait()


def strangers(address: str) -> None:
    """Other hosts, tokens, methods and paths get nothing."""
    _, _, place, token, _ = address.split("/")
    port = int(place.split(":")[1])

    def status(path: str, host: str = place, method: str = "GET") -> tuple[int, bytes]:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        link.request(method, path, headers={"Host": host})
        answer = link.getresponse()
        found = answer.status, answer.read()
        link.close()
        return found

    assert status("/") == (403, b"")
    assert status(f"/{token[:-1]}x/data") == (403, b"")
    assert status(f"/{token}/", host=f"evil.example:{port}") == (421, b"")
    assert status(f"/{token}/../../etc/passwd") == (404, b"")
    assert status(f"/{token}/data", method="POST")[0] == 501
    code, body = status(f"/{token}/data", host=f"localhost:{port}")
    assert code == 200
    found: dict[str, Any] = json.loads(body)
    assert status(f"/{token}/data?have={found['stamp']}") == (304, b"")
