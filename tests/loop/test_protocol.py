"""What optimizers ask of the loop: each against a second implementation, written here without the loop."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from loop_tools import CPU, Dots, constant, linear, on_dots, on_field
from loop_tools import Watcher as Plain
from torch import Tensor, nn

from optbench.errors import ConfigError, IncompatibleError, RunFailure
from optbench.loop import Loop
from optbench.loop.driven import spoken
from optbench.problem import NetworkProblem
from optbench.protocol import OptimizerProtocol, check_served, protocol_of, wrapped
from optbench.records.vocabulary import run_id
from optbench.settings import NetworkTrainer, SurfaceTrainer
from optbench.wrappers.clip import Clip

NEUTRAL = {one.name: one.default for one in fields(OptimizerProtocol)}
"""What goes without saying."""


class Base(torch.optim.Optimizer):
    """What the classes below share."""

    def __init__(self, params: Any, lr: float = 0.25, **settings: Any) -> None:
        super().__init__(params, {"lr": lr, **settings})

    def all(self) -> list[Any]:
        return [(group, p) for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def descend(self) -> None:
        for group, p in self.all():
            p.sub_(group["lr"] * p.grad)


class ScheduleFree(Base):
    """Schedule-free SGD, algorithm 1 of Defazio et al. (2024), with y in the place of the weights while it trains:
    y = (1 - beta) z + beta x; z <- z - lr grad f(y); x <- (1 - 1 / (t + 1)) x + z / (t + 1)."""

    def __init__(self, params: Any, lr: float = 0.25, beta: float = 0.9) -> None:
        super().__init__(params, lr, beta=beta)
        self.t, self.is_training = 0, False

    def _mode(self, is_training: bool) -> None:
        if is_training == self.is_training:
            return
        self.is_training = is_training
        with torch.no_grad():
            for group, p in self.all():
                if (z := self.state[p].get("z")) is not None:
                    beta = group["beta"]
                    p.copy_((1 - beta) * z + beta * p if is_training else (p - (1 - beta) * z) / beta)

    def train(self) -> None:
        self._mode(True)

    def eval(self) -> None:
        self._mode(False)

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        assert self.is_training
        loss = closure()
        self.t += 1
        with torch.no_grad():
            for group, p in self.all():
                state, beta = self.state[p], group["beta"]
                z = state.setdefault("z", p.clone())
                x = (p - (1 - beta) * z) / beta
                z.sub_(group["lr"] * p.grad)
                x.lerp_(z, 1 / (self.t + 1))
                p.copy_((1 - beta) * z + beta * x)
        return loss


class Sharp(Base):
    """SAM (Foret et al. 2021) in one step; `again`: the gradients are ready, as pytorch_optimizer writes it."""

    def __init__(self, params: Any, lr: float = 0.25, rho: float = 0.05, again: bool = False) -> None:
        super().__init__(params, lr, rho=rho)
        self.again = again

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        loss = None if self.again else closure()
        norm = torch.stack([p.grad.norm() for _, p in self.all()]).norm() + 1e-12
        ups = [g["rho"] / norm * p.grad for g, p in self.all()]
        with torch.no_grad():
            for (_, p), up in zip(self.all(), ups, strict=True):
                p.add_(up)
        closure()
        with torch.no_grad():
            for (_, p), up in zip(self.all(), ups, strict=True):
                p.sub_(up)
        self.descend()
        return loss


class Hutchinson(Base):
    """Divides by |D|, D the diagonal of the Hessian by one product with signs (AdaHessian without its averages)."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        if closure is not None:
            closure()
        own = [p for _, p in self.all()]
        signs = [torch.randint_like(p, 0, 2) * 2.0 - 1.0 for p in own]
        products = torch.autograd.grad([p.grad for p in own], own, grad_outputs=signs)
        for (group, p), sign, product in zip(self.all(), signs, products, strict=True):
            p.sub_(group["lr"] * p.grad / (sign * product).abs().clamp(min=1e-3))


class Lomo(Base):
    """Gradient descent within the backward pass; `scale` multiplies the loss as AdaLomo does."""

    def __init__(self, params: Any, lr: float = 0.25, scale: float = 1.0) -> None:
        super().__init__(params, lr)
        self.scale, self.now = scale, lr
        for _, p in self.all():
            p.register_post_accumulate_grad_hook(self.update)

    @torch.no_grad()
    def update(self, p: Tensor) -> None:
        assert p.grad is not None
        p.sub_(self.now / self.scale * p.grad)
        p.grad = None

    def fused_backward(self, loss: Tensor, lr: float) -> None:
        self.now = lr
        (loss * self.scale).backward()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        raise AssertionError("its backward pass is its step")


