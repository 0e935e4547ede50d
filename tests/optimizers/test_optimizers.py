"""Optimizers: our own against independent references, all of conf/optimizer against the contract of the loop."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import members
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from optbench.catalogue import catalogue
from optbench.optimizers.book import (
    M_RULES,
    SIGMA_RULES,
    Book,
    book_adagrad,
    book_adam,
    book_gd,
    book_momentum,
    book_rmsprop,
    direction,
)
from optbench.optimizers.lion import Lion
from optbench.optimizers.muon import Muon, orthogonal

ALL = members.names("optimizer")
OWN = [name for name in members.own("optimizer") if members.takes_groups(name)]
SHAPES = [(2,), (3, 2), (), (2, 1, 2, 2)]  # vector, matrix, scalar, convolution kernel

Make = Callable[[list[Tensor]], Optimizer]


def gradients(steps: int = 30, size: int = 4) -> np.ndarray:
    """Gradients of very different sizes a coordinate, with an exact zero now and then."""
    drawn = np.random.default_rng(7).normal(size=(steps, size)) * np.logspace(-3, 3, size)
    drawn[5:8, 1] = 0.0
    return drawn


def drive(make: Make, given: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Iterates (steps + 1, size) of an optimizer that is fed the given gradients."""
    x = torch.tensor(np.ones(given.shape[1]) if start is None else start, dtype=torch.float64, requires_grad=True)
    optimizer = make([x])
    path = [x.detach().numpy().copy()]
    for g in given:
        x.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        path.append(x.detach().numpy().copy())
    return np.array(path)


