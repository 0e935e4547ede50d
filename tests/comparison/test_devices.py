"""Runs on a CPU and on a GPU beside one another: said, and their times never ranked together."""

from __future__ import annotations

from pathlib import Path

from made_runs import make_run

from optbench.comparison import compare

GPU = "NVIDIA H200"


def test_a_group_on_two_devices_has_no_seconds_and_a_note_counts_its_runs(tmp_path: Path) -> None:
    for seed, device in enumerate(("cpu", "cpu", GPU)):
        make_run(tmp_path / str(seed), {"seed": seed}, seconds=1.0, device=device)
    found = compare([tmp_path])
    (group,) = found.groups
    assert (group.n, group.statistics["seconds"]) == (3, None)
    assert group.statistics["final_loss"] is not None
    assert (
        sum("adam: runs on several devices (NVIDIA H200: 1, cpu: 2), so it has no seconds" in w for w in found.warnings)
        == 1
    )
    (alone,) = compare([tmp_path], filters=["device=cpu"]).groups
    assert alone.statistics["seconds"].value == 1.0
    assert compare([tmp_path], filters=["device=cpu"]).warnings == ()


def test_seconds_are_sorted_device_by_device(tmp_path: Path) -> None:
    seconds = {0.1: (5.0, "cpu"), 0.2: (0.5, GPU), 0.3: (3.0, "cpu"), 0.4: (0.25, GPU), 0.5: (4.0, None)}
    for lr, (spent, device) in seconds.items():
        make_run(tmp_path / str(lr), {"optimizer.lr": lr}, seconds=spent, device=device)

    def order(sort: str) -> list[float]:
        return [group.statistics["seconds"].value for group in compare([tmp_path], sort=sort).groups]

    assert order("seconds") == [4.0, 0.25, 0.5, 3.0, 5.0]  # unknown, GPU, CPU
    assert order("-seconds") == [4.0, 0.5, 0.25, 5.0, 3.0]


def test_problems_on_a_device_each_are_no_mixture(tmp_path: Path) -> None:
    make_run(tmp_path / "a", {"model.dim": 2}, device="cpu")
    make_run(tmp_path / "b", {"model.dim": 3}, device=GPU)
    found = compare([tmp_path])
    assert len(found.problems) == 2
    assert found.warnings == ()


def test_older_records_without_the_column_are_on_no_other_device(tmp_path: Path) -> None:
    make_run(tmp_path / "a", {"seed": 1}, seconds=1.0)
    make_run(tmp_path / "b", {"seed": 2}, seconds=2.0, device="cpu")
    found = compare([tmp_path])
    assert found.groups[0].statistics["seconds"].value == 1.5
    assert found.warnings == ()
