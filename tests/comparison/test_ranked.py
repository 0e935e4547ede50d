"""Rankings: the order and what cannot be told apart, by scipy and by the verdicts themselves, in a sentence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from command_tools import invoke
from made_runs import make_run

from optbench.comparison import compare
from optbench.comparison.ranked import rankings
from optbench.report.ranking import ranking_lines, sentence


def made(folder: Path, problem: str, name: str, losses: Sequence[float]) -> None:
    for seed, loss in enumerate(losses):
        changes = {"seed": seed, "optimizer._target_": f"torch.optim.{name}", "model.dim": len(problem)}
        make_run(folder / f"{problem}-{name}-{seed}", changes, optimizer=name, model=problem, final_loss=float(loss))


def test_on_one_problem_the_verdicts_say_what_cannot_be_told_apart(tmp_path: Path) -> None:
    draws = np.random.default_rng(2)
    for name, shift in (("a", 0.0), ("b", 0.05), ("c", 3.0), ("d", 3.02), ("e", 9.0)):
        made(tmp_path, "bowl", name, draws.normal(shift, 0.1, 12))
    found = compare([tmp_path], pairs=True)
    ((ranking,), said) = rankings(found)
    assert (said, {one.label: one.place for one in ranking.places}) == ([], {"a": 1, "b": 2, "d": 3, "c": 4, "e": 5})
    for one in ranking.places:
        told = {v.b: v.verdict for v in (p.seen_from(one.label) for p in found.pairs if one.label in (p.a, p.b))}
        assert set(one.worse) == {name for name, verdict in told.items() if verdict == "better"}
        assert set(one.untold) == {name for name, verdict in told.items() if verdict == "undecided"}
        assert one.value.value == np.median([p for g in found.groups if g.label == one.label
                                             for p in g.rows.numbers("final_loss")])  # fmt: skip
    text = sentence(ranking)
    assert text.startswith("bowl: a: final loss ")
    assert ", n = 12; better than d by 3" in text
    assert "; b cannot be told from it (another " in text
    assert text.endswith("adjusted for 10 pairs)")
    table = ranking_lines(ranking)
    assert [line.split()[-1] for line in table[3:8]] == ["2", "1", "4", "3", "-"]


def test_over_problems_it_is_average_ranks_with_the_critical_difference(tmp_path: Path) -> None:
    draws, problems = np.random.default_rng(5), ["p" * k for k in range(1, 9)]
    values = {}
    for problem in problems:
        for name, shift in (("a", 0.0), ("b", 0.3), ("c", 4.0)):
            values[problem, name] = draws.normal(shift, 0.5, 5)
            made(tmp_path, problem, name, values[problem, name])
    ranking = rankings(compare([tmp_path], pairs=True))[0][0]
    table = np.array([[np.median(values[problem, name]) for name in "abc"] for problem in problems])
    ranks = scipy.stats.rankdata(table, axis=1).mean(axis=0)
    by_name = {one.label: one for one in ranking.places}
    assert [by_name[name].value.value for name in "abc"] == pytest.approx(ranks.tolist())
    critical = scipy.stats.studentized_range.ppf(0.95, 3, np.inf) / np.sqrt(2) * np.sqrt(3 * 4 / (6 * 8))
    assert ranking.difference == pytest.approx(critical)
    chi2 = scipy.stats.friedmanchisquare(*table.T).statistic
    own = scipy.stats.rankdata(table, axis=1)
    shuffled = np.random.default_rng(0).permuted(np.tile(own, (20_000, 1, 1)), axis=2).sum(axis=1)
    as_far = (shuffled**2).sum(axis=1) >= (own.sum(axis=0) ** 2).sum()
    assert ranking.p == pytest.approx(as_far.mean(), abs=4e-3)
    assert ranking.p < scipy.stats.chi2.sf(chi2, 2) + 0.01
    for i, name in enumerate("abc"):
        near = {other for j, other in enumerate("abc") if j != i and abs(ranks[i] - ranks[j]) < critical}
        assert set(by_name[name].untold) == near
    assert by_name["c"].place == 3
    first = min("ab", key=lambda name: by_name[name].value.value)
    assert f"over 8 problems, n = 5 runs of each: {first} ranks first" in sentence(ranking)
    assert "ahead of c (3) by more than the critical difference" in sentence(ranking)
    assert "Friedman's test that no two differ: p = " in ranking_lines(ranking)[-1]


def test_where_friedman_sees_nothing_nothing_is_told_apart(tmp_path: Path) -> None:
    for turn, problem in enumerate(["x", "xx", "xxx"]):
        for name in "abc":
            made(tmp_path, problem, name, [("abc".index(name) + turn) % 3] * 1)
    ranking = rankings(compare([tmp_path], pairs=True))[0][0]
    assert [len(one.untold) for one in ranking.places] == [2, 2, 2]
    assert "but no two can be told apart (Friedman's test, p = 1)" in sentence(ranking)


def test_the_command_says_the_sentence_and_what_else_must_be_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path, "bowl", "a", range(8))
    made(tmp_path, "bowl", "b", [k + 0.5 for k in range(8)])
    made(tmp_path, "dale", "c", range(3))
    code, out, err = invoke(capsys, "rank", tmp_path)
    assert code == 0
    assert out.startswith("bowl: a: final loss 3.5 [0, 7], n = 8; better than b by 0.5 [0.5, 0.5] (p <= 0.0078")
    assert "no ranking over problems: fewer than two configurations ran on every problem" in err
    code, out, _ = invoke(capsys, "rank", tmp_path, "--filter", "model=bowl", "--json")
    (told,) = json.loads(out)
    assert (told["metric"], told["places"][1]["configuration"], told["places"][0]["better_than"]) == (
        "final_loss", "b", ["b"],
    )  # fmt: skip
    code, _, err = invoke(capsys, "rank", tmp_path, "--filter", "model=dale")
    assert (code, "nothing to rank" in err) == (2, True)


@pytest.mark.parametrize("seeds", [1, 4])
def test_where_none_has_a_result_none_ranks_first(seeds: int, tmp_path: Path) -> None:
    for name in "ab":
        for seed in range(seeds):
            changes = {"seed": seed, "optimizer._target_": f"torch.optim.{name}"}
            status = {} if name == "a" and seed == 0 < seeds - 1 else {"status": "diverged", "final_loss": None}
            make_run(tmp_path / f"{name}{seed}", changes, optimizer=name, **status)
    ((ranking,), _) = rankings(compare([tmp_path], pairs=True))
    most = " in more than half of its runs" if seeds > 1 else ""
    lines = ranking_lines(ranking)
    assert lines[0] == f"rosenbrock: none ranks first: no configuration has a finite final loss{most}."
    assert not any(line.startswith("*") for line in lines)


def test_two_that_agree_on_few_problems_are_no_evidence(tmp_path: Path) -> None:
    for number in range(1, 6):  # one is ahead on all of them: 2 / 2^n by chance, below 5 % from six on
        for name, loss in (("a", 0.0), ("b", 1.0)):
            made(tmp_path, "p" * number, name, [loss] * 2)
        if number > 1:
            ranking = rankings(compare([tmp_path], pairs=True))[0][0]
            assert ranking.p == pytest.approx(scipy.stats.binomtest(number, number).pvalue)
            assert all(one.untold for one in ranking.places)
    for name, loss in (("a", 0.0), ("b", 1.0)):
        made(tmp_path, "p" * 6, name, [loss] * 2)
    ranking = rankings(compare([tmp_path], pairs=True))[0][0]
    assert (ranking.places[0].worse, ranking.places[0].untold) == (("b",), ())


def stopped(folder: Path, problem: str, name: str, steps: Sequence[float | None], target: float | None = 1.0) -> None:
    """Runs that end at their target after so many steps, None: that miss it."""
    for seed, at in enumerate(steps):
        changes = {"seed": seed, "optimizer._target_": name, "model.dim": len(problem), "trainer.target": target}
        end = {"status": "target_reached", "steps": at, "steps_to_target": at} if at else {"status": "completed"}
        loss = 1.0 - (at or -50) / 1000  # the slower, the further below its target
        make_run(folder / f"{problem}-{name}-{seed}", changes, optimizer=name, model=problem, final_loss=loss,
                 **end)  # fmt: skip


def test_runs_that_stop_at_their_target_are_ranked_by_the_time_to_it(tmp_path: Path) -> None:
    stopped(tmp_path, "bowl", "quick", [3, 4, 5, 4, 3, 6, 5])
    stopped(tmp_path, "bowl", "slow", [30, 40, 50, 40, 30, 60, 50])
    stopped(tmp_path, "bowl", "never", [70, None, None, None, None, None, None])
    made(tmp_path, "dale", "quick", [3.0] * 7)  # nobody stops: ranked by the loss
    made(tmp_path, "dale", "slow", [2.0] * 7)
    found = compare([tmp_path], pairs=True)
    assert [group.label for group in found.problems["bowl"] if group.best] == ["quick"]
    over, bowl, dale = rankings(found)[0]
    assert [one.label for one in bowl.places] == ["quick", "slow", "never"]
    assert (bowl.metric, dale.metric, over.metric) == ("steps_to_target", "final_loss", "rank")
    assert {v.verdict for v in bowl.verdicts} == {"better"}
    assert "1 of 2 problems: ranked by steps to the target" in " ".join(found.notes)
    assert next(one.label for one in compare([tmp_path], metric="final_loss").problems["bowl"]) == "slow"
    made(tmp_path, "bowl", "aimless", [0.5] * 7)
    found = compare([tmp_path], filters=["model=bowl"])
    assert found.groups[0].label.startswith("aimless")
    assert "ranked all the same (some runs have no target)" in " ".join(found.warnings)


@pytest.mark.parametrize("metric", ["steps", "evals", "seconds"])
def test_what_a_run_without_result_took_is_no_achievement(tmp_path: Path, metric: str) -> None:
    for seed in range(8):
        for name, spent, status in (
            ("a", 100 + seed, "completed"),
            ("b", 2, "diverged"),
            ("c", 110 + seed, "completed"),
        ):
            end = {"steps": spent, "evals": spent, "seconds": float(spent)}
            make_run(tmp_path / f"{name}{seed}", {"seed": seed, "optimizer._target_": name}, optimizer=name,
                     status=status, **end)  # fmt: skip
    found = compare([tmp_path], metric=metric)
    assert [group.label for group in found.groups] == ["a", "c", "b"]
    assert [group.best for group in found.groups] == [True, False, False]
    assert {(v.a, v.b, v.verdict) for v in found.pairs} == {("a", "c", "better"), ("a", "b", "better"),
                                                            ("c", "b", "better")}  # fmt: skip
    (ranking,) = rankings(found)[0]
    assert [one.place for one in ranking.places] == [1, 2, 3]


def test_a_ranking_at_a_budget_is_that_of_a_comparison_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """a is ahead after 10 steps and b at the end; both are equivalent within 100."""
    for name, losses in (("a", [9.0, 1.0, 0.9]), ("b", [9.0, 5.0, 0.1])):
        for seed in range(8):
            curve = [{"step": 10 * i, "evals": 10 * i, "loss": loss + seed / 100} for i, loss in enumerate(losses)]
            change = {"seed": seed, "optimizer._target_": f"torch.optim.{name}"}
            make_run(tmp_path / f"{name}{seed}", change, curve, optimizer=name, final_loss=curve[-1]["loss"],
                     best_loss=curve[-1]["loss"], steps=20, evals=20)  # fmt: skip
    for words, first in (((), "b"), (("--budget", "10steps"), "a")):
        code, out, err = invoke(capsys, "rank", tmp_path, "--json", *words)
        assert (code, err) == (0, "") or words
        (found,) = json.loads(out)
        assert found["places"][0]["configuration"] == first
        assert found["pairs"][0]["verdict"] == "better"
    code, out, _ = invoke(capsys, "rank", tmp_path, "--equivalent-within", "100", "--json")
    assert (code, json.loads(out)[0]["pairs"][0]["verdict"]) == (0, "equivalent")
    code, out, _ = invoke(capsys, "rank", tmp_path, "--anytime", "--json")
    assert (code, json.loads(out)[0]["pairs"][0]["p"] > found["pairs"][0]["p"]) == (0, True)
