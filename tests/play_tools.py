"""JavaScript for tests: node where there is one, else headless Chromium, else a skip in clear words."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from browser import browser_path, chromium

from optbench.play import program

ENGINE = Path(program.__file__).with_name("engine.js")


def javascript(text: str, folder: Path) -> str:
    """What a script prints by `print`, in node or in Chromium; the test is skipped where neither is."""
    if node := shutil.which("node"):
        script = folder / "script.js"
        script.write_text(f"const print = (line) => console.log(line);\n{text}")
        found = subprocess.run([node, str(script)], capture_output=True, text=True, timeout=120, check=False)
        assert found.returncode == 0, found.stderr[-2000:]
        return found.stdout
    if browser_path() is None:
        pytest.skip("neither node nor chromium is installed: apt-get install nodejs, or chromium")
    page = folder / "script.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><pre id=out></pre><script>"
        'const print = (line) => { document.getElementById("out").textContent += line + "\\n"; };\n'
        + text.replace("</script", "<\\/script") + "</script>"
    )  # fmt: skip
    with chromium(folder / "profile") as browser:
        tab = browser.page()
        tab.open(page.as_uri())
        assert not tab.errors, tab.errors
        return str(tab.js("document.getElementById('out').textContent"))
