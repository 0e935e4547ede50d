"""What becomes of every box of a proof, how it is drawn, and the options of the command that go with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from certified_tools import TABLE, objective_of
from command_tools import in_a_row, invoke
from matplotlib.collections import PolyCollection

from optbench import plot
from optbench.critical.arithmetic.ends import Array
from optbench.critical.certified import certify
from optbench.critical.numeric.calculus import Field as FloatField
from optbench.critical.proofs.boxes import Trail

PAIR = "x**3/3 - 1e-14*x + y**2"  # two points 2e-7 apart
UNIT = np.random.default_rng(6).random((4000, 3))


def cells_of(name: str) -> dict[str, tuple[Array, Array]]:
    objective, box = objective_of(name)
    trail = Trail()
    certify(objective, box, trail=trail)
    return trail.cells()


def holding(cells: tuple[Array, Array] | None, x: Array) -> npt.NDArray[np.int_]:
    """(m,) how many boxes, low and high (n, d), hold each of the points x (m, d)."""
    if cells is None:
        return np.zeros(len(x), dtype=int)
    return np.sum([((a <= x) & (x <= b)).all(axis=1) for a, b in zip(*cells, strict=True)], axis=0)


def test_a_trail_changes_nothing() -> None:
    objective, box = objective_of("six_hump_camel")
    trail = Trail()
    plain, watched = (certify(objective, box, trail=t) for t in (None, trail))
    assert replace(plain, seconds=0.0) == replace(watched, seconds=0.0)
    cells = trail.cells()
    assert sum(len(low) for fate, (low, _) in cells.items() if fate != "undecided") == plain.boxes


@pytest.mark.parametrize(
    "name",
    ["himmelblau", "beale", pytest.param("peaks", marks=pytest.mark.slow), "double_well_1d", "linear_net",
     "monkey_saddle"],
)  # fmt: skip
def test_the_boxes_cover_the_domain_and_say_where_the_points_are(name: str) -> None:
    objective, box = objective_of(name)
    cells = cells_of(name)
    (truth,) = (entry["points"] for entry in TABLE if entry["name"] == name)
    points = np.array([p["x"] for p in truth if p["type"] in ("minimum", "maximum", "saddle")]).reshape(-1, len(box))
    assert (holding(cells.get("proved"), points) > 0).all()
    open_ = [np.array([p["x"]]) for p in truth if p["type"] not in ("minimum", "maximum", "saddle")]
    assert all(holding(cells["undecided"], x)[0] > 0 for x in open_)
    for fate in ("excluded", "emptied"):
        assert not holding(cells.get(fate), points).any()
    field = FloatField(objective, box)
    x = field.low + UNIT[:, : len(box)] * field.width
    where = np.sum([holding(c, x) for fate, c in cells.items() if fate != "split"], axis=0)
    assert (where <= 1).all(), "leaves do not overlap"
    lost = x[where == 0]  # taken off a box before it was split
    assert (holding(cells["split"], lost) > 0).all()
    assert (np.abs(field.gradient(x[holding(cells["excluded"], x) > 0])[1]).max(axis=1) > 0).all()


def test_what_a_budget_leaves_is_undecided() -> None:
    objective, box = objective_of("goldstein_price")
    trail = Trail()
    found = certify(objective, box, max_boxes=300, trail=trail)
    assert not found.complete
    low, high = trail.cells()["undecided"]
    assert (high - low > 1e-3).any()


def test_the_figure_shows_each_fate() -> None:
    grid = np.linspace(-2.0, 2.0, 41)
    ground = plot.Landscape(grid, grid[:, None] ** 2 + grid**2, grid, (plot.Mark((0.0, 0.0), "minimum"),), "bowl")
    corner = np.array([[-2.0, -2.0]])
    tiny = np.array([[1.0, 1.0], [1.0 + 1e-9, 1.0]])
    cells = {"excluded": (corner, corner + 1.0), "undecided": (tiny, tiny + 1e-9), "split": (corner, corner + 4.0)}
    figure = plot.critical_points_figure(ground, cells)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["minimum", "emptied by Newton", "gradient has no zero: 1 box", "undecided: 2 boxes"]
    whole, excluded, undecided = (c for c in figure.axes[0].collections if isinstance(c, PolyCollection))
    (path,) = excluded.get_paths()
    assert path.get_extents().get_points().tolist() == [[-2.0, -2.0], [-1.0, -1.0]]
    assert whole.get_paths()[0].get_extents().get_points().tolist() == [[-2.0, -2.0], [2.0, 2.0]]
    (path,) = undecided.get_paths()  # two boxes that cannot be told apart, as one that can be seen
    assert path.get_extents().width == pytest.approx(4 / 120)
    assert len(figure.axes) == 1, "contour lines, no colours that the boxes would hide"


def test_intervals_are_a_band_below_the_curve() -> None:
    grid = np.linspace(-2.0, 2.0, 41)
    ground = plot.Landscape(grid, grid**2, points=(plot.Mark((0.0,), "minimum"),))
    figure = plot.critical_points_figure(ground, {"proved": (np.array([[-1.0]]), np.array([[1.0]]))})
    figure.canvas.draw()
    ax = figure.axes[0]
    _, proved = (c for c in ax.collections if isinstance(c, PolyCollection))
    top = ax.transData.inverted().transform(ax.transAxes.transform((0.0, 0.07)))[1]
    assert top <= ground.z.min()
    assert proved.get_paths()[0].get_extents().get_points()[:, 0].tolist() == [-1.0, 1.0]


def test_the_command_draws_boxes_and_takes_a_depth(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figure = tmp_path / "proof.png"
    problem = ("classify-critical", "--expr", PAIR, "--box", "-1,1", "--json")
    code, out, err = invoke(capsys, *problem, "--plot", str(figure), "--boxes")
    assert (code, json.loads(out)["complete"], err) == (0, False, f"figure {figure}\n")
    assert figure.stat().st_size > 10_000
    code, out, _ = invoke(capsys, *problem, "--depth", "1e-10")
    assert (code, json.loads(out)["complete"], len(json.loads(out)["points"])) == (0, True, 2)


def test_a_numerical_search_has_no_boxes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import torch\ndef f(x):\n    return torch.lgamma(x[..., 0] + 3) ** 2 + x[..., 1] ** 2\n")
    words = ("--fn", f"{file}:f", "--box", "-1,1", "--budget", "2", "--plot", str(tmp_path / "f.png"), "--boxes")
    code, out, err = invoke(capsys, "classify-critical", *words)
    assert (code, out) == (2, "")
    assert "searched numerically" in err
    assert "torch.lgamma has no interval rule" in err


REFUSED = [
    (("--expr", "2x"), "multiplication sign"),
    (("--expr", "sine(x)", "--box", "-1,1"), "did you mean sin"),
    (("--expr", "x**2 + q", "--box", "-1,1"), "unknown name 'q'"),
    (("--expr", "x**y", "--box", "-1,1"), "variable exponent"),
    (("--expr", "x**2"), "say where to look"),
    (("--expr", "x**2", "--box", "1"), "not a pair"),
    (("--expr", "x**2", "--box", "2,1"), "not below"),
    (("--expr", "x*y*z", "--box", "-1,1;-1,1"), "2 pairs, the surface has 3"),
    (("--expr", "x*y", "--at", "1"), "1 coordinate, the surface has 2"),
    (("--expr", "z", "--dim", "2", "--box", "-1,1"), "needs 3 coordinates"),
    (("--expr", "x*y*z", "--box", "-1,1", "--plot", "f.png"), "contours need one or two"),
    (("--expr", "x*y", "--fn", "saddle"), "choose one"),
    (("--fn", "saddle", "--boxes"), "--plot FILE"),
    (("--fn", "saddle", "--boxes", "--plot", "f.png", "--method", "numeric"), "cuts no boxes"),
    (("--fn", "saddle", "--depth", "1e-9", "--method", "numeric"), "cuts no boxes"),
    (("--fn", "saddle", "--depth", "0"), "above 0 and below 1"),
    (("--fn", "saddle", "--verify", "proof"), "expected arb"),
]


def test_a_mistake_is_answered_before_torch_is_imported(tmp_path: Path) -> None:
    lines = [("classify-critical", *words) for words, _ in REFUSED]
    answers = in_a_row(lines, [tmp_path] * len(lines))
    for (words, expected), answer in zip(REFUSED, answers, strict=True):
        assert (answer.code, answer.out, answer.imported) == (2, "", frozenset()), (words, answer.err)
        assert expected in answer.err
        assert 1 <= len(answer.err.splitlines()) <= 3
    assert not list(tmp_path.iterdir())
