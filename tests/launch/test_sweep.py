"""Sweeps: rows and single runs are the same runs, every planned run has one record, whatever happens on the way."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
from command_tools import command
from hypothesis import given, settings
from hypothesis import strategies as st
from members import TESTS
from pyarrow import parquet
from sweep_tools import Notes, by_id, swept

from optbench.catalogue import catalogue
from optbench.cli.sweep_display import LiveSweep, PlainSweep
from optbench.comparison import compare
from optbench.errors import RecordError
from optbench.experiment import Planned, Stop, interruptible, plan_run, plan_sweep
from optbench.launch import batches as batches_module
from optbench.launch import probe
from optbench.launch import rows as rows_module
from optbench.launch.batches import LEAST_ROWS, batches
from optbench.launch.probe import estimate
from optbench.launch.sweep import Division, Options, divide
from optbench.records import RUN_COLUMNS, Run, Status, flatten, plain, read, run_id
from optbench.records.tables import add_rows, recorded_ids
from optbench.records.vocabulary import MAX_COORDINATES, curve_columns
from optbench.report import runs_json
from optbench.settings import SurfaceTrainer

GRID = (
    "model=rosenbrock,himmelblau",  # the one has a dim, the other has not: their rows share a table
    "optimizer=sgd,adam",
    "optimizer.lr=1e-2,1.0",
    "trainer.grad_noise=0,0.5",
    "trainer.start=random",
    "trainer.steps=12",
    "trainer.target=0.5",
    "seed=1,2,3000000000,9000000000000000000",
)
SMALL = ("model=sphere", "optimizer=adam", "trainer.steps=8", "trainer.start=random")
NUMBERS = ("final_loss", "best_loss", "final_grad_norm")


@dataclass(frozen=True)
class Grid:
    """GRID, by the loop and by rows: its folder, its plan, and the runs of each by run_id."""

    folder: Path
    plan: Sequence[Planned]
    single: Mapping[str, Run]
    rows: Mapping[str, Run]
    notes: Notes


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    folder = tmp_path_factory.mktemp("grid")
    plan, single = swept(folder / "loop", GRID, engine="loop")
    notes = Notes()
    _, rows = swept(folder / "rows", GRID, watcher=notes, recorded=5)
    assert single.by_status == rows.by_status
    return Grid(folder, plan, by_id(folder / "loop"), by_id(folder / "rows"), notes)


@pytest.mark.parametrize("engine", ["eager", pytest.param("fused", marks=pytest.mark.slow)])
def test_rows_and_single_runs_give_the_same(engine: str, grid: Grid, tmp_path: Path) -> None:
    if engine == "fused":  # which leaves noise to the eager engine
        swept(tmp_path, [w.replace("noise=0,0.5", "noise=0") for w in GRID], engine=engine, least=4)
        rows = by_id(tmp_path)
        quiet = [p for p in grid.plan if p.run_id in rows]
        assert len(rows) == len(quiet) == len(grid.plan) // 2
        grid = replace(grid, plan=quiet, rows=rows, single={k: grid.single[k] for k in rows})
    assert set(grid.single) == set(grid.rows) == {p.run_id for p in grid.plan}
    assert {str(r.status) for r in grid.rows.values()} >= {"completed", "diverged", "target_reached"}
    assert all(run.path is None for run in grid.rows.values())
    assert all(run.path is not None for run in grid.single.values())
    for key, single in grid.single.items():
        row = grid.rows[key]
        for column in ("status", "steps", "evals", "best_step", "seed", "target", "steps_to_target", "model", "data",
                       "loss_name", "optimizer", "scheduler", "sweep", "numerics", "stopped_at"):  # fmt: skip
            assert row.summary[column] == single.summary[column], (key, column)
        assert set(RUN_COLUMNS) <= set(row.summary)
        numbers = [(row.summary[c], single.summary[c]) for c in NUMBERS]
        assert all(ours == pytest.approx(loop, rel=1e-9, abs=1e-12) for ours, loop in numbers), key
        assert (row.summary["engine"], single.summary["engine"]) == (engine, "loop")
        assert row.reason.split()[0] == single.reason.split()[0]


def test_the_watcher_of_rows_hears_of_each_once(grid: Grid) -> None:
    assert grid.notes.ended == sum(grid.notes.batches) == len(grid.plan)
    assert not grid.notes.finishes


def test_a_row_has_its_configuration(grid: Grid) -> None:
    planned = {p.run_id: p for p in grid.plan}
    for key, row in grid.rows.items():
        config = row.config
        assert config == planned[key].config
        assert run_id(config) == key
        assert run_id(config) == run_id(grid.single[key].config)


def test_lists_and_whole_numbers_of_a_row_keep_their_types(tmp_path: Path) -> None:
    starts = "trainer.start=[1,2],[1.0,2.0],[0.5,1.0],usual,random"  # five configurations, equal numbers among them
    overrides = ["optimizer=adam", starts, "optimizer.betas=[0.0,0.5],[0.5,0.75]", "trainer.steps=3", "seed=0,1"]
    plan, outcome = swept(tmp_path, overrides)
    assert outcome.by_status == {"completed": 20}
    found = by_id(tmp_path)
    assert all(run.path is None and run_id(run.config) == key for key, run in found.items())
    assert [found[p.run_id].config for p in plan] == [p.config for p in plan]


def test_a_recorded_row_has_the_curve_of_the_loop(grid: Grid) -> None:
    curves = {key: row.curve() for key, row in grid.rows.items()}
    recorded = [key for key, curve in curves.items() if len(curve)]
    assert len(recorded) == 5 * len(grid.notes.batches)
    for key in recorded:
        ours, loop = curves[key], grid.single[key].curve()
        assert set(loop.columns) - set(ours.columns) <= {"seconds"}
        assert ours.step.tolist() == loop.step.tolist()
        for column in {*loop.columns} - {"seconds"}:
            assert ours[column].tolist() == pytest.approx(loop[column].tolist(), rel=1e-9, abs=1e-12), (key, column)


def test_a_row_says_what_a_run_of_its_own_says(tmp_path: Path) -> None:
    """Every key of run.json that is no setting; of torch's RMSProp, how the book's differs."""
    overrides = ["model=sphere", "optimizer=rmsprop,book_rmsprop", "trainer.steps=2", "seeds=4"]
    said = {}
    for engine in ("loop", "eager"):
        swept(tmp_path / engine, overrides, engine=engine, least=4)
        runs = by_id(tmp_path / engine).values()
        own = {run.run_id: {k for k, v in run.summary.items() if "." not in k and v is not None} for run in runs}
        said[engine] = {run.run_id: (own[run.run_id], run.summary.get("book")) for run in runs}
    line = next(entry.book for entry in catalogue("optimizer") if entry.name == "rmsprop")
    for key, (own, book) in said["loop"].items():
        assert own - {"seconds"} <= said["eager"][key][0]
        assert book == said["eager"][key][1]
    assert Counter(book for _, book in said["eager"].values()) == {line: 4, None: 4}
    both = compare([tmp_path / "loop", tmp_path / "eager"])
    assert [(group.label, group.n) for group in both.groups] == [("torch's rmsprop", 4), ("book_rmsprop", 4)]


@pytest.mark.parametrize("dim", [2, MAX_COORDINATES + 2])
def test_the_loop_and_the_rows_have_the_columns_of_one_list(dim: int, tmp_path: Path) -> None:
    columns = curve_columns(dim, network=False)
    for engine in ("loop", "eager"):
        overrides = ["model=sphere", f"model.dim={dim}", "trainer.steps=3", "trainer.start=random", "seeds=4"]
        swept(tmp_path / engine, overrides, engine=engine, least=4)
    assert [column.name for column in columns if column.in_rows is None] == ["seconds"]
    for path in (tmp_path / "loop").rglob("metrics.csv"):
        assert path.read_text().splitlines()[0].split(",") == [column.name for column in columns]
    made = parquet.read_schema(tmp_path / "eager" / "sweep" / "curves.parquet").names
    assert made == ["run_id", *(column.name for column in columns if column.in_rows is not None)]
    for run in by_id(tmp_path / "loop").values():
        assert (run.summary["seconds_of"], run.summary["seconds"] > 0) == ("run", True)
    for run in by_id(tmp_path / "eager").values():
        assert (run.summary["seconds_of"], run.summary["seconds"]) == ("batch", None)
        clock = json.loads(run.summary["provenance"])["batch"]
        assert clock["rows"] == 4
        assert clock["seconds"] > 0


def test_a_comparison_counts_each_run_once_whoever_ran_it(grid: Grid) -> None:
    def groups(*folders: str) -> dict[tuple[str, str], set[str]]:
        return {
            (g.problem, g.label): {r.run_id for r in g.runs} for g in compare([grid.folder / f for f in folders]).groups
        }

    single, rows, both = groups("loop"), groups("rows"), groups("loop", "rows")
    assert single == rows == both
    assert sum(map(len, both.values())) == len(grid.plan)


def test_the_json_of_a_sweep_is_its_records_in_the_order_of_the_plan(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, runs in (("loop", grid.single), ("rows", grid.rows)):
        recorded = [{**(run := runs[p.run_id]).summary, "path": run.path or run.table} for p in grid.plan]
        expected = json.dumps(plain(recorded), indent=2, ensure_ascii=False, allow_nan=False)
        assert "".join(runs_json(grid.folder / kind / "sweep", [p.run_id for p in grid.plan])) == expected
    words = [*SMALL, "seeds=20", "--out", tmp_path, "--name", "sweep", "--engine", "eager", "--json"]
    assert command("sweep", *words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [run["seed"] for run in printed] == list(range(20))
    assert {run["path"] for run in printed} == {str(tmp_path / "sweep" / "curves.parquet")}


def test_plots_take_rows(grid: Grid, tmp_path: Path) -> None:
    assert command("plot", grid.folder / "rows", "-o", tmp_path / "a.png") == 0
    assert (tmp_path / "a.png").stat().st_size > 1000
    one = tmp_path / "one"
    swept(one, ["model=rosenbrock", "optimizer=adam", "seeds=16", "trainer.start=random", "trainer.steps=9"])
    assert command("plot", one, "--path", "-o", tmp_path / "b.png") == 0
    assert (tmp_path / "b.png").stat().st_size > 1000


# what is done, what is missing


def cut(folder: Path, count: int) -> set[str]:
    """Removes the first rows of a sweep's table, as if they had never run; their ids."""
    from pyarrow import parquet

    table = parquet.read_table(folder / "sweep/runs.parquet")
    parquet.write_table(table.slice(count), folder / "sweep/runs.parquet")
    return set(table["run_id"].to_pylist()[:count])