class Drawing(Base):
    """Adds noise from a generator of its own, from Python's, numpy's and torch's global ones; counts outside its
    state."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.python, self.numpy = random.Random(1), np.random.default_rng(2)
        self.torch, self.legacy, self.k = torch.Generator().manual_seed(3), np.random.RandomState(4), 0
        self.sums = [torch.zeros_like(p) for _, p in self.all()]
        self.inner = torch.optim.SGD([p for _, p in self.all()], lr=0.0, momentum=0.5)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        self.k += 1
        own = self.python.random() + self.numpy.random() + self.legacy.rand() + torch.rand((), generator=self.torch)
        noise = own + random.random() + np.random.rand() + torch.rand(())
        for (group, p), total in zip(self.all(), self.sums, strict=True):
            total.add_(p.grad)
            p.sub_(group["lr"] / self.k * (p.grad + 0.01 * total) * (1 + 0.1 * noise))
        self.inner.step()


class Sampled(Base):
    """Sophia-G's form: `update_hessian()` after a pass on sampled labels, and a step that wants the batch's rows."""

    def __init__(self, params: Any, lr: float = 0.25) -> None:
        super().__init__(params, lr)
        self.rows: list[int] = []
        self.seen: list[Tensor] = []

    def update_hessian(self) -> None:
        self.seen.append(torch.cat([p.grad.flatten() for _, p in self.all()]).clone())

    def step(self, closure: Any = None, *, bs: int = 0) -> None:  # type: ignore[override]
        closure()
        self.rows.append(bs)
        self.descend()


Observed = tuple[Any, Loop, Plain]


def run(of: tuple[Any, Any], make: Any, stop_after: int | None = None, **protocol: Any) -> Observed:
    """A run of a problem with its settings to its end, or to where it is stopped."""
    problem, trainer = of
    optimizer = make(list(problem.module.parameters()))
    watcher = Plain(stop_after)
    loop = Loop(problem, optimizer, constant(optimizer), trainer, watcher, protocol=OptimizerProtocol(**protocol))
    return loop.run(), loop, watcher


def weights(loop: Loop) -> Tensor:
    return torch.cat([p.detach().flatten() for p in loop.problem.module.parameters()])


def shown(watcher: Plain) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in watcher.rows]


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 2))


# train() and eval() --------------------------------------------------------------------------------------------------


def by_hand(model: nn.Module, steps: int, lr: float = 0.25, beta: float = 0.9) -> tuple[list[Tensor], list[Tensor]]:
    """x and y of schedule-free SGD kept as three lists, the paper's lines one after the other."""
    problem, _ = on_dots(model)
    own = list(model.parameters())
    x = [p.detach().clone() for p in own]
    z = [p.detach().clone() for p in own]
    for t in range(steps):
        with torch.no_grad():
            for p, a, b in zip(own, x, z, strict=True):
                p.copy_((1 - beta) * b + beta * a)
        batch = problem.batch(t)
        grads = torch.autograd.grad(nn.functional.cross_entropy(model(batch.inputs), batch.targets), own)
        c = 1 / (t + 2)
        z = [b - lr * g for b, g in zip(z, grads, strict=True)]
        x = [(1 - c) * a + c * b for a, b in zip(x, z, strict=True)]
    return x, [(1 - beta) * b + beta * a for a, b in zip(x, z, strict=True)]


