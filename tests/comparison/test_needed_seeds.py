"""Numbers of single runs by seed, and the seeds that a difference needs: against runs made by hand and simulation."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from command_tools import invoke
from made_runs import make_run, make_table

from optbench.comparison import compare
from optbench.comparison.by_seed import by_seed
from optbench.comparison.seeds import seeds_of
from optbench.errors import UserError
from optbench.metrics.power import seeds_needed

RATES = (0.01, 0.1)


def made(folder: Path, losses: dict[float, list[float]], **more: Any) -> Path:
    """A sweep's table: learning rate -> final losses of seeds 0, 1, ...; NaN: no such run; infinite: it diverged."""
    rows = [
        {
            "optimizer.lr": rate, "seed": seed, "final_loss": None if math.isinf(loss) else loss,
            "status": "diverged" if math.isinf(loss) else "completed", **more,
        }
        for rate, own in losses.items()
        for seed, loss in enumerate(own)
        if not math.isnan(loss)
    ]  # fmt: skip
    make_table(folder, rows)
    return folder


def test_runs_stand_by_seed_and_the_missing_and_diverged_are_known(tmp_path: Path) -> None:
    folder = made(tmp_path / "sweep", {0.01: [1.0, math.nan, 3.0, math.inf], 0.1: [5.0, 6.0, math.nan, 8.0]})
    groups = {group.label: group for group in compare(folder).groups}
    found = by_seed([groups["adam lr=0.01"], groups["adam lr=0.1"]], "final_loss")
    assert np.array_equal(found, [[1, np.nan, 3, np.inf], [5, 6, np.nan, 8]], equal_nan=True)
    assert np.array_equal(by_seed([groups["adam lr=0.1"]], "steps"), [[100, 100, 100]])


def test_of_a_configuration_without_the_score_nothing_is_foreseen(tmp_path: Path) -> None:
    """Such as one without an accuracy beside one that has it: the spread of that one says nothing of the other."""
    for seed in range(5):
        for rate, accuracy in ((0.01, 0.5 + seed / 100), (0.1, None)):
            make_run(tmp_path / f"{rate}-{seed}", {"seed": seed, "optimizer.lr": rate}, best_val_accuracy=accuracy)
    (need,) = seeds_of(compare(tmp_path), 0.01, metric="best_val_accuracy")
    assert (need.n, need.spread, need.seeds, need.at_most, need.finds) == (0, None, None, None, None)


def test_of_runs_that_share_seeds_many_times_none_belong_together(tmp_path: Path) -> None:
    folder = made(tmp_path / "sweep", {0.01: [1.0, 2.0], 0.1: [5.0, 6.0]})
    found = by_seed(compare(folder, group_by="optimizer", pool=True).groups, "final_loss")
    assert sorted(found[0].tolist()) == [1, 2, 5, 6]


def test_copies_of_a_run_are_one_and_what_was_missed_is_infinite(tmp_path: Path) -> None:
    for seed in range(4):
        make_run(tmp_path / f"{seed}", {"seed": seed, "trainer.start": "usual"})
    (group,) = compare(tmp_path).groups
    assert np.isnan(by_seed([group], "final_loss")).sum() == 0
    assert by_seed([group], "final_loss").shape == (1, 1)
    assert by_seed([group], "seconds").shape == (1, 4)
    make_table(
        tmp_path / "aimed",
        [{"seed": seed, "target": 0.5, "steps_to_target": hit} for seed, hit in enumerate([3, None])],
    )
    (aimed,) = compare(tmp_path / "aimed").groups
    assert by_seed([aimed], "steps_to_target").tolist() == [[3, math.inf]]
    assert by_seed([group], "steps_to_target").shape == (1, 0)


