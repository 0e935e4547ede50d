"""Every rule for a torch function: enclosures against torch's own values and derivatives, also in random programs."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from optbench.critical.arithmetic.ends import Array
from optbench.critical.arithmetic.jet import Jet, coordinates_of_boxes
from optbench.critical.certified import certify
from optbench.critical.programs.program import Program, record
from optbench.critical.programs.scalar import MissingRule
from optbench.critical.proofs.field import Field

Unary = Callable[[Tensor], Tensor]
DOUBLE = {"dtype": torch.float64}
ONE_SIDED = torch.tensor(0.25, **DOUBLE)

UNARY: dict[str, Unary] = {
    **{name: getattr(torch, name) for name in (
        "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1",
        "log", "log10", "log1p", "log2", "neg", "reciprocal", "relu", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt",
        "square", "tan", "tanh")},
    **{name: getattr(functional, name) for name in (
        "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish",
        "relu6", "selu", "silu", "softplus", "softshrink", "softsign", "tanhshrink")},
    "softplus(2, 3)": lambda t: functional.softplus(t, beta=2.0, threshold=3.0),
    "gelu(tanh)": lambda t: functional.gelu(t, approximate="tanh"),
    "elu(0.5)": lambda t: functional.elu(t, alpha=0.5),
    "celu(0.5)": lambda t: functional.celu(t, alpha=0.5),
    "threshold": lambda t: functional.threshold(t, 0.3, -0.2),
    "threshold that meets": lambda t: functional.threshold(t, 0.3, 0.3),
    "prelu": lambda t: functional.prelu(t[..., None], ONE_SIDED[None])[..., 0],
    "clamp": lambda t: t.clamp(-0.7, 1.3),
    "clamp to tensors": lambda t: t.clamp(min=torch.tensor(-0.7), max=torch.tensor(1.3)),
    "clamp_min": lambda t: t.clamp_min(0.4),
    "maximum": lambda t: torch.maximum(t, torch.sin(t)),
    "minimum": lambda t: torch.minimum(t * t, 1.0 - t),
    "where meets": lambda t: torch.where(t < 0, -0.3 * t, t),
    "where is max": lambda t: torch.where(t > 0.5, t, ONE_SIDED * 2),
    "where jumps": lambda t: torch.where(t >= 0.3, t * t, 1.0 - t),
    "a mask": lambda t: (t > 0.2) * t,
    "an equality": lambda t: 1.0 * (t == 0) + t,
    "both": lambda t: torch.where((t > -1) & ~(t > 1) | (t > 2), t, 0.0),
    "heaviside": lambda t: torch.heaviside(t, ONE_SIDED),
    "masked_fill": lambda t: t.masked_fill(t > 0.1, 2.0),
    "huber": lambda t: functional.huber_loss(t, torch.zeros_like(t), reduction="none", delta=0.6),
    "smooth_l1": lambda t: functional.smooth_l1_loss(t, torch.zeros_like(t), reduction="none", beta=0.6),
    "bce": lambda t: functional.binary_cross_entropy_with_logits(t, torch.full_like(t, 0.3), reduction="none"),
    "softmax": lambda t: torch.stack([t, t * 0.5, t * 0 + 1], -1).softmax(-1)[..., 1],
    "log_softmax": lambda t: torch.stack([t, t * 0.5, t * 0 + 1], -1).log_softmax(-1)[..., 0],
    "logsumexp": lambda t: torch.stack([t, t * t, -t], -1).logsumexp(-1),
    "cross_entropy": lambda t: functional.cross_entropy(
        torch.stack([t, t * t, -t], -1).reshape(-1, 3), torch.zeros(t.numel(), dtype=torch.long), reduction="none",
        label_smoothing=0.2).reshape(t.shape),
    "x**0": lambda t: t**0,
    "x**3": lambda t: t**3,
    "x**-2": lambda t: t**-2,
    "x**1.5": lambda t: t**1.5,
    "x**0.5": lambda t: t**0.5,
    "2**x": lambda t: 2**t,
    "1 - x": lambda t: 1 - t,
    "1 / x": lambda t: 1 / t,
    "float_power": lambda t: torch.float_power(t, 3),
    "lerp": lambda t: torch.lerp(t, t * t, 0.3),
    "addcmul": lambda t: torch.addcmul(t, t, t, value=0.5),
    "addcdiv": lambda t: torch.addcdiv(t, t, t * t + 1, value=0.5),
    "logaddexp": lambda t: torch.logaddexp(t, 1 - t),
    "hypot": lambda t: torch.hypot(t, t - 1),
}  # fmt: skip


def pair(x: Tensor) -> Tensor:
    return torch.stack([x[..., 0], x[..., 1], x[..., 0] * x[..., 1]], -1)


WEIGHTS = torch.tensor([[0.5, -1.0, 2.0], [0.0, 1.5, -0.3]], **DOUBLE)
SHAPED: dict[str, Unary] = {
    "einsum": lambda x: torch.einsum("...i,ij,...j->...", x, WEIGHTS, pair(x)),
    "einsum of rows": lambda x: torch.einsum("bi,bi->b", pair(x), pair(x)),
    "matmul, constant on the right": lambda x: (x @ WEIGHTS).sin().sum(-1),
    "matmul, constant on the left": lambda x: (WEIGHTS.T @ x[..., None]).squeeze(-1).sin().sum(-1),
    "matmul, batched constant": lambda x: (
        x[:, None, None, :] @ torch.stack([WEIGHTS, 2 * WEIGHTS])).cos().sum((1, 2, 3)),
    "outer product": lambda x: (x[..., :, None] * x[..., None, :]).exp().sum((-1, -2)),
    "bmm": lambda x: (x[..., None, :] @ pair(x)[..., :2, None]).reshape(-1),
    "whole-number weights": lambda x: (x.double() @ torch.arange(6).reshape(2, 3).double()).square().sum(-1),
    "whole numbers": lambda x: (x * torch.tensor([3, -2])).tanh().sum(-1),
    "linear": lambda x: functional.linear(x.tanh(), WEIGHTS.T, WEIGHTS[0]).prod(-1),
    "cumsum": lambda x: pair(x).cumsum(-1).square().sum(-1),
    "cumprod": lambda x: pair(x).cumprod(-1).sum(-1),
    "var": lambda x: pair(x).var(-1),
    "std": lambda x: pair(x).std(-1, correction=0),
    "diff": lambda x: pair(x).diff(dim=-1).square().sum(-1),
    "flip and roll": lambda x: (pair(x).flip(-1) * pair(x).roll(1, -1)).sum(-1),
    "narrow and index_select": lambda x: x.narrow(-1, 1, 1)[..., 0] * x.index_select(-1, torch.tensor([1, 0]))[..., 0],
    "chunk and split": lambda x: pair(x).chunk(3, -1)[2].sum(-1) * pair(x).split([1, 2], -1)[1].sum(-1),
    "index": lambda x: x[..., [1, 0, 0]].prod(-1) + pair(x)[:, torch.tensor([2])].sum(-1),
    "gather": lambda x: pair(x).gather(-1, torch.ones(len(x), 1, dtype=torch.long)).squeeze(-1).sin(),
    "transposes": lambda x: (pair(x).T.contiguous().mT * WEIGHTS[0]).sum(-1),
    "repeat": lambda x: x.repeat(1, 2).cumsum(-1)[:, 3].sin(),
    "stack, cat, unsqueeze": lambda x: torch.cat([x.unsqueeze(1), torch.stack([x, x * 2], 1)], 1).sin().sum((1, 2)),
    "amax and amin": lambda x: pair(x).amax(-1) - pair(x).min(-1).values,
    "max": lambda x: torch.max(x[..., 0], x[..., 1]) + pair(x).max(-1)[0],
    "norms": lambda x: x.norm(dim=-1) + x.norm(p=1, dim=-1) + torch.linalg.norm(x, ord=math.inf, dim=-1),
    "normalize": lambda x: functional.normalize(x + 3, dim=-1)[..., 0],
    "cosine similarity": lambda x: functional.cosine_similarity(x + 3, x * x + 1, dim=-1),
    "written in place": lambda x: written(x),
    "tril": lambda x: (torch.tril(x[..., :, None] * x[..., None, :])).sum((-1, -2)),
    "vecdot": lambda x: torch.linalg.vecdot(x, x.sin()),
    "a gradient of torch's own": lambda x: torch.func.vmap(
        torch.func.grad(lambda z: (z**3).sum() + z[0].sin()))(x).sum(-1),
}  # fmt: skip


def written(x: Tensor) -> Tensor:
    y = torch.zeros(len(x), 3, dtype=torch.float64)
    y[:, :2] = x
    y[:, 2] = x[:, 0].exp()
    y *= 2.0
    y[:, 0] -= y[:, 1]
    return y.square().sum(-1)


SPECIAL = [0.0, -0.0, 0.3, -0.7, 1.3, 0.6, 3.0, -3.0, 1.5, 20.0, 0.5, -0.5, 1.0, -1.0, 6.0, 1e-300, -1e-300, 1e-9, 40.0,
           -40.0, 700.0, -700.0, 1e8]  # fmt: skip


def derivatives(function: Unary, x: Array) -> tuple[Array, Array, Array]:
    """Value (n,), gradient (n, d) and Hessian (n, d, d) by autograd."""
    t = torch.from_numpy(x).requires_grad_()
    value = function(t)
    n, d = x.shape
    if not value.requires_grad:
        return value.numpy(), np.zeros((n, d)), np.zeros((n, d, d))
    try:
        (grad,) = torch.autograd.grad(value.sum(), t, create_graph=True)
    except RuntimeError:  # heaviside cannot be differentiated
        return value.detach().numpy(), np.full((n, d), np.nan), np.full((n, d, d), np.nan)
    hess = torch.zeros(n, d, d, dtype=torch.float64)
    try:
        for i in range(d if grad.requires_grad else 0):
            (row,) = torch.autograd.grad(grad[:, i].sum(), t, retain_graph=True, allow_unused=True)
            hess[:, i] = 0.0 if row is None else row
    except RuntimeError:  # hardsigmoid cannot be differentiated twice
        hess[:] = torch.nan
    return value.detach().numpy(), grad.detach().numpy(), hess.numpy()


def enclosures(program: Program, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Natural ends of value (2, n), gradient (2, n, d), Hessian (2, n, d, d)."""
    n, d = low.shape
    with np.errstate(all="ignore"):
        jet = program.value(coordinates_of_boxes(low, high, 2))
    assert isinstance(jet, Jet)
    grad, hess = np.zeros((2, n, d)), np.zeros((2, n, d, d))
    for k, i in enumerate(jet.coordinates):
        grad[:, :, i] = jet.grad[:, k]
    at = 0
    for k, i in enumerate(jet.coordinates):
        for j in jet.coordinates[k:]:
            if jet.hess is not None:
                hess[:, :, i, j] = hess[:, :, j, i] = jet.hess[:, at]
            at += 1
    found = [np.broadcast_to(jet.value, (2, n)).copy(), grad, hess]
    for ends in found:
        ends[0] *= -1
    return found[0], found[1], found[2]