def test_a_schedule_free_network_is_judged_at_the_average_and_trained_beside_it() -> None:
    problem, trainer = on_dots(epochs=3)
    _, loop, watcher = run((problem, trainer), ScheduleFree)
    x, y = by_hand(linear(), 12)
    kept = loop.weights()
    for name, a, b in zip(("1.weight", "1.bias"), x, y, strict=True):
        assert torch.allclose(kept["model"][name], a, rtol=1e-4, atol=1e-6)
        assert torch.allclose(kept["trained"][name], b, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(kept["model"][name], kept["trained"][name], rtol=1e-3)
    judged, _ = on_dots()
    judged.module.load_state_dict(kept["model"])
    assert judged.evaluate() == {key: watcher.rows[-1][key] for key in ("val_loss", "val_accuracy")}
    judged.module.load_state_dict(watcher.state("best")["model"])
    assert judged.evaluate()["val_loss"] == min(row["val_loss"] for row in watcher.rows if "val_loss" in row)
    assert loop.driven.spoken.facts()["seen"] == [
        "step(closure) cannot do without its closure",
        "train() and eval(): what looks at the weights looks at those of eval()",
    ]


def test_looking_changes_nothing_and_a_run_goes_on_to_the_bit() -> None:
    """However often it is evaluated, measured for curvature, or stopped: the same bits."""

    def make(stop: int | None = None, **settings: Any) -> Observed:
        problem, trainer = on_dots(normed(), epochs=3, **settings)
        return run((problem, trainer), ScheduleFree, stop, batch_norm=2)

    (_, whole, watcher), (_, seldom, _) = make(), make(eval_every=3)
    assert torch.equal(weights(whole), weights(seldom))
    *_, half = make(7)
    problem, trainer = on_dots(normed(), epochs=3)
    optimizer = ScheduleFree(problem.module.parameters())
    again = Plain()
    loop = Loop(problem, optimizer, constant(optimizer), trainer, again, protocol=OptimizerProtocol(batch_norm=2))
    loop.restore(half.state("last"))
    loop.run()
    assert torch.equal(weights(loop), weights(whole))
    assert shown(half) + shown(again) == shown(watcher)
    for key in ("model", "trained"):
        assert all(torch.equal(a, whole.weights()[key][name]) for name, a in loop.weights()[key].items())


def test_batch_norm_is_given_the_statistics_at_the_weights_that_are_evaluated() -> None:
    problem, trainer = on_dots(normed(), epochs=1)
    _, loop, watcher = run((problem, trainer), ScheduleFree, batch_norm=3)
    kept = loop.weights()
    model = normed()
    model.load_state_dict(kept["trained"])
    parameters = {name: kept["model"][name] for name, _ in model.named_parameters()}
    model.load_state_dict(kept["trained"] | parameters)
    again, _ = on_dots(model)
    model.train()
    with torch.no_grad():
        for step in (1, 2, 3):  # the last three of the four updates
            model(again.batch(step).inputs)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, kept["model"][name])
    assert not torch.equal(kept["model"]["2.running_mean"], kept["trained"]["2.running_mean"])
    assert again.evaluate()["val_loss"] == watcher.rows[-1]["val_loss"]


def test_on_a_surface_each_row_is_of_the_point_that_is_the_answer() -> None:
    def bowl(x: Tensor) -> Tensor:
        return (x * x * torch.tensor([1.0, 5.0], dtype=torch.float64)).sum(-1)

    problem, trainer = on_field(bowl, [4.0, 1.0], steps=6)
    summary, loop, watcher = run((problem, trainer), lambda p: ScheduleFree(p, lr=0.05))
    x = z = np.array([4.0, 1.0])
    for t, row in enumerate(watcher.rows):
        assert [row["x0"], row["x1"]] == pytest.approx(x.tolist(), rel=1e-9)
        assert row["loss"] == pytest.approx(float((x * x * [1, 5]).sum()), rel=1e-9)
        assert row["grad_norm"] == pytest.approx(float(np.linalg.norm(2 * x * [1, 5])), rel=1e-9)
        z = z - 0.05 * 2 * np.array([1.0, 5.0]) * (0.1 * z + 0.9 * x)
        x = x + (z - x) / (t + 2)
    assert problem.coordinates() == [watcher.rows[-1]["x0"], watcher.rows[-1]["x1"]]
    assert summary.final_loss == watcher.rows[-1]["loss"]
    assert (summary.evals, loop.progress.evals) == (6, 6)  # looking is no evaluation


# closures ------------------------------------------------------------------------------------------------------------


