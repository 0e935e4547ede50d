"""JavaScript for tests: node where there is one, else headless Chromium, else a skip in clear words."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from optbench.play import program

ENGINE = Path(program.__file__).with_name("engine.js")


def chromium() -> str | None:
    """A Chromium to run without a window."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


def printed_by_page(html: Path, *options: str, budget: int = 20000) -> str:
    """The document of a page after its scripts have run, without a network."""
    browser = chromium()
    assert browser is not None
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                   "--host-resolver-rules=MAP * ~NOTFOUND", f"--virtual-time-budget={budget}", *options]  # fmt: skip
        command += ["--dump-dom", html.as_uri()]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return found.stdout


def javascript(text: str, folder: Path) -> str:
    """What a script prints by `print`, in node or in Chromium; the test is skipped where neither is."""
    if node := shutil.which("node"):
        script = folder / "script.js"
        script.write_text(f"const print = (line) => console.log(line);\n{text}")
        found = subprocess.run([node, str(script)], capture_output=True, text=True, timeout=120, check=False)
        assert found.returncode == 0, found.stderr[-2000:]
        return found.stdout
    if chromium() is None:
        pytest.skip("neither node nor chromium is installed: apt-get install nodejs, or chromium")
    page = folder / "script.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><pre id=out></pre><script>"
        'const print = (line) => { document.getElementById("out").textContent += line + "\\n"; };\n'
        + text.replace("</script", "<\\/script") + "</script>"
    )  # fmt: skip
    return printed_by_page(page).partition('<pre id="out">')[2].partition("</pre>")[0]