def escaped(ends: Array, truth: Array, slack: float) -> Array:
    """Which finite values lie outside their ranges, (n, ...); what torch and autograd round is allowed for."""
    with np.errstate(all="ignore"):
        more = slack * (1.0 + np.abs(truth))
        return np.isfinite(truth) & ((truth < ends[0] - more) | (truth > ends[1] + more))


def check(function: Unary, x: Array, *, thin: float = 1e-11) -> None:
    """Ranges over boxes round x, and at x, hold what torch computes there."""
    program = record(function, x.shape[1])
    rng = np.random.default_rng(5)
    width = np.abs(x) * 1e-3 * rng.random((len(x), 1)) + 10.0 ** rng.uniform(-8, 0, (len(x), 1))
    inside = x + width * rng.uniform(-1, 1, x.shape)
    for low, high, at in ((x, x, x), (x - width, x + width, x), (x - width, x + width, inside)):
        truth = derivatives(function, at)
        for what, ends, true in zip(
            ("value", "gradient", "Hessian"), enclosures(program, low, high), truth, strict=True
        ):
            bad = escaped(ends, true, thin).reshape(len(x), -1).any(axis=1) & np.isfinite(truth[0])
            assert not bad.any(), f"{what} at {at[bad][0]}: {true[bad][0]} is not within {ends[:, bad][:, 0].tolist()}"


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_number(name: str) -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([SPECIAL, rng.uniform(-4, 4, 120), rng.uniform(15, 45, 20) * rng.choice([-1, 1], 20)])
    # the gradient of torch's hardsigmoid has its 1/6 in single precision
    check(lambda t: UNARY[name](t[..., 0]), x[:, None], thin=1e-7 if name == "hardsigmoid" else 1e-11)