def parameters(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """One parameter of every shape, away from 0."""
    return [torch.full(s, 1.0, dtype=dtype).requires_grad_() for s in SHAPES]


def closure_for(optimizer: Optimizer, weights: list[Tensor], objective: Callable[[list[Tensor]], Tensor]):
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(weights)
        loss.backward()
        return loss

    return closure


def quadratic(weights: list[Tensor]) -> Tensor:
    """Convex, condition number 100, a different curvature for every entry."""
    flat = torch.cat([w.reshape(-1) for w in weights])
    return 0.5 * (torch.logspace(-2, 0, flat.numel(), dtype=flat.dtype) * flat * flat).sum()


def default_surface() -> tuple[list[Tensor], Callable[[list[Tensor]], Tensor]]:
    """The start on the default surface, and its objective."""
    surface = members.make("model", "rosenbrock")
    start = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
    return [start], lambda weights: surface(weights[0])


def run(optimizer: Optimizer, weights: list[Tensor], objective: Any, steps: int) -> list[float]:
    closure = closure_for(optimizer, weights, objective)
    return [optimizer.step(closure).item() for _ in range(steps)]


def bits(weights: list[Tensor]) -> bytes:
    return b"".join(w.detach().numpy().tobytes() for w in weights)


def through_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# --- every member of conf/optimizer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_loss_falls_on_the_default_surface(name: str) -> None:
    weights, rosenbrock = default_surface()
    losses = run(members.make("optimizer", name, weights), weights, rosenbrock, 150)
    assert losses[0] == pytest.approx(24.2)
    assert losses[-1] < 0.8 * losses[0]
    assert max(losses) < 2.0 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_thousand_steps_on_the_default_surface_stay_in_the_valley(name: str) -> None:
    weights, rosenbrock = default_surface()
    losses = run(members.make("optimizer", name, weights), weights, rosenbrock, 1000)
    assert losses[-1] < 4.1  # the valley floor below the start, (1 - x0)^2 at x0 = -1.02


@pytest.mark.parametrize("name", ALL)
def test_loss_falls_on_an_ill_conditioned_quadratic_of_every_shape(name: str) -> None:
    weights = parameters()
    losses = run(members.make("optimizer", name, weights), weights, quadratic, 100)
    assert losses[-1] < losses[0]
    assert all(np.isfinite(losses))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_checkpoint_continues_to_the_bit(name: str, dtype: torch.dtype) -> None:
    weights = parameters(dtype)
    optimizer = members.make("optimizer", name, weights)
    run(optimizer, weights, quadratic, 6)
    saved = through_file({"optimizer": optimizer.state_dict(), "weights": [w.detach() for w in weights]})
    run(optimizer, weights, quadratic, 6)

    again = [w.requires_grad_() for w in saved["weights"]]
    resumed = members.make("optimizer", name, again)
    before = bits(again)
    resumed.load_state_dict(saved["optimizer"])
    run(resumed, again, quadratic, 6)
    assert bits(again) == bits(weights)
    assert bits(again) != before


@pytest.mark.parametrize("name", ALL)
def test_step_returns_the_loss_before_the_update(name: str) -> None:
    weights = parameters()
    optimizer = members.make("optimizer", name, weights)
    start = quadratic(weights).item()
    assert optimizer.step(closure_for(optimizer, weights, quadratic)).item() == start
    assert quadratic(weights).item() != start


@pytest.mark.parametrize("name", ALL)
def test_parameters_without_a_gradient_stay(name: str) -> None:
    weights = parameters()
    optimizer = members.make("optimizer", name, weights)
    run(optimizer, weights, lambda w: quadratic(w[:2]), 3)
    assert bits(weights[2:]) == bits(parameters()[2:])


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("lr", [-0.1, float("nan")])
def test_bad_learning_rate_is_refused(name: str, lr: float) -> None:
    with pytest.raises(ValueError, match="earning rate"):
        members.make("optimizer", name, parameters(), lr=lr)


@pytest.mark.parametrize("name", OWN)
def test_sparse_gradients_are_refused(name: str) -> None:
    x = torch.ones(3, requires_grad=True)
    optimizer = members.make("optimizer", name, [x])
    x.grad = torch.sparse_coo_tensor([[0]], [1.0], (3,), check_invariants=False)
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()


@pytest.mark.parametrize("name", OWN)
def test_nan_gradient_shows_in_the_weights(name: str) -> None:
    x = torch.ones(2, requires_grad=True)
    optimizer = members.make("optimizer", name, [x])
    x.grad = torch.tensor([float("nan"), 1.0])
    optimizer.step()
    assert x.isnan().tolist() == [True, False]


@pytest.mark.parametrize("name", OWN)
def test_deep_copy_goes_on_alone(name: str) -> None:
    weights = parameters()
    optimizer = members.make("optimizer", name, weights)
    run(optimizer, weights, quadratic, 2)
    twin, copied = copy.deepcopy((optimizer, weights))
    before = bits(weights)
    run(twin, copied, quadratic, 2)
    assert bits(weights) == before
    run(optimizer, weights, quadratic, 2)
    assert bits(weights) == bits(copied) != before


# --- the book's general form ------------------------------------------------------------------------------------------


def test_book_gd_is_torch_sgd() -> None:
    ours = drive(lambda p: book_gd(p, lr=0.01), gradients())
    assert np.array_equal(ours, drive(lambda p: torch.optim.SGD(p, lr=0.01), gradients()))


def test_book_momentum_is_torch_sgd_with_momentum() -> None:
    ours = drive(lambda p: book_momentum(p, lr=0.01, momentum=0.8), gradients())
    theirs = drive(lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.8), gradients())
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_book_momentum_moves_as_the_book_writes_it() -> None:
    given, eta, decay = gradients(), 0.01, 0.8
    theta, m, path = np.ones(4), np.zeros(4), [np.ones(4)]
    for g in given:
        m = decay * m - eta * g
        theta = theta + m
        path.append(theta)
    np.testing.assert_allclose(drive(lambda p: book_momentum(p, eta, decay), given), path, rtol=1e-12, atol=1e-12)


def test_momentum_movement_is_the_weighted_sum_of_all_gradients() -> None:
    given, eta, decay = gradients(), 0.01, 0.8
    movement = np.diff(drive(lambda p: book_momentum(p, eta, decay), given), axis=0)
    for t in range(len(given)):
        weights = decay ** np.arange(t, -1, -1.0)
        np.testing.assert_allclose(movement[t], -eta * weights @ given[: t + 1], rtol=1e-10, atol=1e-12)


def test_book_adagrad_is_torch_adagrad_under_a_growing_rate() -> None:
    given, eta = gradients(), 0.01

    def theirs(p: list[Tensor]) -> Optimizer:
        optimizer = torch.optim.Adagrad(p, lr=eta, eps=0.0)
        plain, count = optimizer.step, iter(range(1000))

        def step() -> None:
            optimizer.param_groups[0]["lr"] = eta * (next(count) + 1) ** 0.5
            plain()

        optimizer.step = step  # type: ignore[method-assign, assignment]
        return optimizer

    np.testing.assert_allclose(drive(lambda p: book_adagrad(p, eta), given), drive(theirs, given), rtol=1e-12)


