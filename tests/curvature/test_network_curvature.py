"""Curvature of networks: products, spectra, bounds and verdicts against closed forms, dense algebra and scipy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from optbench.curvature import FlatObjective, descent, measure, network_objective, prepare
from optbench.curvature.along import measure_curvature
from optbench.curvature.descent import escape, search_lower
from optbench.curvature.describe import describe_network, describe_plan
from optbench.curvature.hvp import HessianOperator, random_unit
from optbench.curvature.lanczos import ends, lanczos, missed
from optbench.curvature.newton import newton_gain
from optbench.curvature.spectrum import (
    estimated_shares,
    exact_shares,
    full_hessian,
    gauss,
    mass_below,
    positive_definite,
    widened,
)
from optbench.curvature.verdict import Figures, decide
from optbench.errors import UserError
from optbench.problem import AbstractData, NetworkProblem, Split

CPU = torch.device("cpu")
DOUBLE = torch.float64
LOSS = nn.CrossEntropyLoss(reduction="none")


def images(count: int = 48, side: int = 6, classes: int = 4, channels: int = 1) -> Split:
    """Random labelled images, always the same."""
    draw = torch.Generator().manual_seed(5)
    pixels = torch.randint(0, 256, (count, channels, side, side), generator=draw, dtype=torch.uint8)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return Split(pixels, labels, tuple(f"{i}" for i in range(count)))


def tanh_net(seed: int = 0) -> nn.Sequential:
    """116 weights, smooth."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 4)
    )


def awkward_net() -> nn.Sequential:
    """Batch norm with statistics of its own, dropout, in-place ReLU, max pooling; in training mode."""
    torch.manual_seed(3)
    norm = nn.BatchNorm2d(4)
    norm.running_mean.uniform_(-0.2, 0.2)
    norm.running_var.uniform_(0.5, 1.5)
    layers = (nn.Conv2d(1, 4, 3), norm, nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5))
    return nn.Sequential(*layers, nn.Linear(16, 4)).train()


def quadratic(matrix: np.ndarray, at: np.ndarray, parts: int = 1, offset: float = 1.0) -> FlatObjective:
    """x'Ax/2 + offset as a sum of equal parts."""
    a = torch.from_numpy(matrix / parts)
    return FlatObjective([lambda x: 0.5 * x @ a @ x + offset / parts] * parts, torch.from_numpy(at))


def rotated(eigenvalues: np.ndarray, seed: int = 0) -> np.ndarray:
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))
    return (q * eigenvalues) @ q.T


def plain(function: Callable[[Tensor], Tensor], *at: float) -> FlatObjective:
    """A formula as an objective."""
    return FlatObjective([function], torch.tensor(at, dtype=DOUBLE))


def autograd_hessian(objective: FlatObjective) -> np.ndarray:
    """The Hessian by torch.autograd.functional, part by part."""
    rows = [torch.autograd.functional.hessian(part, objective.weights) for part in objective.parts]
    return sum(rows).numpy()


# the objective -------------------------------------------------------------------------------------------------------


def test_the_objective_is_the_mean_loss_in_evaluation_mode_and_leaves_the_model_alone() -> None:
    model, split = awkward_net(), images()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    objective = network_objective(model, LOSS, split)
    operator = HessianOperator(objective)
    operator(operator.objective.gradient()[1])
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    frozen = awkward_net().double().eval()
    assert split.labels is not None
    wanted = LOSS(frozen(split.images.double() / 255), split.labels).mean().item()
    assert objective.value() == pytest.approx(wanted, rel=1e-12)
    assert objective.piecewise
    assert objective.weights.dtype == DOUBLE


@pytest.mark.parametrize("memory", [0.0, 1e9], ids=["double backward", "linearized"])
@pytest.mark.parametrize("make", [tanh_net, awkward_net])
def test_products_are_those_of_autograd_and_do_not_depend_on_chunks(
    make: Callable[[], nn.Module], memory: float
) -> None:
    whole = network_objective(make(), LOSS, images(), chunk=48)
    hessian = autograd_hessian(whole)
    value, gradient = whole.gradient()
    for chunk in (48, 20, 7) if not memory else (25,):
        objective = network_objective(make(), LOSS, images(), chunk=chunk)
        assert len(objective.parts) == -(-48 // chunk)
        operator = HessianOperator(objective, memory)
        operator.linearize()
        assert objective.value() == pytest.approx(value, rel=1e-13)
        assert torch.allclose(objective.gradient()[1], gradient, rtol=0, atol=1e-14)
        for i in range(3):
            v = random_unit(objective.n, 1, i, DOUBLE, CPU)
            assert np.abs(operator(v).numpy() - hessian @ v.numpy()).max() < 1e-10 * np.abs(hessian).max()


def test_intermediates_are_kept_within_the_budget_only() -> None:
    objective = network_objective(tanh_net(), LOSS, images(), chunk=24)
    everything, told = HessianOperator(objective, 1e9), list[tuple[int, int]]()
    everything.linearize(lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2)]
    assert everything.kept_parts == 2
    assert everything.kept_bytes > 0
    half = HessianOperator(objective, 0.7 * max(everything.kept_bytes, everything.expected_bytes))
    half.linearize()
    assert half.kept_parts == 1
    assert half.kept_bytes <= 0.7 * max(everything.kept_bytes, everything.expected_bytes)
    v = random_unit(objective.n, 0, 0, DOUBLE, CPU)
    assert torch.allclose(half(v), everything(v), rtol=0, atol=1e-14)


