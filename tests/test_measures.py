"""Figures of predictions: closed forms, and scikit-learn's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from torch import Tensor

from optbench.problem.measures import OF_CLASSES, OF_NUMBERS, measured

WEIGHTS = torch.tensor([1.0, 2.0, 0.0, 3.0])


def test_closed_forms_of_classes() -> None:
    """Three of four right: confidences e^2 / (e^2 + 1) = p each, one of them on the wrong class."""
    outputs = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    targets = torch.tensor([0, 0, 1, 0])
    p = math.exp(2) / (math.exp(2) + 1)
    found = measured(outputs, targets)
    assert "top5" not in found  # of two classes each is among the five
    assert found["accuracy"] == 0.75
    assert found["perplexity"] == pytest.approx(math.exp(-(3 * math.log(p) + math.log(1 - p)) / 4))
    assert found["ece"] == pytest.approx(abs(0.75 - p))  # all in one bin
    assert found["macro_f1"] == pytest.approx((2 * 2 / 5 + 2 * 1 / 3) / 2)
    assert measured(outputs, targets, WEIGHTS)["accuracy"] == 0.5
    tokens = measured(outputs.reshape(2, 2, 2), targets.reshape(2, 2), torch.tensor([1.0, 3.0]))
    assert tokens["accuracy"] == pytest.approx((1 * 2 + 3 * 1) / 8)


def test_closed_forms_of_numbers() -> None:
    outputs, targets = torch.tensor([[1.0], [2.0], [3.0], [6.0]]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    found = measured(outputs, targets)
    assert found == pytest.approx({"rmse": 1.0, "mae": 0.5, "r2": 1 - 4 / 5})
    assert measured(outputs, targets, WEIGHTS)["mae"] == pytest.approx(1.0)
    for constant in (1.0, 0.1, 1e-30):  # of targets that do not vary there is none, whatever rounds in their mean
        for n in (1, 3, 100, 1000, 1001):
            for weights in (None, torch.linspace(0.1, 0.7, n)):
                assert math.isnan(measured(torch.arange(float(n))[:, None], torch.full((n,), constant), weights)["r2"])
    assert math.isnan(measured(outputs, targets, torch.tensor([0.0, 0.3, 0.0, 0.0]))["r2"])  # of one that counts
    assert not math.isnan(measured(outputs, targets, torch.tensor([0.1, 0.3, 0.0, 0.0]))["r2"])


@pytest.mark.slow  # scikit-learn takes seconds to import
def test_figures_are_scikit_learns() -> None:
    from sklearn import metrics

    random = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    for weights in (None, torch.rand(200, generator=random)):
        outputs, targets = 2 * drawn(200, 8), torch.randint(0, 7, (200,), generator=random)  # class 7 is never there
        own = measured(outputs, targets, weights)
        shares, guess, y = outputs.double().softmax(1).numpy(), outputs.argmax(1).numpy(), targets.numpy()
        w = None if weights is None else weights.double().numpy()
        expected = {
            "accuracy": metrics.accuracy_score(y, guess, sample_weight=w),
            "top5": metrics.top_k_accuracy_score(y, shares, k=5, sample_weight=w, labels=range(8)),
            "macro_f1": metrics.f1_score(y, guess, average="macro", sample_weight=w),
            "perplexity": math.exp(metrics.log_loss(y, shares, sample_weight=w, labels=range(8))),
        }
        assert {name: own[name] for name in expected} == pytest.approx(expected, rel=1e-6)
        assert set(own) == set(OF_CLASSES)
        predictions, numbers = drawn(200, 3), drawn(200, 3)
        own, y, z = measured(predictions, numbers, weights), numbers.double().numpy(), predictions.double().numpy()
        expected = {
            "rmse": math.sqrt(metrics.mean_squared_error(y, z, sample_weight=w)),
            "mae": metrics.mean_absolute_error(y, z, sample_weight=w),
            "r2": metrics.r2_score(y, z, sample_weight=w),
        }
        assert own == pytest.approx(expected, rel=1e-6)
        assert set(own) == set(OF_NUMBERS)


@pytest.mark.slow  # scikit-learn takes seconds to import
@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of it: one class, or one row
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_figures_are_scikit_learns_in_odd_cases(data: st.DataObject) -> None:
    """One row, classes that are not there, equal outputs, examples that do not count. Of equal outputs ours takes the
    first ones, as argmax does, and scikit-learn's the last: it is given the classes in reverse."""
    from sklearn import metrics

    n, classes = data.draw(st.integers(1, 9)), data.draw(st.integers(6, 8))
    numbers = st.lists(st.integers(-2, 2), min_size=classes, max_size=classes)
    outputs = torch.tensor(data.draw(st.lists(numbers, min_size=n, max_size=n)), dtype=torch.float32)
    targets = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    drawn = data.draw(st.none() | st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=n, max_size=n).filter(any))
    own = measured(outputs, targets, None if drawn is None else torch.tensor(drawn))
    y, z, w = targets.numpy(), outputs.double().numpy(), np.ones(n) if drawn is None else np.array(drawn)
    shares, guess = softmax(z, axis=1), z.argmax(axis=1)
    reverse = classes - 1 - y, z[:, ::-1]
    expected = {
        "accuracy": metrics.accuracy_score(y, guess, sample_weight=w),
        "top5": metrics.top_k_accuracy_score(*reverse, k=5, sample_weight=w, labels=range(classes)),
        "macro_f1": metrics.f1_score(y, guess, average="macro", sample_weight=w, zero_division=0.0),
        "perplexity": math.exp(metrics.log_loss(y, shares, sample_weight=w, labels=range(classes))),
        "ece": plain_ece(shares, y, w),
    }
    assert own == pytest.approx(expected, rel=1e-6, abs=1e-12)


