"""Networks on any inputs and targets: trees of tensors, tables, tokens, numbers; each held to a loop in plain torch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from given_data import Given
from loop_tools import CPU, gd, run_loop
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from optbench.augment.flip_crop import FlipCrop
from optbench.config.build import check_made
from optbench.curvature.objective import network_objective
from optbench.errors import ConfigError, DataError, IncompatibleError, RunFailure
from optbench.experiment.assemble import build_problem, optimizer_of, seeded_model
from optbench.experiment.plan import plan_run, plan_sweep
from optbench.launch.members import check_members
from optbench.losses.by_targets import ByTargets
from optbench.losses.squared_error import SquaredError
from optbench.problem import AbstractData, NetworkProblem, Split, as_loss, read_split, row_losses, stream, trees
from optbench.problem.folds import Folds
from optbench.problem.measures import Metric, rmse
from optbench.settings import NetworkTrainer

N, FEW = 14, 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


class Named(nn.Module):
    """Of two inputs by name: words, that are embedded, and numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.rest = nn.Embedding(7, 3), nn.Linear(5, 1)
        with torch.no_grad():
            for weights in self.parameters():
                weights.copy_(torch.linspace(-1, 1, weights.numel()).reshape(weights.shape))

    def forward(self, words: Tensor, numbers: Tensor) -> Tensor:
        found: Tensor = self.rest(torch.cat([self.words(words), numbers], dim=1))
        return found


class Placed(Named):
    """The same, of inputs by place."""

    def forward(self, *both: Tensor) -> Tensor:
        return super().forward(*both)


WORDS, NUMBERS = torch.arange(N) % 7, drawn(N, 2)
WANTED = drawn(N, seed=1)


def plain(model: nn.Module, weights: Tensor | None = None, seed: int = 3) -> list[float]:
    """The losses of one epoch of gradient descent on batches of FEW, written without optbench."""
    order = torch.randperm(N, generator=stream(seed, "order", 0))
    found = []
    for index in (order[:5], order[5:10], order[10:]):
        model.zero_grad()
        each = (model(WORDS[index], NUMBERS[index])[:, 0] - WANTED[index]).square()
        loss = each.mean() if weights is None else (each * weights[index] / weights.mean()).mean()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                assert p.grad is not None
                p -= 0.1 * p.grad
        found.append(loss.item())
    return found


def losses(model: nn.Module, data: AbstractData, loss: nn.Module, **more: Any) -> list[float]:
    problem = NetworkProblem(model, data, loss, FEW, 3, CPU, **more)
    rows = run_loop(problem, NetworkTrainer(batch_size=FEW, epochs=1, threads=1), gd(0.1))[1]
    return [row["loss"] for row in rows[:3]]


@pytest.mark.parametrize(("model", "inputs"), [
    (Named, {"words": WORDS, "numbers": NUMBERS}),
    (Named, {"numbers": NUMBERS, "words": WORDS.to(torch.int16)}),
    (Placed, (WORDS, NUMBERS)),
    (Placed, [WORDS, NUMBERS.double()]),
    (Placed, Pair(WORDS, NUMBERS)),
])  # fmt: skip
def test_inputs_of_any_form_train_as_in_plain_torch(model: type[nn.Module], inputs: Any) -> None:
    data = Given(inputs, WANTED)
    assert losses(model(), data, SquaredError()) == pytest.approx(plain(model()), rel=1e-6)
    held = Folds(data, 4, 1)  # merged with itself: 2 N examples, each name twice
    assert sum(len(held.load(part)) for part in ("train", "validation")) == 2 * N
    split = read_split(held, "validation")
    assert type(split.inputs) in (dict, type(inputs))
    objective = network_objective(model(), SquaredError(), read_split(data, "train"), chunk=4)
    expected = mse_loss(model().double()(WORDS, NUMBERS.double())[:, 0], WANTED.double()).item()
    assert objective.value() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_count_in_the_loss_the_evaluation_and_the_curvature(accumulate: int) -> None:
    weights = torch.linspace(0, 2, N)
    data = Given((WORDS, NUMBERS), WANTED, weights=weights)
    model = Placed()
    problem = NetworkProblem(model, data, SquaredError(), "full", 3, CPU, accumulate=accumulate)
    each = (model(WORDS, NUMBERS)[:, 0] - WANTED).square()
    expected = float((each * weights).sum().detach() / weights.sum())
    assert problem.differentiate(problem.batch(0)).item() == pytest.approx(expected, rel=1e-6)
    assert problem.evaluate()["val_loss"] == pytest.approx(expected, rel=1e-6)
    assert network_objective(model, SquaredError(), problem.train).value() == pytest.approx(expected, rel=1e-6)
    if accumulate == 1:
        assert losses(Placed(), data, SquaredError()) == pytest.approx(plain(Placed(), weights), rel=1e-6)


