"""Constraint propagation: the gradient's program is exact, and no zero of the gradient is ever cut off a box."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import members
import numpy as np
import pytest
import torch
from certified_tools import objective_of

from optbench.critical.arithmetic import ends
from optbench.critical.arithmetic.ends import Array
from optbench.critical.certified import certify
from optbench.critical.certified import propagate as module
from optbench.critical.certified.propagate import Propagator
from optbench.critical.programs.gradient import Equations, gradient, is_smooth
from optbench.critical.programs.program import record

AT_ZERO = {"sin": 0, "cos": 1, "exp": 1, "expm1": 0, "sinh": 0, "cosh": 1, "tanh": 0, "atan": 0, "tanh'": 1, "atan'": 1}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "tanh'": lambda a: 1.0 - torch.tanh(a) ** 2,
    "atan'": lambda a: 1.0 / (1.0 + a**2),
    "asinh'": lambda a: 1.0 / torch.sqrt(1.0 + a**2),
    "erf'": lambda a: 2.0 / math.sqrt(math.pi) * torch.exp(-(a**2)),
    "log1pexp": lambda a: torch.logaddexp(a, torch.zeros_like(a)),
    "log1pexp'": torch.sigmoid,
    "sigmoid'": lambda a: torch.sigmoid(a) * (1.0 - torch.sigmoid(a)),
}


def run(
    equations: Equations, x: Sequence[Any], number: Callable[[float], Any], function: Callable[[str, Any], Any]
) -> Any:
    """All g_i(x) in an arithmetic whose numbers and elementary functions are given."""
    values: list[Any] = []
    for op, args, constant in equations.steps:
        c, a = number(constant or 0.0), [values[k] for k in args]
        if op == "x":
            values.append(x[int(constant or 0)])
        elif op == "constant":
            values.append(c)
        elif op in ("plus", "shift"):
            values.append(a[0] + (a[1] if op == "plus" else c))
        elif op in ("times", "scale"):
            values.append(a[0] * (a[1] if op == "times" else c))
        elif op in ("over", "square", "power"):
            values.append(a[0] / c if op == "over" else a[0] ** (2 if op == "square" else int(constant or 0)))
        else:
            values.append(function(op, a[0]))
    return [values[k] for k in equations.results]


def at_zero(op: str, a: Fraction) -> Fraction:
    """A function that is not rational, at the one place where its value is."""
    assert a == 0
    return Fraction(AT_ZERO[op])


def exactly(equations: Equations, x: Sequence[Fraction]) -> list[Fraction]:
    """All g_i(x) in rational numbers."""
    return list(run(equations, x, Fraction, at_zero))


class Dual:
    """A rational number with its derivatives: forward differentiation, for comparison."""

    def __init__(self, value: Fraction, slopes: Sequence[Fraction]) -> None:
        self.value, self.slopes = value, tuple(slopes)

    def __add__(self, other: Any) -> Dual:
        if not isinstance(other, Dual):
            return Dual(self.value + Fraction(other), self.slopes)
        return Dual(self.value + other.value, [a + b for a, b in zip(self.slopes, other.slopes, strict=True)])

    def __mul__(self, other: Any) -> Dual:
        if not isinstance(other, Dual):
            return Dual(self.value * Fraction(other), [a * Fraction(other) for a in self.slopes])
        slopes = [a * other.value + self.value * b for a, b in zip(self.slopes, other.slopes, strict=True)]
        return Dual(self.value * other.value, slopes)

    def __truediv__(self, other: float) -> Dual:
        return Dual(self.value / Fraction(other), [a / Fraction(other) for a in self.slopes])

    def __pow__(self, n: int) -> Dual:
        return Dual(self.value**n, [n * self.value ** (n - 1) * a for a in self.slopes])


def polynomial(rng: np.random.Generator, x: Sequence[Any]) -> Any:
    """A random program of sums, products, powers and inexact factors."""
    values = list(x)
    for _ in range(int(rng.integers(4, 12))):
        a, b = (values[i] for i in rng.integers(0, len(values), 2))
        c = float(rng.choice([0.1, -0.7, 3.0, 1e-3, -1.0, 2.0 / 3.0]))
        kind = rng.integers(0, 7)
        n = int(rng.integers(2, 5))
        values.append([a + b, a * b, a * c, a + c, a / c, a**n if kind == 5 else a, a * a][kind])
    total = values[-1]
    for v in values[len(x) : -1]:
        total = total + v * 0.3
    return total


@pytest.mark.parametrize("seed", range(30))
def test_the_gradient_is_exact(seed: int) -> None:
    def surface(x: Any) -> Any:
        return polynomial(np.random.default_rng(seed), x.unbind(-1))

    point = [Fraction(float(v)) for v in np.random.default_rng(seed + 1000).uniform(-2, 2, 3)]
    duals = [Dual(v, [Fraction(i == k) for k in range(3)]) for i, v in enumerate(point)]
    forward = polynomial(np.random.default_rng(seed), duals)
    assert exactly(gradient(record(surface, 3)), point) == list(forward.slopes)


@pytest.mark.parametrize(
    "name",
    [*members.surfaces(), "tanh", "sigmoid", "atan", "asinh", "erf", "expm1", "sinh", "cosh", "exp", "sin", "cos"],
)
def test_the_gradient_is_that_of_torch(name: str) -> None:
    if name in members.surfaces():
        objective, box = objective_of(name)
    else:
        objective, box = lambda x: (getattr(torch, name)(0.3 * x) * x).sum(dim=-1) ** 3, ((-1.0, 2.0),) * 2
    program = record(objective, len(box))
    if not is_smooth(program):
        with pytest.raises(ValueError, match="not differentiable everywhere"):
            gradient(program)
        return
    x = np.array([low + (high - low) * 0.3183 for low, high in box])
    point = torch.tensor(x, requires_grad=True)
    expected = torch.autograd.grad(objective(point[None]).sum(), point)[0].numpy()
    found = run(
        gradient(program),
        torch.tensor(x),
        lambda c: torch.tensor(c, dtype=torch.float64),
        lambda op, a: FUNCTIONS[op](a) if op in FUNCTIONS else getattr(torch, op)(a),
    )
    assert torch.stack(found).numpy() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def with_zero(seed: int, p: Sequence[float]) -> Any:
    """A random function whose gradient vanishes at p: a sum of products of two factors that vanish there."""

    def surface(x: Any) -> Any:
        rng = np.random.default_rng(seed)
        parts = x.unbind(-1)
        moved = [part - v for part, v in zip(parts, p, strict=True)]
        total = 0.0
        for _ in range(5):
            null = [moved[i] for i in rng.integers(0, len(p), 2)]
            for i, kind in enumerate(rng.integers(0, 9, 2)):
                u = null[i]
                null[i] = [u, u.sin(), u.tanh(), u.exp() - 1.0, u.expm1(), u.atan(), u.sinh(), u**3, u / 3.0][kind]
                if rng.random() < 0.4:
                    null[i] = null[i] * polynomial(rng, parts)
            total = total + null[0] * null[1] * float(rng.choice([1.0, -1.0, 0.1, 7.3]))
        return total

    return surface


def boxes_round(rng: np.random.Generator, p: Array, count: int) -> tuple[Array, Array]:
    """Boxes with p inside, on a side or in a corner; as thin as one step of floating point, or none."""

    def reach() -> Array:
        size = np.abs(p) * 10.0 ** rng.uniform(-17, 1, (count, len(p)))
        return np.where(rng.random((count, len(p))) < 0.3, 0.0, size)

    return p - reach(), p + reach()


def lost(seed: int) -> int:
    """In how many boxes round the known zero of a random function propagation loses it."""
    rng = np.random.default_rng(seed)
    p = rng.choice([-1.0, 1.0], 3) * 10.0 ** rng.uniform(-2, 1, 3)
    equations = gradient(record(with_zero(seed, p.tolist()), 3))
    assert exactly(equations, [Fraction(v) for v in p.tolist()]) == [0, 0, 0]
    low, high = boxes_round(rng, p, 40)
    new_low, new_high, alive = Propagator(equations)(low, high)
    assert ((new_low >= low) & (new_high <= high))[alive].all()
    return int((~(alive & (new_low <= p).all(axis=1) & (new_high >= p).all(axis=1))).sum())


def test_no_zero_is_ever_cut_off() -> None:
    assert [seed for seed in range(5) if lost(seed)] == []


@pytest.mark.slow
def test_no_zero_is_ever_cut_off_more_functions() -> None:
    assert [seed for seed in (*range(5, 10), *range(1000, 1035)) if lost(seed)] == []


def test_without_outward_rounding_zeros_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the test above can fail."""
    monkeypatch.setattr(ends, "round_up", lambda values, steps=1: values)
    assert sum(lost(seed) > 0 for seed in range(8)) >= 3


