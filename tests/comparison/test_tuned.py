"""The best of several settings is chosen on other seeds than those reported: against plain Python, and simulated."""

from __future__ import annotations

import json
import math
import random
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_tools import invoke
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import make_run

from optbench.comparison import compare
from optbench.comparison.facts import Facts
from optbench.comparison.tuned import Candidates, Tuning, best, leave_one_out, loss_median, parse_seeds
from optbench.errors import UserError
from optbench.metrics.tuned import choose, nested
from optbench.pages.words import Words
from optbench.report import footnotes
from optbench.settings import RANGES

VALUES = st.sampled_from([math.nan, math.nan, math.inf, 0.0, 1.0]) | st.floats(-1e3, 1e3)


def middle(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6).flatmap(lambda u: st.lists(st.lists(VALUES, min_size=u, max_size=u), min_size=1, max_size=5)))
def test_medians_without_each_seed_are_those_of_plain_python(rows: list[list[float]]) -> None:
    expected = [[middle([v for k, v in enumerate(row) if k != j]) for j in range(len(row))] for row in rows]
    found = leave_one_out(np.array(rows))
    assert found.shape == (len(rows), len(rows[0]))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(loss_median(np.array(rows)), [middle(row) for row in rows], rtol=1e-12, atol=1e-12)


def candidates(losses: list[list[float]], rates: list[float] | None = None) -> Candidates:
    """Settings by seeds; the run of setting i and seed j is row 100 i + j."""
    values = np.array(losses)
    at = 100 * np.arange(len(values))[:, None] + np.arange(values.shape[1])
    facts = [Facts({"optimizer": "adam", "optimizer.lr": lr}) for lr in rates or range(1, len(values) + 1)]
    return Candidates("adam", facts, np.where(np.isnan(values), -1, at), values, np.arange(values.shape[1]))


def test_each_seed_is_reported_at_what_is_best_on_the_others() -> None:
    """Worked by hand. Without seed 0 the medians are 5 and 4, without 1 3 and 5, without 2 4 and 3 ..."""
    found = candidates([[1.0, 5.0, 5.0], [6.0, 2.0, 6.0]])  # without seed 0: 5, 4; without 1: 3, 6; without 2: 3, 4
    rows, tuned = best(found, Tuning())
    assert rows.tolist() == [100, 1, 2]
    assert (tuned.settings, tuned.seeds, tuned.share, tuned.chosen) == (2, 3, 2 / 3, {"optimizer.lr": 1})
    assert (tuned.honest, tuned.apparent, tuned.optimism) == (5.0, 5.0, 0.0)  # of 6, 5, 5; the better median is 5
    rows, tuned = best(found, Tuning(frozenset({1})))
    assert rows.tolist() == [100, 102]
    assert (tuned.honest, tuned.apparent, tuned.optimism) == (6.0, 3.0, 3.0)


def test_the_optimism_of_the_best_of_many_equals_is_seen_and_taken_away() -> None:
    """Of twenty settings that are one another's equals the best median flatters by half a deviation; what is reported
    does not: over 400 tables its mean is the mean of one setting, to three standard errors."""
    rng = np.random.default_rng(1)
    tables = rng.normal(size=(400, 20, 9))
    tuned = [best(candidates(table.tolist()), Tuning())[1] for table in tables]
    honest, apparent = (np.array([getattr(one, name) for one in tuned]) for name in ("honest", "apparent"))
    assert abs(honest.mean()) < 3 * honest.std() / 20
    assert apparent.mean() < -0.5
    assert np.mean([one.optimism for one in tuned]) == pytest.approx(honest.mean() - apparent.mean())
    split = [best(candidates(table.tolist()), Tuning(frozenset(range(4))))[1] for table in tables]
    honest = np.array([one.honest for one in split])
    assert abs(honest.mean()) < 3 * honest.std() / 20
    assert min(one.optimism for one in split) >= 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=2, max_size=4), st.randoms())
def test_each_reported_run_was_chosen_without_itself(rows: list[list[float]], random: random.Random) -> None:
    losses = [[1.0 if math.isnan(row[0]) else row[0], 2.0 if math.isnan(row[1]) else row[1], *row[2:]] for row in rows]
    reported, tuned = best(candidates(losses), Tuning())
    assert len(reported) == tuned.seeds == 4 - sum(all(math.isnan(row[j]) for row in losses) for j in range(4))
    for row in reported.tolist():
        setting, seed = divmod(row, 100)
        changed = [[random.random() * 99 if j == seed and not math.isnan(v) else v for j, v in enumerate(own)]
                   for own in losses]  # fmt: skip
        again, _ = best(candidates(changed), Tuning())
        assert [one for one in again.tolist() if one % 100 == seed] == [100 * setting + seed]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=5, unique=True), min_size=1, max_size=4))
