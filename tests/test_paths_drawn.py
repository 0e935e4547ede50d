"""Films, panels and reliefs of paths: what they show is what was recorded, read back from artists and pixels."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_tools import invoke
from made_runs import make_run
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3D
from PIL import Image

from optbench import plot
from optbench.errors import UserError
from optbench.plot import film, landscape, relief
from optbench.records import Run, read_run


def run_of(folder: Path, x0: Any, x1: Any, changes: dict[str, Any] | None = None) -> Run:
    curve = [
        {"step": i, "loss": float(a * a + b * b), "x0": float(a), "x1": float(b)}
        for i, (a, b) in enumerate(zip(x0, x1, strict=True))
    ]
    return read_run(make_run(folder, changes, curve))


def bowl(points: tuple[plot.Mark, ...] = (), one: bool = False) -> plot.Landscape:
    x, y = np.linspace(-2, 2, 41), np.linspace(-2, 2, 31)
    if one:
        return plot.Landscape(x, x**2, None, points, "bowl")
    return plot.Landscape(x, x[None, :] ** 2 + y[:, None] ** 2, y, points, "bowl")


def three(folder: Path) -> list[Run]:
    t = np.linspace(0, 1, 31)
    spiral = run_of(folder / "a", 1.8 * np.cos(4 * t) * (1 - t), 1.8 * np.sin(4 * t) * (1 - t))
    straight = run_of(folder / "b", -1.8 + 1.6 * t, -1.5 + t, {"optimizer.lr": 0.5})
    early = run_of(folder / "c", [1.5, 1.2, 1.0], [-1.8, -1.0, -0.9], {"optimizer.lr": 0.7})
    return [spiral, straight, early]


LABELS = ["a spiral", "straight", "to the end"]


def small(runs: list[Run]) -> plot.Race:
    race = plot.Race(bowl(), runs, LABELS)
    plot.resize(race.figure, 5.0, 3.2)
    return race


# films


def test_a_frame_has_every_run_where_it_was_at_the_step_in_the_title(tmp_path: Path) -> None:
    runs = three(tmp_path)
    race = plot.Race(bowl(), runs, LABELS)
    assert race.steps.tolist() == list(range(31))
    recorded = [np.stack([run.columns()["x0"], run.columns()["x1"]], axis=1) for run in runs]
    faint, tail, running, ended, title = race.moving
    for frame in (0, 1, 2, 17, 29, 30):
        race.show(frame)
        assert title.get_text() == f"step {frame} of 30"
        for k, path in enumerate(recorded):
            over = frame >= len(path) - 1
            shown, hidden = (ended, running) if over else (running, ended)
            assert shown.get_offsets()[k].tolist() == path[min(frame, len(path) - 1)].tolist()
            assert np.isnan(np.ma.getdata(hidden.get_offsets())[k]).all()
    race.show(17)
    segments = np.concatenate(tail.get_segments()[:17])
    assert {tuple(point) for point in segments} == {tuple(point) for point in recorded[0][:18]}
    opacities = tail.get_colors()[:17, 3]
    assert (np.diff(opacities) > 0).all(), "the oldest is the palest"
    assert opacities[-1] == 1
    race.show(29)
    assert faint.get_segments()[0].tolist() == recorded[0][: 29 - 18 + 1].tolist()
    race.show(30)
    assert (tail.get_colors()[:, 3] == 1).all(), "the last frame shows the whole paths"
    assert len(tail.get_segments()) == 30 + 30 + 2


@pytest.mark.parametrize("last", [0, 1, 119, 120, 500, 10**6])
def test_a_film_begins_step_by_step_ends_at_the_end_and_is_short(last: int) -> None:
    steps = film.frame_steps(last)
    assert (steps[0], steps[-1]) == (0, last)
    assert len(steps) <= film.FRAMES
    assert (np.diff(steps) >= 1).all()
    assert (np.diff(np.diff(steps)) >= -1).all(), "never faster again by more than rounding"
    if last < film.FRAMES:
        assert len(steps) == last + 1


def seen_by_dichromats(colour: tuple[int, int, int]) -> list[np.ndarray]:
    """A colour as people without one kind of cone see it, in sRGB; Viénot, Brettel and Mollon (1999) for the lacking of
    long and of middle waves: the linear map of their paper, after sRGB's gamma is undone."""
    linear = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(colour) / 255])
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    lacking = {"long": [[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]],
               "middle": [[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]}  # fmt: skip
    seen = [np.clip(np.linalg.inv(to_lms) @ np.array(m) @ to_lms @ linear, 0, 1) for m in lacking.values()]
    return [np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055) * 255 for c in [linear, *seen]]


