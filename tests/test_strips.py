"""The table of a comparison on a terminal: curves beside the rows, no row wider than it, failures above all."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path

import pytest
from command_tools import invoke
from made_runs import make_run
from rich.console import Console

from optbench import report
from optbench.comparison import Comparison, compare
from optbench.report import strips


def halving(
    folder: Path, lr: float, seed: int, rate: float, steps: int = 8, start: float = 256.0, **more: object
) -> None:
    curve = [{"step": i, "loss": start * rate**i} for i in range(steps + 1)]
    changes = {"optimizer.lr": lr, "seed": seed}
    make_run(folder / f"{lr}-{seed}", changes, curve, final_loss=curve[-1]["loss"], steps=steps, **more)


def shown(found: Comparison, width: int, curves: bool | None = None, encoding: str = "utf-8") -> list[str]:
    """What a terminal of this width prints."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=out, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    report.print_comparison(found, console, curves)
    out.flush()
    return out.buffer.getvalue().decode(encoding).splitlines()  # type: ignore[attr-defined]


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    for seed in range(3):
        halving(tmp_path, 0.1, seed, (0.9, 0.5, 0.25)[seed])
        halving(tmp_path, 0.2, seed, 1.0, steps=4, status="converged")
    return compare([tmp_path])


def test_a_row_has_the_run_with_the_median_end_on_the_axes_of_all(found: Comparison) -> None:
    """From 256 to 1, a block for a factor of 256^(1/7): the curve of rate 1/2 falls one block a step, and is alone."""
    (groups,) = found.problems.values()
    at = {group.label: place for place, group in enumerate(groups)}
    drawn = strips.strips(groups, 8, strips.BLOCKS)
    heights = [round(7 * (8 - i) / 8) for i in range(1, 9)]  # the last value of each of eight stretches
    assert drawn[at["adam lr=0.1"]] == "".join(strips.BLOCKS[level] for level in heights)
    assert drawn[at["adam lr=0.2"]] == strips.BLOCKS[-1] * 4  # it ended halfway
    digits = strips.strips(groups, 8, strips.DIGITS)
    assert digits == ["".join(strips.DIGITS[strips.BLOCKS.index(sign)] for sign in line) for line in drawn]


def test_a_run_that_was_lost_ends_at_the_top_and_one_without_a_curve_has_none(tmp_path: Path) -> None:
    halving(tmp_path, 0.1, 0, 0.5)
    halving(tmp_path, 0.2, 0, 2.0, steps=3, status="diverged")
    make_run(tmp_path / "none", {"optimizer.lr": 0.3}, [], final_loss=3.0)
    groups = compare([tmp_path]).groups
    drawn = {group.label: line for group, line in zip(groups, strips.strips(groups, 16, strips.BLOCKS), strict=True)}
    assert drawn["adam lr=0.3"] == ""
    assert drawn["adam lr=0.2"].endswith("█")
    assert len(drawn["adam lr=0.1"]) == 16


def test_curves_are_shown_where_there_is_room_and_where_asked(found: Comparison) -> None:
    wide = shown(found, 140)
    assert any("loss over steps" in line and "configuration" in line for line in wide)
    assert any(line.startswith("Loss over steps: of the run with the median final loss") for line in wide)
    assert not re.search("[▁-█]", "".join(shown(found, 140, curves=False)))
    assert not re.search("[▁-█]", report.export(found, "text"))
    plain = shown(found, 140, curves=True, encoding="latin-1")
    assert any("no blocks" in line for line in plain)
    assert any(re.search(r"\b[1-8]{24}$", line.rstrip()) for line in plain)
    assert not any(
        "no blocks" in line for line in shown(found, 140, encoding="latin-1")
    )  # unasked it is blocks or none


@pytest.mark.parametrize("curves", [None, True])
def test_no_row_is_wider_than_the_terminal(curves: bool | None, tmp_path: Path) -> None:
    for seed in range(4):
        for name in ("a_name_of_an_optimizer_that_goes_on_and_on_and_on", "another_name_of_an_optimizer_that_goes_on"):
            status = "completed" if seed % 2 else "target_reached"
            curve = [{"step": i, "loss": math.exp(-i * (1 + seed))} for i in range(5)]
            changes = {"seed": seed, "optimizer._target_": f"torch.optim.{name}"}
            make_run(tmp_path / f"{name}{seed}", changes, curve, optimizer=name, status=status, seconds=1.5, steps=4,
                     final_loss=curve[-1]["loss"], best_loss=curve[-1]["loss"])  # fmt: skip
    found = compare([tmp_path])
    for width in (60, 72, 80, 100, 132):
        lines = shown(found, width, curves)
        first = next(i for i, line in enumerate(lines) if line.startswith("configuration"))
        table = lines[first : next(i for i, line in enumerate(lines) if " and " in line)]
        assert max(map(len, table)) <= width
        rows = [line for line in table[1:] if not line.startswith(" ")]
        assert len(rows) == 2, table  # a row begins at the left edge; what goes below it does not
        assert {row.split()[1] if row.split()[1] != "~" else row.split()[2] for row in rows} == {"4"}
        assert "…" in "".join(rows) or width > 80


def test_what_did_not_end_well_is_above_the_tables_failures_first(tmp_path: Path) -> None:
    for seed in range(3):
        halving(tmp_path, 0.1, seed, 0.5)
        halving(tmp_path, 0.2, seed, 2.0, status="diverged", reason="the loss is inf")
    halving(tmp_path, 0.3, 0, 0.5, status="failed", reason="RuntimeError: no room\nsecond line")
    lines = shown(compare([tmp_path]), 100)
    assert lines[:4] == [
        "4 of 7 runs did not end well:",
        "  adam lr=0.3: 1 failed of 1 (RuntimeError: no room)",
        "  adam lr=0.2: 3 diverged of 3",
        "",
    ]
    assert not any("did not end well" in line for line in shown(compare([tmp_path / "0.1-0"]), 100))


def test_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halving(tmp_path, 0.1, 0, 0.5)
    ended, out, _ = invoke(capsys, "compare", str(tmp_path), "--curves")
    assert (ended, "loss over steps" in out) == (0, True)
    ended, _, err = invoke(capsys, "compare", str(tmp_path), "--curves", "--json")
    assert (ended, "beside the rows of the table" in err) == (2, True)
