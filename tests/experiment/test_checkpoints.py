"""Checkpoints by time: when they are written, what lies on the disk whenever the process dies, and how it goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import optbench
from optbench.errors import IncompatibleError
from optbench.experiment import Stop, recorder
from optbench.experiment.recorder import LARGEST_SHARE, LEAST_SECONDS, Recorder
from optbench.records import Run, read_rows, read_run
from optbench.records.whole import look

TINY = ["model=mlp", "model.hidden=[8]", "data.image_size=8", "data.channels=1", "trainer.threads=1"]
NETWORK = [*TINY, "trainer.batch_size=128", "trainer.epochs=3", "optimizer.lr=0.01"]  # 10 updates an epoch


class Killed(BaseException):
    """Stands in for the end of the process: nothing in the run may catch it."""


@pytest.fixture
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """After every update there is time for a checkpoint."""
    monkeypatch.setattr(recorder, "LEAST_SECONDS", -1.0)
    monkeypatch.setattr(recorder, "LARGEST_SHARE", 1e9)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that nothing disturbed."""
    return optbench.run(*NETWORK, out=tmp_path_factory.mktemp("whole"))


def curve(run: Run) -> list[dict[str, str]]:
    assert run.path is not None
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(run.path / "metrics.csv")]


def loaded(folder: Path, name: str) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / f"{name}.pt", weights_only=True)
    return state


def same(one: Run, two: Run) -> None:
    assert one.path is not None
    assert two.path is not None
    assert curve(one) == curve(two)
    for name in ("best", "last"):
        a, b = loaded(one.path, name), loaded(two.path, name)
        assert a.keys() == b.keys()
        assert a["step"] == b["step"]
        assert all(a["model"][k].equal(b["model"][k]) for k in b["model"])
    left_out = ("seconds", "provenance")
    assert {k: v for k, v in one.summary.items() if k not in left_out} == {
        k: v for k, v in two.summary.items() if k not in left_out
    }