def test_a_gif_has_a_frame_a_step_the_colours_of_all_figures_and_the_same_bytes(tmp_path: Path) -> None:
    runs = three(tmp_path)
    told: list[tuple[int, int]] = []
    made = [
        plot.save_race(small(runs), tmp_path / f"{name}.gif", "en", lambda *of: told.append(of)).read_bytes()
        for name in "ab"
    ]
    frames = len(small(runs).steps)
    assert told == [(i, frames) for i in range(1, frames + 1)] * 2
    assert made[0] == made[1]
    assert len(made[0]) < 1_000_000
    with Image.open(io.BytesIO(made[0])) as moving:
        assert moving.n_frames == 31  # type: ignore[attr-defined]
        assert moving.info["loop"] == 0
        frames = []
        for k in (0, 10, 30):
            moving.seek(k)
            frames.append(np.asarray(moving.convert("RGB")).astype(int))
    drawn = list(small(runs).images("en"))
    palette = [(int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16)) for c in plot.PALETTE[:3]]
    for k, frame in zip((0, 10, 30), frames, strict=True):
        off = np.abs(frame - drawn[k])
        assert off.mean() < 2, "256 colours are near to those that were drawn"
        own = (drawn[k][..., None, :] == np.array(palette)).all(-1)
        assert own.any(axis=(0, 1)).all(), "each configuration is there"
        for of, colour in enumerate(palette):
            assert (frame[own[..., of]] == colour).all(), "and no other colour stands for its own"
    for kind in range(3):
        shown = [seen_by_dichromats(colour)[kind] for colour in palette]
        apart = [np.linalg.norm(shown[a] - shown[b]) for a in range(3) for b in range(a)]
        assert min(apart) > 40, ("told apart by everybody", kind)


@pytest.mark.filterwarnings("ignore:Glyph")  # of a font that need not have them here
def test_a_film_speaks_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    race = plot.Race(bowl(), three(tmp_path)[2:], LABELS[2:])
    monkeypatch.setattr(plot.translate, "chinese_font", lambda: "DejaVu Sans")
    monkeypatch.setattr(film, "chinese_font", lambda: "DejaVu Sans")
    said = [race.moving[-1].get_text() for _ in race.images("zh")]
    assert said == [f"第 {step} 步（共 2 步）" for step in range(3)]


def test_an_mp4_has_the_frames_and_holds_the_last_or_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = three(tmp_path)
    with monkeypatch.context() as without:
        without.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
        with pytest.raises(UserError, match="imageio-ffmpeg") as told:
            plot.check_film(tmp_path / "race.mp4")
        assert "optbench[video]" in (told.value.hint or "")
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="optbench[video] is not installed")
    made = [plot.save_race(small(runs), tmp_path / f"{n}.mp4", "en").read_bytes() for n in "ab"]
    assert made[0] == made[1]
    assert ffmpeg.count_frames_and_secs(str(tmp_path / "a.mp4"))[0] == 31 + 31  # 2.5 s of the last


# panels


def test_each_configuration_has_its_panel_on_the_same_axes_and_levels(tmp_path: Path) -> None:
    runs = three(tmp_path)
    figure = plot.path_facets(bowl((plot.Mark((0.0, 0.0), "minimum"),)), [*runs, runs[0]], [*LABELS, LABELS[0]])
    *panels, bar = figure.axes
    assert [ax.get_title() for ax in panels] == LABELS
    colours = [ax.title.get_color() for ax in panels]
    assert colours == list(plot.PALETTE[:3])
    levels = []
    for ax, run, colour in zip(panels, runs, colours, strict=True):
        recorded = np.stack([run.columns()["x0"], run.columns()["x1"]], axis=1)
        assert ax.lines[0].get_xydata().tolist() == recorded.tolist()
        assert {line.get_color() for line in ax.lines} == {colour}
        levels.append(next(c.levels.tolist() for c in ax.collections if hasattr(c, "levels")))
        assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-2, 2))
    assert levels[0] == levels[1] == levels[2]
    assert len(panels[0].lines) == 2 * len(panels[1].lines)
    assert bar.get_ylabel() == "f"
    gone = run_of(tmp_path / "gone", [0.0, 1.0, 5.0], [0.0, 0.5, 1.0])
    some, all_ = (plot.path_facets(bowl(), of, ["a"] * len(of)).axes[0] for of in ([gone, runs[0], gone], [gone]))
    assert (some.get_title(), all_.get_title()) == ("a (2 of 3 left the box)", "a (left the box)")
    many = plot.path_facets(bowl(), [runs[2]] * 26, [f"{i}" for i in range(26)])
    assert len(many.axes) == 24 + 1
    assert "24 of 26 configurations are drawn" in many.get_supxlabel()


