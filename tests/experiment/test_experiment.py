"""Runs as they are planned, recorded, interrupted, killed, resumed and refused: one folder, one truth."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_tools import command, invoke
from members import TESTS

import optbench
from optbench.comparison import compare
from optbench.config import build
from optbench.errors import ConfigError, IncompatibleError, OutputError, RecordError, RunFailure, UserError
from optbench.experiment import plan_run, plan_sweep
from optbench.launch.base import Relay, Watcher, tell
from optbench.records import Run, locked, read_rows, read_run, run_id, write_yaml

SURFACE = ["model=himmelblau", "optimizer=momentum", "trainer.steps=20"]
NETWORK = ["model=mlp", "model.hidden=[16]", "data.image_size=8", "trainer.threads=1", "trainer.batch_size=64"]
HOMEWORK = ["model=hw3_cnn", "model.width=2", "data=synthetic_food", "data.image_size=32", "data.train_per_class=6",
            "data.validation_per_class=2", "augment=homework", "trainer.batch_size=8", "trainer.threads=1"]  # fmt: skip


def curve(run: Run) -> list[dict[str, str]]:
    """metrics.csv as text, without the seconds."""
    assert run.path is not None
    rows = read_rows(run.path / "metrics.csv")
    for row in rows:
        del row["seconds"]
    return rows


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / f"{name}.pt", weights_only=True)["model"]
    return state


def same_run(one: Run, two: Run) -> None:
    """Asserts that two network runs came to the same end: rows, weights, summary, to the bit."""
    assert one.path is not None
    assert two.path is not None
    assert curve(one) == curve(two)
    for name in ("best", "last"):
        a, b = weights(one.path, name), weights(two.path, name)
        assert a.keys() == b.keys()
        assert all(a[k].equal(b[k]) for k in a)
    timed = ("seconds", "provenance")
    assert {k: v for k, v in one.summary.items() if k not in timed} == {
        k: v for k, v in two.summary.items() if k not in timed
    }


class Watch:
    """A display that acts at a step."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self.at, self.act = at, act

    def start(self, label: str, index: int, count: int) -> None: ...

    def loading(self, done: int, total: int) -> None: ...
    def note(self, words: str) -> None: ...

    def step(self, step: int, total: int, row: Any) -> None:
        if step == self.at:
            self.act()

    def end(self, run: Any) -> None: ...


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A network run that nothing disturbed."""
    return optbench.run(*NETWORK, "trainer.epochs=4", out=tmp_path_factory.mktemp("whole"))


@pytest.fixture
def copied(whole: Run, tmp_path: Path) -> Path:
    """A copy of its folder, to be tampered with."""
    assert whole.path is not None
    shutil.copytree(whole.path, tmp_path / "runs" / whole.path.name)
    return tmp_path / "runs" / whole.path.name


# identity


@pytest.mark.parametrize("overrides", [
    SURFACE, [*SURFACE, "trainer.grad_noise=0.1", "trainer.start=random"], [*NETWORK, "trainer.epochs=1"],
])  # fmt: skip
def test_the_same_configuration_gives_the_same_bytes_and_another_seed_others(
    overrides: list[str], tmp_path: Path
) -> None:
    one, two = (optbench.run(*overrides, out=tmp_path / name) for name in "ab")
    other = optbench.run(*overrides, "seed=1", out=tmp_path / "a")
    assert one.run_id == two.run_id != other.run_id
    assert curve(one) == curve(two)
    if overrides != SURFACE:  # from the usual start nothing is drawn
        assert [r["loss"] for r in curve(one)] != [r["loss"] for r in curve(other)]


def test_a_done_run_is_not_repeated_unless_forced(tmp_path: Path) -> None:
    first = optbench.run(*SURFACE, out=tmp_path)
    assert first.path is not None
    file = first.path / "run.json"
    before = file.stat().st_mtime_ns
    again = optbench.run(*SURFACE, out=tmp_path)
    assert (again.summary, file.stat().st_mtime_ns) == (first.summary, before)
    forced = optbench.run(*SURFACE, out=tmp_path, force=True)
    assert file.stat().st_mtime_ns > before
    assert curve(forced) == curve(first)


def test_identity_leaves_out_where_and_how_fast() -> None:
    def identity(*changes: str) -> str:
        return plan_run(["model=mlp", *changes]).run_id

    base = identity()
    for place in ("trainer.device=cpu", "trainer.threads=2", "trainer.checkpoint_every=3"):
        assert identity(place) == base
    others = ("seed=1", "optimizer.lr=0.5", "trainer.batch_size=8", "loss=focal", "model=logistic")
    assert len({base, *map(identity, others)}) == len(others) + 1


def test_data_is_identified_by_what_is_in_it(tmp_path: Path) -> None:
    from PIL import Image

    for place in "ab":
        for split in ("training", "validation"):
            (tmp_path / place / split).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(tmp_path / place / split / "0_0.png")
    planned = [plan_run(["model=mlp", "data=food11", f"data.root={tmp_path / place}"]) for place in "ab"]
    assert planned[0].run_id == planned[1].run_id
    (tmp_path / "b" / "training" / "0_0.png").rename(tmp_path / "b" / "training" / "1_0.png")
    assert plan_run(["model=mlp", "data=food11", f"data.root={tmp_path / 'b'}"]).run_id != planned[0].run_id


def test_a_record_says_where_its_numbers_come_from(whole: Run) -> None:
    found = whole.summary["provenance"]
    assert found["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["optbench"]
    assert (found["device"], found["threads"], found["dtype"], found["deterministic"]) == ("cpu", 1, "float32", True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found["started"])
    assert found["platform"]
    assert found["processor"]
    if "git_commit" in found:
        assert re.fullmatch("[0-9a-f]{40}", found["git_commit"])
        assert isinstance(found["git_dirty"], bool)
    assert (whole.status, whole.summary["steps"], whole.summary["epochs"]) == ("completed", 80, 4.0)
    assert run_id(whole.config) == whole.run_id


@pytest.mark.parametrize(("batch_size", "epoch"), [("1", 1259), ("17", 74), ("630", 2), ("1258", 1), ("full", 1)])
def test_batches_of_any_size(batch_size: str, epoch: int, tmp_path: Path) -> None:
    run = optbench.run(*NETWORK[:-1], f"trainer.batch_size={batch_size}", "trainer.steps=3", out=tmp_path)
    assert (run.status, run.summary["steps"]) == ("completed", 3)
    assert float(curve(run)[1]["epoch"]) == pytest.approx(1 / epoch)


def test_a_last_batch_of_one_image_joins_the_one_before(tmp_path: Path) -> None:
    # resnet18 makes one pixel of 8 x 8 images: batch norm refuses a batch of one of them
    overrides = ["model=resnet18", "trainer.threads=1", "data.image_size=8", "data.n_classes=2", "trainer.epochs=1"]
    n = len(build(plan_run(overrides).config["data"], "data").load("train"))
    run = optbench.run(*overrides, f"trainer.batch_size={n - 1}", out=tmp_path)
    assert (run.status, run.summary["steps"]) == ("completed", 1), run.reason
    alone = optbench.run(*overrides, "trainer.batch_size=1", out=tmp_path)
    assert alone.status == "failed"
    assert "more than 1 value per channel" in alone.reason


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1259 training images"):
        optbench.run(*NETWORK[:-1], "trainer.batch_size=1260", out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("device", ["meta", "banana", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"trainer.device={device}: not a device"):
        optbench.run(*SURFACE, f"trainer.device={device}", out=tmp_path)
    assert not list(tmp_path.iterdir())


# interrupts


@pytest.mark.parametrize(
    "at", [27, 40, pytest.param(1, marks=pytest.mark.slow), pytest.param(80, marks=pytest.mark.slow)]
)
def test_ctrl_c_finishes_the_step_and_the_run_goes_on_to_the_bit(at: int, whole: Run, tmp_path: Path) -> None:
    cut = optbench.run(*NETWORK, "trainer.epochs=4", out=tmp_path, display=Watch(at, ctrl_c))
    assert (cut.status, cut.reason, cut.summary["steps"]) == ("interrupted", f"stopped by the user after step {at}", at)
    assert len(curve(cut)) == at
    assert curve(cut) == curve(whole)[:at]
    same_run(optbench.run(*NETWORK, "trainer.epochs=4", out=tmp_path), whole)


def test_an_interrupted_runs_clock_goes_on_where_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(1)
    monkeypatch.setattr("optbench.loop.train.time.perf_counter", lambda: float(next(ticks)))

    def seconds(run: Run) -> list[float]:
        assert run.path is not None
        return [float(row["seconds"]) for row in read_rows(run.path / "metrics.csv")]

    words = [*NETWORK, "trainer.epochs=4"]
    whole = optbench.run(*words, out=tmp_path / "whole")
    assert seconds(whole) == sorted(set(seconds(whole)))  # each update takes a tick
    cut = optbench.run(*words, out=tmp_path / "cut", display=Watch(27, ctrl_c))
    assert cut.summary["seconds"] == 27.0
    again = optbench.run(*words, out=tmp_path / "cut")
    assert again.summary["seconds"] == whole.summary["seconds"]
    assert seconds(again) == seconds(whole)


def test_ctrl_c_on_the_command_line_exits_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("optbench.experiment.recorder.Recorder.step", lambda self, step, *_: step == 5 and ctrl_c())
    words = ["sweep", *SURFACE, "seed=1,2,3", "trainer.start=random", "--out", tmp_path, "--quiet", "--name", "s"]
    assert command(*words) == 130
    (folder,) = (f for f in (tmp_path / "s").iterdir() if f.is_dir())
    assert (read_run(folder).status, read_run(folder).summary["steps"]) == ("interrupted", 5)
    monkeypatch.undo()
    assert command(*words) == 0
    folders = [f for f in (tmp_path / "s").iterdir() if f.is_dir()]
    assert {read_run(f).status for f in folders} == {"completed"}
    assert len(folders) == 3


def cut_at(step: int, out: Path) -> Path:
    run = optbench.run(*NETWORK, "trainer.epochs=4", out=out, display=Watch(step, ctrl_c))
    assert run.path is not None
    return run.path


def test_a_run_that_goes_on_says_from_where(
    whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = read_run(cut_at(30, tmp_path))
    epoch = run.summary["epochs"]
    words = ["run", *NETWORK, "trainer.epochs=4", "--out", tmp_path, "--quiet"]
    code, _, err = invoke(capsys, *words)
    assert (code, err) == (0, f"note: goes on from step 30 of {whole.summary['steps']}, epoch {epoch:.4g} (last.pt)\n")
    same_run(read_run(run.path or tmp_path), whole)
    code, _, err = invoke(capsys, *words, "--force")
    assert (code, err) == (0, "")

    class Hears(Watcher):
        def note(self, text: str) -> None:
            heard.append(text)

    heard: list[str] = []
    planned = plan_run([*NETWORK, "trainer.epochs=4"], out=tmp_path)
    relay = Relay(lambda message: tell(Hears(), planned, message))
    relay.loading(1, 2)
    relay.note("goes on")  # however soon after another message
    assert heard == [f"{planned.label} goes on"]


def test_a_torn_last_line_is_not_a_row(whole: Run, tmp_path: Path) -> None:
    folder = cut_at(30, tmp_path)
    with (folder / "metrics.csv").open("a") as file:
        file.write("30,2.25,9")
    assert [r["step"] for r in curve(read_run(folder))] == [str(k) for k in range(30)]
    same_run(optbench.run(*NETWORK, "trainer.epochs=4", out=tmp_path), whole)


@pytest.mark.parametrize(
    "keep",
    [
        0.5,
        pytest.param(0, marks=pytest.mark.slow),
        pytest.param(100, marks=pytest.mark.slow),
        pytest.param(-1, marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_cut_short_starts_again(keep: float, whole: Run, tmp_path: Path) -> None:
    file = cut_at(30, tmp_path) / "last.pt"
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    same_run(optbench.run(*NETWORK, "trainer.epochs=4", out=tmp_path), whole)


def test_a_checkpoint_of_another_run_is_named(tmp_path: Path) -> None:
    file = cut_at(30, tmp_path) / "last.pt"
    state = torch.load(file, weights_only=True)
    state["model"] = {"other": torch.zeros(3)}
    torch.save(state, file)
    with pytest.raises(RecordError, match="not a checkpoint of this run"):
        optbench.run(*NETWORK, "trainer.epochs=4", out=tmp_path)
    assert optbench.run(*NETWORK, "trainer.epochs=4", out=tmp_path, force=True).status == "completed"


def test_a_forced_run_that_is_killed_does_not_go_on_from_what_it_replaces(whole: Run, tmp_path: Path) -> None:
    cut_at(30, tmp_path)

    def killed() -> None:
        raise KeyboardInterrupt  # passes through everything, as a second Ctrl-C does

    with pytest.raises(KeyboardInterrupt):
        optbench.run(*NETWORK, "trainer.epochs=4", out=tmp_path, force=True, display=Watch(10, killed))
    same_run(optbench.run(*NETWORK, "trainer.epochs=4", out=tmp_path), whole)


# kill -9


def kills(seed: int, count: int) -> str:
    rng = random.Random(seed)
    kinds = [lambda: f"r{rng.randint(1, 9)}", lambda: f"f{rng.randint(1, 9)}", lambda: f"t{rng.uniform(0.1, 0.6):.2f}"]
    return ",".join(rng.choice(kinds)() for _ in range(count))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("moments", [
    pytest.param(text, marks=pytest.mark.slow) for text in ("r3,t0.2,f7", *(kills(seed, 12) for seed in range(3)))
])  # fmt: skip
def test_kill_9_at_any_moment(moments: str, whole: Run, tmp_path: Path) -> None:
    check_killed(moments, NETWORK, whole, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_the_homework_killed_ten_times_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))
    whole = optbench.run(*HOMEWORK, "trainer.epochs=4", out=tmp_path / "whole")
    began = time.perf_counter()
    optbench.run(*HOMEWORK, "trainer.epochs=4", "seed=1", out=tmp_path / "another")
    took, rng = time.perf_counter() - began, random.Random(15)
    moments = [f"t{took * rng.uniform(0.1, 0.5):.3f}" for _ in range(10)]
    check_killed(",".join(moments), HOMEWORK, whole, tmp_path / "runs")


def check_killed(moments: str, overrides: list[str], whole: Run, tmp_path: Path) -> None:
    """Kills a run at these moments, lets it go on each time, and holds that it comes to the end of `whole`."""
    script = TESTS / "killed_runs.py"
    words = [sys.executable, script, tmp_path, moments, *overrides, "trainer.epochs=4"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    lines = done.stdout.splitlines()
    ends = [line.split()[1] for line in lines if line.startswith("end")]
    assert len(ends) == moments.count(",") + 1, done.stderr
    assert set(ends) <= {"-9", "0"}
    assert "-9" in ends
    assert "last 0" in lines

    for folder in sorted(tmp_path.glob("after-*")):
        for run in (read_run(f.parent) for f in folder.glob("*/run.json")):
            assert run.status in ("interrupted", "completed")
            assert run.run_id == whole.run_id
            assert len(compare([folder]).runs) == 1
            rows = curve(run)
            assert rows == curve(whole)[: len(rows)]
    (folder,) = (tmp_path / "killed").iterdir()
    same_run(read_run(folder), whole)
    assert {f.name for f in folder.iterdir()} == {
        ".lock", "best.pt", "config.yaml", "last.pt", "metrics.csv", "run.json",
    }  # fmt: skip
    # two processes on one folder: the first one wins, the second one says so
    assert lines[-1] == "codes 0 2"
    assert lines[-2].endswith("is being written by another process")


def test_a_folder_that_another_process_holds(tmp_path: Path) -> None:
    planned = plan_run(SURFACE, out=tmp_path)
    planned.folder.mkdir()
    with locked(planned.folder), pytest.raises(OutputError, match="another process"):
        optbench.run(*SURFACE, out=tmp_path)
    assert optbench.run(*SURFACE, out=tmp_path).status == "completed"


@pytest.mark.parametrize(("builder", "words"), [("traced", []), ("optimizer_of", ["trainer.grad_noise=0.1"])])
def test_a_run_that_another_process_finished_meanwhile_is_not_repeated(
    builder: str, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module: Any = sys.modules["optbench.experiment.execute"]
    original, other = getattr(module, builder), []

    def build_slowly(*parts: Any) -> Any:  # while this run is being built, another process does it
        monkeypatch.setattr(module, builder, original)
        other.append(optbench.run(*SURFACE, *words, out=tmp_path))
        return original(*parts)

    monkeypatch.setattr(module, builder, build_slowly)
    assert optbench.run(*SURFACE, *words, out=tmp_path).summary == other[0].summary


# sweeps


PARTS = """
import torch
from torch import nn