@pytest.mark.parametrize("width", [5, 500, 5000])
def test_the_memory_of_a_part_is_what_autograd_saves_beside_the_weights(width: int) -> None:
    """By the book: the image, what tanh returns, what the softmax returns, the label and the sum of its weights."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, width), nn.Tanh(), nn.Linear(width, 4)).double()
    objective = network_objective(model, LOSS, images(), dtype=DOUBLE, chunk=24)
    assert objective.part_bytes == 24 * 8 * (36 + width + 4 + 1 + 1)


@pytest.mark.parametrize(("worth", "share"), [(0.0, 1.0), (math.inf, 0.0)])
def test_the_share_of_kept_intermediates_is_told(worth: float, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optbench.curvature.inspect.WORTH_KEEPING", worth)
    picture = prepare(network_objective(tanh_net(), LOSS, images(), chunk=24), products=20).look()
    assert picture.kept_share == share
    assert f"intermediates of {share:.0%} of the data kept" in "\n".join(describe_network(picture))


def test_a_linearized_part_that_is_wrong_is_not_kept() -> None:
    # torch.func.linearize (2.13) applies an in-place operation on a constant twice
    pixels = torch.arange(12, dtype=torch.uint8).view(4, 3)

    def part(weights: Tensor) -> Tensor:
        return (pixels.to(weights.dtype).div_(255.0) @ weights).tanh().square().sum()

    objective = FlatObjective([part], torch.tensor([1.0, -2.0, 3.0], dtype=DOUBLE))
    operator = HessianOperator(objective, 1e9)
    operator.linearize()
    v = random_unit(3, 0, 0, DOUBLE, CPU)
    assert np.abs(operator(v).numpy() - autograd_hessian(objective) @ v.numpy()).max() < 1e-15


def test_a_share_is_a_fixed_part_of_the_data() -> None:
    first, again = (network_objective(tanh_net(), LOSS, images(), share=0.5) for _ in range(2))
    other = network_objective(tanh_net(), LOSS, images(), share=0.5, seed=1)
    assert (first.examples, first.of) == (24, 48)
    assert first.value() == again.value() != other.value()


def test_the_error_of_a_share_is_the_spread_of_its_gradients() -> None:
    shared = network_objective(tanh_net(), LOSS, images(), share=0.5, chunk=1)
    each = np.array([shared.part_gradient(i, shared.weights)[1].numpy() * 24 for i in range(24)])
    assert shared.sampling_error() == pytest.approx(math.sqrt(each.var(axis=0, ddof=1).sum() / 24), rel=1e-9)
    assert network_objective(tanh_net(), LOSS, images(), chunk=1).sampling_error() is None
    assert network_objective(tanh_net(), LOSS, images(), share=0.5).sampling_error() is None


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="share"):
        network_objective(tanh_net(), LOSS, images(), share=share)


def test_what_cannot_be_looked_at_is_refused() -> None:
    with pytest.raises(UserError, match="labelled"):
        network_objective(tanh_net(), LOSS, replace(images(), targets=None))
    with pytest.raises(UserError, match="trainable"):
        network_objective(tanh_net().requires_grad_(False), LOSS, images())
    with pytest.raises(UserError, match="--products 3"):
        prepare(network_objective(tanh_net(), LOSS, images()), products=3)
    with pytest.raises(UserError, match="not finite"):
        prepare(plain(lambda x: x.log().sum(), 0.0)).look()


# Lanczos -------------------------------------------------------------------------------------------------------------


def test_lanczos_finds_both_ends_of_a_known_spectrum_within_its_bounds() -> None:
    values = np.concatenate([[-3.0, -2.9], np.linspace(-0.5, 0.5, 196), [4.0, 7.0]])
    operator = HessianOperator(quadratic(rotated(values), np.zeros(200), parts=2))
    coarse = ends(operator, 200, steps=8, starts=2)
    for pair in (coarse.low, coarse.high):
        assert np.abs(values - pair.value).min() <= pair.residual * (1 + 1e-9)
    fine = ends(operator, 200, steps=40, starts=2)
    assert fine.low.value == pytest.approx(-3.0, abs=1e-9)
    assert fine.high.value == pytest.approx(7.0, abs=1e-9)
    assert fine.lower_bound <= -3.0
    assert fine.upper_bound >= 7.0
    assert operator.products == 2 * 8 + 2 * 40
    v = fine.low.vector
    assert float((operator(v) - fine.low.value * v).norm()) <= fine.low.residual + 1e-12


def test_the_basis_stays_orthonormal_long_after_convergence() -> None:
    values = np.concatenate([[100.0], np.linspace(0, 1, 149)])
    run = lanczos(
        HessianOperator(quadratic(rotated(values), np.zeros(150))), random_unit(150, 0, 0, DOUBLE, CPU), 100, DOUBLE
    )
    gram = (run.basis @ run.basis.T).numpy()
    assert np.abs(gram - np.eye(len(gram))).max() < 1e-13
    assert (run.tridiagonal.ritz()[0] > 50).sum() == 1


def test_lanczos_ends_where_the_krylov_space_does() -> None:
    values = np.zeros(60)
    values[:3] = (-1.0, 2.0, 5.0)
    found = ends(HessianOperator(quadratic(rotated(values), np.zeros(60))), 60, steps=30, starts=1)
    assert found.probes[0].steps == 4
    assert found.probes[0].exhausted
    assert (found.lower_bound, found.upper_bound) == (found.low.value, found.high.value)
    assert found.low.value == pytest.approx(-1.0, abs=1e-12)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    operator = HessianOperator(quadratic(rotated(np.linspace(-1, 2, 50)), np.zeros(50)))
    first, again, other = (ends(operator, 50, 6, 2, seed=seed).low.value for seed in (0, 0, 1))
    assert first == again != other


def test_scipys_eigsh_agrees_on_the_same_operator() -> None:
    objective = network_objective(tanh_net(), LOSS, images())
    operator = HessianOperator(objective, 1e9)
    operator.linearize()
    found = ends(operator, operator.n, steps=60, starts=1)
    matvec = LinearOperator(
        (operator.n,) * 2, matvec=lambda v: operator(torch.from_numpy(v.reshape(-1))).numpy(), dtype=np.float64
    )
    low, high = np.sort(eigsh(matvec, k=2, which="BE", return_eigenvectors=False, v0=np.ones(operator.n)))
    assert found.low.value == pytest.approx(low, rel=1e-8)
    assert found.high.value == pytest.approx(high, rel=1e-8)


def test_the_bound_on_what_was_missed_is_the_published_one() -> None:
    # 838 weights, 5 starts of 50 steps, 0.1 % for each end: research of this project, from theorem 4.2
    assert missed(838, 50, 5, 0.998) == pytest.approx(0.002809, abs=2e-6)
    for better in (
        missed(838, 60, 5, 0.998),
        missed(838, 50, 6, 0.998),
        missed(838, 50, 5, 0.99),
        missed(100, 50, 5, 0.998),
    ):
        assert better < missed(838, 50, 5, 0.998)
    assert missed(10**7, 2, 1, 0.999) == 1.0


def test_too_few_steps_bound_nothing() -> None:
    found = ends(HessianOperator(quadratic(rotated(np.linspace(-1, 2, 300)), np.zeros(300))), 300, steps=3, starts=1)
    assert found.miss >= 0.5
    assert (found.lower_bound, found.upper_bound) == (-math.inf, math.inf)


def test_the_bound_holds_for_random_starts() -> None:
    # an end that is hard to see: 1 of 400 eigenvalues, just outside the bulk
    values = np.append(np.linspace(0.0, 1.0, 399), -0.01)
    operator = HessianOperator(quadratic(rotated(values), np.zeros(400)))
    for seed in range(20):
        assert ends(operator, 400, steps=10, starts=2, seed=seed).lower_bound <= -0.01


# shares --------------------------------------------------------------------------------------------------------------


def test_quadrature_reproduces_the_moments_of_the_start() -> None:
    matrix = rotated(np.linspace(-1, 1.5, 40))
    start = random_unit(40, 2, 0, DOUBLE, CPU)
    nodes, weights = gauss(lanczos(HessianOperator(quadratic(matrix, np.zeros(40))), start, 6, DOUBLE).tridiagonal)
    power = start.numpy()
    for order in range(12):
        assert weights @ nodes**order == pytest.approx(start.numpy() @ power, abs=1e-13)
        power = matrix @ power


def test_stieltjes_ranges_hold_the_mass_of_the_start_and_close_with_more_steps() -> None:
    values = np.concatenate([np.linspace(-0.3, -0.01, 30), np.zeros(40), np.geomspace(1e-4, 2.0, 50)])
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(120, 120)))
    operator = HessianOperator(quadratic((q * values) @ q.T, np.zeros(120)))
    start = random_unit(120, 0, 0, DOUBLE, CPU)
    masses = (q.T @ start.numpy()) ** 2
    widths = []
    for steps in (4, 10, 25):
        probe = lanczos(operator, start, steps, DOUBLE).tridiagonal
        for x in (*np.linspace(-0.4, 2.2, 53), *probe.ritz()[0]):
            low, high = mass_below(probe, float(x))
            assert low - 1e-9 <= masses[values < x - 1e-7].sum()
            assert masses[values <= x + 1e-7].sum() <= high + 1e-9
        low, high = mass_below(probe, -0.005)
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]


def test_ranges_of_shares_hold_the_counted_ones() -> None:
    objective = network_objective(tanh_net(), LOSS, images())
    operator = HessianOperator(objective, 1e9)
    operator.linearize()
    values = np.linalg.eigvalsh(full_hessian(operator))
    probes = ends(operator, operator.n, steps=40, starts=3).probes
    for tau in (1e-3 * values[-1], 1e-2 * values[-1], 0.1 * values[-1]):
        counted, ranges = exact_shares(values, tau), estimated_shares(probes, operator.n, tau)
        assert counted.exact
        assert not ranges.exact
        for name in ("negative", "zero", "positive"):
            low, high = getattr(ranges, name)
            assert low <= getattr(counted, name)[0] <= high
        (strict, _), (loose, _) = counted.minimum_ratio
        assert strict == pytest.approx((values > tau).mean())
        assert loose == pytest.approx((values >= -tau).mean())


def test_the_spread_between_probes_is_that_of_the_beta_distribution() -> None:
    # v'Pv of a projector of rank 30 in 100 dimensions
    draws = np.array([random_unit(100, 0, i, DOUBLE, CPU).numpy()[:30] for i in range(2000)])
    masses = (draws**2).sum(axis=1)
    assert masses.var() == pytest.approx(2 * 0.3 * 0.7 / 102, rel=0.1)
    low, high = widened((0.3, 0.3), 102 / 2)
    assert np.mean((masses > low) & (masses < high)) > 0.99
    assert widened((0.0, 0.0), 51.0)[0] == 0.0
    assert widened((0.0, 0.0), 51.0)[1] > 0.0


def test_cholesky_says_whether_a_matrix_is_positive_definite() -> None:
    assert positive_definite(rotated(np.array([0.1, 1.0, 2.0])), 0.05)
    assert not positive_definite(rotated(np.array([0.1, 1.0, 2.0])), 0.15)
    assert not positive_definite(rotated(np.array([-0.1, 1.0, 2.0])), 0.0)


# Newton's gain, ways down --------------------------------------------------------------------------------------------


def test_newtons_gain_is_that_of_dense_algebra() -> None:
    values = np.concatenate([[-0.5], np.geomspace(0.01, 3.0, 29)])
    matrix, at = rotated(values), np.random.default_rng(4).normal(size=30)
    objective = quadratic(matrix, at, offset=40.0)
    loss, gradient = objective.gradient()
    found = newton_gain(HessianOperator(objective), loss, gradient, 3.0, DOUBLE)
    w, q = np.linalg.eigh(matrix)
    g = q.T @ (matrix @ at)
    assert found.predicted == pytest.approx((g**2 / (np.abs(w) + 3e-3)).sum() / (2 * loss), rel=1e-9)
    step = -q @ (g / (np.abs(w) + 3e-3))
    falls = [(loss - objective.value(torch.from_numpy(at + s * step))) / loss for s in (1.0, 0.3, 0.1, 0.03, 0.01)]
    assert found.measured == pytest.approx(max(falls), rel=1e-9)
    assert found.hess_grad == pytest.approx(np.linalg.norm(w * g) / np.linalg.norm(g) / 3.0, rel=1e-9)


def test_a_slope_without_curvature_has_a_gain_without_bound() -> None:
    picture = prepare(plain(lambda x: 5.0 + x.sum(), 1.0, 2.0)).look()
    assert picture.newton.predicted == math.inf
    assert picture.verdict.criticality == "not critical"
    json.dumps(picture.to_json(), allow_nan=False)


def gain_of(function: Callable[[Tensor], Tensor]) -> Any:
    """Newton's gain at 0."""
    objective = plain(function, 0.0)
    return newton_gain(HessianOperator(objective), *objective.gradient(), 1.0, DOUBLE)