def test_tokens_have_one_loss_a_row_and_accuracy_a_token() -> None:
    tokens, wanted = torch.arange(N * 4).reshape(N, 4) % 6, torch.arange(N * 4).reshape(N, 4) % 5
    model = nn.Sequential(nn.Embedding(6, 8), nn.Linear(8, 5))
    loss = nn.CrossEntropyLoss(reduction="none")
    problem = NetworkProblem(model, Given(tokens, wanted, n_classes=5), loss, "full", 0, CPU)
    logits = model(tokens)
    expected = cross_entropy(logits.flatten(0, 1), wanted.flatten())
    assert row_losses(loss, logits, wanted).shape == (N,)
    assert problem.objective(problem.batch(0)).item() == pytest.approx(expected.item(), rel=1e-6)
    found = problem.evaluate()
    right = (logits.argmax(-1) == wanted).double().mean().item()
    assert found == pytest.approx({"val_loss": expected.item(), "val_accuracy": right}, rel=1e-6)
    assert problem.epoch_figures()["train_accuracy"] == pytest.approx(right)
    with pytest.raises(IncompatibleError, match=r"outputs are \(2, 5\) and the targets \(2, 4\)"):
        NetworkProblem(nn.Sequential(model, _Last()), Given(tokens, wanted, n_classes=5), loss, "full", 0, CPU)


class _Last(nn.Module):
    def forward(self, found: Tensor) -> Tensor:
        return found[:, -1]


@pytest.mark.parametrize("loss", [
    nn.MSELoss(reduction="none"), ByTargets(), SquaredError(), as_loss(lambda a, b: (a - b) ** 2),
])  # fmt: skip
@pytest.mark.parametrize("k", [1, 3])
def test_numbers_one_or_several_under_any_loss(loss: nn.Module, k: int) -> None:
    wanted = drawn(N, k, seed=2).squeeze(-1)
    model = nn.LazyLinear(k)
    data = Given(NUMBERS, wanted, n_targets=k, weights=torch.ones(N))  # weights of 1 change nothing
    problem = NetworkProblem(model, data, loss, "full", 0, CPU, normal=True)
    assert model.weight.shape == (k, 2), "lazy modules have their sizes before an optimizer asks"
    inputs = (NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0, correction=0)
    outputs = nn.functional.linear(inputs, model.weight, model.bias)
    expected = mse_loss(outputs, wanted.reshape(N, k)).item()
    assert problem.evaluate()["val_loss"] == pytest.approx(expected, rel=1e-5)
    assert problem.n_outputs == k


CLASSES = torch.arange(N) % 3
ENTROPY = nn.CrossEntropyLoss(reduction="none")


