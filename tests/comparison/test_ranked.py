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
    f = 7 * chi2 / (8 * 2 - chi2)
    assert ranking.p == pytest.approx(scipy.stats.f.sf(f, 2, 14))
    for i, name in enumerate("abc"):
        near = {other for j, other in enumerate("abc") if j != i and abs(ranks[i] - ranks[j]) < critical}
        assert set(by_name[name].untold) == near
    assert by_name["c"].place == 3
    first = min("ab", key=lambda name: by_name[name].value.value)
    assert f"over 8 problems, n = 5 and more runs of each: {first} ranks first" in sentence(ranking)
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
