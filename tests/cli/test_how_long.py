"""How long a run will take: said before it begins on request, and once by a long run from its own first updates."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from command_tools import command

from optbench.cli import progress
from optbench.cli.progress import Forecast, PlainDisplay
from optbench.launch import probe
from optbench.launch.probe import Outlook, outlook_lines

SMALL = ["model=mlp", "model.hidden=[8]", "data.image_size=8", "trainer.epochs=3", "trainer.batch_size=100",
         "trainer.threads=1"]  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_long_run_says_once_how_long_it_takes(clock: list[float]) -> None:
    forecast, said = Forecast(), []
    for step in range(1, 30):
        said.append(forecast.words(step, 1001))
        clock[0] += 9.0 if step == 0 else 0.5
    (words,) = filter(None, said)
    assert said.index(words) == 10  # after ten updates beyond the first
    assert words == "about 8 minutes for the 990 updates that are left (0.5 s each)"


def test_short_runs_and_short_looks_say_nothing(clock: list[float]) -> None:
    forecast = Forecast()
    said = []
    for step in range(1, 15):
        said.append(forecast.words(step, 100_000))
        clock[0] += 0.01
    assert not any(said)  # ten updates, but no two seconds
    forecast = Forecast()
    for step in range(1, 40):
        said.append(forecast.words(step, 60))
        clock[0] += 0.5
    assert not any(said)  # it is over in half a minute


@pytest.mark.parametrize("quiet", [True, False])
def test_nobody_watches_and_the_line_is_there(
    quiet: bool, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    display = PlainDisplay(quiet)
    display.start("a run", 0, 1)
    for step in range(1, 40):
        display.step(step, 10_000, {})
        clock[0] += 1.0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == ("" if quiet else "note: about 2.8 hours for the 9989 updates that are left (1 s each)\n")


def test_a_dry_run_says_how_long_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("run", *SMALL, "--dry-run", "--json", "-o", tmp_path) == 0
    found = json.loads(capsys.readouterr().out)
    per_epoch = math.ceil(1259 / 100)  # what digits leave for training
    assert (found["steps"], found["epochs"], found["images"], found["evaluations"]) == (3 * per_epoch, 3.0, 100, 4)
    assert found["status"] == "to do"
    assert 1 <= found["probed"] <= 10
    total = found["steps"] * found["step_seconds"] + 4 * found["evaluation_seconds"]
    assert found["seconds"] == pytest.approx(total)
    assert found["step_seconds"] > 0
    assert list(tmp_path.iterdir()) == []
    assert command("run", *SMALL, "--dry-run", "-o", tmp_path) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith(": to do")
    assert said[1].startswith(f"{3 * per_epoch} updates of 100 images (3 epochs): ")
    assert command("run", "trainer.steps=7", "--dry-run", "-o", tmp_path) == 0
    assert "at most about " in capsys.readouterr().out


def test_the_outlook_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Outlook(7750, 0.8, 64, 50.0, 51, 20.0, "cpu, 2 threads", 10)
    monkeypatch.setattr(probe, "load_per_core", lambda: 0.5)
    assert outlook_lines(found) == [
        "7750 updates of 64 images (50 epochs): 0.8 s each, 80 images a second",
        "51 evaluations: 20 s each",
        "about 2.0 hours in all, from 10 updates on cpu, 2 threads",
    ]
    monkeypatch.setattr(probe, "load_per_core", lambda: 5.0)
    assert "other work shares the cores now (load 5.0 a core)" in outlook_lines(found)[-1]