@pytest.mark.parametrize("name", SHAPED)
def test_functions_of_several_coordinates(name: str) -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.uniform(-2, 2, (100, 2)), rng.choice(SPECIAL[:9], (40, 2))])
    check(SHAPED[name], x)


def random_program(rng: np.random.Generator) -> tuple[Unary, str]:
    """A program of some of the rules, and its text."""
    names = sorted(UNARY)
    draws = [(int(rng.integers(4)), names[rng.integers(len(names))], rng.integers(8, size=2)) for _ in range(6)]
    scale = rng.uniform(-2, 2, 6).tolist()

    def program(x: Tensor) -> Tensor:
        values = [x[..., 0], x[..., 1]]
        for (kind, name, (i, j)), c in zip(draws, scale, strict=True):
            a, b = values[i % len(values)], values[j % len(values)]
            if kind == 0:
                values.append(a * b + c)
            elif kind == 1:
                values.append(torch.maximum(a, c * b))
            else:
                values.append(UNARY[name](a) * c + 0.5 * b)
        return values[-1]

    return program, str(draws)


@pytest.mark.parametrize("seed", range(120))
def test_random_programs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program, text = random_program(rng)
    x = np.concatenate([rng.uniform(-3, 3, (60, 2)), rng.choice(SPECIAL[:18], (30, 2))])
    try:
        check(program, x, thin=1e-8)
    except AssertionError as error:
        raise AssertionError(text) from error


