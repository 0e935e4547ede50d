"""Interval arithmetic and jets: exact fractions, high-precision functions, autograd and the special values."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import members
import mpmath
import numpy as np
import pytest
import torch
from certified_tools import escapes, objective_of, range_of

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.ends import Array
from optbench.critical.arithmetic.functions import RULES, Rule, power_rule, real_power_rule
from optbench.critical.arithmetic.interval import Interval
from optbench.critical.numeric.calculus import Field as FloatField
from optbench.critical.programs.operations import _library
from optbench.critical.programs.scalar import MissingRule
from optbench.critical.proofs.field import Field
from optbench.critical.proofs.inertia import eigenvalue_ranges
from optbench.errors import UserError

EXACT: dict[str, Callable[..., Any]] = {
    "sum": lambda a, b, c: a + b - c,
    "product": lambda a, b, c: a * b * c,
    "quotient": lambda a, b, c: a / (1 + b * b) / 3 - 2 / (4 + c * c),
    "powers": lambda a, b, c: a**3 - b**4 + 3 * c**5 - a**2 + b**-2,
    "mixed": lambda a, b, c: (a * b - c) * (a + 0.1) + (b - 0.3) * (b - 0.3) * c,
    "cancels": lambda a, b, c: (a + b) ** 2 - a * a - 2 * a * b - b * b + c - c,
}


def numbers(n: int, k: int, seed: int = 0) -> Array:
    """Doubles of all sizes and both signs, (n, k)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 2.0, (n, k)) * 10.0 ** rng.uniform(-6, 6, (n, k)) * rng.choice([-1.0, 1.0], (n, k))


@pytest.mark.parametrize("name", EXACT)
def test_thin_intervals_hold_the_exact_value(name: str) -> None:
    assert escapes(EXACT[name], numbers(400, 3)) == 0


def test_without_outward_rounding_thin_intervals_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "round_up", lambda values, steps=1: values)
    assert sum(escapes(function, numbers(400, 3)) for function in EXACT.values()) > 1000


@pytest.mark.parametrize("n", range(-3, 8))
def test_integer_powers_of_wide_intervals(n: int) -> None:
    low, high = np.array([-2.0, -2.0, 1.5, -3.0, 0.0]), np.array([3.0, -0.5, 2.5, 0.0, 2.0])
    with np.errstate(all="ignore"):
        found = Interval.between(low, high).power(n)
    t = np.linspace(0.0, 1.0, 41)[:, None]
    values = [[Fraction(float(v)) ** n for v in row if v] for row in (low + t * (high - low)).T]
    for i, column in enumerate(values):
        assert found.low[i] <= min(column) <= max(column) <= found.high[i]
    if n > 0:  # tight: the range itself, up to rounding
        expected = [0.0 if n % 2 == 0 and a < 0 < b else min(a**n, b**n) for a, b in zip(low, high, strict=True)]
        assert found.low.tolist() == pytest.approx(expected, rel=1e-14, abs=1e-300)


MP: dict[str, Callable[[Any], Any]] = {
    "abs": abs,
    "asinh": mpmath.asinh,
    "atan": mpmath.atan,
    "cos": mpmath.cos,
    "cosh": mpmath.cosh,
    "erf": mpmath.erf,
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "log1pexp": lambda x: mpmath.log1p(mpmath.exp(x)),
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: max(x, mpmath.mpf(0)),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "sin": mpmath.sin,
    "sinh": mpmath.sinh,
    "sqrt": mpmath.sqrt,
    "square": lambda x: x * x,
    "tan": mpmath.tan,
    "tanh": mpmath.tanh,
}