def test_book_adagrad_is_the_root_mean_square_of_all_steps() -> None:
    given, eta = gradients(), 0.01
    theta, path = np.ones(4), [np.ones(4)]
    for t, g in enumerate(given):
        theta = theta - eta / np.sqrt(np.mean(given[: t + 1] ** 2, axis=0)) * g
        path.append(theta)
    np.testing.assert_allclose(drive(lambda p: book_adagrad(p, eta), given), path, rtol=1e-12, atol=1e-12)


def rms_reference(given: np.ndarray, eta: float, alpha: float, beta1: float) -> np.ndarray:
    """book_adam from sigma itself (not its square), as the book writes the recursion."""
    theta, m, sigma, path = np.ones(4), np.zeros(4), np.abs(given[0]), [np.ones(4)]
    for t, g in enumerate(given):
        if t > 0:
            sigma = np.sqrt(alpha * sigma**2 + (1 - alpha) * g**2)
        m = beta1 * m + (1 - beta1) * g
        theta = theta - eta / sigma * m
        path.append(theta)
    return np.array(path)


def test_book_rmsprop_follows_the_recursion() -> None:
    ours = drive(lambda p: book_rmsprop(p, 0.01, alpha=0.7), gradients())
    np.testing.assert_allclose(ours, rms_reference(gradients(), 0.01, 0.7, 0.0), rtol=1e-12, atol=1e-12)


def test_book_adam_follows_the_recursion() -> None:
    ours = drive(lambda p: book_adam(p, 0.01, beta1=0.6, alpha=0.9), gradients())
    np.testing.assert_allclose(ours, rms_reference(gradients(), 0.01, 0.9, 0.6), rtol=1e-12, atol=1e-12)


def test_book_adam_without_momentum_is_book_rmsprop_to_the_bit() -> None:
    adam = drive(lambda p: book_adam(p, 0.01, beta1=0.0, alpha=0.7), gradients())
    assert np.array_equal(adam, drive(lambda p: book_rmsprop(p, 0.01, alpha=0.7), gradients()))


def test_the_form_put_together_from_the_yaml_is_each_named_method_to_the_bit() -> None:
    """At the defaults of conf/: the words are those of the chapter, and Adam is RMSProp with momentum."""

    def path(name: str, **changes: object) -> np.ndarray:
        return drive(lambda p: members.make("optimizer", name, p, **changes), gradients())

    def form(m: str, sigma: str, **changes: object) -> np.ndarray:
        return path("book", m=m, sigma=sigma, **changes)

    assert np.array_equal(form("momentum", "rmsprop"), path("book_adam"))
    assert np.array_equal(form("gradient", "rmsprop"), path("book_rmsprop"))
    assert np.array_equal(path("book_adam", beta1=0.0), path("book_rmsprop"))
    assert np.array_equal(form("mean", "rmsprop"), form("momentum", "rmsprop"))
    for pair, name in (("gradient one", "gd"), ("momentum one", "momentum"), ("gradient adagrad", "adagrad")):
        assert np.array_equal(form(*pair.split(), lr=0.01), path(f"book_{name}", lr=0.01))
    assert not np.array_equal(form("sum", "rmsprop"), form("mean", "rmsprop"))


def test_how_torchs_methods_differ_from_the_books_is_as_the_catalogue_says() -> None:
    said = {entry.name: entry.book for entry in catalogue("optimizer") if entry.book}
    assert {f"book_{name}" for name in said} <= {*members.names("optimizer")}

    def moves(name: str) -> np.ndarray:
        made = lambda p: members.make("optimizer", name, p, lr=0.5)  # noqa: E731
        return np.abs(np.diff(drive(made, 1e6 * gradients(), np.zeros(4)), axis=0))

    first = {name: moves(name)[0] for name in ("rmsprop", "adam", "book_rmsprop", "book_adam")}
    for name, rates, words in (
        ("rmsprop", 10, "10 lr"), ("adam", 1, "is lr"), ("book_rmsprop", 1, ""), ("book_adam", 0.1, "0.1 lr"),
    ):  # fmt: skip
        np.testing.assert_allclose(first[name], rates * 0.5, rtol=1e-5)
        assert words in said[name.removeprefix("book_")]
    book, torchs = moves("book_adagrad"), moves("adagrad")
    np.testing.assert_allclose(book, torchs * np.sqrt(np.arange(1, len(book) + 1))[:, None], 1e-5, 1e-12)
    assert "sqrt(t + 1)" in said["adagrad"]


