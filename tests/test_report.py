"""Reports: every number that is computed is printed, in every form, with its rule."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path

import pytest
from command_tools import command
from made_runs import make_run
from rich.console import Console

from optbench import report
from optbench.catalogue import against_the_book, catalogue
from optbench.comparison import Comparison, compare
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.records import read_run

NETWORK = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    for seed, loss in enumerate([1.25e-7, 0.5, 3.0]):
        make_run(tmp_path / f"good{seed}", {"seed": seed}, final_loss=loss, best_loss=loss, seconds=12.3456)
    for seed, status in enumerate(["completed", "diverged", "timed_out"]):
        make_run(tmp_path / f"{status}", {"seed": seed, "optimizer.lr": 5.0}, status=status, final_loss=7.0)
    for seed, accuracy in enumerate([0.91, 0.955]):
        hit = 40 if seed else None
        make_run(
            tmp_path / f"net{seed}", {"seed": seed}, best_val_accuracy=accuracy, val_accuracy=accuracy - 0.1,
            target=0.3, steps_to_target=hit, **NETWORK,
        )  # fmt: skip
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text("{")
    return compare([tmp_path])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (1000, "1000"), (123456.0, "123456"), (0.123456, "0.1235"), (99999.6, "1e+05"), (-2.5, "-2.5"),
        (0.00099, "9.90e-04"), (1.234567e-12, "1.23e-12"), (1234567.8, "1.23e+06"), (1e300, "1.00e+300"),
        (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "-"), (None, "-"), (24.2, "24.2"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    assert report.number(value) == text


def test_intervals() -> None:
    assert report.interval(None, 5) == "-"
    assert report.interval(Estimate(2.0, 1.0, math.inf, 0.75), 3) == "2 [1, inf]"
    assert report.interval(Estimate(2.0, 2.0, 2.0, 0.0), 1) == "2"
    assert report.interval(Estimate(2.0, 2.0, 2.0, 0.75), 3) == "2"
    assert report.interval(Estimate(0.5, 0.25, 1.0, 0.95), 4, share=True) == "50.0 [25.0, 100.0]"
    assert report.interval(Estimate(-math.inf, -math.inf, 0.5, 0.5), 2, share=True) == "- [-, 50.0]"


def test_a_pipe_gets_whole_aligned_text_without_signs_for_terminals(comparison: Comparison) -> None:
    out = io.StringIO()
    report.print_comparison(comparison, Console(file=out, width=20))
    text = out.getvalue()
    assert "\x1b" not in text
    assert "…" not in text
    assert text == report.export(comparison, "text")
    lines = text.splitlines()
    assert lines[0] == "mlp on digits, cross_entropy: 2 runs in 1 configuration"
    assert "* adam" in lines[2]
    assert "93.2 [91.0, 95.5]" in lines[2]
    header, best, other = lines[lines.index("rosenbrock: 6 runs in 2 configurations") + 1 :][:3]
    assert best.startswith("* adam lr=0.01")
    assert "0.5 [1.25e-07, 3]" in best
    assert other.startswith("~ adam lr=5 ")  # of three seeds
    assert "1 completed, 1 diverged, 1 timed out" in other
    assert "7 [7, inf]" in other
    assert header.index("status") == best.index("3 completed")
    assert len(best) == len(header) == len(other)  # numbers are aligned to the right


@pytest.mark.parametrize("forced", [False, True])
def test_what_is_printed_into_a_pipe_is_what_a_console_would_say(
    forced: bool, comparison: Comparison, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1") if forced else monkeypatch.delenv("FORCE_COLOR", raising=False)
    report.print_comparison(comparison)
    printed = capsys.readouterr().out
    out = io.StringIO()
    report.print_comparison(comparison, Console(file=out))
    assert printed == out.getvalue()
    assert ("\x1b" in printed) == forced


def test_a_terminal_gets_a_bold_best_row_and_says_which_columns_did_not_fit(comparison: Comparison) -> None:
    wide, narrow = io.StringIO(), io.StringIO()
    report.print_comparison(comparison, Console(file=wide, width=200, force_terminal=True))
    assert "\x1b[1madam lr=0.01" in wide.getvalue()
    assert "too narrow" not in wide.getvalue()
    report.print_comparison(comparison, Console(file=narrow, width=70, force_terminal=True))
    assert "too narrow for ERT, steps, steps to target, best loss, seconds" in narrow.getvalue()
    assert "…" not in narrow.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_terminal_has_intervals_below_their_values(width: int, tmp_path: Path) -> None:
    for seed in range(8):
        accuracy, loss = 0.95 + seed / 1000, 0.084781 + seed / 1000
        make_run(tmp_path / str(seed), {"seed": seed, "data": "digits"}, best_val_accuracy=accuracy, val_accuracy=0.5,
                 final_loss=loss, best_loss=loss, steps=400, evals=400, seconds=1.25)  # fmt: skip
    out = io.StringIO()
    report.print_comparison(compare([tmp_path]), Console(file=out, width=width, color_system=None, force_terminal=True))
    _title, header, values, intervals, *notes = out.getvalue().splitlines()
    assert all(len(line.rstrip()) <= width for line in (header, values, intervals))
    whole = header.split()
    assert {"seconds", "steps"} <= set(whole)
    assert ("best loss" in header) == (width == 100)
    assert values.split()[-2:] == ["400", "1.25"]
    shown = [re.sub(r"\s+", " ", part) for part in re.findall(r"\[.*?\]", intervals)]
    (group,) = compare([tmp_path]).groups
    loss = group.statistics["final_loss"]
    assert shown[1] == f"[{report.number(loss.low)}, {report.number(loss.high)}]"
    for part, value in zip(re.finditer(r"\[.*?\]", intervals), ("95.3", report.number(loss.value)), strict=False):
        assert values[: part.end()].endswith(value)  # one below the other
    assert "best loss" in "".join(notes) or width == 100


def test_scores_too_wide_for_a_terminal_stand_below_each_other_with_no_word_broken(tmp_path: Path) -> None:
    for problem in range(3):
        for name, lr in (("a_long_name_of_one", 0.1), ("b", 0.2)):
            for seed in range(6):
                changes = {"seed": seed, "optimizer.lr": lr, "model.dim": problem + 2, "trainer.target": 0.3}
                make_run(tmp_path / f"{problem}{name}{seed}", changes, optimizer=name, model=f"m{problem}", target=0.3,
                         steps_to_target=100 * seed + len(name), steps=900, final_loss=seed / 7)  # fmt: skip
    found = compare([tmp_path], group_by="optimizer", score="all")
    for width in (60, 80, 100):
        out = io.StringIO()
        report.print_comparison(found, Console(file=out, width=width, color_system=None, force_terminal=True))
        told = out.getvalue().splitlines()
        start = next(i for i, line in enumerate(told) if line.startswith("scores over 3 problems"))
        words = [word for line in told[start:] for word in line.split()]
        assert {"algoperf", "algoperf_code", "dolan_more", "rank", "iqm", "improvement", "ert"} <= set(words)
        parts = sum(line.startswith("configuration ") for line in told[start:])
        rows = [line.split() for line in told[start:]]
        assert sum(row[:1] == ["a_long_name_of_one"] and len(row) > 1 for row in rows) == parts > 1


def test_a_verdict_of_two_lines_is_one_entry_where_text_folds_itself(tmp_path: Path) -> None:
    names = ("a" * 30, "b" * 30)
    for seed in range(4):
        for name in names:
            make_run(tmp_path / f"{name}{seed}", {"seed": seed, "optimizer._target_": name}, optimizer=name,
                     final_loss=seed + (name == names[0]))  # fmt: skip
    found = compare([tmp_path])
    assert any(line.startswith("    ") for line in report.text_lines(found))
    for form in ("md", "latex"):
        (one,) = [line for line in report.export(found, form).splitlines() if "not enough evidence" in line]
        assert all(name in one for name in names)


def test_names_cannot_command_the_terminal(tmp_path: Path) -> None:
    make_run(tmp_path, optimizer="adam\x1b[2J", model="rosen\x07brock")
    text = report.export(compare([tmp_path]), "text")
    assert "adam?[2J" in text
    assert "\x1b" not in text


def test_rules_stand_below_the_numbers_they_belong_to(comparison: Comparison) -> None:
    notes = "\n".join(report.footnotes(comparison))
    for word in ("+inf", "order-statistic interval", "below 6 runs", "Wilson", "ERT", "steps to target"):
        assert word in notes
    only = compare([comparison.groups[1].runs[0].path or ""])
    assert "Wilson" not in "\n".join(report.footnotes(only))
    assert "order-statistic" not in "\n".join(report.footnotes(only))


def test_intervals_that_cover_less_are_named_with_what_they_cover(tmp_path: Path) -> None:
    for seed in range(7):
        make_run(tmp_path / f"{seed}", {"seed": seed}, final_loss=1.0 + seed, steps_to_target=None)
    rules = {n: report.footnotes(compare([tmp_path], filters=[f"seed<{n}"])) for n in (3, 5, 7)}
    found = {n: [rule for rule in own if rule.startswith("Intervals that cover less")] for n, own in rules.items()}
    assert found[7] == []
    assert "75 % (n = 3): final loss" in found[3][0]
    assert "93.8 % (n = 5): final loss" in found[5][0]


def test_costs_that_differ_from_updates_are_columns(tmp_path: Path) -> None:
    """Passes and products with the Hessian, where some configuration has other numbers of them than updates."""
    make_run(tmp_path / "plain", {"optimizer.lr": 1.0}, steps=50, evals=50, gradients=50)
    make_run(tmp_path / "cut", {"optimizer.lr": 2.0}, status="diverged", steps=7, evals=8, gradients=8)
    heading = report.export(compare([tmp_path]), "text").splitlines()[1]
    assert not {"evaluations", "gradients", "Hessian"} & set(heading.split())
    make_run(tmp_path / "twice", {"optimizer.lr": 3.0}, steps=50, evals=100, gradients=150, hessian_products=50)
    text = report.export(compare([tmp_path]), "text").splitlines()
    assert text[1].split()[-4:] == ["evaluations", "gradients", "Hessian", "products"]
    assert next(line for line in text if "lr=3" in line).split()[-3:] == ["100", "150", "50"]
    assert "50 steps, 100 evaluations, 50 Hessian products, 0.5 s" in report.run_lines(read_run(tmp_path / "twice"))


@pytest.mark.parametrize("by", [{"metric": "evals"}, {"sort": "-evals"}], ids=["metric", "sort"])
def test_what_the_rows_are_ordered_by_is_a_column(by: dict[str, str], tmp_path: Path) -> None:
    for lr, evals in ((1.0, 50), (2.0, 70)):
        make_run(tmp_path / str(lr), {"optimizer.lr": lr}, steps=evals, evals=evals)
    heading, *rows = report.export(compare([tmp_path], **by), "text").splitlines()[1:4]  # type: ignore[arg-type]
    assert heading.split()[3] == "evaluations"
    assert [row.split()[-5] for row in rows] == (["50", "70"] if "metric" in by else ["70", "50"])


def test_unreadable_folders_have_their_own_lines(comparison: Comparison) -> None:
    first, second = report.unreadable_lines(comparison)
    assert first == "1 could not be read and are left out:"
    assert "torn" in second
    assert "torn" not in report.export(comparison, "text")


def test_csv_is_what_pandas_writes_of_the_table(comparison: Comparison) -> None:
    assert report.export(comparison, "csv") == comparison.table.to_csv(index=False)


def test_csv_has_all_digits_and_a_row_a_group(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(report.export(comparison, "csv"))))
    assert [row["configuration"] for row in rows] == ["adam", "adam lr=0.01", "adam lr=5"]
    assert float(rows[1]["final_loss_low"]) == 1.25e-7
    assert float(rows[2]["final_loss_high"]) == math.inf
    assert rows[1]["val_accuracy"] == ""
    assert (rows[2]["n"], rows[2]["diverged"]) == ("3", "1")


def test_json_is_strict_and_markdown_is_a_table(comparison: Comparison) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    whole = json.loads(report.export(comparison, "json"), parse_constant=refuse)
    assert list(whole) == ["header", "groups", "pairs", "scores", "warnings"]
    assert whole["header"] == {"checkpoint": "best", "runs": 8, "groups": 3, "differs": []}
    assert [line for line in whole["warnings"] if "run.json" in line] == whole["warnings"][1:] != []
    assert whole["warnings"][0] == comparison.hopeless != ""
    rows = whole["groups"]
    assert rows[2]["final_loss"] == {"value": 7.0, "low": 7.0, "high": None, "coverage": 0.75, "n": 3}
    lines = report.export(comparison, "md").splitlines()
    assert lines[0] == "### mlp on digits, cross\\_entropy: 2 runs in 1 configuration"
    assert lines[3].count("---") == lines[2].count("|") - 1
    assert any(line.startswith("| **adam lr=0.01** |") for line in lines)
    with pytest.raises(UserError, match="expected one of") as caught:
        report.export(comparison, "jsno")
    assert "json" in caught.value.hint


def test_one_run_in_words(tmp_path: Path) -> None:
    facts = {"stopped_at": "saddle (0, 0)", "lambda_min": -27.75, "target": 1e-3, "steps_to_target": 88}
    run = read_run(make_run(tmp_path / "a", status="target_reached", reason="loss 0.0009", **facts))
    lines = report.run_lines(run)
    assert lines[:3] == [
        "rosenbrock, adam, constant, seed 0",
        "target reached: loss 0.0009",
        "final loss 0.25, best 0.25 at step 100, gradient norm 0.1",
    ]
    assert "target 0.001 reached at step 88" in lines
    assert "stopped at: saddle (0, 0), smallest eigenvalue -27.75" in lines
    assert "100 steps, 101 evaluations, 0.5 s" in lines
    assert lines[-1] == str(tmp_path / "a")
    assert any(line.startswith("loss █") for line in lines)
    assert not any(line.startswith("loss") for line in report.run_lines(run, encoding="ascii"))
    both = {"best_val_accuracy": 0.75, "best_val_step": 20, "val_accuracy": 0.5, "epochs": 5.0, "steps": 50}
    assert "validation accuracy 75.0 % (best epoch 2), 50.0 % (last epoch)" in report.run_lines(
        read_run(make_run(tmp_path / "c", curve=[], **both, **NETWORK))
    )
    numbers = {"best_val_loss": 0.125, "best_val_step": 20, "val_loss": 0.5, "epochs": 5.0, "steps": 50}
    assert "validation loss 0.125 (best epoch 2), 0.5 (last epoch)" in report.run_lines(
        read_run(make_run(tmp_path / "d", curve=[], **numbers, **NETWORK))
    )
    network = report.run_lines(read_run(make_run(tmp_path / "b", val_accuracy=0.5, target=0.1, curve=[], **NETWORK)))
    assert "mlp on digits, adam, constant, seed 0" in network
    assert "validation accuracy 50.0 % (last epoch)" in network
    assert "target 0.1 not reached" in network


@pytest.mark.parametrize(
    ("norm", "place", "losses", "flat"),
    [(1.2e-8, None, [2.0, 2.0, 2.0 - 1e-14], True), (1.2e-8, None, [2.0, 1.0, 0.5], False),
     (0.1, None, [2.0, 2.0, 2.0], False), (1.2e-8, "saddle (0, 0)", [2.0, 2.0, 2.0], False)],
)  # fmt: skip
def test_a_run_that_is_stuck_on_a_plateau_says_so(
    norm: float, place: str | None, losses: list[float], flat: bool, tmp_path: Path
) -> None:
    curve = [{"step": i, "loss": loss, "x0": 0.0, "x1": 0.0} for i, loss in enumerate(losses)]
    run = read_run(make_run(tmp_path / "a", curve=curve, final_grad_norm=norm, stopped_at=place, lambda_min=-1e-8))
    lines = [line for line in report.run_lines(run) if line.startswith("flat there")]
    moved = f"{losses[0] - losses[-1]:.2g}"
    assert lines == ([f"flat there: |g| = 1.2e-08; 100 steps moved the loss by {moved}"] if flat else [])


@pytest.mark.parametrize("base", [2.0, -78.3, 1e-9, -1e6])
def test_a_curve_that_moves_in_its_last_digits_is_drawn_flat(base: float) -> None:
    for share in (1e-14, 1e-6, 5e-5):
        assert set(report.sparkline([base + i * share * abs(base) for i in range(8)][::-1])) == {"▁"}
    assert "█" in report.sparkline([base, base + 0.02 * abs(base)])


def test_sparkline() -> None:
    assert report.sparkline([1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]) == "█▇▆▅▄▃▂▁"
    assert report.sparkline([-1.0, 0.0, 6.0]) == "▁▂█"
    assert report.sparkline([1.0, math.inf, 2.0, math.nan]) == "▁ █ "
    assert report.sparkline([3.0, 3.0]) == "▁▁"
    assert report.sparkline([1.0]) == report.sparkline([]) == report.sparkline([math.nan, 1.0]) == ""
    assert len(report.sparkline(list(range(1, 1001)))) == 48


def test_torchs_optimizers_are_called_so_beside_the_books(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In names, in notes below the table, in the record, on the terminal; another class of the name has no note."""
    line = next(entry.book for entry in catalogue("optimizer") if entry.name == "rmsprop")
    words = ("model=sphere", "trainer.steps=2", "--out", tmp_path)
    assert command("run", "optimizer=rmsprop", *words) == 0
    assert f"\nbook: {line}\n" in capsys.readouterr().out
    (record,) = tmp_path.glob("*/run.json")
    assert json.loads(record.read_text())["book"] == line
    alone = report.text_lines(compare(tmp_path))
    assert not any("torch" in text for text in alone)
    assert command("run", "optimizer=book_rmsprop", *words) == 0
    assert "book: " not in capsys.readouterr().out
    beside = report.text_lines(compare(tmp_path))
    assert any(text.strip("* ").startswith("torch's rmsprop ") for text in beside)
    assert f"rmsprop: {line}." in beside
    assert against_the_book("rmsprop", "mine.RMSprop") == against_the_book("nothing", "torch.optim.RMSprop") == ""
