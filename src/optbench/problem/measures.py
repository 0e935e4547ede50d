"""How good predictions are: figures of outputs held against targets, of classes, tokens and numbers.

Each is a function of outputs and targets as rows (`problem.losses.tokenwise` makes rows of tokens) and of weights, (n,)
or None, by which the examples count. A `Metric` is such a function with its name and with which values are better, as
trainer.metrics names it; one of the user's own is asked in the same form, without weights where the data have none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from optbench.errors import RunFailure
from optbench.problem.losses import tokenwise, weighted_mean
from optbench.problem.ragged import Ragged
from optbench.problem.trees import Tree

Weights = Tensor | None


def accuracy(outputs: Tensor, targets: Tensor, weights: Weights = None) -> float:
    """Share of rows whose largest output is that of the target: (n, C) and (n,)."""
    return weighted_mean((outputs.argmax(dim=-1) == targets).double(), weights).item()


def top5(outputs: Tensor, targets: Tensor, weights: Weights = None) -> float:
    """Share of rows whose target is among the five largest outputs; of equal ones the first come first, as in accuracy
    (torch's topk takes any of them)."""
    own = outputs.gather(-1, targets[:, None])
    is_before = torch.arange(outputs.shape[-1], device=outputs.device) < targets[:, None]
    ahead = (outputs > own) | ((outputs == own) & is_before)
    return weighted_mean(((ahead.sum(dim=-1) < 5) & ~own[:, 0].isnan()).double(), weights).item()


def macro_f1(outputs: Tensor, targets: Tensor, weights: Weights = None) -> float:
    """Mean of 2 TP / (2 TP + FP + FN) over the classes that are predicted or there."""
    predicted, n = outputs.argmax(dim=-1), outputs.shape[-1]
    mass = torch.ones(len(targets), dtype=torch.float64) if weights is None else weights.double()

    def counted(labels: Tensor, counts: Tensor) -> Tensor:
        return torch.zeros(n, dtype=torch.float64).index_add_(0, labels, counts)

    right = counted(targets, mass * (predicted == targets))
    both = counted(targets, mass) + counted(predicted, mass)
    there = (torch.bincount(targets, minlength=n) + torch.bincount(predicted, minlength=n)) > 0
    return (2.0 * right[there] / both[there].clamp(min=1e-300)).mean().item()


def expected_calibration_error(outputs: Tensor, targets: Tensor, weights: Weights = None, bins: int = 15) -> float:
    """Mean of |accuracy - mean confidence| over equal bins of confidence (the largest softmax), by their size.

    Source: Guo et al., On calibration of modern neural networks (2017), section 2; it takes 15 bins.
    """
    confidence, predicted = outputs.double().softmax(dim=-1).max(dim=-1)
    mass = torch.ones(len(targets), dtype=torch.float64) if weights is None else weights.double()
    place = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    surplus = torch.zeros(bins, dtype=torch.float64)
    surplus.index_add_(0, place, mass * ((predicted == targets).double() - confidence))
    return (surplus.abs().sum() / mass.sum()).item()


def perplexity(outputs: Tensor, targets: Tensor, weights: Weights = None) -> float:
    """exp of the mean of -log p(target), p the softmax."""
    logs = outputs.double().log_softmax(dim=-1).gather(-1, targets[:, None])[:, 0]
    return weighted_mean(-logs, weights).exp().item()


def rmse(outputs: Tensor, targets: Tensor, weights: Weights = None) -> float:
    """Root of the mean squared error over rows and columns: (n, k) and (n, k)."""
    return weighted_mean((outputs.double() - targets.double()).square().mean(dim=1), weights).sqrt().item()


def mean_absolute_error(outputs: Tensor, targets: Tensor, weights: Weights = None) -> float:
    """Mean of |error| over rows and columns."""
    return weighted_mean((outputs.double() - targets.double()).abs().mean(dim=1), weights).item()


def r2(outputs: Tensor, targets: Tensor, weights: Weights = None) -> float:
    """1 - sum of squared errors over that of the mean, the mean over the columns; NaN where a target does not vary."""
    outputs, targets = outputs.double(), targets.double()
    mass = torch.ones(len(targets), 1, dtype=torch.float64) if weights is None else weights.double()[:, None]
    mean = (mass * targets).sum(dim=0) / mass.sum()
    left = (mass * (outputs - targets).square()).sum(dim=0)
    whole = (mass * (targets - mean).square()).sum(dim=0)
    counted = targets[mass[:, 0] > 0]
    varies = (counted != counted[:1]).any(dim=0)  # by the numbers: their mean rounds
    return (1.0 - left / torch.where(varies, whole, torch.nan)).mean().item()


Measure = Callable[[Tensor, Tensor, Weights], float]
OF_CLASSES: Mapping[str, Measure] = MappingProxyType(
    {"accuracy": accuracy, "top5": top5, "macro_f1": macro_f1, "ece": expected_calibration_error,
     "perplexity": perplexity}
)  # fmt: skip
SCALING: Mapping[str, Measure] = MappingProxyType({"rmse": rmse, "mae": mean_absolute_error})
"""Those that are in the units of the numbers."""
OF_NUMBERS: Mapping[str, Measure] = MappingProxyType({"rmse": rmse, "mae": mean_absolute_error, "r2": r2})
MEASURES = frozenset({*OF_CLASSES.values(), *OF_NUMBERS.values()})
"""All of them: each is of one tensor of targets."""


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Metric:
    """A function of predictions with a name.

    Attributes:
        name: its column is val_NAME.
        function: (outputs, targets) or (outputs, targets, weights) to one number, a float or a tensor of one.
        sign: what is better: 1 large values, -1 small ones.
        of_labels: whether classes are enough for it, as a loss that reads them in its own way has them.
    """

    name: str
    function: Callable[..., Any]
    sign: int
    of_labels: bool = False

    @property
    def takes_weights(self) -> bool:
        """Whether the function has a third argument, by which examples count."""
        asked = getattr(self.function, "update", self.function)  # of torchmetrics, whose call takes anything
        try:
            kinds = [one.kind for one in inspect.signature(asked).parameters.values()]
        except (TypeError, ValueError):  # one that says nothing of itself
            return True
        return inspect.Parameter.VAR_POSITIONAL in kinds or sum(kind in _BY_PLACE for kind in kinds) > 2

    def __call__(self, outputs: Tensor, targets: Tensor, weights: Weights = None) -> float:
        """Its value, NaN where it has none.

        Raises:
            RunFailure: it is not one number, or the function raises.
        """
        given = (outputs, targets) if weights is None else (outputs, targets, weights)
        try:
            value = self.function(*given)
        except Exception as error:  # it is anyone's code
            raise RunFailure(f"metric {self.name}: {type(error).__name__}: {error}") from error
        if callable(reset := getattr(self.function, "reset", None)):  # of torchmetrics, which keeps what it has seen
            reset()
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            what = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise RunFailure(f"metric {self.name} gave {what}; expected one number") from error


def in_rows(outputs: Tree, targets: Tree, weights: Weights = None) -> tuple[Tree, Tree, Weights]:
    """Outputs, targets and weights as measures take them: a row for each example, or token.

    Args:
        outputs: (n, C), (n, t, C), (n, 1) or (n, k).
        targets: whole numbers (n,) or (n, t), or floating point (n,) or (n, k).
        weights: (n,) of the examples; None: all alike.

    Trees of targets, and their outputs, come as they are; a Ragged of each as the positions of all rows.
    """
    if isinstance(targets, Ragged):
        repeated = None if weights is None else weights.repeat_interleave(targets.lengths.to(weights.device))
        return in_rows(outputs.values, targets.values, repeated)
    if not isinstance(targets, Tensor):
        return outputs, targets, weights
    if targets.is_floating_point():
        return outputs.reshape(len(targets), -1), targets.reshape(len(targets), -1), weights
    weights = None if weights is None else weights.repeat_interleave(targets[0].numel())
    return *tokenwise(outputs, targets), weights


def columns(
    metrics: Iterable[Metric],
    outputs: Tensor,
    targets: Tensor,
    weights: Weights = None,
    labels: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """The columns of an evaluation, val_NAME of each metric.

    Args:
        metrics: that are computed.
        outputs, targets, weights: as `in_rows` gives them.
        labels: outputs to classes, of a loss that reads them in its own way; None: the largest output is the class.
    """
    found = {}
    for metric in metrics:
        own = outputs
        if labels is not None and metric.of_labels:
            predicted = labels(outputs)
            own = one_hot(predicted, int(max(predicted.max(), targets.max())) + 1).double()
        found[f"val_{metric.name}"] = metric(own, targets, weights)
    return found


def measured(outputs: Tree, targets: Tree, weights: Weights = None) -> dict[str, float]:
    """All figures that there are of such targets, by name; of trees none.

    Args:
        outputs: (n, C), (n, t, C), (n, 1) or (n, k), or a Ragged where targets are one.
        targets: whole numbers (n,) or (n, t), or floating point (n,) or (n, k), or a Ragged.
        weights: (n,) of the examples; None: all alike.
    """
    if not isinstance(targets, Tensor | Ragged):
        return {}
    known = OF_NUMBERS if targets.is_floating_point() else OF_CLASSES
    outputs, targets, weights = in_rows(outputs, targets, weights)
    if known is OF_CLASSES and outputs.shape[-1] <= 5:  # each target is among the five
        known = {name: measure for name, measure in known.items() if name != "top5"}
    return {name: measure(outputs, targets, weights) for name, measure in known.items()}