# functions that are not what they look like --------------------------------------------------------------------------

SQUARE = ((-2.0, 2.0),) * 2


def steep(x: Tensor) -> Tensor:
    """The softplus of torch is x beyond its threshold of 20, so beyond it f = 1e-12 (x - 22)^2 + y^2."""
    a, b = x[..., 0], x[..., 1]
    return functional.softplus(a) - a + b**2 + 1e-12 * (a - 22) ** 2


def test_softplus_is_linear_beyond_its_threshold() -> None:
    found = certify(steep, ((20.5, 40.0), (-1.0, 1.0)))
    (point,) = found.points
    assert (found.complete, point.type) == (True, "minimum")
    assert point.x == pytest.approx((22.0, 0.0), abs=1e-9)


def test_the_jump_at_the_threshold_is_left_open() -> None:
    found = certify(steep, ((15.0, 21.0), (-1.0, 1.0)))
    assert not found.complete
    assert [p for p in found.points if p.basis == "proved"] == []
    assert any(low <= 20.0 <= high for (low, high), _ in (c.box for c in found.clusters))


def bump(x: Tensor) -> Tensor:
    """x^2 + y^2, and 1 at the origin: a jump up, no minimum."""
    return (x**2).sum(-1) + 1.0 * (x[..., 0] == 0) * (x[..., 1] == 0)


def test_an_equality_is_a_comparison_and_not_a_look_at_the_object() -> None:
    found = certify(bump, SQUARE)
    assert not found.complete
    assert [p for p in found.points if p.type == "minimum" or p.verdict == "minimum"] == []