def test_kinds_of_closure_make_the_update_that_they_mean() -> None:
    class Number(Base):
        def step(self, closure: Callable[[], Any]) -> None:  # type: ignore[override]
            loss = closure()
            assert type(loss) is float
            self.descend()

    class Loss(Base):
        def step(self, loss: Tensor) -> None:  # type: ignore[override]
            assert not loss.requires_grad
            self.descend()

    class Ready(Base):
        def step(self) -> None:  # type: ignore[override]
            self.descend()

    def of(make: Any, **protocol: Any) -> tuple[list[dict[str, Any]], int]:
        problem, trainer = on_dots(epochs=1)
        summary, _, watcher = run((problem, trainer), make, **protocol)
        return shown(watcher), summary.evals

    plain = of(lambda p: torch.optim.SGD(p, lr=0.25))
    assert of(Number, closure="float") == of(Loss) == of(Ready) == of(Ready, closure="none") == plain
    twice = of(Sharp, closure="several")
    assert twice == of(lambda p: Sharp(p, again=True), closure="again")
    assert twice[1] == 2 * plain[1]
    with pytest.raises(RunFailure, match=r"Sharp.step called its closure a second time"):
        of(Sharp, closure="once")


@pytest.mark.parametrize("draws", ["fresh", "same"])
@pytest.mark.parametrize("statistics", ["every", "first"])
def test_what_several_passes_draw_and_what_they_do_to_batch_norm(draws: str, statistics: str) -> None:
    """SAM by hand: its second pass with the same mask or another one, its statistics kept or not."""
    problem, trainer = on_dots(normed(), epochs=1, steps=1)
    _, loop, _ = run((problem, trainer), Sharp, closure="several", draws=draws, statistics=statistics)
    model = normed()
    own, (by_hand, _) = list(model.parameters()), on_dots(model)
    batch = by_hand.batch(0)
    nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
    up = 0.05 / torch.stack([p.grad.norm() for p in own if p.grad is not None]).norm()
    before = [p.detach().clone() for p in own]
    with torch.no_grad():
        for p in own:
            p.add_(up * p.grad)
    if draws == "same":
        by_hand.batch(0)  # seeds what is drawn
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    grads = torch.autograd.grad(nn.functional.cross_entropy(model(batch.inputs), batch.targets), own)
    expected = torch.cat([(p - 0.25 * g).flatten() for p, g in zip(before, grads, strict=True)])
    assert torch.allclose(weights(loop), expected, rtol=1e-5, atol=1e-6)
    for name, buffer in loop.problem.module.named_buffers():
        assert torch.equal(buffer, buffers[name] if statistics == "first" else dict(model.named_buffers())[name])


# backward passes -----------------------------------------------------------------------------------------------------


