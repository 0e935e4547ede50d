"""Ctrl-C while pictures are decoded: the run ends after the next one, keeps nothing, and the same command makes it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from command_tools import invoke

import optbench
from optbench import images
from optbench.experiment import plan_run
from optbench.experiment.execute import execute, run_and_record
from optbench.experiment.recorder import Stop
from optbench.folders import cache_folder
from optbench.records import Run
from optbench.records.write import locked

FOOD = ["model=mlp", "model.hidden=[4]", "data=synthetic_food", "data.image_size=8", "data.train_per_class=9",
        "data.validation_per_class=2", "data.n_test=2", "trainer.epochs=1", "trainer.threads=1"]  # fmt: skip
TRAIN, VALIDATION = 99, 22


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def stopping(stop: Stop, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `stop` be asked for once so many pictures are decoded."""
    count, lock, real = [0], threading.Lock(), images.decode

    def decode(*arguments: Any) -> Any:
        with lock:
            count[0] += 1
            stop.requested = stop.requested or count[0] >= after
        return real(*arguments)

    monkeypatch.setattr(images, "decode", decode)
    monkeypatch.setattr(images, "_cores", lambda: 2)


def pixels() -> list[Path]:
    return list(cache_folder().glob("pictures/*/pixels.npy"))


@pytest.mark.parametrize(
    ("after", "total", "kept"), [(3, TRAIN, 0), (TRAIN + 2, VALIDATION, 1)], ids=["training", "validation"]
)
def test_a_run_ends_and_the_same_command_makes_it(
    after: int, total: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, stop = plan_run(FOOD, out=tmp_path / "runs"), Stop()
    with monkeypatch.context() as patch:
        stopping(stop, after, patch)
        run = execute(planned, stop)
    assert run.status == "interrupted"
    assert run.reason.endswith(f"of {total} images were decoded")
    assert int(run.reason.split()[5]) <= after  # at the next one that is told, however many are on their way
    assert len(pixels()) == kept
    again = execute(planned, Stop())
    assert again.status == "completed"
    whole = optbench.run(*FOOD, out=tmp_path / "others")
    assert again.summary["final_loss"] == whole.summary["final_loss"]
    assert again.summary["best_val_loss"] == whole.summary["best_val_loss"]


def test_what_is_there_to_go_on_from_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned, stop = plan_run([*FOOD, "trainer.epochs=4"], out=tmp_path / "runs"), Stop()

    class AfterFive:
        def step(self, step: int, total: int, row: Any) -> None:
            stop.requested = stop.requested or step >= 5

        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: None

    assert execute(planned, stop, AfterFive()).summary["steps"] == 5
    last = (planned.folder / "last.pt").read_bytes()
    for file in pixels():
        file.unlink()
    stop = Stop()
    with monkeypatch.context() as patch:
        stopping(stop, 1, patch)
        assert run_and_record(planned, stop).status == "interrupted"
    assert (planned.folder / "last.pt").read_bytes() == last
    assert execute(planned, Stop()).summary["steps"] == 16
    whole = optbench.run(*FOOD, "trainer.epochs=4", out=tmp_path / "others")
    ours = Run({}, planned.folder).curve().drop(columns="seconds")
    assert ours.equals(whole.curve().drop(columns="seconds"))


def test_the_command_says_so_and_ends_as_after_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, sent = images.decode, threading.Event()

    def decode(*arguments: Any) -> Any:
        if not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(images, "decode", decode)
        code, out, _ = invoke(capsys, "run", *FOOD, "-o", str(tmp_path))
    assert code == 130
    assert "interrupted: stopped by the user when" in out
    assert invoke(capsys, "run", *FOOD, "-o", str(tmp_path))[0] == 0


def test_waiting_for_another_process_ends_too(tmp_path: Path) -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise RuntimeError("enough")

    with locked(tmp_path), pytest.raises(RuntimeError, match="enough"), locked(tmp_path, 60.0, ask):
        pass
    assert len(asked) == 3