DECIDING: dict[str, Unary] = {
    "if": lambda x: x[..., 0] ** 2 if x[..., 0].sum() > -99 else x[..., 1],
    "float": lambda x: x[..., 0] ** 2 * (float(x[0, 0]) > -99),
    "item": lambda x: x[..., 0] ** 2 + 0 * x.sum().item(),
    "int": lambda x: x[..., 0] * int(x[0, 0]),
    "math": lambda x: x[..., 0] * math.sin(x[0, 0]),
    "numpy": lambda x: x[..., 0] + torch.from_numpy(np.sin(x.detach().numpy()))[..., 0],
    "numpy, quietly": lambda x: x[..., 0] + torch.as_tensor(np.asarray(x)[..., 0]),
    "tolist": lambda x: x[..., 0] * (len(x.tolist()) > 0),
    "data": lambda x: x[..., 0] * x.data[..., 1],
    "detach": lambda x: x[..., 0] * x.detach()[..., 1],
    "torch.equal": lambda x: x[..., 0] * torch.equal(x, x),
    "torch.allclose": lambda x: x[..., 0] * torch.allclose(x, x),
    "any": lambda x: x[..., 0] * bool((x > 5).any()),
    "in": lambda x: x[..., 0] * (0.5 in x),
    "sorted": lambda x: sorted(x.unbind(-1))[0],
    "max of Python": lambda x: max(x[..., 0], x[..., 1]),
    "an index": lambda x: torch.tensor([[1.0, 2.0]], **DOUBLE)[0][x[..., 0].long()],
    "a mask": lambda x: x[..., 0] + x[x > 0].sum(),
    "floor": lambda x: x[..., 0].floor() + x[..., 1],
    "remainder": lambda x: x[..., 0] % 1.0,
    "argmax": lambda x: x[..., 0] * x.argmax(-1),
    "a refusal that is caught": lambda x: caught(x),
    "a number of the batch": lambda x: x[..., 0] ** 2 / x.shape[0],
    "a place in the batch": lambda x: x[..., 0] * torch.arange(len(x)),
    "a neighbour": lambda x: x[..., 0] * x[0, 1],
    "uninitialised memory": lambda x: x[..., 0] * torch.empty_like(x)[..., 1].fill_(1.0).cumsum(0),
}  # fmt: skip


def caught(x: Tensor) -> Tensor:
    try:
        return x[..., 0] + 0 * torch.lgamma(x[..., 1])
    except Exception:
        return (x**2).sum(-1)


@pytest.mark.parametrize("name", DECIDING)
def test_what_looks_at_the_numbers_is_refused(name: str) -> None:
    with pytest.raises(MissingRule):
        certify(DECIDING[name], SQUARE)


SAME: dict[str, Unary] = {
    "isinstance": lambda x: (x**2).sum(-1) if isinstance(x, Tensor) and torch.is_tensor(x) else x[..., 0],
    "type": lambda x: (x**2).sum(-1) if type(x) is Tensor else x[..., 0],
    "is": lambda x: (x**2).sum(-1) + (1.0 if x[..., 0] is x[..., 0] else 0.0),
    "double": lambda x: (x**2).sum(-1) if x.double() is x else x[..., 0],
    "a key": lambda x: {x: (x**2).sum(-1)}[x],
    "rows one by one": lambda x: torch.stack([sum(v * v for v in row) for row in x]),
    "attributes": lambda x: (x**2).sum(-1) if x.dtype == torch.float64 and x.ndim == 2 else x[..., 0],
    "hasattr": lambda x: (x**2).sum(-1) if hasattr(x, "numpy") and not hasattr(x, "parts") else x[..., 0],
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_the_program_is_that_of_a_tensor(name: str) -> None:
    assert record(SAME[name], 2).to_json() == record(lambda x: (x**2).sum(-1), 2).to_json()


# where a function is undefined ----------------------------------------------------------------------------------------


UNDEFINED: dict[str, tuple[Unary, list[tuple[float, float]]]] = {
    # 1/x + 2 (x - 3) = 0 at (3 +- sqrt 7) / 2: a saddle and a minimum
    "log": (lambda x: x[..., 0].log() + (x[..., 0] - 3) ** 2 + x[..., 1] ** 2, [((3 + math.sqrt(7)) / 2, 0.0)]),
    "log1p": (
        lambda x: (x[..., 0] - 1).log1p() + (x[..., 0] - 3) ** 2 + x[..., 1] ** 2, [((3 + math.sqrt(7)) / 2, 0.0)]),
    # with s = sqrt x: 1 = 4 s (1 - s^2), so s is the larger root of 4 s^3 - 4 s + 1
    "sqrt": (
        lambda x: x[..., 0].sqrt() + (x[..., 0] - 1) ** 2 + x[..., 1] ** 2,
        [(float(np.sort(np.roots([4, 0, -4, 1]).real)[-1] ** 2), 0.0)]),
    "the smaller one": (lambda x: torch.maximum(x[..., 0].sqrt() - 9, (x**2).sum(-1) - x[..., 0]), [(0.5, 0.0)]),
    "log of a log": (lambda x: (x[..., 0].exp() - 1).log() + (x[..., 0] - 3) ** 2 + x[..., 1] ** 2, []),
}  # fmt: skip


@pytest.mark.parametrize("name", UNDEFINED)
def test_what_is_undefined_is_excluded_at_once(name: str) -> None:
    function, minima = UNDEFINED[name]
    found = certify(function, ((-4.0, 4.0), (-1.0, 1.0)))
    assert found.complete
    assert found.boxes < 2000
    assert any("f is undefined in at least" in note for note in found.notes)
    here = [p.x for p in found.points if p.type == "minimum"]
    assert all(p.basis == "proved" and p.x[0] > 0 for p in found.points)
    if minima:
        assert here == [pytest.approx(m, abs=1e-9) for m in minima]


HIDDEN: dict[str, Unary] = {  # f is NaN for y < 0, or the condition is, and NaN > 0 is false
    "the smaller one": lambda x: torch.maximum((x**2).sum(-1) + x[..., 1], x[..., 1].sqrt() - 100),
    "a condition": lambda x: torch.where(
        torch.sigmoid(x[..., 1].sqrt()) + 1 > 0, (x**2).sum(-1) + x[..., 1], -((x**2).sum(-1)) + x[..., 1]),
    "a condition, log": lambda x: torch.where(
        torch.sigmoid(x[..., 1].log()) > -1, (x**2).sum(-1) + x[..., 1], -((x**2).sum(-1)) + x[..., 1]),
    "a mask": lambda x: (x**2).sum(-1) + x[..., 1] + (x[..., 1] > 0) * x[..., 1].log(),
    "hinge": lambda x: (x**2).sum(-1) + x[..., 1] + (x[..., 1].sqrt() - 100).relu(),
}  # fmt: skip


SPENT = ("a condition", "a condition, log")  # nothing decides them: they end with their budget


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SPENT else n for n in HIDDEN])
def test_what_is_undefined_is_not_hidden_by_a_choice(name: str) -> None:
    """The piece that is taken where f is defined has a minimum at (0, -1/2), where f is not what that piece is."""
    found = certify(HIDDEN[name], ((-1.0, 1.0), (-1.0, 1.0)))
    assert not [p for p in found.points if p.basis == "proved" and p.x[1] < 0]


