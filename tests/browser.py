"""Chromium driven by its own protocol over a pipe: pages opened from disk, looked at, clicked and typed into.

Nothing is installed for it: the protocol is JSON between zero bytes on two descriptors (--remote-debugging-pipe).
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no Chromium on this machine (apt-get install chromium): pages were not looked at in a browser"


def browser_path() -> str | None:
    """Where a Chromium is; None where there is none. OPTBENCH_CHROMIUM names another one."""
    return os.environ.get("OPTBENCH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A tab. Every call waits for its answer; what the page logs or throws is kept in `errors`."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.errors: list[str] = []
        browser.pages[session] = self
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **given: Any) -> Any:
        """One command of the protocol."""
        return self._browser.call(method, given, self._session)

    def heard(self, method: str, params: dict[str, Any]) -> None:
        """Keeps what went wrong in the page."""
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(params["args"])[:600])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.errors.append(f"dialog: {params['message']}")
            self._browser.send("Page.handleJavaScriptDialog", {"accept": True}, self._session)

    def view(self, width: int, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        """Size and colours of the window."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def offline(self) -> None:
        """No network from now on."""
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def open(self, address: str) -> None:
        """Goes there, and waits until the page is drawn."""
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page. Raises AssertionError where it throws."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str, seconds: float = 60.0) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while not self.js(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def press(self, key: str, text: str = "", shift: bool = False) -> None:
        """A key, such as Tab, Enter, ArrowRight."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowRight": 39, "ArrowLeft": 37, " ": 32}
        given: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        given |= {"modifiers": 8} if shift else {}
        text = text or {"Enter": "\r", " ": " "}.get(key, "")
        self.call("Input.dispatchKeyEvent", type="keyDown", **given, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **given)

    def write(self, text: str) -> None:
        """Text where the focus is."""
        self.call("Input.insertText", text=text)

    def middle(self, selector: str) -> tuple[float, float]:
        """The middle of an element in the window, which it is scrolled into."""
        script = f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: "center", inline: "center", behavior: "instant"}});
            const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()"""
        x, y = self.js(script)
        return float(x), float(y)

    def hover(self, selector: str) -> None:
        """Moves the mouse onto an element."""
        x, y = self.middle(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Clicks the middle of an element."""
        x, y = self.middle(selector)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """A picture of the window, or of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])


class Browser:
    """A running Chromium."""

    def __init__(self, inward: int, outward: int) -> None:
        self._inward, self._outward = inward, outward
        self._heard, self._answers = b"", dict[int, Any]()
        self._number = 0
        self.pages: dict[str, Page] = {}

    def send(self, method: str, params: dict[str, Any], session: str | None = None) -> int:
        """Sends a command; its number."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        os.write(self._inward, json.dumps(message).encode() + b"\0")
        return self._number

    def call(self, method: str, params: dict[str, Any], session: str | None = None, seconds: float = 120.0) -> Any:
        """Sends a command and waits for its answer."""
        number, end = self.send(method, params, session), time.monotonic() + seconds
        while number not in self._answers:
            ready = select.select([self._outward], [], [], max(0.0, end - time.monotonic()))[0]
            assert ready, f"Chromium does not answer {method}"
            part = os.read(self._outward, 1 << 20)
            assert part, f"Chromium ended during {method}"
            *messages, self._heard = (self._heard + part).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers[message["id"]] = message
                elif (page := self.pages.get(message.get("sessionId", ""))) is not None:
                    page.heard(message["method"], message["params"])
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def page(self) -> Page:
        """A new tab."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        return Page(self, self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"])


def serious(tab: Page, address: str) -> list[Any]:
    """What axe finds serious or critical in a page, everything unfolded; the test is skipped where there is no axe."""
    place = os.environ.get("OPTBENCH_AXE")
    if place is None:
        words = "axe: pip install axe-core-python, or OPTBENCH_AXE=axe.min.js"
        package = pytest.importorskip("axe_core_python", reason=words)
        (place,) = map(str, Path(package.__file__).parent.rglob("axe.min.js"))
    tab.call("Page.setBypassCSP", enabled=True)
    tab.open(address)
    tab.js("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    tab.js(Path(place).read_text("utf-8") + "\n;0")
    tell = "v => [v.impact, v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))]"
    found = tab.js(f"axe.run(document).then(r => r.violations.map({tell}))")
    tab.call("Page.setBypassCSP", enabled=False)
    return [one for one in found if one[0] in ("serious", "critical")]


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A headless Chromium, its profile in a folder, ended at the end.

    Raises:
        FileNotFoundError: there is none on this machine.
    """
    program = browser_path()
    if program is None:
        raise FileNotFoundError(MISSING)
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()
    own = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--disable-extensions", "--disable-background-networking", "--hide-scrollbars", "--force-color-profile=srgb",
           f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]  # fmt: skip
    shell = f'exec 3<&{read_commands} 4>&{write_answers}; exec "$@"'
    started = subprocess.Popen(["bash", "-c", shell, "bash", *own], pass_fds=(read_commands, write_answers),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    os.close(read_commands)
    os.close(write_answers)
    browser = Browser(write_commands, read_answers)
    try:
        yield browser
    finally:
        try:
            browser.call("Browser.close", {}, seconds=10.0)
        except (AssertionError, OSError):
            started.kill()
        started.wait(timeout=30)
        os.close(write_commands)
        os.close(read_answers)
