"""Large batches: what they take is said, what does not fit at once goes in chunks with the same bits, what does not fit
at all is refused with the numbers, and how far they are is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_tools import invoke
from descend_tools import Rows as Made

from optbench.cli.sweep_display import PlainSweep, left_after
from optbench.descend import descend, eager, memory
from optbench.descend.rules import rule_for
from optbench.errors import UserError
from optbench.experiment import Stop, plan_sweep
from optbench.launch import Nobody, launcher, outlook, probe
from optbench.launch.batches import batch_of, batches, problem_of, startable
from optbench.launch.sweep import Options, run_sweep
from optbench.records import read
from optbench.records.files import curve_ids
from optbench.settings import SurfaceTrainer

WORDS = ("model=sphere", "trainer.steps=5", "trainer.start=random", "seeds=150")


class Notes(Nobody):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.batches: list[int] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def already(self, done: int) -> None:
        pass

    def batch(self, label: str, rows: int) -> None:
        self.batches.append(rows)

    def rows(self, ended: int) -> None:
        pass


def swept(folder: Path, *words: str, engine: str = "eager") -> tuple[Notes, dict[str, Any]]:
    """The final loss of each run, by its id."""
    plan, notes = plan_sweep([*WORDS, *words], out=folder, name="s"), Notes()
    run_sweep(plan, launcher(plan.launcher), Stop(), notes, Options(engine=engine))
    return notes, {run.run_id: run.summary["final_loss"] for run in read([plan.folder]).runs()}


# ---- memory


def test_available_memory_is_a_part_of_the_machine() -> None:
    import os

    assert 0 < memory.available_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_what_the_gradient_keeps_is_counted() -> None:
    """x^2 keeps x; sin(x) exp(x) keeps x, sin(x) and exp(x); both whatever the number of rows."""
    batch = Made("sphere", "gd", changes={"lr": [0.1] * 3}, starts=[[1.0, 2.0]] * 3).batch("eager")
    assert memory._kept_for_the_gradient(batch) == 8 * 2
    other = replace(batch, objective=lambda x: (x.sin() * x.exp()).sum(-1))
    assert memory._kept_for_the_gradient(other) == 3 * 8 * 2
    less = memory.flight_bytes(batch, 0)
    assert memory.flight_bytes(batch, 2) - less == 2 * 2 * 8 * 2


def test_rows_in_flight_are_what_fits_in_whole_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Made("sphere", "gd", changes={"lr": [0.1] * 3}, starts=[[1.0, 2.0]] * 3).batch("eager")
    assert memory.rows_in_flight(batch, 0) == memory.PIECE, "small batches are not counted"
    monkeypatch.setattr(memory, "_SMALL", 0)
    one = memory.flight_bytes(batch, 0)
    for room, expected in ((0, 64), (200, 192), (10**9, memory.PIECE)):
        monkeypatch.setattr(memory, "available_memory", lambda room=room: int((room + 1) * one / memory.SHARE))
        assert memory.rows_in_flight(batch, 0) == expected


@pytest.mark.parametrize("optimizer", ["adam", "gd"])
def test_rows_in_flight_change_no_bit(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = np.random.default_rng(0).uniform(-2, 2, (200, 2)).tolist()
    changes = {"lr": np.geomspace(1e-3, 1e-1, 200).tolist()}
    batch = Made("rosenbrock", optimizer, changes=changes, starts=starts, trainer=SurfaceTrainer(steps=20)).batch(
        "eager"
    )
    whole = descend(batch)
    monkeypatch.setattr(eager, "rows_in_flight", lambda *args: 64)
    parts = descend(batch)
    np.testing.assert_array_equal(parts.x, whole.x)
    np.testing.assert_array_equal(parts.final_loss, whole.final_loss)


def test_what_does_not_fit_at_once_goes_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes, whole = swept(tmp_path / "whole")
    assert (notes.batches, notes.notes) == ([150], [])
    monkeypatch.setattr(outlook, "_ROOMY", 0)
    (rows,), _, _ = batches(plan_sweep([*WORDS]))
    batch = batch_of(startable(rows)[0], Stop())
    flight = memory.flight_bytes(batch, len(rule_for(batch.optimizer).memories))
    room = int((64 * flight + memory.held_bytes(70, 2)) / outlook._SHARE)
    monkeypatch.setattr(memory, "available_memory", lambda: room)
    notes, parts = swept(tmp_path / "parts")
    assert notes.batches == [64, 64, 22]
    (said,) = notes.notes
    assert re.fullmatch(
        r"sphere adam: 150 rows of 2 coordinates, 5 updates each: about .* s, 0\.0 GB of the 0\.0 GB that are free,"
        r" in 3 chunks of at most 64 rows, each recorded as it ends",
        said,
    )
    assert parts == whole
    assert len(parts) == 150
    kept, expected = (set(curve_ids(tmp_path / place / "s" / "curves.parquet")) for place in ("parts", "whole"))
    assert kept == expected
    assert len(kept) == Options().recorded


def test_what_no_memory_holds_is_refused_with_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outlook, "_ROOMY", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    code, out, err = invoke(capsys, "sweep", *WORDS, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert re.search(r"64 rows of 2 coordinates need about [\d.]+ GB; [\d.]+ GB are free\n--engine loop runs", err)
    assert not list(tmp_path.iterdir())


def test_sensitivity_that_no_memory_holds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    code, _, err = invoke(capsys, "sensitivity", "model=sphere", "--points", "3", "--seeds", "7")
    assert code == 2
    assert "21 runs of 2 coordinates need about" in err


def test_basins_that_no_memory_holds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["basins", "model=himmelblau", "optimizer=gd", "trainer.steps=1", "--grid", "100"]
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    code, _, err = invoke(capsys, *words, "--plot", "no.png")
    assert code == 2
    assert "100 x 100 starts and their figure need about 0.0 GB; 0.0 GB are free\na smaller --grid" in err
    assert "or no --plot" in err
    assert invoke(capsys, *words)[0] == 0, "the starts alone fit"
    monkeypatch.setattr(memory, "available_memory", lambda: 10**5)
    code, _, err = invoke(capsys, *words)
    assert (code, "--plot" in err) == (2, False)


def test_a_plan_says_what_its_sweep_would_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outlook, "_LARGE", 1)
    notes, _ = swept(tmp_path)
    code, out, _ = invoke(capsys, "sweep", *WORDS, "--out", tmp_path / "new", "--dry-run")
    (said,) = notes.notes
    planned = [line for line in out.splitlines() if line.startswith("sphere adam: 150 rows of 2 coordinates")]
    assert (code, [_without_numbers(line) for line in planned]) == (0, [_without_numbers(said)])
    monkeypatch.setattr(outlook, "_ROOMY", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    code, out, _ = invoke(capsys, "sweep", *WORDS, "--out", tmp_path / "new", "--dry-run")
    assert code == 0
    assert re.search(r"^cannot start: .*64 rows of 2 coordinates need about", out, re.MULTILINE)


def _without_numbers(text: str) -> str:
    return re.sub(r"[\d.]+ (s|GB)", r"N \1", text)


# ---- time


def test_large_batches_are_estimated_before_they_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "_LARGE", 1)
    monkeypatch.setattr(outlook, "_seconds_an_update", lambda batch: 12.0)
    (rows,), _, _ = batches(plan_sweep([*WORDS]))
    seen = outlook.outlook(rows)
    assert seen is not None
    assert (seen.rows, seen.dim, seen.steps, seen.chunk) == (150, 2, 5, 150)
    assert seen.seconds == pytest.approx(12.0 * 5 * 150 / 64)
    assert seen.sentence().startswith("150 rows of 2 coordinates, 5 updates each: about 2 minutes, ")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.25, "0.2 s"), (119.0, "119.0 s"), (600.0, "10 minutes"), (36000.0, "10.0 hours")]
)
def test_durations(seconds: float, words: str) -> None:
    assert outlook.duration(seconds) == words


def test_fewer_rows_are_probed_where_they_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    (rows,), _, _ = batches(plan_sweep([*WORDS]))
    assert probe._probed(rows) == 150
    monkeypatch.setattr(probe, "_COORDINATES", 21)
    assert probe._probed(rows) == 10
    monkeypatch.setattr(probe, "_COORDINATES", 1)
    assert probe._probed(rows) == 1


# ---- how far


def test_the_engine_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "_PAUSE", 0.0)
    monkeypatch.setattr(eager, "rows_in_flight", lambda *args: 64)
    heard: list[tuple[str, float]] = []
    starts = np.random.default_rng(0).uniform(-2, 2, (130, 2)).tolist()
    batch = Made(
        "rosenbrock", "adam", changes={"lr": [1e-3] * 130}, starts=starts, trainer=SurfaceTrainer(steps=4)
    ).batch("eager")
    descend(replace(batch, on_stage=lambda words, share: heard.append((words, share))))
    assert [words for words, _ in heard] == [f"update {k} of 4" for _ in range(3) for k in range(4)]
    shares = [share for _, share in heard]
    assert shares == sorted(shares)
    assert shares[4] == pytest.approx(64 / 130)
    assert shares[-1] == pytest.approx(128 / 130 + 2 / 130 * 3 / 4)


def test_tracing_and_compiling_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path))
    heard: list[str] = []
    batch = Made("matyas", "lion", changes={"lr": [0.0123, 0.0456]}).batch("auto")
    descend(replace(batch, on_stage=lambda words, share: heard.append(words)))
    assert heard[0] == "tracing the step"


def test_how_long_the_rest_takes() -> None:
    assert left_after(10.0, 0.25) == ", about 30.0 s left"
    assert left_after(10.0, 0.0) == ""
    assert left_after(600.0, 0.5) == ", about 10 minutes left"


def test_a_line_now_and_then_where_nobody_watches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("optbench.cli.sweep_display.time.monotonic", lambda: now[0])
    for quiet, lines in ((False, 2), (True, 0)):
        watcher = PlainSweep(quiet)
        watcher.batch("sphere adam", 100)
        for _ in range(14):
            now[0] += 5.0
            watcher.stage("sphere adam: update 5 of 10", 0.5)
        said = capsys.readouterr().err.splitlines()
        assert len(said) == lines
        assert all(re.fullmatch(r"sphere adam: update 5 of 10, about \d+\.\d s left", line) for line in said)


# ---- curves of long rows


def test_curves_of_many_coordinates_hold_none(tmp_path: Path) -> None:
    batch = Made(
        "rosenbrock", "adam", changes={"lr": [1e-3] * 2}, starts=[[0.5] * 2] * 2, trainer=SurfaceTrainer(steps=4)
    )
    with_paths = descend(batch.batch("eager", record=(0, 1)))
    without = descend(replace(batch.batch("eager", record=(0, 1)), paths=False))
    assert without.curves.x.shape == (2, 5, 0)
    assert {"x0", "x1"} <= with_paths.curve(0).keys()
    assert without.curve(0).keys() == with_paths.curve(0).keys() - {"x0", "x1"}
    np.testing.assert_array_equal(without.curve(1)["loss"], with_paths.curve(1)["loss"])
    (rows,), _, _ = batches(plan_sweep(["model=sphere", "model.dim=11", "trainer.start=random", "seeds=16"]))
    assert not batch_of(rows, Stop()).paths
    assert torch.is_tensor(problem_of(rows).field(torch.zeros(3, 11, dtype=torch.float64)))


def test_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10**9)
    memory.check_held(1000, 1000)
    with pytest.raises(UserError, match=r"100000 runs of 1000 coordinates need about 4\.0 GB; 1\.0 GB are free"):
        memory.check_held(100_000, 1000)