def test_a_piece_that_is_not_looked_at_may_be_undefined() -> None:
    def f(x: Tensor) -> Tensor:
        inner = torch.where(x[..., 0] > 1, x[..., 0].log(), (x[..., 0] - 0.5) ** 2)
        return inner + x[..., 1] ** 2 + torch.log(x[..., 0]) ** 0 + 1 ** torch.log(x[..., 0])

    found = certify(f, ((-3.0, 0.9), (-1.0, 1.0)))
    assert found.complete
    assert [p.x for p in found.points] == [pytest.approx((0.5, 0.0), abs=1e-12)]


GREATER: dict[str, tuple[Unary, Unary]] = {  # written as a choice, and as what it is
    "of two": (lambda x: torch.where(x[..., 0] > x[..., 1], x[..., 0], x[..., 1]), lambda x: x.amax(-1)),
    "of two, turned": (lambda x: torch.where(x[..., 0] < x[..., 1], x[..., 1], x[..., 0]), lambda x: x.amax(-1)),
    "the smaller": (lambda x: torch.where(x[..., 0] > x[..., 1], x[..., 1], x[..., 0]), lambda x: x.amin(-1)),
    "than a number": (lambda x: torch.where(x[..., 0] > 0.25, x[..., 0], 0.25), lambda x: x[..., 0].clamp(min=0.25)),
    "a number": (lambda x: torch.where(x[..., 0] < 0.25, 0.25, x[..., 0]), lambda x: x[..., 0].clamp(min=0.25)),
    "than a number, smaller": (
        lambda x: torch.where(x[..., 0] > 0.25, 0.25, x[..., 0]), lambda x: x[..., 0].clamp(max=0.25)),
}  # fmt: skip


@pytest.mark.parametrize("name", GREATER)
def test_a_choice_of_the_greater_is_a_maximum(name: str) -> None:
    """It is as narrow over a box as the maximum is: a choice that is not seen through has the hull of both pieces."""
    low, high = np.array([[-1.0, -0.5], [0.0, 0.5], [0.3, -1.0]]), np.array([[1.0, 2.0], [0.5, 1.0], [0.5, 0.0]])
    choice, plain = (Field(f, ((-1.0, 2.0),) * 2).enclose(low, high, 1) for f in GREATER[name])
    np.testing.assert_allclose(choice.value, plain.value, rtol=1e-14)
    np.testing.assert_allclose(choice.grad, plain.grad, rtol=1e-14)


