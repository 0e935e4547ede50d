"""Signals: what only prepares ends at once, what is under way is asked to."""

from __future__ import annotations

import importlib
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from optbench import cli
from optbench.errors import Interrupted
from optbench.experiment import interruptible, interrupting

FOR_EVER = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass\nraise SystemExit('late')\n"
SENT = "import signal\nsignal.raise_signal(signal.{})\n"
HELD = "import signal\ntry: signal.raise_signal(signal.SIGINT)\nexcept BaseException: pass\n"
TOLD = "import signal\ntry: signal.raise_signal(signal.SIGINT)\nexcept BaseException as e: raise ImportError from e\n"


@pytest.fixture(autouse=True)
def _as_on_a_terminal() -> Any:
    """Handlers as a command begins with; they and the timer are given back."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    seen = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == seen
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    for number, handler in before.items():
        signal.signal(number, handler)


def imported(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "prepares.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(importlib.sys.modules, "prepares", raising=False)  # type: ignore[attr-defined]
    importlib.import_module("prepares")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (SENT.format("SIGINT") + FOR_EVER, 130),
        (SENT.format("SIGTERM") + FOR_EVER, 143),
        (HELD + FOR_EVER, 130),
        (TOLD, 130),
    ],
    ids=["interrupt", "terminate", "held", "told otherwise"],
)
def test_an_import_ends_at_once(text: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the code that is imported catches everything, or says it in its own way."""
    with pytest.raises(Interrupted) as caught, interruptible() as stop:
        imported(text, tmp_path, monkeypatch)
    assert (caught.value.exit_code, stop.exit_code, stop.requested) == (code, code, True)


def test_what_is_under_way_is_asked_and_nothing_more_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupting, "_LOOK_SECONDS", 0.05)
    with interruptible() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        time.sleep(0.2)  # a step of a run: some looks, none of which cuts it off
        with pytest.raises(Interrupted):
            imported(FOR_EVER, tmp_path, monkeypatch)


def test_a_second_signal_ends_what_is_under_way() -> None:
    with interruptible():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(signal.SIGINT)
    assert not isinstance(caught.value, Interrupted)


def test_a_command_ends_with_the_code_of_the_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(**_: Any) -> int:
        raise Interrupted(143)

    monkeypatch.setattr("sys.argv", ["optbench", "sweep"])
    monkeypatch.setattr(cli, "build_app", lambda wanted: app)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 143
    assert "interrupted; the same command goes on from what is recorded" in capsys.readouterr().err
