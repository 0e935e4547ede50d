"""Claim 13: the class number as a target against one-hot vectors, and what softmax does to numbers.

Source: Apple Book, sections 3.6.1 and 3.6.2, with its example softmax(3, 1, -3) = (0.88, 0.12, 0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import column, confusion_of, most_accurate, panels
from applebook.study import Findings, Study
from optbench.metrics import Floats

LOSSES = {
    "class_number": "class number",
    "mse_softmax": "one-hot, squared error",
    "cross_entropy": "one-hot, cross-entropy",
}
_CLASSES, _DRAWS = 10, 2000


def measure(study: Study) -> Findings:
    """The evidence for claim 13; see conf/experiment/book/class_number.yaml."""
    best = {loss: most_accurate(study.runs(loss_name=loss)) for loss in LOSSES}
    accuracy = {loss: column(runs, "val_accuracy") for loss, runs in best.items()}
    confusion = {loss: np.sum([confusion_of(run) for run in runs], axis=0) for loss, runs in best.items()}
    number = accuracy["class_number"]
    neighbours = (_neighbours(confusion[loss]) for loss in ("class_number", "cross_entropy"))
    evidence = {
        "one_hot": Evidence("mean difference", accuracy["mse_softmax"], number),
        "cross_entropy": Evidence("mean difference", accuracy["cross_entropy"], number),
        "neighbours": Evidence("share difference", *neighbours),
    }
    return Findings(evidence | _softmax(), {"errors": _draw(confusion)})


def _neighbours(confusion: Any) -> Floats:
    """For each error, whether the predicted number is next to the true one."""
    true, predicted = np.indices(confusion.shape)
    distance = np.abs(true - predicted)
    wrong = distance > 0
    return np.repeat((distance[wrong] == 1).astype(float), confusion[wrong])


def _softmax() -> dict[str, Evidence]:
    rng = np.random.default_rng(0)
    outputs = rng.normal(scale=5.0, size=(_DRAWS, _CLASSES))
    parts = torch.softmax(torch.tensor(outputs), dim=-1).numpy()
    example = torch.softmax(torch.tensor([3.0, 1.0, -3.0], dtype=torch.float64), dim=-1).numpy()
    in_proportion = np.array([3.0, 1.0, -3.0]) / np.abs([3.0, 1.0, -3.0]).sum()
    book = np.array([0.88, 0.12, 0.0])
    return {
        "normalises": Evidence("agreement", parts.sum(axis=1), np.ones(_DRAWS), rival=np.exp(outputs).sum(axis=1)),
        "book_example": Evidence("agreement", example, book, rival=in_proportion),
        "sharpens_far": _sharpens(rng, 10.0),
        "sharpens_near": _sharpens(rng, 1.0),
    }


def _sharpens(rng: np.random.Generator, spread: float) -> Evidence:
    """For random positive outputs, whether the largest takes a larger part of the softmax than of the plain sum.

    The control is the plain sum itself: dividing by it makes no part larger than in proportion.
    """
    outputs = rng.uniform(0.0, spread, size=(_DRAWS, _CLASSES))
    plain = outputs / outputs.sum(axis=1, keepdims=True)
    sharp = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    return Evidence("share", sharp.max(axis=1) > plain.max(axis=1), np.zeros(_DRAWS))


def _draw(confusion: dict[str, Any]) -> Figure:
    figure, axes = panels(9.0, 3.4, len(confusion), grid=False)
    for ax, (loss, counts) in zip(axes, confusion.items(), strict=True):
        errors = counts - np.diag(np.diag(counts))
        ax.imshow(errors, cmap="Blues")
        ax.set_title(f"{LOSSES[loss]}: {errors.sum()} errors\nof {counts.sum()}", fontsize=9)
        ticks = range(0, len(counts), 3)
        ax.set(xlabel="predicted class", xticks=ticks, yticks=ticks)
    axes[0].set_ylabel("true class")
    return figure