def arguments(name: str) -> Array:
    """Where the library is asked: all sizes, and next to the zeros and poles of the waves."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-20, 20, 150), rng.uniform(0.5, 2, 60) * 10.0 ** rng.uniform(-12, 2, 60)])
    if name in ("sin", "cos", "tan"):
        waves = np.arange(1, 60) * (np.pi / 2)
        x = np.concatenate([x, waves, np.nextafter(waves, 0), rng.uniform(-1e5, 1e5, 60)])
    return np.abs(x) if name in ("log", "sqrt") else x[x > -1] if name == "log1p" else x


@pytest.mark.parametrize("name", sorted(RULES))
def test_library_functions_are_enclosed(name: str) -> None:
    x = arguments(name)
    with np.errstate(all="ignore"):
        found = Interval.between(x, x).apply(name)
    with mpmath.workdps(60):
        for value, low, high in zip(x.tolist(), found.low.tolist(), found.high.tolist(), strict=True):
            exact = MP[name](mpmath.mpf(value))
            assert mpmath.mpf(low) <= exact <= mpmath.mpf(high), value
            near_pole = name == "tan" and abs(exact) > 1e6  # one unit in the last place of x is too much there
            assert near_pole or high - low <= 4e-14 * abs(exact) + 1e-300, value


DIFFERENTIABLE: dict[str, tuple[Rule, Callable[[torch.Tensor], torch.Tensor]]] = {
    **{name: (RULES[name], getattr(torch, name)) for name in RULES if name != "log1pexp"},
    "log1pexp": (RULES["log1pexp"], lambda t: torch.nn.functional.softplus(t, threshold=100)),
    **{f"power {n}": (power_rule(n), lambda t, n=n: t**n) for n in (3, 6, -2)},
    **{f"real power {p}": (real_power_rule(p), lambda t, p=p: t**p) for p in (1.5, -0.3)},
}
LEAST = {"log": 0.05, "sqrt": 0.05, "log1p": -0.9, "real power 1.5": 0.05, "real power -0.3": 0.05}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_rules_and_their_derivatives_hold_autograd(name: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(LEAST.get(name, -6.0), 6.0, 300)
    width = 10.0 ** rng.uniform(-6, 0.5, 300)
    low, high = x - width * rng.random(300), x + width * rng.random(300)
    rule, function = DIFFERENTIABLE[name]
    t = torch.from_numpy(x).requires_grad_()
    value = function(t)
    (first,) = torch.autograd.grad(value.sum(), t, create_graph=True)
    second = torch.zeros_like(t)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), t)
    with np.errstate(all="ignore"):
        found = rule(ends.between(low, high), 2)
    for range_, exact in zip(found, (value, first, second), strict=True):
        truth = exact.detach().numpy(force=True)
        slack = 1e-12 * np.abs(truth) + 1e-14  # autograd rounds, too
        a, b = np.broadcast_to(range_, (2, 300))
        assert (-a <= truth + slack).all()
        assert (b >= truth - slack).all()


@pytest.mark.parametrize("name", members.surfaces())
def test_surfaces_hold_autograd(name: str) -> None:
    objective, box = objective_of(name)
    field, reference = Field(objective, box), FloatField(objective, box)
    rng = np.random.default_rng(3)
    x = field.low + rng.random((200, field.dim)) * field.width
    width = 10.0 ** rng.uniform(-6, math.log10(0.3), (200, 1)) * field.width
    low, high = x - width * rng.random(x.shape), x + width * rng.random(x.shape)
    found, truth = field.enclose(low, high, 2), reference.native(reference.jet(x))
    thin = field.at(x, 2)
    for ranges, at, exact in (
        (found.value, thin.value, truth.value),
        (found.grad, thin.grad, truth.grad),
        (found.hess, thin.hess, truth.hess),
    ):
        # autograd rounds, too: by about as much as the thin interval is wide
        slack = 10 * (at[1] - at[0]) + 1e-300
        assert (ranges[0] <= exact + slack).all()
        assert (ranges[1] >= exact - slack).all()
        assert np.isfinite(at).all()
        assert (at[1] - at[0] <= 1e-9 * (1.0 + np.abs(exact).max())).all()


def test_plain_torch_code_runs_on_intervals() -> None:
    def surface(x: Any) -> Any:
        a, b = x[..., 0], x.select(-1, 1)
        rows = torch.stack([a * 2, b / 3, torch.tanh(a)], dim=-1)
        weights = torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64)
        wide = torch.cat([rows * weights, x[..., [1, 0]].exp()], dim=-1)
        ratio = torch.sigmoid(wide).mean(dim=-1) - (x**2).prod(dim=-1) + 2.0**a + torch.square(b).neg()
        value = (
            ratio + np.float64(3.0) * (x[..., 1:] - x[..., :-1]).pow(2).sum(-1) + torch.softmax(rows, dim=-1)[..., 0]
        )

        wide = x @ torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]], dtype=torch.float64)
        layer = torch.nn.functional.linear(torch.tanh(wide), torch.ones(2, 3).double(), torch.ones(2).double())
        return value + layer.norm(dim=-1) * torch.ones(1)

    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, (100, 2))
    found = range_of(surface, x - 1e-3, x + 1e-3)
    truth = surface(torch.from_numpy(x)).numpy()
    assert (found.low <= truth).all()
    assert (truth <= found.high).all()
    assert (found.high - found.low < 0.1).all()


def test_the_same_object_twice_is_a_square() -> None:
    box = (np.array([[-1.0]]), np.array([[2.0]]))
    assert range_of(lambda x: x[..., 0] * x[..., 0], *box).low == pytest.approx(0.0, abs=1e-300)
    assert range_of(lambda x: (x * (x + 0.0)).sum(dim=-1), *box).low == pytest.approx(0.0, abs=1e-300)
    assert range_of(lambda x: (x * (x + 1e-9)).sum(dim=-1), *box).low == pytest.approx(-2.0)


def test_special_values_only_widen() -> None:
    inf = np.inf
    everything = Interval.between(np.array([-inf]), np.array([inf]))
    zero = Interval.between(np.array([0.0]), np.array([0.0]))
    large = Interval.between(np.array([1e308]), np.array([1.5e308]))
    unit = Interval.between(np.array([-1.0]), np.array([1.0]))
    with np.errstate(all="ignore"):
        for whole in (everything.times(zero), everything.plus(everything.scale(-1.0)), unit.apply("reciprocal")):
            assert (whole.low[0], whole.high[0]) == (-inf, inf)
        overflow = large.times(large)
        assert overflow.low[0] <= 1.7e308
        assert overflow.high[0] == inf
        assert large.scale(-10.0).high[0] >= -1.7e308
        log = unit.apply("log")
        assert (log.low[0], log.high[0]) == (-inf, pytest.approx(0.0, abs=1e-300))
        assert not np.isfinite(unit.apply("tan").scale(1e3).apply("tan").ends).any()
        assert (everything.apply("sin").low[0], everything.apply("cos").high[0]) == (-1.0, 1.0)
        slope = RULES["abs"](unit.ends, 2)
        assert np.isinf(slope[2]).all()
        assert (-slope[1][0], slope[1][1]) == (-1.0, 1.0)
        assert np.isinf(RULES["sqrt"](zero.ends, 1)[1]).any()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.lgamma(x[..., 0]), "torch.lgamma"),
        (lambda x: x[..., 0].erfinv(), "erfinv"),
        (lambda x: x[..., 0] if x[..., 0] > 0 else x[..., 1], "decision"),
        (lambda x: x.sum(dim=0).sum() + x[..., 0], "the other points"),
        (lambda x: x[0, 0] + x[..., 1], "the other points"),
        (lambda x: math.sin(x[..., 0]), "float"),
        (lambda x: x[..., 0].item(), "item"),
        (lambda x: (x @ torch.eye(3, dtype=torch.float64)).sum(-1), "the surface"),
        (lambda x: x.norm(p=3, dim=-1), "a norm of order 3"),
        (lambda x: x.reshape(-1)[:1].expand(len(x)) + x[..., 0], "the other points"),
    ],
)
def test_operations_without_a_rule_are_named(function: Any, name: str) -> None:
    with pytest.raises(MissingRule, match=name):
        Field(function, ((-1.0, 1.0),) * 2)


def test_a_surface_must_return_one_value_a_point() -> None:
    with pytest.raises(UserError, match="one value a point"):
        Field(lambda x: x * 2, ((-1.0, 1.0),) * 2)


def test_eigenvalue_ranges_hold_the_spectrum() -> None:
    rng = np.random.default_rng(5)
    for d, scale in ((1, 1.0), (2, 1e-200), (3, 1e9), (5, 1.0)):
        a = rng.normal(size=(40, d, d)) * np.array([10.0**-i for i in range(d)])
        a = (a + a.transpose(0, 2, 1)) * scale
        low, high = eigenvalue_ranges(np.stack([a, a]))
        for k in range(len(a)):
            with mpmath.workdps(50):
                exact = sorted(mpmath.eigsy(mpmath.matrix(a[k].tolist()), eigvals_only=True))
                for i, value in enumerate(exact):
                    assert mpmath.mpf(low[k, i]) <= value <= mpmath.mpf(high[k, i])
        size = np.abs(a).max(axis=(1, 2))[:, None]
        assert (high - low <= 1e-12 * size).all()
        # of a whole interval matrix: the spectra of members of it
        radius = 0.01 * np.abs(a)
        low, high = eigenvalue_ranges(np.stack([a - radius, a + radius]))
        for _ in range(20):
            change = rng.uniform(-1, 1, a.shape)
            member = a + radius * 0.5 * (change + change.transpose(0, 2, 1))
            values = np.linalg.eigvalsh(member)
            assert (low <= values).all()
            assert (values <= high).all()
    assert np.isinf(eigenvalue_ranges(np.stack([-np.full((1, 2, 2), np.inf), np.full((1, 2, 2), np.inf)]))[0]).all()


@pytest.mark.parametrize("x", [0.1, 0.7, 29.9, 31.0])
@pytest.mark.parametrize("name", ["exp", "log", "log1p", "sin", "tanh", "sqrt", "log1pexp", "reciprocal", "div"])
def test_numbers_of_a_program_are_doubles(name: str, x: float) -> None:
    """What torch computes of constants while a surface is traced; in float32 it would be another surface."""
    arguments = (x, 3.0) if name == "div" else (x,)
    known: dict[str, Callable[..., float]] = {
        "log1pexp": lambda v: math.log1p(math.exp(v)),
        "reciprocal": lambda v: 1.0 / v,
        "div": lambda v, w: v / w,
    }
    assert _library(name, *arguments) == pytest.approx((known.get(name) or getattr(math, name))(*arguments), rel=4e-16)