def test_products_with_the_hessian_are_right_and_counted() -> None:
    """On a sum of squares the diagonal is exact, so one step of lr 1 is Newton's; a straight line has none."""

    def bowl(x: Tensor) -> Tensor:
        return 3.0 * x[..., 0] ** 2 + 0.5 * x[..., 1] ** 2

    problem, trainer = on_field(bowl, [4.0, 1.0], steps=3)
    summary, _, watcher = run((problem, trainer), lambda p: Hutchinson(p, lr=1.0), backward="create_graph")
    assert [row["loss"] for row in watcher.rows][1] == 0.0
    assert (summary.evals, summary.gradients, summary.hessian_products) == (1, 1, 1)  # converged: the gradient is 0
    problem, trainer = on_field(lambda x: x.sum(-1), [4.0], steps=2)
    summary, *_ = run((problem, trainer), lambda p: Hutchinson(p, lr=1e-3), backward="create_graph")
    assert summary.final_loss == pytest.approx(2.0)  # two steps of lr / 1e-3
    problem, trainer = on_field(bowl, [4.0, 1.0], steps=3)
    with pytest.raises(RunFailure, match=r"Hutchinson differentiates the gradients, which have no graph"):
        run((problem, trainer), Hutchinson)


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.05}, {"accumulate": 2, "batch_size": 3}, {"nan": "skip"}])
def test_create_graph_beside_settings_of_the_trainer(settings: dict[str, Any]) -> None:
    """Against a product with the Hessian of the whole batch in one piece, and the gradient as the settings leave it."""
    trainer = NetworkTrainer(**{"batch_size": 6, "epochs": 1, "steps": 1, "threads": 1} | settings)
    loss = nn.CrossEntropyLoss(reduction="none")
    problem = NetworkProblem(
        linear(), Dots(), loss, trainer.batch_size, 0, CPU, accumulate=trainer.accumulate, precision="fp32"
    )
    batch = problem.batch(0)
    model = linear()
    own = list(model.parameters())
    whole = nn.functional.cross_entropy(model(batch.inputs), batch.targets)
    gradient = torch.autograd.grad(whole, own, create_graph=True)
    norm = torch.stack([g.detach().norm() for g in gradient]).norm()
    factor = min(1.0, settings.get("clip_norm", np.inf) / float(norm))
    problem.seed_draws(0)
    signs = [torch.randint_like(p, 0, 2) * 2.0 - 1.0 for p in own]
    products = torch.autograd.grad(sum((g * s).sum() for g, s in zip(gradient, signs, strict=True)), own)  # type: ignore[arg-type]
    step = [(s * product).abs().clamp(min=1e-3) for s, product in zip(signs, products, strict=True)]
    expected = torch.cat(
        [(p - 0.25 * factor * g / d).flatten() for p, g, d in zip(own, gradient, step, strict=True)]
    ).detach()
    summary, loop, watcher = run((problem, trainer), Hutchinson, backward="create_graph")
    assert torch.allclose(weights(loop), expected, rtol=1e-3, atol=1e-5)
    assert watcher.rows[0]["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    last = watcher.rows[-1]
    assert (last["evals"], last["gradients"]) == (1, 1)
    assert last["hessian_products"] == summary.hessian_products == 1
    assert all(p.grad is None for p in loop.problem.module.parameters())  # and with it the graph is gone


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_an_update_within_the_backward_pass_is_that_of_gradient_descent(scale: float) -> None:
    problem, trainer = on_dots(normed(), epochs=2)
    summary, loop, watcher = run((problem, trainer), lambda p: Lomo(p, scale=scale))
    problem, trainer = on_dots(normed(), epochs=2)
    expected, plain, right = run((problem, trainer), lambda p: torch.optim.SGD(p, lr=0.25))
    assert torch.allclose(weights(loop), weights(plain), rtol=1e-4, atol=1e-6)
    for name in ("loss", "grad_norm", "val_loss"):
        found, wanted = ([row.get(name, 0.0) for row in of.rows] for of in (watcher, right))
        assert found == pytest.approx(wanted, rel=1e-4)
    assert (summary.evals, summary.gradients, summary.steps) == (expected.evals, 8, expected.steps)


def test_an_update_that_clips_by_the_norm_has_two_backward_passes() -> None:
    class Clipped(Lomo):
        def __init__(self, params: Any) -> None:
            super().__init__(params)
            self.clip_grad_norm, self.calls = 1.0, 0

        def grad_norm(self, loss: Tensor) -> None:
            self.calls += 1
            torch.autograd.grad(loss, [p for _, p in self.all()], retain_graph=True)

    problem, trainer = on_dots(epochs=1)
    summary, loop, _ = run((problem, trainer), Clipped)
    assert (summary.evals, summary.gradients, loop.optimizer.calls) == (4, 8, 4)  # type: ignore[attr-defined]


def test_an_extra_pass_is_on_labels_drawn_from_the_network() -> None:
    problem, trainer = on_dots(epochs=2)
    summary, loop, watcher = run((problem, trainer), Sampled, closure="once", extra_every=3, rows_as="bs")
    optimizer: Any = loop.optimizer
    assert (summary.evals, summary.steps, len(optimizer.seen)) == (8 + 3, 8, 3)
    assert [row["evals"] for row in watcher.rows] == [0, 2, 3, 4, 6, 7, 8, 10, 11]
    assert optimizer.rows == [6, 6, 6, 2] * 2
    problem, trainer = on_dots(epochs=2)
    _, plain, _ = run((problem, trainer), lambda p: torch.optim.SGD(p, lr=0.25))
    assert torch.equal(weights(loop), weights(plain))  # it changes nothing of the updates beside it
    # the gradient of a linear network is (p - onehot) x: the first one has a label for each row that explains it
    model, (again, _) = linear(), on_dots()
    batch = again.batch(0)
    chances = model(batch.inputs).softmax(-1).detach()
    found = optimizer.seen[0][32:] * 6  # of the biases: sum of p - onehot
    counts = (chances.sum(0) - found).round(decimals=3)
    assert counts.sum() == pytest.approx(6, abs=1e-3)
    assert torch.allclose(counts, counts.round(), atol=1e-3)
    problem, trainer = on_field(lambda x: x.sum(-1), [4.0], steps=2)
    with pytest.raises(IncompatibleError, match=r"a surface beside optimizer=Sampled"):
        run((problem, trainer), Sampled, extra_every=3)
    with pytest.raises(IncompatibleError, match=r"update_hessian.. wants a backward pass of its own"):
        run(on_dots(), Sampled)


# going on ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["surface", "network"])
@pytest.mark.parametrize(
    ("make", "protocol"),
    [
        (ScheduleFree, {}),
        (Sharp, {"closure": "several", "draws": "same"}),
        (Hutchinson, {"backward": "create_graph"}),
        (Drawing, {}),
    ],
)
def test_each_kind_goes_on_to_the_bit(where: str, make: Any, protocol: dict[str, Any]) -> None:
    """Stopped after any update and gone on with in an object of its own; global generators are elsewhere by then."""

    def problem() -> Any:
        if where == "network":
            return on_dots(normed(), epochs=2)
        return on_field(lambda x: (x**4 + x * x).sum(-1), [1.0, -0.5], steps=8)

    def optimizer(params: Any) -> Any:
        return make(params, lr=0.05)

    _, whole, watcher = run(problem(), optimizer, **protocol)
    state: dict[str, Any] = {}
    (surface, trainer), seen = problem(), Plain(5)
    made = optimizer(list(surface.module.parameters()))
    loop = Loop(surface, made, constant(made), trainer, seen, protocol=OptimizerProtocol(**protocol))
    loop.run()
    if where == "surface" and loop._modes is not None:
        return  # a run on a surface that is stopped begins anew
    seen.checkpoint("now", loop.state())
    state = seen.state("now")
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)
    surface, trainer = problem()
    made = optimizer(list(surface.module.parameters()))
    rest = Plain()
    loop = Loop(surface, made, constant(made), trainer, rest, protocol=OptimizerProtocol(**protocol))
    loop.restore(state)
    loop.run()
    assert torch.equal(weights(loop), weights(whole))
    assert shown(seen) + shown(rest) == shown(watcher)