def test_the_same_sweep_fills_the_gaps_and_nothing_else(tmp_path: Path) -> None:
    overrides = [*SMALL, "seeds=40"]
    swept(tmp_path, overrides)
    first = {k: dict(r.summary) for k, r in by_id(tmp_path).items()}
    table = (tmp_path / "sweep/runs.parquet").read_bytes()

    notes = Notes()
    _, outcome = swept(tmp_path, overrides, watcher=notes)
    assert (notes.before, notes.batches, notes.finishes) == (40, [], [])
    assert outcome.by_status == {"completed": 40}
    assert (tmp_path / "sweep/runs.parquet").read_bytes() == table

    gone, notes = cut(tmp_path, LEAST_ROWS), Notes()
    plan, outcome = swept(tmp_path, overrides, watcher=notes)
    assert (notes.before, notes.batches) == (24, [16])
    assert outcome.by_status == {"completed": 40}

    gone |= (few := cut(tmp_path, 3))  # too few for a table
    notes = Notes()
    swept(tmp_path, overrides, watcher=notes)
    assert {r.run_id for r in notes.finishes} == few
    again = by_id(tmp_path)
    assert set(again) == {p.run_id for p in plan}
    for key, run in again.items():
        assert run.summary["final_loss"] == pytest.approx(first[key]["final_loss"], rel=1e-9)
        if key not in gone:
            assert run.summary["provenance"] == first[key]["provenance"]
            assert run.summary["seconds"] == first[key]["seconds"]

    notes = Notes()
    _, outcome = swept(tmp_path, overrides, watcher=notes, force=True)  # the folders of three become rows
    assert (notes.before, notes.batches) == (0, [40])
    assert all(run.path is None for run in by_id(tmp_path).values())
    assert len(by_id(tmp_path)) == 40