@pytest.mark.parametrize(("inputs", "targets", "more", "named"), [
    ({"a": NUMBERS, "b": WORDS[:3]}, WANTED, {}, "have 14 and 3 rows"),
    ((NUMBERS, "words"), WANTED, {}, "hold a str"),
    (NUMBERS.to(torch.complex64), WANTED, {}, "torch.complex64"),
    (NUMBERS / 0, WANTED, {}, "not finite"),
    (NUMBERS, WANTED[:3], {}, r"torch.float32 \(3,\)"),
    (NUMBERS, drawn(N, 2), {}, r"floating-point numbers of shape \(14,\).*"),
    (NUMBERS, WANTED, {"n_targets": 2}, r"of shape \(14, 2\)"),
    (NUMBERS, CLASSES, {}, "torch.int64"),
    (NUMBERS, CLASSES, {"n_classes": 2}, "hold 2; expected 0 to 1"),
    (NUMBERS, CLASSES * 0, {"n_classes": 1}, "one class: there is nothing to tell"),
    (NUMBERS, {"u": WANTED, "v": WANTED[:3]}, {}, r"hold torch.float32 \(3,\); expected .* with 14"),
    (NUMBERS, {"u": WANTED / 0}, {}, "not finite"),
    (NUMBERS, (WANTED, "x"), {}, "hold a str"),
    (NUMBERS, {}, {}, "are dict"),
    (NUMBERS, {"u": CLASSES}, {"n_classes": 3}, r"are dict; expected a tensor of shape"),
    (NUMBERS, WANTED, {"weights": torch.ones(3)}, r"expected numbers of shape \(14,\)"),
    (NUMBERS, WANTED, {"weights": -torch.ones(N)}, "negative or not finite"),
    (NUMBERS, WANTED, {"weights": torch.zeros(N)}, "are all 0"),
])  # fmt: skip
def test_what_is_no_data_set_is_named(inputs: Any, targets: Any, more: dict[str, Any], named: str) -> None:
    with pytest.raises(DataError, match=named):
        read_split(Given(inputs, targets, **more), "train")


@pytest.mark.parametrize(("model", "data", "loss", "more", "named"), [
    (nn.Linear(3, 1), Given(NUMBERS, WANTED), SquaredError(), {}, "does not take 2 examples with numbers to learn"),
    (Named(), Given({"word": WORDS}, WANTED), SquaredError(), {}, "unexpected keyword argument 'word'"),
    (nn.LSTM(2, 1), Given(NUMBERS, WANTED), SquaredError(), {}, "LSTM gives a tuple"),
    (nn.Linear(2, 3), Given(NUMBERS, WANTED), SquaredError(), {}, "needs a model with 1 output"),
    (nn.Linear(2, 3), Given(NUMBERS, WANTED), ENTROPY, {}, "outputs are .2, 3. and the numbers to learn .2,."),
    (nn.Linear(2, 3), Given(NUMBERS, CLASSES, 3), nn.CrossEntropyLoss(), {}, "shape \\(\\) for 2 rows"),
    (nn.Linear(2, 3), Given(NUMBERS, CLASSES, 3), as_loss(lambda a, b: 1.0), {}, "gives a float"),
    (nn.Linear(2, 3), Given(NUMBERS, CLASSES, 3), ENTROPY, {"augmentation": FlipCrop()}, "changes images"),
    (nn.Embedding(7, 3), Given(WORDS, CLASSES, 3), ENTROPY, {"normal": True}, "the inputs are torch.int64"),
    (nn.Linear(2, 1), Given(NUMBERS, {"u": WANTED}), SquaredError(), {}, r"outputs \(2, 1\) and targets 2 x {u: 1}"),
])  # fmt: skip
def test_what_does_not_fit_is_named(
    model: nn.Module, data: Given, loss: nn.Module, more: dict[str, Any], named: str
) -> None:
    with pytest.raises(IncompatibleError, match=named):
        NetworkProblem(model, data, loss, "full", 0, CPU, **more)


class Heads(nn.Module):
    """A number and three classes of one input."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.number, self.classes = nn.LazyLinear(4), nn.Linear(4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        inner = self.body(x).tanh()
        return {"u": self.number(inner)[:, 0], "v": self.classes(inner)}


def both(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    """Squared error of the number and cross-entropy of the classes, a row each."""
    return (outputs["u"] - targets["u"]).square() + cross_entropy(outputs["v"], targets["v"], reduction="none")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_several_targets_under_a_loss_that_knows_them(accumulate: int) -> None:
    """Training, evaluation, a metric of one's own, and the objective that curvature and slices are of."""
    targets = {"u": WANTED, "v": CLASSES}
    right = Metric("right", lambda o, t: (o["v"].argmax(1) == t["v"]).double().mean(), 1)
    data, loss = Given(NUMBERS, targets), as_loss(both)
    problem = NetworkProblem(Heads(), data, loss, "full", 3, CPU, accumulate=accumulate, metrics=[right])
    model = problem.module
    expected = both(model(NUMBERS), targets).mean()
    assert problem.differentiate(problem.batch(0)).item() == pytest.approx(expected.item(), rel=1e-6)
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    for p, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(p.grad, gradient)
    share = (model(NUMBERS)["v"].argmax(1) == CLASSES).double().mean().item()
    assert problem.evaluate() == {"val_loss": pytest.approx(expected.item(), rel=1e-6), "val_right": share}
    assert problem.ranked_by == ("val_right", 1)
    objective = network_objective(model, loss, problem.train, chunk=4, dtype=torch.float32)
    assert objective.value() == pytest.approx(expected.item(), rel=1e-5)
    for weighed in (rmse, lambda o, t, w, more=1: 0.0):
        assert Metric("m", weighed, -1).takes_weights
    with pytest.raises(IncompatibleError, match=r"right takes no weights, and the examples of Given have"):
        NetworkProblem(Heads(), replace(data, weights=torch.ones(N)), loss, "full", 3, CPU, metrics=[right])
    with pytest.raises(RunFailure, match="metric odd: KeyError: 'w'"):
        Metric("odd", lambda o, t: o["w"], 1)({"u": WANTED}, targets)
    with pytest.raises(IncompatibleError, match="rmse is of one tensor of targets"):
        NetworkProblem(Heads(), data, loss, "full", 3, CPU, metrics=[Metric("rmse", rmse, -1)])


