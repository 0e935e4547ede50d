"""Medians of curves: against numpy on the recorded values, and what an ended or lost run counts as."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_run

from optbench import plot
from optbench.errors import UserError
from optbench.records import Run, read_run

NETWORK = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}


def run_of(folder: Path, losses: list[float], seed: int, step: int = 1, **more: Any) -> Run:
    rows = [{"step": step * i, "loss": loss, "seconds": 0.5 * i * (1 + seed)} for i, loss in enumerate(losses)]
    return read_run(make_run(folder, {"seed": seed}, rows, **more))


def test_a_line_is_the_median_and_its_band_the_range_of_few_runs(tmp_path: Path) -> None:
    losses = np.array([[4.0, 3.0, 1.0], [5.0, 1.0, 0.5], [6.0, 2.0, 4.0]])
    runs = [run_of(tmp_path / str(i), list(own), i) for i, own in enumerate(losses)]
    (ax,) = plot.band_curves(runs).axes
    assert ax.lines[0].get_xdata().tolist() == [0, 1, 2]
    assert ax.lines[0].get_ydata().tolist() == np.median(losses, axis=0).tolist()
    corners = ax.collections[0].get_paths()[0].vertices
    for x in range(3):
        at = corners[corners[:, 0] == x, 1]
        assert (at.min(), at.max()) == (losses[:, x].min(), losses[:, x].max())


def test_a_run_that_has_ended_keeps_its_last_and_one_that_diverged_is_the_worst(tmp_path: Path) -> None:
    runs = [
        run_of(tmp_path / "a", [8.0, 4.0, 2.0, 1.0], 0),
        run_of(tmp_path / "b", [8.0, 0.5], 1, status="converged"),
        run_of(tmp_path / "c", [8.0, 100.0], 2, status="diverged"),
    ]
    (ax,) = plot.band_curves(runs).axes
    x, y = ax.lines[0].get_data()
    after = {float(round(at, 6)): value for at, value in zip(x, y, strict=True)}
    assert [after[i] for i in (0, 1, 2, 3)] == [
        8.0,
        4.0,
        2.0,
        1.0,
    ]  # of 8 8 8, of 4 0.5 100, of 2 0.5 inf, of 1 0.5 inf
    lost = [run_of(tmp_path / f"d{i}", [8.0, 100.0], i, status="diverged") for i in range(2)]
    (ax,) = plot.band_curves([runs[0], *lost], ["same"] * 3).axes
    assert math.isnan(ax.lines[0].get_ydata()[-1])  # most are lost: there is no median to be drawn


def test_curves_over_seconds_are_what_each_run_had_by_then(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / str(i), [8.0, 4.0, 2.0], i) for i in range(2)]  # at 0, 0.5, 1 and at 0, 1, 2 seconds
    (ax,) = plot.band_curves(runs, along="seconds").axes
    assert ax.get_xlabel() == "seconds of training"
    assert ax.lines[0].get_xdata().tolist() == [0.0, 0.5, 1.0, 2.0]
    assert ax.lines[0].get_ydata().tolist() == [8.0, 6.0, 3.0, 2.0]  # means of two: of 8 8, of 4 8, of 2 4, of 2 2


def test_networks_have_their_epochs_means_and_accuracies(tmp_path: Path) -> None:
    rows = [{"step": i, "epoch": i / 2, "loss": 4.0 - i, "val_accuracy": i / 8 if i % 2 == 0 else None,
             "val_loss": 1.0 if i % 2 == 0 else None} for i in range(5)]  # fmt: skip
    runs = [read_run(make_run(tmp_path / str(seed), {"seed": seed}, rows, **NETWORK)) for seed in range(6)]
    loss, validation, accuracy = plot.band_curves(runs, along="epoch").axes
    assert loss.lines[0].get_xydata().tolist() == [[0.25, 3.5], [1.25, 1.5], [2.0, 0.0]]
    assert validation.get_ylabel() == "validation loss"
    assert accuracy.lines[0].get_xydata().tolist() == [[0, 0], [1, 25], [2, 50]]
    assert accuracy.get_xlabel() == "epoch"


def test_a_further_note_goes_below_the_first(tmp_path: Path) -> None:
    figure = plot.band_curves([run_of(tmp_path / "a", [2.0, 1.0], 0)])
    plot.footnote(figure, "1 of 9 runs are drawn")
    assert figure.get_supxlabel().splitlines() == ["each line: one run", "1 of 9 runs are drawn"]


def test_what_a_curve_lacks_is_said(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / "a", [2.0, 1.0], 0)]
    with pytest.raises(UserError, match="expected step, evals, epoch, seconds"):
        plot.band_curves(runs, along="hours")
    with pytest.raises(UserError, match="1 of 1 runs have no epoch in their curve"):
        plot.band_curves(runs, along="epoch")
