"""Where runs stopped, against exact critical points, closed forms and a second implementation."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import members
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import make_run
from members import TESTS
from surface_tools import hessian, make
from sweep_tools import by_id, swept
from torch import Tensor

import optbench
from optbench.comparison import compare
from optbench.comparison.arrivals import ELSEWHERE, NO_POINT, UNKNOWN, stops
from optbench.critical.points.found import CriticalPoint
from optbench.errors import UserError
from optbench.landmarks.arrivals import Arrival, Landmarks, landmarks
from optbench.landmarks.columns import arrivals_of
from optbench.landmarks.disks import disks_round
from optbench.problem import AbstractSurface, SurfaceProblem
from optbench.records import RunTable, Status
from optbench.report import export, run_lines, text_lines
from optbench.settings import SurfaceTrainer

TABLE = {e["name"]: e for e in json.loads((TESTS / "data" / "critical_points.json").read_text())}
HIMMELBLAU = {(3.0, 2.0), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)}  # Himmelblau (1972)


def of(surface: AbstractSurface) -> Landmarks:
    return landmarks(surface, surface.domain, surface.minimizers)


@functools.cache
def known(name: str, dim: int | None) -> Landmarks:
    return of(make(name, dim))


def at(name: str, *x: tuple[float, ...], dim: int | None = None) -> list[Arrival]:
    """What ends on a surface of the catalogue are."""
    return known(name, dim).arrivals(np.array(x, dtype=np.float64))


def stop(out: Path, *overrides: str) -> dict[str, Any]:
    """The record of a run."""
    return dict(optbench.run(*overrides, out=out).summary)


def numbers(place: str) -> tuple[float, ...]:
    """The coordinates in the name of a point."""
    return tuple(map(float, place[place.index("(") + 1 : -1].split(",")))


# ---- ends and critical points


@pytest.mark.parametrize("name", sorted(set(TABLE) & set(members.surfaces())))
def test_every_point_of_the_exact_table_is_named_with_its_type_and_smallest_eigenvalue(name: str) -> None:
    points = [p for p in TABLE[name]["points"] if p["type"] in ("minimum", "maximum", "saddle")]
    if not points:
        pytest.skip("no nondegenerate point")
    found = at(name, *(tuple(p["x"]) for p in points))
    assert len({a.stopped_at for a in found}) == len(points)
    for arrival, point in zip(found, points, strict=True):
        assert arrival.critical_type == point["type"]
        assert arrival.stopped_at is not None
        assert arrival.stopped_at.startswith(point["type"])
        assert numbers(arrival.stopped_at) == pytest.approx(point["x"], rel=1e-3, abs=1e-8)
        size = max(map(abs, point["eigenvalues"]))
        assert arrival.lambda_min == pytest.approx(min(point["eigenvalues"]), rel=1e-9, abs=1e-9 * size)


CASES = [(name, None) for name in members.surfaces()]
DIMS = [(n, d) for n in members.surfaces() if "dim" in members.keywords("model", n) for d in (3, 4, 10)]


@pytest.mark.parametrize(("name", "dim"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in DIMS)])
def test_a_run_that_ends_at_a_known_minimizer_stopped_at_a_minimum(name: str, dim: int | None) -> None:
    try:
        surface = make(name, dim)
    except UserError:
        pytest.skip("not in so many dimensions")
    if not surface.minimizers:
        pytest.skip("no known minimizer")
    off = 1e-7 * (surface.domain[0][1] - surface.domain[0][0])  # as a run would leave it
    ends = [tuple(v + off for v in x) for x in surface.minimizers]
    for x, arrival in zip(surface.minimizers, at(name, *ends, dim=dim), strict=True):
        assert arrival.critical_type in ("minimum", "degenerate"), x
        assert arrival.stopped_at is not None
        assert "saddle" not in arrival.stopped_at
        assert numbers(arrival.stopped_at) == pytest.approx(x, rel=1e-3, abs=1e-6)


def test_the_smallest_eigenvalue_is_that_at_the_end_itself_wherever_it_is() -> None:
    surface = make("himmelblau")
    ends = [(0.3, -1.7), (4.9, 4.9), (30.0, -2.0), (-0.27, -0.92)]
    expected = [float(torch.linalg.eigvalsh(hessian(surface, torch.tensor(x, dtype=torch.float64)))[0]) for x in ends]
    found = at("himmelblau", *ends)
    assert [a.lambda_min for a in found] == pytest.approx(expected)
    assert [a.stopped_at is None for a in found] == [True, True, True, False]  # far, far, outside, at the maximum
    assert found[3].critical_type == "maximum"


def test_at_a_saddle_near_is_nearer_than_at_a_minimum() -> None:
    # x^2 - y^2 on [-2, 2]^2 and x^2 + y^2 on [-5.12, 5.12]^2: radii 0.04 and 0.1024, a tenth of it at the saddle
    saddle = at("saddle", (0.0039, 0.0), (0.0, -0.0039), (0.0041, 0.0))
    assert [a.stopped_at for a in saddle] == ["saddle (0, 0)", "saddle (0, 0)", None]
    bowl = at("sphere", (0.1, 0.0), (0.07, 0.07), (0.103, 0.0), (0.08, 0.08))
    assert [a.stopped_at for a in bowl] == ["minimum (0, 0)", "minimum (0, 0)", None, None]


def test_a_level_keeps_what_could_leave_the_disk_out() -> None:
    def narrow(x: Tensor) -> Tensor:  # lowest on a circle of radius r: r^2, along the first axis
        u, v = x.unbind(-1)
        return u * u + 100.0 * v * v

    point = CriticalPoint((0.0, 0.0), 0.0, 0.0, (2.0, 200.0), "minimum", 0, "numerical")
    disks = disks_round(narrow, [point], ((-1.0, 1.0),) * 2, 0.1)
    x = np.array(
        [(0.09, 0.0), (0.0, 0.009), (0.0, 0.011), (0.0, 0.0099), (0.11, 0.0), (math.nan, 0.0), (math.inf, 0.0)]
    )
    value = x[:, 0] ** 2 + 100.0 * x[:, 1] ** 2
    assert disks.levels == pytest.approx((0.01,))
    assert disks.holding(x, value).tolist() == [0, 0, -1, 0, -1, -1, -1]
    assert disks.holding(x, value, close=0.12).tolist() == [0, 0, 0, 0, -1, -1, -1]


@pytest.mark.parametrize(
    ("name", "x", "place"),
    [
        ("linear_net", (1.25, 0.8), "continuum [0.497, 2]^2"),  # w1 w2 = 1
        ("linear_net", (-0.625, -1.6), "continuum [-2, -0.497]^2"),
        ("linear_net", (1.25, 0.9), None),  # 0.09 beside it, in its box
        ("linear_net", (0.0, 0.0), "saddle (0, 0)"),
        ("valley", (0.0, 1.3), "continuum [-0.00195, 0.00195] x [-2, 2]"),
        ("valley", (0.1, 1.3), None),
        ("quartic_bowl", (1e-4, 1e-4), "degenerate minimum (0, 0)"),  # x^4 + y^4: the Hessian there is 0
        ("monkey_saddle", (0.0, 0.0), "degenerate saddle (0, 0)"),
        ("x2_plus_y3", (0.0, 0.0), "degenerate saddle (0, 0)"),  # a fold: down on one side
    ],
)
def test_what_is_not_a_single_nondegenerate_point(name: str, x: tuple[float, float], place: str | None) -> None:
    (found,) = at(name, x)
    assert found.stopped_at == place
    assert found.critical_type == (None if place is None else "saddle" if place[0] == "s" else "degenerate")


def test_a_slope_along_a_valley_is_no_rest() -> None:
    valley = known("valley", None)
    sloping = replace(valley, objective=lambda x: x[..., 0] ** 2 + 1e-2 * x[..., 1])
    there = np.array([[0.0, 1.3]])
    assert valley.arrivals(there)[0].stopped_at is not None
    assert sloping.arrivals(there)[0].stopped_at is None


def test_many_coordinates_need_no_list() -> None:
    surface = make("rastrigin", 10)
    box = of(surface)
    assert box.found is None
    one = 0.99495863771  # the minimum next to 0: 2 x + 20 pi sin(2 pi x) = 0
    minimum, saddle = [0.0] * 10, [0.0] * 10
    minimum[3] = -one
    saddle[0] = 0.502545906  # the maximum along one axis, same equation
    found = box.arrivals(np.array([minimum, saddle, [0.25] * 10, surface.start]))
    assert [a.critical_type for a in found[:3]] == ["minimum", "saddle", None]
    assert found[0].stopped_at == "minimum (0, 0, 0, -0.995, 0, 0, 0, 0, 0, 0)"
    assert found[1].lambda_min == pytest.approx(2 + 40 * math.pi**2 * math.cos(2 * math.pi * saddle[0]))
    alone = [of(surface).arrivals(np.array([x]))[0] for x in (minimum, saddle)]
    assert [a.stopped_at for a in alone] == [a.stopped_at for a in found[:2]]


def test_a_surface_without_interval_rules_or_derivatives_is_no_hindrance(caplog: pytest.LogCaptureFixture) -> None:
    class Bessel(AbstractSurface):  # no interval rule; a minimum 0 at 3, of second derivative 2 I0(3)
        def __init__(self) -> None:
            super().__init__([(1.0, 6.0)], [2.0])

        def __call__(self, x: Tensor) -> Tensor:
            return (torch.special.i0(x) * (x - 3.0) ** 2).sum(dim=-1)

    class Single(AbstractSurface):  # takes one point at a time, against the contract
        def __init__(self) -> None:
            super().__init__([(-1.0, 1.0)] * 2, [0.5, 0.5])

        def __call__(self, x: Tensor) -> Tensor:
            if x.ndim > 1:
                raise ValueError("one point, please")
            return (x * x).sum(dim=-1)

    smooth = of(Bessel()).arrivals(np.array([[3.0], [5.0]]))
    assert [a.stopped_at for a in smooth] == ["minimum (3)", None]
    assert smooth[0].lambda_min == pytest.approx(2 * np.i0(3.0))
    problem = SurfaceProblem(Single(), members.make("loss", "surface"), SurfaceTrainer(), 0, torch.device("cpu"))
    config = {"model": {"_target_": "Single"}, "loss": {}}
    assert arrivals_of(config, problem, [Status.COMPLETED], [[0.0, 0.0]]) == [Arrival()]
    assert "Single: where runs stopped is not known" in caplog.text


# ---- records


def test_descent_into_each_basin_of_himmelblau(tmp_path: Path) -> None:
    reached = set()
    for x, y in ((4, 3), (-4, 4), (-4, -4), (4, -3)):
        record = stop(tmp_path, "model=himmelblau", "optimizer=gd", "trainer.steps=200", f"trainer.start=[{x},{y}]")
        assert record["critical_type"] == "minimum"
        assert record["lambda_min"] > 0
        reached.add(numbers(record["stopped_at"]))
    assert {tuple(round(v, 2) for v in x) for x in reached} == {tuple(round(v, 2) for v in x) for x in HIMMELBLAU}


@pytest.mark.parametrize(
    ("overrides", "place", "status"),
    [
        (("model=saddle", "trainer.start=[0,0]"), "saddle (0, 0)", "converged"),
        (("model=saddle", "trainer.start=[1,0]", "optimizer.lr=0.05"), "saddle (0, 0)", "converged"),
        (("model=linear_net", "optimizer.lr=0.05"), "continuum [0.497, 2]^2", "converged"),
        (("model=rosenbrock", "trainer.steps=5"), None, "completed"),
        (("model=sphere", "optimizer.lr=1.5"), None, "diverged"),
        (("model=softmax_logits", "loss=mse_softmax", "trainer.steps=5"), None, "completed"),
    ],
)
def test_what_a_record_says(tmp_path: Path, overrides: tuple[str, ...], place: str | None, status: str) -> None:
    run = optbench.run("optimizer=gd", *overrides, out=tmp_path)
    record = run.summary
    assert (record["status"], record["stopped_at"]) == (status, place)
    assert (record["critical_type"] is None) == (place is None)
    assert (record["lambda_min"] is None) == (status == "diverged")
    told = [line for line in run_lines(run) if line.startswith("stopped at: ")]
    assert len(told) == (status != "diverged")
    assert all((place or "no critical point") in line for line in told)


def test_a_loss_is_part_of_the_surface(tmp_path: Path) -> None:
    # cross-entropy of a two-class softmax is convex with Hessian p (1 - p) [[1, -1], [-1, 1]]: least eigenvalue 0
    record = stop(tmp_path, "model=softmax_logits", "loss=cross_entropy", "optimizer=gd", "trainer.steps=3")
    assert record["stopped_at"] is None
    assert record["lambda_min"] == pytest.approx(0.0, abs=1e-12)


def test_a_network_has_none_of_it(tmp_path: Path) -> None:
    record = stop(tmp_path, "model=logistic", "data=digits", "trainer.steps=2", "optimizer=sgd")
    assert record["stopped_at"] is record["critical_type"] is record["lambda_min"] is None


def test_rows_and_single_runs_stop_at_the_same_places(tmp_path: Path) -> None:
    words = [
        "model=himmelblau",
        "optimizer=gd",
        "trainer.start=random",
        "trainer.steps=60",
        "optimizer.lr=0.005,0.05",
    ]  # at 0.05 all diverge
    words.append(f"seed={','.join(map(str, range(12)))}")
    swept(tmp_path / "rows", words)
    swept(tmp_path / "loop", words, engine="loop")
    rows, loop = by_id(tmp_path / "rows"), by_id(tmp_path / "loop")
    assert rows.keys() == loop.keys()
    assert {run.summary["engine"] for run in rows.values()} == {"eager"}
    for key, run in rows.items():
        for column in ("stopped_at", "critical_type"):
            assert run.summary[column] == loop[key].summary[column]
        ours, theirs = run.summary["lambda_min"], loop[key].summary["lambda_min"]
        assert ours == theirs or ours == pytest.approx(theirs, rel=1e-9)
    places = Counter(run.summary["stopped_at"] for run in rows.values())
    assert len([place for place in places if place]) == 4
    assert all(run.summary["lambda_min"] is None for run in rows.values() if run.status is Status.DIVERGED)
    (group_a, group_b) = compare([tmp_path / "rows"]).groups
    assert {"diverged": 12} in (group_a.stopped_at, group_b.stopped_at)
    for group in (group_a, group_b):
        assert group.stopped_at is not None
        assert sum(group.stopped_at.values()) == group.n == 12
    both = Counter(group_a.stopped_at) + Counter(group_b.stopped_at)
    assert all(both[place] == n for place, n in places.items() if place)


# ---- comparison


@given(st.lists(st.tuples(st.sampled_from(Status), st.sampled_from(["minimum (1, 1)", "saddle (0, 0)", None]),
                          st.sampled_from([1.0, None])), min_size=1, max_size=30))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_every_run_is_counted_once(made: list[tuple[Status, str | None, float | None]]) -> None:
    rows = []
    for status, place, least in made:
        values = {"status": str(status), "stopped_at": place, "lambda_min": least}
        rows.append(values)
    (counts,) = stops(RunTable.of(rows), np.zeros(len(rows), dtype=np.int64), 1)
    ended = [end for end in made if str(end[0]) not in NO_POINT]
    if ended and all(place is None and least is None for _, place, least in ended):
        assert counts is None
        return
    assert counts is not None
    assert sum(counts.values()) == len(rows)
    assert all(
        counts.get(place, 0) == sum(p == place for _, p, _ in made) for place in ("minimum (1, 1)", "saddle (0, 0)")
    )
    points = [n for name, n in counts.items() if name not in NO_POINT]
    assert points == sorted(points, reverse=True)


def test_a_comparison_says_where_runs_stopped(tmp_path: Path) -> None:
    ends: list[dict[str, Any]] = [
        *[{"stopped_at": "minimum (1, 1)", "lambda_min": 0.4}] * 3,
        {"stopped_at": "saddle (0, 0)", "lambda_min": -2.0},
        {"lambda_min": 1.0},
        {"status": "diverged"},
        {},
    ]
    for seed, end in enumerate(ends):
        make_run(tmp_path / str(seed), {"seed": seed}, **end)
    for k in range(8):
        place = {"stopped_at": f"minimum ({k}, 0)", "lambda_min": 1.0}
        make_run(tmp_path / f"sgd{k}", {"seed": k}, optimizer="sgd", **place)
    found = compare([tmp_path])
    expected = {"minimum (1, 1)": 3, "saddle (0, 0)": 1, ELSEWHERE: 1, "diverged": 1, UNKNOWN: 1}
    as_json = {g["configuration"]: g["stopped_at"] for g in found.to_json()["groups"]}
    assert as_json["adam"] == expected
    assert sum(as_json["sgd"].values()) == 8
    assert [json.loads(v) for v in found.table.set_index("configuration").loc[["adam"]].stopped_at] == [expected]
    lines = text_lines(found)
    start = lines.index("rosenbrock: where runs stopped")
    told = [line.split(maxsplit=2) for line in lines[start + 2 : lines.index("", start)]]
    assert [row[1:] for row in told if row[0] == "adam"] == [[str(n), place] for place, n in expected.items()]
    assert [row[1:] for row in told if row[0] == "sgd"][-1] == ["3", "... 3 more"]
    assert sum(int(row[1]) for row in told) == 15
    assert any(line.startswith("Stopped at: ") for line in lines)
    assert "where runs stopped" in export(found, "md")


def test_records_without_the_columns_compare_as_before(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / str(seed), {"seed": seed})
    found = compare([tmp_path])
    assert found.to_json()["groups"][0]["stopped_at"] is None
    assert not any("topped" in line for line in text_lines(found))
