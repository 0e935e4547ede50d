"""Which language holds, what a phrase is in it, and that no figure of optbench says an English word in Chinese."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from figure_words import english
from made_runs import make_run
from matplotlib.figure import Figure
from PIL import Image

import optbench
from optbench import language, plot
from optbench.comparison import STATISTICS, Line, Response
from optbench.comparison.figures import (
    NOT_EVERYWHERE,
    ONE_SETTING,
    OWN_TARGET,
    WITHOUT_CURVES,
    Distribution,
    Distributions,
    Drop,
    Profile,
    Profiles,
    Ranking,
    Search,
    Searches,
)  # fmt: skip
from optbench.errors import UserError
from optbench.metrics import Estimate
from optbench.metrics.tuned import best_of
from optbench.plot import transfer, translate
from optbench.plot.bifurcation import Branch, Meeting, bifurcation_figure
from optbench.records import Run, read_run


@pytest.fixture(autouse=True)
def _nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_asked", [])


@pytest.mark.parametrize(
    ("asked", "variables", "expected"),
    [
        ("zh", {"OPTBENCH_LANG": "en"}, "zh"),
        (None, {"OPTBENCH_LANG": "zh", "LANG": "en_GB.UTF-8"}, "zh"),
        (None, {"LC_ALL": "zh_CN.UTF-8", "LANG": "C"}, "zh"),
        (None, {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        (None, {"LC_MESSAGES": "zh_TW", "LANG": "de_DE"}, "zh"),
        (None, {"LANG": "de_DE.UTF-8"}, "en"),
        (None, {"OPTBENCH_LANG": "", "LC_ALL": "", "LANG": "zh_CN"}, "zh"),
        (None, {}, "en"),
    ],
)
def test_the_option_beats_the_variable_beats_the_locale(
    asked: str | None, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPTBENCH_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language.choose(asked) == language.language() == expected


def test_a_language_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--lang fr: expected en or zh"):
        language.choose("fr")
    monkeypatch.setenv("OPTBENCH_LANG", "klingon")
    with pytest.raises(UserError, match="OPTBENCH_LANG=klingon"):
        language.language()


def test_phrases_have_gaps_for_numbers_names_and_phrases(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        'loss: 损失\n"{} of {}": "{1} 之 {0}"\n"{text}: {} boxes": "{}：{} 盒"\n"of {name}": "{} 的"\n"{odd} x": y\n',
        encoding="utf-8",
    )
    known = language.Phrases(tmp_path / "p.yaml")
    assert known("loss") == "损失"
    assert known("2 of -1.5e-3") == "-1.5e-3 之 2"
    assert known("loss: 1,234 boxes") == "损失：1,234 盒"
    assert known("of loss") == "loss 的", "a name is not translated"
    assert known("a {loss} of 3") == "a {loss} of 3"
    assert known.find("losses") is None


# every figure ---------------------------------------------------------------------------------------------------------


def network(tmp_path: Path) -> Run:
    rows = [
        {"step": i, "epoch": i / 10, "lr": 0.1 / (i + 1), "loss": 2.0 / (i + 1), "val_loss": 1.0, "val_accuracy": 0.5,
         "full_grad_norm": 1e-9 if i > 5 else 1.0, "lambda_max": 1.0, "lambda_min": -1.0 if i < 15 else 1.0}
        for i in range(20)
    ]  # fmt: skip
    return read_run(make_run(tmp_path / "run", {}, rows))


def away(tmp_path: Path) -> Run:
    rows = [{"step": i, "loss": 1.0 + i, "x0": 3.0 * i, "x1": 0.0} for i in range(5)]
    return read_run(make_run(tmp_path / "away", {}, rows))


def stays(tmp_path: Path) -> Run:
    rows = [{"step": i, "loss": 1.0, "x0": 0.1 * i, "x1": 0.0} for i in range(5)]
    return read_run(make_run(tmp_path / "stays", {}, rows))


def ground() -> plot.Landscape:
    x = np.linspace(-2, 2, 21)
    kinds = ("minimum", "minimum", "saddle", "maximum", "degenerate", "degenerate")
    points = tuple(plot.Mark((0.3 * i, 0.1), kind, (1e-9, 1.0) if kind == "degenerate" else (-1.0, 1.0),
                             ((1.0, 0.0), (0.0, 1.0))) for i, kind in enumerate(kinds))  # fmt: skip
    flat = plot.Mark((-1.0, 0.0), "degenerate", (0.0, 1.0), ((1.0, 0.0), (0.0, 1.0)))
    return plot.Landscape(x, x[None, :] ** 2 + x[:, None] ** 2, x, (*points, flat), "saddle")


def small() -> Figure:
    return plot.confusion(np.array([[3, 1], [0, 4]]), ["0", "1"])


def worst() -> Figure:
    """Of thirty wrong ones, the worst."""
    labels, shares = np.zeros(31, dtype=np.int64), np.tile([0.25, 0.75], (31, 1))
    shares[0] = [0.75, 0.25]
    names = [f"{i:04d}.jpg" for i in range(31)]
    return plot.worst_pictures(
        np.ones((31, 1, 2, 2)), labels, shares.argmax(1), shares, ["Dairy product", "Egg"], names
    )


def inside() -> Figure:
    points, k = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    title = (
        "10 validation images as the output of cnn.7 (checkpoint best)\ntwo principal components, 69 % of the variance"
    )
    return plot.features_figure(points, k, 1 - k, ["鸡蛋", "汤"], title)


def looked_at() -> Figure:
    images, shares = np.ones((2, 1, 3, 3)), np.full((2, 2), 0.5)
    k = np.arange(2)
    return plot.saliency_figure(images, images[:, 0], k, k, shares, ["Dairy product", "Egg"], ["a.jpg", "b.jpg"])


def boxes() -> Figure:
    sides = np.array([[-1.0, -1.0]]), np.array([[0.0, 0.0]])
    return plot.critical_points_figure(ground(), {"excluded": sides, "proved": sides, "undecided": sides})


def basins() -> Figure:
    names = ["minimum (3, 2)", "saddle (0, 0)", "at rest elsewhere", "outside the box", "still moving", "diverged"]
    ending = np.arange(9, dtype=np.int16).reshape(3, 3) % len(names)
    return plot.basins_figure(ground(), names, [plot.Panel("momentum", ending, ending.astype(np.int32))])


def sensitivity() -> Figure:
    x, ones = plot.Scale("optimizer.lr", np.array([0.1, 0.2, 0.3]), True), np.ones(3)
    outcome = plot.Outcome("momentum", ones, ones, ones, ones, 0 * ones, (0, 1))
    return plot.sensitivity_figure("saddle", x, [outcome], 0.0)


def transferred() -> Figure:
    losses = np.ones((2, 3))
    curves = [transfer.Sized(size, losses, (0.2, 0.1, 0.3, 1.0)) for size in (16, 64)]
    panels = [("standard parametrisation", curves), ("muP", curves)]
    note = "lines: median of 2 seeds; bands: least to largest"
    return transfer.transfer_figure("mlp on digits, adam", "width", "final loss", [0.1, 0.2, 0.3], panels, note)


def heat() -> Figure:
    x, ones = plot.Scale("optimizer.lr", np.array([0.1, 0.2, 0.3]), True), np.ones((3, 3))
    outcome = plot.Outcome("momentum", ones, ones, ones, ones, 0 * ones)
    return plot.heat_figure("saddle", x, x, [outcome], 0.0)


def bifurcation() -> Figure:
    kinds = ("minimum", "saddle", "maximum", "undecided")
    branches = [Branch(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), kind) for kind in (*kinds, "minimum")]
    meetings = [Meeting(kind, 0.5, (0.1, 0.2)) for kind in ("fold", "transcritical", "pitchfork", "multiple")]
    square = [(0.0, 1.0)] * 2
    places = [[(0.1, 0.2)] * 3]
    return bifurcation_figure(branches, meetings, places, square, (0.0, 1.0), "a", "critical points of linear_net_l2")


def spectrum() -> Figure:
    grid = np.linspace(-1, 1, 50)
    return plot.spectral_density(grid, np.ones(50), (-1.0, 1.0), 0.01, "mlp/best.pt: loss 0.5, |g| = 1e-07")


def over(many: bool) -> Figure:
    """Scores with every mark there is: a best inside, one at an edge, a place without a result."""
    ends = ([0.5, 0.9, 0.1], [0.9, 0.5, -np.inf])
    lines = tuple(
        Line("saddle", f"{name} lr={i}", (0, 1, 2), {"val_accuracy": [Estimate(v, v, v, 0.95, 6) for v in ends[i % 2]]},
             (6, 6, 6 + i))
        for i, name in enumerate(["momentum"] * (8 if many else 2))
    )  # fmt: skip
    return plot.response_figure(Response("optimizer.lr", (0.1, 0.2, 0.3), ("val_accuracy",), lines))


def ecdf() -> Distributions:
    """Of several problems with targets of every kind, and of several sizes."""
    targets = (("saddle", "targets: minimum 0 + 51 precisions 1e2 to 1e-8"), ("bowl", "targets: loss 0.1, 0.01"),
               ("mlp", "targets: 3 levels of val_accuracy, 0.1 to 0.9, as the median run of adam lr=0.1 reached them"),
               ("cnn", "targets: loss 0.2"), ("tilt", "targets: loss 0.3"))  # fmt: skip
    line = Distribution("momentum", np.array([1.0, 20.0]), np.array([0.5, 0.75]), 30.0)
    drops = (Drop(WITHOUT_CURVES, ("adam",)), Drop(NOT_EVERYWHERE, ("sgd",)))
    return Distributions((line,), "evals", targets, (3, 5), drops, ())


def profile() -> Profiles:
    cut = "; curves are cut at 500 evals"
    times = ("times are to loss <= 1.00e-08, in evals", "no configuration reaches any target in more than half of its "
             "runs", OWN_TARGET)  # fmt: skip
    targets = (("saddle", times[0]), ("bowl", times[1]), ("mlp", times[2]), ("cnn", times[0] + cut))
    line = Profile("momentum", np.array([1.0, 20.0]), np.array([0.5, 0.75]))
    return Profiles((line,), targets, (1, 1), (Drop(NOT_EVERYWHERE, ("sgd",)),), ())


def ranks() -> Ranking:
    metric = (("saddle", "final_loss"), ("mlp", "best_val_accuracy"))
    return Ranking(("adam", "sgd"), np.array([1.2, 1.8]), 1.5, ((0, 1),), 0.03, metric, (3, 5), ())


def tried() -> Searches:
    values = np.array([0.1, 0.2, np.inf])
    line = Search("saddle", "momentum", "final_loss", values, best_of(values))
    return Searches((line,), (3, 3), True, (Drop(ONE_SETTING, ("adam",)),))


NOTES_OF_SLICES = (
    "batch norm's statistics are made anew from the training data at every point",
    "30 % of the training data are used, drawn once",
    "1 of 3 runs: no epochs were kept (trainer.keep_every=1), so the path is of best and last alone",
)


def line() -> Figure:
    alphas, losses = np.linspace(0, 1, 3), {"train": np.array([1.0, 3, 1]), "validation": np.array([2.0, 4, 2])}
    barriers = {"train": (2.0, 0.5), "validation": (2.0, 0.5)}
    ends = ("adam seed=0", "adam seed=1")
    return plot.line_figure(alphas, losses, {"train": alphas}, barriers, ends, NOTES_OF_SLICES)


class Shadow(NamedTuple):
    name: str
    places: np.ndarray
    share: float


def plane(labels: tuple[str, str]) -> Figure:
    x, path = np.linspace(-1, 1, 4), Shadow("adam seed=0", np.zeros((2, 2)), 0.25)
    z = 1 + x[None] ** 2 + x[:, None] ** 2
    return plot.plane_figure(x, x, z, [path], {"adam": (0.0, 0.0)}, labels, "validation", NOTES_OF_SLICES)


FIGURES: dict[str, Callable[[Path], Figure]] = {
    "curves": lambda path: plot.loss_curves([network(path)]),
    "surface curve": lambda path: plot.loss_curves([away(path)]),
    "stuck": lambda path: plot.curvature_curves([network(path)]),
    "path": lambda path: plot.path_on_contours(ground(), [away(path)]),
    "panels": lambda path: plot.path_facets(ground(), [away(path)] * 26, [f"{i}" for i in range(26)]),
    "panels of many": lambda path: plot.path_facets(ground(), [away(path), stays(path / "b")], ["momentum"] * 2),
    "relief": lambda path: plot.path_on_relief(ground(), [away(path)]),
    "points": lambda path: plot.critical_points_figure(ground()),
    "boxes": lambda path: boxes(),
    "basins": lambda path: basins(),
    "sensitivity": lambda path: sensitivity(),
    "transfer": lambda path: transferred(),
    "heat": lambda path: heat(),
    "bifurcation": lambda path: bifurcation(),
    "confusion": lambda path: small(),
    "spectrum": lambda path: spectrum(),
    "worst": lambda path: worst(),
    "inside": lambda path: inside(),
    "looked at": lambda path: looked_at(),
    "bands": lambda path: plot.band_curves([network(path)], along="epoch"),
    "bands of many": lambda path: plot.band_curves([away(path), away(path / "b"), away(path / "c")], ["momentum"] * 3),
    "ecdf": lambda path: plot.ecdf_figure(ecdf()),
    "profile": lambda path: plot.profile_figure(profile()),
    "ranks": lambda path: plot.ranks_figure(ranks()),
    "best of k": lambda path: plot.best_of_figure(tried()),
    "line": lambda path: line(),
    "plane": lambda path: plane(("random direction 1, filter-normalised", "principal direction 2")),
    "plane of three": lambda path: plane(("distance towards adam seed=1", "distance across")),
    "over": lambda path: over(many=False),
    "over, apart": lambda path: over(many=True),
}


def test_every_function_that_draws_is_asked() -> None:
    returns = {name: inspect.signature(getattr(plot, name)).return_annotation for name in plot.__all__
               if inspect.isfunction(getattr(plot, name))}  # fmt: skip
    draw = {name for name, made in returns.items() if made == "Figure"} - {"new_figure"}
    assert draw
    assert [name for name in sorted(draw) if f"plot.{name}(" not in Path(__file__).read_text(encoding="utf-8")] == []


def test_every_score_has_its_phrase() -> None:
    known = language.phrases(translate.PHRASES)
    assert [one.title for one in STATISTICS.values() if known.find(one.title) is None] == []


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_is_half_english(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "chinese_font", lambda: "DejaVu Sans")  # words do not need the glyphs
    figure = FIGURES[name](tmp_path)
    before = [text.get_text() for text in translate.worded(figure)]
    assert before
    with translate.translated(figure, "zh"):
        assert english(figure) == []
    assert [text.get_text() for text in translate.worded(figure)] == before, "the figure is itself again"
    with translate.translated(figure, "en"):
        assert [text.get_text() for text in translate.worded(figure)] == before


def test_a_figure_of_the_python_api_is_in_the_language_that_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook shows it and does not save it; saved, it stays what it is."""
    monkeypatch.setattr(translate, "chinese_font", lambda: "DejaVu Sans")
    run = away(tmp_path)
    for tongue, label in (("zh", "步数"), ("en", "step")):
        monkeypatch.setenv("OPTBENCH_LANG", tongue)
        figure = optbench.loss_curves([run])
        assert figure.axes[0].get_xlabel() == label
        with translate.translated(figure, tongue):
            assert figure.axes[0].get_xlabel() == label


