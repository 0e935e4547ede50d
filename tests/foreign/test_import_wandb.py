"""Exports of Weights & Biases: charts with a column a run and metric, the table of runs beside them.

The headers are those of line plot panels exported in 2023 to 2026: `Step`, then `RUN - METRIC`, `..__MIN`, `..__MAX`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from optbench import records
from optbench.errors import UserError
from optbench.foreign import Wishes, bring

RUNS = ("adam - a", "adam - b", "sgd - a")
"""Names with the sign that separates name and metric in them."""


def chart(path: Path, metric: str, values: dict[str, list[str]], axis: str = "Step", step: str = "") -> Path:
    """A chart's export; `step`: whether each run has its own `_step` column with these."""
    own = [f"{run} - {m}{band}" for run in values for m in (*(["_step"] if step else []), metric)
           for band in ("", "__MIN", "__MAX")]  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow([axis, *own])
        for k in range(len(next(iter(values.values())))):
            cells = [v for run in values.values() for v in ([str(100 * k)] * 3 if step else []) + [run[k]] * 3]
            writer.writerow([str(k if step else 10 * k), *cells])
    return path


def table(path: Path, names: tuple[str, ...] = RUNS) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(
            ["Name", "State", "Notes", "User", "Created", "Runtime", "lr", "optimizer", "seed", "train/loss"]
        )
        for k, name in enumerate(names):
            state = "crashed" if k == 1 else "finished"
            writer.writerow([name, state, "-", "me", "2026-01-01", "99", "0.01", name[:3], str(k), "0.5"])
    return path


def test_charts_and_the_table_are_one_log_a_run(tmp_path: Path) -> None:
    loss = chart(tmp_path / "loss.csv", "train/loss", {run: ["2.0", "1.0", f"0.{k}5"] for k, run in enumerate(RUNS)})
    accuracy = chart(tmp_path / "acc.csv", "val/acc", {run: ["0.5", "", "0.75"] for run in RUNS})
    brought = bring([loss, table(tmp_path / "runs.csv"), accuracy], tmp_path / "out")
    assert (brought.kinds, brought.unused) == (["wandb"], [])
    runs = {run.summary["seed"]: run for run in records.read([tmp_path / "out"]).runs()}
    assert {seed: run.summary["optimizer"] for seed, run in runs.items()} == {0: "ada", 1: "ada", 2: "sgd"}
    assert [runs[k].summary["status"] for k in range(3)] == ["completed", "interrupted", "completed"]
    assert [runs[k].summary["final_loss"] for k in range(3)] == [0.05, 0.15, 0.25]
    assert runs[0].config["optimizer"] == {"lr": 0.01}
    assert "settings" not in runs[0].config  # the summary value train/loss is no setting
    assert runs[0].columns()["step"].tolist() == [0, 10, 20]
    assert runs[0].columns()["val_accuracy"][[0, 2]].tolist() == [0.5, 0.75]
    again = bring([accuracy, loss, tmp_path / "runs.csv"], tmp_path / "out")
    assert (again.again, sorted(again.folders)) == (3, sorted(brought.folders))


def test_another_axis_than_the_step(tmp_path: Path) -> None:
    source = chart(tmp_path / "x.csv", "loss", {"a": ["2.0", "1.0"]}, axis="epoch", step="own")
    brought = bring([source], tmp_path / "out", Wishes(config={"seed": 3}))
    (run,) = records.read([tmp_path / "out"]).runs()
    assert brought.columns["step"] == ["_step"]
    assert run.columns()["step"].tolist() == [0, 100]
    assert run.columns()["epoch"].tolist() == [0, 1]
    only_time = chart(tmp_path / "y.csv", "loss", {"a": ["2.0", "1.0"]}, axis="Relative Time (Process)")
    with pytest.raises(UserError, match="no column of steps"):
        bring([only_time], tmp_path / "out")


def test_a_history_is_a_table_of_steps(tmp_path: Path) -> None:
    source = tmp_path / "history.csv"
    source.write_text("run_id,_step,_runtime,_timestamp,loss\na1,0,0.5,17,2.0\na1,1,1.5,18,1.0\nb2,0,0.5,17,3.0\n")
    brought = bring([source], tmp_path / "out", Wishes(kind="wandb", columns={"seconds": "_runtime"}))
    runs = records.read([tmp_path / "out"]).runs()
    assert sorted(run.summary["seconds"] for run in runs) == [0.5, 1.5]
    assert brought.unused == ["_timestamp"]


def test_what_is_refused(tmp_path: Path) -> None:
    group = chart(tmp_path / "group.csv", "loss", {"Group: adam": ["1.0"]})
    loss = chart(tmp_path / "loss.csv", "loss", {run: ["2.0", "1.0"] for run in RUNS})
    cases = {
        "is a mean over runs": [group],
        "a table of runs has no curves": [table(tmp_path / "runs.csv")],
        "two runs are called adam - a": [loss, table(tmp_path / "twice.csv", ("adam - a", "adam - a"))],
        "no run of the charts called sgd - a": [loss, table(tmp_path / "two.csv", RUNS[:2])],
    }
    for why, sources in cases.items():
        with pytest.raises(UserError, match=why):
            bring(sources, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_of_wandb_itself_is_told_what_to_do(tmp_path: Path) -> None:
    """What an offline run leaves behind."""
    file = tmp_path / "wandb" / "offline-run-20260101_000000-abc" / "run-abc.wandb"
    file.parent.mkdir(parents=True)
    file.write_bytes(b":W&B\xf2\xbe\0")
    for source in (file, tmp_path / "wandb"):
        with pytest.raises(UserError) as caught:
            bring([source], tmp_path / "out")
        assert "export the charts as CSV" in str(caught.value.hint)