def test_a_later_pass_that_is_not_finite_leaves_the_update_out() -> None:
    """SAM whose second pass of update 2 overflows: weights, memories and counters are those before it."""

    class Overflowing(Sharp):
        def __init__(self, params: Any) -> None:
            super().__init__(params, rho=0.05)
            self.k = 0

        def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
            self.k += 1
            calls = 0

            def odd() -> Any:
                nonlocal calls
                calls += 1
                if calls == 2 and self.k == 2 and not self.defaults.get("was"):
                    self.defaults["was"] = True
                    with torch.no_grad():
                        self.param_groups[0]["params"][0].mul_(np.inf)
                return closure()

            return super().step(odd)

    problem, trainer = on_dots(epochs=1, nan="skip")
    summary, loop, watcher = run((problem, trainer), Overflowing, closure="several")
    assert summary.reason == "made all 4 updates; 1 update was left out, whose loss or gradient was not finite"
    assert torch.isfinite(weights(loop)).all()
    assert loop.optimizer.k == 3  # type: ignore[attr-defined]
    assert np.isfinite([row["loss"] for row in watcher.rows if "loss" in row]).all()


# what is not declared -------------------------------------------------------------------------------------------------


class Given(Base):
    """Gradient descent whose step begins with what `first` does with it and its closure."""

    def __init__(self, params: Any, first: Callable[[Given, Callable[..., Any]], Any]) -> None:
        super().__init__(params)
        self.first = first

    def step(self, closure: Callable[..., Any]) -> None:  # type: ignore[override]
        self.first(self, closure)
        self.descend()


class Named(Base):
    """Cannot do without the loss, which has a name and a default of None."""

    def step(self, closure: Callable[[], Any] | None = None, loss: Tensor | None = None) -> None:  # type: ignore[override]
        assert loss is not None, "give the loss"
        self.descend()


def has_graph(own: Given, closure: Callable[..., Any]) -> None:
    closure()
    if own.param_groups[0]["params"][0].grad.grad_fn is None:
        raise RuntimeError("Gradient tensor 0 does not have grad_fn; make sure create_graph is set to True.")


def views(own: Given, closure: Callable[..., Any]) -> None:
    closure()
    torch.zeros(2, 3).T.view(6)