class Explodes(torch.optim.SGD):
    def step(self, closure=None):
        loss = super().step(closure)
        self.count = getattr(self, "count", 0) + 1
        if self.count == 3:
            raise RuntimeError("boom\\nsecond line")
        return loss


class Unbuildable(torch.optim.SGD):
    def __init__(self, params, lr):
        raise RuntimeError("not today")


def dropout_net(n_outputs, pixels, p):
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, n_outputs))
"""


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own conf folder with an optimizer that breaks, one that cannot be built, and a model with dropout."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    conf = tmp_path / "conf"
    for group, name, lines in (
        ("optimizer", "explodes", ["_target_: own_parts.Explodes", "_partial_: true", "lr: 0.001"]),
        ("optimizer", "unbuildable", ["_target_: own_parts.Unbuildable", "_partial_: true", "lr: 0.001"]),
        ("model", "dropout", ["defaults: [_network]", "_target_: own_parts.dropout_net", "n_outputs: ${n_outputs}",
                              "pixels: 192", "p: 0.5"]),
    ):  # fmt: skip
        (conf / group).mkdir(parents=True, exist_ok=True)
        (conf / group / f"{name}.yaml").write_text("\n".join(["# a user's own", *lines]) + "\n")
    return conf


def test_what_fails_in_a_sweep_is_a_row_and_the_others_go_on(
    overlay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", "optimizer=explodes,gd", "model=sphere,himmelblau", "trainer.steps=10", "--json"]
    code = command(*words, "--config-dir", overlay, "--out", tmp_path / "out", "--name", "s")
    rows = json.loads(capsys.readouterr().out)
    assert code == 3
    assert [(r["optimizer"], r["model"], r["status"]) for r in rows] == [
        (optimizer, model, status)
        for optimizer, status in (("explodes", "failed"), ("gd", "completed"))
        for model in ("sphere", "himmelblau")
    ]
    reasons = {r["optimizer"]: r["reason"] for r in rows}
    assert reasons["explodes"] == "RuntimeError: boom (at step 2; traceback in log.txt)"
    exploded = Path(rows[0]["path"])
    assert "own_parts.py" in (exploded / "log.txt").read_text()
    assert len(curve(read_run(exploded))) == 2
    assert rows[0]["best_loss"] is not None
    planned = plan_sweep(words[1:4], [overlay], tmp_path / "out", "s")
    assert [p.run_id for p in planned] == [r["run_id"] for r in rows]
    assert len([f for f in (tmp_path / "out" / "s").iterdir() if f.is_dir()]) == len(planned)


def test_what_cannot_be_built_ends_a_sweep_once_before_anything_runs(
    overlay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", "optimizer=unbuildable,gd", "model=sphere,himmelblau", "trainer.steps=10"]
    assert command(*words, "--config-dir", overlay, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err.strip()
    assert err.startswith("error: optimizer=unbuildable cannot be built, so none of its 2 runs can start: ")
    assert "not today" in err
    assert len(err.splitlines()) <= 3
    assert not (tmp_path / "out").exists()


def test_a_part_that_cannot_be_built_alone_is_an_error_and_writes_nothing(overlay: Path, tmp_path: Path) -> None:
    with pytest.raises((RunFailure, ConfigError), match="not today"):
        optbench.run("optimizer=unbuildable", config_dir=overlay, out=tmp_path / "out")
    with pytest.raises(ConfigError):
        optbench.run("scheduler=cosine_restarts", "scheduler.T_0=-1", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_is_skipped_in_a_sweep_and_an_error_alone(tmp_path: Path) -> None:
    cells = ["model=rosenbrock", "loss=surface,cross_entropy", "trainer.steps=5"]
    runs = optbench.sweep(*cells, out=tmp_path, name="s")
    assert [r.status for r in runs] == ["completed", "skipped"]
    assert "Rosenbrock is a surface of values" in runs[1].reason
    assert runs[1].summary["steps"] == 0
    assert runs[1].summary["final_loss"] is None
    assert len(compare([tmp_path / "s"]).runs) == 2
    with pytest.raises(IncompatibleError):
        optbench.run(cells[0], "loss=cross_entropy", out=tmp_path / "alone")
    assert not (tmp_path / "alone").exists()


def test_a_sweep_fills_its_gaps(tmp_path: Path) -> None:
    cells = [*SURFACE, "optimizer.lr=1e-3,2e-3", "seeds=2", "trainer.start=random"]
    runs = optbench.sweep(*cells, out=tmp_path, name="s")
    assert len({r.run_id for r in runs}) == 4
    assert all(r.summary["sweep"] == "s" for r in runs)
    assert [(r.summary["optimizer.lr"], r.summary["seed"]) for r in runs] == [
        (lr, seed) for lr in (1e-3, 2e-3) for seed in (0, 1)
    ]
    assert runs[2].path is not None
    shutil.rmtree(runs[2].path)
    started = [r.summary["provenance"]["started"] for r in runs]
    again = optbench.sweep(*cells, out=tmp_path, name="s")
    assert [r.run_id for r in again] == [r.run_id for r in runs]
    assert [r.summary["provenance"]["started"] for i, r in enumerate(again) if i != 2] == [
        s for i, s in enumerate(started) if i != 2
    ]
    assert curve(again[2])


def test_dropout_repeats_and_goes_on_to_the_bit(overlay: Path, tmp_path: Path) -> None:
    words = ["model=dropout", "data.image_size=8", "trainer.epochs=2", "trainer.threads=1"]

    def run(name: str, display: Any = None, *more: str) -> Run:
        torch.rand(3)  # whatever was drawn before does not matter
        return optbench.run(*words, *more, config_dir=overlay, out=tmp_path / name, display=display)

    first = run("a")
    same_run(run("b"), first)
    assert run("c", Watch(50, ctrl_c)).status == "interrupted"
    same_run(run("c"), first)
    plain = run("d", None, "model.p=0.0")
    assert [r["loss"] for r in curve(plain)] != [r["loss"] for r in curve(first)]


# a run folder is data


def refused(capsys: pytest.CaptureFixture[str], folder: Path, words: str) -> None:
    """Asserts that evaluate and predict refuse the folder in a line or two that say why."""
    for verb in (["evaluate", folder], ["predict", folder, "-o", folder.parent / "submission.csv"]):
        assert command(*verb) == 2
        message = capsys.readouterr().err
        assert words in message
        assert "Traceback" not in message
        assert len(message.splitlines()) <= 3
    assert not (folder.parent / "submission.csv").exists()


def edit(folder: Path, change: Callable[[dict[str, Any]], None], forge: bool = False) -> None:
    """Changes config.yaml; `forge` gives run.json the identity that goes with it."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    write_yaml(folder / "config.yaml", config)
    if forge:
        summary = json.loads((folder / "run.json").read_text())
        summary["run_id"] = run_id(config, summary["data_fingerprint"])
        (folder / "run.json").write_text(json.dumps(summary))