def plain_ece(shares: Any, y: Any, w: Any) -> float:
    """A bin after the other, as the paper writes it: (k - 1) / 15 < confidence <= k / 15."""
    total = 0.0
    for k in range(1, 16):
        rows = [i for i, row in enumerate(shares) if (k - 1) / 15 < row.max() <= k / 15]
        mass = sum(w[i] for i in rows)
        if mass:
            right = sum(w[i] for i in rows if shares[i].argmax() == y[i]) / mass
            total += mass * abs(right - sum(w[i] * shares[i].max() for i in rows) / mass)
    return float(total / w.sum())


@pytest.mark.slow
def test_figures_are_those_of_torchmetrics() -> None:
    import optbench.vision  # noqa: F401  torchmetrics imports torchvision, whose operators a CPU build of torch lacks

    functional = pytest.importorskip("torchmetrics.functional", reason="torchmetrics is not installed")
    random = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(500, 8, generator=random), torch.randint(0, 7, (500,), generator=random)
    own, asked = measured(outputs, targets), {"task": "multiclass", "num_classes": 8}
    assert own["accuracy"] == pytest.approx(functional.accuracy(outputs, targets, average="micro", **asked).item())
    assert own["top5"] == pytest.approx(functional.accuracy(outputs, targets, average="micro", top_k=5, **asked).item())
    error = functional.calibration_error(outputs, targets, n_bins=15, norm="l1", **asked).item()
    assert own["ece"] == pytest.approx(error, rel=1e-5)
    perplexity = functional.text.perplexity(outputs[None], targets[None]).item()
    assert own["perplexity"] == pytest.approx(perplexity, rel=1e-5)
    numbers, wanted = torch.randn(50, 3, generator=random), torch.randn(50, 3, generator=random)
    own = measured(numbers, wanted)
    assert own["r2"] == pytest.approx(functional.r2_score(numbers, wanted).item(), rel=1e-5)
    assert own["rmse"] == pytest.approx(functional.mean_squared_error(numbers, wanted, squared=False).item(), rel=1e-5)