LACKING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "second derivatives": (
        Hutchinson,
        r"differentiates the gradients.*declare optimizer.protocol.backward=create_graph",
    ),
    "a graph": (lambda p: Given(p, has_graph), r"declare optimizer.protocol.backward=create_graph"),
    "gradients ready": (
        lambda p: Sharp(p, again=True),
        r"before it calls its closure.*optimizer.protocol.closure=again",
    ),
    "gradients there": (
        lambda p: Given(p, lambda own, closure: [q for _, q in own.all() if q.grad is not None] and closure()),
        r"before it calls its closure.*optimizer.protocol.closure=again",
    ),
    "a number": (
        lambda p: Given(p, lambda own, closure: json.dumps(closure())),
        r"Given.step broke \(TypeError: Object of type Tensor.*with optimizer.protocol.closure=float it does not",
    ),
    "the loss": (Named, r"Named.step broke \(AssertionError: give the loss\).*with optimizer.protocol.closure=loss"),
    "filters in a row": (lambda p: Given(p, views), r"with optimizer.protocol.layout=contiguous it does not"),
    "its own pass": (
        lambda p: Given(p, lambda own, closure: closure().backward()),
        r"goes backward through the loss itself, and its closure has done that",
    ),
    "arguments": (
        lambda p: Given(p, lambda own, closure: closure(backward=False)),
        r"calls its closure with arguments, and a closure takes none",
    ),
}


@pytest.mark.parametrize("what", LACKING)
def test_what_is_not_declared_is_said_at_the_first_step(what: str) -> None:
    make, words = LACKING[what]
    watcher, (problem, trainer) = Plain(), on_dots(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), epochs=1)
    optimizer = make(list(problem.module.parameters()))
    loop = Loop(problem, optimizer, constant(optimizer), trainer, watcher)
    with pytest.raises(RunFailure) as caught:
        loop.run()
    assert re.search(words, f"{caught.value.message}; {caught.value.hint}")
    assert loop.progress.step == 0
    assert {type(p) for p in problem.module.parameters()} == {nn.Parameter}


def test_what_an_error_asks_for_serves() -> None:
    """Each declaration that an error names makes the run that it is meant to make; and to forget gradients, or to look
    at them once the closure was called, asks for nothing."""

    def of(make: Any, **protocol: Any) -> list[dict[str, Any]]:
        return shown(run(on_dots(epochs=1), make, **protocol)[2])

    plain = of(lambda p: torch.optim.SGD(p, lr=0.25))
    assert of(Named, closure="loss") == plain
    assert of(lambda p: Given(p, lambda own, closure: json.dumps(closure())), closure="float") == plain
    assert of(lambda p: Given(p, lambda own, closure: (own.zero_grad(), closure()))) == plain
    looks = lambda p: Given(p, lambda own, closure: [q.grad for _, q in own.all()] and closure())  # noqa: E731
    assert of(looks, closure="several") == plain
    for make in (looks, lambda p: Clip(looks(p), norm=1e6)):
        with pytest.raises(RunFailure, match="looks at gradients before it calls its closure"):
            of(make)


def test_a_first_step_that_only_fills_memories_is_noticed() -> None:
    class Idle(Base):
        def step(self) -> None:  # type: ignore[override]
            if self.defaults.setdefault("k", 0):
                self.descend()
            self.defaults["k"] = 1

    _, loop, _ = run(on_dots(epochs=1), Idle)
    assert loop.facts()["protocol"]["first_step_found"] == "left every weight as it was"
    _, loop, _ = run(on_dots(epochs=1, ema=0.9), Idle, first_step="idle")
    assert loop.weights()["averaged"] == 3  # of four steps
    with pytest.raises(RunFailure, match=r"declares optimizer.protocol.first_step=idle, and moved"):
        run(on_dots(epochs=1), Sharp, first_step="idle")