def test_forced_into_folders_a_run_is_still_one(tmp_path: Path) -> None:
    overrides = [*SMALL, "seeds=16"]
    swept(tmp_path, overrides)
    notes = Notes()
    swept(tmp_path, overrides, watcher=notes, force=True, engine="loop")
    assert len(notes.finishes) == 16
    assert len(by_id(tmp_path)) == 16
    assert all(run.path is not None for run in by_id(tmp_path).values())
    assert set(compare([tmp_path]).runs["engine"]) == {"loop"}  # which is what the user forced, and not the old rows


def test_stopped_in_mid_batch_the_rest_stays_to_do(tmp_path: Path) -> None:
    overrides = [*SMALL, "seeds=16", "optimizer=adam,sgd"]
    stop = Stop()

    class Stopping(Notes):
        def batch(self, label: str, rows: int) -> None:
            super().batch(label, rows)
            stop.requested = len(self.batches) == 2

    _, outcome = swept(tmp_path, overrides, stop, Stopping())
    assert outcome.by_status == {"completed": 16}
    plan, outcome = swept(tmp_path, overrides)
    assert outcome.by_status == {"completed": 32}
    assert set(by_id(tmp_path)) == {p.run_id for p in plan}


@pytest.mark.slow
@pytest.mark.parametrize("kills", [["b", "r2"], ["r1", "r3", "r4", "f1", "f2", "f3", "s3"]])
def test_killed_at_any_moment_and_side_by_side(kills: list[str], tmp_path: Path) -> None:
    overrides = [*SMALL, "seeds=16", "optimizer=adam,sgd"]
    words = [sys.executable, TESTS / "killed_sweeps.py", tmp_path, ",".join(kills), *overrides]
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    expected = {p.run_id for p in plan_sweep(overrides)}
    assert [line["kill"] for line in lines] == [k for kill in kills for k in (kill, kill)] + ["both"]
    for i, line in enumerate(lines):
        after = line["after"]
        ids = [run for run, _ in after["runs"]]
        assert not after["unreadable"], line
        assert len(set(ids)) == len(ids), line
        if i % 2 == 0 and line["kill"] != "both":
            assert line["end"] == -9, line
            assert len(ids) < 32, line
        else:
            assert line["end"] == 0, line
            assert set(ids) == expected, line
            assert {status for _, status in after["runs"]} == {"completed"}
            assert after["compared"] == 32
            assert not after["left"], line


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["runs", "curves"])
def test_a_torn_table_is_named_and_nothing_is_lost(
    name: str, force: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swept(tmp_path, [*SMALL, "seeds=16"])
    table = tmp_path / f"sweep/{name}.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:-20])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    words = [*SMALL, "seeds=40", "--out", tmp_path, "--name", "sweep", *(["--force"] if force else [])]
    assert command("sweep", *words) == 2
    error = capsys.readouterr().err
    assert f"{name}.parquet" in error
    assert "Traceback" not in error
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    table.write_bytes(whole)
    assert swept(tmp_path, [*SMALL, "seeds=40"])[1].by_status == {"completed": 40}
    assert len(by_id(tmp_path)) == 40


def test_a_table_without_its_columns_is_named(tmp_path: Path) -> None:
    add_rows(tmp_path, {"run_id": ["a"]}, {"run_id": []})
    with pytest.raises(RecordError, match="status"):
        recorded_ids(tmp_path)


def test_a_setting_may_be_a_number_here_and_a_list_there(tmp_path: Path) -> None:
    add_rows(tmp_path, {"run_id": ["a"], "status": ["completed"], "model.shift": [1.0]}, {"run_id": []})
    add_rows(tmp_path, {"run_id": ["b"], "status": ["completed"], "model.shift": ["[1, 2]"]}, {"run_id": []})
    add_rows(tmp_path, {"run_id": ["c"], "status": ["completed"], "model.shift": [None]}, {"run_id": []})
    assert set(recorded_ids(tmp_path)) == {"a", "b", "c"}
    assert [r.summary["model.shift"] for r in read([tmp_path]).runs()][1:] == ["[1, 2]", None]


# what fails, what does not fit


def test_what_cannot_start_is_its_own_row_and_the_others_run(tmp_path: Path) -> None:
    """A start outside the domain among 20: the row fails with the loop's words, the batch goes on without it."""
    starts = ",".join(["[1e9,1e9]", *(f"[{i / 10},0.5]" for i in range(19))])
    overrides = ["optimizer=adam", "trainer.steps=4", f"trainer.start={starts}"]
    notes = Notes()
    plan, outcome = swept(tmp_path / "rows", overrides, watcher=notes)
    _, by_loop = swept(tmp_path / "loop", overrides, engine="loop")
    assert notes.batches == [19]
    assert outcome.by_status == by_loop.by_status == {"completed": 19, "failed": 1}
    rows, loop = by_id(tmp_path / "rows"), by_id(tmp_path / "loop")
    assert set(rows) == set(loop) == {p.run_id for p in plan}
    assert outcome.failed[0].reason == by_loop.failed[0].reason == rows[plan[0].run_id].reason


def test_an_engine_that_breaks_leaves_its_runs_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("what nobody foresaw")

    monkeypatch.setattr("optbench.launch.sweep.run_rows", broken)
    _, outcome = swept(tmp_path, [*SMALL, "seeds=16"])
    assert outcome.by_status == {"completed": 16}
    assert {run.summary["engine"] for run in by_id(tmp_path).values()} == {"scalar"}


def test_incompatible_cells_are_skipped_with_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A loss that compares classes has no use for a surface's one value; every planned run is one line of JSON."""
    words = [*SMALL, "loss=surface,focal", "scheduler=constant,plateau", "seeds=16", "--jobs", "0"]
    code = command("sweep", *words, "--out", tmp_path, "--json", "--engine", "eager")
    printed = json.loads(capsys.readouterr().out)
    plan = plan_sweep(words[:-2], out=tmp_path)
    assert code == 0
    assert Counter(r["run_id"] for r in printed) == Counter(p.run_id for p in plan)
    statuses = Counter((r["loss_name"], r["status"]) for r in printed)
    assert statuses == {("surface", "completed"): 32, ("focal", "skipped"): 32}
    assert all(
        "classification loss has nothing to compare with" in r["reason"] for r in printed if r["status"] == "skipped"
    )
    assert {r["engine"] for r in printed if r["loss_name"] == "surface"} == {"eager", "loop"}  # plateau: by the loop


def test_exit_codes_and_retry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    starts = "trainer.start=[1e9,1e9],[1.0,0.5],[2e9,1e9],[0.5,0.5]"
    words = ["sweep", "optimizer=adam", "trainer.steps=4", starts, "--out", tmp_path, "--name", "a", "--jobs", "0"]
    assert command(*words, "--on-error", "stop") == 3
    assert [str(r.status) for r in by_id(tmp_path).values()] == ["failed"]
    assert command(*words) == 3
    assert Counter(r.status for r in by_id(tmp_path).values()) == {"failed": 2, "completed": 2}
    assert "failed before; --retry failed" in capsys.readouterr().err

    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("run.json")}
    assert command(*words) == 3  # nothing is repeated, and the failures still count
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    time.sleep(0.01)
    assert command(*words, "--retry", "failed") == 3
    changed = {p for p, stamp in stamps.items() if p.stat().st_mtime_ns != stamp}
    assert {json.loads(p.read_text())["status"] for p in changed} == {"failed"}
    assert len(changed) == 2
    assert capsys.readouterr().err.count("failed: ") >= 2

    assert command(*words[:3], *words[4:], "--retry", "some") == 2


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), pytest.param("SIGHUP", 129, marks=pytest.mark.slow)]
)
def test_a_signal_ends_a_sweep_and_the_next_one_completes(
    name: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> Any:
        signal.raise_signal(getattr(signal, name))
        return original(*args, **kwargs)

    original = rows_module.batch_of
    words = ["sweep", *SMALL, "seeds=16", "optimizer=adam,sgd", "--out", tmp_path, "--engine", "eager"]
    monkeypatch.setattr(rows_module, "batch_of", interrupted)
    assert command(*words) == code
    assert command(*words, "--on-error", "stop") == code
    monkeypatch.setattr(rows_module, "batch_of", original)
    assert command(*words) == 0
    assert len(by_id(tmp_path)) == 32


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_rows_that_have_ended_are_kept(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes in mid-batch, when 16 rows, which start at the minimum, have ended and 16 have not."""

    def asked_often(*args: Any, **kwargs: Any) -> Any:
        batch, calls = original(*args, **kwargs), itertools.count()

        def asked() -> bool:
            if next(calls) == 10:
                signal.raise_signal(getattr(signal, name))
            return batch.stop_requested()

        return replace(batch, stop_requested=asked)

    original = rows_module.batch_of
    monkeypatch.setattr(rows_module, "batch_of", asked_often)
    words = ["sweep", "model=sphere", "trainer.steps=100000", "trainer.grad_tol=1e-9", "optimizer=gd", "seeds=16",
             "--out", tmp_path, "optimizer.lr=1e-9", "trainer.start=[0,0],[1,1]", "--engine", "eager"]  # fmt: skip
    assert command(*words) == 128 + getattr(signal, name)
    assert Counter(run.status for run in by_id(tmp_path).values()) == {"converged": 16}


def test_a_signal_that_was_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """nohup's SIGHUP, and the SIGINT of what a shell script puts in the background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


# which runs are rows of one batch

BASE = plan_run(["model=rosenbrock", "optimizer=adam"])
FREE = {"seed", "trainer.start", "trainer.grad_noise"}
CHANGES: dict[str, list[Any]] = {
    "seed": [0, 1, 2**31, 2**63 - 1],
    "trainer.start": ["usual", "random", [1.0, 2.0]],
    "trainer.grad_noise": [0.0, 0.5],
    "optimizer.lr": [0.01, 0.1],
    "optimizer.betas": [[0.9, 0.999], [0.5, 0.5], [0.9, 0.99, 0.999]],
    "optimizer.amsgrad": [False, True],
    "optimizer.power": [2, 3],
    "scheduler.factor": [1.0, 0.5],
    "scheduler.total_iters": [0, 5],
    "trainer.steps": [5, 6],
    "trainer.seconds": [None, 1.0],
    "trainer.curvature_every": [None, 2],
    "trainer.engine": ["auto", "portable"],
    "trainer.device": ["auto", "cpu", "cuda"],
    "trainer.target": [None, 0.5],
    "trainer.grad_tol": [0.0, 1e-3],
    "trainer.plateau_steps": [None, 3],
    "trainer.plateau_delta": [1e-6, 1e-3],
    "trainer.divergence_factor": [1e6, 10.0],
    "trainer.record_every": [1, 2],
    "trainer.threads": [None, 1],
    "trainer.start_anywhere": [False, True],
    "model.dim": [2, 3],
}


def test_every_setting_of_the_trainer_is_tried() -> None:
    assert {f"trainer.{f.name}" for f in fields(SurfaceTrainer)} <= set(CHANGES)


ONE_CHANGE = [(key, value) for key, values in CHANGES.items() for value in values]


def changed(changes: Mapping[str, Any]) -> Planned:
    config: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in BASE.config.items()}
    for key, value in changes.items():
        *heads, last = key.split(".")
        (config[heads[0]] if heads else config)[last] = value
    return Planned(config, Path("sweep") / run_id(config), run_id(config), "sweep")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from(ONE_CHANGE), max_size=3).map(dict), max_size=16))
