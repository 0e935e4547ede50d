"""The chapter's formulas, written a second time from the text alone, in plain Python, and held to recorded runs.

Nothing of optbench is used but the command that runs: the surface (x + 4)^2 / 100 + 100 (y - 2)^2 and its gradient are
written by hand, and every method is the text's own recursion or sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import optbench
from optbench.losses.class_number import ClassNumber
from optbench.losses.mse_softmax import MseSoftmax
from optbench.losses.squared_error import SquaredError

ETA, STEPS, ALPHA, LAMBDA = 0.004, 40, 0.9, 0.9
START = (3.0, 1.5)
Past = list[float]
"""Gradients of one parameter so far, g_0 first."""


def slope(axis: int, at: float) -> float:
    return (at + 4) / 50 if axis == 0 else 200 * (at - 2)


def movement(past: Past) -> float:
    """m = lambda m - eta g, one after another: the last movement and the step against the gradient."""
    m = 0.0
    for g in past:
        m = LAMBDA * m - ETA * g
    return m


def adagrad(past: Past) -> float:
    """- eta / sigma g, sigma the root of the mean of all squares."""
    return -ETA * past[-1] / math.sqrt(sum(g * g for g in past) / len(past))


def rmsprop_sigma(past: Past) -> float:
    """The expanded sum: alpha^n g_0^2 + (1 - alpha) sum_j alpha^(n - j) g_j^2."""
    n = len(past) - 1
    rest = sum(ALPHA ** (n - j) * past[j] ** 2 for j in range(1, n + 1))
    return math.sqrt(ALPHA**n * past[0] ** 2 + (1 - ALPHA) * rest)


def rmsprop(past: Past) -> float:
    return -ETA * past[-1] / rmsprop_sigma(past)


def adam(past: Past) -> float:
    """RMSProp with momentum in place of the gradient: its weighted mean."""
    n = len(past) - 1
    m = sum((1 - LAMBDA) * LAMBDA ** (n - j) * g for j, g in enumerate(past))
    return -ETA * m / rmsprop_sigma(past)


def decayed(past: Past) -> float:
    """AdaGrad under eta_t = eta 0.99^t."""
    return adagrad(past) * 0.99 ** (len(past) - 1)


METHODS: dict[str, tuple[Callable[[Past], float], list[str]]] = {
    "gradient descent": (lambda past: -ETA * past[-1], ["optimizer=book_gd"]),
    "momentum": (movement, ["optimizer=book_momentum", f"optimizer.momentum={LAMBDA}"]),
    "AdaGrad": (adagrad, ["optimizer=book_adagrad"]),
    "RMSProp": (rmsprop, ["optimizer=book_rmsprop", f"optimizer.alpha={ALPHA}"]),
    "Adam": (adam, ["optimizer=book_adam", f"optimizer.alpha={ALPHA}", f"optimizer.beta1={LAMBDA}"]),
    "decay": (decayed, ["optimizer=book_adagrad", "scheduler=exponential", "scheduler.gamma=0.99"]),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_recorded_path_is_that_of_the_text(name: str, tmp_path: Path) -> None:
    moved, words = METHODS[name]
    run = optbench.run("model=ellipse", *words, f"optimizer.lr={ETA}", f"trainer.steps={STEPS}",
                       f"trainer.start=[{START[0]},{START[1]}]", out=tmp_path)  # fmt: skip
    curve = run.curve()
    assert len(curve) == STEPS + 1
    for axis, x in enumerate(START):
        past: Past = []
        for t, recorded in enumerate(curve[f"x{axis}"]):
            assert recorded == pytest.approx(x, rel=1e-12, abs=1e-12), (name, axis, t)
            past.append(slope(axis, x))
            x += moved(past)


def test_the_recursions_of_the_text_are_its_sums() -> None:
    past: Past = [0.3, -2.0, 0.7, 5.0, -0.1]
    square, mean = past[0] ** 2, past[0] ** 2
    for n, g in enumerate(past[1:], start=1):
        square = ALPHA * square + (1 - ALPHA) * g * g
        mean = n / (n + 1) * mean + g * g / (n + 1)
    assert math.sqrt(square) == pytest.approx(rmsprop_sigma(past), rel=1e-14)
    assert -ETA * past[-1] / math.sqrt(mean) == pytest.approx(adagrad(past), rel=1e-14)


OUTPUTS = [(3.0, 1.0, -3.0), (-0.5, 0.25, 2.0), (12.0, -7.0, 0.0)]


@pytest.mark.parametrize("label", [0, 1, 2])
def test_losses_are_those_of_the_text(label: int) -> None:
    outputs = torch.tensor(OUTPUTS, dtype=torch.float64)
    target = torch.full((3,), label)
    wanted = [float(i == label) for i in range(3)]
    for i, yhat in enumerate(OUTPUTS):
        total = sum(math.exp(v) for v in yhat)
        softmax = [math.exp(v) / total for v in yhat]
        squared = sum((p - y) ** 2 for p, y in zip(softmax, wanted, strict=True))
        entropy = -sum(y * math.log(p) for p, y in zip(softmax, wanted, strict=True))
        assert sum(softmax) == pytest.approx(1.0)
        assert float(MseSoftmax()(outputs, target)[i]) == pytest.approx(squared, rel=1e-12)
        found = torch.nn.CrossEntropyLoss(reduction="none")(outputs, target)
        assert float(found[i]) == pytest.approx(entropy, rel=1e-9)
        for loss in (ClassNumber(3), SquaredError()):  # regression: one output yhat near a label y
            assert float(loss(outputs[:, :1], target)[i]) == pytest.approx((yhat[0] - label) ** 2, rel=1e-12)


def test_the_softmax_of_the_figure() -> None:
    total = sum(math.exp(v) for v in OUTPUTS[0])
    assert [round(math.exp(v) / total, 2) for v in OUTPUTS[0]] == [0.88, 0.12, 0.0]


def test_the_factor_that_makes_the_squared_error_flat() -> None:
    """d y1'/d yhat1 = y1' (1 - y1'), the book's reason: in the gradient of the squared error, not of cross-entropy."""
    yhat = torch.tensor([[-10.0, 10.0]], dtype=torch.float64, requires_grad=True)
    share = 1 / (1 + math.exp(20.0))
    for loss, expected in (
        (MseSoftmax(), 4 * math.sqrt(2) * (1 - share) * share * (1 - share)),
        (torch.nn.CrossEntropyLoss(reduction="none"), math.sqrt(2) * (1 - share)),
    ):
        (g,) = torch.autograd.grad(loss(yhat, torch.tensor([0])).sum(), yhat)
        assert float(g.norm()) == pytest.approx(expected, rel=1e-9)
    assert float(4 * math.sqrt(2) * share) == pytest.approx(1.2e-8, rel=0.05)
