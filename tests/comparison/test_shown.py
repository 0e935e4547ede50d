"""Which runs a figure shows, and what it says of those that it does not show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import CURVE, make_run, make_table

from optbench.comparison.shown import _left_out, _spread, drawn
from optbench.errors import UserError


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20), st.integers(1, 12))
def test_curves_are_dealt_out_in_turns(codes: list[int], most: int) -> None:
    """A plain second form: the first of each kind, in the order of the runs, then the second of each, and so on."""
    turns: list[tuple[int, int]] = []
    for at, code in enumerate(codes):
        turns.append((codes[:at].count(code), at))
    expected = sorted(at for _, at in sorted(turns)[:most])
    assert _spread(np.array(codes), most).tolist() == expected


def test_what_a_figure_leaves_out_is_said_by_name() -> None:
    names = [f"n{i}" for i in range(9)]
    assert _left_out(3, 3, names, set(), set()) == ""
    assert _left_out(2, 3, names[:1], {"n0"}, {"n0"}) == "2 of 3 runs are drawn"
    assert _left_out(2, 9, names[:3], {"n0", "n1"}, {"n0"}).splitlines() == [
        "2 of 9 runs are drawn",
        "1 of 3 configurations without a recorded curve: n2",
        "1 of 3 configurations left out by --curves: n1",
    ]
    six, seven = (_left_out(0, 9, names[:n], set(names), set()).splitlines()[1] for n in (6, 7))
    assert six == "6 of 6 configurations left out by --curves: n0; n1; n2; n3; n4; n5"
    assert seven == "7 of 7 configurations left out by --curves: n0; n1; n2; n3; n4; n5, and 1 more"


def test_runs_with_a_curve_are_drawn_and_the_others_counted(tmp_path: Path) -> None:
    for i, lr in enumerate((0.1, 0.1, 0.2, 0.3)):
        make_run(tmp_path / f"{i}", {"seed": i, "optimizer.lr": lr}, **({"lambda_min": 1.0} if lr == 0.2 else {}))
    (tmp_path / "3" / "metrics.csv").unlink()
    whole = drawn([tmp_path], [], 10)
    assert (len(whole.runs), whole.found, whole.with_curve) == (3, 4, 3)
    assert [label.partition("lr=")[2] for label in whole.labels] == ["0.1", "0.1", "0.2"]
    assert whole.left_out.splitlines()[0] == "3 of 4 runs are drawn"
    assert "1 of 3 configurations without a recorded curve: " in whole.left_out
    two = drawn([tmp_path], [], 2)
    assert [label.partition("lr=")[2] for label in two.labels] == ["0.1", "0.2"]
    assert [run.summary["seed"] for run in two.runs] == [0, 2]
    assert (two.found, two.with_curve) == (4, 3)
    assert len(drawn([tmp_path], [], 10, prefer="no such setting").runs) == 3
    assert [run.summary["seed"] for run in drawn([tmp_path], [], 10, prefer="lambda_min").runs] == [2]
    only = drawn([tmp_path], ["optimizer.lr=0.2"], 10)
    assert (len(only.runs), only.left_out) == (1, "")


def test_runs_without_any_curve_are_no_figure(tmp_path: Path) -> None:
    make_run(tmp_path / "a", curve=CURVE)
    (tmp_path / "a" / "metrics.csv").unlink()
    with pytest.raises(UserError, match="no curve was recorded of this run") as caught:
        drawn([tmp_path], [], 10)
    assert caught.value.hint == "a curve is metrics.csv in the run's folder"
    make_run(tmp_path / "b", {"seed": 1}, curve=CURVE)
    (tmp_path / "b" / "metrics.csv").unlink()
    with pytest.raises(UserError, match="of these 2 runs"):
        drawn([tmp_path], [], 10)
    make_table(tmp_path / "rows", [{"seed": 2, "optimizer.lr": 0.5}])
    (tmp_path / "rows" / "curves.parquet").unlink()
    for paths in ([tmp_path / "rows"], [tmp_path]):
        with pytest.raises(UserError, match="no curve was recorded") as caught:
            drawn(paths, [], 10)
        assert "with --curves N records N" in caught.value.hint
