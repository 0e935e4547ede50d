"""Settings that are given as points: read from CSV as overrides are, run with every seed, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_tools import invoke
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.config import Composer
from optbench.errors import OptbenchError
from optbench.experiment import plan_sweep
from optbench.experiment.plan import Points


def planned(points: Points, *overrides: str) -> list[Any]:
    return [item.config for item in plan_sweep(["model=sphere", *overrides], points=points)]


def test_each_point_runs_with_each_seed() -> None:
    points = Points(
        [{"optimizer.lr": 0.1, "optimizer.momentum": 0.5}, {"optimizer.lr": 0.2, "optimizer.momentum": 0.0}]
    )
    found = planned(points, "optimizer=momentum", "seeds=2")
    assert [(c["seed"], c["optimizer"]["lr"], c["optimizer"]["momentum"]) for c in found] == [
        (0, 0.1, 0.5), (0, 0.2, 0.0), (1, 0.1, 0.5), (1, 0.2, 0.0),
    ]  # fmt: skip


def test_a_point_may_choose_of_a_group() -> None:
    found = planned(Points([{"optimizer": "adam", "optimizer.lr": 0.1}, {"optimizer": "gd", "optimizer.lr": 0.2}]))
    assert [(c["choices"]["optimizer"], c["optimizer"]["lr"]) for c in found] == [("adam", 0.1), ("gd", 0.2)]


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with Composer() as entered:
        yield entered


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(1e-6, 1), st.floats(0, 0.99)), min_size=1, max_size=5, unique=True))
def test_a_file_says_the_same_as_the_points(
    composer: Composer, tmp_path_factory: pytest.TempPathFactory, values: list[Any]
) -> None:
    def configs(given: Points) -> list[Any]:
        return [job.composed.config for job in composer.grid(["optimizer=momentum"], points=given.rows)]

    points = Points([{"optimizer.lr": lr, "optimizer.momentum": m} for lr, m in values])
    file = tmp_path_factory.mktemp("points") / "points.csv"
    points.write(file)
    found = configs(Points.read(file))
    assert found == configs(points)
    assert [(c["optimizer"]["lr"], c["optimizer"]["momentum"]) for c in found] == values


def test_a_file_has_each_value_under_its_key_whatever_the_order_in_a_point(tmp_path: Path) -> None:
    rows = [{"optimizer.lr": 0.1, "optimizer.momentum": 0.5}, {"optimizer.momentum": 0.25, "optimizer.lr": 0.2}]
    Points(rows).write(tmp_path / "points.csv")
    assert Points.read(tmp_path / "points.csv").rows == [{k: str(v) for k, v in row.items()} for row in rows]


def test_what_is_no_number_is_written_as_overrides_have_it(tmp_path: Path) -> None:
    points = Points([
        {"trainer.target": None, "trainer.start_anywhere": True, "trainer.start": [0, 0.5], "optimizer": "adam"},
        {"trainer.target": 1, "trainer.start_anywhere": False, "trainer.start": "random", "optimizer": "gd"},
    ])  # fmt: skip
    points.write(tmp_path / "points.csv")
    assert planned(Points.read(tmp_path / "points.csv"), "model.dim=2") == planned(points, "model.dim=2")


@pytest.mark.parametrize(("text", "words"), [
    ("", "no points"),
    ("optimizer.lr\n", "no points"),
    ("optimizer.lr,optimizer.lr\n1,2\n", "name each key once"),
    ("optimizer.lr,\n1,2\n", "name each key once"),
    ("optimizer.lr,seed\n1\n", "line 2 has 1 values"),
    ("optimizer.lrr\n1\n", "lrr"),
    ("optimizer.lr\nfast\n", "lr"),
    ("optimizer\nadamm\n", "adamm"),
    ("model\nsphere\n", "set by the points and by an override"),
])  # fmt: skip
def test_a_file_that_says_no_points(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "points.csv"
    file.write_text(text)
    code, _, err = invoke(capsys, "sweep", "model=sphere", "--points", file, "--dry-run", "--out", tmp_path / "out")
    assert code == 2
    assert words in err
    assert len(err.splitlines()) <= 3


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptbenchError, match="No such file"):
        Points.read(tmp_path / "gone.csv")


def test_the_command_runs_them_and_finds_them_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "points.csv"
    file.write_text("optimizer,optimizer.lr\nadam,0.1\ngd,0.01\n")
    words = ["sweep", "model=sphere", "trainer.steps=2", "--points", file, "--out", tmp_path / "out", "-q"]
    code, out, err = invoke(capsys, *words)
    assert code == 0
    assert "adam" in out
    assert "2 of 2 runs" in err
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert invoke(capsys, *words)[0] == 0
    assert len(list((tmp_path / "out").iterdir())) == 1
    file.write_text("optimizer,optimizer.lr\nadam,0.2\n")  # other points are another sweep
    assert invoke(capsys, *words)[0] == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