def test_of_a_whole_table_the_choice_is_that_of_metrics(rows: list[list[float]]) -> None:
    table = np.array(rows) + np.arange(len(rows))[:, None] * 1e-9  # of equal settings metrics takes the mean
    found = candidates(table.tolist())
    medians = leave_one_out(table)
    if any(len(set(column)) < len(column) for column in medians.T.tolist()):
        return
    assert best(found, Tuning())[1].honest == pytest.approx(nested(table).reported)
    centres = loss_median(table[:, :2])
    if len(set(centres.tolist())) == len(centres):
        reported = choose(table[:, :2], table[:, 2:]).reported
        assert best(found, Tuning(frozenset({0, 1})))[1].honest == pytest.approx(reported)


@pytest.mark.parametrize(
    ("rates", "chosen", "said"),
    [
        ([0.001, 0.01, 0.1], 2, "best optimizer.lr=0.1 lies on the edge of 0.001 to 0.1; optimizer.lr=1 in the sweep"),
        ([0.001, 0.01, 0.1], 0, "optimizer.lr=0.0001 in"),
        ([0.001, 0.01, 0.1], 1, ""),
        ([0.1], 0, ""),
        ([0.1, 0.3], 1, "optimizer.lr=0.9 in"),
    ],
)
def test_the_edge_of_a_range_is_said_with_what_widens_it(rates: list[float], chosen: int, said: str) -> None:
    losses = [[float(i != chosen)] * 3 for i in range(len(rates))]
    _, tuned = best(candidates(losses, rates), Tuning())
    assert len(tuned.edges) == bool(said)
    assert said in "".join(one.in_words() for one in tuned.edges)


def test_no_value_is_proposed_that_a_setting_refuses() -> None:
    found = candidates([[1.0, 1.0], [0.0, 0.0]])
    facts = [Facts({"optimizer.beta1": beta}) for beta in (0.5, 0.9)]
    found = Candidates("adam", facts, found.at, found.losses, found.seeds)
    (edge,) = best(found, Tuning())[1].edges
    assert edge.in_words() == "best optimizer.beta1=0.9 lies on the edge of 0.5 to 0.9"
    assert not RANGES["optimizer.beta1"][0](1.62)


def swept(folder: Path, optimizer: str, rates: list[float], seeds: int, **changes: Any) -> None:
    """The loss is the distance of the rate from 0.01 in decades and a little of the seed."""
    for lr in rates:
        for seed in range(seeds):
            target = {"optimizer._target_": f"torch.optim.{optimizer}"}
            loss = abs(math.log10(lr) + 2) + 0.01 * seed
            make_run(folder / f"{optimizer}-{lr}-{seed}", {"seed": seed, "optimizer.lr": lr, **target, **changes},
                     optimizer=optimizer, final_loss=loss)  # fmt: skip


def test_a_group_of_several_settings_is_its_best_and_says_so(tmp_path: Path) -> None:
    swept(tmp_path, "adam", [0.001, 0.01, 0.1], 4)
    swept(tmp_path, "sgd", [0.1, 1.0], 4)
    found = compare([tmp_path], group_by="optimizer")
    adam, sgd = found.groups
    assert [(g.label, g.n, g.keys["optimizer"]) for g in found.groups] == [("adam", 4, "adam"), ("sgd", 4, "sgd")]
    assert adam.rows.different("optimizer.lr") == [0.01]
    assert adam.tuned is not None
    assert sgd.tuned is not None
    assert (adam.tuned.settings, sgd.tuned.settings, sgd.tuned.chosen) == (3, 2, {"optimizer.lr": 0.1})
    assert adam.statistics["final_loss"].value == pytest.approx(0.015)  # type: ignore[union-attr]
    assert found.warnings == (
        "rosenbrock: not tuned equally: settings tried adam 3, sgd 2",
        "rosenbrock: sgd: best optimizer.lr=0.1 lies on the edge of 0.1 to 1; "
        "optimizer.lr=0.01 in the sweep would widen it",
    )
    lines = footnotes(found)
    assert any(line.startswith("adam: best of 3 settings, lr=0.01: final_loss 0.015") for line in lines)
    told = found.to_json()["groups"][0]["tuned"]
    assert (told["settings"], told["chosen"], told["seeds"]) == (3, {"optimizer.lr": 0.01}, 4)
    assert found.table_rows()[0]["settings"] == 3
    pooled = compare([tmp_path], group_by="optimizer", pool=True)
    assert [(g.label, g.n, g.tuned) for g in pooled.groups] == [("adam", 12, None), ("sgd", 8, None)]


