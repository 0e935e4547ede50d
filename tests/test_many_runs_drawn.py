"""Figures of many runs: a block a problem, one look a configuration, axes as asked, colours for all eyes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import make_run
from matplotlib.colors import TABLEAU_COLORS, to_rgb
from matplotlib.figure import Figure

from optbench import plot
from optbench.errors import UserError
from optbench.plot import basins
from optbench.plot.style import styles
from optbench.records import Run, read_run

Floats = npt.NDArray[np.float64]

MACHADO = {  # Machado, Oliveira & Fernandes (2009), severity 1.0; of linear RGB
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)
APART = 15.0  # of CIE 1976 L*a*b*; a difference of 2.3 is just seen on patches side by side
DARK = 20.0  # L*; black is 0, white 100


def lab(colour: Sequence[float] | str, eyes: str = "none") -> Floats:
    """CIE L*a*b* (D65) of a colour as these eyes see it."""
    rgb = np.array(to_rgb(colour))  # type: ignore[arg-type]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x = TO_XYZ @ np.clip(np.array(MACHADO[eyes]) @ linear, 0.0, 1.0) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(x > 216 / 24389, np.cbrt(x), (24389 / 27 * x + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours: Sequence[str], eyes: str) -> float:
    seen = [lab(colour, eyes) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("eyes", MACHADO)
def test_colours_are_told_apart_by_all_eyes_and_from_paper(eyes: str) -> None:
    assert nearest([*plot.PALETTE, "white"], eyes) > APART


def test_matplotlibs_own_colours_would_not_be() -> None:
    assert min(nearest(list(TABLEAU_COLORS.values())[:7], eyes) for eyes in MACHADO) < APART


def test_no_basin_is_nearly_black() -> None:
    """The slowest shade of each colour that a basin may have; only what diverged is black."""
    colours = basins._colours([f"minimum {i}" for i in range(20)], range(20))
    assert min(lab(colour * basins._DARKEST)[0] for colour in colours) > DARK
    assert [name for name, colour in basins._STATES.items() if lab(colour)[0] < DARK] == ["diverged"]


def runs(folder: Path, problems: int = 2, rates: Sequence[float] = (0.001, 0.01, 0.1), seeds: int = 2) -> list[Run]:
    """Runs on bowls of 2, 3 ... dimensions, quicker the larger the rate."""
    made = []
    for dim, rate, seed in itertools.product(range(2, 2 + problems), rates, range(seeds)):
        curve = [{"step": i, "loss": dim * (1 + seed) * (1 - rate) ** i} for i in range(6)]
        changes = {"seed": seed, "model.dim": dim, "optimizer.lr": rate}
        place = folder / f"{dim}-{rate}-{seed}"
        made.append(read_run(make_run(place, changes, curve, model="bowl", final_loss=curve[-1]["loss"], steps=5)))
    return made


def looks(figure: Figure, label: str) -> set[tuple[str, str]]:
    """Colour and line of all lines in a figure that look as the legend has a label."""
    handles = dict(
        zip([t.get_text() for t in figure.legends[0].get_texts()], figure.legends[0].legend_handles, strict=True)
    )
    return {(str(handles[label].get_color()), str(handles[label].get_linestyle()))}  # type: ignore[union-attr]


@pytest.mark.parametrize("draw", [plot.loss_curves, plot.band_curves])
def test_each_problem_has_axes_of_its_own_and_a_configuration_one_look(draw: object, tmp_path: Path) -> None:
    figure = draw(runs(tmp_path))  # type: ignore[operator]
    assert [ax.get_title() for ax in figure.axes] == ["bowl dim=2", "bowl dim=3"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [" ".join(("adam", f"lr={rate}")) for rate in ("0.001", "0.01", "0.1")]
    for ax, dim in zip(figure.axes, (2, 3), strict=True):
        by_colour = {line.get_color(): line.get_ydata()[-1] / dim for line in ax.lines}
        assert len(by_colour) == 3
        assert [round(by_colour[styles(names)[name]["color"]], 9) < 2.5 for name in names] == [True] * 3
        assert ax.lines[-1].get_ydata()[-1] == min(line.get_ydata()[-1] for line in ax.lines)  # the best is on top
    one, other = ({line.get_color() for line in ax.lines} for ax in figure.axes)
    assert one == other


def test_a_configuration_looks_alike_in_curves_bands_and_paths(tmp_path: Path) -> None:
    rates = (0.1, 0.001, 0.01)
    made = []
    for rate in rates:
        curve = [{"step": i, "loss": (1 - rate) ** i, "x0": (1 - rate) ** i, "x1": 0.0} for i in range(4)]
        made.append(read_run(make_run(tmp_path / str(rate), {"optimizer.lr": rate}, curve)))
    x = np.linspace(-2, 2, 9)
    bowl = plot.Landscape(x, x[None] ** 2 + x[:, None] ** 2, x, (), "bowl")
    figures = [plot.loss_curves(made), plot.band_curves(made), plot.path_on_contours(bowl, made)]
    for rate in rates:
        assert len(set().union(*(looks(figure, f"adam lr={rate:g}") for figure in figures))) == 1
    assert [text.get_text() for text in figures[2].legends[0].get_texts()][:3] == [
        f"adam lr={rate:g}" for rate in sorted(rates)
    ]


def test_too_many_problems_are_counted_and_names_given_by_hand_are_of_one(tmp_path: Path) -> None:
    made = runs(tmp_path, problems=14, rates=(0.1,), seeds=1)
    figure = plot.band_curves(made)
    assert len(figure.axes) == 12
    assert figure.get_supxlabel().startswith("12 of 14 problems are drawn")
    assert len(plot.loss_curves(made, labels=["same"] * 14).axes) == 1


@pytest.mark.parametrize("count", [5, 60])
def test_a_legend_stays_within_its_figure(count: int, tmp_path: Path) -> None:
    figure = plot.band_curves(runs(tmp_path, 1, [0.001 * (i + 1) for i in range(count)], 1))
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.y0 < box.y1 <= figure.bbox.y1 + 1e-6


@pytest.mark.parametrize("count", [8, 24])
def test_a_legend_above_the_axes_of_a_column_leaves_them_room(count: int, tmp_path: Path) -> None:
    figure = plot.band_curves(runs(tmp_path, 1, [0.001 * (i + 1) for i in range(count)], 1))
    plot.resize(figure, 3.4, 2.5)
    figure.draw_without_rendering()
    legend, (ax,) = figure.legends[0].get_window_extent(), figure.axes
    assert 0 <= legend.x0 < legend.x1 <= figure.bbox.x1
    assert legend.y0 >= ax.get_window_extent().y1
    assert ax.get_window_extent().height > (0.4 if count <= 8 else 0.25) * figure.bbox.height


def test_in_a_column_no_word_is_broken_and_no_label_lies_on_another(tmp_path: Path) -> None:
    curve = [{"step": k, "epoch": k / 2, "evals": k, "loss": 2.0 / (k + 1), "val_loss": 2.0 / (k + 1), "lr": 0.1,
              "val_accuracy": k / 9} for k in range(9)]  # fmt: skip
    network = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}
    nets = [read_run(make_run(tmp_path / str(seed), {"seed": seed}, curve, **network)) for seed in range(2)]
    for figure in (plot.band_curves(nets), plot.loss_curves(nets)):
        words = [set(ax.get_ylabel().split()) for ax in figure.axes]
        plot.resize(figure, 3.4, 2.5)
        figure.draw_without_rendering()
        assert [set(ax.get_ylabel().split()) for ax in figure.axes] == words
        for ax in figure.axes:
            shown = [label.get_window_extent() for label in ax.get_yticklabels(which="both") if label.get_text()
                     and ax.bbox.y0 - 1 <= label.get_window_extent().y0 + label.get_window_extent().height / 2
                     <= ax.bbox.y1 + 1]  # fmt: skip
            shown.sort(key=lambda box: box.y0)
            assert all(low.y1 <= high.y0 + 2 for low, high in itertools.pairwise(shown))


def test_a_row_of_problems_is_as_high_as_they_need(tmp_path: Path) -> None:
    curve = [{"step": k, "epoch": k / 2, "loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5} for k in range(3)]
    network = {"model": "mlp", "data": "digits", "loss_name": "cross_entropy"}
    made = [read_run(make_run(tmp_path / "net", {}, curve, **network)), *runs(tmp_path, 6, [0.1], 1)]
    figure = plot.band_curves(made)
    figure.draw_without_rendering()
    boxes = [ax.get_window_extent() for ax in figure.axes]
    assert max(box.height for box in boxes) < 1.5 * min(box.height for box in boxes)
    first = [box.height for box in boxes if box.x0 < 0.2 * figure.bbox.x1]
    assert sum(first) > 0.5 * figure.bbox.height  # no gap where the panels of the network are in another row


def test_axes_are_as_asked_and_say_what_they_lose(tmp_path: Path) -> None:
    figure = plot.loss_curves(runs(tmp_path))
    y, x = plot.parse_axis("--y-axis", "linear,:7", "Verlust"), plot.parse_axis("--x-axis", "log,0.5:", "Schritt")
    assert plot.set_axes(figure, x, y) == ["what is 0 or below has no place on the logarithmic x axis"]
    for ax in figure.axes:
        assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == (
            "log", "linear", "Schritt", "Verlust")  # fmt: skip
        assert (ax.get_xlim()[0], ax.get_ylim()[1]) == (0.5, 7.0)
    bowl = plot.Landscape(np.linspace(-1, 1, 5), np.arange(25.0).reshape(5, 5), np.linspace(-1, 1, 5))
    with pytest.raises(UserError, match="the axes of a surface or a picture are linear"):
        plot.set_axes(plot.critical_points_figure(bowl), plot.parse_axis("--x-axis", "log"), plot.Asked())


@pytest.mark.parametrize(
    "given",
    ["", "logg", ":", "1:1", "2:1", "log,0:1", "log,-1:", "a:b", "nan:1", "inf:", "1:2:3", "1:2,3:4", "log,log"],
)
def test_axes_that_cannot_be_are_refused(given: str) -> None:
    with pytest.raises(UserError, match=r"^--x-axis "):
        plot.parse_axis("--x-axis", given)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.sampled_from(["", "log", "linear"]), st.tuples(NUMBERS, NUMBERS).filter(lambda two: two[0] != two[1]))
def test_what_is_typed_is_what_is_asked(scale: str, ends: tuple[float, float]) -> None:
    low, high = sorted(abs(end) + 1e-300 if scale == "log" else end for end in ends)
    if low < high:
        asked = plot.parse_axis("--y-axis", ",".join(filter(None, (scale, f"{low!r}:{high!r}"))))
        assert asked == plot.Asked(scale, low, high)