def test_seeds_are_those_of_the_spread_of_differences(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shared, a, b = rng.normal(100, 30, 12), rng.normal(0, 1, 12), rng.normal(3, 1, 12)
    found = compare(made(tmp_path / "sweep", {0.01: list(shared + a), 0.1: list(shared + b)}))
    (need,) = seeds_of(found, 0.7)
    spread = float(np.std(a - b, ddof=1))
    assert (need.configuration, need.against) == ("adam lr=0.1", "adam lr=0.01")
    assert (need.paired, need.n, need.comparisons, need.diverged) == (True, 12, 1, 0)
    assert need.spread == pytest.approx(spread)
    assert need.seeds == seeds_needed(0.7, spread)
    assert need.at_most == seeds_needed(0.7, spread * math.sqrt(11 / scipy.stats.chi2.ppf(0.025, 11)))
    assert need.finds is not None
    assert seeds_needed(need.finds * 1.001, spread) == 12
    assert (seeds_needed(need.finds * 0.999, spread) or 0) > 12
    assert need.more == (need.seeds or 0) - 12
    (other,) = seeds_of(found, 0.7, against="lr=0.1")
    assert (other.configuration, other.spread) == ("adam lr=0.01", pytest.approx(spread))


def test_of_all_pairs_more_are_needed_than_of_those_with_a_baseline(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    found = compare(made(tmp_path / "sweep", {rate: list(rng.normal(rate, 1, 9)) for rate in (0.1, 0.2, 0.3, 0.4)}))
    every, some = seeds_of(found, 1.0), seeds_of(found, 1.0, against=found.groups[0].label)
    assert [one.comparisons for one in (*every, *some)] == [6] * 3 + [3] * 3
    for one, other in zip(every, some, strict=True):
        assert one.seeds is not None
        assert other.seeds is not None
        assert one.seeds > other.seeds
        assert one.seeds == seeds_needed(1.0, one.spread or 0.0, comparisons=6)


def test_without_shared_seeds_the_spread_is_of_runs_and_one_alone_is_held_against_itself(tmp_path: Path) -> None:
    nan, draw = math.nan, np.random.default_rng(2).normal
    a, b = draw(0, 1, 8), draw(0, 2, 8)
    found = compare(made(tmp_path / "sweep", {0.01: [*a, *[nan] * 8], 0.1: [*[nan] * 8, *b]}))
    (need,) = seeds_of(found, 1.0, "final_loss")
    assert (need.paired, need.n) == (False, 8)
    assert need.spread == pytest.approx(math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))
    assert need.seeds == seeds_needed(1.0, need.spread or 0.0, paired=False)
    (alone,) = seeds_of(compare(made(tmp_path / "one", {0.01: list(a)})), 1.0)
    assert (alone.against, alone.comparisons, alone.n) == (None, 1, 8)
    assert alone.seeds == seeds_needed(1.0, float(a.std(ddof=1)), paired=False)


def test_diverged_runs_make_it_harder_and_nothing_is_known_of_one_seed(tmp_path: Path) -> None:
    a = list(np.random.default_rng(3).normal(0, 1, 10))
    b = [x + 0.1 * i for i, x in enumerate(a)]
    (fine,) = seeds_of(compare(made(tmp_path / "fine", {0.01: a, 0.1: b})), 0.3)
    (less,) = seeds_of(compare(made(tmp_path / "less", {0.01: a, 0.1: [math.inf, *b[1:]]})), 0.3)
    assert less.diverged == 0.1
    assert less.seeds is not None
    assert fine.seeds is not None
    assert less.seeds > fine.seeds
    (both,) = seeds_of(compare(made(tmp_path / "both", {0.01: [math.inf, *a[1:]], 0.1: [math.inf, *b[1:]]})), 0.3)
    assert (both.diverged, both.spread) == (0.1, pytest.approx(np.std(np.subtract(a, b)[1:], ddof=1)))
    of_some = [math.inf] * 6
    (few,) = seeds_of(compare(made(tmp_path / "few", {0.01: [*of_some, *a[6:]], 0.1: [*of_some, *b[6:]]})), 0.3)
    (alone,) = seeds_of(compare(made(tmp_path / "alone", {0.01: [*of_some, *a[6:]]})), 0.3)
    wider = math.sqrt(3 / scipy.stats.chi2.ppf(0.025, 3))  # of the four that tell of the spread, not of all ten
    for need, paired in ((few, True), (alone, False)):
        assert need.at_most == seeds_needed(0.3, (need.spread or 0.0) * wider, paired=paired, diverged=0.6)
    (one,) = seeds_of(compare(made(tmp_path / "one", {0.01: [1.0], 0.1: [2.0]})), 0.3)
    assert (one.n, one.spread, one.seeds, one.at_most, one.finds, one.more) == (1, None, None, None, None, None)


def test_the_seeds_that_the_help_names_are_those_that_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(invoke(capsys, "power", "--help")[1].split())
    apart, shared = ([seeds_needed(1.0, 1.0, comparisons=k, paired=paired) for k in (1, 5, 15)]
                     for paired in (False, True))  # fmt: skip
    assert "{} of each for one pair, {} for the 5 pairs".format(*apart) in text
    assert f"--baseline, {apart[2]} for all 15" in text
    assert "have that deviation, {}, {} and {}.".format(*shared) in text


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    found = compare(made(tmp_path / "sweep", {0.01: [1.0, 2.0], 0.1: [2.0, 3.0]}))
    for wrong, message in (
        ({"difference": 0.0}, "above 0"),
        ({"difference": math.nan}, "above 0"),
        ({"alpha": 1.0}, "--alpha 1"),
        ({"power": 0.0}, "--power 0"),
        ({"metric": "ert"}, "no score of single runs 'ert'"),
        ({"metric": "best_los"}, "no score of single runs"),
        ({"against": "lr=7"}, "no configuration 'lr=7'"),
        ({"against": "lr"}, "may be any of 2"),
    ):
        with pytest.raises(UserError) as error:
            seeds_of(found, **{"difference": 1.0, **wrong})  # type: ignore[arg-type]
        assert message in error.value.message


def test_the_command_prints_a_table_within_80_columns_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(tmp_path / "sweep", {0.01: [1.0, 2.0, 4.0, 3.5], 0.1: [2.0, 3.5, 4.0, math.inf]})
    code, out, err = invoke(capsys, "power", folder, "--difference", "0.5")
    assert (code, err) == (0, "")
    title, header, row, *_ = out.splitlines()
    assert title == "rosenbrock: final_loss against adam lr=0.01, 1 comparison"
    assert header.split() == ["configuration", "n", "compared", "spread", "diverged", "seeds", "at", "most", "finds"]
    assert row.split()[:6] == ["adam", "lr=0.1", "4", "by", "seed", "0.7638"]
    assert max(map(len, (title, header, row))) <= 80
    code, out, _ = invoke(capsys, "power", folder, "-d", "0.5", "--json")
    (need,) = json.loads(out)["needs"]
    assert {"problem", "seeds", "more", "finds", "paired", "at_most"} <= need.keys()
    assert need["finds"] is None  # four seeds find nothing
    assert invoke(capsys, "power", folder)[0] == 2
    assert invoke(capsys, "power", folder, "-d", "1", "-f", "lr=7")[0] == 2


def test_so_many_seeds_as_it_says_find_the_difference_in_nine_of_ten() -> None:
    from optbench.metrics.rank_tests import signed_rank_tails, two_sided

    rng, difference = np.random.default_rng(5), 0.8
    pilot = rng.normal(0, 1, 200)
    seeds = seeds_needed(difference, float(pilot.std(ddof=1)), comparisons=3)
    assert seeds is not None
    p = two_sided(*signed_rank_tails(rng.normal(difference, 1, (2000, seeds))))
    assert (p <= 0.05 / 3).mean() == pytest.approx(0.9, abs=0.04)
