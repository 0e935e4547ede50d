"""BBOB against COCO's own package (values on file, and live where it is installed), and what its functions promise."""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import bbob_reference
import numpy as np
import pytest
import torch

from optbench.descend.agreement import surface_disagreement
from optbench.errors import UserError
from optbench.surfaces.bbob import FUNCTIONS, Bbob
from optbench.surfaces.bbob_instances import optimum, rotation, uniform

EACH = range(1, len(FUNCTIONS) + 1)
CLOSE = 1e-9
"""Of the larger of |f| and the terms that make it, |f - f_opt| and |f_opt|: sums are in another order, and f16, f19 and
f23 take differences of numbers that are 10^2 to 10^4 times as large."""


@functools.cache
def table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bbob_reference.FILE.read_text())
    return found["values"]


def held(surface: Bbob, x: np.ndarray, values: Any) -> None:
    assert surface.minimum is not None
    found, wanted = surface(torch.from_numpy(np.array(x))).numpy(), np.array(values)
    size = np.maximum(np.abs(wanted - surface.minimum), abs(surface.minimum))
    assert (np.abs(found - wanted) <= CLOSE * size).all(), (surface.title, surface.dim, found, wanted)


def on_file(dim: int, instance: int) -> None:
    for function in EACH:
        values = table()[str(dim)][instance - 1][function - 1]
        held(Bbob(function, instance, dim), bbob_reference.points(dim), values)


@pytest.mark.parametrize(("dim", "instance"), [(2, 1), (2, 7), (3, 2), (5, 15), (10, 1), (40, 11)])
def test_has_the_values_of_coco(dim: int, instance: int) -> None:
    on_file(dim, instance)


@pytest.mark.slow
@pytest.mark.parametrize("dim", bbob_reference.DIMS)
def test_has_all_values_of_coco(dim: int) -> None:
    for instance in bbob_reference.INSTANCES:
        on_file(dim, instance)


def test_has_the_values_of_coco_now() -> None:
    pytest.importorskip("cocoex", reason="pip install coco-experiment")
    rng = np.random.default_rng(5)
    for dim, instance in ((2, 3), (5, 9), (20, 14)):
        for function, problem in bbob_reference.problems(dim, instance):
            surface = Bbob(function, instance, dim)
            x = np.concatenate([rng.uniform(-6.0, 6.0, (8, dim)), [surface.minimizers[0], surface.start]])
            held(surface, x, [problem(point) for point in x])


def test_the_generator_is_park_and_millers() -> None:
    state = 1
    for _ in range(10000):  # "Random number generators: good ones are hard to find" (1988): from 1 to this number
        state = 16807 * state % 2147483647
    assert state == 1043618065
    numbers = uniform(20000, 3)
    assert 0.0 < numbers.min() < numbers.max() < 1.0
    assert abs(numbers.mean() - 0.5) < 0.01
    assert (uniform(5, 3) == numbers[:5]).all()
    assert (uniform(5, -3) == numbers[:5]).all()
    turn = rotation(12, 8)
    assert np.abs(turn @ turn.T - np.eye(12)).max() < 1e-13
    assert np.abs(optimum(40, 4)).max() <= 4.0


@pytest.mark.parametrize("function", EACH)
def test_minimum_gradient_and_rows(function: int) -> None:
    for instance, dim in ((1, 2), (4, 5)):
        surface = Bbob(function, instance, dim)
        best = torch.tensor(surface.minimizers[0], dtype=torch.float64)
        low = float(surface(best))
        assert low == pytest.approx(surface.minimum, abs=1e-9 * max(1.0, abs(surface.minimum or 0.0)))
        generator = torch.Generator().manual_seed(function)
        x = 10.0 * torch.rand(300, dim, dtype=torch.float64, generator=generator) - 5.0
        near = best + 1e-3 * torch.randn(100, dim, dtype=torch.float64, generator=generator).clamp(-3, 3)
        everywhere = torch.cat([x, near.clamp(-5.0, 5.0), torch.zeros(1, dim, dtype=torch.float64), best[None]])
        assert float(surface(everywhere).min()) >= low - 1e-9 * max(1.0, abs(low))
        everywhere.requires_grad_()
        (slope,) = torch.autograd.grad(surface(everywhere).sum(), everywhere)
        assert torch.isfinite(slope).all()  # at the origin, where COCO starts, and at the minimum, too
        assert surface_disagreement(surface, x[:20].numpy()) is None
        _differences(surface, function, x[:40], slope[:40])


def _differences(surface: Bbob, function: int, x: torch.Tensor, slope: torch.Tensor) -> None:
    if function in (7, 23):  # a staircase, and a function that is nowhere differentiable
        return
    along = torch.nn.functional.normalize(slope, dim=-1)
    h = 1e-8 if function == 16 else 1e-7  # its fastest wave turns 10^6 times on a unit
    numeric = (surface(x + h * along) - surface(x - h * along)) / (2.0 * h)
    size = (1e-2 if function == 16 else 1e-4) * slope.norm(dim=-1) + 1e-14 / h * float(surface(x).abs().max())
    off = (numeric - slope.norm(dim=-1)).abs() > size
    assert int(off.sum()) <= 1, (function, off)  # a kink may lie between


def test_the_staircase_has_no_slope_and_the_valley_is_rosenbrocks() -> None:
    x = torch.tensor([[1.0, 2.0, -1.0], [3.0, -3.0, 0.5]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Bbob(7, 1, 3)(x).sum(), x)
    assert (slope == 0.0).all()
    valley, point = Bbob(8, 2, 2), torch.tensor([0.3, -0.8], dtype=torch.float64)
    z = point - torch.tensor(valley.minimizers[0], dtype=torch.float64) + 1.0
    assert valley.minimum is not None
    wanted = 100.0 * (z[0] ** 2 - z[1]) ** 2 + (z[0] - 1.0) ** 2 + valley.minimum
    assert float(valley(point)) == pytest.approx(float(wanted), rel=1e-13)


@pytest.mark.parametrize("given", [{"function": 0}, {"function": 25}, {"function": True}, {"instance": 0}, {"dim": 1}])
def test_what_there_is_not_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(given))}="):
        Bbob(**given)


def test_instances_differ() -> None:
    places = {Bbob(15, i, 3).minimizers[0] for i in range(1, 16)}
    heights = {Bbob(15, i, 3).minimum for i in range(1, 16)}
    assert len(places) == 15
    assert len(heights) > 12  # those beyond 1000 are 1000
    assert all(height is not None and math.isfinite(height) for height in heights)
