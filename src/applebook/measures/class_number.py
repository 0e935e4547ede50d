"""Claim 13: the class number as a target against one-hot vectors, and what softmax does to numbers.

Source: Apple Book, sections 3.6.1 and 3.6.2, with its example softmax(3, 1, -3) = (0.88, 0.12, 0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import by_rate, column, confusion_of, most_accurate, network, panels
from applebook.study import Findings, Study
from optbench import Run
from optbench.metrics import Floats
from optbench.plot import PALETTE

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
        "regression": _regression(study),
    }
    regression = _draw_regression(study, best["class_number"][0])
    return Findings(
        evidence | _softmax(), {"regression": regression, "softmax": _draw_softmax(), "errors": _draw(confusion)}
    )


def _regression(study: Study) -> Evidence:
    """Validation losses of the regression at its better rate; the mean of the training labels alone has 1."""
    losses = {
        rate: np.array([c["val_loss"].dropna().iloc[-1] for c in study.curves("regression", optimizer__lr=rate)])
        for rate in by_rate(study.runs("regression"))
    }
    best = min(losses.values(), key=np.mean)
    return Evidence("mean", best, np.ones_like(best))


def _draw_regression(study: Study, classes: Run) -> Figure:
    """Output against label on validation data: of a regression, and of a classification that is treated as one."""
    figure, axes = panels(8.0, 3.6, 2)
    runs = {"regression: diabetes": study.runs("regression")[0], "classification as regression: digits": classes}
    rng = np.random.default_rng(0)
    for ax, (title, run) in zip(axes, runs.items(), strict=True):
        built = network(run)
        split = built.data.load("validation")
        assert split.labels is not None
        label, output = split.labels.numpy().astype(float), built.outputs(split.images)[:, 0].numpy()
        apart = rng.uniform(-0.25, 0.25, label.size) if run is classes else 0.0  # classes would be lines of dots
        ax.plot(label + apart, output, ".", color=PALETTE[0], markersize=3, alpha=0.6)
        ends = [label.min(), label.max()]
        ax.plot(ends, ends, color="0.4", linewidth=1.0)
        ax.set_title(title, fontsize=10)
        ax.set(xlabel="label y", ylabel="output yhat")
    return figure


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


def _draw_softmax() -> Figure:
    """The softmax of the book's example, in its three steps."""
    outputs = np.array([3.0, 1.0, -3.0])
    powers = np.exp(outputs)
    steps = {"outputs yhat": outputs, "exp(yhat)": powers, "shares y' = exp(yhat) / sum": powers / powers.sum()}
    figure, axes = panels(9.0, 3.0, len(steps), grid=False)
    for ax, (name, values) in zip(axes, steps.items(), strict=True):
        bars = ax.bar(["1", "2", "3"], values, color=PALETTE[:3], width=0.6)
        ax.bar_label(bars, [f"{value:.3g}" for value in values], fontsize=9, padding=2)
        ax.axhline(0.0, color="0.3", linewidth=0.8)
        ax.margins(y=0.16)
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("class")
        ax.spines[["top", "right"]].set_visible(False)
    return figure


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