@pytest.mark.parametrize("make", [book_adagrad, book_rmsprop])
def test_first_step_of_a_scaled_method_has_length_lr_everywhere(make: Callable[..., Book]) -> None:
    path = drive(lambda p: make(p, lr=0.25), gradients(), start=np.zeros(4))
    np.testing.assert_allclose(path[1], -0.25 * np.sign(gradients()[0]), rtol=1e-15)


@pytest.mark.parametrize("make", [book_adagrad, book_rmsprop, book_adam])
def test_scaled_methods_do_not_see_the_scale_of_a_coordinate(make: Callable[..., Book]) -> None:
    plain = drive(lambda p: make(p, lr=0.01), gradients())
    scaled = drive(lambda p: make(p, lr=0.01), gradients() * 2.0 ** np.array([-40, -3, 8, 60]))
    assert np.array_equal(plain, scaled)


@pytest.mark.parametrize("make", [book_rmsprop, book_adam])
def test_the_scale_starts_at_the_first_step_and_never_again(make: Callable[..., Book]) -> None:
    """Gradients 0, 0, 2: sigma_2^2 = (1 - alpha) 4 by the recursion, not |g|^2 as at a start."""
    beta = {} if make is book_rmsprop else {"beta1": 0.0}
    path = drive(lambda p: make(p, lr=0.1, alpha=0.9, **beta), np.array([[0.0], [0.0], [2.0]]), np.zeros(1))
    np.testing.assert_allclose(path[:, 0], [0.0, 0.0, 0.0, -0.1 / np.sqrt(0.1)], rtol=1e-14)


@pytest.mark.parametrize("make", [book_adagrad, book_rmsprop, book_adam])
def test_a_coordinate_that_never_had_a_gradient_stays(make: Callable[..., Book]) -> None:
    given = np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 1.0]])
    path = drive(lambda p: make(p, lr=0.1), given)
    assert path[:3, 0].tolist() == [1.0, 1.0, 1.0]
    assert np.isfinite(path).all()
    assert path[3, 0] < 1.0


@pytest.mark.parametrize("which", [*M_RULES.items(), *SIGMA_RULES.items()], ids=lambda item: item[0])
def test_rules_serve_rows_with_their_own_hyperparameters(which: tuple[str, Any]) -> None:
    """A batch of rows, each with its own momentum and alpha, gives every row what it gets alone."""
    given = torch.tensor(gradients(5, 4)).reshape(5, 2, 2)
    rates = torch.tensor([[0.5], [0.9]], dtype=torch.float64)
    together = torch.zeros(2, 2, dtype=torch.float64)
    alone = [torch.zeros(2, dtype=torch.float64) for _ in range(2)]
    for t, g in enumerate(given):
        step = torch.tensor(t)
        value, together = which[1].advance(g, together, {"momentum": rates, "alpha": rates}, step)
        for row in range(2):
            hyper = {"momentum": rates[row].item(), "alpha": rates[row].item()}
            single, alone[row] = which[1].advance(g[row], alone[row], hyper, step)
            torch.testing.assert_close(value[row], single, rtol=1e-15, atol=0.0)


def test_direction_is_zero_only_where_sigma_is() -> None:
    m = torch.tensor([3.0, 0.0, float("nan"), 1.0])
    sigma = torch.tensor([2.0, 0.0, 1.0, float("nan")])
    assert direction(m, sigma)[:2].tolist() == [1.5, 0.0]
    assert direction(m, sigma)[2:].isnan().all()


