"""Figures of predictions: closed forms, and scikit-learn's."""

from __future__ import annotations

import math

import pytest
import torch
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
    assert math.isnan(measured(outputs, torch.ones(4))["r2"])  # of targets that do not vary there is none


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