# refused before the start --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "settings", "words"),
    [
        ({"backward": "fused"}, None, "a surface beside optimizer=x: it updates within the backward pass"),
        ({"extra_every": 2}, None, "a surface beside optimizer=x: its extra pass"),
        *(
            ({"backward": "fused"}, {key: value}, f"trainer.{key}=.* it updates within")
            for key, value in (("clip_norm", 1.0), ("nan", "skip"), ("accumulate", 2), ("precision", "fp16"),
                               ("compile", True))
        ),
        ({"backward": "create_graph"}, {"compile": True}, "trainer.compile=true .* keeps no graph"),
        ({"backward": "create_graph"}, {"precision": "fp16"}, "trainer.precision=fp16 .* scaled loss"),
        ({"extra_every": 2}, {"nan": "skip"}, "trainer.nan=skip .* extra pass"),
        ({"extra_every": 2}, {"precision": "fp16"}, "trainer.precision=fp16 .* extra pass"),
        ({"modes": True}, {"ema": 0.9}, "trainer.ema=0.9 .* average of its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_met_is_refused(protocol: dict[str, Any], settings: Any, words: str) -> None:
    trainer = SurfaceTrainer() if settings is None else NetworkTrainer(**settings)
    with pytest.raises(IncompatibleError, match=words):
        check_served(OptimizerProtocol(**protocol), trainer, "x")
    check_served(OptimizerProtocol(), trainer, "x")


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (3, "optimizer.protocol=3: expected keys"),
        ({"clsure": "none"}, "'optimizer.protocol' has no key 'clsure'"),
        *(({key: "?"}, f"optimizer.protocol.{key}=.: expected") for key in NEUTRAL),
        ({"closure": None}, "optimizer.protocol.closure=null: expected auto"),
        ({"batch_norm": -1}, "optimizer.protocol.batch_norm=-1: expected a whole number"),
        ({"backward": "fused", "closure": "once"}, "backward=fused calls no step"),
        ({"backward": "fused", "rows_as": "bs"}, "backward=fused calls no step"),
        ({"backward": "create_graph", "extra_every": 3}, "extra_every makes a plain backward pass"),
        ({"closure": "once", "draws": "same"}, "draws and statistics are of updates with several passes"),
        ({"extra_call": "refresh"}, "extra_call without extra_every"),
    ],
)
def test_a_declaration_that_says_nothing_is_refused(node: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        protocol_of({"optimizer": {"protocol": node}})


def test_a_declaration_that_goes_without_saying_is_no_part_of_the_identity() -> None:
    config = {"optimizer": {"_target_": "torch.optim.Adam", "lr": 0.1}, "seed": 0}

    def identity(node: Any) -> str:
        return run_id({**config, "optimizer": {**config["optimizer"], "protocol": node}})  # type: ignore[dict-item]

    assert run_id(config) == identity({}) == identity(None) == identity(dict(NEUTRAL))
    others = {"closure": "several", "backward": "create_graph", "draws": "same", "statistics": "first", "modes": True,
              "batch_norm": 1, "after_step": "a", "extra_every": 1, "extra_call": "b", "rows_as": "c",
              "first_step": "idle", "layout": "contiguous"}  # fmt: skip
    assert set(others) == {f.name for f in fields(OptimizerProtocol)}
    assert len({run_id(config), *(identity({key: value}) for key, value in others.items())}) == 1 + len(others)
    around = {**config, "wrap": {"mine": {"_target_": "mine.Mine", "protocol": {"closure": "several"}}}}
    said = {**config, "wrap": {"mine": {"_target_": "mine.Mine", "protocol": {"closure": "several", "draws": "fresh"}}}}
    assert run_id(around) == run_id(said) != run_id(config)
    declared = {**around, "choices": {"optimizer": "adam"}}
    assert protocol_of(declared) == OptimizerProtocol()
    assert wrapped(declared) == OptimizerProtocol(closure="several")


def test_a_class_that_lacks_what_is_declared_is_refused() -> None:
    own = [nn.Parameter(torch.zeros(1))]
    plain, ready = torch.optim.SGD(own, lr=0.1), Drawing(own)
    lacking: list[tuple[Any, dict[str, Any], str]] = [
        (plain, {"modes": True}, r"wants SGD.train\(\)"),
        (plain, {"backward": "fused"}, r"wants SGD.fused_backward\(\)"),
        (plain, {"after_step": "tidy"}, r"wants SGD.tidy\(\)"),
        (plain, {"rows_as": "bs"}, "SGD.step has no such keyword"),
        (ready, {"closure": "several"}, "closure=several: Drawing.step takes none"),
        (Sharp(own), {"closure": "none"}, "Sharp.step cannot do without closure"),
        (
            type("Wide", (Base,), {"step": lambda self, closure, model: None})(own),
            {},
            "Wide.step cannot do without model",
        ),
        (type("Sized", (Base,), {"step": lambda self, closure, *, bs: None})(own), {}, "rows_as=bs"),
        (object(), {}, "object is no torch.optim.Optimizer"),
    ]
    for optimizer, protocol, words in lacking:
        with pytest.raises(IncompatibleError) as caught:
            spoken(optimizer, OptimizerProtocol(**protocol))
        assert re.search(words, f"{caught.value.message}; {caught.value.hint}")
    needs_loss = type("Needing", (Base,), {"step": lambda self, closure=None, *, loss: None})(own)
    assert spoken(needs_loss).protocol.closure == "loss"