def dies_at(name: str, count: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Ends the run just before it calls os.<name> for the count-th time from now; says whether it did.

    Whatever a handler would still write is written into nothing, as the process is gone.
    """
    original, calls, dead = getattr(os, name), [0], [False]

    def call(*args: Any) -> Any:
        calls[0] += 1
        if calls[0] >= count or dead[0]:
            dead[0] = True
            raise Killed
        return original(*args)

    monkeypatch.setattr(os, name, call)
    return lambda: dead[0]


def check_order(folder: Path, whole: Run) -> None:
    """On the disk: rows are the beginning of the curve, last.pt is no further than they, and best.pt than last.pt."""
    found = read_run(folder)
    rows = curve(found)
    assert rows == curve(whole)[: len(rows)]
    best_is_there, last_is_there = ((folder / f"{name}.pt").exists() for name in ("best", "last"))
    assert last_is_there or not best_is_there
    if not last_is_there:
        return
    last = loaded(folder, "last")
    assert "progress" in last, "it can go on until all is written"
    if found.status != "interrupted":  # recorded as done; what is not written yet is missed
        assert look(folder, found.run_id)[1] is not None
        return
    assert last["progress"]["step"] <= len(rows)
    assert last["best"]["step"] == last["progress"]["best_val_step"]
    if best_is_there:
        assert loaded(folder, "best")["step"] <= last["best"]["step"]


@pytest.mark.usefixtures("always_due")
@pytest.mark.parametrize(("call", "count"), [
    ("replace", 5), ("fsync", 12),
    *(pytest.param("replace", k, marks=pytest.mark.slow) for k in range(2, 40)),
    *(pytest.param("fsync", k, marks=pytest.mark.slow) for k in range(2, 39)),
])  # fmt: skip
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(
    call: str, count: int, whole: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        died = dies_at(call, count, patch)
        with pytest.raises(Killed):
            optbench.run(*NETWORK, out=tmp_path)
        assert died()
    (folder,) = tmp_path.iterdir()
    if (folder / "run.json").exists():
        check_order(folder, whole)
    same(optbench.run(*NETWORK, out=tmp_path), whole)


@pytest.mark.usefixtures("always_due")
def test_what_has_begun_goes_on_where_its_precision_has_become_slow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """How quick 16 bits are is measured beside other work, and asked only of runs that begin."""
    words = (*NETWORK, "trainer.precision=bf16")
    monkeypatch.setattr("optbench.problem.precision.slowdown", lambda *_: 1.0)
    whole = optbench.run(*words, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        dies_at("replace", 8, patch)
        with pytest.raises(Killed):
            optbench.run(*words, out=tmp_path / "parts")
    (folder,) = (tmp_path / "parts").iterdir()
    assert (folder / "last.pt").exists()
    monkeypatch.setattr("optbench.problem.precision.slowdown", lambda *_: 3.0)
    same(optbench.run(*words, out=tmp_path / "parts"), whole)
    with pytest.raises(IncompatibleError, match=r"3\.0 times as long"):
        optbench.run(*words, out=tmp_path / "parts", force=True)
    assert read_run(folder).status == "completed", "what is refused removes nothing"


@pytest.mark.usefixtures("always_due")
def test_what_goes_on_begins_with_the_best_weights_of_its_checkpoint(
    whole: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A kill between last.pt and best.pt, and again before the next checkpoint."""
    written: list[str] = []
    original = os.replace

    def call(source: Any, target: Any) -> None:
        if Path(target).name == "best.pt" and "last.pt" in written and len(written) > 8:
            raise Killed
        written.append(Path(target).name)
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", call)
        with pytest.raises(Killed):
            optbench.run(*NETWORK, out=tmp_path)
    (folder,) = tmp_path.iterdir()
    last = loaded(folder, "last")
    assert loaded(folder, "best")["step"] < last["best"]["step"]  # the best one of an earlier checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "step", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            optbench.run(*NETWORK, out=tmp_path)
    assert loaded(folder, "best")["step"] == last["best"]["step"]
    same(optbench.run(*NETWORK, out=tmp_path), whole)


def test_a_run_that_begins_anew_leaves_no_best_weights_of_a_later_step(
    whole: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert whole.path is not None
    folder = tmp_path / whole.path.name
    shutil.copytree(whole.path, folder)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "step", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            optbench.run(*NETWORK, out=tmp_path, force=True)
    assert not (folder / "best.pt").exists()
    assert not (folder / "last.pt").exists()
    same(optbench.run(*NETWORK, out=tmp_path), whole)


def test_a_state_to_go_on_from_without_its_best_weights_keeps_what_is_there(
    whole: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As written before checkpoints held them."""
    stop = iter(range(100))

    class Display:
        def start(self, *_: Any) -> None: ...
        def loading(self, *_: Any) -> None: ...
        def note(self, *_: Any) -> None: ...
        def end(self, *_: Any) -> None: ...
        def step(self, *_: Any) -> None:
            if next(stop) == 24:
                import signal

                signal.raise_signal(signal.SIGINT)

    cut = optbench.run(*NETWORK, out=tmp_path, display=Display())
    assert (cut.status, cut.summary["steps"]) == ("interrupted", 25)
    assert cut.path is not None
    state = loaded(cut.path, "last")
    del state["best"]
    torch.save(state, cut.path / "last.pt")
    same(optbench.run(*NETWORK, out=tmp_path), whole)


# when


class Time:
    """A clock that stands still but for what the test says things take."""

    def __init__(self, update: float, writing: float) -> None:
        self.now, self.update, self.writing, self.spent = 1000.0, update, writing, 0.0
        self.writes: list[float] = []


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[float, float, int], Time]:
    """Runs so many updates under a simulated clock: seconds an update, seconds a checkpoint."""

    def run(update: float, writing: float, updates: int) -> Time:
        clock = Time(update, writing)

        def write(path: Path, data: Any) -> None:
            clock.now += clock.writing
            clock.spent += clock.writing
            clock.writes.append(clock.now)

        monkeypatch.setattr(recorder.time, "monotonic", lambda: clock.now)
        monkeypatch.setattr(recorder, "write_bytes", write)
        made = Recorder(tmp_path, None, Stop())
        made.open(["step"])
        for step in range(updates):
            clock.now += clock.update
            made.row({"step": step})
            if made.checkpoint_due:
                made.checkpoint("last", {"progress": {"step": step}, "model": {}})
        made.close()
        return clock

    return run


@pytest.mark.parametrize(("update", "writing", "updates"), [
    (0.01, 0.001, 5000), (0.01, 0.5, 20000), (0.1, 2.0, 20000), (3.0, 0.01, 500), (60.0, 30.0, 200),
])  # fmt: skip
def test_checkpoints_take_a_small_share_of_the_time_and_a_kill_costs_seconds(
    update: float, writing: float, updates: int, simulated: Callable[[float, float, int], Time]
) -> None:
    clock = simulated(update, writing, updates)
    total = clock.now - 1000.0
    assert clock.writes
    assert clock.spent <= LARGEST_SHARE * total + writing  # the first one's price is not known before it is written
    gap = max(LEAST_SECONDS, writing / LARGEST_SHARE) + update + writing
    moments = [1000.0, *clock.writes, clock.now]
    assert all(b - a <= gap + 1e-6 for a, b in pairwise(moments))


def test_a_short_run_writes_its_checkpoints_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = []
    original = os.replace

    def call(source: Any, target: Any) -> None:
        written.append(Path(target).name)
        original(source, target)

    monkeypatch.setattr(os, "replace", call)
    monkeypatch.setattr(recorder, "LEAST_SECONDS", 1e9)
    optbench.run(*NETWORK, out=tmp_path)
    assert sorted(name for name in written if name.endswith(".pt")) == ["best.pt", "last.pt"]


def test_epochs_may_be_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    steps = []
    original = Recorder.checkpoint

    def noted(self: Recorder, name: str, state: Any) -> None:
        steps.extend([state["progress"]["step"]] if "progress" in state else [])
        original(self, name, state)

    monkeypatch.setattr(Recorder, "checkpoint", noted)
    optbench.run(*NETWORK, "trainer.epochs=5", "trainer.checkpoint_every=2", out=tmp_path)
    assert steps == [20, 40, 50]