@pytest.mark.parametrize(
    ("make", "bad"),
    [
        (book_momentum, {"momentum": 1.0}),
        (book_momentum, {"momentum": -0.1}),
        (book_rmsprop, {"alpha": 1.0}),
        (book_adam, {"beta1": -1.0}),
        (book_adam, {"alpha": float("nan")}),
        (Book, {"m": "nothing"}),
        (Book, {"sigma": "two"}),
    ],
)
def test_book_refuses_bad_hyperparameters(make: Callable[..., Book], bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Invalid"):
        make(parameters(), lr=0.1, **bad)


# --- Lion -------------------------------------------------------------------------------------------------------------


def test_lion_is_algorithm_2_of_the_paper() -> None:
    given, eta, beta1, beta2, decay = gradients(), 0.01, 0.9, 0.95, 0.1
    theta, m, path = np.ones(4), np.zeros(4), [np.ones(4)]
    for g in given:
        update = np.sign(m * beta1 + g * (1 - beta1))
        theta = theta - eta * (update + decay * theta)
        m = m * beta2 + g * (1 - beta2)
        path.append(theta)
    ours = drive(lambda p: Lion(p, eta, (beta1, beta2), decay), given)
    np.testing.assert_allclose(ours, path, rtol=1e-12, atol=1e-12)


def test_lion_moves_every_coordinate_by_lr() -> None:
    movement = np.diff(drive(lambda p: Lion(p, 2.0**-7), gradients(), start=np.zeros(4)), axis=0)
    assert (np.abs(movement) == 2.0**-7).all()


def test_lion_update_is_pure() -> None:
    g, m = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    x, after = Lion.pure(torch.zeros(3), g, {"m": m}, {"lr": 1.0, "betas": (0.5, 0.75)}, torch.tensor(0))
    assert x.tolist() == [-1.0, 1.0, 0.0]
    assert after["m"].tolist() == [0.25, 0.25, 0.0]
    assert m.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("bad", [{"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"weight_decay": -1.0}])
def test_lion_refuses_bad_hyperparameters(bad: dict[str, Any]) -> None:
    ((key, value),) = bad.items()
    which = next((i for i, beta in enumerate(value) if not 0 <= beta < 1), None) if key == "betas" else None
    words = "Invalid weight_decay value: -1.0" if which is None else f"at index {which}: {value[which]},"
    with pytest.raises(ValueError, match=words):
        Lion(parameters(), **bad)


# --- Muon -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (6, 6)])
def test_muon_makes_the_update_of_a_matrix_nearly_orthogonal(shape: tuple[int, int]) -> None:
    """The first update is U V^T of the gradient, up to Newton-Schulz: singular values near 1, same singular vectors."""
    rank = min(shape)
    rng = np.random.default_rng(3)
    u, v = (np.linalg.qr(rng.normal(size=(side, rank)))[0] for side in shape)
    x = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    optimizer = Muon([x], lr=1.0, adjust_lr_fn="match_rms_adamw")
    x.grad = torch.tensor(u * np.linspace(10.0, 60.0, rank) @ v.T)
    optimizer.step()
    update = -x.detach().numpy() / (0.2 * max(shape) ** 0.5)
    rotated = u.T @ update @ v
    assert np.diag(rotated).min() > 0.6
    assert np.diag(rotated).max() < 1.25
    np.testing.assert_allclose(rotated - np.diag(np.diag(rotated)), 0.0, atol=1e-9)
    assert np.linalg.norm(update) <= np.linalg.norm(rotated) * 1.001  # nothing outside the gradient's own spaces


def test_muon_is_torch_muon_on_matrices_and_adamw_on_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """AdamW's to the bit; Muon's to rounding, once torch's is kept from iterating in bfloat16."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    together, apart = parameters(), parameters()
    matrices = [p for p in apart if p.ndim == 2]
    others = [p for p in apart if p.ndim != 2]
    muon = Muon(together, lr=0.02, weight_decay=0.1, momentum=0.8, betas=(0.7, 0.9))
    pair = [
        torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, momentum=0.8, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.02, weight_decay=0.1, betas=(0.7, 0.9)),
    ]
    for _ in range(5):
        quadratic(together).backward()
        quadratic(apart).backward()
        for optimizer in (muon, *pair):
            optimizer.step()
            optimizer.zero_grad()
    assert bits([p for p in together if p.ndim != 2]) == bits(others) != bits([p for p in parameters() if p.ndim != 2])
    torch.testing.assert_close(together[1], matrices[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_muon_follows_its_paper_in_double_precision(nesterov: bool, adjust: str, shape: tuple[int, int]) -> None:
    """Written once more with NumPy: m = mu m + (1 - mu) g, Newton-Schulz in exact double precision, decoupled decay."""
    random = np.random.default_rng(5)
    x = torch.tensor(random.normal(size=shape), requires_grad=True)
    optimizer = Muon([x], lr=0.1, weight_decay=0.2, momentum=0.7, nesterov=nesterov, adjust_lr_fn=adjust)
    expected, m = x.detach().numpy().copy(), np.zeros(shape)
    for _ in range(4):
        g = random.normal(size=shape)
        x.grad = torch.tensor(g)
        optimizer.step()
        m = 0.7 * m + 0.3 * g
        o = 0.7 * m + 0.3 * g if nesterov else m
        o = o / np.linalg.norm(o)
        for _ in range(5):
            gram = o @ o.T
            o = 3.4445 * o + (-4.7750 * gram + 2.0315 * gram @ gram) @ o
        ratio = 0.2 * max(shape) ** 0.5 if adjust == "match_rms_adamw" else max(1.0, shape[0] / shape[1]) ** 0.5
        expected = expected * (1 - 0.1 * 0.2) - 0.1 * ratio * o
    np.testing.assert_allclose(x.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_muon_iterates_in_the_precision_of_the_parameters() -> None:
    for dtype in (torch.float32, torch.float64):
        assert orthogonal(torch.eye(3, dtype=dtype), 5).dtype == dtype
    assert orthogonal(torch.eye(3, dtype=torch.bfloat16), 5).dtype == torch.float32


def test_muon_sees_no_scale_of_a_gradient_and_stays_where_there_is_none() -> None:
    drawn = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def first(scale: float) -> Tensor:
        x = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
        x.grad = scale * drawn
        Muon([x], lr=1.0).step()
        return x.detach()

    torch.testing.assert_close(first(2.0**-16), first(1.0), rtol=1e-12, atol=1e-14)
    assert first(0.0).tolist() == [[0.0] * 3] * 4


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_newton_schulz_is_made_as_often_as_asked(steps: int) -> None:
    g = np.random.default_rng(steps).normal(size=(3, 4))
    expected = g / np.linalg.norm(g)
    for _ in range(steps):
        gram = expected @ expected.T
        expected = 3.4445 * expected + (-4.7750 * gram + 2.0315 * gram @ gram) @ expected
    np.testing.assert_allclose(orthogonal(torch.tensor(g), steps).numpy(), expected, rtol=1e-10, atol=1e-12)
    x = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    x.grad = torch.tensor(g)
    Muon([x], lr=1.0, momentum=0.0, ns_steps=steps, adjust_lr_fn="original").step()
    np.testing.assert_allclose(x.detach().numpy(), -expected, rtol=1e-10, atol=1e-12)


def test_the_ends_of_the_ranges_are_taken() -> None:
    for options in ({"momentum": 0.0}, {"momentum": 1.0}, {"ns_steps": 1}, {"ns_steps": 99}, {"eps": 0.0}, {"lr": 0.0}):
        Muon(parameters(), **options)  # type: ignore[arg-type]
    for options in ({"momentum": 1.001}, {"ns_steps": 0}, {"ns_steps": 100}):
        with pytest.raises(ValueError, match="Invalid"):
            Muon(parameters(), **options)  # type: ignore[arg-type]
    plain = drive(lambda p: Lion(p, 0.5, (0.0, 0.0)), gradients(), np.zeros(4))
    np.testing.assert_array_equal(plain[1:], np.cumsum(-0.5 * np.sign(gradients()), axis=0))


@pytest.mark.parametrize("bad", [{"momentum": -1.0}, {"betas": (1.0, 0.9)}, {"adjust_lr_fn": "none"}, {"eps": -1.0}])
def test_muon_refuses_bad_hyperparameters(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"nvalid|should be|not supported"):
        Muon(parameters(), **bad)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_lbfgs_is_torchs_in_any_memory_layout(memory_format: torch.memory_format) -> None:
    target = torch.linspace(-1, 1, 36, dtype=torch.float64).reshape(1, 4, 3, 3)

    def descend(optimizer_class: Any, layout: torch.memory_format) -> torch.Tensor:
        x = torch.nn.Parameter(torch.zeros(1, 4, 3, 3, dtype=torch.float64).to(memory_format=layout))
        optimizer = optimizer_class([x], lr=0.5, max_iter=3, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = ((x - target) ** 4).sum() + (x * x.roll(1, 1)).sum() ** 2
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
        return x.detach()

    ours = descend(members.target("optimizer", "lbfgs"), memory_format)
    reference = descend(torch.optim.LBFGS, torch.contiguous_format)
    if memory_format is torch.contiguous_format:
        assert torch.equal(ours, reference)
    torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-12)  # another layout sums in another order
