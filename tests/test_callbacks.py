"""Callbacks see what is recorded, change nothing, and end nothing; what loggers wrote is read back by other code."""

from __future__ import annotations

import csv
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_tools import invoke

import optbench
from optbench.cli import every_command
from optbench.foreign import Wishes, bring
from optbench.records import read, read_run

SURFACE = ("model=himmelblau", "optimizer=momentum", "trainer.steps=12", "trainer.record_every=5")
NETWORK = ("model=linear", "data=wine", "optimizer=adam", "trainer.epochs=2", "trainer.threads=1")
CODE = """
import json
from pathlib import Path
from optbench import Callback


class Diary(Callback):
    def __init__(self, into, stumble=None):
        self._into, self._stumble = Path(into), stumble

    def _write(self, **what):
        with (self._into / self._id).open("a") as file:
            file.write(json.dumps(what) + "\\n")
        if self._stumble == next(iter(what)):
            raise ValueError("no\\nmore")

    def begin(self, start):
        self._id = start.run_id
        module = None if start.module is None else sum(p.numel() for p in start.module.parameters())
        self._write(begin=start.name, model=start.config["choices"]["model"], goes_on_from=start.goes_on_from,
                    module=module, sweep=start.sweep)

    def row(self, row):
        self._write(row=row)

    def end(self, run):
        self._write(end=run.status.value, steps=run.summary["steps"])


class Looking(Diary):
    needs_module = True
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A conf folder of one's own with two callbacks, and where they write, in one folder."""
    folder = tmp_path / "我的 conf"
    (folder / "callback").mkdir(parents=True)
    (tmp_path / "told").mkdir()
    (folder / "diary_of_mine.py").write_text(CODE)
    for name, kind in (("diary", "Diary"), ("looking", "Looking")):
        node = {"_target_": f"diary_of_mine.{kind}", "into": str(tmp_path / "told"), "stumble": None}
        text = f"# my callback {name} for tests\n{yaml.safe_dump(node, allow_unicode=True)}"
        (folder / "callback" / f"{name}.yaml").write_text(text)
    monkeypatch.delitem(sys.modules, "diary_of_mine", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


def told(run_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("told", run_id).read_text().splitlines()]


def recorded_rows(folder: Path | None) -> list[dict[str, float]]:
    assert folder is not None
    with (folder / "metrics.csv").open() as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "words", [SURFACE, NETWORK, pytest.param((*SURFACE, "trainer.engine=portable"), marks=pytest.mark.slow)]
)
def test_it_sees_each_row_and_changes_nothing(words: tuple[str, ...], own: Path) -> None:
    bare = optbench.run(*words, out="bare")
    run = optbench.run(*words, out="runs", config_dir=own, callbacks=["diary"])
    assert run.run_id == bare.run_id
    begin, *rows, end = told(run.run_id)
    assert (begin["begin"], begin["goes_on_from"], begin["sweep"]) == (run.path and run.path.name, None, None)
    assert [one["row"] for one in rows] == recorded_rows(run.path)
    assert end == {"end": run.status.value, "steps": run.summary["steps"]}
    assert (begin["module"] is not None) == (words == NETWORK)  # a program has none
    for name in run.columns().keys() - {"seconds"}:
        np.testing.assert_array_equal(run.columns()[name], bare.columns()[name])
    assert not [
        line for line in (run.path or Path()).joinpath("config.yaml").read_text().splitlines() if "diary" in line
    ]


