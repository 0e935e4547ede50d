"""Verdicts of a comparison: of runs over the seeds they share, held to scipy and to Holm by hand, never of copies."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_tools import invoke
from made_runs import make_run, make_table
from scipy import stats

from optbench.comparison import Comparison, compare
from optbench.comparison.by_seed import by_seed
from optbench.comparison.judged import Verdict, p_words
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.metrics.pairs import verdicts as verdicts_of
from optbench.report import export, footnotes

NORMAL = np.random.default_rng(3).normal(size=(3, 12))


def made(folder: Path, name: str, losses: Sequence[float | None], first: int = 0, **changes: Any) -> None:
    """A run a loss; None is one that diverged."""
    for seed, loss in enumerate(losses, first):
        target = {"seed": seed, "optimizer._target_": f"torch.optim.{name}", **changes}
        ended = {"status": "diverged", "final_loss": None} if loss is None else {"final_loss": float(loss)}
        make_run(folder / f"{name}{seed}", target, optimizer=name, **ended)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """a is far better than c; b is between."""
    for name, shift, row in zip("abc", (0.0, 0.4, 4.0), NORMAL, strict=True):
        made(tmp_path, name, (10 + shift + row).tolist())
    return tmp_path


def told(found: Comparison) -> dict[tuple[str, str], Verdict]:
    return {(one.a, one.b): one for one in found.pairs}


def test_pairs_are_judged_as_scipy_and_holm_would(three: Path) -> None:
    found = compare([three])
    verdicts = told(found)
    labels = [group.label for group in found.groups]
    assert labels == ["a", "b", "c"]
    values = dict(zip("abc", 10 + np.array([[0.0], [0.4], [4.0]]) + NORMAL, strict=True))
    p = {
        (x, y): stats.wilcoxon(values[x], values[y], method="exact").pvalue
        for x, y in (("a", "b"), ("a", "c"), ("b", "c"))
    }
    assert {pair: one.p for pair, one in verdicts.items()} == pytest.approx(p)
    raised, worst = {}, 0.0
    for rank, pair in enumerate(sorted(p, key=p.__getitem__)):
        worst = max(worst, (3 - rank) * p[pair])
        raised[pair] = min(1.0, worst)
    assert {pair: one.p_adjusted for pair, one in verdicts.items()} == pytest.approx(raised)
    assert verdicts["a", "c"].verdict == "better"
    assert (verdicts["a", "c"].n, verdicts["a", "c"].paired, verdicts["a", "c"].metric) == (12, True, "final_loss")
    assert verdicts["a", "c"].effect.value == pytest.approx(np.median(walsh(values["a"] - values["c"])))


def walsh(d: np.ndarray) -> np.ndarray:
    return np.array([(x + y) / 2 for i, x in enumerate(d) for y in d[: i + 1]])


def test_every_verdict_is_printed_where_all_are_asked_for(three: Path) -> None:
    usual, every = (export(compare([three], pairs=asked), "text") for asked in (False, True))
    assert "b is better than c" not in usual
    assert [every.index(said) for said in ("a and b", "a is better than c", "b is better than c")] == sorted(
        every.index(said) for said in ("a and b", "a is better than c", "b is better than c")
    )


def test_json_has_the_pairs_as_they_were_promised(three: Path) -> None:
    pairs = compare([three], alpha=0.1).to_json()["pairs"]
    assert len(pairs) == 3
    for one in pairs:
        assert list(one) == [
            "problem", "metric", "a", "b", "verdict", "p", "p_adjusted", "effect", "low", "high", "n", "more_seeds",
            "lost",
        ]  # fmt: skip
        assert one["verdict"] in ("better", "worse", "equivalent", "undecided")


def test_a_table_marks_what_cannot_be_told_from_the_best(tmp_path: Path) -> None:
    made(tmp_path, "a", list(range(12)))
    made(tmp_path, "b", [k + (0.5 if k % 2 else -0.4) for k in range(12)])
    made(tmp_path, "c", [k + 30 for k in range(12)])
    found = compare([tmp_path])
    assert found.untold("rosenbrock") == {"b"}
    lines = export(found, "text").splitlines()
    assert [line[:3] for line in lines[2:5]] == ["* a", "~ b", "  c"]
    assert any(line.startswith("a is better than c: final loss -30 [-30, -30], n = 12 seeds, p = ") for line in lines)
    assert any(line.startswith("a and b: not enough evidence (n = 12 seeds") for line in lines)
    assert all(len(line) <= 80 for line in lines[5:8])
    assert "| b ~ |" in export(found, "md")
    assert "| **a** |" in export(found, "md")
    assert any(line.startswith("*: best; ~: not told from it") for line in footnotes(found))


def test_copies_are_never_evidence(tmp_path: Path) -> None:
    made(tmp_path, "a", [1.0] * 30, **{"trainer.start": "usual"})
    made(tmp_path, "b", [2.0] * 30, **{"trainer.start": "usual"})
    found = compare([tmp_path])
    (one,) = found.pairs
    assert (one.verdict, one.n, one.p) == ("undecided", 1, 1.0)
    assert any("the best (a) is of one observation, which is no evidence" in line for line in found.warnings)


def test_all_against_a_baseline_are_a_smaller_family(three: Path) -> None:
    found = compare([three], baseline="c")
    assert list(told(found)) == [("a", "c"), ("b", "c")]
    every = told(compare([three]))
    assert [one.p_adjusted <= every[pair].p_adjusted for pair, one in told(found).items()] == [True, True]
    lines = export(found, "text").splitlines()
    assert [line.split()[:3] for line in lines if " than c:" in line] == [["a", "is", "better"], ["b", "is", "better"]]
    with pytest.raises(UserError, match="--baseline d: no configuration of that name") as caught:
        compare([three], baseline="d")
    assert "a, b, c" in caught.value.hint


def test_a_baseline_is_named_by_its_optimizer_where_that_is_clear(tmp_path: Path) -> None:
    made(tmp_path / "1", "a", [1.0, 2.0, 3.0], **{"optimizer.lr": 0.1})
    made(tmp_path / "2", "b", [2.0, 1.0, 3.0], **{"optimizer.lr": 0.1})
    made(tmp_path / "3", "b", [2.0, 1.0, 3.0], **{"optimizer.lr": 0.2})
    assert {one.b for one in compare([tmp_path], baseline="a").pairs} == {"a"}
    with pytest.raises(UserError, match=r"may be any of b lr=0\.1, b lr=0\.2"):
        compare([tmp_path], baseline="b")


def test_two_that_differ_by_little_are_equivalent_where_that_is_asked(tmp_path: Path) -> None:
    made(tmp_path, "a", [k / 10 for k in range(12)])
    made(tmp_path, "b", [k / 10 + 0.01 * (-1) ** k for k in range(12)])
    (one,) = compare([tmp_path], equivalent_within=0.5).pairs
    assert one.verdict == "equivalent"
    said, _ = one.in_words()
    assert said == "a and b are equivalent within 0.5"
    assert compare([tmp_path], equivalent_within=0.5).untold("rosenbrock") == {"b"}


def test_diverged_runs_are_the_worst_ranks_and_take_part(tmp_path: Path) -> None:
    made(tmp_path, "a", [float(k) for k in range(10)])
    made(tmp_path, "b", [None] * 10)
    (one,) = compare([tmp_path]).pairs
    assert (one.verdict, one.n) == ("better", 10)
    assert one.p == pytest.approx(2 / 2**10)


def test_another_metric_ranks_stars_and_judges(tmp_path: Path) -> None:
    for name, loss, steps in (("a", 1.0, 100), ("b", 2.0, 10)):
        for seed in range(8):
            target = {"seed": seed, "optimizer._target_": f"torch.optim.{name}"}
            make_run(tmp_path / f"{name}{seed}", target, optimizer=name, final_loss=loss + seed, steps=steps + seed)
    found = compare([tmp_path], metric="steps")
    assert [(group.label, group.best) for group in found.groups] == [("b", True), ("a", False)]
    (one,) = found.pairs
    assert (one.a, one.verdict, one.metric, one.effect.value) == ("b", "better", "steps", -90.0)
    for metric in ("seconds", "best_loss"):
        assert {one.metric for one in compare([tmp_path], metric=metric).pairs} == {metric}
    with pytest.raises(UserError, match="--metric steps_to_target: these runs have none"):
        compare([tmp_path], metric="steps_to_target")


def test_the_table_has_a_column_a_seed_and_gaps_where_none_ran(tmp_path: Path) -> None:
    made(tmp_path / "1", "a", [5.0, None, 7.0], first=2)
    made(tmp_path / "2", "b", [1.0, 2.0], first=9)
    table = by_seed(compare([tmp_path]).groups, "final_loss")
    nan = math.nan
    order = [group.label for group in compare([tmp_path]).groups]
    expected = {"a": [5.0, math.inf, 7.0, nan, nan], "b": [nan, nan, nan, 1.0, 2.0]}
    np.testing.assert_array_equal(table, [expected[label] for label in order])
    (one,) = compare([tmp_path]).pairs
    assert not one.paired
    assert "n = 2 runs" in one.in_words()[1]


def test_folds_of_a_seed_are_paired_with_the_same_folds(tmp_path: Path) -> None:
    for name, shift in (("a", 0.0), ("b", 0.5)):
        for fold in range(5):
            target = {"seed": 3, "optimizer._target_": f"torch.optim.{name}", "data.folds": 5, "data.fold": fold}
            make_run(tmp_path / f"{name}{fold}", target, optimizer=name, final_loss=fold + shift)
    (one,) = compare([tmp_path]).pairs
    assert (one.paired, one.n, one.effect.value) == (True, 5, -0.5)


def test_the_order_of_folders_changes_no_verdict(three: Path) -> None:
    places = sorted(three.iterdir())
    assert compare(places).to_json()["pairs"] == compare(places[::-1]).to_json()["pairs"]


def test_a_verdict_seen_from_the_other_side() -> None:
    effect = Estimate(-1.0, -2.0, -0.5, 0.95, 9)
    one = Verdict("bowl", "final_loss", "a", "b", "better", 0.01, 0.02, lambda: effect, 9, True, None)
    other = one.seen_from("b")
    assert (other.a, other.b, other.verdict) == ("b", "a", "worse")
    assert (other.effect.value, other.effect.low, other.effect.high) == (1.0, 0.5, 2.0)
    assert other.seen_from("b") is other
    assert other.seen_from("a") == one
    assert other.seen_from("a").effect == effect


def test_many_runs_are_judged_where_that_is_asked(tmp_path: Path) -> None:
    made(tmp_path, "a", [float(k) for k in range(51)])
    made(tmp_path, "b", [k + 1.0 for k in range(51)])
    found = compare([tmp_path])
    assert found.pairs == ()
    assert found.unsought == "no verdicts on 1 pairs of up to 51 runs unless asked for: --pairs"
    assert f"{found.unsought}." in footnotes(found)
    (one,) = compare([tmp_path], pairs=True).pairs
    assert one.verdict == "better"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--alpha", "2"), "--alpha 2: expected a number between 0 and 1"),
        (("--equivalent-within", "0"), "--equivalent-within 0: expected a number above 0"),
        (("--metric", "ert"), "--metric ert: no score of single runs"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    words: tuple[str, ...], said: str, three: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = invoke(capsys, "compare", three, *words)
    assert (code, err.startswith(f"error: {said}")) == (2, True)


def test_anytime_verdicts_need_more(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = invoke(capsys, "compare", three, "--anytime", "--json")
    assert code == 0
    once = {(one.a, one.b): one for one in compare([three]).pairs}
    for pair in json.loads(out)["pairs"]:
        assert pair["p"] >= once[pair["a"], pair["b"]].p


def test_the_rules_are_explained_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    for name, words in (
        ("pairs", "Bergmann and Hommel"),
        ("tuned", "optimism"),
        ("distinct", "one observation"),
        ("header", "budgets"),
    ):
        code, out, _ = invoke(capsys, "compare", "--explain", name)
        assert (code, words in out, out.startswith(f"{name}: ")) == (0, True, True)
    code, _, err = invoke(capsys, "compare", "--explain", "pair")
    assert (code, "did you mean pairs?" in err) == (2, True)


def test_where_all_diverged_the_effect_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, "a", [1.0 + k / 10 for k in range(8)])
    made(tmp_path, "b", [None] * 8)
    made(tmp_path, "c", [*[9.0] * 4, *[None] * 4])
    verdicts = told(compare([tmp_path]))
    said, why = verdicts["a", "b"].in_words()
    assert (said, why) == ("a is better than b", "all 8 runs of b without a result, n = 8 seeds, p = 0.023 (adj.)")
    assert verdicts["a", "b"].seen_from("b").in_words()[1] == why
    assert verdicts["a", "c"].in_words()[1].startswith("final loss [no limit, -7.")
    assert ", 4 of 8 runs of c without a result, n = 8 seeds" in verdicts["a", "c"].in_words()[1]
    code, out, _ = invoke(capsys, "compare", tmp_path, "--json")
    (pair,) = [one for one in json.loads(out)["pairs"] if (one["a"], one["b"]) == ("a", "b")]
    assert (code, pair["effect"], pair["low"], pair["lost"]) == (0, None, None, [0, 8])
    for words in (("compare", "--explain"), ("compare", "--pairs"), ("rank",)):
        code, out, _ = invoke(capsys, *words, tmp_path)
        assert (code, "-inf " in out, "-inf," in out, "all 8 runs of b without a result" in out) == (
            0, False, False, True)  # fmt: skip


def test_effects_of_accuracies_are_points(tmp_path: Path) -> None:
    for name, shift in (("a", 0.05), ("b", 0.0)):
        for seed in range(8):
            change = {"seed": seed, "optimizer._target_": f"torch.optim.{name}"}
            make_run(tmp_path / f"{name}{seed}", change, optimizer=name, data="digits",
                     val_accuracy=0.8 + seed / 100 + shift, best_val_accuracy=0.8 + seed / 100 + shift)  # fmt: skip
    (one,) = compare([tmp_path]).pairs
    assert one.in_words()[1].startswith("best accuracy 5.0 points [5.0, 5.0], n = 8 seeds")


@pytest.mark.parametrize(("configurations", "could", "against_one"), [(21, 8, 6), (2, 6, None), (6, 6, None)])
def test_too_few_seeds_for_any_verdict_are_said_to_be_so_once(
    configurations: int, could: int, against_one: int | None, tmp_path: Path
) -> None:
    """Held to verdicts on runs of which every one of a configuration is better than every one of the next."""
    rows = [{"seed": seed, "optimizer.lr": 10.0 + i, "final_loss": 100.0 * i + seed}
            for i in range(configurations) for seed in range(5)]  # fmt: skip
    make_table(tmp_path, rows)
    found = compare([tmp_path], pairs=True)
    assert {one.verdict for one in found.pairs} == {"undecided"}
    assert export(found, "text").count(f"{found.hopeless}.") == 1
    assert found.hopeless in found.to_json()["warnings"]
    assert f"; {could} seeds of each could" in found.hopeless
    values = np.array([[100.0 * i + seed for seed in range(could)] for i in range(configurations)])
    assert any(one.verdict == "better" for one in verdicts_of(values))
    assert all(one.verdict == "undecided" for one in verdicts_of(values[:, :-1]))
    assert ("--baseline" in found.hopeless) == (against_one is not None)
    if against_one is not None:
        assert found.hopeless.endswith(f"or {against_one} with --baseline ({configurations - 1} pairs)")
        assert any(one.verdict == "worse" for one in verdicts_of(values[:, :against_one], against=0))
        assert all(one.verdict == "undecided" for one in verdicts_of(values[:, : against_one - 1], against=0))


def test_seeds_that_change_nothing_are_not_asked_for(tmp_path: Path) -> None:
    for name, loss in (("a", 1.0), ("b", 2.0)):
        for start in ("usual", "random"):
            words = {"optimizer._target_": f"torch.optim.{name}", "trainer.start": start}
            make_run(tmp_path / start / name, words, optimizer=name, final_loss=loss)
    (one,) = compare([tmp_path / "usual"]).pairs
    assert (one.verdict, one.more_seeds) == ("undecided", None)
    (one,) = compare([tmp_path / "random"]).pairs
    assert one.verdict == "undecided"
    assert one.more_seeds is not None


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.5, "p = 0.5"), (0.0123, "p = 0.012"), (3e-5, "p = 3e-05"), (1e-16, "p = 1e-16"), (0.0, "p < 1e-16")],
)
def test_no_p_value_is_said_to_be_nothing(value: float, words: str) -> None:
    assert p_words(value) == words
