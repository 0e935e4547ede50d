"""Predictions held against labels: accuracy with its interval, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.errors import UserError
from optbench.experiment.rebuild import SPLITS, Rebuilt, check_classes
from optbench.metrics import Estimate, success_rate
from optbench.problem import read_split
from optbench.problem.losses import row_losses, weighted_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Evaluation:
    """What a network, or several, do on labelled images.

    Attributes:
        split: train, validation or test; of a folder what it is.
        n: number of images.
        loss: mean loss; None of an ensemble, whose networks have their own.
        accuracy: share of images whose predicted class is right.
        confusion: int64 (n_classes, n_classes): rows are true classes, columns predicted ones.
        class_names: in label order.
    """

    split: str
    n: int
    loss: float | None
    accuracy: float
    confusion: NDArray[np.int64]
    class_names: tuple[str, ...]

    @property
    def class_accuracy(self) -> list[float | None]:
        """Accuracy on the images of each class; None where there are none."""
        totals = self.confusion.sum(axis=1)
        return [float(self.confusion[i, i] / n) if n else None for i, n in enumerate(totals)]

    @property
    def interval(self) -> Estimate:
        """The accuracy with Wilson's 95 % interval: how far it may lie from that on many more such images."""
        return success_rate(int(np.trace(self.confusion)), self.n)


def evaluation(
    what: str, predicted: Any, labels: Any, class_names: Sequence[str], loss: float | None = None
) -> Evaluation:
    """Predicted classes (n,) held against labels (n,), tensors of whole numbers."""
    guess, true = predicted.numpy(), labels.numpy()
    k = len(class_names)
    confusion = np.bincount(true * k + guess, minlength=k * k).reshape(k, k)
    return Evaluation(what, len(true), loss, float((guess == true).mean()), confusion, tuple(class_names))


def evaluate(rebuilt: Rebuilt, split: str = "validation") -> Evaluation:
    """Accuracy, loss and confusion matrix of a network on a split. Raises UserError for a split without labels."""
    if split not in SPLITS:
        raise UserError(f"--split {split}: expected {', '.join(SPLITS)}")
    check_classes(rebuilt)
    part = read_split(rebuilt.data, split)
    if part.labels is None:
        raise UserError(f"the {split} split has no labels to compare with", "use optbench predict")
    outputs = rebuilt.outputs(part.inputs)
    loss = float(weighted_mean(row_losses(rebuilt.loss, outputs, part.labels), part.weights))
    return evaluation(split, rebuilt.labels(outputs), part.labels, rebuilt.data.class_names, loss)
