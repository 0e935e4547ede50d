"""The surfaces against truth from elsewhere: certified critical points, textbook formulas, published values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import members
import pytest
import sympy
import torch
from members import TESTS
from surface_tools import gradient, hessian, make, samples

from optbench.problem import AbstractSurface, surface_objective

ALL = members.surfaces()
TABLE: list[dict[str, Any]] = json.loads((TESTS / "data" / "critical_points.json").read_text())
each_entry = pytest.mark.parametrize("entry", TABLE, ids=lambda e: e["name"])


def surface_of(entry: dict[str, Any]) -> AbstractSurface:
    """The surface that an entry of the table speaks of: `rosenbrock_3d` is rosenbrock at dim=3."""
    if entry["name"] in ALL:
        return make(entry["name"])
    match = re.fullmatch(r"(\w+)_(\d+)d", entry["name"])
    assert match, f"{entry['name']}: no surface of that name in conf/model"
    return make(match[1], int(match[2]))


@each_entry
def test_table_expression_and_domain(entry: dict[str, Any]) -> None:
    surface = surface_of(entry)
    assert surface.domain == tuple(map(tuple, entry["domain"]))
    expected = sympy.lambdify(sympy.symbols(entry["variables"]), sympy.sympify(entry["expression"]), "math")
    x = samples(surface, 50, seed=7)
    values = [expected(*point) for point in x.tolist()]
    torch.testing.assert_close(surface(x), torch.tensor(values, dtype=torch.float64), rtol=1e-12, atol=1e-11)


@each_entry
def test_table_points(entry: dict[str, Any]) -> None:
    surface = surface_of(entry)
    for point in entry["points"]:
        x = torch.tensor(point["x"], dtype=torch.float64)
        assert float(surface(x)) == pytest.approx(point["value"], rel=1e-10, abs=1e-10)
        if point["type"].startswith("nonsmooth"):
            continue
        scale = max(1.0, max(abs(v) for v in point["eigenvalues"]))
        assert float(gradient(surface, x).norm()) < 1e-13 * scale * (1.0 + float(x.norm()))
        found = torch.linalg.eigvalsh(hessian(surface, x))
        torch.testing.assert_close(
            found, torch.tensor(point["eigenvalues"], dtype=torch.float64), rtol=1e-9, atol=1e-10 * scale
        )


@each_entry
def test_table_agrees_on_the_global_minimizers(entry: dict[str, Any]) -> None:
    surface = surface_of(entry)
    minima = [p for p in entry["points"] if "minimum" in p["type"] + (p.get("verdict") or "")]
    if not minima:
        assert not surface.minimizers
        return
    lowest = min(p["value"] for p in minima)
    expected = [p["x"] for p in minima if p["value"] < lowest + 1e-9]
    assert surface.minimum == pytest.approx(lowest, rel=1e-14, abs=1e-14)
    assert len(surface.minimizers) == len(expected)
    for point in expected:
        assert min(math.dist(point, m) for m in surface.minimizers) <= 1e-15 * (1.0 + math.hypot(*point))


def levy(x: Sequence[float]) -> float:
    w = [1 + (v - 1) / 4 for v in x]
    middle = sum((v - 1) ** 2 * (1 + 10 * math.sin(math.pi * v + 1) ** 2) for v in w[:-1])
    ends = math.sin(math.pi * w[0]) ** 2 + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return middle + ends


def goldstein_price(x: Sequence[float]) -> float:
    a, b = x
    first = 1 + (a + b + 1) ** 2 * (19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2)
    second = 30 + (2 * a - 3 * b) ** 2 * (18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2)
    return first * second


def powell(x: Sequence[float]) -> float:
    value = 0.0
    for i in range(1, len(x) // 4 + 1):
        a, b, c, d = x[4 * i - 4], x[4 * i - 3], x[4 * i - 2], x[4 * i - 1]
        value += (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4
    return value


def mishra_bird(x: Sequence[float]) -> float:
    a, b = x
    waves = math.sin(b) * math.exp((1 - math.cos(a)) ** 2) + math.cos(a) * math.exp((1 - math.sin(b)) ** 2)
    return waves + (a - b) ** 2


def bohachevsky(x: Sequence[float], ripple: Callable[[float, float], float]) -> float:
    return x[0] ** 2 + 2 * x[1] ** 2 + ripple(3 * math.pi * x[0], 4 * math.pi * x[1])


# surfaces that the table lacks, written down once more, scalar by scalar with the literature's indices
TEXTBOOK: dict[str, Callable[[Sequence[float]], float]] = {
    "levy": levy,
    "goldstein_price": goldstein_price,
    "powell": powell,
    "mishra_bird": mishra_bird,
    "six_hump_camel": lambda x: (
        4 * x[0] ** 2 - 2.1 * x[0] ** 4 + x[0] ** 6 / 3 + x[0] * x[1] - 4 * x[1] ** 2 + 4 * x[1] ** 4
    ),
    "easom": lambda x: -math.cos(x[0]) * math.cos(x[1]) * math.exp(-((x[0] - math.pi) ** 2) - (x[1] - math.pi) ** 2),
    "michalewicz": lambda x: (
        -sum(math.sin(v) * math.sin(i * v**2 / math.pi) ** (2 * 10) for i, v in enumerate(x, start=1))
    ),
    "schwefel": lambda x: 418.9829 * len(x) - sum(v * math.sin(math.sqrt(abs(v))) for v in x),
    "dixon_price": lambda x: (
        (x[0] - 1) ** 2 + sum(i * (2 * x[i - 1] ** 2 - x[i - 2]) ** 2 for i in range(2, len(x) + 1))
    ),
    "zakharov": lambda x: (
        sum(v**2 for v in x)
        + sum(0.5 * i * v for i, v in enumerate(x, start=1)) ** 2
        + sum(0.5 * i * v for i, v in enumerate(x, start=1)) ** 4
    ),
    "bohachevsky1": lambda x: bohachevsky(x, lambda p, q: 0.7 - 0.3 * math.cos(p) - 0.4 * math.cos(q)),
    "bohachevsky2": lambda x: bohachevsky(x, lambda p, q: 0.3 - 0.3 * math.cos(p) * math.cos(q)),
    "bohachevsky3": lambda x: bohachevsky(x, lambda p, q: 0.3 - 0.3 * math.cos(p + q)),
    "griewank": lambda x: (
        1 + sum(v**2 / 4000 for v in x) - math.prod(math.cos(v / math.sqrt(i)) for i, v in enumerate(x, start=1))
    ),
    "ackley": lambda x: (
        -20 * math.exp(-0.2 * math.sqrt(sum(v**2 for v in x) / len(x)))
        - math.exp(sum(math.cos(2 * math.pi * v) for v in x) / len(x))
        + 20
        + math.e
    ),
    "x2_plus_y3": lambda x: x[0] ** 2 + x[1] ** 3,
    "ellipse": lambda x: ((x[0] + 4) / 10) ** 2 + ((x[1] - 2) / 0.1) ** 2,
    "crescent": lambda x: 10 * (x[1] - x[0] ** 2 / 5) ** 2 + (x[0] - 4) ** 2 / 20,
    "tanh_2neuron": lambda x: (
        sum((y - x[1] * math.tanh(x[0] * p)) ** 2 for p, y in [(1 / 4, 2), (1, -1), (2, 2)]) / 3
        + (x[0] ** 2 + x[1] ** 2) / 50
    ),
    "two_well": lambda x: x[0] ** 4 / 4 + x[0] ** 3 / 3 - x[0] ** 2 + sum(v**2 for v in x[1:]) / 2,
}


@pytest.mark.parametrize("name", TEXTBOOK)
def test_agrees_with_the_textbook(name: str) -> None:
    dims = (None,) if "dim" not in members.keywords("model", name) else (4, 8) if name == "powell" else (1, 2, 3, 6)
    for dim in dims:
        surface = make(name, dim)
        x = samples(surface, 30, seed=8)
        expected = torch.tensor([TEXTBOOK[name](point) for point in x.tolist()], dtype=torch.float64)
        torch.testing.assert_close(surface(x), expected, rtol=1e-12, atol=1e-12 * float(expected.abs().max()))


def test_every_surface_has_an_independent_definition() -> None:
    covered = {entry["name"] for entry in TABLE} | set(TEXTBOOK) | {"bbob"}  # which test_bbob holds to COCO
    assert {name for name in ALL if make(name).label is None} <= covered  # logits are judged by the losses on them


@pytest.mark.parametrize(
    ("name", "dim", "minimizer", "minimum", "digits"),
    [
        ("michalewicz", 2, (2.20290552, 1.57079633), -1.80130341, 8),
        ("michalewicz", 5, None, -4.687658, 6),
        ("michalewicz", 10, None, -9.660152, 6),
        ("schwefel", 3, (420.9687,) * 3, 0.0, 4),
        ("six_hump_camel", None, (0.0898, -0.7126), -1.0316, 4),
        ("mishra_bird", None, (-3.1302468, -1.5821422), -106.7645367, 7),
        ("goldstein_price", None, (0.0, -1.0), 3.0, 12),
        ("easom", None, (math.pi, math.pi), -1.0, 12),
        ("dixon_price", 3, (1.0, 2**-0.5, 2**-0.75), 0.0, 12),
        ("levy", 4, (1.0,) * 4, 0.0, 12),
    ],
)
def test_published_minima(
    name: str, dim: int | None, minimizer: Sequence[float] | None, minimum: float, digits: int
) -> None:
    surface = make(name, dim)
    assert surface.minimum == pytest.approx(minimum, abs=0.6 * 10.0**-digits)
    if minimizer is not None:
        assert surface.minimizers[0] == pytest.approx(minimizer, abs=0.6 * 10.0**-digits)


def test_michalewicz_finds_the_deepest_trench_of_every_axis() -> None:
    surface = make("michalewicz", 40)
    assert surface.minimum is not None
    for axis in range(surface.dim):
        x = torch.tensor(surface.minimizers[0], dtype=torch.float64).repeat(4001, 1)
        x[:, axis] = torch.linspace(0.0, math.pi, 4001, dtype=torch.float64)
        assert float(surface(x).min()) >= surface.minimum - 1e-12


def test_ill_quadratic_has_the_spectrum_that_it_is_asked_for() -> None:
    surface = members.make("model", "ill_quadratic", dim=4, condition=8.0)
    matrix = hessian(surface, torch.tensor(surface.start, dtype=torch.float64))
    torch.testing.assert_close(matrix, torch.diag(torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64)))


@pytest.mark.parametrize("l2", [0.0, 0.1, 0.75, 1.0, 3.0])
def test_linear_net_with_any_weight_decay(l2: float) -> None:
    surface = members.make("model", "linear_net", l2=l2)
    axis = torch.linspace(-2.0, 2.0, 401, dtype=torch.float64)
    assert float(surface(torch.cartesian_prod(axis, axis)).min()) == pytest.approx(surface.minimum, abs=1e-3)
    for point in surface.minimizers:
        assert float(surface(torch.tensor(point, dtype=torch.float64))) == pytest.approx(surface.minimum, abs=1e-15)
    eigenvalues = torch.linalg.eigvalsh(hessian(surface, torch.zeros(2, dtype=torch.float64)))
    assert eigenvalues.tolist() == pytest.approx([2.0 * l2 - 2.0, 2.0 * l2 + 2.0])


def test_ellipse_serves_no_single_learning_rate() -> None:
    surface = make("ellipse")
    start = torch.tensor(surface.start, dtype=torch.float64)
    bounced = start - 0.01 * gradient(surface, start)
    assert float(bounced[1] - 2.0) == pytest.approx(-float(start[1] - 2.0))
    moved = 8.0 * (1.0 - (1.0 - 1e-7 * float(hessian(surface, start)[0, 0])) ** 100_000)
    assert moved == pytest.approx(0.0016, abs=1e-5)


def test_crescent_curvature_changes_along_one_axis() -> None:
    surface = make("crescent")
    for x, expected in ((-4.0, 51.3), (0.0, 0.1), (4.0, 51.3)):
        matrix = hessian(surface, torch.tensor([x, x * x / 5.0], dtype=torch.float64))
        assert [float(matrix[0, 0]), float(matrix[1, 1])] == pytest.approx([expected, 20.0])


def test_two_well_points_are_exact() -> None:
    surface = make("two_well", 3)
    for x, value, curvature in ((1.0, -5 / 12, 3.0), (0.0, 0.0, -2.0), (-2.0, -8 / 3, 6.0)):
        point = torch.tensor([x, 0.0, 0.0], dtype=torch.float64)
        assert float(surface(point)) == pytest.approx(value, abs=1e-15)
        assert float(gradient(surface, point).norm()) < 1e-15
        assert hessian(surface, point).diagonal().tolist() == pytest.approx([curvature, 1.0, 1.0])


@pytest.mark.parametrize("third", [-1000.0, 0.0, 2.5])
def test_softmax_logits_under_both_losses(third: float) -> None:
    surface = members.make("model", "softmax_logits", third=third)
    x = samples(surface, 60, seed=9)
    shares = [1.0 / sum(math.exp(min(o - own, 700.0)) for o in (a, b, third)) for a, b in x.tolist() for own in (a, b)]
    p1, p2 = torch.tensor(shares, dtype=torch.float64).reshape(60, 2).T
    p3 = torch.tensor([math.exp(third - a) for a in x[:, 0].tolist()], dtype=torch.float64) * p1
    cross_entropy = surface_objective(surface, members.make("loss", "cross_entropy"))
    torch.testing.assert_close(cross_entropy(x), -p1.log(), rtol=1e-12, atol=1e-15)
    squared = surface_objective(surface, members.make("loss", "mse_softmax"))
    torch.testing.assert_close(squared(x), (1.0 - p1) ** 2 + p2**2 + p3**2, rtol=1e-9, atol=1e-14)
    assert squared(x.reshape(2, 30, 2)).shape == (2, 30)


def test_softmax_logits_start_is_steep_for_one_loss_and_flat_for_the_other() -> None:
    surface = make("softmax_logits")
    p = 1.0 / (1.0 + math.exp(20.0))
    expected = {"cross_entropy": p - 1.0, "mse_softmax": -4.0 * (1.0 - p) ** 2 * p}
    for loss, slope in expected.items():
        x = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
        (g,) = torch.autograd.grad(surface_objective(surface, members.make("loss", loss))(x), x)
        assert g.tolist() == pytest.approx([slope, -slope], rel=1e-6)
    assert surface.minimum is None
