"""Figures over runs, targets and problems: what is drawn equals direct counting, and each figure stands by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from command_tools import invoke
from made_runs import make_run
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from optbench.comparison import compare
from optbench.comparison.figures import distributions
from optbench.comparison.targets import aim
from optbench.errors import UserError
from optbench.plot import PALETTE, ecdf_figure, entitle, resize, save
from optbench.plot.style import natural, notes_of, parse_size

Curves = dict[str, dict[str, Sequence[Sequence[float]]]]
CURVES: Curves = {  # losses by step of each seed, on two problems
    "bowl": {
        "a": [[9, 0.5, 0.05], [9, 2, 0.5, 0.05], [9, 2, 2, 2]],
        "b": [[9, 8, 7, 0.9], [9, 8, 7, 6, 0.5]],
        "c": [[9, 9], [9, 9], [9, 9]],
    },
    "valley": {
        "a": [[4, 3, 2, 1, 0.1]],
        "b": [[4, 0.05], [4, 3, 0.9], [4, 4, 4]],
        "c": [[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]],
    },
}
LEVELS = (1.0, 0.1)


def runs(folder: Path, curves: Curves = CURVES) -> Path:
    """Runs whose curves have these losses, a row a step, two evaluations each."""
    for dim, (problem, own) in enumerate(curves.items(), 2):
        for name, of_seeds in own.items():
            for seed, losses in enumerate(of_seeds):
                lines = [{"step": i, "evals": 2 * i, "loss": loss} for i, loss in enumerate(losses)]
                changes = {"seed": seed, "optimizer._target_": f"torch.optim.{name}", "model.dim": dim}
                make_run(folder / f"{problem}-{name}-{seed}", changes, lines, optimizer=name, model=problem,
                         final_loss=losses[-1], steps=len(losses) - 1)  # fmt: skip
    return folder


def share(name: str, cost: float) -> float:
    """Of a configuration, by counting: mean over problems of the share of pairs that were reached by a cost."""
    shares = []
    for own in CURVES.values():
        pairs = [
            any(loss <= level and 2 * step <= cost for step, loss in enumerate(losses))
            for losses in own[name]
            for level in LEVELS
        ]
        shares.append(sum(pairs) / len(pairs))
    return sum(shares) / len(shares)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return runs(tmp_path / "runs")


def overlaps(figure: Figure) -> bool:
    """Whether two of the parts of a figure that are no marks in the axes lie on one another."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    parts = [ax.get_tightbbox(renderer) for ax in figure.axes]
    parts += [legend.get_window_extent(renderer) for legend in figure.legends]
    parts += [text.get_window_extent(renderer) for text in figure.texts if text.get_text()]
    return any(one.overlaps(other) for i, one in enumerate(parts) for other in parts[:i])


def test_the_lines_of_an_ecdf_are_what_counting_gives(made: Path) -> None:
    data = distributions(compare([made]), aim("evals", "1,0.1", None))
    assert {line.label: line.end for line in data.lines} == {"a": 8, "b": 8, "c": 26}
    assert data.runs == (1, 3)
    (ax,) = ecdf_figure(data).axes
    lines = {line.get_color(): line for line in ax.lines if line.get_drawstyle() == "steps-post"}
    for colour, name in zip(PALETTE, "abc", strict=False):
        x, y = (np.asarray(part, dtype=float) for part in lines[colour].get_data())
        assert x[-1] == {"a": 8, "b": 8, "c": 26}[name]
        for cost in np.unique(x[x > x[0]]):
            assert y[x <= cost][-1] == pytest.approx(100 * share(name, cost))
    assert list(lines) == [PALETTE[2], PALETTE[1], PALETTE[0]]  # a ends highest: drawn last


def test_a_configuration_that_is_not_everywhere_is_named_and_keeps_its_colour_free(made: Path) -> None:
    for path in made.glob("valley-a-*"):
        (path / "metrics.csv").unlink()
    data = distributions(compare([made]), aim("evals", "1,0.1", None))
    assert [line.label for line in data.lines] == ["b", "c"]
    figure = ecdf_figure(data)
    assert "left out, without a recorded curve: a" in notes_of(figure.get_supxlabel())
    assert {line.get_color() for line in figure.axes[0].lines} == set(PALETTE[1:3])


def test_a_figure_of_no_configuration_with_curves_is_refused(made: Path) -> None:
    for path in made.glob("valley-*"):
        (path / "metrics.csv").unlink()
    with pytest.raises(UserError, match="no configuration has a curve"):
        distributions(compare([made]), aim("evals", "1,0.1", None))


@pytest.mark.parametrize("size", [None, "3.4x2.5in", "8.5 x 7 cm"])
def test_an_ecdf_says_what_it_shows_and_nothing_hides_anything(made: Path, tmp_path: Path, size: str | None) -> None:
    figure = ecdf_figure(distributions(compare([made]), aim("evals", "1,0.1", None)))
    if size:
        resize(figure, *parse_size(size))
    entitle(figure, "Runtimes of three")
    assert not overlaps(figure)
    first, second = (save(figure, tmp_path / f"{name}.svg", "en").read_bytes() for name in "ab")
    assert first == second
    for word in ("evaluations", "pairs of run and target reached, %", "the longest run ended", "Runtimes of three"):
        assert f"<!-- {word} -->".encode() in first
    notes = notes_of(figure.get_supxlabel())
    assert notes[0].startswith("1 to 3 runs of a configuration on a problem; a target that was missed is never")
    assert notes[1] == "bowl, valley: targets: loss 1, 0.1"


def test_letters_of_a_pdf_are_true_type(made: Path, tmp_path: Path) -> None:
    figure = ecdf_figure(distributions(compare([made]), aim("evals", "1,0.1", None)))
    written = save(figure, tmp_path / "a.pdf", "en").read_bytes()
    assert b"/FontFile2" in written
    assert b"/Type3" not in written


def test_sizes_as_they_are_typed() -> None:
    assert parse_size("3.4x2.5in") == (3.4, 2.5)
    assert parse_size("16X9 cm") == pytest.approx((16 / 2.54, 9 / 2.54))
    for wrong in ("3x4", "x4in", "1x1in", "900x4in", "3.4x-2in", "infxinfin"):
        with pytest.raises(UserError, match="--size"):
            parse_size(wrong)


def test_names_are_sorted_as_numbers() -> None:
    names = ["lr=0.1", "lr=1e-05", "lr=0.02", "lr=3", "lr=10", "adam", "sgd"]
    assert sorted(names, key=natural) == ["adam", "lr=1e-05", "lr=0.02", "lr=0.1", "lr=3", "lr=10", "sgd"]
    assert math.isclose(natural("lr=1e-05")[1][1], 1e-5)


def test_the_command_draws_and_refuses(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "e.svg"
    asked = ("plot", str(made), "--figure", "ecdf", "--target", "1,0.1", "-o", str(place))
    assert invoke(capsys, *asked)[:2] == (0, f"{place}\n")
    first = place.read_bytes()
    assert invoke(capsys, *asked)[0] == 0
    assert place.read_bytes() == first
    for wrong, why in (
        (("--figure", "pie"), "--figure pie: expected one of"),
        (("--figure", "ecdf", "--bands"), "choose one figure"),
        (("--cost", "evals"), "--cost says something of --figure alone"),
        (("--size", "big"), "--size big"),
    ):
        ended, _, err = invoke(capsys, "plot", str(made), "-o", str(place), *wrong)
        assert ended == 2
        assert why in err