@pytest.mark.parametrize("block", [3, 10_000])
def test_directions_that_surely_curve_up_are_eigenvectors(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worked out in place, in pieces of the coordinates, for want of memory."""
    monkeypatch.setattr(measure, "_BLOCK", block)
    values = np.concatenate([np.full(20, -0.01), np.full(17, 0.02), [1.0, 2.0, 3.0]])
    matrix = rotated(values)
    found = measure._positive(HessianOperator(quadratic(matrix, np.zeros(40))), 12, 0, DOUBLE, 0.5).numpy()
    assert np.abs(found @ found.T - np.eye(3)).max() < 1e-10
    assert found @ matrix @ found.T == pytest.approx(np.diag(np.diag(found @ matrix @ found.T)), abs=1e-8)
    assert np.sort(np.diag(found @ matrix @ found.T)) == pytest.approx([1.0, 2.0, 3.0], rel=1e-8)


def test_a_step_to_where_the_loss_is_not_finite_is_no_gain() -> None:
    """f = 5 - log(1 - x) - 3x: the whole step leads to 2, where there is no f; 0.3 of it to 0.6."""
    found = gain_of(lambda x: (5.0 - (1.0 - x).log() - 3.0 * x).sum())
    at = 0.3 * 2.0 / (1.0 + 1e-3)
    assert found.share == 0.3
    assert found.measured == pytest.approx((3.0 * at + math.log(1.0 - at)) / 5.0, rel=1e-6)


def test_a_gain_is_one_of_newtons_step_and_never_of_its_opposite() -> None:
    """A kink just ahead: the step of 1000 rises steeply at every share of it, at 0.01 of it least."""
    found = gain_of(lambda x: (5.0 - x + 1000.0 * (x - 1e-6).relu()).sum())
    assert found.share == 0.01
    assert found.measured == pytest.approx(-999.0 * 10.0 / 5.0, rel=1e-3)


class TwoWeights(nn.Module):
    """w1 w2 x: the smallest network with a saddle."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        return self.w[0] * self.w[1] * x.flatten(1)


class SquaredError(nn.Module):
    """(y - 1)^2, whatever the label."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs[:, 0] - 1.0).square()


ONE = Split(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), torch.zeros(1, dtype=torch.long), ("one",))


def test_the_two_weight_network_is_at_a_saddle_and_the_way_out_is_the_diagonal() -> None:
    picture = prepare(network_objective(TwoWeights(), SquaredError(), ONE)).look()
    assert (picture.lambda_min, picture.lambda_max) == pytest.approx((-2.0, 2.0))
    assert picture.verdict.criticality == "critical"
    assert (picture.verdict.kind, picture.verdict.basis) == ("saddle", "proved")
    assert picture.shares.minimum_ratio == ((0.5, 0.5), (0.5, 0.5))
    way = picture.way_down()
    assert way is not None
    assert [abs(float(way[name])) for name in ("w.0", "w.1")] == pytest.approx([math.sqrt(0.5)] * 2)
    assert float(way["w.0"]) == pytest.approx(float(way["w.1"]))
    assert picture.escape is not None
    # along (t, t) / sqrt 2 the loss is (1 - t^2/2)^2
    for move in picture.escape.moves:
        assert move.measured == pytest.approx((1 - move.step**2 / 2) ** 2 - 1, abs=1e-12)
    assert picture.escape.best is not None
    assert picture.escape.best.step == 1.0


@pytest.mark.parametrize("tilt", [1.0, -1.0])
@pytest.mark.parametrize("turned", [1.0, -1.0])
@pytest.mark.parametrize("slope", [0.0, 0.05, -0.05])
def test_a_way_out_leads_down_by_what_is_told(tilt: float, turned: float, slope: float) -> None:
    """A saddle with a cubic term: one side falls further; the vector may be on any, and the slope against it."""
    objective = plain(lambda x: 1.0 + slope * x[0] - x[0] ** 2 - tilt * x[0] ** 3 + x[1] ** 2, 0.0, 0.0)
    loss, gradient = objective.gradient()
    way = escape(objective, loss, gradient, torch.tensor([turned, 0.0], dtype=DOUBLE), -2.0)
    assert way.best is not None
    assert way.direction[0] == tilt
    assert (way.best.step, way.best.measured) == (3.0, pytest.approx(3.0 * tilt * slope - 36.0))
    for move in way.moves:
        there = objective.value(objective.weights + move.step * way.direction)
        assert move.measured == pytest.approx(there - loss, abs=1e-12)
        assert move.predicted == pytest.approx(move.step * tilt * slope - move.step**2, abs=1e-12)


def test_the_all_zero_network_is_degenerate_and_a_third_order_witness_shows_that_it_is_no_minimum() -> None:
    split = images()
    assert split.labels is not None
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 4)
    ).double()
    for p in model.parameters():
        p.data.zero_()
    model[-1].bias.data = (torch.bincount(split.labels, minlength=4).double() / 48).log()
    picture = prepare(network_objective(model, LOSS, split)).look()
    assert picture.verdict.criticality == "critical"
    assert abs(picture.lambda_min) < 1e-15
    assert (picture.verdict.kind, picture.verdict.basis) == ("not a minimum", "shown")
    assert picture.escape is None
    assert picture.witness is not None
    assert picture.witness.order == pytest.approx(3.0, abs=0.05)
    assert picture.shares.positive[0] == pytest.approx(3 / picture.plan.n)
    way = picture.way_down()
    assert way is not None
    assert way.keys() - {"step"} == {name for name, _ in model.named_parameters()}
    objective = network_objective(model, LOSS, split)
    step = torch.cat([way[name].flatten() for name, _ in objective.layout]) * way["step"]
    assert objective.value(objective.weights + step) < objective.value()


@pytest.mark.parametrize(
    ("function", "found", "order"),
    [
        (lambda x: 1 + x[0] ** 2 - x[1] ** 4, True, 4.0),
        (lambda x: 1 + x[0] ** 2 + x[1] ** 3, True, 3.0),
        (lambda x: 1 + x[0] ** 2 + x[1] ** 4, False, None),
        # Peano: a minimum along every straight line through 0, and not a minimum
        (lambda x: 1 + (x[0] - x[1] ** 2) * (x[0] - 3 * x[1] ** 2) - 0.0 * x[1], False, None),
    ],
    ids=["x2 - y4", "x2 + y3", "x2 + y4", "Peano in the null space"],
)
def test_the_search_on_spheres(function: Callable[[Tensor], Tensor], found: bool, order: float | None) -> None:
    objective = plain(function, 0.0, 0.0)
    positive = torch.tensor([[1.0, 0.0]], dtype=DOUBLE)
    loss, gradient = objective.gradient()
    witness = search_lower(objective, loss, gradient, positive)
    assert witness.found is found
    if order is not None:
        assert witness.order == pytest.approx(order, abs=0.05)


def test_curvature_that_the_last_bit_of_gradient_explains_is_not_called_a_saddle() -> None:
    # just off the degenerate point of x^2 + y^3 the second derivative along y is -6e-6
    picture = prepare(plain(lambda x: 1 + x[0] ** 2 + x[1] ** 3, 0.0, -1e-6)).look()
    assert picture.lambda_min == pytest.approx(-6e-6)
    assert picture.verdict.kind == "not a minimum"
    assert "order 3.0" in picture.verdict.wording
    level = prepare(plain(lambda x: 1 + x[0] ** 2 + x[1] ** 4, 0.0, 1e-4)).look()
    assert level.lambda_min == pytest.approx(1.2e-7)
    assert level.verdict.kind == "degenerate"
    assert "no lower point" in level.verdict.wording


def test_one_fall_has_no_order() -> None:
    assert descent._power([]) is None
    assert descent._power([(0.1, 1e-3)]) is None
    assert descent._power([(0.1, 1e-3), (0.01, 1e-6)]) == pytest.approx(3.0)


# verdicts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eigenvalues", "kind"),
    [((0.5, 1.0, 3.0), "minimum"), ((-3.0, -1.0, -0.5), "maximum"), ((-0.1, 1.0, 3.0), "saddle"),
     ((0.0, 1.0, 3.0), "degenerate"), ((-1.0, 0.0, 0.0), "not a minimum")],
)  # fmt: skip
def test_known_quadratics_are_what_they_are(eigenvalues: tuple[float, ...], kind: str) -> None:
    picture = prepare(quadratic(np.diag(eigenvalues), np.zeros(3))).look()
    assert picture.verdict.criticality == "critical"
    assert picture.verdict.kind == kind
    assert picture.lambda_min == pytest.approx(eigenvalues[0])
    assert ("Cholesky" in picture.verdict.wording) == (kind == "minimum")


BASE = Figures(gain=1e-9, fall=1e-9, hess_grad=0.5, low=-0.1, high=2.0, lower_bound=-0.11, upper_bound=2.1, noise=1e-6)


@pytest.mark.parametrize(
    ("changes", "criticality", "kind", "words"),
    [
        ({}, "critical", "saddle", "saddle: negative curvature shown"),
        ({"gain": 0.5, "fall": 0.4}, "not critical", "saddle", "lowers the loss by 40 %; negative curvature shown"),
        ({"gain": 1e-3, "fall": 1e-3}, "near-critical", "saddle", "near-critical: a damped Newton step lowers"),
        ({"gain": 1e-3, "fall": -1.0}, "near-critical", "saddle", "step does not lower"),
        ({"gain": 1e-3, "fall": -1e-9}, "near-critical", "saddle", "step does not lower"),
        ({"gain": 1e-3, "fall": 0.0}, "near-critical", "saddle", "step does not lower"),
        ({"gain": math.inf, "fall": 1.0}, "not critical", "saddle", "not critical"),
        ({"gain": math.nan, "fall": 1.0}, "not critical", "saddle", "not critical"),
        ({"gain": 1e-3, "hess_grad": 0.01}, "near-critical", "saddle", "gradient-flat"),
        ({"low": -1e-3}, "critical", "saddle", "mild saddle"),
        ({"low": -2e-6}, "critical", "degenerate", "no negative curvature below -0.11 (99.9 %)"),
        ({"low": -2e-6, "lower_bound": -math.inf}, "critical", "degenerate", "too few products"),
        ({"low": 0.2, "lower_bound": 0.1}, "critical", "minimum", "local minimum (confidence 99.9 %)"),
        ({"low": 0.2, "lower_bound": 0.1, "exact": True}, "critical", "degenerate", "minimum-like"),
        ({"low": 0.2, "lower_bound": 0.1, "exact": True, "definite": True}, "critical", "minimum", "Cholesky"),
        ({"low": 0.2, "lower_bound": 0.1, "gain": 1.0, "fall": 1.0}, "not critical", "minimum", "direction curves up"),
        ({"low": -2.0, "high": -0.1, "upper_bound": -0.05}, "critical", "maximum", "local maximum"),
        ({"low": -2.0, "high": -0.1, "upper_bound": 0.05}, "critical", "not a minimum", "no positive curvature"),
        ({"doubt": 0.3}, "critical", "degenerate", "smaller than its change"),
        ({"doubt": 0.2}, "critical", "saddle", "saddle"),
        ({"low": 0.0, "lower_bound": -0.1, "witness": True, "order": 3.0, "radius": 0.01}, "critical", "not a minimum",
         "at distance 0.01, falling with order 3.0"),
        ({"low": 0.0, "lower_bound": -0.1, "witness": False}, "critical", "degenerate", "no lower point was found"),
    ],
)  # fmt: skip
def test_the_rules(changes: dict[str, float], criticality: str, kind: str, words: str) -> None:
    verdict = decide(replace(BASE, **changes))
    assert verdict.criticality == criticality
    assert verdict.kind == kind
    assert words in verdict.wording
    assert verdict.gradient_flat == ("hess_grad" in changes)


def test_exact_and_lanczos_pictures_of_a_network_agree() -> None:
    exact = prepare(network_objective(tanh_net(), LOSS, images())).look()
    by_lanczos = prepare(network_objective(tanh_net(), LOSS, images()), products=90).look()
    assert exact.plan.exact
    assert (by_lanczos.plan.exact, by_lanczos.plan.starts, by_lanczos.plan.steps) == (False, 3, 30)
    assert by_lanczos.lambda_min == pytest.approx(exact.lambda_min, abs=1e-3 * exact.lambda_max)
    assert by_lanczos.lambda_max == pytest.approx(exact.lambda_max, rel=1e-8)
    assert abs(by_lanczos.lambda_max - exact.lambda_max) <= by_lanczos.residual_max + 1e-12
    assert by_lanczos.residual_max < 1e-3 * exact.lambda_max
    assert 0.0 <= by_lanczos.residual_min < 0.1 * exact.lambda_max
    assert by_lanczos.lower_bound <= exact.lambda_min <= by_lanczos.lambda_min + 1e-15
    assert by_lanczos.newton.predicted == pytest.approx(exact.newton.predicted, rel=1e-6)
    assert by_lanczos.verdict.kind == exact.verdict.kind == "saddle"
    assert np.trapezoid(exact.density.density, exact.density.grid) == pytest.approx(1.0, abs=0.02)
    assert exact.products <= exact.plan.products


def test_what_lanczos_finds_is_probable_and_not_shown() -> None:
    picture = prepare(quadratic(rotated(np.linspace(1.0, 3.0, 60)), np.zeros(60)), products=45).look()
    assert not picture.plan.exact
    assert (picture.verdict.kind, picture.verdict.basis) == ("minimum", "probable")
    assert "local minimum (confidence 99.9 %" in picture.verdict.wording


def test_lanczos_runs_where_the_weights_are() -> None:
    """On the device without numbers, which every torch has; the first product shows where its vector lies."""

    class Weights:
        n, device = 40, torch.device("meta")

        def __call__(self, vector: Tensor) -> Tensor:
            raise NotImplementedError(vector.device)

    with pytest.raises(NotImplementedError, match="meta"):
        measure.measure_by_lanczos(Weights(), 1, 5, 0, DOUBLE, 0.999)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="meta"):
        measure._positive(Weights(), 5, 0, DOUBLE, 0.5)  # type: ignore[arg-type]


def test_the_basis_fits_the_memory() -> None:
    objective = FlatObjective([lambda x: (x**4).sum()], torch.zeros(200_000))
    tight = prepare(objective, memory=20e6).plan
    assert tight.vector_bytes <= 0.45 * 20e6
    assert tight.steps < 50
    assert prepare(objective, memory=4e9).plan.steps == 50


def test_a_picture_in_words_and_as_json() -> None:
    told: list[tuple[int, int]] = []
    inspection = prepare(network_objective(tanh_net(), LOSS, images()), name="best.pt")
    cost = "\n".join(describe_plan(inspection.plan))
    assert "cheaper" not in cost
    slow = replace(inspection.plan, gradient_seconds=1e3)
    assert "cheaper with --share 0.1" in "\n".join(describe_plan(slow))
    assert "cheaper with --share 0.05" in "\n".join(describe_plan(replace(slow, of=2 * slow.examples)))
    assert "--share" not in "\n".join(describe_plan(replace(slow, examples=5)))
    assert "48 examples (all)" in cost
    assert "gradients" in cost
    picture = inspection.look(lambda done, total: told.append((done, total)))
    assert told[-1][0] <= told[-1][1] == inspection.plan.products
    text = "\n".join(describe_network(picture))
    for word in ("best.pt", "evaluation mode", "|g| =", "lambda_min", "counted as zero", "minimum ratio", "verdict"):
        assert word in text
    plain_values = json.loads(json.dumps(picture.to_json(), allow_nan=False))
    assert plain_values["type"] == picture.verdict.kind
    assert plain_values["lambda_min"]["value"] == picture.lambda_min
    assert len(plain_values["escape"]) == 6


def test_the_figure_of_a_spectrum(tmp_path: Path) -> None:
    from optbench.plot import save, spectral_density

    picture = prepare(network_objective(tanh_net(), LOSS, images())).look()
    ends_ = (picture.lambda_min, picture.lambda_max)
    figure = spectral_density(picture.density.grid, picture.density.density, ends_, picture.shares.tau, "spectrum")
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("symlog", "log")
    assert save(figure, tmp_path / "spectrum.png").stat().st_size > 10_000


# along training -----------------------------------------------------------------------------------------------------


def test_measuring_leaves_model_gradients_and_random_numbers_alone() -> None:
    problem = NetworkProblem(awkward_net(), Four(), LOSS, 16, 0, CPU)
    problem.objective(problem.batch(0)).backward()
    before = {name: value.clone() for name, value in problem.module.state_dict().items()}
    gradients = [p.grad.clone() for p in problem.module.parameters() if p.grad is not None]
    state, counted = torch.get_rng_state(), problem.counters()
    found = measure_curvature(problem)
    assert torch.equal(state, torch.get_rng_state())
    assert problem.counters() == counted
    assert problem.module.training
    assert all(torch.equal(value, before[name]) for name, value in problem.module.state_dict().items())
    assert all(
        torch.equal(p.grad, g)
        for p, g in zip(problem.module.parameters(), gradients, strict=True)
        if p.grad is not None
    )
    exact = prepare(network_objective(problem.module, LOSS, problem.train)).look()
    assert found["full_grad_norm"] == pytest.approx(exact.grad_norm, rel=1e-12)
    assert found["lambda_max"] == pytest.approx(exact.lambda_max, rel=1e-6)
    assert exact.lambda_min - 1e-12 <= found["lambda_min"] <= 0.5 * exact.lambda_min


class Four(AbstractData):
    """The random images as a data set of four classes."""

    n_classes, channels, image_size, class_names = 4, 1, 6, ("a", "b", "c", "d")

    def load(self, split: str) -> Split:
        return images()
