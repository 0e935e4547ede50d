"""What differs between groups is listed, and said where it bears on a ranking or on times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import make_run, make_table

from optbench.comparison import Comparison, compare
from optbench.comparison.header import Difference
from optbench.records.origins import FACTS, PLACES, UNKNOWN, VERSIONS, origin_of
from optbench.report import export

MADE = {
    "device": "cpu", "processor": "Z80", "threads": 1, "processes": 1, "host": "here",
    "versions": {"optbench": "1", "torch": "2.13", "numpy": "2.3", "python": "3.12"},
}  # fmt: skip


def two(folder: Path, first: dict[str, Any], second: dict[str, Any]) -> Comparison:
    """Two configurations of two seeds; what is told of each lies beside its settings."""
    for lr, told in ((0.1, first), (0.2, second)):
        changes = {k: v for k, v in told.items() if "." in k}
        summary = {k: v for k, v in told.items() if "." not in k}
        for seed in range(2):
            made = {"provenance": MADE, **summary}
            make_run(folder / f"{lr}-{seed}", {"seed": seed, "optimizer.lr": lr, **changes}, final_loss=lr, **made)
    return compare([folder])


def test_equal_runs_differ_in_nothing(tmp_path: Path) -> None:
    found = two(tmp_path, {}, {})
    assert (found.differences, found.warnings) == ((), ())
    assert (found.to_json()["header"]["differs"], found.to_json()["warnings"]) == ([], [found.hopeless])


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"trainer.steps": 100}, {"trainer.steps": 200}, "trainer.steps (100: adam lr=0.1 steps=100; 200: adam"),
        ({"trainer.batch_size": 32}, {"trainer.batch_size": "full"}, "trainer.batch_size (32: adam lr=0.1"),
        ({}, {"provenance": {**MADE, "device": "cuda:0"}}, "device (cpu: adam lr=0.1; cuda:0: adam lr=0.2)"),
        ({}, {"provenance": {**MADE, "versions": {**MADE["versions"], "torch": "2.14"}}},
         "torch (2.13: adam lr=0.1; 2.14: adam lr=0.2)"),
    ],
)  # fmt: skip
def test_an_unfair_ranking_is_said_to_be_one(
    first: dict[str, Any], second: dict[str, Any], said: str, tmp_path: Path
) -> None:
    found = two(tmp_path, first, second)
    (sentence,) = [line for line in found.warnings if "ranked together although" in line]
    assert sentence.startswith(f"rosenbrock: ranked together although they differ in {said}")
    assert f"warning: {sentence}." in export(found, "text").splitlines()
    (one,) = found.to_json()["header"]["differs"]
    assert one["problem"] == "rosenbrock"
    assert one["what"] == said.partition(" ")[0]
    assert len(one["values"]) == 2


def test_another_engine_or_machine_spoils_times_and_no_ranking(tmp_path: Path) -> None:
    found = two(tmp_path, {"engine": "scalar"}, {"provenance": {**MADE, "threads": 2, "host": "there"}})
    (sentence,) = found.warnings
    assert sentence.startswith(
        "rosenbrock: seconds are not comparable: engine (scalar: adam lr=0.1; loop: adam lr=0.2)"
    )
    assert "threads (1: adam lr=0.1; 2: adam lr=0.2); host (here: adam lr=0.1; there: adam lr=0.2)" in sentence
    assert [one.what for one in found.differences] == ["engine", "threads", "host"]


def test_runs_of_several_processes_are_told_from_those_of_one(tmp_path: Path) -> None:
    one = {key: value for key, value in MADE.items() if key != "processes"}  # as a record of one process has it
    found = two(tmp_path, {"provenance": one}, {"provenance": {**MADE, "processes": 2}})
    assert [each.what for each in found.differences] == ["processes"]
    ranked, clocks = found.warnings
    assert "differ in processes (1: adam lr=0.1; 2: adam lr=0.2)" in ranked
    assert "seconds are not comparable: processes (1" in clocks


def test_times_of_different_engines_are_neither_starred_nor_judged(tmp_path: Path) -> None:
    two(tmp_path, {"engine": "scalar", "seconds": 1.0}, {"engine": "loop", "seconds": 2.0})
    found = compare([tmp_path], metric="seconds")
    assert [group.best for group in found.groups] == [False, False]
    assert found.pairs == ()
    assert any("seconds are not comparable: engine" in said for said in found.warnings)
    same = two(tmp_path / "same", {"seconds": 1.0}, {"seconds": 2.0})
    assert len(compare([tmp_path / "same"], metric="seconds").pairs) == len(same.pairs) == 1


def test_rows_without_times_of_their_own_have_none_that_could_mislead(tmp_path: Path) -> None:
    rows = [{"seed": seed, "optimizer.lr": lr, "engine": engine, "seconds": None, "seconds_of": "batch"}
            for lr, engine in ((0.1, "eager"), (0.2, "fused")) for seed in range(2)]  # fmt: skip
    make_table(tmp_path, rows)
    found = compare([tmp_path])
    assert [one.what for one in found.differences] == ["engine"]
    assert found.warnings == ()


def test_groups_that_share_all_values_do_not_differ(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        for seed, host in enumerate(("here", "there")):
            made = {**MADE, "host": host}
            make_run(tmp_path / f"{lr}{host}", {"seed": seed, "optimizer.lr": lr}, provenance=made)
    assert compare([tmp_path]).differences == ()


@pytest.mark.parametrize(
    ("status", "steps", "horizon", "target", "cut"),
    [
        ("timed_out", 60, None, "torch.optim.lr_scheduler.CosineAnnealingLR", True),
        ("completed", 100, 300, "torch.optim.lr_scheduler.CosineAnnealingLR", True),
        ("completed", 100, 100, "torch.optim.lr_scheduler.CosineAnnealingLR", False),
        ("completed", 100, None, "optbench.schedulers.warmup.warmup_cosine", False),
        ("target_reached", 60, 100, "torch.optim.lr_scheduler.CosineAnnealingLR", False),
        ("timed_out", 60, None, "torch.optim.lr_scheduler.ConstantLR", False),
    ],
)
def test_what_was_cut_inside_a_decay_is_not_ranked_without_a_word(
    status: str, steps: int, horizon: int | None, target: str, cut: bool, tmp_path: Path
) -> None:
    schedule = {"scheduler._target_": target, "scheduler.T_max": horizon}
    make_run(tmp_path / "a", schedule, status=status, steps=steps)
    make_run(tmp_path / "b", {"optimizer.lr": 0.5}, steps=steps)
    said = [line for line in compare([tmp_path]).warnings if line.startswith("cut inside the decay")]
    assert len(said) == cut


def test_many_configurations_are_counted_and_not_listed() -> None:
    values = {f"lr={i}": (100 + i % 5,) for i in range(20)}
    words = Difference("bowl", "trainer.steps", values).in_words()
    assert words == "trainer.steps (100: 4 configurations; 101: 4 configurations; 102: 4 configurations; 2 more)"


PLAIN = st.none() | st.integers() | st.text(max_size=5)
KEYS = st.sampled_from([*FACTS, "versions"])


@given(st.recursive(PLAIN, lambda one: st.lists(one, max_size=3) | st.dictionaries(KEYS, one), max_leaves=9))
def test_whatever_stands_for_a_provenance_has_an_origin(found: Any) -> None:
    origin = origin_of(found)
    assert len(origin) == len(FACTS)
    assert {hash(origin): origin}  # a key of a dictionary
    assert all(value is None or isinstance(value, str | int) for value in origin)
    assert origin == UNKNOWN or isinstance(found, dict)


def test_the_facts_of_an_origin_stand_in_their_order() -> None:
    expected = (*(MADE[name] for name in PLACES), *(MADE["versions"][name] for name in VERSIONS))  # type: ignore[index]
    assert origin_of(MADE) == expected
    assert origin_of('{"device": "cpu"}')[0] == "cpu"


def test_the_order_of_folders_is_no_matter(tmp_path: Path) -> None:
    two(tmp_path, {"trainer.steps": 100}, {"trainer.steps": 200, "engine": "scalar"})
    folders = sorted(path.parent for path in tmp_path.rglob("run.json"))
    told = [json.loads(export(compare(given), "json")) for given in (folders, folders[::-1])]
    for found in told:
        for group in found["groups"]:
            group["run_ids"].sort()
    assert json.dumps(told[0]) == json.dumps(told[1])