SOMEWHERE: dict[str, Unary] = {  # over -1 <= x <= 1: defined everywhere, in a half, nowhere
    "everywhere": lambda x: x**2 + 1,
    "in a half": torch.sqrt,
    "in the other half": lambda x: torch.log(-x),
    "nowhere": lambda x: torch.sqrt(-1 - x**2),
}


@pytest.mark.parametrize("one", SOMEWHERE)
@pytest.mark.parametrize("other", SOMEWHERE)
def test_a_choice_is_undefined_where_every_piece_that_it_may_take_is(one: str, other: str) -> None:
    def f(x: Tensor) -> Tensor:
        return torch.where(x[..., 1] > 0, SOMEWHERE[one](x[..., 0]), SOMEWHERE[other](x[..., 0]))

    low, high = np.array([[-1.0, 0.5], [-1.0, -1.0], [-1.0, -1.0]]), np.array([[1.0, 1.0], [1.0, -0.5], [1.0, 1.0]])
    found = Field(f, ((-1.0, 1.0),) * 2).enclose(low, high, 1).undefined
    wanted = [one == "nowhere", other == "nowhere", one == other == "nowhere"]
    assert (np.zeros(3, dtype=bool) if found is None else found).tolist() == wanted


def test_the_share_in_which_f_is_undefined_is_told_to_a_hundredth() -> None:
    """The edge of what is defined lies where people put it: on a number with few digits, where f itself is defined."""
    half = Field(lambda x: x[..., 0].sqrt() + x[..., 1], ((-1.0, 1.0),) * 2)
    assert 0.49 < half.undefined_share() <= 0.5
    assert Field(lambda x: x[..., 0].sqrt() + x[..., 1], ((0.0, 1.0),) * 2).undefined_share() == 0.0


@pytest.mark.parametrize("f", [
    lambda x: torch.linalg.vector_norm(x - 0.3, dim=-1) ** 2,
    lambda x: (x - 0.3).norm(dim=-1).square(),
    lambda x: ((x - 0.3) ** 2).sum(-1).sqrt() ** 2,
    lambda x: (lambda r: r * r)(torch.sqrt(((x - 0.3) * (x - 0.3)).sum(-1) / 1.0 + 0.0)),
])  # fmt: skip
def test_a_squared_norm_is_smooth_at_its_zero(f: Callable[[Tensor], Tensor]) -> None:
    found = certify(f, ((-1.0, 1.0), (-1.0, 1.0)))
    assert found.complete
    (point,) = found.points
    assert (point.type, point.basis) == ("minimum", "proved")
    assert point.x == pytest.approx((0.3, 0.3), abs=1e-12)
    assert point.eigenvalues == pytest.approx((2.0, 2.0))


def test_a_square_of_a_root_keeps_the_domain_of_the_root() -> None:
    """sqrt(x)^2 is x where x >= 0 and undefined elsewhere: no critical point of x^2 - x + y^2 is lost or invented."""
    program = record(lambda x: x[..., 0].sqrt() ** 2 + x[..., 1] ** 2, 2)
    assert "sqrt" in {step.op for step in program.steps}
    assert "sqrt" not in {step.op for step in record(lambda x: (x**2).sum(-1).sqrt() ** 2, 2).steps}


def test_whole_numbers_that_no_double_holds_are_refused_and_large_doubles_are_not() -> None:
    exact, inexact = torch.tensor([2**53, -(2**53)]), torch.tensor([2**53 + 1, 0])
    assert record(lambda x: (x * exact).sum(-1), 2).dim == 2
    with pytest.raises(MissingRule, match=r"a whole number beyond 2\*\*53"):
        record(lambda x: (x * inexact).sum(-1), 2)
    assert record(lambda x: (x * torch.tensor([1e17, 1.0], **DOUBLE)).sum(-1), 2).dim == 2
    with pytest.raises(MissingRule, match="a complex number"):
        record(lambda x: (x * torch.tensor([1j, 1.0])).real.sum(-1), 2)