def test_trees_keep_their_form() -> None:
    tree = {"a": (WORDS, [NUMBERS]), "b": Pair(WORDS, NUMBERS)}
    parts = list(trees.split(tree, 4))
    assert [trees.rows(part) for part in parts] == [4, 4, 4, 2]
    again = trees.joined(parts)
    assert type(again["b"]) is Pair
    assert all(torch.equal(a, b) for a, b in zip(trees.leaves(again), trees.leaves(tree), strict=True))
    assert trees.shape_of(tree) == "{a: (1, (2)), b: (1, 2)}"
    assert trees.size_in_bytes(tree) == 2 * (N * 8 + N * 2 * 4)


def test_lazy_layers_stop_no_sweep(tmp_path: Path) -> None:
    """Before its first batch a lazy model has no roles and no sizes; so an optimizer that divides by them waits."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "late.yaml").write_text(
        "# lazy\ndefaults: [_network]\n_target_: torch.nn.LazyLinear\nout_features: 3\n"
    )
    words = ["model=late", "data=wine", "optimizer=muon,adamw", "scheduler=cosine,plateau", "trainer.epochs=1"]
    planned = plan_sweep(words, config_dirs=[tmp_path])
    check_members(planned)
    config = next(item.config for item in planned if item.choices["optimizer"] == "muon")
    problem = build_problem(config, CPU)
    assert [len(group["params"]) for group in optimizer_of(config, problem).param_groups] == [2]  # a head and its bias


def test_what_a_class_wanted_in_place_of_parameters_is_asked(tmp_path: Path) -> None:
    (tmp_path / "picky.py").write_text(
        "import torch\n\nclass Picky(torch.optim.SGD):\n    def __init__(self, params, lr):\n"
        "        super().__init__([g for g in params if g['use']], lr)\n"
    )
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "picky.yaml").write_text("# mine\n_target_: picky.Picky\n_partial_: true\nlr: 0.1\n")
    item = plan_run(["model=logistic", "data=wine", "optimizer=picky"], config_dirs=[tmp_path])
    with pytest.raises(ConfigError) as error:
        optimizer_of(item.config, build_problem(item.config, CPU))
    assert "optimizer.params=named|model" in error.value.hint


@pytest.mark.parametrize("loss", [torch.nn.HuberLoss, torch.nn.SmoothL1Loss, torch.nn.MSELoss, torch.nn.L1Loss])
def test_curvature_takes_numbers_in_its_own_precision(loss: Any) -> None:
    """Some of torch's losses go forward with float64 outputs and float32 targets, and not backward."""
    model, x, y = nn.Linear(3, 1), drawn(9, 3), drawn(9, 1)
    objective = network_objective(model, loss(reduction="none"), Split(x, y, ("",) * 9))
    value, gradient = objective.gradient()
    wanted = loss()(model.double()(x.double()), y.double())
    wanted.backward()
    assert value == pytest.approx(wanted.item(), rel=1e-12)
    exact = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
    assert torch.allclose(gradient, exact, rtol=1e-12)


