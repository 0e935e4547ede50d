"""A stack that was interrupted or killed goes on where it stood, and its runs are those of one that was not."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optbench.experiment import Stop
from optbench.launch import stacks, stacks_kept
from optbench.launch.sweep import SweepWatcher, sweep
from optbench.records import Run
from optbench.stacked import train

WORDS = ("model=mlp", "model.hidden=[6]", "model.norm=batch", "data.image_size=8", "data.channels=1", "optimizer=adam",
         "optimizer.lr=3e-3,1e30", "seeds=2", "scheduler=warmup_cosine", "trainer.epochs=3", "trainer.batch_size=256",
         "hydra.launcher.jobs=0", "trainer.ema=0.9")  # fmt: skip


class Heard(SweepWatcher):
    """Keeps what it is told in sentences."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, words: str) -> None:
        self.notes.append(words)


def made(out: Path, stop: Stop | None = None, watcher: SweepWatcher | None = None, **more: Any) -> list[Run]:
    return sweep(*WORDS, out=out, name="s", engine="stacked", least=2, stop=stop or Stop(), watcher=watcher, **more)


def left(out: Path) -> list[Path]:
    return list((out / "s").glob(".stack-*.pt"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    runs = made(tmp_path_factory.mktemp("whole"))
    assert {run.summary["engine"] for run in runs} == {"stacked"}
    assert sorted(run.status.value for run in runs) == ["completed", "completed", "diverged", "diverged"]
    return runs


def check_same(runs: list[Run], whole: list[Run]) -> None:
    for run, wanted in zip(runs, whole, strict=True):
        same = run.summary.keys() - {"provenance", "sweep"}
        assert {k: run.summary[k] for k in same} == {k: wanted.summary[k] for k in same}
        mine, theirs = run.columns(), wanted.columns()
        assert mine.keys() == theirs.keys()
        for name, values in theirs.items():
            np.testing.assert_array_equal(mine[name], values, err_msg=name)
        for name in ("last.pt", "best.pt"):
            states = [torch.load((one.path or Path()) / name, weights_only=True) for one in (run, wanted)]
            assert states[0].get("step") == states[1].get("step")
            for key, value in states[1]["model"].items():
                assert torch.equal(states[0]["model"][key].nan_to_num(7.0), value.nan_to_num(7.0)), (name, key)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The user's wish to stop comes as it is asked for so many times; it is asked for before each update."""
    monkeypatch.setattr(train, "_WORK", 0)
    asked, over = [0], stacks._Work._over

    def at_last(self: stacks._Work) -> bool:
        asked[0] += 1
        self._stop.requested |= asked[0] == times
        return over(self)

    monkeypatch.setattr(stacks._Work, "_over", at_last)


@pytest.mark.parametrize(
    "moments", [(6, 3, 4), *(pytest.param(m, marks=pytest.mark.slow) for m in ((1,), (2, 4), (7,)))]
)  # 5 updates an epoch
def test_interrupted(moments: tuple[int, ...], whole: list[Run], tmp_path: Path) -> None:
    for times in moments:
        with pytest.MonkeyPatch.context() as patch:
            interrupt_at(patch, times)
            made(tmp_path)
    watcher = Heard()
    runs = made(tmp_path, watcher=watcher)
    check_same(runs, whole)
    assert not left(tmp_path)
    goes_on = [words for words in watcher.notes if "go on from update" in words]
    assert len(goes_on) == (moments != (1,)), "asked before it began, it has nothing to go on from"


@pytest.mark.slow
def test_killed(whole: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it had been kept, at the fourth and then at every later update; records of rows that had ended may be gone."""

    class Killed(BaseException):
        pass

    kept, keep = [0], stacks_kept.Keeper.keep

    def then_die(self: stacks_kept.Keeper, state: Any) -> None:
        keep(self, state)
        kept[0] += 1
        if kept[0] in (4, 6, 9):
            raise Killed

    monkeypatch.setattr(train, "_WORK", 0)  # as it had been kept after each update
    monkeypatch.setattr(stacks_kept.Keeper, "due", property(lambda self: True))
    monkeypatch.setattr(stacks_kept.Keeper, "keep", then_die)
    for _ in range(3):
        with pytest.raises(Killed):
            made(tmp_path)
        assert left(tmp_path)
    for run in (tmp_path / "s").glob("*/run.json"):
        run.unlink()
    check_same(made(tmp_path), whole)
    assert not left(tmp_path)


@pytest.mark.slow
def test_what_cannot_be_gone_on_from(
    whole: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, 8)
        made(tmp_path)
    (path,) = left(tmp_path)
    state = torch.load(path, weights_only=True)
    with caplog.at_level(logging.WARNING):
        path.write_bytes(path.read_bytes()[:1000])
        assert stacks_kept.find(tmp_path / "s", state["run_ids"]) == []
        assert "cannot be read" in caplog.text
        torch.save(state | {"state": state["state"] | {"flat": torch.zeros(4, 3)}}, path)
        check_same(made(tmp_path), whole)
    assert "is of other networks" in caplog.text


@pytest.mark.slow
def test_force_begins_anew(whole: list[Run], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, 8)
        made(tmp_path)
    watcher = Heard()
    check_same(made(tmp_path, watcher=watcher, force=True), whole)
    assert not [words for words in watcher.notes if "go on from" in words]
    assert not left(tmp_path)