def test_what_a_surface_raises_is_said_as_its_own_and_a_refusal_that_it_swallows_is_kept() -> None:
    def broken(x: Tensor) -> Tensor:
        raise KeyError("no such table\nsecond line")

    def silent(x: Tensor) -> Tensor:
        raise ZeroDivisionError

    def swallowing(x: Tensor) -> Tensor:
        try:
            return x[..., 0] * float(x.sum())
        except Exception as error:
            raise ValueError("its own words") from error

    for surface, words in (
        (broken, r"the surface \('no such table\\nsecond line'\) has no"),
        (silent, r"the surface \(ZeroDivisionError\)"),
        (swallowing, "a number taken out of x"),
    ):
        with pytest.raises(MissingRule, match=words):
            record(surface, 2)


def arb_enclosures(program: Program, low: Array, high: Array) -> list[tuple[float, float]]:
    """Ends of value, slope and second derivative over one box of one coordinate, in Arb balls."""
    arb = importlib.import_module("optbench.critical.arithmetic.arb")  # needs flint
    jet = program.value(arb.arb_point([arb.ball(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)]))
    found = []
    for ball in (jet.value, jet.grad[0], jet.hess[0][0]):
        known = ball.is_finite()
        found.append((float(ball.lower()), float(ball.upper())) if known else (-math.inf, math.inf))
    return found


@pytest.mark.parametrize("name", UNARY)
def test_the_second_arithmetic_knows_the_same_functions(name: str) -> None:
    """Arb balls, which share nothing with the intervals but the program: what torch computes lies in both.

    Over a box the mean slope lies in the range of the slopes, and the mean bend in that of the bends: no kink or jump
    is overlooked.
    """
    pytest.importorskip("flint")
    function: Unary = lambda x: UNARY[name](x[..., 0])  # noqa: E731
    program = record(function, 1)
    x = np.array([[-2.3], [-0.45], [0.62], [1.7], [0.0], [0.3], [1.3], [0.5], [-0.7]])
    for width in (0.0, 1e-2):
        low, high = x - width, x + width
        ours = [ends.reshape(2, -1).T.tolist() for ends in enclosures(program, low, high)]
        torchs, left, right = ([v.reshape(-1).tolist() for v in derivatives(function, at)] for at in (x, low, high))
        for i in range(len(x)):
            if not math.isfinite(torchs[0][i]):
                continue
            for k, (least, most) in enumerate(arb_enclosures(program, low[i], high[i])):
                (a, b), truths = ours[k][i], [torchs[k][i]]
                assert max(a, least) <= min(b, most), (x[i], k)
                if width and k:
                    truths.append((right[k - 1][i] - left[k - 1][i]) / (2.0 * width))
                for truth in truths if i < 4 else truths[1:]:  # at a kink torch's derivatives are one side's
                    slack = 1e-6 * (1.0 + abs(truth))  # a sixth of torch's has single precision
                    assert not math.isfinite(truth) or least - slack <= truth <= most + slack, (x[i], k, truth)
                if math.isfinite(b - a) and not width and i < 4:
                    assert most - least <= 8.0 * (b - a) + 1e-9 * (1.0 + abs(a)), (x[i], k)


@pytest.mark.parametrize("bend", [lambda t: torch.maximum(t, 0.3 * t), torch.relu, torch.sign, lambda t: (t > 0) * t])
def test_a_kink_along_one_coordinate_is_none_along_another(bend: Unary) -> None:
    """Balls over a box round the kink of x0: what belongs to x1 stays known, and so do the mixed second derivatives."""
    pytest.importorskip("flint")
    arb = importlib.import_module("optbench.critical.arithmetic.arb")  # needs flint
    program = record(lambda x: bend(x[..., 0]) + x[..., 1] ** 2, 2)
    jet = program.value(arb.arb_point([arb.ball(-0.1, 0.1), arb.ball(0.5, 0.75)]))
    assert not jet.hess[0][0].is_finite()
    assert (float(jet.grad[1].lower()), float(jet.grad[1].upper())) == pytest.approx((1.0, 1.5), abs=1e-8)
    assert [float(jet.hess[i][j].mid()) for i, j in ((0, 1), (1, 0), (1, 1))] == [0.0, 0.0, 2.0]
    assert all(jet.hess[i][j].is_exact() for i, j in ((0, 1), (1, 0), (1, 1)))
