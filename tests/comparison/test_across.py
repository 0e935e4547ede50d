"""Scores over problems: worked by hand, unmoved by copies of problems, and never better for a run that fails."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_tools import invoke
from made_runs import make_run
from scipy import stats

from optbench.comparison import Comparison, compare
from optbench.comparison.across import LARGE, RULES, parse_scores
from optbench.errors import UserError
from optbench.report import export

Hits = dict[str, dict[str, Sequence[int | None]]]
HITS: Hits = {  # steps to the target of each seed, on two problems
    "bowl": {"a": [10, 10, 10], "b": [20, 20, 20], "c": [None, 50, None]},
    "valley": {"a": [90, 90, 90], "b": [30, 30, 30], "c": [60, 60, 60]},
}


def runs(folder: Path, hits: Hits = HITS) -> Path:
    """The loss at the end is the time to the target; of a run that missed it, 1000."""
    for dim, (problem, own) in enumerate(hits.items(), 2):
        for name, of_seeds in own.items():
            for seed, hit in enumerate(of_seeds):
                changes = {"seed": seed, "optimizer._target_": f"torch.optim.{name}", "model.dim": dim}
                make_run(folder / f"{problem}-{name}-{seed}", changes, optimizer=name, model=problem, target=0.1,
                         steps_to_target=hit, steps=hit or 400, final_loss=float(hit or 1000))  # fmt: skip
    return folder


def values(found: Comparison, score: str) -> dict[str, float]:
    return {one.configuration: one.estimate.value for one in found.scores if one.score == score}


def test_each_score_is_what_its_rule_gives_by_hand(tmp_path: Path) -> None:
    found = compare([runs(tmp_path)], score="all")
    # ratios to the fastest: a 1 and 3, b 2 and 1, c inf and 2
    assert values(found, "algoperf") == pytest.approx({"a": (3 / 3 + 1 / 3) / 2, "b": (2 / 3 + 1) / 2, "c": 1 / 3})
    assert values(found, "dolan_more") == {"a": 0.5, "b": 0.5, "c": 0.0}
    for name, exact in values(found, "algoperf").items():  # a trapezoid of 100 points
        assert values(found, "algoperf_code")[name] == pytest.approx(exact, abs=0.01)
    assert values(found, "rank") == {"a": 2.0, "b": 1.5, "c": 2.5}
    ert = (400 + 50 + 400) / 1
    assert values(found, "ert") == pytest.approx({"a": math.sqrt(900), "b": math.sqrt(600), "c": math.sqrt(ert * 60)})
    assert found.reference == "b"  # the best average rank
    assert values(found, "improvement") == {"a": 0.5, "b": 0.5, "c": 0.0}
    q = stats.studentized_range.ppf(0.95, 3, math.inf) / math.sqrt(2)
    (rank,) = [one.estimate for one in found.scores if (one.score, one.configuration) == ("rank", "a")]
    assert rank.high is not None
    assert 2 * (rank.high - rank.value) == pytest.approx(q * math.sqrt(3 * 4 / (6 * 2)))


def test_all_scores_are_those_that_the_runs_have(tmp_path: Path) -> None:
    """Without a target those of times are left out, which is said; asked for by name, they are refused."""
    for dim, problem in enumerate(("one", "two"), 2):
        for name, loss in (("a", 1.0), ("b", 2.0)):
            changes = {"seed": 0, "optimizer._target_": f"torch.optim.{name}", "model.dim": dim}
            make_run(tmp_path / f"{problem}-{name}", changes, optimizer=name, model=problem, final_loss=loss)
    found = compare([tmp_path], score="all")
    assert {one.score for one in found.scores} == {"rank", "iqm", "improvement"}
    (said,) = [note for note in found.notes if "left out" in note]
    assert said.startswith("algoperf, algoperf_code, dolan_more, ert are left out: one: no target")
    with pytest.raises(UserError, match="no target"):
        compare([tmp_path], score="rank,ert")


def test_the_middle_half_of_runs_on_the_scale_of_each_problem(tmp_path: Path) -> None:
    hits: Hits = {
        "bowl": {"a": [10, 20, 30, 40], "b": [50, 50, 50, 50]},
        "dale": {"a": [5, 5, 5, 5], "b": [6, 6, 6, 6]},
    }
    found = values(compare([runs(tmp_path, hits)], score=["iqm"]), "iqm")
    # a: 1, 3/4, 1/2, 1/4 on the bowl and four 1 in the dale: of eight the middle four are 3/4, 1, 1, 1
    assert found == pytest.approx({"a": 3.75 / 4, "b": 0.0})


def test_copies_of_problems_and_the_order_of_folders_change_no_score(tmp_path: Path) -> None:
    twice: Hits = {f"{problem}{copy}": own for problem, own in HITS.items() for copy in (1, 2)}
    once = compare([runs(tmp_path / "once")], score="all")
    doubled = compare([runs(tmp_path / "twice", twice)], score="all")
    turned = compare(sorted((tmp_path / "once").iterdir(), reverse=True), score="all")
    for name in RULES:
        assert values(doubled, name) == pytest.approx(values(once, name))
    assert turned.to_json()["scores"] == once.to_json()["scores"]


def test_a_run_that_fails_improves_no_score(tmp_path: Path) -> None:
    before = compare([runs(tmp_path / "before")], score="all", baseline="a")
    worse: Hits = {**HITS, "bowl": {**HITS["bowl"], "b": [20, None, None]}}
    after = compare([runs(tmp_path / "after", worse)], score="all", baseline="a")
    for name in RULES:
        sign = 1 if name in LARGE else -1
        assert sign * values(after, name)["b"] <= sign * values(before, name)["b"]


def test_improvement_is_over_the_baseline_whatever_it_is_called_by_and_over_no_other(tmp_path: Path) -> None:
    for problem, dim in (("bowl", 2), ("dale", 3)):
        for optimizer, loss in (("adam", 2.0), ("book_adam", 1.0)):
            for seed in range(3):
                settings = {"model.dim": dim, "optimizer._target_": f"torch.optim.{optimizer}", "seed": seed}
                make_run(tmp_path / f"{problem}-{optimizer}-{seed}", settings, optimizer=optimizer, model=problem,
                         final_loss=loss + seed / 8)  # fmt: skip
    found = {name: compare([tmp_path], score="improvement", baseline=name) for name in ("adam", "torch's adam")}
    assert [one.reference for one in found.values()] == ["torch's adam"] * 2
    assert [values(one, "improvement") for one in found.values()] == [{"book_adam": 1.0, "torch's adam": 0.5}] * 2
    make_run(tmp_path / "c", {"model.dim": 3, "optimizer._target_": "torch.optim.c"}, optimizer="c", model="dale")
    with pytest.raises(UserError, match="--baseline c: no configuration of that name"):  # on every problem
        compare([tmp_path], score="improvement", baseline="c")


def test_scores_are_in_json_and_below_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(tmp_path)
    code, out, _ = invoke(capsys, "compare", tmp_path, "--score", "rank,algoperf-code", "--json")
    scores = json.loads(out)["scores"]
    assert code == 0
    keys = ["score", "problem", "configuration", "value", "low", "high", "coverage", "n"]
    assert [list(one) for one in scores] == [keys] * 6
    assert [one["score"] for one in scores] == ["rank"] * 3 + ["algoperf_code"] * 3
    text = export(compare([tmp_path], score="improvement", baseline="c"), "text")
    assert "scores over 2 problems, 3 configurations that are on all of them; improvement is over c" in text
    assert "improvement: probability that a run is better than one of the reference" in text
    assert compare([tmp_path]).scores == ()


def test_what_cannot_be_scored_is_refused(tmp_path: Path) -> None:
    runs(tmp_path)
    for score, said in (("rang", "--score rang: no such score"), ("rank,", "no such score")):
        with pytest.raises(UserError, match=said):
            compare([tmp_path], score=score)
    with pytest.raises(UserError, match="over several problems"):
        compare([tmp_path], score="rank", filters=["model=bowl"])
    with pytest.raises(UserError, match="fewer than two configurations ran on every problem"):
        compare([tmp_path], score="rank", filters=["optimizer=a"])
    make_run(tmp_path / "x", {"model.dim": 9, "optimizer._target_": "torch.optim.a"}, optimizer="a", model="x")
    make_run(tmp_path / "y", {"model.dim": 9, "optimizer._target_": "torch.optim.b"}, optimizer="b", model="x")
    for name in ("algoperf", "algoperf_code", "dolan_more", "ert"):  # of times to a target
        with pytest.raises(UserError, match="x: no target"):
            compare([tmp_path], score=name)
    assert len(compare([tmp_path], score="rank").scores) == 2
    assert parse_scores("algoperf-code, rank") == ("algoperf_code", "rank")
