"""Scores over a setting: points, bests and edges against a plain computation, the figure read back from its axes."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import make_run, make_table
from matplotlib.figure import Figure

from optbench import plot
from optbench.comparison import STATISTICS, Line, Response, compare, respond
from optbench.errors import UserError
from optbench.metrics import Estimate

NETWORK = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}
RATES = (1e-3, 1e-2, 1e-1)


def race(folder: Path, accuracies: dict[str, list[list[float | None]]], **more: Any) -> Path:
    """Runs of optimizers at RATES, one accuracy a seed; None is a run that diverged."""
    for name, points in accuracies.items():
        for rate, own in zip(RATES, points, strict=True):
            for seed, value in enumerate(own):
                ended = {"status": "diverged"} if value is None else {}
                changes = {"optimizer.lr": rate, "seed": seed, "loss._target_": more.get("loss_name", "cross_entropy")}
                make_run(folder / f"{name}-{rate}-{seed}", changes, optimizer=name,
                         best_val_accuracy=value, val_accuracy=value, **{**NETWORK, **more, **ended})  # fmt: skip
    return folder


def test_the_points_of_a_line_are_the_medians_of_the_runs(tmp_path: Path) -> None:
    points: dict[str, list[list[float | None]]] = {
        "adam": [[0.1, 0.3, 0.2], [0.9, 0.8, 0.7], [0.5, 0.5, 0.1]],
        "sgd": [[0.1, 0.1, 0.1], [0.2, 0.3, 0.4], [0.6, 0.9, 0.7]],
    }
    found = respond(race(tmp_path, points), "lr")
    assert (found.key, found.values, found.scores) == ("optimizer.lr", RATES, ("best_val_accuracy",))
    lines = {line.label: line for line in found.lines}
    assert set(lines) == set(points)
    for name, line in lines.items():
        expected = [statistics.median(own) for own in points[name]]
        assert [one.value if one else None for one in line.scores["best_val_accuracy"]] == expected
        assert line.runs == (3, 3, 3)
    best = {name: found.best(line, "best_val_accuracy") for name, line in lines.items()}
    assert [(one.at, one.wider) for one in best.values() if one] == [(1, None), (2, 1.0)]
    assert found.edges() == ["sgd lr=0.1 (1 would go on)"]


def test_a_place_that_most_runs_lost_is_never_the_best_and_is_a_cross(tmp_path: Path) -> None:
    found = respond(race(tmp_path, {"adam": [[0.5] * 3, [0.4] * 3, [None, None, 0.9]]}), "optimizer.lr")
    (line,) = found.lines
    assert [one.value if one else None for one in line.scores["best_val_accuracy"]] == [0.5, 0.4, -math.inf]
    best = found.best(line, "best_val_accuracy")
    assert best is not None
    assert (best.at, best.wider) == (0, 1e-4)
    (ax,) = plot.response_figure(found).axes
    (cross,) = [one for one in ax.lines if one.get_gid() == "median run without a result"]
    assert cross.get_xydata().tolist() == [[0.1, 0.0]]
    assert not np.isfinite(ax.lines[0].get_ydata()[2])


@given(st.lists(st.one_of(st.floats(-5, 5), st.just(math.inf), st.none()), min_size=1, max_size=7),
       st.sampled_from(["final_loss", "val_accuracy"]), st.integers(0, 2))  # fmt: skip
def test_the_best_is_the_least_or_the_largest_and_the_edge_is_an_end_of_the_numbers(
    values: list[float | None], score: str, words: int
) -> None:
    sign = STATISTICS[score].direction
    scores = [None if v is None else Estimate(-sign * v if math.isinf(v) else v) for v in values]
    settings = tuple(i + 0.5 for i in range(len(values) - words)) + ("a", "b")[: min(words, len(values))]
    line = Line("p", "l", tuple(range(len(values))), {score: scores}, (1,) * len(values))
    best = Response("optimizer.lr", settings, (score,), (line,)).best(line, score)
    finite = {i: sign * v for i, v in enumerate(values) if v is not None and math.isfinite(v)}
    assert (best is None) == (not finite)
    if best is not None:
        top = [i for i, v in finite.items() if v == max(finite.values())]
        numbers = [i for i, one in enumerate(settings) if not isinstance(one, str)]
        ends = {*numbers[:1], *(numbers[-1:] if len(numbers) == len(values) else ())}
        assert best.at in top
        assert (best.wider is not None) == (len(numbers) > 1 and len(top) == 1 and set(top) <= ends)


def test_beyond_a_word_and_below_one_of_whole_numbers_there_is_nothing(tmp_path: Path) -> None:
    """Batches of 1, 4, 16 and all images: neither the first nor the last is an edge; learning rates of 1 and 4 are."""
    for i, size in enumerate((16, "full", 1, 4)):
        for name, accuracy in (("adam", 0.9 - i / 10 if i < 2 else 0.1), ("sgd", 0.9 if size == 1 else 0.1)):
            make_run(tmp_path / f"{name}{size}", {"trainer.batch_size": size}, optimizer=name, steps=2**i, epochs=4.0,
                     seconds=8.0, best_val_accuracy=accuracy, **NETWORK)  # fmt: skip
    found = respond(tmp_path, "batch_size", ["seconds_per_update", "seconds_per_epoch", "best_val_accuracy"])
    assert found.values == (1, 4, 16, "full")
    assert found.edges() == []
    adam = found.lines[0]
    assert [one.value for one in adam.scores["seconds_per_update"] if one] == [8 / 4, 8 / 8, 8 / 1, 8 / 2]
    assert [one.value for one in adam.scores["seconds_per_epoch"] if one] == [2.0] * 4
    axes = plot.response_figure(found).axes
    assert [ax.get_ylabel() for ax in axes] == ["seconds an update", "seconds an epoch", "best accuracy, %"]
    assert axes[-1].get_xticks().tolist() == [1, 4, 16, 64]
    assert [text.get_text() for text in axes[-1].get_xticklabels()] == ["1", "4", "16", "full"]
    stars = [[one.get_gid() for one in ax.lines if one.get_marker() == "*"] for ax in axes]
    assert stars == [[], [], ["best of a line"] * 2]  # a cost has no best


def test_losses_stand_side_by_side_as_problems_and_are_scaled_alike(tmp_path: Path) -> None:
    for loss in ("cross_entropy", "mse_softmax"):
        race(tmp_path / loss, {"adam": [[0.2], [0.9], [0.1]]}, loss_name=loss)
    found = respond(tmp_path, "lr")
    assert [line.problem for line in found.lines] == ["mlp on digits, cross_entropy", "mlp on digits, mse_softmax"]
    left, right = plot.response_figure(found).axes
    assert left.get_ylim() == right.get_ylim()
    assert [ax.get_title() for ax in (left, right)] == [line.problem for line in found.lines]


def names_of(figure: Figure) -> list[str]:
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def test_many_configurations_have_axes_of_their_own(tmp_path: Path) -> None:
    rows = [{"optimizer": f"o{i}", "optimizer.lr": rate, "seed": 0, "final_loss": i + rate}
            for i in range(9) for rate in RATES]  # fmt: skip
    make_table(tmp_path, rows)
    found = respond(tmp_path, "lr", ["final_loss"])
    figure = plot.response_figure(found)
    shown = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title() for ax in shown] == [f"o{i}" for i in range(9)]
    assert len({ax.get_ylim() for ax in shown}) == 1
    for i, ax in enumerate(shown):
        assert ax.lines[0].get_ydata().tolist() == [i + rate for rate in RATES]
        (dashed,) = [one for one in ax.lines if one.get_linestyle() == "--"]
        assert list(dashed.get_ydata()) == [0.001] * 2  # the best of all
    assert "best, at the edge of what was tried" in names_of(figure)
    with pytest.raises(UserError, match="9 configurations: a figure of more than 7 has one score"):
        plot.response_figure(respond(tmp_path, "lr", ["final_loss", "best_loss"]))


@pytest.mark.parametrize(
    ("key", "scores", "message"),
    [
        ("nothing", [], "no setting 'nothing'"),
        ("optimizer", [], "no setting 'optimizer'"),
        ("momentum_", [], "no setting 'momentum_'"),
        ("lr", ["speed"], "no score 'speed'"),
        ("lr", ["ert"], "none of these runs has the score ert"),
        ("trainer.steps", [], "trainer.steps is 100 in all of these runs"),
        ("trainer.threads", [], "no setting 'trainer.threads'"),
    ],
)
def test_what_is_no_figure_is_refused(key: str, scores: list[str], message: str, tmp_path: Path) -> None:
    for rate in RATES:
        make_run(tmp_path / str(rate), {"optimizer.lr": rate})
    with pytest.raises(UserError, match=message):
        respond(tmp_path, key, scores)


def test_the_groups_are_those_of_compare(tmp_path: Path) -> None:
    race(tmp_path, {"adam": [[0.1, 0.3], [0.9, None], [0.5, 0.5]]})
    found, table = respond(tmp_path, "lr", ["val_accuracy"], filters=["lr!=0.001"]), compare([tmp_path])
    expected = {group.keys["optimizer.lr"]: group.statistics["val_accuracy"] for group in table.groups}
    (line,) = found.lines
    assert dict(zip(found.values, line.scores["val_accuracy"], strict=True)) == {r: expected[r] for r in RATES[1:]}
