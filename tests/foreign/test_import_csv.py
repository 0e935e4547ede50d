"""CSV files as records: what is read, how runs are told apart, what is refused and in which words."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from command_tools import command
from hypothesis import given
from hypothesis import strategies as st

from optbench import records
from optbench.errors import RecordError, UserError
from optbench.foreign import Wishes, bring
from optbench.foreign.columns import parse_map
from optbench.foreign.log import literal
from optbench.foreign.settings import parse_config
from optbench.foreign.tables import read_table
from optbench.records import Run


def write(path: Path, header: list[str], rows: list[list[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def runs_of(out: Path) -> list[Run]:
    table = records.read([out])
    assert not table.unreadable
    return table.runs()


def race(path: Path) -> Path:
    """Two optimizers, two rates, three seeds, five steps; the loss is an exact function of all of them."""
    rows: list[list[object]] = [
        [name, lr, seed, step, (1 + seed + rate) * base**step, 0.5]
        for name, base in (("mine", 0.5), ("adam", 0.75))
        for rate, lr in enumerate((0.1, 0.01))
        for seed in range(3)
        for step in range(0, 50, 10)
    ]
    return write(path, ["optimizer", "lr", "seed", "Step", "train/loss", "memory"], rows)


def test_a_long_table_becomes_a_record_a_run(tmp_path: Path) -> None:
    source = race(tmp_path / "runs.csv")
    brought = bring([source], tmp_path / "out", Wishes(apart=("optimizer", "lr", "seed"), config={"model": "net"}))
    assert (len(brought.folders), brought.again, brought.unused) == (12, 0, ["memory"])
    assert brought.columns == {"step": ["Step"], "loss": ["train/loss"]}
    found = {(r.summary["optimizer"], r.config["optimizer"]["lr"], r.summary["seed"]): r for r in runs_of(tmp_path)}
    assert len(found) == 12
    one = found["adam", 0.01, 2].summary
    assert (one["final_loss"], one["best_step"], one["steps"], one["model"]) == (4 * 0.75**40, 40, 40, "net")
    assert [one[key] for key in ("engine", "device", "seconds", "evals", "scheduler")] == [None] * 5
    assert found["mine", 0.1, 0].columns()["loss"].tolist() == [0.5**k for k in range(0, 50, 10)]


def test_the_same_source_makes_the_same_records(tmp_path: Path) -> None:
    source = race(tmp_path / "runs.csv")
    wishes = Wishes(apart=("optimizer", "lr", "seed"))
    first = bring([source], tmp_path / "out", wishes)
    before = {run.run_id for run in runs_of(tmp_path / "out")}
    source.write_text(source.read_text() + "adam,0.01,2,50,0.25,0.5\n")  # the log has grown
    again = bring([source], tmp_path / "out", wishes)
    assert (again.folders, again.again) == (first.folders, 12)
    assert {run.run_id for run in runs_of(tmp_path / "out")} == before
    other = bring([source], tmp_path / "out", Wishes(apart=wishes.apart, config={"model": "net"}))
    assert other.folders == first.folders  # corrected in place, not beside
    assert all(run.summary["model"] == "net" for run in runs_of(tmp_path / "out"))


def test_a_verdict_over_imported_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[list[object]] = [
        [name, seed, step, (1 + seed / 10) * base**step]
        for name, base in (("mine", 0.5), ("adam", 0.75))
        for seed in range(8)
        for step in range(4)
    ]
    source = write(tmp_path / "x.csv", ["optimizer", "seed", "step", "loss"], rows)
    assert command("import", source, "--out", tmp_path / "out", "--config", "model=net") == 0
    assert command("compare", tmp_path / "out", "--json") == 0
    found = json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))
    assert [(p["a"], p["b"], p["verdict"], p["n"]) for p in found["pairs"]] == [("mine", "adam", "better", 8)]
    assert command("verify", tmp_path / "out", "--sample", 1) == 3  # nothing was found true
    assert "imported: nothing to run again" in capsys.readouterr().out


def test_a_curve_that_ends_in_nan_has_diverged(tmp_path: Path) -> None:
    ends = {"nan": "diverged", "inf": "diverged", "-Infinity": "diverged", "7.5": "completed", "": "completed"}
    rows: list[list[object]] = [
        [seed, step, value] for seed, end in enumerate(ends) for step, value in enumerate(("nan", "2.0", "3.0", end))
    ]
    source = write(tmp_path / "x.csv", ["seed", "step", "loss"], rows)
    bring([source], tmp_path / "out")
    runs = sorted(runs_of(tmp_path / "out"), key=lambda run: int(run.summary["seed"]))
    assert [run.summary["status"] for run in runs] == list(ends.values())
    assert [run.summary["final_loss"] for run in runs] == [None, None, None, 7.5, 3.0]
    assert {(run.summary["best_loss"], run.summary["best_step"]) for run in runs} == {(2.0, 1)}


def test_what_is_the_same_in_a_whole_run_is_a_setting_of_it(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        [f"{name}-{seed}", name, seed, step, step % 3, 2.0 - step / 10]
        for name in ("adam", "sgd") for seed in range(3) for step in range(4)
    ]  # fmt: skip
    source = write(tmp_path / "x.csv", ["run", "optimizer", "seed", "step", "batch_size", "loss"], rows)
    bring([source], tmp_path / "out", Wishes(apart=("run",)))
    runs = runs_of(tmp_path / "out")
    assert sorted((run.summary["optimizer"], run.summary["seed"]) for run in runs) == [
        (name, seed) for name in ("adam", "sgd") for seed in range(3)
    ]
    assert not any("batch_size" in key for run in runs for key in run.config)  # it changes within a run


def test_a_map_names_settings_too(tmp_path: Path) -> None:
    """Under which the log has other names; which record it is does not follow from how it is read."""
    rows: list[list[object]] = [
        [algorithm, rate, number, step, 1.0 / (1 + step)]
        for algorithm, rate in (("Adam", 0.1), ("SGD", 0.2)) for number in (4, 5) for step in range(3)
    ]  # fmt: skip
    source = write(tmp_path / "runs.csv", ["优化器", "rate", "Lauf", "i", "nll"], rows)
    apart = ("优化器", "rate", "Lauf")
    plain = bring([source], tmp_path / "out", Wishes(columns=parse_map(["step=i,loss=nll"]), apart=apart))
    named = parse_map(["step=i,loss=nll,optimizer=优化器,lr=rate,seed=Lauf"])
    brought = bring([source], tmp_path / "out", Wishes(columns=named, apart=apart))
    assert (brought.folders, brought.again) == (plain.folders, 4)
    assert brought.settings == {"optimizer": ["优化器"], "optimizer.lr": ["rate"]}
    found = {(run.config["choices"]["optimizer"], run.config["optimizer"]["lr"], run.config["seed"])
             for run in runs_of(tmp_path / "out")}  # fmt: skip
    assert found == {("Adam", 0.1, 4), ("Adam", 0.1, 5), ("SGD", 0.2, 4), ("SGD", 0.2, 5)}
    with pytest.raises(UserError, match="no setting for --map model=net"):
        bring([source], tmp_path / "out", Wishes(columns={**named, "model": "net"}, apart=apart))


def test_a_seed_that_is_not_told_is_nobody_elses(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"logs/{name}7.csv", ["step", "loss"], [[0, 1.0], [1, 0.5]])
    brought = bring([tmp_path / "logs"], tmp_path / "out")
    assert "told no seed" in " ".join(brought.notes)
    assert len({run.summary["seed"] for run in runs_of(tmp_path / "out")}) == 2
    bring([tmp_path / "logs"], tmp_path / "out", Wishes(seed_from="name"))
    assert {run.summary["seed"] for run in runs_of(tmp_path / "out")} == {7}


def test_accuracies_in_percent(tmp_path: Path) -> None:
    source = write(tmp_path / "x.csv", ["step", "val_acc", "val_loss"], [[1, 80, 0.5], [2, 80, 0.25], [3, 75, 0.1]])
    with pytest.raises(UserError, match="80 is no accuracy") as refused:
        bring([source], tmp_path / "out")
    assert "--percent" in refused.value.hint
    bring([source], tmp_path / "out", Wishes(percent=True))
    (run,) = runs_of(tmp_path / "out")
    told = ("val_accuracy", "best_val_accuracy", "best_val_loss", "best_val_step", "final_loss")
    assert [run.summary[key] for key in told] == [0.75, 0.8, 0.25, 2, None]


def test_older_records_of_the_same_file_are_named(tmp_path: Path) -> None:
    source = write(tmp_path / "x.csv", ["seed", "part", "step", "loss"], [[0, "a", 0, 1.0], [0, "a", 1, 0.5]])
    bring([source], tmp_path / "out")
    brought = bring([source], tmp_path / "out", Wishes(apart=("seed", "part")))
    assert "1 older record of the same files" in " ".join(brought.notes)


REFUSED: dict[str, tuple[bytes, tuple[str, ...], str]] = {
    "empty": (b"", (), "empty"),
    "latin": ("step,loss,é\n0,1,2\n".encode("latin-1"), (), "not UTF-8 at byte 10"),
    "utf16": ("step,loss\n0,1\n".encode("utf-16"), (), "not UTF-8 at byte 0"),
    "zero": (b"step,loss\n0,\0\n", (), "zero bytes"),
    "twice": (b"step,loss,loss\n0,1,2\n", (), "stand there twice: loss"),
    "torn": (b"step,loss\n0,1\n1\n", (), "row 3 has 1 cells, the header has 2"),
    "word": (b"step,loss\n0,low\n", (), "column loss: 'low' is not a number"),
    "python": (b"step,loss\n0,1_0\n", (), "'1_0' is not a number"),
    "half": (b"step,loss\n0.5,1\n", (), "column step: '0.5' is no whole number"),
    "negative": (b"step,loss\n-1,1\n", (), "'-1' is no whole number"),
    "no step": (b"when,loss\n0,1\n", (), "no column of steps"),
    "no score": (b"step,error\n0,1\n", (), "neither loss nor val_loss nor val_accuracy"),
    "no rows": (b"step,loss\n", (), "it has no rows"),
    "no values": (b"step,loss,val_loss\n0,,\n1,,\n", (), "neither loss"),
    "mixed": (b"step,loss\n0,1\n0,2\n", (), "step 0 has loss 1 and 2"),
    "not there": (b"step,loss\n0,1\n", ("--map", "loss=nll"), "no column for --map loss=nll"),
    "no such": (b"step,loss\n0,1\n", ("--map", "los=loss"), "expected COLUMN=NAME"),
    "two": (b"step,loss\n0,1\n", ("--map", "loss=loss,loss=step"), "given twice"),
    "by": (b"step,loss\n0,1\n", ("--by", "rate"), "no column for --by rate"),
    "ignore": (b"step,loss,seed\n0,1,2\n", ("--ignore", "host"), "--ignore host: no such setting"),
    "kind": (b"step,loss\n0,1\n", ("--kind", "comet"), "--kind comet: expected one of csv"),
    "other": (b"step,loss\n0,1\n", ("--kind", "lightning"), "no log of lightning"),
    "config": (b"step,loss\n0,1\n", ("--config", "adam"), "expected NAME=VALUE"),
    "seed": (b"step,loss\n0,1\n", ("--seed-from", "s"), "no such setting"),
    "clash": (b"step,loss\n0,1\n", ("--config", "optimizer.lr=1,optimizer.lr.x=2"), "cannot both be|is a value"),
    "field": (b"step,loss\n0," + b"1" * 140_000 + b"\n", (), "field larger than field limit"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why_in_three_lines(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, words, why = REFUSED[case]
    (tmp_path / "x.csv").write_bytes(data)
    assert command("import", tmp_path / "x.csv", "-o", tmp_path / "out", *words) == 2
    said = capsys.readouterr().err
    assert re.search(why, said), said
    assert 1 <= len(said.splitlines()) <= 3
    assert not (tmp_path / "out").exists()


def test_a_path_that_is_none_or_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in ("nowhere", "empty", "loop"):
        assert command("import", tmp_path / path, "-o", tmp_path / "out") == 2
    assert capsys.readouterr().err.count("error: ") == 3


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    race(tmp_path / "logs" / "open" / "log.csv")
    race(tmp_path / "logs" / "closed" / "log.csv")
    listed = os.scandir

    def scandir(place: str) -> Any:
        if Path(place).name == "closed":
            raise PermissionError(13, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(RecordError, match=r"closed: cannot be listed \(Permission denied\)"):
        bring([tmp_path / "logs"], tmp_path / "out")


def test_names_do_not_leave_the_folder(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        [name, step, 1.0] for name in ("../../x", "/etc/passwd", "a\nb", "..") for step in (0, 1)
    ]
    source = write(tmp_path / "logs/x.csv", ["run", "step", "loss"], rows)
    brought = bring([source], tmp_path / "out")
    assert {folder.resolve().parent for folder in brought.folders} == {(tmp_path / "out").resolve()}
    assert len(runs_of(tmp_path / "out")) == 4


def test_records_of_optbench_are_no_logs(tmp_path: Path) -> None:
    bring([write(tmp_path / "x.csv", ["step", "loss"], [[0, 1.0]])], tmp_path / "out")
    with pytest.raises(UserError, match="no log in it") as refused:
        bring([tmp_path / "out"], tmp_path / "again")
    assert "compare reads them" in refused.value.hint


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=12)


@given(
    names=st.lists(_TEXT.map(str.strip).filter(bool), min_size=2, max_size=5, unique=True),
    cells=st.lists(st.lists(_TEXT, min_size=5, max_size=5), min_size=1, max_size=6),
    mark=st.booleans(),
)
def test_a_table_comes_back_as_it_was_written(names: list[str], cells: list[list[str]], mark: bool) -> None:
    header = [name for name in names if not set(name) & {";", "\t"}] or ["one"]
    header += ["a,b"] * ("a,b" not in header)  # commas are the most frequent sign
    rows = [[*row, ""][: len(header)] for row in cells]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        path.write_bytes(text.getvalue().encode("utf-8-sig" if mark else "utf-8"))
        table = read_table(path)
    assert table.header == header
    assert [list(row.values()) for row in table.rows] == rows


@given(
    losses=st.lists(st.floats(width=64, allow_nan=True, allow_infinity=True), min_size=1, max_size=8),
    stride=st.integers(1, 1000),
)
def test_numbers_come_back_to_the_bit(losses: list[float], stride: int) -> None:
    with TemporaryDirectory() as folder:
        rows: list[list[object]] = [[k * stride, repr(v)] for k, v in enumerate(losses)]
        source = write(Path(folder, "x.csv"), ["step", "loss"], rows)
        bring([source], Path(folder, "out"))
        (run,) = records.read([Path(folder, "out")]).runs()
        curve = run.columns()
    assert curve["step"].tolist() == [k * stride for k in range(len(losses))]
    found = curve["loss"].tolist() if "loss" in curve else [math.nan] * len(losses)
    assert [repr(float(v)) for v in found] == [repr(v) for v in losses]
    assert run.status == ("completed" if math.isfinite(losses[-1]) else "diverged")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        path.write_bytes(data)
        with suppress(RecordError, UserError):  # exit code 2, both
            bring([path], Path(folder, "out"))


@given(
    st.dictionaries(st.sampled_from(["loss", "val_loss", "step", "lr"]), st.from_regex(r"[a-z ,/]{1,8}\Z"), min_size=1)
)
def test_a_map_comes_back_as_it_was_written(columns: dict[str, str]) -> None:
    assert parse_map([",".join(f"{name}={column}" for name, column in columns.items())]) == columns


def test_settings_in_words() -> None:
    assert parse_config(["optimizer=adam,lr=1e-3", "nesterov=true,layers=3"]) == {
        "optimizer": "adam", "lr": 0.001, "nesterov": True, "layers": 3,
    }  # fmt: skip
    words = ("None", "1e999", "nan", "1_0", "007", "-3", "2.0", "relu")
    assert [literal(word) for word in words] == [
        None,
        "1e999",
        "nan",
        "1_0",
        7,
        -3,
        2.0,
        "relu",
    ]
