"""basins and sensitivity against closed forms: gradient descent and heavy ball on quadratics and double wells."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from optbench.cli import build_app
from optbench.errors import ConfigError, UserError
from optbench.explore import Axis, Basins, Response, Run, find_basins, find_sensitivity, make_axis, plan_cases
from optbench.problem.surface import starting_point

app = build_app()
EAGER = Run(backend="eager")


def basins(*overrides: str, grid: int, box: Any = None, radius: float | None = None) -> Basins:
    return find_basins(plan_cases(overrides, {}), box, grid, radius, budget=20.0, run=EAGER)


def names(found: Basins) -> np.ndarray[Any, Any]:
    """(ny, nx): the words for where each start ends."""
    return np.array(found.endings)[found.maps[0].ending]


def centres(low: float, high: float, grid: int) -> np.ndarray[Any, Any]:
    return low + (high - low) * (np.arange(grid) + 0.5) / grid


# ---- basins


def test_every_start_on_a_bowl_goes_to_its_minimum_in_the_steps_that_the_contraction_takes() -> None:
    lr, grid = 0.05, 30
    found = basins("model=sphere", "model.dim=2", "optimizer=gd", f"optimizer.lr={lr}", grid=grid)
    assert set(names(found).ravel()) == {"minimum (0, 0)"}
    axis = centres(-5.12, 5.12, grid)
    distance = np.hypot(axis[None, :], axis[:, None])
    assert found.radius == pytest.approx(0.1024)
    expected = np.ceil(np.log(found.radius / distance) / np.log(1 - 2 * lr))  # |x_k| = (1 - 2 lr)^k |x_0| <= r
    np.testing.assert_array_equal(found.maps[0].steps, expected)
    (row,) = found.rows()
    assert (row["share"], row["starts"], row["type"]) == (1.0, grid**2, "minimum")
    assert row["median_steps"] == np.median(expected)


def test_the_boundary_of_a_separable_double_well_is_the_line_of_its_saddle() -> None:
    # x' = x - lr x (x + 2) (x - 1) is monotone on the box for this lr and fixes 0, so no start crosses 0
    grid = 31
    words = ("model=two_well", "optimizer=gd", "optimizer.lr=0.02", "trainer.steps=800")
    found = basins(*words, grid=grid, box=((-3.0, 3.0), (-2.0, 2.0)))
    x = centres(-3.0, 3.0, grid)
    assert 0.0 in x
    expected = np.select([x < 0, x > 0], ["minimum (-2, 0)", "minimum (1, 0)"], "saddle (0, 0)")
    np.testing.assert_array_equal(names(found), np.tile(expected, (grid, 1)))
    assert (found.maps[0].steps[:, grid // 2] == -1).all()
    shares = {row["ending"]: row["share"] for row in found.rows()}
    assert shares["saddle (0, 0)"] == pytest.approx(1 / grid)


def test_a_strict_saddle_keeps_its_stable_line_and_sends_the_half_planes_away() -> None:
    found = basins("model=saddle", "optimizer=gd", "optimizer.lr=0.01", "trainer.steps=300", grid=9)
    expected = np.full((9, 9), "outside the box", dtype=object)
    expected[4] = "saddle (0, 0)"  # y = 0 exactly
    np.testing.assert_array_equal(names(found), expected)


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        (("model=sphere", "model.dim=2", "optimizer.lr=1.1"), "diverged"),
        (("model=sphere", "model.dim=2", "optimizer.lr=1e-5"), "still moving"),
        (("model=valley", "optimizer.lr=0.2"), "at rest elsewhere"),
    ],
)
def test_what_goes_to_no_critical_point_has_a_name(words: tuple[str, ...], ending: str) -> None:
    found = basins(*words, "optimizer=gd", "trainer.steps=500", grid=4)
    assert set(names(found).ravel()) == {ending}


def test_disks_stay_apart_and_a_wider_one_is_refused() -> None:
    words = ("model=two_well", "optimizer=gd", "trainer.steps=2")
    assert basins(*words, grid=2).radius == pytest.approx(0.04)
    with pytest.raises(UserError, match="disks stay apart"):
        basins(*words, grid=2, radius=0.6)


def test_the_fused_engine_finds_the_same_basins() -> None:
    cases = plan_cases(("model=himmelblau", "optimizer=gd", "trainer.steps=100"), {})
    eager, fused = (
        find_basins(cases, None, 24, run=Run(backend=backend, threads=1)).maps[0] for backend in ("eager", "fused")
    )
    assert (eager.engine, fused.engine) == ("eager", "fused")
    np.testing.assert_array_equal(eager.ending, fused.ending)
    np.testing.assert_array_equal(eager.steps, fused.steps)


# ---- sensitivity


def quadratic_starts(seeds: int) -> np.ndarray[Any, Any]:
    (case,) = plan_cases(("model=ill_quadratic", "optimizer=gd"), {}, start="random")
    from optbench.explore.cases import field_of

    surface = field_of([case]).surface
    return np.array([starting_point(surface, case.trainer, seed) for seed in range(seeds)])


def test_gradient_descent_on_a_quadratic_diverges_exactly_above_two_over_the_curvature() -> None:
    cases = plan_cases(("model=ill_quadratic", "optimizer=gd", "trainer.steps=1000"), {}, start="random")
    values = np.linspace(1.01e-3, 2.99e-3, 12)
    (response,) = find_sensitivity(cases, Axis("optimizer.lr", values, False), seeds=7, run=EAGER).responses
    np.testing.assert_array_equal(response.diverged, (values > 2e-3).astype(float))
    assert (np.isinf(response.median) == (values > 2e-3)).all()
    x, y = quadratic_starts(7).T
    stable = values < 2e-3
    lr = values[stable][:, None]
    final = 0.5 * ((1 - lr) ** 1000 * x) ** 2 + 500 * ((1 - 1000 * lr) ** 1000 * y) ** 2
    ranked = np.sort(final, axis=1)
    for found, rank in ((response.low, 1), (response.median, 3), (response.high, 5)):
        np.testing.assert_allclose(found[stable], ranked[:, rank], rtol=1e-9)
    start = 0.5 * x**2 + 500 * y**2
    np.testing.assert_array_equal(response.success[stable], (final <= 1e-3 * start).mean(axis=1))


def test_heavy_ball_on_a_quadratic_is_stable_up_to_two_times_one_plus_momentum() -> None:
    cases = plan_cases(("model=ill_quadratic", "optimizer=momentum", "trainer.steps=2000"), {}, start="random")
    lr, beta = (
        Axis("optimizer.lr", np.linspace(1.1e-3, 3.9e-3, 9), False),
        Axis("optimizer.momentum", np.array([0.0, 0.3, 0.6, 0.9]), False),
    )
    found = find_sensitivity(cases, lr, beta, seeds=2, run=EAGER)
    limit = 2 * (1 + beta.values) / 1000
    np.testing.assert_array_equal(found.responses[0].diverged, (lr.values[:, None] > limit).astype(float))
    assert len(found.rows()) == 36


def test_one_value_of_a_list_is_varied_as_if_it_were_set() -> None:
    values = np.array([0.8, 0.99])
    cases = plan_cases(("optimizer=adam", "trainer.steps=30"), {}, start="random")
    (response,) = find_sensitivity(cases, Axis("optimizer.betas.1", values, False), seeds=3, run=EAGER).responses
    for i, value in enumerate(values):
        alone = plan_cases(("optimizer=adam", f"optimizer.betas=[0.9,{value}]", "trainer.steps=30"), {}, start="random")
        rate = Axis("optimizer.lr", np.array([cases[0].config["optimizer"]["lr"]]), False)
        (other,) = find_sensitivity(alone, rate, seeds=3, run=EAGER).responses
        assert response.median[i] == pytest.approx(other.median[0], rel=1e-12)


def test_trainer_target_is_the_target() -> None:
    words = ("model=sphere", "optimizer=gd", "trainer.steps=10", "trainer.start=usual")
    rates = Axis("optimizer.lr", np.array([0.01, 0.05, 0.2]), False)
    start = sum(v * v for v in (4.0, -3.0))
    for target in (1.0, 20.0):
        cases = plan_cases((*words, "model.dim=2", f"trainer.target={target}"), {}, start="random")
        found = find_sensitivity(cases, rates, seeds=1, run=EAGER)
        final = (1 - 2 * rates.values) ** 20 * start
        np.testing.assert_array_equal(found.responses[0].success, (final <= target).astype(float))
        assert f"{target:g} (trainer.target)" in found.rule[1]


def test_without_target_or_known_minimum_no_success_is_claimed() -> None:
    cases = plan_cases(("model=saddle", "optimizer=gd", "trainer.steps=5"), {}, start="random")
    found = find_sensitivity(cases, make_axis("optimizer.lr", None, 3, "--range"), seeds=2, run=EAGER)
    (row,) = found.summary()
    assert row["works_share"] is row["works_from"] is row["success_at_best"] is None
    assert "no known minimum" in found.rule[1]


def test_ranges_that_work_are_unbroken() -> None:
    success = np.array([0.6, 0.4, 0.5, 1.0, 0.9, 0.0, 0.5])
    zero = np.zeros(7)
    response = Response("x", zero, zero, zero, success, zero, "eager", 0.0)
    assert response.working == [(0, 0), (2, 4), (6, 6)]
    assert response.widest == (2, 4)
    assert Response("x", zero, zero, zero, zero, zero, "eager", 0.0).widest is None


def test_axes_are_logarithmic_where_they_span_orders_of_magnitude() -> None:
    axis = make_axis("optimizer.lr", None, 7, "--range")
    assert axis.log
    np.testing.assert_allclose(axis.values, 10.0 ** np.arange(-5, 2), rtol=1e-12)
    axis = make_axis("optimizer.momentum", "0,0.9", 4, "--range")
    assert not axis.log
    np.testing.assert_allclose(axis.values, [0, 0.3, 0.6, 0.9])


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["basins", "model=himmelblau", "optimizer=lbfgs"], "no pure update rule"),
        (["basins", "scheduler=plateau"], "follows the loss"),
        (["basins", "model.dim=3"], "basins need two"),
        (["basins", "model=hw3_cnn"], "not a surface"),
        (["basins", "model=sphere,ackley"], "several surfaces"),
        (["basins", "optimizer.lr=range(1,20)"], "at most 12"),
        (["basins", "trainer.start=usual"], "trainer.start does not apply"),
        (["basins", "--plot", "x.txt"], "expected a figure"),
        (["sensitivity", "--over", "model.dim"], "expected a number of the optimizer"),
        (["sensitivity", "--over", "optimizer.momentum"], "has no setting"),
        (["sensitivity", "--over", "optimizer.betas", "--range", "0,1"], "is a list"),
        (["sensitivity", "--over", "optimizer.fused", "--range", "0,1"], "not a real number"),
        (["sensitivity", "--over", "scheduler.gamma", "scheduler=exponential"], "no usual range"),
        (["sensitivity", "--over", "optimizer.betas.²"], "is not a real number"),
        (["sensitivity", "--over", "optimizer.nope"], "adam has no setting optimizer.nope"),
        (["sensitivity", "--and", "optimizer.nope"], "adam has no setting optimizer.nope"),
        (["basins", "--plot", "{file}/x.png"], "Not a directory"),
        (["sensitivity", "--plot", "{file}/x.png"], "Not a directory"),
        (["sensitivity", "--range", "1,0.1"], "low < high"),
        (["sensitivity", "--range=-1,1"], "positive number"),
        (["sensitivity", "optimizer.lr=1"], "does not apply"),
        (["sensitivity", "--and", "optimizer.lr"], "a setting other than"),
        (["sensitivity", "--and-range", "0,1"], "needs --and"),
        (["sensitivity", "--csv", "--json"], "choose one"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_cannot_be_asked_is_refused_in_words(arguments: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = CliRunner().invoke(app, [a.replace("{file}", str(tmp_path / "file")) for a in arguments]).exception
    assert isinstance(error, UserError | ConfigError)
    assert words in str(error)


@pytest.mark.parametrize("command", ["basins", "sensitivity"])
@pytest.mark.parametrize("threads", ["0", "-3", "1025"])
def test_threads_have_bounds(command: str, threads: str) -> None:
    result = CliRunner().invoke(app, [command, "--threads", threads])
    assert result.exit_code == 2
    assert "--threads" in result.output


def test_a_suggestion_for_a_setting_that_is_not_there() -> None:
    error = CliRunner().invoke(app, ["sensitivity", "--over", "optimizer.lrr"]).exception
    assert isinstance(error, UserError)
    assert error.hint == "did you mean: optimizer.lr?"


# ---- the commands


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--engine", "eager"])
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_basins_prints_its_rule_and_draws(tmp_path: Path) -> None:
    words = ("basins", "model=two_well", "optimizer=gd,momentum", "optimizer.lr=0.1", "trainer.steps=40", "--grid=8")
    figure = tmp_path / "basins.png"
    text = said(*words, "--plot", str(figure))
    assert "minimum (-2, 0)" in text
    assert "no descent leads away" in text
    assert figure.stat().st_size > 5000


def test_basins_gives_the_same_rows_as_csv_and_json() -> None:
    words = ("basins", "model=two_well", "optimizer=gd,momentum", "trainer.steps=10", "--grid=8")
    found = json.loads(said(*words, "--json"))
    rows = list(csv.DictReader(io.StringIO(said(*words, "--csv"))))
    assert [float(r["share"]) for r in rows] == [r["share"] for r in found["rows"]]
    for case in ("gd", "momentum"):
        assert sum(r["share"] for r in found["rows"] if r["case"] == case) == pytest.approx(1.0)


SMALL = ("sensitivity", "model=himmelblau", "optimizer=gd,momentum", "trainer.steps=10", "--points=5", "--seeds=3")


def test_sensitivity_prints_its_rule_and_draws(tmp_path: Path) -> None:
    figure = tmp_path / "sensitivity.svg"
    text = said(*SMALL, "--plot", str(figure))
    assert "momentum" in text
    assert "f* = 0 is the minimum" in text
    assert figure.stat().st_size > 5000


def test_sensitivity_over_two_settings_draws_heat_maps(tmp_path: Path) -> None:
    figure = tmp_path / "heat.png"
    text = said(*SMALL, "--and", "trainer.grad_noise", "--plot", str(figure))
    assert "trainer.grad_noise=" in text
    assert figure.stat().st_size > 5000


def test_sensitivity_gives_the_same_rows_as_csv_and_json() -> None:
    found = json.loads(said(*SMALL, "--json"))
    assert len(found["summary"]) == 2
    rows = list(csv.DictReader(io.StringIO(said(*SMALL, "--csv"))))
    assert [float(r["success"]) for r in rows] == [r["success"] for r in found["rows"]]
    assert len(rows) == 10


def test_a_faster_start_is_brighter() -> None:
    from optbench.plot import Landscape, Panel, basins_figure

    ground = Landscape(np.array([0.0, 1.0]), np.zeros((2, 2)), np.array([0.0, 1.0]))
    ending = np.array([[0, 0], [1, 2]], np.int16)
    steps = np.array([[1, 90], [10, -1]], np.int32)
    figure = basins_figure(ground, ["minimum (0, 0)", "minimum (1, 1)", "diverged"], [Panel("gd", ending, steps)])
    pixels = np.asarray(figure.axes[0].images[0].get_array())
    assert (pixels[0, 0] >= pixels[0, 1]).all()
    assert pixels[0, 0].sum() > pixels[0, 1].sum() + 0.5
    assert np.ptp(pixels[1, 1]) == 0  # grey: no critical point