def test_a_name_that_is_also_a_word_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "chinese_font", lambda: "DejaVu Sans")
    for name, chinese in (("saddle", "saddle"), ("saddle under focal", "saddle（损失 focal）"), ("x - y", "x - y")):
        figure = plot.critical_points_figure(replace(ground(), title=name))
        with translate.translated(figure, "zh"):
            (title,) = [ax.get_title() for ax in figure.axes if ax.get_title()]
        assert title == chinese


def test_where_no_font_has_chinese_the_figure_is_english_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    translate.chinese_font.cache_clear()
    monkeypatch.setattr(type(translate.fontManager), "get_font_names", lambda self: ["DejaVu Sans"])
    try:
        with caplog.at_level(logging.WARNING):
            plot.save(small(), tmp_path / "a.png", "zh")
            plot.save(small(), tmp_path / "b.png", "en")
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
        assert [record.getMessage() for record in caplog.records] == [
            "no font with Chinese characters was found (such as fonts-noto-cjk): figures are in English"
        ]
    finally:
        translate.chinese_font.cache_clear()


@pytest.mark.skipif(translate.chinese_font() is None, reason="no font with Chinese characters")
@pytest.mark.parametrize("suffix", [".png", *(pytest.param(name, marks=pytest.mark.slow) for name in (".pdf", ".svg"))])
def test_chinese_is_written_with_characters_and_not_with_boxes(suffix: str, tmp_path: Path) -> None:
    """A missing glyph is a warning of matplotlib, and here an error."""
    written = plot.save(small(), tmp_path / f"a{suffix}", "zh")
    if suffix == ".png":
        plot.save(small(), tmp_path / "b.png", "en")
        assert np.asarray(Image.open(written)).tobytes() != np.asarray(Image.open(tmp_path / "b.png")).tobytes()
