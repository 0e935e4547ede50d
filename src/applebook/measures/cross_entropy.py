"""Claim 14: the squared error of the softmax is flat where it is most wrong; cross-entropy is steep there.

Source: Apple Book, section 3.6.3; Hung-yi Lee, Machine Learning 2021, "Classification (short version)".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import arrivals, column, most_accurate, panels
from applebook.study import Findings, Study
from optbench import recorded_field
from optbench.landscape import landscape
from optbench.metrics import Floats
from optbench.plot import PALETTE

LOSSES = {"cross_entropy": "cross-entropy", "mse_softmax": "squared error"}
OPTIMIZERS = ("book_gd", "adam")
RATES = (0.01, 0.1, 1.0)
_LEAD = 5.0
"""By so much the wrong class leads at a bad start: a probability of 0.7 % for the right one."""
_ARRIVED = math.log(0.99 / 0.01)
"""y1 - y2 at which the right class has a probability of 0.99."""


def measure(study: Study) -> Findings:
    """The evidence for claim 14; see conf/experiment/book/cross_entropy.yaml."""
    steps = {
        (loss, optimizer, rate): _arrivals(study, loss, optimizer, rate)
        for loss in LOSSES
        for optimizer in OPTIMIZERS
        for rate in RATES
    }

    def arrived(loss: str, optimizer: str) -> Any:
        return np.isfinite(steps[loss, optimizer, 0.1])

    evidence = {
        "gradient": Evidence("ratio", *(_gradients(study, loss) for loss in LOSSES)),
        "arrives": Evidence("share difference", *(arrived(loss, "book_gd") for loss in LOSSES)),
        "rescued": Evidence("share difference", *(arrived("mse_softmax", name) for name in ("adam", "book_gd"))),
        "harder": Evidence("wins", *(steps[loss, "adam", 0.1] for loss in LOSSES)),
        "digits_sgd": _digits(study, "sgd"),
        "digits_adam": _digits(study, "adam"),
    }
    rows = [
        {"loss": LOSSES[loss], "optimizer": optimizer, "learning rate": rate, **_row(found)}
        for (loss, optimizer, rate), found in steps.items()
    ]
    return Findings(evidence, {"surfaces": _draw(study)}, {"arrivals": rows})


def _row(steps: Floats) -> dict[str, Any]:
    arrived, median = arrivals(steps)
    return {"arrive": arrived / steps.size, "median updates": median, "starts": steps.size}


def _bad(study: Study, **where: Any) -> list[Any]:
    """Curves of the runs that start with the wrong class leading by _LEAD."""
    return [c for c in study.curves(**where) if c["x1"].iloc[0] - c["x0"].iloc[0] >= _LEAD]


def _arrivals(study: Study, loss: str, optimizer: str, rate: float) -> Floats:
    """First step at which the right class has a probability of 0.99, one a bad start; +inf where it never has."""
    found = []
    for curve in _bad(study, loss_name=loss, optimizer=optimizer, optimizer__lr=rate):
        there = np.flatnonzero((curve["x0"] - curve["x1"]).to_numpy() >= _ARRIVED)
        found.append(float(curve["step"].to_numpy()[there[0]]) if there.size else math.inf)
    return np.array(found)


def _gradients(study: Study, loss: str) -> Floats:
    return np.array(
        [c["grad_norm"].iloc[0] for c in _bad(study, loss_name=loss, optimizer="book_gd", optimizer__lr=0.1)]
    )


def _digits(study: Study, optimizer: str) -> Evidence:
    """Accuracies of the two losses, each at the learning rate where its mean is highest."""
    best = (most_accurate(study.runs("digits", loss_name=loss, optimizer=optimizer)) for loss in LOSSES)
    return Evidence("mean difference", *(column(runs, "val_accuracy") for runs in best))


def _draw(study: Study) -> Figure:
    figure, axes = panels(8.5, 3.8, 2, grid=False, sharey=True)
    for ax, (loss, title) in zip(axes, LOSSES.items(), strict=True):
        where: dict[str, Any] = {"loss_name": loss, "optimizer": "book_gd", "optimizer__lr": 0.1}
        field = recorded_field(study.runs(**where)[0])
        ground = landscape(field.objective, field.surface.domain)
        shown = ax.contourf(ground.x, ground.y, np.log10(ground.z + 1e-12), 24, cmap="Greys")
        path = max(_bad(study, **where), key=lambda c: c["x1"].iloc[0] - c["x0"].iloc[0])
        ax.plot(path["x0"], path["x1"], color=PALETTE[1], linewidth=2.0)
        ax.plot(path["x0"].iloc[0], path["x1"].iloc[0], "o", color=PALETTE[1])
        ax.set_title(f"{title}: {int(path['step'].iloc[-1])} updates from the dot", fontsize=10)
        ax.set_xlabel("logit of the right class, y1")
        figure.colorbar(shown, ax=ax, label="log10 loss")
    axes[0].set_ylabel("logit of a wrong class, y2")
    return figure
