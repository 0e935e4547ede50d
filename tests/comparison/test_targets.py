"""Common targets of a comparison: hits read from curves, scores worked by hand, and what is said where curves lack."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command_tools import invoke
from made_runs import make_run

from optbench.comparison import Comparison, compare
from optbench.comparison.targets import Aim, aim
from optbench.errors import RecordError, UserError
from optbench.metrics import wilson
from optbench.records import read
from optbench.records.seal import sum_of
from optbench.report import export
from optbench.statistics.of_targets import OF_TARGETS


def run(folder: Path, name: str, seed: int, losses: Sequence[float], column: str = "loss", **summary: Any) -> None:
    """A run whose curve has these values, a row a step, two evaluations and a tenth of a second each."""
    lines = [
        {"step": i, "evals": 2 * i, "seconds": i / 10, "epoch": i, "loss": value} | {column: value}
        for i, value in enumerate(losses)
    ]
    target = {"seed": seed, "optimizer._target_": f"torch.optim.{name}"}
    make_run(folder / f"{name}{seed}", target, lines, optimizer=name, final_loss=losses[-1], steps=len(losses) - 1,
             **summary)  # fmt: skip


def score(found: Comparison, label: str, name: str) -> Any:
    (group,) = [group for group in found.groups if group.label == label]
    return group.statistics[name]


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """a meets 1 after 1, 2, 2 steps and 0.1 after 3 steps twice; b meets 1 after 4 steps once and 0.1 never."""
    run(tmp_path, "a", 0, [5.0, 0.9, 0.5, 0.05])
    run(tmp_path, "a", 1, [5.0, 2.0, 1.0, 0.1])
    run(tmp_path, "a", 2, [5.0, 2.0, 0.8, 0.7, 0.6])
    run(tmp_path, "b", 0, [9.0, 8.0, 7.0, 6.0, 0.5])
    run(tmp_path, "b", 1, [9.0, 8.0, 7.0, 6.0, 5.0])
    return tmp_path


def test_scores_of_targets_by_hand(three: Path) -> None:
    found = compare([three], target="1,0.1")
    assert score(found, "a", "targets_solved") == wilson(5 / 6, 3)
    assert score(found, "b", "targets_solved") == wilson(1 / 4, 2)
    # 0.1 is reached by two of three runs of a: it is what times are to
    assert score(found, "a", "time_to_hardest").value == 3
    assert score(found, "a", "ert_of_hardest").value == (3 + 3 + 4) / 2
    assert score(found, "a", "par10_of_hardest").value == (3 + 3 + 10 * 4) / 3
    assert score(found, "b", "time_to_hardest").value == math.inf
    assert score(found, "b", "par10_of_hardest").value == 40
    assert [note for note in found.notes if "times are to loss <= 0.1, in steps" in note]
    assert {one.n for one in (score(found, "a", name) for name in OF_TARGETS) if one} == {3}


def test_the_curves_of_many_runs_are_those_of_each(three: Path) -> None:
    record = json.loads((three / "a1" / "run.json").read_text())
    record["provenance"] = {"files": {"metrics.csv": sum_of((three / "a1" / "metrics.csv").read_bytes())}}
    (three / "a1" / "run.json").write_text(json.dumps(record))
    rows = read([three])
    for own, one in zip(rows.curves(("step", "loss", "none")), rows.runs(), strict=True):
        whole = one.columns()
        assert [*own] == ["step", "loss"]
        assert all(own[name].tolist() == whole[name].tolist() for name in own)
    (three / "a1" / "metrics.csv").write_text("step,loss\n0,1.0\n")
    with pytest.raises(RecordError, match="changed after the run"):
        compare([three], target="1")


@pytest.mark.parametrize(("cost", "factor"), [("steps", 1.0), ("evals", 2.0), ("seconds", 0.1), ("epochs", 1.0)])
def test_times_are_in_the_cost_that_is_asked_for(cost: str, factor: float, three: Path) -> None:
    found = compare([three], target="1,0.1", cost=cost)
    assert score(found, "a", "ert_of_hardest").value == pytest.approx(5 * factor)


@pytest.mark.parametrize("budget", ["2steps", "4evals", "0.2s", "2epochs"])
def test_a_budget_cuts_all_curves_alike(budget: str, three: Path) -> None:
    found = compare([three], target="1,0.1", budget=budget, cost="steps")
    assert score(found, "a", "targets_solved").value == 0.5
    assert score(found, "b", "targets_solved").value == 0.0
    assert score(found, "a", "time_to_hardest").value == 2
    assert score(found, "b", "ert_of_hardest").value == math.inf


def test_a_surface_has_its_minimum_and_51_precisions(three: Path) -> None:
    found = compare([three], cost="steps", minimum_of=lambda run: 0.0)
    # 10^2 ... 10^0.8 is met at the start by a, 7 of the 51; 0.05 reaches down to 10^-1.2
    assert score(found, "a", "targets_solved").value > score(found, "b", "targets_solved").value
    run(three, "c", 0, [1e-8])
    every = compare([three], cost="steps", minimum_of=lambda run: 0.0)
    assert score(every, "c", "targets_solved").value == 1.0
    with pytest.raises(UserError, match="its minimum is not known"):
        compare([three], cost="steps")


def test_levels_of_a_network_are_those_of_the_median_run_of_the_best(tmp_path: Path) -> None:
    network = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}
    for name, tables in (("a", ([0.1, 0.5, 0.7], [0.1, 0.6, 0.8], [0.1, 0.6, 0.9])), ("b", ([0.1, 0.6, 0.5],) * 3)):
        for seed, accuracies in enumerate(tables):
            best = {"best_val_accuracy": max(accuracies), "val_accuracy": accuracies[-1]}
            run(tmp_path, name, seed, accuracies, "val_accuracy", **best, **network)
    found = compare([tmp_path], cost="epochs")
    (note,) = found.notes
    assert "3 levels of val_accuracy, 0.1 to 0.8, as the median run of a reached them" in note
    assert "times are to val_accuracy >= 0.8, in epochs" in note
    assert score(found, "a", "targets_solved").value == pytest.approx((2 + 3 + 3) / 9)
    assert score(found, "b", "targets_solved").value == pytest.approx(6 / 9)


@pytest.mark.parametrize(
    ("key", "column", "level", "hits"),
    [("trainer.target_accuracy", "val_accuracy", 0.6, [2, 1]), ("trainer.target_val_loss", "val_loss", 0.4, [1, 2])],
)
def test_the_target_that_all_runs_have_is_the_common_one(
    key: str, column: str, level: float, hits: list[int], tmp_path: Path
) -> None:
    network = {"data": "digits", "model": "mlp", "loss_name": "cross_entropy", "val_accuracy": 0.6}
    for seed, (accuracies, losses) in enumerate(
        [([0.5, 0.55, 0.6], [0.9, 0.4, 0.3]), ([0.4, 0.7, 0.8], [0.9, 0.5, 0.4])]
    ):
        lines = [
            {"step": i, "epoch": i, "loss": loss, "val_loss": loss, "val_accuracy": accuracy}
            for i, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True))
        ]
        make_run(tmp_path / str(seed), {"seed": seed, key: level}, lines, **network, steps=2)
    found = compare([tmp_path], cost="steps")
    assert found.groups[0].times == tuple(map(float, hits))
    assert any(f"target: {column} {level}, that of its runs" in note for note in found.notes)
    make_run(tmp_path / "2", {"seed": 2}, lines, **network, steps=2)  # one has none: levels, as ever
    assert any("levels of val_accuracy" in note for note in compare([tmp_path], cost="steps").notes)


def test_a_group_without_all_curves_has_no_such_score_and_it_is_said(three: Path) -> None:
    (three / "b1" / "metrics.csv").unlink()
    found = compare([three], target="1")
    assert score(found, "a", "targets_solved").value == 1.0
    (group,) = [group for group in found.groups if group.label == "b"]
    assert group.statistics.get("targets_solved") is None
    assert any("no scores of targets for b" in note and "--curves N" in note for note in found.notes)


def test_what_many_problems_lack_is_said_once(tmp_path: Path) -> None:
    for problem in range(5):
        for name in "ab":
            make_run(tmp_path / f"{problem}{name}", {"model.dim": problem + 2, "optimizer._target_": name},
                     optimizer=name, model=f"m{problem}")  # fmt: skip
            (tmp_path / f"{problem}{name}" / "metrics.csv").unlink(missing_ok=True)
    (note,) = [note for note in compare([tmp_path], target="1").notes if "no scores of targets" in note]
    assert note.startswith("5 problems: ")


def test_a_run_that_was_killed_misses_every_target_without_a_curve(three: Path) -> None:
    (three / "b1" / "metrics.csv").unlink()
    make_run(three / "b1", {"seed": 1, "optimizer._target_": "torch.optim.b"}, [], optimizer="b", status="failed")
    (three / "b1" / "metrics.csv").unlink()
    assert score(compare([three], target="1"), "b", "targets_solved").value == 0.5


def test_what_is_asked_stands_in_json_and_text(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = invoke(capsys, "compare", three, "--target", "1,0.1", "--cost", "evals", "--json")
    groups = json.loads(out)["groups"]
    assert code == 0
    assert {groups[0][name]["n"] for name in OF_TARGETS if name in groups[0] and groups[0][name]} == {3}
    assert OF_TARGETS.keys() <= groups[0].keys()
    assert "in evals" in err
    text = export(compare([three], target="1"), "text")
    for name, one in OF_TARGETS.items():
        assert (one.title in text) == (groups[0][name] is not None)
    assert set(OF_TARGETS).isdisjoint(compare([three]).to_json()["groups"][0])
    assert compare([three], target="1", sort="-time_to_hardest").groups[0].label == "b"
    code, out, _ = invoke(capsys, "compare", "--explain", "ert_of_hardest")
    assert out.startswith("ert_of_hardest (ERT of hardest): expected running time")


def test_scores_over_problems_are_of_the_common_targets(tmp_path: Path) -> None:
    for model, shift in (("bowl", 0), ("dale", 1)):
        for seed in range(3):
            run(tmp_path / model, "a", seed, [5.0] * (2 + shift) + [0.5], model=model)
            run(tmp_path / model, "b", seed, [5.0] * (4 - shift) + [0.5], model=model)
    for folder in tmp_path.iterdir():
        assert folder.name in ("bowl", "dale")
    found = compare([tmp_path], target="1", cost="evals", score="algoperf,ert")
    values = {(one.score, one.configuration): one.estimate.value for one in found.scores}
    # bowl: a after 4 evaluations, b after 8; dale: 6 both
    assert values["algoperf", "a"] == pytest.approx(1.0)
    assert values["algoperf", "b"] == pytest.approx((2 / 3 + 1) / 2)
    assert values["ert", "b"] == pytest.approx(math.sqrt(8 * 6))


@pytest.mark.parametrize(
    ("cost", "target", "budget", "said"),
    [
        ("hours", "", None, "--cost hours"),
        (None, "low", None, "--target low"),
        (None, "nan", None, "--target nan"),
        (None, "", "10", "--budget 10"),
        (None, "", "0steps", "--budget 0steps"),
        (None, "", "5x", "--budget 5x"),
    ],
)
def test_what_is_no_aim_is_refused(cost: str | None, target: str, budget: str | None, said: str) -> None:
    with pytest.raises(UserError, match=f"{said}: expected"):
        aim(cost, target, budget)


def test_an_aim_is_read_as_it_is_typed() -> None:
    assert aim(None, "1,1e-3", "1e3evals") == Aim("evals", (1.0, 1e-3), ("evals", 1000.0))
    assert aim("seconds", "", "10s") == Aim("seconds", (), ("seconds", 10.0))


@pytest.mark.slow
def test_the_minimum_of_a_recorded_surface_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    invoke(capsys, "run", "model=matyas", "optimizer=adam", "optimizer.lr=0.5", "trainer.steps=50", "--quiet")
    code, out, err = invoke(capsys, "compare", "outputs", "--cost", "steps", "--json")
    assert code == 0
    assert "minimum 0 + 51 precisions" in err
    assert json.loads(out)["groups"][0]["targets_solved"]["value"] > 0.3