@pytest.mark.parametrize("op", ["_quotient", "_difference"])
def test_an_argument_is_never_cut_too_far(op: str) -> None:
    """a b = r, or a + b = r, for numbers at which everything is exact: zeros, ends, signs of all kinds."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(-4, 5, (2, 1, 20_000)) / 4.0
    r = a * b if op == "_quotient" else a + b
    spread = [
        np.stack([rng.integers(0, 3, v.shape) / 4.0 - v, v + rng.integers(0, 3, v.shape) / 4.0]) for v in (r, b, a)
    ]
    with np.errstate(all="ignore"):
        cut = np.fmin(spread[2], getattr(module, op)(*spread))
    assert ((-cut[0] <= a) & (a <= cut[1])).all()
    assert (cut < spread[2] - 0.2).any(axis=0).mean() > 0.2  # it does cut


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 12])
def test_roots_are_on_the_right_side(n: int) -> None:
    rng = np.random.default_rng(n)
    x = np.concatenate([[0.0, 5e-324, 1e-310, 1.0, 2.0, 1e308], 10.0 ** rng.uniform(-300, 300, 300)])
    x = np.concatenate([x, np.arange(1.0, 20.0) ** n])
    with np.errstate(all="ignore"):
        above, below = module._root_above(x, n), module._root_below(x, n)
    for value, high, low in zip(x.tolist(), above.tolist(), below.tolist(), strict=True):
        assert high == np.inf or Fraction(high) ** n >= Fraction(value)
        assert Fraction(low) ** n <= Fraction(value)
    usual = (x > 1e-290) & (x < 1e290)
    assert ((above - below) <= 1e-11 * above)[usual].all()


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_powers_are_undone_for_all_signs(n: int) -> None:
    rng = np.random.default_rng(n)
    a = rng.integers(-8, 9, (1, 5000)) / 4.0
    around = [
        np.stack([rng.integers(0, 4, v.shape) / 4.0 - v, v + rng.integers(0, 4, v.shape) / 4.0]) for v in (a**n, a)
    ]
    with np.errstate(all="ignore"):
        cut = np.fmin(around[1], module._roots(around[0], n, around[1]))
    assert ((-cut[0] <= a) & (a <= cut[1])).all()
    assert (cut < around[1]).any()


def test_kinks_and_poles_are_left_alone() -> None:
    for surface in (
        lambda x: x[..., 0].abs(),
        lambda x: x[..., 0].sqrt(),
        lambda x: 1.0 / x[..., 0],
        lambda x: x[..., 0].log(),
    ):
        assert not is_smooth(record(surface, 1))
    objective, _ = objective_of("ackley_3d")
    (point,) = certify(objective, ((-0.2, 0.2),) * 3).points
    assert (point.type, point.verdict, point.basis) == ("degenerate", "minimum", "proved")


@pytest.mark.parametrize("side", [(-1.0, 0.0), (0.0, 1.0)])
def test_a_zero_in_a_corner_is_found(side: tuple[float, float]) -> None:
    """Propagation alone narrows the box to the point itself, on its edge."""
    objective, _ = objective_of("zakharov_5d")
    found = certify(objective, (side,) * 5)
    assert [(p.x, p.type, p.on_boundary) for p in found.points] == [((0.0,) * 5, "minimum", True)]


@pytest.mark.slow
def test_a_continuum_is_told_although_propagation_leaves_needles_round_it() -> None:
    """The surface x y z = 1 and the three axes: their boxes would double at each level, down to the last depth."""
    found = certify(lambda x: (1.0 - x.prod(dim=-1)) ** 2, ((-2.0, 2.0),) * 3, max_boxes=600_000)
    assert (found.complete, found.points) == (False, ())
    assert {cluster.kind for cluster in found.clusters} == {"continuum"}
    assert found.boxes < 600_000


def test_factors_of_both_signs_side_by_side_keep_the_zeros() -> None:
    """(c x - 1)^2 in several coordinates, factors and divisors of both signs: the zero of the gradient is found."""
    factors = (2.5, -3.5, 1.5, -0.75)

    def surface(x: Any) -> Any:
        parts = [(c * part - 1.0) ** 2 for c, part in zip(factors, x.unbind(-1), strict=False)]
        return sum(parts) + (x[..., 4] / -3.0 - 1.0) ** 2 + (x[..., 5] / 7.0 - 1.0) ** 2

    zeros = np.array([*(1.0 / c for c in factors), -3.0, 7.0])
    propagator = Propagator(gradient(record(surface, 6)))
    low, high, alive = propagator((zeros - 0.3)[None], (zeros + 0.5)[None])
    assert alive.all()
    assert (low <= zeros).all()
    assert (zeros <= high).all()
    assert (high - low < 1e-12).all()
    assert not propagator((zeros + 0.1)[None], (zeros + 0.5)[None])[2].any()


def test_powers_of_several_exponents_side_by_side_keep_the_zeros() -> None:
    """x^n / n - 2 x in several coordinates: the gradient is 0 where x^(n-1) = 2."""
    exponents = (4, 6, 8, 5, 3, 10)
    zeros = np.array([2.0 ** (1.0 / (n - 1)) for n in exponents])

    def surface(x: Any) -> Any:
        return sum(part**n / n - 2.0 * part for n, part in zip(exponents, x.unbind(-1), strict=True))

    propagator = Propagator(gradient(record(surface, len(exponents))))
    low, high, alive = propagator((zeros - 0.5)[None], (zeros + 0.7)[None])
    assert alive.all()
    assert (low[0] <= zeros).all()
    assert (zeros <= high[0]).all()
    assert (high[0] - low[0] < 0.1).all(), "and it is cut to it"