# reliefs


def lines(figure: Figure) -> list[np.ndarray]:
    """Points of the lines of a relief that are dotted, which are whole."""
    found = [line for line in figure.axes[0].lines if isinstance(line, Line3D) and line.get_linestyle() == ":"]
    return [np.stack(line.get_data_3d(), axis=1) for line in found]


def test_a_path_on_a_relief_goes_through_the_recorded_points_and_keeps_to_the_surface(tmp_path: Path) -> None:
    runs = three(tmp_path)
    figure = plot.path_on_relief(bowl((plot.Mark((0.0, 0.0), "minimum"),)), runs, LABELS)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*LABELS, "start", "end", "minimum"]
    for run, points in zip(runs, lines(figure), strict=True):
        recorded = np.stack([run.columns()[name] for name in ("x0", "x1", "loss")], axis=1)
        assert points[:: relief._PIECES].tolist() == recorded.tolist()
        assert np.abs(points[:, 2] - (points[:, :2] ** 2).sum(axis=1)).max() < 0.02
    colours = {line.get_color() for line in figure.axes[0].lines} - {"white"}
    assert colours == set(plot.PALETTE[:3])
    surface, path = figure.axes[0].collections[0].zorder, min(line.zorder for line in figure.axes[0].lines)
    assert surface < path, "no path is behind the surface"


def test_what_a_ridge_hides_is_hidden_from_there_and_another_view_is_taken() -> None:
    x = np.linspace(-1, 1, 201)
    z = np.where(np.abs(x[None, :]) < 0.05, 5.0, 0.0) + 0.0 * x[:, None]
    wall = plot.Landscape(x, z, x, (), "wall")  # along x1, at x0 = 0
    levels = landscape.levels_of(wall)
    assert levels is not None
    of = relief.Relief(wall, levels)
    # the wall is as high as the picture's box: its shadow is as long as that height over the tangent of the elevation
    shadow = 2 * relief._HIGH / math.tan(math.radians(40.0))
    points = np.array([[-0.05 - d, 0.0, 0.0] for d in (0.05, 0.5 * shadow, 0.9 * shadow)] + [[0.5, 0.0, 0.0]])
    points = points[points[:, 0] >= -1]
    assert of.hidden(points, (40.0, 0.0)).tolist() == [True] * (len(points) - 1) + [False]
    assert of.hidden(points, (40.0, 180.0)).tolist() == [False] * (len(points) - 1) + [True]
    assert not of.hidden(points[:-1], of.view(points[:-1])).any()


def test_heights_are_logarithms_where_contours_are(tmp_path: Path) -> None:
    x = np.linspace(-2, 2, 81)
    steep = plot.Landscape(x, 100 * (x[:, None] - x[None, :] ** 2) ** 2 + (1 - x[None, :]) ** 2, x, (), "rosenbrock")
    levels = landscape.levels_of(steep)
    assert levels is not None
    assert levels.logarithmic
    assert relief.Relief(steep, levels).scaled(np.array([steep.z.min() + 10.0, steep.z.max()])) == pytest.approx(
        [1.0, math.log10(steep.z.max() - steep.z.min())]
    )
    assert plot.path_on_relief(steep, three(tmp_path)).axes[0].get_zlabel() == "f - min f, in the box"


def test_what_has_no_such_picture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, flat = three(tmp_path), plot.Landscape(np.arange(3.0), np.zeros((3, 3)), np.arange(3.0), (), "flat")
    for refused, words in (
        (lambda: plot.path_on_relief(bowl(one=True), runs), "two"),
        (lambda: plot.path_on_relief(flat, runs), "no relief"),
        (lambda: plot.save_race(plot.Race(bowl(), runs), tmp_path / "x.png"), "film"),
        (lambda: plot.Race(bowl(), []), "recorded a path"),
    ):
        with pytest.raises(UserError, match=words):
            refused()
    for wrong, words in (
        (("-o", "x.gif"), "of --path alone"),
        (("--path", "--3d", "-o", "x.gif"), "of --path alone"),
        (("--path", "--3d", "--facets"), "choose one view"),
        (("--facets",), "--facets says something of --path alone"),
    ):
        ended, _, err = invoke(capsys, "plot", str(tmp_path), *wrong)
        assert (ended, words in err) == (2, True), err
