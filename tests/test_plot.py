"""Figures say what the records say: read back from the axes, not looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_run, make_table
from matplotlib.figure import Figure
from PIL import Image
from pyarrow import parquet

from optbench import plot
from optbench.comparison import Drawn, label_runs
from optbench.comparison import drawn as shown
from optbench.errors import OutputError, UserError
from optbench.records import Run, read_run
from optbench.records import curves as records_curves
from optbench.records.arrow import Table

NETWORK = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}
SIGNATURES = {".png": b"\x89PNG\r\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


def run_of(folder: Path, columns: dict[str, Any], changes: dict[str, Any] | None = None, **summary: Any) -> Run:
    n = len(next(iter(columns.values())))
    curve = [{"step": i, **{name: values[i] for name, values in columns.items()}} for i in range(n)]
    return read_run(make_run(folder, changes, curve, **summary))


def bowl(points: tuple[plot.Mark, ...] = (), scale: float = 1.0) -> plot.Landscape:
    x, y = np.linspace(-2, 2, 41), np.linspace(-1, 3, 31)
    return plot.Landscape(x, scale * (x[None, :] ** 2 + y[:, None] ** 2), y, points, "bowl")


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def drawn(figure: Figure) -> None:
    figure.canvas.draw()


# loss curves


def test_a_loss_over_orders_of_magnitude_is_on_a_log_scale_and_a_negative_one_is_not(tmp_path: Path) -> None:
    falling = run_of(tmp_path / "a", {"loss": [100.0, 1.0, 0.01]})
    (ax,) = plot.loss_curves([falling]).axes
    assert ax.get_yscale() == "log"
    assert ax.lines[0].get_ydata().tolist() == [100.0, 1.0, 0.01]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "loss")
    for i, losses in enumerate(([1.0, -3.0, -78.0], [1.0, 0.9, 0.8], [0.0, 0.0, 0.0])):
        (ax,) = plot.loss_curves([run_of(tmp_path / f"{i}", {"loss": losses})]).axes
        assert ax.get_yscale() == "linear"


@pytest.mark.parametrize("base", [2.0, -78.3, 1e-9, -1e6])
def test_a_loss_that_moves_in_its_last_digits_is_a_flat_line(base: float, tmp_path: Path) -> None:
    (ax,) = plot.loss_curves([run_of(tmp_path, {"loss": [base, base - 1e-14 * abs(base)]})]).axes
    low, high = ax.get_ylim()
    assert low < base < high
    assert high - low == pytest.approx(1e-4 * abs(base))


@pytest.mark.parametrize(
    ("losses", "scale"), [([4.0, 1e30, 1e300, np.inf], "log"), ([-4.0, -1e30, -1e300, np.nan], "linear")]
)
def test_a_diverged_run_does_not_ruin_the_axes(tmp_path: Path, losses: list[float], scale: str) -> None:
    good = run_of(tmp_path / "a", {"loss": [2.0, 1.0, 0.5, 0.1] if scale == "log" else [2.0, -1.0, -5.0, -9.0]})
    bad = run_of(tmp_path / "b", {"loss": losses}, {"optimizer.lr": 9.0}, status="diverged")
    figure = plot.loss_curves([good, bad])
    drawn(figure)
    low, high = figure.axes[0].get_ylim()
    assert figure.axes[0].get_yscale() == scale
    assert -1000 < low < 0.1
    assert 1 < high < 1000
    assert legend(figure) == ["adam lr=0.01", "adam lr=9"]


def test_networks_have_accuracy_and_schedules_a_learning_rate(tmp_path: Path) -> None:
    columns = {"epoch": [0, 1, 2], "loss": [2.0, 1.0, 0.5], "lr": [0.1, 0.1, 0.1], "val_accuracy": [None, 0.5, 0.75],
               "train_accuracy": [None, 0.25, 0.5]}  # fmt: skip
    first = run_of(tmp_path / "a", columns, **NETWORK)
    loss, accuracy = plot.loss_curves([first]).axes
    assert loss.get_ylabel() == "loss"
    validation, training = accuracy.lines
    assert validation.get_xdata().tolist() == [1, 2]
    assert validation.get_ydata().tolist() == [50.0, 75.0]
    assert training.get_xdata().tolist() == [0.5, 1.5]  # of the first epoch and of the second
    assert training.get_ydata().tolist() == [25.0, 50.0]
    second = run_of(tmp_path / "b", {**columns, "lr": [0.1, 0.05, 0.0]}, {"seed": 1}, **NETWORK)
    axes = plot.loss_curves([first, second]).axes
    assert [ax.get_ylabel() for ax in axes] == ["loss", "accuracy, %", "learning rate"]
    assert axes[2].lines[1].get_ydata().tolist() == [0.1, 0.05, 0.0]


def learnt(tmp_path: Path) -> Run:
    """Three epochs of four batches; the second is the best on the validation data."""
    losses = [8.0, 6.0, 4.0, 2.0, 3.0, 1.0, 3.0, 1.0, 1.0, 1.0, 0.5, 0.5, None]
    evaluated = {0: (3.0, 0.1), 4: (2.0, 0.4), 8: (1.5, 0.7), 12: (2.5, 0.6)}
    columns = {"step": list(range(13)), "epoch": [i / 4 for i in range(13)], "loss": losses, "lr": [0.1] * 13,
               "val_loss": [evaluated.get(i, (None, None))[0] for i in range(13)],
               "val_accuracy": [evaluated.get(i, (None, None))[1] for i in range(13)]}  # fmt: skip
    return run_of(tmp_path, columns, **NETWORK)


def test_the_training_line_of_a_network_is_the_mean_over_an_epoch(tmp_path: Path) -> None:
    run = learnt(tmp_path / "a")
    for recorded in (8, None):
        figure = plot.loss_curves([Run({**run.summary, "best_val_step": recorded}, run.path)])
        loss, accuracy = figure.axes
        pale, line, validation, best = loss.lines
        assert pale.get_alpha() < 0.5
        assert line.get_xdata().tolist() == [1.5, 5.5, 9.5]  # the middle of the steps of each
        assert line.get_ydata().tolist() == [5.0, 2.0, 0.75]
        assert validation.get_xdata().tolist() == [0, 4, 8, 12]
        assert (best.get_xdata().tolist(), best.get_ydata().tolist()) == ([8], [1.5])
        assert accuracy.lines[1].get_ydata().tolist() == [70.0]
        assert legend(figure)[:-1] == [
            "training: mean over an epoch", "training: each batch", "validation", "best epoch on validation"
        ]  # fmt: skip
    two = plot.loss_curves([run, run])
    assert "training: each batch" not in legend(two)
    assert len(two.axes[0].lines) == 6


def test_within_the_first_epoch_the_line_is_that_of_the_batches(tmp_path: Path) -> None:
    figure = plot.loss_curves([run_of(tmp_path, {"epoch": [0.0, 0.25, 0.5], "loss": [3.0, 2.0, 1.0]}, **NETWORK)])
    (line,) = figure.axes[0].lines
    assert line.get_ydata().tolist() == [3.0, 2.0, 1.0]
    assert legend(figure)[0] == "training: each batch"


def test_runs_with_one_label_share_a_colour_and_different_ones_do_not(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / f"{i}", {"loss": [3.0, 1.0]}, {"seed": i}) for i in range(3)]
    figure = plot.loss_curves(runs, labels=["a", "a", "b"])
    colours = [line.get_color() for line in figure.axes[0].lines]
    assert colours[0] == colours[1] != colours[2]
    assert legend(figure) == ["a", "b"]
    many = plot.loss_curves(runs * 10, labels=[f"configuration {i}" for i in range(30)])
    assert len({(line.get_color(), line.get_linestyle()) for line in many.axes[0].lines}) == 28
    assert many.legends[0].get_title().get_text() == "first 24 of 30"


def test_a_run_without_a_curve_is_an_empty_place(tmp_path: Path) -> None:
    drawn(plot.loss_curves([run_of(tmp_path / "a", {"lr": [0.1]}), read_run(make_run(tmp_path / "b", curve=[]))]))


# paths


def test_a_path_is_drawn_where_it_went(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"loss": [5.0, 2.0, 0.0], "x0": [-1.0, 1.0, 0.0], "x1": [2.0, 1.0, 0.0]})
    figure = plot.path_on_contours(bowl((plot.Mark((0.0, 0.0), "minimum"),)), [run])
    ax = figure.axes[0]
    assert ax.lines[0].get_xydata().tolist() == [[-1, 2], [1, 1], [0, 0]]
    assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-1, 3))
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("x0", "x1", "bowl")
    assert legend(figure) == ["adam", "start", "end", "minimum"]
    drawn(figure)


def test_paths_that_coincide_are_all_seen_in_the_picture(tmp_path: Path) -> None:
    there = {"x0": np.linspace(-1.5, 1.5, 30), "x1": np.linspace(-0.5, 2.5, 30)}
    same = [run_of(tmp_path / f"{i}", there, {"optimizer.lr": lr}) for i, lr in enumerate((0.1, 0.2, 0.3, 0.4))]
    apart = run_of(tmp_path / "apart", {"x0": there["x0"], "x1": 2.0 - there["x1"]}, {"optimizer.lr": 0.5})
    figure = plot.path_on_contours(bowl(), [*same, apart], labels := ["a", "b", "c", "d", "e"])
    figure.legends[0].remove()  # only what is on the axes counts
    pixels = np.asarray(Image.open(plot.save(figure, tmp_path / "paths.png")).convert("RGB")).astype(int)
    for colour, label in zip(plot.style.PALETTE, labels, strict=False):
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels - rgb).max(axis=-1) <= 8).sum() > 200, label
    lines = [line.get_linewidth() for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert min(lines) == lines[-1]  # the one that lies on no other stays as thin as ever


@pytest.mark.parametrize(("count", "striped"), [(2, True), (7, True), (8, False), (30, False)])
def test_what_hides_what_is_said_however_many_paths_there_are(tmp_path: Path, count: int, striped: bool) -> None:
    there = {"x0": np.linspace(-1.5, 1.5, 5), "x1": np.linspace(-0.5, 2.5, 5)}
    runs = [run_of(tmp_path / f"{i}", there, {"optimizer.lr": 0.1 + i}) for i in range(count)]
    apart = [run_of(tmp_path / "apart", {"x0": there["x0"], "x1": 2.0 - there["x1"]}, {"optimizer.lr": 90.0})]
    figure = plot.path_on_contours(bowl(), runs + apart, [f"{i}" for i in range(count + 1)])
    words = " ".join(text.get_text() for text in figure.texts)
    assert ("are drawn as stripes" in words, "the later of the legend hide" in words) == (striped, not striped)


def test_a_path_that_leaves_is_cut_and_named_and_one_that_returns_is_whole(tmp_path: Path) -> None:
    far = {"x0": [0.0, 1.0, 1e300, -1e308, np.inf], "x1": [0.0, 0.0, 2e300, 1.0, np.nan]}
    gone = run_of(tmp_path / "a", far, {"optimizer.lr": 9.0}, status="diverged")
    back = run_of(tmp_path / "b", {"x0": [0.0, 5.0, 1.0], "x1": [0.0, 0.0, 1.0]})
    outside = run_of(tmp_path / "c", {"x0": [9.0, 9.0], "x1": [9.0, 9.0]}, {"seed": 3, "optimizer.lr": 1.0})
    figure = plot.path_on_contours(bowl(), [gone, back, outside])
    drawn(figure)
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert len(lines[-1].get_xydata()) == 3
    assert np.abs(lines[-1].get_xydata()).max() < 1e4
    assert lines[0].get_xydata().tolist() == [[0, 0], [5, 0], [1, 1]]
    assert figure.axes[0].get_xlim() == (-2, 2)
    assert legend(figure)[:3] == ["adam lr=0.01", "adam lr=1 (left the box)", "adam lr=9 (left the box)"]


def test_runs_without_coordinates_are_not_drawn(tmp_path: Path) -> None:
    figure = plot.path_on_contours(bowl(), [run_of(tmp_path, {"loss": [1.0, 0.5]})])
    assert legend(figure) == []
    assert not figure.axes[0].lines


def test_one_coordinate_is_a_graph(tmp_path: Path) -> None:
    x = np.linspace(-2, 2, 81)
    points = (plot.Mark((-1.0,), "minimum"), plot.Mark((1.0,), "minimum"), plot.Mark((0.0,), "maximum"))
    landscape = plot.Landscape(x, (x**2 - 1) ** 2, points=points)
    run = run_of(tmp_path, {"loss": [9.0, 0.5625, 1e200], "x0": [2.0, 0.5, 1e80]})
    figure = plot.path_on_contours(landscape, [run])
    drawn(figure)
    graph, path = figure.axes[0].lines[:2]
    assert graph.get_ydata().tolist() == landscape.z.tolist()
    assert path.get_xydata()[:2].tolist() == [[2.0, 9.0], [0.5, 0.5625]]
    assert legend(figure) == ["adam (left the box)", "start", "end", "2 minima", "maximum"]
    assert figure.axes[0].get_ylim()[1] < 11
    drawn(plot.critical_points_figure(landscape))


@pytest.mark.parametrize(
    ("z", "label"),
    [
        (lambda x, y: 100 * (y - x * x) ** 2 + (1 - x) ** 2, "f - min f, in the box"),
        (lambda x, y: x * x - y * y, "f"),
        (lambda x, y: np.log1p(np.exp(6 * (y - x))), "f"),  # cross-entropy, a slope above the tails of a softmax
        (lambda x, y: np.where(x < 0, np.nan, x + y), "f"),
        (lambda x, y: 0 * x + 0 * y + 3, None),
        (lambda x, y: 0 * x + 0 * y + np.nan, None),
    ],
    ids=["decades", "linear", "tails", "holes", "flat", "nowhere"],
)
def test_levels_follow_the_surface(z: Any, label: str | None) -> None:
    x = np.linspace(-2, 2, 51)
    figure = plot.critical_points_figure(plot.Landscape(x, z(x[None, :], x[:, None]), x))
    drawn(figure)
    assert [ax.get_ylabel() for ax in figure.axes[1:]] == ([label] if label else [])


def test_a_grid_that_does_not_fit_its_values_is_refused() -> None:
    with pytest.raises(ValueError, match="z has shape"):
        plot.Landscape(np.arange(3.0), np.zeros((3, 2)), np.arange(2.0))


# critical points


def test_critical_points_are_counted_numbered_and_have_their_directions() -> None:
    up_down = ((1.0, 0.0), (0.0, 1.0))
    points = (
        plot.Mark((0.0, 0.0), "saddle", (2.0, -2.0), up_down),
        plot.Mark((1.0, 1.0), "saddle", (3.0, -1.0), up_down),
        plot.Mark((-1.0, 1.0), "degenerate", (4.0, 1e-12), up_down),
        plot.Mark((1.0, 2.0), "minimum"),
        plot.Mark((50.0, 50.0), "maximum", (-1.0, -1.0), up_down),
    )
    figure = plot.critical_points_figure(bowl(points))
    drawn(figure)
    assert legend(figure) == [
        "minimum", "2 saddles", "degenerate",
        "curves up (eigenvalue > 0)", "curves down (eigenvalue < 0)", "flat (eigenvalue 0)",
    ]  # fmt: skip
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2", "3", "4"]
    along, across = figure.axes[0].lines[:2]
    assert np.ptp(along.get_ydata()) == np.ptp(across.get_xdata()) == 0
    assert along.get_color() != across.get_color()


def test_many_critical_points_stay_readable() -> None:
    places = [(x, y) for x in np.linspace(-1.9, 1.9, 21) for y in np.linspace(-0.9, 2.9, 21)]
    figure = plot.critical_points_figure(
        bowl(tuple(plot.Mark((x, y), "minimum", (1.0,), ((1.0, 0.0),)) for x, y in places))
    )
    assert legend(figure) == ["441 minima"]
    assert not figure.axes[0].texts
    assert not figure.axes[0].lines


# confusion


def test_confusion_shows_counts_and_shares_of_the_true_class() -> None:
    figure = plot.confusion([[8, 2, 0], [0, 5, 5], [0, 0, 0]], ["bread", "egg", "soup"])
    ax = figure.axes[0]
    assert np.asarray(ax.images[0].get_array()).tolist() == [[80, 20, 0], [0, 50, 50], [0, 0, 0]]
    assert [text.get_text() for text in ax.texts] == ["8", "2", "5", "5"]
    assert ax.get_title() == "20 images, 65.0 % right"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    drawn(figure)
    assert not plot.confusion(np.eye(40), [str(i) for i in range(40)]).axes[0].texts
    with pytest.raises(ValueError, match="2 class names"):
        plot.confusion(np.eye(3), ["a", "b"])


# files


@pytest.mark.parametrize("suffix", plot.SUFFIXES)
def test_the_same_data_gives_the_same_file(tmp_path: Path, suffix: str) -> None:
    run = run_of(tmp_path / "run", {"loss": [5.0, 2.0, 0.1], "x0": [-1.0, 1.0, 0.0], "x1": [2.0, 1.0, 0.0]})
    written = [
        plot.save(plot.path_on_contours(bowl(), [run]), tmp_path / "new" / f"{name}{suffix}").read_bytes()
        for name in "ab"
    ]
    assert written[0] == written[1]
    assert written[0].startswith(SIGNATURES[suffix])


def test_files_that_cannot_be_are_refused(tmp_path: Path) -> None:
    figure = plot.confusion([[1]], ["a"])
    for name in ("figure.gif", "figure"):
        with pytest.raises(UserError, match=r"\.png, \.svg, \.pdf"):
            plot.save(figure, tmp_path / name)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        plot.save(figure, tmp_path / "file" / "figure.png")
    assert plot.save(figure, str(tmp_path / "UPPER.PNG")).exists()


def test_plotting_needs_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys; from optbench import plot; plot.confusion([[1]], ['a']).canvas.draw();"
        "print(sorted({'torch', 'hydra', 'omegaconf', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# which runs are drawn


def labelled(found: Drawn) -> list[str]:
    return sorted(found.labels)


def test_runs_without_a_curve_are_counted_and_not_drawn(tmp_path: Path) -> None:
    kept = [{"seed": i, "optimizer.lr": 0.1} for i in range(3)]
    made = make_table(tmp_path / "t", kept)
    make_table(tmp_path / "all", [*kept, *({"seed": i, "optimizer.lr": lr} for i in range(3, 50) for lr in (0.1, 0.2))])
    shutil.copy(tmp_path / "t" / "curves.parquet", tmp_path / "all" / "curves.parquet")
    shutil.rmtree(tmp_path / "t")
    (make_run(tmp_path / "f", {"seed": 60}) / "metrics.csv").unlink()
    assert (shown([tmp_path], [], 500).found, shown([tmp_path], [], 500).with_curve) == (98, 3)
    found = shown([tmp_path / "all"], [], 500)
    assert [run.run_id for run in found.runs] == [row["run_id"] for row in made]
    assert found.labels == ["adam lr=0.1"] * 3  # there are others, if not in the figure
    for filters, runs in ((["optimizer.lr=0.2"], "these 47 runs"), (["seed=60"], "this run")):
        with pytest.raises(UserError, match=f"no curve was recorded of {runs}"):
            shown([tmp_path], filters, 500)


def test_the_star_of_a_minimum_is_above_the_end_of_a_path(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"loss": [2.0, 0.0], "x0": [1.0, 0.0], "x1": [1.0, 0.0]})
    (ax, *_) = plot.path_on_contours(bowl((plot.Mark((0.0, 0.0), "minimum"),)), [run]).axes
    star, *ends = sorted((one for one in ax.collections if len(one.get_offsets()) == 1 and one.get_zorder() > 4),
                         key=lambda one: -one.get_zorder())  # fmt: skip
    assert len(ends) == 2
    assert star.get_zorder() > max(end.get_zorder() for end in ends)
    assert star.get_facecolor().tolist() == [[1.0, 1.0, 1.0, 1.0]]  # type: ignore[union-attr]


def test_of_many_curves_each_configuration_has_its_share_and_no_more_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = [0.1] * 20 + [0.2] * 3 + [0.3] * 20
    rows = make_table(tmp_path, [{"seed": i, "optimizer.lr": rate} for i, rate in enumerate(rates)])
    found = shown([tmp_path], [], 11)
    assert labelled(found) == ["adam lr=0.1"] * 4 + ["adam lr=0.2"] * 3 + ["adam lr=0.3"] * 4
    assert [run.run_id for run in found.runs] == [rows[i]["run_id"] for i in (*range(4), *range(20, 27))]
    read: list[Any] = []
    original = records_curves.columns_in
    monkeypatch.setattr(
        records_curves, "columns_in", lambda path, ids, *names: read.append(ids) or original(path, ids, *names)
    )
    figure = plot.loss_curves(found.runs, found.labels)
    assert read == [[run.run_id for run in found.runs]]
    assert len(figure.axes[0].lines) == 11
    assert legend(figure) == ["adam lr=0.1", "adam lr=0.2", "adam lr=0.3"]


def test_measured_runs_are_preferred_where_there_are_some(tmp_path: Path) -> None:
    for i in range(4):
        make_run(tmp_path / str(i), {"seed": i, "trainer.curvature_every": 5 if i == 2 else None})
    assert [run.summary["seed"] for run in shown([tmp_path], [], 500, "trainer.curvature_every").runs] == [2]
    assert len(shown([tmp_path], [], 500, "trainer.nothing").runs) == 4


def test_configurations_are_named_within_their_problem(tmp_path: Path) -> None:
    make_run(tmp_path / "a", {"optimizer.lr": 0.1})
    make_run(tmp_path / "b", {"optimizer.lr": 0.1, "seed": 1, "trainer.epochs": 3}, **NETWORK)
    make_run(tmp_path / "c", {"optimizer.lr": 0.2})
    names = ["rosenbrock: adam lr=0.1", "mlp on digits, cross_entropy: adam", "rosenbrock: adam lr=0.2"]
    assert shown([tmp_path], [], 9).labels == label_runs([read_run(tmp_path / name) for name in "abc"]) == names


def test_picked_rows_are_those_of_the_whole_table(tmp_path: Path) -> None:
    place = tmp_path / "runs.parquet"
    make_table(tmp_path, [{"seed": i, "optimizer.lr": i / 7, "final_loss": i if i % 5 else None} for i in range(100)])
    parquet.write_table(parquet.read_table(place), place, row_group_size=7)
    whole = Table(place)
    everything = whole.runs(np.arange(100))
    assert [run.summary["seed"] for run in everything] == list(range(100))
    for indices in ([], [99], [50, 3, 3, 97]):
        table = Table(place)
        first, again = table.runs(np.array(indices, dtype=int)), table.runs(np.array(indices, dtype=int))
        assert first == again == whole.runs(np.array(indices, dtype=int)) == [everything[i] for i in indices]


def test_a_long_name_goes_on_in_the_next_line_and_the_axes_keep_their_place(tmp_path: Path) -> None:
    names = [f"adam {' '.join(f'some_setting_{j}={i}' for j in range(9))}" for i in range(20)]
    runs = [run_of(tmp_path / str(i), {"loss": [3.0, 2.0]}, {"seed": i}) for i in range(20)]
    figure = plot.loss_curves(runs, names)
    drawn(figure)  # a warning is an error here: without room there is one
    assert figure.axes[0].get_position().width > 0.4
    shown_names = [text.replace("\n", " ") for text in legend(figure)]
    assert 1 < len(shown_names) < 20
    assert shown_names == names[: len(shown_names)]
    assert figure.legends[0].get_title().get_text() == f"first {len(shown_names)} of 20"


def test_a_home_that_cannot_be_written_is_nobodys_business(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    taken = ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
    env = {k: v for k, v in os.environ.items() if k not in taken} | {"HOME": str(tmp_path / "file")}
    code = "import optbench.plot, logging, matplotlib as mpl; print(logging.getLogger('matplotlib').level)"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