def test_rows_of_a_batch_differ_in_numbers_only(drawn: list[dict[str, Any]]) -> None:
    planned = list({p.run_id: p for p in map(changed, drawn)}.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_module, "_against", lambda rows, known: None)
        found, single, _ = batches(planned, least=2)
    assert Counter(p.run_id for r in found for p in r.planned) + Counter(p.run_id for p in single) == Counter(
        p.run_id for p in planned
    )
    for rows in found:
        assert len(rows.planned) >= 2
        flats = [flatten(p.config) for p in rows.planned]
        assert all(f["trainer.seconds"] is None and f["trainer.curvature_every"] is None for f in flats)
        assert all(f["trainer.device"] != "cuda" for f in flats)
        differ = {k for k in flats[0] if len({repr(f[k]) for f in flats}) > 1}
        assert differ == set(rows.varying)
        for key in differ - FREE:
            assert key.startswith(("optimizer.", "scheduler.")), key
            kinds = {(type(f[key]), len(f[key]) if isinstance(f[key], list) else 0) for f in flats}
            assert kinds in ({(float, 0)}, {(list, 2)}, {(list, 3)}), key


def test_few_runs_and_what_only_the_loop_can_do_are_no_rows() -> None:
    def counts(*changes: str) -> tuple[int, int]:
        found, single, _ = batches(plan_sweep([*SMALL, *changes]))
        return sum(len(r.planned) for r in found), len(single)

    assert counts(f"seeds={LEAST_ROWS - 1}") == (0, LEAST_ROWS - 1)
    assert counts(f"seeds={LEAST_ROWS}") == (LEAST_ROWS, 0)
    assert counts("seeds=20", "trainer.seconds=5") == (0, 20)
    assert counts("seeds=20", "scheduler=plateau") == (0, 20)
    assert counts("seeds=20", "optimizer=lbfgs,adam") == (20, 20)
    assert counts("seed=range(4294967296,4294967316)", "trainer.grad_noise=0,1") == (40, 0)
    assert counts("seeds=20", "trainer.device=cuda") == (0, 20)