def table_of(folder: Path, x: Any, y: Any) -> list[str]:
    np.savez(folder / "t.npz", x=x, y=y)
    return ["model=mlp", "model.hidden=[6]", "data=npz", f"data.path={folder / 't.npz'}", "trainer.threads=1",
            "trainer.batch_size=8"]  # fmt: skip


def test_lazy_layers_have_mup_and_the_start_of_a_stack(tmp_path: Path) -> None:
    """Of a table the mlp's first layer is lazy: its weights are those of the same layer with sizes from the start."""
    words = table_of(tmp_path, np.arange(240.0).reshape(60, 4) / 100, np.arange(60.0))
    config = plan_run(words).config
    problem = build_problem(config, CPU)
    own = seeded_model(config).state_dict()
    assert all(torch.equal(own[name], value) for name, value in problem.module.state_dict().items())
    wide = [*words, "model.hidden=[12]"]
    standard = dict(build_problem(plan_run(wide).config, CPU).module.named_parameters())
    config = plan_run([*wide, "trainer.mup_base={hidden:[6]}"]).config
    problem = build_problem(config, CPU)
    of_mup = dict(problem.module.named_parameters())
    again = seeded_model(config).state_dict()
    # twice as wide: of the head 1/2 of the base's deviation, where torch's layer has 1/sqrt(2) of it, and its bias too
    for (name, value), factor in zip(of_mup.items(), (1.0, 1.0, math.sqrt(0.5), math.sqrt(2.0)), strict=True):
        assert torch.allclose(value, factor * standard[name], rtol=1e-6), name
        assert torch.equal(again[name], value)
    assert sorted(group["lr"] for group in optimizer_of(config, problem).param_groups) == [0.0005, 0.001]


def test_switches_of_a_table_are_numbers(tmp_path: Path) -> None:
    x = np.arange(80).reshape(40, 2) % 3 == 0
    problem = build_problem(plan_run(table_of(tmp_path, x, np.arange(40.0))).config, CPU)
    assert problem.train.inputs.dtype == torch.float32
    assert set(problem.train.inputs.unique().tolist()) == {0.0, 1.0}


def test_a_name_of_each_row_is_no_class(tmp_path: Path) -> None:
    words = table_of(tmp_path, np.ones((40, 2)) * np.arange(40)[:, None], np.arange(40))
    with pytest.raises(DataError, match="40 rows of 40 classes are too few") as error:
        build_problem(plan_run(words).config, CPU)
    assert "data.task=regression" in error.value.hint


def test_an_accuracy_is_no_target_of_numbers(tmp_path: Path) -> None:
    words = table_of(tmp_path, np.arange(80.0).reshape(40, 2), np.arange(40.0))
    with pytest.raises(IncompatibleError, match="has numbers and no classes"):
        build_problem(plan_run([*words, "trainer.target_accuracy=0.9"]).config, CPU)


class Idle(nn.Module):
    """Has weights and makes nothing of them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()[:, :1]


def frozen() -> nn.Module:
    return nn.Linear(3, 1).requires_grad_(False)


class Nothing(nn.Linear):
    def forward(self, x: Tensor) -> Any:
        return None


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (frozen(), "Linear has no weights to train"),
        (nn.Flatten(), "Flatten has no weights to train"),
        (Nothing(3, 1), "Nothing.forward returns nothing"),
    ],
)
def test_a_model_with_nothing_to_train_is_no_problem(model: nn.Module, said: str) -> None:
    data = Given(drawn(12, 3), drawn(12))
    with pytest.raises(IncompatibleError, match=said):
        NetworkProblem(model, data, SquaredError(), 4, 0, CPU)


def test_a_loss_that_hangs_on_no_weight_is_said_to() -> None:
    problem = NetworkProblem(Idle(), Given(drawn(12, 3), drawn(12)), SquaredError(), 4, 0, CPU)
    with pytest.raises(RunFailure, match="hangs on no weight that is trained"):
        run_loop(problem, NetworkTrainer(epochs=1), gd(0.1))


@pytest.mark.parametrize(
    ("what", "said"),
    [("scheduler", "step"), ("optimizer", "step"), ("wrap.x", "update"), ("data", "load"), ("augment", "__call__")],
)
def test_a_target_that_makes_something_else_is_named(what: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"{what}: mine.make makes a object, which has no {said}"):
        check_made(object(), {"_target_": "mine.make"}, what)
