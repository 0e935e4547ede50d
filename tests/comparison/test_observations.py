"""Copies of a run are one observation: against plain Python, in tables, CSV and JSON, and said while planning."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_tools import command
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import make_run, make_table

from optbench.comparison import compare
from optbench.comparison.observations import NUMBERS, distinct, idle
from optbench.experiment import plan_sweep
from optbench.experiment.seed_note import seed_note
from optbench.records import RunTable, Status
from optbench.report import export, footnotes

USUAL = {"trainer.start": "usual"}
VALUES = st.sampled_from([None, 0.0, -0.0, 1.0, math.nextafter(1.0, 2.0), 1e300])
RUNS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(list(map(str, Status))),
        "trainer.start": st.sampled_from(["usual", "random", "[1, 2]", None]),
        "trainer.grad_noise": st.sampled_from([0, 0, 0.5, None]),
        "data": st.sampled_from(["none", None, "digits"]),
        **dict.fromkeys(NUMBERS[:4], VALUES),
    }
)


def plain(rows: list[dict[str, Any]], configurations: list[int]) -> list[bool]:
    """The first of each observation, run by run."""
    seen: set[Any] = set()
    found = []
    for row, own in zip(rows, configurations, strict=True):
        still = row["trainer.start"] not in (None, "random") and not row["trainer.grad_noise"]
        if not still or row["data"] == "digits":
            found.append(True)
            continue
        alike = [
            other
            for other, theirs in zip(rows, configurations, strict=True)
            if theirs == own and other["trainer.start"] not in (None, "random") and not other["trainer.grad_noise"]
            and other["data"] != "digits"
        ]  # fmt: skip
        ended = [other for other in alike if other["status"] not in ("failed", "interrupted")]
        key = (own, row["status"], *((v if v is None else float(v).hex()) for v in map(row.get, NUMBERS)))
        found.append(key not in seen and (not ended or row["status"] not in ("failed", "interrupted")))
        seen.add(key)
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(RUNS, st.integers(0, 1)), min_size=1, max_size=12))
def test_copies_are_those_that_plain_python_finds(runs: list[tuple[dict[str, Any], int]]) -> None:
    rows, own = [row for row, _ in runs], [number for _, number in runs]
    assert distinct(RunTable.of(rows), np.array(own)).tolist() == plain(rows, own)


def test_thirty_seeds_of_nothing_drawn_are_one_observation_without_an_interval(tmp_path: Path) -> None:
    for seed in range(30):
        make_run(tmp_path / f"copy{seed}", {"seed": seed, **USUAL}, final_loss=0.25, seconds=1.0 + seed)
        make_run(tmp_path / f"drawn{seed}", {"seed": seed, "optimizer.lr": 0.5}, final_loss=0.25)
    found = compare([tmp_path])
    copies, drawn = sorted(found.groups, key=lambda group: group.distinct)
    loss, seconds = copies.statistics["final_loss"], copies.statistics["seconds"]
    assert loss is not None
    assert seconds is not None
    assert (loss.value, loss.low, loss.high, loss.coverage, loss.n) == (0.25, None, None, None, 1)
    assert (seconds.value, seconds.n) == (15.5, 30)  # of a clock every run is an observation
    assert drawn.statistics["final_loss"].n == 30  # type: ignore[union-attr]
    text = export(found, "text")
    assert "30 (1 distinct)" in text
    assert "15.5" in text
    assert "of 30" not in text
    assert any("are one observation" in line for line in footnotes(found))
    (row,) = [row for row in found.table_rows() if row["distinct"] == 1]
    assert (row["n"], row["completed"], row["final_loss_n"]) == (30, 30, 1)
    assert compare([tmp_path], sort="distinct").groups[0].distinct == 1


def test_what_is_not_the_same_to_the_last_bit_is_two(tmp_path: Path) -> None:
    for seed, loss in enumerate([0.25, math.nextafter(0.25, 1.0), 0.25]):
        make_run(tmp_path / str(seed), {"seed": seed, **USUAL}, final_loss=loss)
    (group,) = compare([tmp_path]).groups
    assert (group.n, group.distinct) == (3, 2)


def test_a_copy_that_did_not_end_says_nothing_beside_one_that_did(tmp_path: Path) -> None:
    for seed, status in enumerate(["completed", "interrupted", "failed", "completed"]):
        steps = 100 if status == "completed" else 7
        make_run(tmp_path / str(seed), {"seed": seed, **USUAL}, status=status, steps=steps, final_loss=0.25)
    (group,) = compare([tmp_path]).groups
    assert (group.n, group.distinct) == (4, 1)
    assert group.statistics["final_loss"].value == 0.25  # type: ignore[union-attr]


def test_imported_runs_that_are_there_twice_are_told(tmp_path: Path) -> None:
    """As of a log that was imported from two places: no engine, and settings and seed of another. Folds are none."""
    for i, (seed, lr, fold) in enumerate([(0, 0.1, None), (1, 0.1, None), (0, 0.2, None), (3, 0.1, 0), (3, 0.1, 1)]):
        make_run(tmp_path / f"a{i}", {"seed": seed, "optimizer.lr": lr, "data.fold": fold}, engine=None, run_id=f"{i}")
    assert not [line for line in compare(tmp_path).warnings if "twice" in line]
    make_run(tmp_path / "b", {"seed": 1, "optimizer.lr": 0.1, "data.fold": None}, engine=None, run_id="9")
    (said,) = [line for line in compare(tmp_path).warnings if "twice" in line]
    assert said.endswith("count twice: adam lr=0.1 (1 of 5)")
    (pooled,) = [line for line in compare(tmp_path, group_by="optimizer", pool=True).warnings if "twice" in line]
    assert pooled.endswith("count twice: adam (1 of 6)")


def test_copies_are_of_one_configuration_in_rows_and_folders_alike(tmp_path: Path) -> None:
    rows = [{"seed": seed, "optimizer.lr": lr, "final_loss": 0.5, "trainer.start": "usual", "trainer.grad_noise": 0.0}
            for seed in range(3) for lr in (0.1, 0.2)]  # fmt: skip
    make_table(tmp_path, rows)
    found = compare([tmp_path])
    assert [(g.n, g.distinct) for g in found.groups] == [(3, 1), (3, 1)]
    assert not idle(RunTable.of([{"trainer.start": "usual", "trainer.grad_noise": 0.1, "data": "none"}])).any()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["optimizer=adam,sgd", "seeds=3"], "seed changes nothing here"),
        (["optimizer=adam", "seeds=2", "trainer.start=usual,random"], "seed changes nothing in 2 of 4 runs"),
        (["optimizer=adam", "seeds=2", "trainer.start=random"], ""),
        (["optimizer=adam", "seeds=2", "trainer.grad_noise=0.1"], ""),
        (["optimizer=adam,sgd"], ""),
        (["model=mlp", "data=digits", "seeds=2"], ""),
    ],
)
def test_planning_says_where_a_seed_changes_nothing(overrides: list[str], said: str, tmp_path: Path) -> None:
    note = seed_note(plan_sweep(overrides, out=tmp_path))
    assert [line.startswith(f"note: {said}") for line in note] == [True] * bool(said)


def test_a_plan_says_it_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command("sweep", "model=matyas", "optimizer=gd", "seeds=3", "trainer.steps=5", "--dry-run", "--json")
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "note: seed changes nothing here: trainer.start=random or trainer.grad_noise would"
    ]
    assert len(json.loads(said.out)) == 3