def test_edges_of_many_problems_are_one_line_a_configuration(tmp_path: Path) -> None:
    """Details stay with the groups; a line that is the same for several problems is said once."""
    for model, rates in (("rosenbrock", [0.01, 0.1]), ("beale", [0.01, 0.1]), ("booth", [0.001, 0.01])):
        for name, tried in (("Adam", rates), ("SGD", [0.001, 0.01, 0.1])):
            swept(tmp_path / model, name, tried, 3, **{"model._target_": model, "choices.model": model})
    found = compare([tmp_path], group_by="optimizer")
    assert found.warnings == (
        "3 problems: not tuned equally: settings tried Adam 2, SGD 3",
        "Adam: best optimizer.lr lies on the edge of its range on 3 of 3 problems (the least on 2, the largest on 1); "
        "optimizer.lr=0.001,0.1 in the sweep would widen it",
    )
    told = [group["tuned"]["edges"] for group in found.to_json()["groups"]]
    assert sum(map(len, told)) == 3
    page = Words("zh").sentence(found.warnings[1])
    assert page.startswith("Adam：")
    assert "problems" not in page


def test_tuning_seeds_are_never_reported(tmp_path: Path) -> None:
    swept(tmp_path, "adam", [0.001, 0.01], 5)
    swept(tmp_path, "sgd", [0.1], 5)
    found = compare([tmp_path], group_by="optimizer", tune_seeds="0..1,4")
    assert [sorted(group.rows.values("seed")) for group in found.groups] == [[2, 3], [2, 3]]
    assert compare([tmp_path], group_by="optimizer", tune_seeds=[0, 1, 4]).to_json() == found.to_json()
    for seeds, said in (("7", "adam has no run on tuning seeds"), ("0..9", "adam has no run on other seeds")):
        with pytest.raises(UserError, match=said):
            compare([tmp_path], group_by="optimizer", tune_seeds=seeds)


@pytest.mark.parametrize(
    ("start", "hint", "why"),
    [("random", "more seeds", "one seed"), ("usual", "trainer.start=random", "runs whose seeds change nothing")],
)
def test_with_one_observation_of_each_nothing_is_chosen(start: str, hint: str, why: str, tmp_path: Path) -> None:
    swept(tmp_path, "adam", [0.001, 0.01], 1 if start == "random" else 3, **{"trainer.start": start})
    with pytest.raises(UserError, match=f"adam has 2 settings and {why}") as caught:
        compare([tmp_path], group_by="optimizer")
    for way in ("--group-by optimizer,lr keeps them apart", hint, "--pool"):
        assert way in caught.value.hint


@pytest.mark.parametrize("words", [("--tune-seeds", "0..2"), ("--pool",)])
def test_options_of_tuning_need_groups(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swept(tmp_path, "adam", [0.01], 4)
    code, _, said = invoke(capsys, "compare", tmp_path, *words)
    assert (code, said.count("\n")) == (2, 2)
    assert "--group-by" in said
    code, out, _ = invoke(capsys, "compare", tmp_path, *words, "--group-by", "optimizer", "--json")
    assert (code, len(json.loads(out)["groups"])) == (0, 1)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), min_size=1, max_size=5))
def test_seeds_are_read_as_they_are_written(spans: list[tuple[int, int]]) -> None:
    text = ",".join(f"{first}..{first + more}" if more else str(first) for first, more in spans)
    assert parse_seeds(text) == {seed for first, more in spans for seed in range(first, first + more + 1)}


@pytest.mark.parametrize("wrong", ["3..1", "a", "1..", "-1", "1,,2", "0..9999999999"])
def test_what_is_no_list_of_seeds_is_refused(wrong: str) -> None:
    with pytest.raises(UserError, match="expected seeds"):
        parse_seeds(wrong)