# what it will cost


def cost_of(*changes: str) -> Any:
    return estimate(Division({}, *batches(plan_sweep([*SMALL, *changes]))), 20)


def test_an_estimate_grows_with_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that ticks a millisecond a look, an update of a single run takes one tick by torch."""
    monkeypatch.setattr(probe, "_ROWS", 100)
    monkeypatch.setattr(probe, "_PROGRAM_STEPS", 20)
    ticks = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) * 1e-3)
    loop = "scheduler=plateau"  # which is no program
    few, many = cost_of("trainer.steps=10", loop), cost_of("trainer.steps=1000", loop)
    assert many.seconds - few.seconds == pytest.approx(990 * (1e-3 + probe._LOOP_SECONDS))
    assert cost_of("trainer.steps=10", "seeds=3", loop).seconds == pytest.approx(3 * few.seconds)
    assert cost_of("trainer.steps=1000").seconds < 0.2 * many.seconds
    assert many.disk > few.disk > 0
    rows = [cost_of(f"trainer.steps={steps}", f"seeds={n}") for steps, n in ((20, 20), (200, 20), (20, 400))]
    assert rows[1].seconds == pytest.approx(10 * rows[0].seconds)
    assert rows[2].seconds == pytest.approx(4 * rows[0].seconds)  # of 400 rows 100 are probed
    assert rows[2].disk > rows[0].disk > 0
    assert rows[0].seconds > 0
    assert all(not cost.unable for cost in (few, many, *rows))


def test_a_dry_run_counts_names_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    swept(tmp_path, [*SMALL, "seeds=16"])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    words = ["sweep", *SMALL, "loss=surface,focal", "seeds=40", "scheduler=constant,plateau"]
    words += ["--out", str(tmp_path), "--name", "sweep", "--dry-run"]
    assert command(*words) == 0
    out = capsys.readouterr().out
    assert "160 runs planned (16 completed, 64 to do, 80 incompatible)" in out
    assert "24 as rows of 1 array program\n" in out
    assert "40 one by one, " in out
    assert "of computing on one worker" in out
    assert "cannot start" not in out
    (line,) = [line for line in out.splitlines() if line.startswith("incompatible: ")]
    assert line.startswith("incompatible: 80 like sphere adam")
    assert "classification loss has nothing to compare with" in line

    assert command(*words, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert Counter(r["status"] for r in rows) == {"completed": 16, "to do": 64, "incompatible": 80}
    assert {r["loss"] for r in rows if r["status"] == "incompatible"} == {"focal"}
    assert all(bool(r["reason"]) == (r["status"] == "incompatible") for r in rows)
    todo = Counter((r["scheduler"], r["engine"]) for r in rows if r["status"] == "to do")
    assert todo == {("constant", "rows"): 24, ("plateau", "loop"): 40}
    assert len({r["run_id"] for r in rows}) == 160
    assert all({"label", "path", "seed", "scheduler"} <= set(r) for r in rows)
    assert command(*words[:-5], "--out", tmp_path / "new", "--dry-run") == 0
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_plan_names_the_engine_that_a_run_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "sweep",
        *SMALL,
        "scheduler=constant,plateau",
        "trainer.grad_noise=0,0.1",
        "--out",
        tmp_path,
        "--name",
        "a",
    ]
    assert command(*words, "--dry-run", "--json") == 0
    planned = {r["run_id"]: r["engine"] for r in json.loads(capsys.readouterr().out)}
    assert command(*words, "--jobs", "0") == 0
    assert planned == {run_id: run.summary["engine"] for run_id, run in by_id(tmp_path).items()}
    assert Counter(planned.values()) == {"scalar": 1, "loop": 3}


@pytest.mark.slow
def test_the_plan_says_skipped_of_exactly_what_the_sweep_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every shape is built once, whatever the seeds and rates: surfaces and networks with losses that fit or do not."""
    built = []
    original = probe.build_problem
    monkeypatch.setattr(probe, "build_problem", lambda config, *args: built.append(1) or original(config, *args))
    overrides = ["model=sphere,softmax_logits", "loss=surface,cross_entropy,focal", "trainer.steps=2",
                 "optimizer=adam,lbfgs", "optimizer.lr=0.01,0.1", "seeds=2"]  # fmt: skip
    words = ["sweep", *overrides, "--out", tmp_path, "--name", "sweep"]
    assert command(*words, "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert sum(built) == 2 * 3 * 2
    assert not list(tmp_path.iterdir())
    _, outcome = swept(tmp_path, overrides)
    found = by_id(tmp_path)
    unfit = {run_id: run.reason for run_id, run in found.items() if run.status is Status.SKIPPED}
    assert {r["run_id"]: r["reason"] for r in plan if r["status"] == "incompatible"} == unfit
    assert 0 < len(unfit) == outcome.by_status["skipped"] < len(plan)
    assert command(*words, "--dry-run", "--json") == 0
    assert Counter(r["status"] for r in json.loads(capsys.readouterr().out)) == outcome.by_status


def test_a_batch_that_does_not_fit_is_rows_too(tmp_path: Path) -> None:
    overrides = [*SMALL, "loss=focal", "optimizer.lr=0.01,0.1", "seeds=16"]
    notes = Notes()
    plan, outcome = swept(tmp_path / "rows", overrides, watcher=notes)
    assert outcome.by_status == {"skipped": 32}
    assert (notes.ended, notes.finishes) == (32, [])
    assert not [p for p in (tmp_path / "rows" / "sweep").iterdir() if p.is_dir()]
    _, alone = swept(tmp_path / "loop", overrides, engine="loop")
    assert alone.by_status == outcome.by_status
    rows, loop = by_id(tmp_path / "rows"), by_id(tmp_path / "loop")
    assert set(rows) == set(loop) == {p.run_id for p in plan}
    for run_id_, row in rows.items():
        assert (row.status, row.reason) == (loop[run_id_].status, loop[run_id_].reason)
        assert row.config == loop[run_id_].config
        assert run_id(row.config) == run_id_
    (one,) = compare([tmp_path / "rows"], group_by="loss_name", pool=True).groups
    assert one.n_by_status["skipped"] == one.n == 32
    assert compare([tmp_path]).to_json()["groups"] == compare([tmp_path / "loop"]).to_json()["groups"]
    _, again = swept(tmp_path / "rows", overrides, watcher=(notes := Notes()))
    assert (notes.before, again.by_status) == (32, outcome.by_status)


def test_divide_reads_no_folder_that_is_not_there(tmp_path: Path) -> None:
    division = divide(plan_sweep([*SMALL, "seeds=3"], out=tmp_path), Options())
    assert (division.todo, len(division.single), dict(division.done)) == (3, 3, {})
    assert list(tmp_path.iterdir()) == []


# who watches


def events(watcher: PlainSweep | LiveSweep, folder: Path) -> None:
    """A sweep as its display hears of it."""
    planned = plan_sweep(SMALL, out=folder)[0]

    def run(status: Status, loss: float | None, reason: str) -> Run:
        summary = {"run_id": planned.run_id, "status": status, "reason": reason, "optimizer": "adam"}
        return Run(summary | {"final_loss": loss}, planned.folder)

    watcher.already(2)
    watcher.batch("sphere adam", 20)
    watcher.rows(20)
    watcher.waiting("job 4: 9 pending (Resources)")
    watcher.waiting("job 4: 8 pending (Priority)")  # a moment later
    watcher.started(planned, "process 7")
    watcher.loading(planned, 3, 10)
    watcher.progress(planned, 1, 8, {"step": 1, "loss": None})
    watcher.progress(planned, 2, 8, {"step": 2, "loss": 0.5})
    watcher.retried(planned, "process 7 [bold]died[/nothing]")
    watcher.started(planned, "process 8")
    watcher.finished(run(Status.COMPLETED, 0.25, "made all 8 updates"))
    watcher.finished(run(Status.FAILED, None, "no [reason]"))
    watcher.finished(run(Status.SKIPPED, None, "does not fit"))
    watcher.finished(run(Status.DIVERGED, 1e300, "too far"))


def test_the_plain_display_says_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events(PlainSweep(), tmp_path)
    captured = capsys.readouterr()
    assert not captured.out
    assert [line.partition(":")[0] for line in captured.err.splitlines()] == ["waiting", "retried", "failed", "skipped"]
    assert "waiting: job 4: 9 pending (Resources)\n" in captured.err
    assert "no [reason]" in captured.err


def test_the_live_display_renders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rich.console

    screen = io.StringIO()
    original = rich.console.Console
    monkeypatch.setattr(
        rich.console, "Console", lambda **_: original(file=screen, force_terminal=True, width=150, height=40)
    )
    with LiveSweep(30) as display:
        events(display, tmp_path)
        display._live.refresh()
        display.waiting("")
        again = plan_sweep(SMALL, out=tmp_path)[0]
        display.started(again, "process 7")
        display.retried(again, "process 7 died")
        assert not display._running
        display.started(again, "node 9")
        display._live.refresh()
        display.retried(again, "node 9 died")
        display._live.refresh()
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    for words in ("26/30", "sphere adam, 20 rows", "0 running  2 failed or skipped", "job 4: 8 pending (Priority)",
                  "node 9", "best so far", "0.25", "[bold]died[/nothing]", "failed: ", "no [reason]"):  # fmt: skip
        assert words in shown, words
