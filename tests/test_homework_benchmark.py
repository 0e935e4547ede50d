"""benchmarks/homework.py: our training is the notebook's loop, update by update; its script works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from members import ROOT

import optbench

PLACE = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(PLACE))
    monkeypatch.setenv("OPTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_our_losses_are_the_notebooks(tmp_path: Path) -> None:
    import homework
    import homework_notebook

    size, root = homework.SMALL, tmp_path / "food"
    homework.write_pictures(root, size)
    words = homework.overrides(root, size)
    start = homework.start_of(words, size.epochs)
    theirs = homework_notebook.train(str(root), start, size.epochs, size.image_size, size.width, size.batch_size)
    run = optbench.run(*words, "trainer.threads=1", out=tmp_path / "runs")
    curve = run.curve()
    assert curve["loss"].tolist()[:-1] == pytest.approx(theirs["loss"], rel=1e-5)
    assert len(theirs["loss"]) == size.epochs * -(-size.train // size.batch_size)
    assert len(set(theirs["loss"])) == len(theirs["loss"])
    assert curve["val_loss"].dropna().tolist()[1:] == pytest.approx(theirs["val_loss"], rel=1e-5)


def test_made_up_photographs_are_the_same_each_time_and_differ() -> None:
    import homework

    first, again, other = (homework.picture(number, 60) for number in (3, 3, 4))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert abs(first.width - 60) <= 6
    assert abs(first.height - 48) <= 6


def test_the_operations_of_a_step_are_those_of_its_convolutions_and_matrices() -> None:
    import homework

    size, side, before, expected = homework.SMALL, 32, 3, 0
    for after in (4, 8, 16, 32, 32):  # a multiplication and an addition each; backward is that twice, but for the input
        forward = 2 * 9 * before * after * side * side
        expected += 3 * forward if before != 3 else 2 * forward
        before, side = after, side // 2
    for inputs, outputs in ((32, 64), (64, 32), (32, 11)):
        expected += 3 * 2 * inputs * outputs
    assert homework.flop_per_image(size) == expected


@pytest.mark.slow
def test_the_benchmark_runs() -> None:
    words = [sys.executable, str(PLACE / "homework.py"), "--small", "--rounding"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "times as fast" in done.stdout
    assert "in double precision" in done.stdout
