"""Every surface of conf/model against its contract: shapes, dtypes, gradients, the truth it declares, its documents."""

from __future__ import annotations

import inspect
import math
import re
from typing import Any

import members
import pytest
import torch
from surface_tools import gradient, hessian, make, samples
from torch.fx.experimental.proxy_tensor import make_fx

from optbench.errors import UserError
from optbench.problem import AbstractSurface

ALL = members.surfaces()
# (name, dim or None for the YAML's own): every surface as it is, and the N-dimensional ones at other dimensions too
AT_LEAST = {"bbob": 2, "rosenbrock": 2, "ill_quadratic": 2, "powell": 4}
N_DIMENSIONAL = [name for name in ALL if "dim" in members.keywords("model", name)]
OTHER_DIMS = {name: (4, 8, 12) if name == "powell" else (1, 3, 5) for name in N_DIMENSIONAL}
CASES = [(name, None) for name in ALL] + [
    (name, dim) for name, dims in OTHER_DIMS.items() for dim in dims if dim >= AT_LEAST.get(name, 1)
]
# where autograd has no answer: the tip of a cone, and a coordinate 0 under sqrt(abs(x)), see the class docstrings
KINK_AT_MINIMUM = {"ackley"}
NUMBERS = {"bbob"}  # made of rotations: D^2 numbers each, in tensors that are taken to where x is

each_surface = pytest.mark.parametrize("name", ALL)
each_case = pytest.mark.parametrize(("name", "dim"), CASES, ids=lambda v: "" if v is None else str(v))


def test_the_discovery_finds_surfaces() -> None:
    assert {"rosenbrock", "rastrigin", "softmax_logits", "valley"} <= set(ALL)
    assert {"sphere", "powell", "michalewicz"} <= set(N_DIMENSIONAL)


