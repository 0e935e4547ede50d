"""Comparisons of runs made by hand: grouping, denominators, filters, names, and what is refused."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_runs import CONFIG, CURVE, make_run, make_table

from optbench.comparison import STATISTICS, Comparison, compare, label_runs
from optbench.comparison.filters import resolve_key
from optbench.config import Composer
from optbench.errors import RecordError, UserError
from optbench.records import Run, flatten, read, read_run, run_id, to_json, write_bytes, write_json, write_yaml
from optbench.report import export, footnotes


def seeds(folder: Path, losses: list[float | None], changes: dict[str, Any] | None = None, **summary: Any) -> None:
    """One run a loss; None is a run that diverged."""
    for seed, loss in enumerate(losses):
        ended = {"status": "diverged", "final_loss": None, "best_loss": 1.0} if loss is None else {"final_loss": loss}
        make_run(folder / f"{seed}", {**(changes or {}), "seed": seed}, **{"best_loss": loss, **summary, **ended})


def group(comparison: Comparison, label: str) -> Any:
    (found,) = [g for g in comparison.groups if g.label == label]
    return found


def test_seeds_are_repetitions_and_only_what_differs_is_named(tmp_path: Path) -> None:
    seeds(tmp_path / "a", [0.1, 0.3, 0.2])
    seeds(tmp_path / "b", [0.5, 0.6], {"optimizer.lr": 0.001})
    seeds(tmp_path / "c", [0.05], {"optimizer.lr": 0.5, "optimizer.momentum": 0.9}, optimizer="sgd")
    found = compare([tmp_path])
    assert [g.label for g in found.groups] == ["sgd", "adam lr=0.01", "adam lr=0.001"]
    assert [g.problem for g in found.groups] == ["rosenbrock"] * 3
    assert [g.n for g in found.groups] == [1, 3, 2]
    assert [g.best for g in found.groups] == [True, False, False]
    middle = group(found, "adam lr=0.01").statistics["final_loss"]
    assert (middle.value, middle.low, middle.high, middle.coverage) == (0.2, 0.1, 0.3, 0.75)
    assert group(found, "adam lr=0.001").statistics["final_loss"].value == pytest.approx(0.55)
    assert found.differing == ("optimizer.lr",)
    assert found.notes == ()


@pytest.mark.parametrize("status", ["diverged", "failed", "interrupted", "skipped"])
def test_a_run_without_a_result_stays_in_every_denominator_as_infinite(tmp_path: Path, status: str) -> None:
    seeds(tmp_path / "good", [1.0, 2.0])
    make_run(tmp_path / "bad", {"seed": 7}, status=status, final_loss=1e-9, best_loss=1e-9)
    (only,) = compare([tmp_path]).groups
    assert only.n == 3
    assert only.n_by_status[status] == 1
    assert sum(only.n_by_status.values()) == 3
    for name in ("final_loss", "best_loss"):
        assert (only.statistics[name].value, only.statistics[name].high) == (2.0, math.inf)


def test_a_group_that_only_diverged_is_infinite_last_and_never_best(tmp_path: Path) -> None:
    seeds(tmp_path / "a", [None, None], {"optimizer.lr": 50.0})
    assert [g.best for g in compare([tmp_path]).groups] == [False]
    seeds(tmp_path / "b", [3.0])
    found = compare([tmp_path])
    assert [g.label for g in found.groups] == ["adam lr=0.01", "adam lr=50"]
    assert found.to_json()["groups"][1]["final_loss"] == {
        "value": None, "low": None, "high": None, "coverage": 0.5, "n": 2,
    }  # fmt: skip


def test_time_to_target_success_rate_and_ert(tmp_path: Path) -> None:
    for seed, (hit, steps) in enumerate([(100, 100), (150, 150), (None, 400), (None, 400)]):
        status = "target_reached" if hit else "completed"
        make_run(tmp_path / str(seed), {"seed": seed}, status=status, steps=steps, steps_to_target=hit, target=1e-3)
    (only,) = compare([tmp_path]).groups
    assert only.statistics["ert"].value == 525
    assert only.statistics["success_rate"].value == 0.5
    assert only.statistics["steps_to_target"].value == math.inf
    assert only.statistics["steps"].value == 275
    (row,) = compare([tmp_path]).to_json()["groups"]
    assert row["ert"] == {"value": 525.0, "low": None, "high": None, "coverage": None, "n": 4}


def test_a_target_accuracy_is_a_target(tmp_path: Path) -> None:
    for seed, hit in enumerate((40, None)):
        make_run(tmp_path / str(seed), {"seed": seed, "trainer.target_accuracy": 0.9}, steps_to_target=hit)
    (only,) = compare([tmp_path]).groups
    assert only.statistics["success_rate"].value == 0.5


def test_statistics_that_do_not_apply_are_none(tmp_path: Path) -> None:
    seeds(tmp_path, [1.0])
    (row,) = compare([tmp_path]).to_json()["groups"]
    assert [name for name in STATISTICS if row[name] is None] == [
        "best_val_accuracy",
        "val_accuracy",
        "best_val_loss",
        "val_loss",
        "gradients",  # made_runs say nothing of them
        "hessian_products",
        "seconds_per_epoch",  # a surface has none
        "steps_to_target",
        "success_rate",
        "ert",
    ]


def test_networks_are_ranked_by_accuracy(tmp_path: Path) -> None:
    network = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}
    seeds(tmp_path / "a", [0.1], best_val_accuracy=0.8, val_accuracy=0.8, **network)
    seeds(tmp_path / "b", [0.9], {"optimizer.lr": 0.1}, best_val_accuracy=0.95, val_accuracy=0.7, **network)
    seeds(tmp_path / "c", [None], {"optimizer.lr": 9.0}, best_val_accuracy=0.99, val_accuracy=0.99, **network)
    found = compare([tmp_path])
    assert [g.label for g in found.groups] == ["adam lr=0.1", "adam lr=0.01", "adam lr=9"]
    assert {g.problem for g in found.groups} == {"mlp on digits, cross_entropy"}
    assert found.groups[0].best
    assert found.groups[2].statistics["val_accuracy"].value == -math.inf
    assert found.groups[0].statistics["best_val_accuracy"].value == 0.95


def test_networks_without_classes_are_ranked_by_the_validation_loss(tmp_path: Path) -> None:
    network = {"model": "mlp", "data": "diabetes", "loss_name": "squared_error"}
    seeds(tmp_path / "learnt by heart", [0.01], best_val_loss=0.5, val_loss=0.9, **network)
    seeds(tmp_path / "steady", [0.3], {"optimizer.lr": 0.1}, best_val_loss=0.6, val_loss=0.6, **network)
    seeds(tmp_path / "older", [0.001], {"optimizer.lr": 0.2}, **network)
    seeds(tmp_path / "lost", [None], {"optimizer.lr": 9.0}, best_val_loss=0.1, val_loss=0.1, **network)
    order = ["adam lr=0.01", "adam lr=0.1"]
    for which, first in (("best", order), ("last", order[::-1])):
        found = compare([tmp_path], checkpoint=which)
        assert [g.label for g in found.groups] == [*first, "adam lr=0.2", "adam lr=9"]
        assert [g.label for g in found.groups if g.best] == [first[0]]
        assert [row["checkpoint"] for row in found.to_json()["groups"]] == [which, which, None, which]
        text = export(found, "text")
        (header,) = [line for line in text.splitlines() if line.startswith("  configuration")]
        assert [name for name in ("best", "last") if f"{name} validation loss" in header] == [which]
        assert f"{which} validation loss: median of the " in text


def test_a_table_of_accuracies_has_no_validation_losses(tmp_path: Path) -> None:
    network = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}
    for name, loss in (("a", 0.2), ("b", 0.1)):  # of equal accuracies the surer one is the better one
        both = {"best_val_accuracy": 0.9, "val_accuracy": 0.9, "best_val_loss": loss, "val_loss": loss}
        seeds(tmp_path / name, [loss], {"optimizer.lr": loss}, **both, **network)
    found = compare([tmp_path])
    assert [g.label for g in found.groups] == ["adam lr=0.1", "adam lr=0.2"]
    assert "validation loss" not in export(found, "text")
    assert [row["best_val_loss"]["value"] for row in found.to_json()["groups"]] == [0.1, 0.2]


def test_one_choice_says_whose_accuracy_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}
    seeds(tmp_path / "peak", [0.1], best_val_accuracy=0.95, val_accuracy=0.7, **network)
    seeds(tmp_path / "calm", [0.1], {"optimizer.lr": 0.1}, best_val_accuracy=0.9, val_accuracy=0.875, **network)
    seeds(tmp_path / "plain", [0.1], {"model": "rosenbrock"})
    for asked, first, shown, title in (
        (None, "adam lr=0.01", "95.0", "best accuracy, %"),
        ("best", "adam lr=0.01", "95.0", "best accuracy, %"),
        ("last", "adam lr=0.1", "87.5", "last accuracy, %"),
    ):
        monkeypatch.setenv("OPTBENCH_CHECKPOINT", "best" if asked else "")
        found = compare([tmp_path], checkpoint=asked)
        (problem,) = [groups for name, groups in found.problems.items() if "mlp" in name]
        assert [group.label for group in problem if group.best] == [problem[0].label] == [first]
        text = export(found, "text").splitlines()
        (header,) = [line for line in text if "accuracy, %" in line]
        assert title in header
        assert (("best" if title[0] == "l" else "last") + " accuracy") not in header
        assert any(line.startswith(f"* {first} ") and shown in line for line in text)
        assert any(line.startswith(title.partition(",")[0] + ": median of the ") for line in text)
        rows = found.to_json()["groups"]
        assert {row["checkpoint"] for row in rows} == {None, asked or "best"}  # a surface has none
        assert {row["best_val_accuracy"]["value"] for row in rows if row["checkpoint"]} == {0.95, 0.9}
        monkeypatch.setenv("OPTBENCH_CHECKPOINT", asked or "best")
        assert compare([tmp_path]).to_json()["groups"] == rows
        assert list(found.table["checkpoint"].dropna().unique()) == [asked or "best"]
    monkeypatch.setenv("OPTBENCH_CHECKPOINT", "first")
    with pytest.raises(UserError, match="OPTBENCH_CHECKPOINT=first: expected best, last"):
        compare([tmp_path])
    with pytest.raises(UserError, match=r"--checkpoint 3: expected best, last$"):
        compare([tmp_path], checkpoint="3")


def test_problems_are_never_pooled(tmp_path: Path) -> None:
    seeds(tmp_path / "a", [0.1])
    seeds(tmp_path / "b", [0.2], {"model.dim": 5})
    seeds(tmp_path / "c", [0.3], model="beale")
    found = compare([tmp_path])
    assert list(found.problems) == ["beale", "rosenbrock dim=2", "rosenbrock dim=5"]
    assert [g.label for g in found.groups] == ["adam"] * 3
    assert all(g.best for g in found.groups)


def test_runs_on_other_pictures_under_the_same_settings_are_another_problem(tmp_path: Path) -> None:
    for i in range(4):
        facts = {"data": "image_folder", "data_fingerprint": "ab"[i % 2] * 64, "val_accuracy": 0.5}
        make_run(tmp_path / str(i), {"seed": i, "data.root": f"/{i}"}, **facts)
    found = compare([tmp_path])
    assert [group.n for group in found.groups] == [2, 2]
    assert len({group.problem for group in found.groups}) == 2


def test_the_budget_is_part_of_the_configuration_and_the_device_is_not(tmp_path: Path) -> None:
    seeds(tmp_path / "a", [0.1])
    seeds(tmp_path / "b", [0.2], {"trainer.steps": 500})
    assert [g.label for g in compare([tmp_path]).groups] == ["adam steps=100", "adam steps=500"]
    make_run(tmp_path / "d", {"seed": 5, "trainer.device": "cuda", "trainer.threads": 8}, run_id="f" * 12)
    assert [g.n for g in compare([tmp_path]).groups] == [2, 1]


def test_schedulers_are_named_where_they_differ(tmp_path: Path) -> None:
    seeds(tmp_path / "a", [0.1])
    seeds(tmp_path / "b", [0.2], {"scheduler.warmup": 10}, scheduler="cosine")
    seeds(tmp_path / "c", [0.3], {"scheduler.warmup": 20}, scheduler="cosine")
    labels = [g.label for g in compare([tmp_path]).groups]
    assert labels == ["adam, constant", "adam, cosine warmup=10", "adam, cosine warmup=20"]


def test_settings_with_one_last_name_keep_their_whole_names(tmp_path: Path) -> None:
    seeds(tmp_path / "a", [0.1], {"optimizer.decay": 1, "trainer.decay": 1})
    seeds(tmp_path / "b", [0.2], {"optimizer.decay": 2, "trainer.decay": 2})
    assert compare([tmp_path]).groups[0].label == "adam optimizer.decay=1 trainer.decay=1"


def test_nearly_equal_rates_stay_two_groups(tmp_path: Path) -> None:
    seeds(tmp_path / "a", [0.1], {"optimizer.lr": 0.12345678})
    seeds(tmp_path / "b", [0.2], {"optimizer.lr": 0.12345679})
    assert [g.label for g in compare([tmp_path]).groups] == ["adam lr=0.12345678", "adam lr=0.12345679"]


def test_tables_and_folders_mix(tmp_path: Path) -> None:
    full = {k: v for k, v in flatten(CONFIG).items() if "." in k and not k.startswith("choices")}
    rows = [{**full, "optimizer.lr": lr, "seed": seed, "final_loss": lr} for lr in (0.01, 0.1) for seed in (0, 1)]
    made = make_table(tmp_path / "sweep", rows)
    make_run(tmp_path / "run", {"seed": 2}, final_loss=0.02)
    found = compare([tmp_path])
    assert [(g.label, g.n) for g in found.groups] == [("adam lr=0.01", 3), ("adam lr=0.1", 2)]
    assert len(found.runs) == 5
    assert found.runs["path"].notna().sum() == 1
    curves = found.curves()
    assert len(curves) == 15
    assert set(curves["run_id"]) == {g.run_id for one in found.groups for g in one.runs} >= {r["run_id"] for r in made}


def test_one_value_written_in_two_ways_is_one_value(tmp_path: Path) -> None:
    seeds(tmp_path / "a", [0.1, 0.2], {"optimizer.betas": [0, 0.5], "optimizer.lr": 1})
    changes = {"optimizer.betas": (0.0, 0.5), "optimizer.lr": 1.0, "optimizer.weight": None, "seed": 5}
    make_run(tmp_path / "b", changes)
    assert [(g.label, g.n) for g in compare([tmp_path]).groups] == [("adam", 3)]


def test_values_in_labels_are_as_one_types_them(tmp_path: Path) -> None:
    values = [True, False, None, 3, 0.5, 1e-9, 2.0, "word"]
    for place, value in enumerate(values):
        make_run(tmp_path / str(place), {"optimizer.option": value}, final_loss=float(place))
    words = [g.label.removeprefix("adam option=") for g in compare([tmp_path]).groups]
    assert words == ["true", "false", "null", "3", "0.5", "1e-09", "2", "word"]


def test_what_is_built_is_called_by_its_class_and_keywords(tmp_path: Path) -> None:
    crop, flip = {"_target_": "lib.Crop", "scale": [0.5, 1.0], "fill": None}, {"_target_": "lib.v2.Flip"}
    for place, value in enumerate(([crop, flip], [flip], '{"_target_": 1', "[_target_]")):
        make_run(tmp_path / str(place), {"optimizer.option": value}, final_loss=float(place))
    words = [g.label.removeprefix("adam option=") for g in compare([tmp_path]).groups]
    assert words == ["[Crop(fill=null, scale=[0.5, 1]), Flip]", "[Flip]", '{"_target_": 1', "[_target_]"]


def test_optimizers_with_the_same_settings_are_still_two(tmp_path: Path) -> None:
    for name in ("adam", "adamw"):
        make_run(tmp_path / name, optimizer=name)
    make_run(tmp_path / "cosine", scheduler="cosine")
    assert {g.label for g in compare([tmp_path]).groups} == {"adam, constant", "adamw, constant", "adam, cosine"}


def test_a_setting_that_a_table_does_not_state_is_not_assumed(tmp_path: Path) -> None:
    make_table(tmp_path / "sweep", [{"optimizer.lr": 0.01, "seed": 0}])
    make_run(tmp_path / "run", {"model.dim": 5, "seed": 1})
    assert len(compare([tmp_path]).problems) == 2


def test_a_copy_of_a_run_counts_once_and_is_named(tmp_path: Path) -> None:
    for place in ("a", "b"):
        make_run(tmp_path / place)
    found = compare([tmp_path / "a", tmp_path / "b", tmp_path])
    assert found.groups[0].n == 1
    assert "counted once" in found.notes[0]
    make_run(tmp_path / "a", status="interrupted", final_loss=99.0)
    (only,) = compare([tmp_path]).groups
    assert only.n_by_status["completed"] == 1
    assert only.statistics["final_loss"].value == 0.25


@pytest.fixture
def three(tmp_path: Path) -> Path:
    seeds(tmp_path / "a", [0.1, 0.2])
    seeds(tmp_path / "b", [None], {"optimizer.lr": 5.0})
    seeds(tmp_path / "c", [0.3], {"optimizer.lr": 0.1, "optimizer.betas": [0.5, 0.9]}, optimizer="adamw")
    return tmp_path


@pytest.mark.parametrize(
    ("filters", "n"),
    [
        (["optimizer=adam"], 3),
        (["optimizer!=adam"], 1),
        (["optimizer=adam,adamw"], 4),
        (["optimizer~adam?"], 1),
        (["optimizer ~ *w"], 1),
        (["optimizer.lr<0.05"], 2),
        (["lr<=.1"], 3),
        (["lr>0.05", "optimizer=adam"], 1),
        (["optimizer.lr=1e-2"], 2),
        (["final_loss<1"], 3),
        (["final_loss>=0.2"], 2),
        (["final_loss~*"], 3),
        (["final_loss!=null"], 3),
        (["final_loss="], 1),
        (["final_loss=NULL"], 1),
        (["optimizer._partial_=TRUE"], 4),
        (["optimizer=lion, adam"], 3),
        (["optimizer!=lion, adam"], 1),
        (["optimizer._partial_=True"], 4),
        (["final_loss=.3"], 1),
        (["final_loss=null"], 1),
        (["data=none"], 4),
        (["optimizer.betas=[0.5, 0.9]"], 1),
        (["optimizer._partial_=true"], 4),
        (["status==diverged"], 1),
        (["path~*/c/*"], 1),
    ],
)
def test_filters(three: Path, filters: list[str], n: int) -> None:
    assert sum(g.n for g in compare([three], filters=filters).groups) == n


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"filters": ["optimzer=adam"]}, "no run has a column or setting 'optimzer'", "did you mean optimizer"),
        ({"filters": ["nonsense"]}, "expected key=value", "!="),
        ({"filters": ["optimizer=lion"]}, "no run is left", "optimizer is adam, adamw"),
        ({"filters": ["optimizer<3"]}, "no run is left", "adam"),
        ({"filters": ["lr<fast"]}, "'fast' is not a number", "~"),
        ({"filters": ["_target_=x"]}, "may be any of", "whole key"),
        ({"group_by": "optimizer,sed"}, "no run has a column or setting 'sed'", "seed"),
        ({"group_by": " ,"}, "no key to group by", "optimizer"),
        ({"sort": "final_los"}, "no column to sort by 'final_los'", "final_loss"),
        ({"sort": "provenance"}, "no column to sort by 'provenance'", "configuration, model"),
    ],
)
def test_what_cannot_be_meant_is_refused(three: Path, options: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        compare([three], **options)
    assert hint in caught.value.hint


def test_what_else_could_be_meant_is_offered(tmp_path: Path) -> None:
    for name, known, hint in (
        ("lrx", ["a.lr", "b.lr"], "did you mean a.lr?"),  # of several that end so, the first
        ("alph", [f"o.alph{end}" for end in "abcd"], "did you mean o.alphd or o.alphc or o.alphb?"),
        ("seeed", ["seed", "sed", "speed", "seeds"], "did you mean seed or speed or seeds?"),  # each counts once
    ):
        with pytest.raises(UserError, match=f"'{name}'") as caught:
            resolve_key(name, known)
        assert caught.value.hint == hint
    for seed in range(9):
        make_run(tmp_path / str(seed), {"seed": seed})
    for filters, hint in (([], "seed is 0, 1, 2, 3, 4, 5, 6, 7 ..."), (["seed>0"], "seed is 1, 2, 3, 4, 5, 6, 7, 8")):
        with pytest.raises(UserError, match="no run is left after filter 'seed=99'") as caught:
            compare([tmp_path], filters=[*filters, "seed=99"])
        assert caught.value.hint == hint


def test_group_by_pools_everything_else_where_that_is_meant(three: Path) -> None:
    found = compare([three], group_by="optimizer", pool=True)
    assert [(g.label, g.n) for g in found.groups] == [("adam", 3), ("adamw", 1)]
    assert found.groups[0].statistics["final_loss"].value == 0.2
    assert [g.label for g in compare([three], group_by=["optimizer", "lr"]).groups] == [
        "adam lr=0.01", "adamw lr=0.1", "adam lr=5",
    ]  # fmt: skip
    twice = [
        [(g.label, g.n) for g in compare([three], group_by=by).groups] for by in (["optimizer", "lr"], "optimizer, lr,")
    ]
    assert twice[0] == twice[1]
    assert compare([three], group_by="seed", pool=True).groups[0].label in ("seed=0", "seed=1")


def test_sorting(three: Path) -> None:
    def order(sort: str) -> list[str]:
        return [g.label for g in compare([three], sort=sort).groups]

    assert order("optimizer.lr") == order("lr") == ["adam lr=0.01", "adamw", "adam lr=5"]
    assert order("-final_loss") == ["adam lr=5", "adamw", "adam lr=0.01"]
    assert order("-n")[0] == "adam lr=0.01"
    assert order("-diverged")[0] == "adam lr=5"
    assert order("configuration") == sorted(order("n"))
    assert order("val_accuracy") == sorted(order("n"))  # nothing to sort by


def test_nothing_found_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs under"):
        compare([tmp_path])
    with pytest.raises(RecordError, match="no such file"):
        compare([tmp_path / "nowhere"])
    names = [tmp_path / name for name in "abcd"]
    for path in names:
        path.mkdir()
    for shown, words in ((names[:3], ""), (names, " and 1 more")):
        with pytest.raises(UserError, match=re.escape(f"no runs under {', '.join(map(str, names[:3]))}{words}") + "$"):
            compare(shown)
    (tmp_path / "torn").mkdir()
    write_bytes(tmp_path / "torn" / "run.json", b'{"run_id": "a", "sta')
    with pytest.raises(UserError, match=r"no run can be read: .*torn"):
        compare([tmp_path])
    write_bytes(tmp_path / "torn too" / "run.json", b'{"run_id": "a", "sta')
    with pytest.raises(UserError, match=r"no run can be read: .* \(and 1 more like it\)$"):
        compare([tmp_path])


def test_unreadable_folders_are_listed_and_cost_nobody_else(tmp_path: Path) -> None:
    make_run(tmp_path / "good")
    (make_run(tmp_path / "noconfig", {"seed": 1}) / "config.yaml").unlink()
    write_bytes(make_run(tmp_path / "torn", {"seed": 2}) / "run.json", b'{"run_id')
    found = compare([tmp_path])
    assert sum(g.n for g in found.groups) == 1
    assert {bad.path.name for bad in found.unreadable} == {"noconfig", "torn"}
    assert all(bad.why for bad in found.unreadable)


def test_a_place_is_a_folder_a_run_or_several(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(places: Any) -> int:
        return sum(g.n for g in compare(places).groups)

    one, other = (read_run(three / name / "0") for name in "ab")
    assert counted(three) == counted(str(three)) == counted([three]) == counted(iter([str(three)])) == 4
    assert counted(one) == counted([one]) == 1
    assert counted([one, other, one, three / "b"]) == 2
    monkeypatch.chdir(three)
    assert (counted("a/"), counted("."), counted(["a", Path("c")])) == (2, 4, 3)
    full = {k: v for k, v in flatten(CONFIG).items() if "." in k and not k.startswith("choices")}
    make_table(three / "sweep", [{**full, "seed": seed, "final_loss": 1.0} for seed in (7, 8, 9)])
    rows = read([three / "sweep"]).runs()
    assert [row.path for row in rows] == [None] * 3
    assert counted(rows) == counted(rows[0]) == 3  # of a table, the sweep
    for nothing in (3, None, [None], Run({"run_id": "a", "status": "completed"})):
        with pytest.raises(UserError, match="not a place to look at"):
            compare(nothing)  # type: ignore[arg-type]


def test_table_columns_are_a_contract(three: Path) -> None:
    table = compare([three]).table
    front = ["problem", "configuration", "model", "data", "loss_name", "optimizer", "scheduler", "optimizer.lr"]
    assert list(table.columns[:8]) == front
    assert {"n", "completed", "diverged", *STATISTICS} <= set(table.columns)
    assert {f"{name}_{end}" for name in STATISTICS for end in ("low", "high")} <= set(table.columns)
    assert table["n"].sum() == 4


def test_the_table_says_what_the_json_says(three: Path) -> None:
    """In the table what is infinite is infinite, and what is not there is NaN; JSON has null for both."""
    for seed in (3, 4):
        make_run(three / f"d{seed}", {"seed": seed}, stopped_at="minimum (1, 1)", lambda_min=0.5, target=1e-3,
                 steps_to_target=None if seed == 3 else 9)  # fmt: skip
    found = compare([three])
    rows, said = found.table.to_dict("records"), found.to_json()["groups"]
    assert len(rows) == len(said) == 4

    def plain(value: Any) -> Any:
        return None if value is None or (isinstance(value, float) and not math.isfinite(value)) else value

    for row, one in zip(rows, said, strict=True):
        keys = ("problem", "configuration", "n", "model", "data", "loss_name", "optimizer", "scheduler", "optimizer.lr")
        assert [plain(row[key]) for key in keys] == [one[key] for key in keys]
        assert {status: row[status] for status in one["n_by_status"]} == one["n_by_status"]
        places = json.loads(row["stopped_at"]) if isinstance(row["stopped_at"], str) else None
        assert places == one["stopped_at"]
        for name in STATISTICS:
            estimate = one[name] or {}
            for key, part in ((name, "value"), (f"{name}_low", "low"), (f"{name}_high", "high")):
                assert plain(row[key]) == estimate.get(part), key
            assert row[f"{name}_n"] == estimate.get("n", 0)
    (aimed,) = [row for row in rows if row["success_rate_n"]]
    assert (aimed["success_rate"], aimed["success_rate_n"], aimed["ert"], aimed["n"]) == (0.5, 2, 109.0, 2)
    assert json.loads(aimed["stopped_at"]) == {"minimum (1, 1)": 2}
    assert (rows[0]["final_loss_low"], rows[0]["final_loss_high"]) == (0.1, 0.2)
    assert (rows[-1]["final_loss"], rows[-1]["final_loss_n"]) == (math.inf, 1)
    assert all(math.isnan(rows[-1][key]) for key in ("final_loss_low", "final_loss_high", "success_rate"))


def test_a_curve_stands_under_the_name_of_its_run(tmp_path: Path) -> None:
    expected = {}
    for i, lr in enumerate((0.2, 0.1, 0.2)):
        losses = [10.0 * i + k for k in range(3)]
        lines = [{**line, "loss": loss} for line, loss in zip(CURVE, losses, strict=True)]
        make_run(tmp_path / str(i), {"seed": 5 + i, "optimizer.lr": lr}, lines, final_loss=float(i))
        expected[read_run(tmp_path / str(i)).run_id] = (f"adam lr={lr}", 5 + i, losses)
    curves = compare([tmp_path]).curves()
    assert list(curves.columns[:5]) == ["problem", "configuration", "run_id", "seed", "step"]
    assert set(curves["problem"]) == {"rosenbrock"}
    found = {
        run_id: (*{*rows["configuration"]}, *{*rows["seed"]}, rows["loss"].tolist())
        for run_id, rows in curves.groupby("run_id")
    }
    assert found == expected
    for i in range(3):
        (tmp_path / str(i) / "metrics.csv").unlink()
    assert compare([tmp_path]).curves().empty


def test_equals_are_all_best_and_in_the_order_of_their_names(tmp_path: Path) -> None:
    for place, lr in enumerate((0.3, 0.2, 0.1)):
        make_run(tmp_path / str(place), {"optimizer.lr": lr}, final_loss=1.0 if lr == 0.1 else 0.5)
    groups = compare([tmp_path]).groups
    assert [(g.label, g.best) for g in groups] == [("adam lr=0.2", True), ("adam lr=0.3", True), ("adam lr=0.1", False)]


def test_sorting_stays_within_a_problem_and_takes_words_and_numbers(tmp_path: Path) -> None:
    for place, (dim, extra, loss) in enumerate(
        [(2, "b", 0.3), (5, 3, 0.4), (2, 2, 0.1), (5, "a", 0.2), (2, None, 0.2)]
    ):
        make_run(tmp_path / str(place), {"model.dim": dim, "optimizer.extra": extra}, final_loss=loss)

    def order(sort: str) -> list[tuple[int, Any]]:
        groups = compare([tmp_path], sort=sort).groups
        return [(g.rows.values("model.dim")[0], g.rows.values("optimizer.extra")[0]) for g in groups]

    assert order("extra") == [(2, 2), (2, "b"), (2, None), (5, 3), (5, "a")]
    assert order("-extra") == [(2, "b"), (2, 2), (2, None), (5, "a"), (5, 3)]
    assert order("final_loss") == [(2, 2), (2, None), (2, "b"), (5, "a"), (5, 3)]
    assert order("-final_loss") == [(2, "b"), (2, None), (2, 2), (5, 3), (5, "a")]


def test_more_groups_than_a_byte_counts_keep_their_own_runs(tmp_path: Path) -> None:
    full = {k: v for k, v in flatten(CONFIG).items() if "." in k and not k.startswith("choices")}
    rates = [1.0 + i for i in range(257)]
    make_table(tmp_path, [{**full, "optimizer.lr": lr, "seed": 0, "final_loss": lr} for lr in rates], CURVE[:1])
    groups = compare([tmp_path]).groups
    assert [(g.n, g.keys["optimizer.lr"], g.statistics["final_loss"].value) for g in groups if g.statistics[
        "final_loss"]] == [(1, lr, lr) for lr in rates]  # fmt: skip
    assert label_runs([group.runs[0] for group in groups]) == [group.label for group in groups]


@pytest.mark.parametrize("part", ["model", "data", "loss", "optimizer", "scheduler", "augment"])
def test_another_source_is_another_problem_or_another_configuration(tmp_path: Path, part: str) -> None:
    for place, digits in enumerate(("a" * 12, "b" * 12)):
        make_run(tmp_path / str(place), {f"sources.{part}": digits})
    found = compare([tmp_path])
    assert [group.n for group in found.groups] == [1, 1]
    assert len(found.problems) == (2 if part in ("model", "data", "loss") else 1)
    names = [group.problem if len(found.problems) == 2 else group.label for group in found.groups]
    assert [f"(source of {part} {letter * 8})" in name for letter, name in zip("ab", names, strict=True)] == [True] * 2


def test_what_the_runs_of_a_group_disagree_in_is_said_of_none(tmp_path: Path) -> None:
    make_run(tmp_path / "a", scheduler="cosine")
    make_run(tmp_path / "b", {"seed": 1})
    (only,) = compare([tmp_path], group_by="optimizer", pool=True).groups
    assert (only.n, only.keys["optimizer"], only.keys["scheduler"], only.keys["model"]) == (
        2,
        "adam",
        None,
        "rosenbrock",
    )


def test_json_has_each_statistic_as_value_low_high(three: Path) -> None:
    rows = compare([three]).to_json()["groups"]
    assert to_json(rows).count('"final_loss"') == 3
    for row in rows:
        assert {"value", "low", "high"} <= row["final_loss"].keys()
        assert sum(row["n_by_status"].values()) == row["n"] == len(row["run_ids"])


def test_rows_of_a_batch_have_no_seconds_of_their_own(tmp_path: Path) -> None:
    """Two optimizers whose rows share one clock, in old records and new ones, beside runs that were timed."""
    for seed in range(2):
        make_run(tmp_path / f"timed{seed}", {"seed": seed}, seconds=1.0 + seed)
    full = {k: v for k, v in flatten(CONFIG).items() if "." in k and not k.startswith("choices")}
    old = {**full, "engine": "fused", "seconds": 0.001}  # as rows were recorded: a share of the batch
    new = {**full, "engine": "eager", "seconds": None, "seconds_of": "batch"}
    rows = [{**old, "seed": 7}, {**old, "seed": 8, "optimizer.lr": 5.0}, {**new, "seed": 9, "optimizer.lr": 5.0}]
    make_table(tmp_path / "sweep", rows)
    make_run(tmp_path / "slow", {"seed": 0, "optimizer.lr": 0.5}, seconds=3.0)
    found = compare([tmp_path], sort="seconds")
    assert [(g.label, g.n) for g in found.groups] == [("adam lr=0.01", 3), ("adam lr=0.5", 1), ("adam lr=5", 2)]
    assert [row["seconds"] and row["seconds"]["value"] for row in found.to_json()["groups"]] == [1.5, 3.0, None]
    assert (
        [(row["seconds"] or {"n": 0})["n"] for row in found.to_json()["groups"]]
        == found.table["seconds_n"].tolist()
        == [2, 1, 0]
    )
    assert [compare([tmp_path], sort=f"{sign}seconds").groups[-1].label for sign in ("", "-")] == ["adam lr=5"] * 2
    header, *lines = export(found, "text").splitlines()[1:5]
    assert header.split()[-1] == "seconds"
    assert [line.endswith(end) for line, end in zip(lines, (" 1.5 (2 of 3)", " 3", " -"), strict=True)] == [True] * 3
    assert any("rows of a batch share one clock" in line for line in footnotes(found))
    (only,) = compare([tmp_path], filters=["lr=5"]).groups
    assert only.statistics["seconds"] is None
    alone = export(compare([tmp_path], filters=["lr=5"]), "text").splitlines()
    assert "seconds" not in alone[1]
    assert any(line.startswith("seconds: ") and "share one clock" in line for line in alone)
    assert not any("clock" in line for line in footnotes(compare([tmp_path / "timed0", tmp_path / "slow"])))


def test_a_share_of_a_batch_is_no_time_of_a_run_wherever_it_is_read(tmp_path: Path) -> None:
    make_run(tmp_path / "timed", {"seed": 0}, seconds=0.5)
    full = {k: v for k, v in flatten(CONFIG).items() if "." in k and not k.startswith("choices")}
    old = [{**full, "engine": engine, "seconds": 0.001, "seed": i} for i, engine in enumerate(("fused", "eager"), 1)]
    make_table(tmp_path / "sweep", old)
    found = read([tmp_path])
    assert sorted(found.values("seconds"), key=str) == [0.5, None, None]
    assert [row["seconds"] for row in found.rows()].count(None) == found.tally("seconds")[None,] == 2
    assert found.present("seconds").sum() == 1
    assert sorted(str(run.summary["seconds"]) for run in found.runs()) == ["0.5", "None", "None"]
    assert [run.summary["seconds"] for run in found.take(found.where("seconds", bool)).runs()] == [0.5]
    assert compare([tmp_path], filters=["seconds<1"]).runs["seed"].tolist() == [0]
    assert len(compare([tmp_path], filters=["seconds=null"]).runs) == 2
    (note,) = found.notes
    assert "seconds of 2 rows are left out" in note
    assert any(note in line for line in footnotes(compare([tmp_path])))
    make_table(tmp_path / "sweep", [{**row, "seconds": None, "seconds_of": "batch"} for row in old])
    assert (read([tmp_path]).notes, len(compare([tmp_path], filters=["seconds=null"]).runs)) == ((), 2)


@pytest.mark.parametrize("name", ["none", "flip_crop", "auto"])
def test_networks_recorded_before_augmentation_was_a_group_are_on_the_same_problem(tmp_path: Path, name: str) -> None:
    with Composer() as composer:
        now = composer.compose(["model=mlp", "data=synthetic_food", f"augment={name}"]).config
    then = {k: v for k, v in now.items() if k != "augment"} | {"data": {**now["data"], "augment": name}}
    for seed, config in enumerate((then, now)):
        summary = {"run_id": run_id(config | {"seed": seed}), "status": "completed", "seed": seed, "final_loss": 0.5}
        choices = {"model": "mlp", "data": "synthetic_food", "loss_name": "cross_entropy", "optimizer": "adam"}
        swept = {"data.augment": name} if config is then else {"augment": name}  # as a sweep over it records the value
        summary |= {**choices, "scheduler": "constant", "engine": "loop", **swept}
        write_json(tmp_path / str(seed) / "run.json", summary)
        write_yaml(tmp_path / str(seed) / "config.yaml", config | {"seed": seed})
    (both,) = compare([tmp_path]).groups
    assert (both.problem, both.label, both.n) == ("mlp on synthetic_food, cross_entropy", "adam", 2)
    assert label_runs(both.runs) == label_runs([read_run(tmp_path / place) for place in "01"]) == ["adam", "adam"]


def test_augmentations_are_called_as_they_are_chosen(tmp_path: Path) -> None:
    choices = ("flip_crop", "homework", "none", "rand")
    with Composer() as composer:
        for i, name in enumerate(choices):
            config = composer.compose(["model=mlp", "data=synthetic_food", f"augment={name}"]).config
            summary = {"run_id": run_id(config), "status": "completed", "seed": 0, "final_loss": float(i)}
            summary |= {"model": "mlp", "data": "synthetic_food", "loss_name": "cross_entropy", "optimizer": "adam"}
            write_json(tmp_path / name / "run.json", summary | {"scheduler": "cosine", "engine": "loop"})
            write_yaml(tmp_path / name / "config.yaml", config)
    assert sorted(g.label for g in compare([tmp_path]).groups) == [f"adam augment={name}" for name in choices]


def test_labels_of_runs_for_a_legend(three: Path) -> None:
    runs = [read_run(three / name / "0") for name in "ab"]
    assert label_runs(runs) == ["adam lr=0.01", "adam lr=5"]
    assert label_runs(runs[:1]) == ["adam"]
    assert label_runs([]) == []


def test_a_label_names_the_problem_only_where_there_are_several(tmp_path: Path) -> None:
    for place, dim in enumerate((2, 5, 2)):
        make_run(tmp_path / str(place), {"model.dim": dim, "seed": place})
    runs = [read_run(tmp_path / str(place)) for place in range(3)]
    assert label_runs(runs) == [f"rosenbrock dim={dim}: adam" for dim in (2, 5, 2)]
    assert label_runs(runs[::2]) == ["adam", "adam"]


def test_torchs_optimizer_is_called_so_beside_the_books_of_its_name(tmp_path: Path) -> None:
    book = {"optimizer._target_": "optbench.optimizers.book.book_adam"}
    make_run(tmp_path / "a", book, optimizer="book_adam", final_loss=0.1)
    make_run(tmp_path / "b", optimizer="adam", final_loss=0.2)
    make_run(tmp_path / "c", {"optimizer._target_": "torch.optim.SGD"}, optimizer="sgd", final_loss=0.3)
    assert [g.label for g in compare([tmp_path]).groups] == ["book_adam", "torch's adam", "sgd"]
    assert [g.label for g in compare([tmp_path], filters=["optimizer!=book_adam"]).groups] == ["adam", "sgd"]
    own = {"optimizer._target_": "optbench.optimizers.own.Adam"}
    make_run(tmp_path / "b", own, optimizer="adam", final_loss=0.2)
    assert [g.label for g in compare([tmp_path]).groups] == ["book_adam", "adam", "sgd"]


def test_reading_needs_neither_torch_nor_hydra_nor_pandas(three: Path) -> None:
    make_table(three / "table", [{"seed": 7, "final_loss": None}, {"seed": 8, "val_accuracy": 0.5}])
    code = (
        "import sys; from optbench.comparison import compare; compare([sys.argv[1]]).to_json();"
        "print(sorted({'torch', 'hydra', 'omegaconf', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(three)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_api_is_a_function_whatever_was_imported_before(tmp_path: Path) -> None:
    import optbench
    import optbench.comparison

    assert callable(optbench.compare)
    assert optbench.compare.__module__ == "optbench.comparison.comparison"


def test_an_augmentation_has_its_name_whether_it_was_said_or_came_with_the_data(tmp_path: Path) -> None:
    data = {
        "data._target_": "optbench.data.digits.Digits",
        "augment._target_": "optbench.augment.whole_batch.WholeBatch",
    }
    network = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}
    for seed, (name, said) in enumerate([("trivial", True), ("trivial", False), ("rand", True), ("rand", False)]):
        words = {"augment": name} if said else {}
        changes = {**data, "seed": seed, "choices.augment": name, "augment.transforms": [{"_target_": name}]}
        make_run(tmp_path / f"{name}{seed}", changes, **network, **words)
    found = compare([tmp_path], group_by="augment")
    assert {group.label: group.n for group in found.groups} == {"augment=rand": 2, "augment=trivial": 2}
    assert [group.n for group in compare([tmp_path], filters=["augment=rand"]).groups] == [2]
