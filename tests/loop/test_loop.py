"""The training loop: every row against a loop written here, every reason to end at the step where it must apply."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import members
import pytest
import torch
from loop_tools import CPU, Dots, constant, gd, linear, loop_of, on_dots, on_field, run_loop
from torch import Tensor, nn

import optbench
from optbench.errors import DataError
from optbench.losses.surface import SurfaceLoss
from optbench.problem import AbstractAugmentation, SurfaceProblem, stream
from optbench.records.vocabulary import MAX_COORDINATES, curve_columns
from optbench.settings import SurfaceTrainer


def square(x: Tensor) -> Tensor:
    return x.square().sum(-1)


def rosenbrock(x: Tensor) -> Tensor:
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


# rows


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "gd": lambda p: torch.optim.SGD(p, lr=1e-3),
    "momentum": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_are_those_of_a_plain_loop(name: str) -> None:
    make, decay = OPTIMIZERS[name], lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.97)
    trainer = SurfaceTrainer(steps=60)
    problem = SurfaceProblem(members.make("model", "rosenbrock"), SurfaceLoss(), trainer, 0, CPU)
    summary, rows = run_loop(problem, trainer, make, schedule=decay)

    x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = make([x])
    schedule = decay(optimizer)
    expected = []
    for k in range(61):
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        assert x.grad is not None
        norm = float(x.grad.square().sum().sqrt())
        expected.append([k, k, optimizer.param_groups[0]["lr"], loss.item(), norm, *x.tolist()])
        optimizer.step()
        schedule.step()

    found = [[r[c] for c in ("step", "evals", "lr", "loss", "grad_norm", "x0", "x1")] for r in rows]
    assert len(found) == 61
    for got, wanted in zip(found, expected, strict=True):
        assert got == pytest.approx(wanted, rel=1e-9)
    best = min(range(61), key=lambda k: expected[k][3])
    assert (summary.best_step, summary.best_loss) == (best, pytest.approx(expected[best][3]))
    assert summary.final_loss == pytest.approx(expected[-1][3])
    assert summary.final_grad_norm == pytest.approx(expected[-1][4])
    assert (summary.status, summary.reason, summary.steps) == ("completed", "made all 60 updates", 60)
    assert summary.epochs is None
    assert summary.val_accuracy is None


def test_gradient_descent_on_a_quadratic_has_its_closed_form() -> None:
    a = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)
    start, eta = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64), 0.2
    problem, trainer = on_field(lambda x: 0.5 * (x @ a * x).sum(-1), start.tolist(), steps=30)
    _, rows = run_loop(problem, trainer, gd(eta))
    for k, row in enumerate(rows):
        x = torch.linalg.matrix_power(torch.eye(3, dtype=torch.float64) - eta * a, k) @ start
        assert [row["x0"], row["x1"], row["x2"]] == pytest.approx(x.tolist(), rel=1e-10, abs=1e-13)
        assert row["loss"] == pytest.approx(float(0.5 * x @ a @ x), rel=1e-10)
        assert row["grad_norm"] == pytest.approx(float((a @ x).norm()), rel=1e-10)


def test_network_rows_are_those_of_a_plain_loop() -> None:
    problem, trainer = on_dots(epochs=3)
    summary, rows = run_loop(problem, trainer, gd(0.5))
    model, criterion = linear(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    held = Dots().load("validation")
    assert held.labels is not None
    means, correct, seen = [], 0, 0
    for k, row in enumerate(rows):
        assert row["epoch"] == k / 4
        if k % 4 == 0:
            with torch.no_grad():
                outputs = model(held.images / 255.0)
            assert row["val_loss"] == pytest.approx(float(criterion(outputs, held.labels)), rel=1e-5)
            assert row["val_accuracy"] == float((outputs.argmax(-1) == held.labels).double().mean())
            assert row.get("train_accuracy") == (correct / seen if k else None)
            correct, seen = 0, 0
        else:
            assert "val_loss" not in row
            assert "train_accuracy" not in row
        if k == 12:
            assert "loss" not in row  # no update follows, so no batch was seen
            break
        batch = problem.batch(k)
        outputs = model(batch.inputs)
        loss = criterion(outputs, batch.targets)
        correct, seen = correct + int((outputs.argmax(-1) == batch.targets).sum()), seen + len(batch)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert row["grad_norm"] == pytest.approx(float(norm), rel=1e-4)
        means.append(loss.item())
        optimizer.step()
    per_epoch = [sum(means[i : i + 4]) / 4 for i in (0, 4, 8)]
    assert summary.final_loss == pytest.approx(per_epoch[-1], rel=1e-5)
    assert summary.best_loss == pytest.approx(min(per_epoch), rel=1e-5)
    assert (summary.steps, summary.epochs, summary.evals) == (12, 3.0, 12)
    assert summary.val_accuracy == rows[-1]["val_accuracy"]
    assert summary.best_val_accuracy == max(r["val_accuracy"] for r in rows if "val_accuracy" in r)


@pytest.mark.parametrize(("n", "batch_size", "sizes"), [
    (20, 6, [6, 6, 6, 2]), (19, 6, [6, 6, 7]), (18, 6, [6, 6, 6]), (3, 1, [1, 1, 1]), (7, 7, [7]),
    (7, "full", [7]), (7, 6, [7]), (1, 1, [1]),
])  # fmt: skip
def test_an_epoch_sees_every_image_once(n: int, batch_size: Any, sizes: list[int]) -> None:
    problem, _ = on_dots(data=Dots(n), batch_size=batch_size)
    every = sorted(problem.train.images.flatten(1).double().div(255).float().tolist())
    orders = []
    for epoch in range(2):
        batches = [problem.batch(epoch * len(sizes) + k) for k in range(problem.steps_per_epoch)]
        assert [len(b) for b in batches] == sizes
        seen = torch.cat([b.inputs for b in batches]).flatten(1)
        assert sorted(seen.tolist()) == every
        orders.append(seen)
    if n > 3:
        assert not orders[0].equal(orders[1])
    assert problem.exact_gradient == (len(sizes) == 1)


class Shifted(AbstractAugmentation):
    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return images.roll(int(torch.randint(0, 4, (), generator=generator)), dims=-1)


@pytest.mark.parametrize("where", ["nowhere", "augmentation", "dropout", "a function", "no chance"])
def test_a_gradient_of_the_whole_data_set_with_something_random_in_it_ends_no_run(where: str) -> None:
    """A norm below grad_tol is no critical point where the next update would see another gradient."""
    last = {"dropout": nn.Dropout(0.5), "no chance": nn.Dropout(0.0)}.get(where, nn.Identity())
    model = nn.Sequential(*linear(), last)
    if where == "a function":
        model.register_forward_hook(lambda module, inputs, outputs: nn.functional.dropout(outputs, 0.5))
    augmentation = Shifted() if where == "augmentation" else None
    problem, trainer = on_dots(model, batch_size="full", epochs=3, grad_tol=1e9, augmentation=augmentation)
    summary, _ = run_loop(problem, trainer, gd(0.1))
    exact = where in ("nowhere", "no chance")
    assert (summary.status, summary.steps) == (("converged", 0) if exact else ("completed", 3))
    assert problem.exact_gradient == exact


def test_record_every_keeps_the_first_the_last_and_the_evaluated() -> None:
    problem, trainer = on_field(square, [1.0], steps=10, record_every=3)
    assert [r["step"] for r in run_loop(problem, trainer, gd(0.1))[1]] == [0, 3, 6, 9, 10]
    network, settings = on_dots(epochs=3, record_every=3, eval_every=2)
    assert [r["step"] for r in run_loop(network, settings, gd(0.1))[1]] == [0, 3, 6, 8, 9, 12]


def test_steps_may_end_a_network_within_an_epoch() -> None:
    problem, trainer = on_dots(steps=6)
    summary, rows = run_loop(problem, trainer, gd(0.1))
    assert (summary.steps, summary.epochs, summary.status) == (6, 1.5, "completed")
    assert [r["step"] for r in rows if "val_loss" in r] == [0, 4, 6]


def test_evaluations_of_lbfgs_are_counted_one_by_one() -> None:
    def make(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(parameters, max_iter=4, line_search_fn="strong_wolfe")

    problem, trainer = on_field(rosenbrock, [-1.2, 1.0], steps=8)
    summary, rows = run_loop(problem, trainer, make)
    x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer, calls = make([x]), itertools.count()
    counted = 0

    def closure() -> Tensor:
        nonlocal counted
        counted = next(calls) + 1
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        return loss

    for row in rows:
        assert (row["evals"], row["x0"], row["x1"]) == (counted, *x.tolist())
        optimizer.step(closure)
    assert summary.evals == rows[-1]["evals"] > 2 * summary.steps


# reasons to end: gradient descent with known iterates


def test_target() -> None:  # x_k = 2^-k, f = 4^-k
    problem, trainer = on_field(square, [1.0], target=4.0**-3)
    summary, rows = run_loop(problem, trainer, gd(0.25))
    assert (summary.status, summary.steps, summary.steps_to_target) == ("target_reached", 3, 3)
    assert summary.reason == "loss 0.015625 <= target 0.015625 after 3 updates"
    assert [r["loss"] for r in rows] == [1.0, 0.25, 0.0625, 0.015625]
    assert problem.coordinates() == [rows[-1]["x0"]] == [0.125]  # not moved past the row that ended the run


def test_a_start_at_the_target_needs_no_update() -> None:
    problem, trainer = on_field(square, [1.0], target=1.0)
    summary, _ = run_loop(problem, trainer, gd(0.25))
    assert (summary.status, summary.steps, summary.evals, summary.steps_to_target) == ("target_reached", 0, 0, 0)


def test_gradient_norm() -> None:  # |f'| = 2^(1-k)
    problem, trainer = on_field(square, [1.0], grad_tol=2.0**-4)
    summary, rows = run_loop(problem, trainer, gd(0.25))
    assert (summary.status, summary.reason) == ("converged", "gradient norm 0.0625 <= 0.0625 at step 5")
    assert (summary.steps, rows[-1]["grad_norm"], problem.coordinates()) == (5, 2.0**-4, [2.0**-5])


def test_plateau() -> None:
    problem, trainer = on_field(square, [1.0], plateau_steps=4, plateau_delta=0.5)
    summary, _ = run_loop(problem, trainer, gd(1e-9))
    assert (summary.status, summary.steps) == ("converged", 4)
    assert summary.reason == "the loss fell by less than 0.5 (relative) over 4 steps, at step 4"


def test_divergence_by_factor() -> None:  # x_k = (-2)^k, f = 4^k; 4^4 is the first above 100
    problem, trainer = on_field(square, [1.0], divergence_factor=100.0)
    summary, rows = run_loop(problem, trainer, gd(1.5))
    assert (summary.status, summary.steps, rows[-1]["loss"]) == ("diverged", 4, 256.0)
    assert summary.reason == "the loss rose above 100 times the start's scale at step 4: 256"
    assert summary.best_loss == 1.0


def test_the_factor_is_of_the_start() -> None:  # start 16: 16 4^k is above 1600 at k = 4
    problem, trainer = on_field(square, [4.0], divergence_factor=100.0)
    assert run_loop(problem, trainer, gd(1.5))[0].steps == 4


def test_unbounded_below() -> None:  # x_k = 2^k, f = -4^k
    problem, trainer = on_field(lambda x: -square(x), [1.0], divergence_factor=1000.0)
    summary, _ = run_loop(problem, trainer, gd(0.5))
    assert (summary.status, summary.steps) == ("diverged", 5)
    assert summary.reason == "the loss fell below minus 1000 times the start's scale at step 5: -1024"


def test_a_loss_that_is_no_number() -> None:
    problem, trainer = on_field(lambda x: x.log().sum(-1), [1.0])
    summary, rows = run_loop(problem, trainer, gd(2.0))
    assert (summary.status, summary.reason) == ("diverged", "the loss became nan at step 1")
    assert (summary.steps, len(rows), problem.coordinates()) == (1, 2, [-1.0])
    assert (summary.best_step, summary.best_loss) == (0, 0.0)


def test_an_infinite_loss() -> None:
    problem, trainer = on_field(lambda x: 1.0 / x.square().sum(-1), [0.0])
    assert run_loop(problem, trainer, gd(2.0))[0].reason == "the loss became inf at step 0"


def test_a_gradient_that_is_no_number() -> None:  # sqrt(x^2) at 0
    problem, trainer = on_field(lambda x: x.square().sum(-1).sqrt(), [1.0])
    summary, _ = run_loop(problem, trainer, gd(1.0))
    assert (summary.status, summary.reason) == ("diverged", "the gradient became nan at step 1 (loss 0)")


@pytest.fixture
def one_second_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(1)
    monkeypatch.setattr("optbench.loop.train.time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))


@pytest.mark.usefixtures("one_second_an_update")
def test_wall_clock() -> None:
    problem, trainer = on_field(square, [1.0], seconds=3.0)
    summary, rows = run_loop(problem, trainer, gd(0.1))
    assert (summary.status, summary.steps) == ("timed_out", 3)
    assert summary.reason == "3 s of training time were spent after 3 updates"
    assert [r["seconds"] for r in rows] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.usefixtures("one_second_an_update")
def test_evaluation_is_off_the_clock() -> None:
    problem, trainer = on_dots(epochs=3, seconds=9.5)
    summary, rows = run_loop(problem, trainer, gd(0.1))
    assert [r["seconds"] for r in rows] == [float(k) for k in range(11)]  # two evaluations lie in between
    assert (summary.status, summary.steps) == ("timed_out", 10)


@pytest.mark.parametrize("limits", [
    {"target": 4.0**-13}, {"grad_tol": 2.0**-13}, {"plateau_steps": 4, "plateau_delta": 0.5}, {"seconds": 1e6},
    {"divergence_factor": 1.001},
])  # fmt: skip
def test_no_rule_ends_a_run_before_its_time(limits: dict[str, Any]) -> None:
    problem, trainer = on_field(square, [1.0], steps=12, **limits)
    summary, rows = run_loop(problem, trainer, gd(0.25))
    assert (summary.status, summary.reason, len(rows)) == ("completed", "made all 12 updates", 13)
    assert summary.steps_to_target is None


def test_target_accuracy_and_the_loss_target_of_a_network() -> None:
    problem, trainer = on_dots(epochs=200, target_accuracy=1.0)
    summary, rows = run_loop(problem, trainer, gd(1.0))
    assert summary.status == "target_reached"
    assert summary.reason == f"validation accuracy 1.0000 >= 1 after {summary.steps} updates"
    assert [r["val_accuracy"] for r in rows if "val_accuracy" in r].index(1.0) * 4 == summary.steps
    stopped = summary.steps
    problem, trainer = on_dots(epochs=200, target_accuracy=1.0, stop_at_target=False)
    summary, rows = run_loop(problem, trainer, gd(1.0))
    assert (summary.status, summary.steps, summary.steps_to_target) == ("completed", 800, stopped)
    problem, trainer = on_dots(epochs=200, target=0.3)
    summary, rows = run_loop(problem, trainer, gd(1.0))
    epochs = [sum(r["loss"] for r in rows[i : i + 4]) / 4 for i in range(0, summary.steps, 4)]
    assert summary.status == "target_reached"
    assert epochs[-1] <= 0.3 < min(epochs[:-1])  # the mean of an epoch counts, no single batch


def test_a_network_that_diverges_ends_within_the_epoch() -> None:
    problem, trainer = on_dots(epochs=50, divergence_factor=2.0)
    summary, rows = run_loop(problem, trainer, gd(1e4))
    assert summary.status == "diverged"
    assert rows[-1]["step"] == summary.steps
    assert rows[-1]["loss"] > 2.0 * max(1.0, rows[0]["loss"])
    assert all(r["loss"] <= 2.0 * max(1.0, rows[0]["loss"]) for r in rows[:-1])


# saddles and noise


def saddle(x: Tensor) -> Tensor:
    return x[..., 0] ** 2 - x[..., 1] ** 2


@pytest.mark.parametrize("grad_tol", [0.0, 1e-12])
def test_gradient_descent_stays_on_a_saddle(grad_tol: float) -> None:
    problem, trainer = on_field(saddle, [0.0, 0.0], grad_tol=grad_tol)
    summary, rows = run_loop(problem, trainer, gd(0.1))
    assert (summary.status, summary.steps, len(rows)) == ("converged", 0, 1)
    assert summary.reason == f"gradient norm 0 <= {grad_tol:g} at step 0"


@pytest.mark.parametrize("grad_tol", [0.0, 1e-12])
def test_noise_leaves_a_saddle(grad_tol: float) -> None:
    problem, trainer = on_field(saddle, [0.0, 0.0], grad_tol=grad_tol, grad_noise=1e-3)
    summary, rows = run_loop(problem, trainer, gd(0.1))
    assert summary.status == "diverged"
    assert summary.reason.startswith("the loss fell below minus")
    assert rows[0]["grad_norm"] == 0.0  # the gradient is recorded as it is, without the noise


def test_noise_is_a_function_of_seed_and_step() -> None:
    def noise(seed: int, step: int) -> list[float]:
        problem, _ = on_field(square, [0.0] * 3, seed=seed, grad_noise=0.5)
        point = next(problem.module.parameters())
        point.grad = torch.zeros_like(point)
        problem.perturb_gradient(step)
        drawn: list[float] = point.grad.tolist()
        return drawn

    assert noise(1, 7) == noise(1, 7)
    drawn = {tuple(noise(seed, step)) for seed in range(3) for step in range(100)}
    assert len(drawn) == 300
    values = torch.tensor(sorted(drawn)).flatten()
    assert abs(float(values.mean())) < 0.05
    assert float(values.std()) == pytest.approx(0.5, rel=0.1)


# schedulers


class Steps:
    """A scheduler that counts."""

    def __init__(self, optimizer: Any) -> None:
        self.count = 0

    def step(self) -> None:
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        return {}


class Metrics(Steps):
    """A scheduler that wants a metric, and remembers it."""

    def __init__(self, optimizer: Any) -> None:
        self.seen: list[float] = []

    def step(self, metrics: float) -> None:  # type: ignore[override]
        self.seen.append(metrics)


def test_a_scheduler_steps_once_an_update() -> None:
    for problem, trainer in (on_field(square, [1.0], steps=5), on_field(square, [1.0], target=4.0**-5), on_dots()):
        loop, _ = loop_of(problem, trainer, gd(0.25), schedule=Steps)
        assert loop.run().steps == loop.scheduler.count > 0


def test_a_metric_scheduler_is_fed_the_loss() -> None:
    problem, trainer = on_field(square, [1.0], steps=5)
    loop, watcher = loop_of(problem, trainer, gd(0.25), schedule=Metrics)
    loop.run()
    assert loop.scheduler.seen == [r["loss"] for r in watcher.rows[:-1]]
    network, settings = on_dots(epochs=3)
    loop, watcher = loop_of(network, settings, gd(0.25), schedule=Metrics)
    loop.run()
    assert loop.scheduler.seen == [r["val_loss"] for r in watcher.rows if "val_loss" in r and r["step"]]


def test_plateau_reduces_as_in_a_plain_loop() -> None:  # lr 1 on x^2 jumps between +1 and -1 until it is reduced
    def schedule(optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)

    problem, trainer = on_field(square, [1.0], steps=12)
    _, rows = run_loop(problem, trainer, gd(1.0), schedule=schedule)
    assert [r["lr"] for r in rows[:6]] == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]  # one best reading, then three that are not
    assert [abs(r["x0"]) for r in rows[:6]] == [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]


# interruption


def test_the_optimizer_has_made_as_many_updates_as_the_rows_say() -> None:
    problem, trainer = on_field(rosenbrock, [-1.2, 1.0], target=4.0)
    loop, watcher = loop_of(problem, trainer, lambda p: torch.optim.Adam(p, lr=0.1))
    summary = loop.run()
    (state,) = loop.optimizer.state.values()
    assert int(state["step"]) == summary.steps == watcher.rows[-1]["step"] > 0
    assert [watcher.rows[-1]["x0"], watcher.rows[-1]["x1"]] == problem.coordinates()


@pytest.mark.parametrize("stop_after", [1, 3, 4, 5, 8, 12])
def test_an_interrupted_network_goes_on_to_the_bit(stop_after: int) -> None:
    def rows_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    problem, trainer = on_dots(epochs=3)
    whole, rows = run_loop(problem, trainer, OPTIMIZERS["momentum"])
    weights = [p.clone() for p in problem.module.parameters()]

    problem, trainer = on_dots(epochs=3)
    loop, first = loop_of(problem, trainer, OPTIMIZERS["momentum"], stop_after=stop_after)
    cut = loop.run()
    assert (cut.status, cut.steps) == ("interrupted", stop_after)
    assert cut.reason == f"stopped by the user after step {stop_after}"
    problem, trainer = on_dots(epochs=3)
    loop, second = loop_of(problem, trainer, OPTIMIZERS["momentum"])
    loop.restore(first.state("last"))
    again = loop.run()
    assert rows_of([r for r in first.rows if r["step"] < stop_after] + second.rows) == rows_of(rows)
    assert all(p.equal(w) for p, w in zip(problem.module.parameters(), weights, strict=True))
    whole.seconds = again.seconds
    assert again == whole


def test_the_best_weights_are_those_of_the_best_evaluation() -> None:
    problem, trainer = on_dots(epochs=6)
    loop, watcher = loop_of(problem, trainer, gd(0.5))
    summary = loop.run()
    evaluated = [r for r in watcher.rows if "val_accuracy" in r]
    best = max(evaluated, key=lambda r: (r["val_accuracy"], -r["val_loss"]))
    assert (summary.best_val_step, summary.best_val_accuracy) == (best["step"], best["val_accuracy"])
    assert summary.best_val_loss == best["val_loss"]
    state = watcher.state("best")
    assert state["step"] == best["step"]
    problem.module.load_state_dict(state["model"])
    assert problem.evaluate() == {k: best[k] for k in ("val_loss", "val_accuracy")}


class Wrong(Dots):
    """Validation labels that a model of one class never meets: accuracy 0 from the start."""

    def load(self, split: str) -> Any:
        found = super().load(split)
        labels = torch.full_like(found.labels, int(split == "validation"))  # type: ignore[arg-type]
        return type(found)(found.images, labels, found.names)


def test_of_equal_accuracies_the_lower_loss_is_best_also_at_zero() -> None:
    model = linear()
    with torch.no_grad():
        model[1].bias.copy_(torch.tensor([5.0, -5.0]))  # type: ignore[union-attr]
    problem, trainer = on_dots(model, Wrong(), epochs=4)
    summary, rows = run_loop(problem, trainer, gd(0.5), schedule=constant)
    losses = [r["val_loss"] for r in rows if "val_loss" in r]
    assert {r["val_accuracy"] for r in rows if "val_accuracy" in r} == {0.0}
    assert losses == sorted(losses)
    assert losses[-1] > losses[0]
    assert summary.best_val_step == 0


# what is drawn, and what is evaluated ---------------------------------------------------------------------------------


class Negative(AbstractAugmentation):
    """Turns images into their negatives; remembers what it was given to draw from, the global generator included."""

    def __init__(self) -> None:
        self.drawn: list[list[float]] = []
        self.global_: list[list[float]] = []

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        self.drawn.append(torch.rand(3, generator=generator).tolist())
        self.global_.append(torch.rand(3).tolist())
        return 255 - images


def test_no_two_updates_and_no_two_purposes_draw_the_same() -> None:
    ours, model, steps = Negative(), [], 9
    problem, _ = on_dots(augmentation=ours, seed=5)
    for k in range(steps):
        problem.batch(k)
        model.append(torch.rand(3).tolist())  # as dropout draws within the update
    order = [torch.rand(3, generator=stream(5, "order", epoch)).tolist() for epoch in range(steps)]
    drawn = [tuple(numbers) for numbers in (*ours.drawn, *ours.global_, *model, *order)]
    assert len(set(drawn)) == len(drawn) == 4 * steps
    again, other = Negative(), Negative()
    on_dots(augmentation=again, seed=5)[0].batch(4)
    on_dots(augmentation=other, seed=6)[0].batch(4)
    assert (again.drawn, again.global_) == ([ours.drawn[4]], [ours.global_[4]])
    assert other.drawn != again.drawn
    assert other.global_ != again.global_


@pytest.mark.parametrize("made", [lambda x: x[:2], lambda x: x / 255, lambda x: None])
def test_what_is_no_batch_of_such_images_any_more_is_refused(made: Any) -> None:
    kind = type("Own", (AbstractAugmentation,), {"__call__": lambda self, images, generator: made(images)})
    with pytest.raises(DataError, match=r"Own made .* of 6 images \(torch.uint8\)"):
        on_dots(augmentation=kind())[0].batch(0)


def test_a_data_set_that_would_augment_by_itself_is_refused() -> None:
    kind = type("Older", (Dots,), {"augment": lambda self, images, generator: images})
    with pytest.raises(DataError, match=r"Older\.augment is not called") as caught:
        on_dots(data=kind())
    assert "augment=" in caught.value.hint


def test_validation_pictures_are_never_augmented_and_training_ones_are() -> None:
    problem, _ = on_dots(augmentation=Negative())
    found, split = problem.evaluate(), Dots().load("validation")
    assert split.labels is not None
    with torch.no_grad():
        outputs = linear()(split.images / 255.0)
        turned = linear()((255 - split.images) / 255.0)
    expected = nn.functional.cross_entropy(outputs, split.labels).item()
    assert found["val_loss"] == pytest.approx(expected, rel=1e-5)
    assert found["val_loss"] != pytest.approx(nn.functional.cross_entropy(turned, split.labels).item(), rel=1e-3)
    whole = Dots().load("train").images / 255.0
    seen = problem.batch(0).inputs
    assert all(any(torch.allclose(1 - one, other) for other in whole) for one in seen)


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(0.5, 1.0), (0.5, 1.0), (0.5, 1.0)], 0),  # of equals, the first
        ([(0.5, 1.0), (0.5, 0.9), (0.5, 0.9)], 1),
        ([(0.5, 1.0), (0.6, 2.0), (0.6, 2.0)], 1),
        ([(0.5, 1.0), (0.5, 1.1), (0.4, 0.1)], 0),
    ],
)
def test_of_equal_evaluations_the_first_is_the_best(
    figures: list[tuple[float, float]], best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, trainer = on_dots(epochs=2)
    told = iter([{"val_accuracy": accuracy, "val_loss": loss} for accuracy, loss in figures])
    monkeypatch.setattr(problem, "evaluate", lambda: next(told))
    loop, watcher = loop_of(problem, trainer, gd(0.1))
    summary = loop.run()
    assert summary.best_val_step == best * problem.steps_per_epoch
    assert watcher.state("best")["step"] == summary.best_val_step


@pytest.mark.parametrize(("epochs", "every"), [(3, 2), (5, 3), (4, 2), (1, 5)])
def test_the_last_epoch_is_evaluated_whether_due_or_not(epochs: int, every: int) -> None:
    problem, trainer = on_dots(epochs=epochs, eval_every=every)
    summary, rows = run_loop(problem, trainer, gd(0.1))
    found = [row["step"] // problem.steps_per_epoch for row in rows if "val_loss" in row]
    assert found == sorted({*range(0, epochs + 1, every), epochs})
    assert summary.val_loss == rows[-1]["val_loss"]


def test_a_row_has_the_columns_of_the_list_and_no_others() -> None:
    for dim in (1, MAX_COORDINATES, MAX_COORDINATES + 1, None):
        problem, trainer = on_dots(epochs=2) if dim is None else on_field(square, [1.0] * dim, steps=3)
        _, rows = run_loop(problem, trainer, gd(0.1))
        assert {name for row in rows for name in row} == {one.name for one in curve_columns(dim, dim is None)}


TINY_NETWORK = ("model=logistic", "data.image_size=8", "trainer.batch_size=full", "scheduler=constant", "optimizer=sgd")


def test_a_long_gradient_is_cut_and_a_short_one_is_not(tmp_path: Path) -> None:
    """SGD at rate 1 moves by the gradient: by clip_norm in length, in the direction of the whole; what is recorded is
    the length before."""

    def moved(clip: str) -> tuple[torch.Tensor, float]:
        words = (
            *TINY_NETWORK,
            "optimizer.lr=1",
            "trainer.epochs=1",
            "trainer.keep_every=1",
            f"trainer.clip_norm={clip}",
        )
        run = optbench.run(*words, out=tmp_path / clip)
        assert run.path is not None
        kept = [torch.load(run.path / f"checkpoints/epoch-000{k}.pt", weights_only=True)["model"] for k in (0, 1)]
        return torch.cat([(kept[1][k] - kept[0][k]).flatten() for k in kept[0]]), run.curve()["grad_norm"].iloc[0]

    (whole, norm), (cut, recorded), (left, _) = moved("null"), moved("0.01"), moved("1000")
    assert recorded == norm == pytest.approx(float(whole.norm()), rel=1e-4)
    assert float(cut.norm()) == pytest.approx(0.01, rel=1e-3)
    assert float(torch.cosine_similarity(cut, whole, dim=0)) == pytest.approx(1.0, abs=1e-4)
    assert torch.equal(left, whole)


def test_patience_is_evaluations_without_a_better_accuracy(tmp_path: Path) -> None:
    words = (*TINY_NETWORK, "optimizer.lr=1e-12", "trainer.epochs=9")
    run = optbench.run(*words, "trainer.patience=2", out=tmp_path)
    assert (run.status, run.summary["steps"]) == ("converged", 3)
    assert "in 3 evaluations" in run.reason
    assert optbench.run(*words, "trainer.patience=9", out=tmp_path).status == "completed"