def test_a_changed_configuration_is_refused(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(copied, lambda c: c["model"].update(hidden=[8]))
    refused(capsys, copied, "config.yaml was changed after the run")


@pytest.mark.parametrize("change", [{"run_id": "0" * 12}, {"run_id": 3}, {"status": "great"}, {"steps": "many"}])
def test_a_changed_record_is_refused(change: dict[str, Any], copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = json.loads((copied / "run.json").read_text()) | change
    (copied / "run.json").write_text(json.dumps(summary))
    refused(capsys, copied, copied.name)


@pytest.mark.parametrize("part", ["model", "data", "loss"])
@pytest.mark.parametrize("target", ["os.mkdir", "builtins.exec", "subprocess.check_call"])
def test_a_foreign_target_is_not_built_even_with_a_forged_identity(
    part: str, target: str, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = tmp_path / "planted"
    arguments = {"os.mkdir": {"path": str(planted)}, "subprocess.check_call": {"args": ["mkdir", str(planted)]}}
    code = {"object": f"import os; os.mkdir({str(planted)!r})"}
    edit(copied, lambda c: c.update({part: {"_target_": target, **arguments.get(target, code)}}), forge=True)
    refused(capsys, copied, "is named by no trusted config")
    assert not planted.exists()


def test_a_nested_target_and_positional_arguments_are_not_built(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = str(tmp_path / "planted")
    edit(copied, lambda c: c["model"].update(hidden=[{"_target_": "os.mkdir", "path": planted}]), forge=True)
    refused(capsys, copied, "is named by no trusted config")
    edit(copied, lambda c: c["model"].update(hidden=[16], _args_=[planted]), forge=True)
    refused(capsys, copied, "_args_ is not allowed in a record")
    assert not Path(planted).exists()


class Plants:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("damage", ["code", "zipped code", "cut", "text", "other model", "no model", "list"])
def test_a_checkpoint_is_tensors_or_nothing(
    damage: str, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pickle

    planted, buffer = tmp_path / "planted", io.BytesIO()
    torch.save({"model": Plants(str(planted))}, buffer)
    other, empty, listed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"model": {"w": torch.zeros(2)}}, other)
    torch.save({"step": 3}, empty)
    torch.save([1, 2], listed)
    data = {
        "code": pickle.dumps({"model": Plants(str(planted))}),
        "zipped code": buffer.getvalue(),
        "cut": (copied / "best.pt").read_bytes()[:2000],
        "text": b"weights",
        "other model": other.getvalue(),
        "no model": empty.getvalue(),
        "list": listed.getvalue(),
    }[damage]
    (copied / "best.pt").write_bytes(data)
    refused(capsys, copied, "not a checkpoint of this model")
    assert not planted.exists()


def test_a_resumed_run_executes_nothing_from_its_checkpoint(whole: Run, tmp_path: Path) -> None:
    file = cut_at(30, tmp_path / "out") / "last.pt"
    torch.save({"progress": Plants(str(tmp_path / "planted"))}, file)
    same_run(optbench.run(*NETWORK, "trainer.epochs=4", out=tmp_path / "out"), whole)
    assert not (tmp_path / "planted").exists()
