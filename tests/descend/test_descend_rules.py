"""Rules and schedules as pure functions: the same steps as torch.optim and torch.optim.lr_scheduler."""

from __future__ import annotations

import inspect
from typing import Any

import members
import numpy as np
import pytest
import torch
from descend_tools import SUPPORTED_OPTIMIZERS, SUPPORTED_SCHEDULERS, Rows, node

from optbench.descend import UnsupportedError, unsupported
from optbench.descend.plan import learning_rates, make_plan
from optbench.descend.rule import find
from optbench.descend.rules import check_untouched, rule_for

STEPS, DIM = 40, 3
GRADIENTS = torch.randn(STEPS, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
GRADIENTS[7] = 0.0  # a step with nothing to do, for the signs of Rprop and the scales of the others

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9, "dampening": 0.4, "weight_decay": 0.03}),
    ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.03}),
    ("Adam", {"betas": (0.8, 0.97), "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"betas": (0.0, 0.5), "weight_decay": 0.2, "eps": 1e-3}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.3}),
    ("RMSprop", {"alpha": 0.6, "centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    ("Adadelta", {"rho": 0.7, "eps": 1e-4, "weight_decay": 0.1}),
    ("Adamax", {"betas": (0.7, 0.8), "weight_decay": 0.1}),
    ("NAdam", {"momentum_decay": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"betas": (0.9, 0.9), "weight_decay": 0.1}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Rprop", {"etas": (0.3, 1.7), "step_sizes": (1e-3, 0.05)}),
]


def stepped(rule: Any) -> torch.Tensor:
    """The iterates of a rule from (1, 2, 3) under GRADIENTS: (STEPS, DIM)."""
    x, memory = torch.arange(1.0, DIM + 1, dtype=torch.float64), {}
    memory = {name: torch.zeros_like(x) for name in rule.memories}
    t = np.arange(STEPS, dtype=np.float64)
    tables = rule.coefficients(t, rule.hyper) if rule.inputs else {}

    def tensor(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(tensor, value))
        return torch.tensor(value, dtype=torch.float64) if isinstance(value, int | float) else value

    seen = []
    for k, gradient in enumerate(GRADIENTS):
        hyper = {n: tensor(v) for n, v in rule.hyper.items()} | {n: tensor(float(v[k])) for n, v in tables.items()}
        x, memory = rule.update(x, gradient, memory, hyper, tensor(float(k)))
        seen.append(x)
    return torch.stack(seen)


def stepped_by_torch(make: Any, keywords: dict[str, Any]) -> torch.Tensor:
    x = torch.arange(1.0, DIM + 1, dtype=torch.float64).requires_grad_(True)
    optimizer = make([x], **keywords)
    seen = []
    for gradient in GRADIENTS:
        x.grad = gradient.clone()
        optimizer.step()
        seen.append(x.detach().clone())
    return torch.stack(seen)


@pytest.mark.parametrize("name", SUPPORTED_OPTIMIZERS)
def test_member_steps_as_its_optimizer(name: str) -> None:
    expected = stepped_by_torch(members.target("optimizer", name), members.keywords("optimizer", name))
    torch.testing.assert_close(stepped(rule_for(node("optimizer", name))), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("name", "keywords"), VARIANTS, ids=[f"{n}-{'-'.join(k)}" for n, k in VARIANTS])
def test_every_option_of_torch_is_followed(name: str, keywords: dict[str, Any]) -> None:
    keywords = {"lr": 0.07, **keywords}
    rule = rule_for({"_target_": f"torch.optim.{name}", **keywords})
    expected = stepped_by_torch(getattr(torch.optim, name), keywords)
    torch.testing.assert_close(stepped(rule), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", SUPPORTED_SCHEDULERS)
@pytest.mark.parametrize("lr", [0.1, 3.0])
def test_schedule_is_that_of_the_scheduler(name: str, lr: float) -> None:
    rows = Rows(scheduler=name, changes={"lr": [lr, lr / 7]})
    steps = 130
    rows.trainer.steps = steps
    batch = rows.batch("eager")
    floor = {"eta_min": 0.01} if "eta_min" in batch.scheduler else {}
    batch.scheduler.update(floor)  # type: ignore[attr-defined]
    found = learning_rates(make_plan(batch), np.arange(2), np.arange(steps + 1))
    for row, rate in enumerate((lr, lr / 7)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
        filled = {k: steps for k, v in members.keywords("scheduler", name).items() if v is None}
        scheduler = members.make("scheduler", name, optimizer, **{**filled, **floor})
        for k in range(steps + 1):
            assert found[row, k] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-11, abs=1e-14 * rate)
            optimizer.step()
            scheduler.step()


def test_schedule_parameters_may_differ_between_rows() -> None:
    rows = Rows(scheduler="step", changes={"lr": [1.0] * 4})
    batch = rows.batch("eager")
    batch.scheduler.update(step_size=np.array([10, 20, 10, 5]), gamma=np.array([0.5, 0.5, 0.5, 0.1]))  # type: ignore[attr-defined]
    plan = make_plan(batch)
    assert plan.tables[1].values.shape[1] == 3
    found = learning_rates(plan, np.arange(4), np.array([0, 9, 10, 20]))
    assert found.tolist() == pytest.approx(
        np.array([[1, 1, 0.5, 0.25], [1, 1, 1, 0.5], [1, 1, 0.5, 0.25], [1, 0.1, 0.01, 1e-4]])
    )  # type: ignore[comparison-overlap]


def test_every_member_has_a_form_for_rows_but_those_that_ask_for_more_than_a_gradient() -> None:
    """A search along a line, which a parameter group of its own would break; a schedule that looks at the loss."""
    searching = {n for n in members.names("optimizer") if not members.takes_groups(n)}
    assert {*members.names("optimizer")} - {*SUPPORTED_OPTIMIZERS} == searching
    steps = {n: getattr(members.target("scheduler", n), "step", None) for n in members.names("scheduler")}
    looking = {n for n, step in steps.items() if step and "metrics" in inspect.signature(step).parameters}
    assert {*members.names("scheduler")} - {*SUPPORTED_SCHEDULERS} == looking


def test_what_has_no_form_for_rows_is_named() -> None:
    constant, adam = node("scheduler", "constant"), node("optimizer", "adam")
    assert unsupported(adam, constant) is None
    assert "no pure update rule" in str(unsupported(node("optimizer", "lbfgs"), constant))
    assert "follows the loss" in str(unsupported(adam, node("scheduler", "plateau")))
    assert "maximize" in str(unsupported(adam | {"maximize": True}, constant))
    assert "no 'speed'" in str(unsupported(adam | {"speed": 3}, constant))
    with pytest.raises(UnsupportedError, match="cannot be imported"):
        rule_for({"_target_": "nowhere.at.all"})


def test_keyword_of_own_optimizer_finds_its_group_entry() -> None:
    beta1 = np.array([0.9, 0.5, 0.0])
    rule = rule_for(node("optimizer", "book_adam", beta1=beta1))
    assert np.array_equal(rule.hyper["momentum"], beta1)
    betas = np.array([[0.9, 0.99], [0.8, 0.7]])
    first, second = rule_for(node("optimizer", "lion", betas=betas)).hyper["betas"]
    assert np.array_equal(np.stack([first, second], axis=1), betas)


@pytest.mark.parametrize("target", ["no_such_package.Thing", "torch.optim.NoSuch", "alone", "", ".Thing"])
def test_what_cannot_be_imported_is_no_rule(target: str) -> None:
    with pytest.raises(UnsupportedError, match="cannot be imported"):
        find(target)


@pytest.mark.parametrize("values", [[0.9, 0.5], [0.5, 0.5, 0.2], [0.1]])
def test_a_keyword_has_its_value_in_each_row_however_few_there_are(values: list[float]) -> None:
    momentum = rule_for(node("optimizer", "book_adam", beta1=np.array(values))).hyper["momentum"]
    np.testing.assert_array_equal(np.broadcast_to(momentum, len(values)), values)
    pairs = np.array([[value, 0.99] for value in values])
    first, second = rule_for(node("optimizer", "lion", betas=pairs)).hyper["betas"]
    np.testing.assert_array_equal(np.broadcast_to(first, len(values)), values)
    np.testing.assert_array_equal(np.broadcast_to(second, len(values)), 0.99)


def test_what_a_class_gets_after_its_first_optimizer_is_noticed_too() -> None:
    """torch wraps the `step` of a class when the first of it is made: what is set later stands behind it."""

    class Late(torch.optim.SGD):
        pass

    Late([torch.zeros(1, requires_grad=True)], lr=0.1)
    check_untouched(Late, torch.optim.SGD)
    Late._init_group = lambda *_: False  # type: ignore[method-assign]
    with pytest.raises(UnsupportedError, match="its own _init_group"):
        check_untouched(Late, torch.optim.SGD)