@pytest.mark.parametrize("method", ["begin", "row", "end"])
def test_one_that_fails_is_told_no_more_and_ends_nothing(
    method: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", *SURFACE, "--config-dir", str(own), "--callback", f"diary:stumble={method}", "--quiet", "--json"]
    code, out, err = invoke(capsys, *words)
    run = json.loads(out)
    assert (code, run["status"]) == (0, "completed")
    assert f"note: callback diary is told no more of this run: {method}: ValueError: no more\n" in err
    assert next(iter(told(run["run_id"])[-1])) == method


def check_told(runs: list[optbench.Run]) -> list[int]:
    """Checks that each run was told as it is recorded; how many rows of each."""
    lengths = []
    for run in runs:
        begin, *rows, end = told(run.run_id)
        slug = "-".join(run.summary[part] for part in ("model", "optimizer", "scheduler"))
        assert (begin["begin"], begin["sweep"]) == (f"{slug}-s{run.summary['seed']}-{run.run_id}", "s")
        assert end["end"] == run.status.value
        columns = run.columns()
        there = [{name: values[i] for name, values in columns.items()} for i in range(len(rows))]
        assert [one["row"] for one in rows] == [
            {name: float(value) for name, value in row.items() if not np.isnan(value)} for row in there
        ]
        lengths.append(len(rows))
    return lengths


ROWS = ("model=himmelblau", "optimizer=adam", "trainer.start=random", "trainer.steps=9", "seeds=12")


def test_rows_are_told_from_their_records(own: Path) -> None:
    again = {"name": "s", "config_dir": own, "callbacks": ["diary"], "curves": 10, "out": ".", "least": 2}
    runs = optbench.sweep(*ROWS, **again)
    assert "loop" not in {run.summary["engine"] for run in runs}
    assert sorted(check_told(runs)) == [0, 0, *[10] * 10]  # as --curves says
    before = {path: path.read_bytes() for path in Path("told").iterdir()}
    optbench.sweep(*ROWS, **again)
    assert before == {path: path.read_bytes() for path in Path("told").iterdir()}, "what was done is told by export"


@pytest.mark.slow
def test_stacked_networks_are_told_from_their_records(own: Path) -> None:
    words = ("model=mlp", "data=digits", "optimizer=sgd", "trainer.epochs=1", "seeds=2")
    runs = optbench.sweep(*words, name="s", config_dir=own, callbacks=["diary"], out=".", engine="stacked", least=2)
    assert {run.summary["engine"] for run in runs} == {"stacked"}
    assert all(length > 10 for length in check_told(runs))


def test_one_that_looks_into_the_module_is_given_it(own: Path) -> None:
    runs = optbench.sweep("model=sphere", "optimizer=gd", "trainer.steps=3", "seeds=2", "trainer.start=random",
                          config_dir=own, callbacks=["looking"], out=".")  # fmt: skip
    assert {run.summary["engine"] for run in runs} == {"loop"}
    assert [told(run.run_id)[0]["module"] for run in runs] == [2, 2]


def test_export_tells_what_run_did(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = optbench.run(*SURFACE, out="runs", config_dir=own, callbacks=["diary"])
    live = told(run.run_id)
    Path("told", run.run_id).unlink()
    code, out, err = invoke(capsys, "export", "runs", "--callback", "diary", "--config-dir", str(own), "--json")
    assert (code, json.loads(out), err) == (
        0,
        {"runs": 1, "without_curve": 0, "callbacks": ["diary"], "told": {"diary": 1}, "failed": []},
        "",
    )
    assert told(run.run_id) == [live[0] | {"module": None}, *live[1:]]
    words = ["export", "runs", "--callback", "diary:stumble=end", "--config-dir", str(own)]
    code, out, err = invoke(capsys, *words)
    assert (code, out) == (1, "diary: told of 0 of 1 run\n"), "what failed is not counted as told"
    assert err == f"{run.run_id}: callback diary is told no more of this run: end: ValueError: no more\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--callback", "dairy"], "there is no callback 'dairy'\ndid you mean: diary?"),
        (["--callback", "../diary"], "there is no callback '../diary'"),
        (
            ["--callback", "diary:inot=x"],
            "--callback diary:inot=x: 'inot=x' sets nothing of diary\ndid you mean: into?",
        ),
        (["--callback", "diary:into=[a"], "--callback diary:into=[a: '[a' is no value that YAML reads"),
        (["--callback", "diary:_target_=os.system"], "sets nothing of diary"),
        (["--callback", "diary", "--callback", "diary"], "--callback diary stands twice"),
        (["--callback", "wandb:mode=loud"], "callback wandb"),
        (["--callback", "notes"], "there is no callback 'notes'"),
    ],
)
def test_what_is_wrong_is_a_line(
    words: list[str], error: str, own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "wandb" in words[1]:
        error = "wandb needs the package wandb\npip install 'optbench[wandb]'"
        monkeypatch.setattr("importlib.util.find_spec", _without("wandb"))
    for command in (["run"], ["sweep"], ["export", "."]):
        code, out, err = invoke(capsys, *command, *words, "--config-dir", str(own))
        assert (code, out) == (2, "")
        assert f"error: {error}" in err or error in err
        assert len(err.splitlines()) <= 3
    assert not Path("outputs").exists()


def _without(gone: str) -> Any:
    from importlib.util import find_spec

    return lambda name, *more: None if name.partition(".")[0] == gone else find_spec(name, *more)


def test_the_commands_that_run_take_them() -> None:
    import inspect

    having = {c.name for c in every_command() if "callback" in inspect.signature(c.function()).parameters}
    assert having == {"run", "sweep", "tune", "which", "export"}


def test_lines_of_json(own: Path) -> None:
    run = optbench.run(*SURFACE, out="runs", callbacks=["jsonl:file=lines"])
    begin, *rows, end = map(json.loads, Path("lines").read_text().splitlines())
    assert (begin["event"], begin["config"]["optimizer"]) == ("begin", run.config["optimizer"])
    assert [{k: v for k, v in row.items() if k not in ("event", "run_id")} for row in rows] == recorded_rows(run.path)
    assert (end["event"], end["status"], end["final_loss"]) == ("end", "completed", run.summary["final_loss"])
    assert {line["run_id"] for line in (begin, *rows, end)} == {run.run_id}


@pytest.mark.slow
def test_a_network_that_goes_on_says_from_where(own: Path) -> None:
    """The rows that it tells are those of the record, once those beyond the checkpoint are taken again."""
    words = (*NETWORK[:3], "trainer.epochs=40", "trainer.threads=1")
    whole = optbench.run(*words, out="whole")

    class Stopping(optbench.experiment.Display):  # type: ignore[misc,name-defined]
        def start(self, *_: Any) -> None: ...
        def loading(self, *_: Any) -> None: ...
        def note(self, *_: Any) -> None: ...
        def end(self, *_: Any) -> None: ...
        def step(self, step: int, *_: Any) -> None:
            if step == 60:
                import signal

                signal.raise_signal(signal.SIGINT)

    first = optbench.run(*words, out="runs", config_dir=own, callbacks=["diary"], display=Stopping())
    assert first.status == "interrupted"
    run = optbench.run(*words, out="runs", config_dir=own, callbacks=["diary"])
    assert run.status == "completed"
    seen = told(run.run_id)
    begins = [i for i, one in enumerate(seen) if "begin" in one]
    assert [seen[i]["goes_on_from"] for i in begins] == [None, first.summary["steps"]]
    rows = {one["row"]["step"]: one["row"] for one in seen if "row" in one}
    assert [rows[step] for step in sorted(rows)] == recorded_rows(run.path)
    assert [row["loss"] for row in recorded_rows(whole.path) if "loss" in row] == [
        rows[step]["loss"] for step in sorted(rows) if "loss" in rows[step]
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of their packages'
@pytest.mark.parametrize(("callback", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow")])
def test_what_they_wrote_is_read_back(
    callback: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our readers of event files and of MLflow's database know nothing of what wrote them."""
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    run = optbench.run(*NETWORK, out="runs", callbacks=[callback])
    found = bring(
        [Path("outputs/tensorboard" if callback == "tensorboard" else "outputs/mlflow.db")], Path("in"), Wishes()
    )
    (again,) = [read_run(folder) for folder in found.folders]
    mine, theirs = run.columns(), again.columns()
    assert {"loss", "lr", "val_loss", "val_accuracy"} <= theirs.keys()
    for name in theirs.keys() & mine.keys() - {"seconds"}:
        seen = mine[name].astype(np.float32) if callback == "tensorboard" and name != "step" else mine[name]
        np.testing.assert_array_equal(theirs[name], seen.astype(theirs[name].dtype), err_msg=name)
    assert len(read([Path("in")])) == 1


def wandb_records(data: bytes) -> Iterator[bytes]:
    """The records in a file of W&B's: LevelDB's log format behind seven bytes (github.com/google/leveldb,
    doc/log_format.md)."""
    at, parts = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_wandb_offline_keeps_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.chdir(tmp_path)
    run = optbench.run(*SURFACE, out="runs", callbacks=["wandb"])
    (file,) = tmp_path.rglob("*.wandb")
    rows = []
    for data in wandb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            rows.append({"step": items["_step"]} | {k: v for k, v in items.items() if not k.startswith("_")})
    assert rows == recorded_rows(run.path)