@each_surface
def test_documents(name: str) -> None:
    cls = members.target("model", name)
    assert issubclass(cls, AbstractSurface)
    assert not cls.__subclasses__()
    assert re.search(r"^Source: \S", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    first = (members.CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(r"# \S.{20,130}", first)
    assert set(members.keywords("model", name)) == set(inspect.signature(cls).parameters)


@each_case
def test_declares_a_consistent_truth(name: str, dim: int | None) -> None:
    surface = make(name, dim)
    assert surface.dim == (dim or members.keywords("model", name).get("dim", surface.dim))
    assert all(low < high for low, high in surface.domain)
    for point in (surface.start, *surface.minimizers):
        assert all(low <= v <= high for v, (low, high) in zip(point, surface.domain, strict=True))
    assert surface.minimum is not None or not surface.minimizers
    assert surface.start not in surface.minimizers
    assert len(set(surface.minimizers)) == len(surface.minimizers)
    start = torch.tensor(surface.start, dtype=torch.float64)
    if surface.label is None:
        assert float(gradient(surface, start).norm()) > 1e-3, "nothing moves from this start"


@each_case
def test_shapes_dtypes_and_batches(name: str, dim: int | None) -> None:
    surface = make(name, dim)
    x = samples(surface, 6)
    values = surface(x)
    tail = values.shape[1:]
    assert tail == (() if surface.label is None else (3,))
    assert torch.isfinite(values).all()
    for shape in ((), (5,), (2, 3)):
        n = math.prod(shape)
        part = surface(x[:n].reshape((*shape, surface.dim)))
        torch.testing.assert_close(part, values[:n].reshape((*shape, *tail)))
    single = surface(x.float())
    assert (values.dtype, single.dtype) == (torch.float64, torch.float32)
    scale = 1e-4 * (1.0 + float(values.abs().max()))
    torch.testing.assert_close(single.double(), values, rtol=1e-3, atol=scale)


@each_case
def test_rows_are_independent(name: str, dim: int | None) -> None:
    surface = make(name, dim)
    x = samples(surface, 4)
    jacobian = torch.autograd.functional.jacobian(lambda p: surface(p).reshape(4, -1).sum(dim=-1), x)
    assert torch.equal(jacobian * (1.0 - torch.eye(4, dtype=torch.float64))[..., None], torch.zeros_like(jacobian))


@each_case
def test_gradient_agrees_with_differences(name: str, dim: int | None) -> None:
    surface = make(name, dim)
    x = samples(surface, 40, seed=1)
    exact = gradient(surface, x)
    assert torch.isfinite(exact).all()
    for axis in range(surface.dim):
        low, high = surface.domain[axis]
        step = torch.zeros_like(x)
        step[:, axis] = h = 1e-4 * min(high - low, 10.0)
        f = [surface(x + k * step).reshape(40, -1).sum(dim=-1) for k in (-2, -1, 1, 2)]
        numeric = (f[0] - 8.0 * f[1] + 8.0 * f[2] - f[3]) / (12.0 * h)
        tolerance = 1e-7 * float(exact.abs().max()) + 1e-14 * float(f[0].abs().max()) / h
        torch.testing.assert_close(exact[:, axis], numeric, rtol=1e-6, atol=tolerance)


@each_case
def test_minimizers_attain_the_minimum(name: str, dim: int | None) -> None:
    surface = make(name, dim)
    for minimizer in surface.minimizers:
        point = torch.tensor(minimizer, dtype=torch.float64)
        assert float(surface(point)) == pytest.approx(surface.minimum, rel=1e-9, abs=1e-12 * dimension_scale(surface))
        if name not in KINK_AT_MINIMUM:
            bound = 1e-9 + 1e-14 * float(hessian(surface, point).abs().max())
            assert float(gradient(surface, point).norm()) < bound


def dimension_scale(surface: AbstractSurface) -> float:
    """Size of the terms that cancel in the value, so that an absolute tolerance means digits."""
    return max(1.0, *(abs(high) for _, high in surface.domain)) * surface.dim


@each_case
def test_no_point_is_lower(name: str, dim: int | None) -> None:
    surface = make(name, dim)
    if surface.minimum is None:
        assert not surface.minimizers
        return
    floor = surface.minimum - 1e-12 * dimension_scale(surface)
    assert float(surface(samples(surface, 4000, seed=2)).min()) >= floor
    for minimizer in surface.minimizers:
        near = torch.tensor(minimizer, dtype=torch.float64) + 0.05 * torch.randn(
            500, surface.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
        )
        low, high = torch.tensor(surface.domain, dtype=torch.float64).T
        assert float(surface(near.clamp(low, high)).min()) >= floor


@pytest.mark.parametrize("name", [n for n in ALL if make(n).label is None and make(n).minimum is None])
def test_no_minimum_means_no_bound(name: str) -> None:
    surface = make(name)
    rays = samples(surface, 400, seed=4)
    lowest = [float(surface(scale * rays).min()) for scale in (1.0, 10.0, 100.0)]
    assert lowest[2] < 50.0 * lowest[1] < 2500.0 * lowest[0] < 0.0


@each_surface
def test_traces_to_plain_operations(name: str) -> None:
    surface = make(name)
    x = samples(surface, 5, seed=5)
    traced = make_fx(surface)(samples(surface, 5, seed=6))
    torch.testing.assert_close(traced(x), surface(x), rtol=0.0, atol=0.0)
    targets = {str(node.target) for node in traced.graph.nodes if node.op == "call_function"}
    assert targets
    assert not [t for t in targets if not t.startswith("aten.") and "getitem" not in t]
    constants = [node for node in traced.graph.nodes if node.op == "get_attr"]
    assert name in NUMBERS or not constants, "a tensor constant was captured"
    by_row = torch.func.vmap(surface)(x)
    torch.testing.assert_close(by_row, surface(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", N_DIMENSIONAL)
@pytest.mark.parametrize("dim", [0, -1, 2.5, True, "2"])
def test_wrong_dimensions_are_refused(name: str, dim: Any) -> None:
    with pytest.raises(UserError, match=f"dim={dim}"):
        members.make("model", name, dim=dim)


@pytest.mark.parametrize(("name", "dim"), [("rosenbrock", 1), ("ill_quadratic", 1), ("powell", 3), ("powell", 6)])
def test_dimensions_that_the_definition_excludes(name: str, dim: int) -> None:
    with pytest.raises(UserError, match=f"dim={dim}"):
        make(name, dim)


@pytest.mark.parametrize(
    ("name", "keyword"), [("ill_quadratic", "condition"), ("linear_net", "l2"), ("softmax_logits", "third")]
)
@pytest.mark.parametrize("value", [-math.inf, math.nan, math.inf])
def test_wrong_parameters_are_refused(name: str, keyword: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{keyword}="):
        members.make("model", name, **{keyword: value})
