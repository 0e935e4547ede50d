"""Claim 14: the squared error of the softmax is flat where it is most wrong; cross-entropy is steep there.

Source: Apple Book, section 3.6.3; Hung-yi Lee, Machine Learning 2021, "Classification (short version)".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from applebook.evidence import Evidence
from applebook.measures._common import arrivals, column, most_accurate, panels
from applebook.study import Findings, Study
from optbench import recorded_field
from optbench.landscape import landscape
from optbench.metrics import Floats
from optbench.plot import PALETTE, new_figure

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
        "factor": _factor(study),
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
    return Findings(evidence, {"surfaces": _draw(study), "slopes": _draw_slopes()}, {"arrivals": rows, "why": _why()})


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


def _slopes(right: Floats) -> dict[str, Floats]:
    """Gradient norms of both losses over the two logits in play, as the softmax has them, each (n,).

    With y1' the share of the right class, y' = (y1', 1 - y1'), and d y1' / d yhat1 = y1' (1 - y1'): cross-entropy
    -ln y1' has the gradient (y1' - 1, 1 - y1'), in which that factor cancels against 1 / y1'. The squared error
    2 (1 - y1')^2 has 4 (1 - y1') y1' (1 - y1') (-1, 1), in which it stays.

    Args:
        right: y1', (n,).
    """
    left = 1 - right
    return {"cross_entropy": np.sqrt(2) * left, "mse_softmax": 4 * np.sqrt(2) * left * (right * left)}


def _right(lead: Floats) -> Floats:
    """y1' where the logit of the right class leads by so much, (n,)."""
    found: Floats = 1 / (1 + np.exp(-lead))
    return found


def _factor(study: Study) -> Evidence:
    """Gradient norms at the bad starts under the squared error, over the closed form; if the factor were not it, alone
    how far the right class is from 1 would do, as under cross-entropy."""
    curves = _bad(study, loss_name="mse_softmax", optimizer="book_gd", optimizer__lr=0.1)
    right = _right(np.array([c["x0"].iloc[0] - c["x1"].iloc[0] for c in curves]))
    measured = np.array([c["grad_norm"].iloc[0] for c in curves])
    expected = _slopes(right)["mse_softmax"]
    return Evidence("agreement", measured / expected, np.ones_like(expected), 4 * np.sqrt(2) * (1 - right) / expected)


def _why() -> list[dict[str, Any]]:
    """The slopes of both losses by how far the right class leads."""
    leads = np.array([-20.0, -10.0, -5.0, -2.0, 0.0, 2.0, 5.0])
    right = _right(leads)
    slopes = _slopes(right)
    return [
        {"yhat1 - yhat2": float(lead), "y1'": float(p), "y1' (1 - y1')": float(p * (1 - p)),
         **{f"|g|, {LOSSES[loss]}": float(slopes[loss][i]) for loss in LOSSES}}
        for i, (lead, p) in enumerate(zip(leads, right, strict=True))
    ]  # fmt: skip


def _draw(study: Study) -> Figure:
    """Both surfaces as they are, on a linear scale, with one path each."""
    figure = new_figure(9.5, 4.2)
    for i, (loss, title) in enumerate(LOSSES.items()):
        where: dict[str, Any] = {"loss_name": loss, "optimizer": "book_gd", "optimizer__lr": 0.1}
        field = recorded_field(study.runs(**where)[0])
        ground = landscape(field.objective, field.surface.domain)
        assert ground.y is not None
        ax: Any = figure.add_subplot(1, 2, i + 1, projection="3d", computed_zorder=False)
        thin = slice(None, None, 10)
        ax.plot_surface(*np.meshgrid(ground.x[thin], ground.y[thin]), ground.z[thin, thin], cmap="Greys", alpha=0.75,
                        linewidth=0.2, edgecolor="0.6", vmin=-0.3 * ground.z.max())  # fmt: skip
        path = max(_bad(study, **where), key=lambda c: c["x1"].iloc[0] - c["x0"].iloc[0])
        lifted = path["loss"] + 0.02 * ground.z.max()
        ax.plot(path["x0"], path["x1"], lifted, color=PALETTE[1], linewidth=2.2, zorder=10)
        for end, shape, size, name in ((slice(0, 1), "o", 11, "start"), (slice(-1, None), "s", 6, "end")):
            colour = PALETTE[1] if name == "start" else PALETTE[0]
            ax.plot(path["x0"][end], path["x1"][end], lifted[end], shape, color=colour, markersize=size, zorder=11,
                    label=name)  # fmt: skip
        ax.set_title(f"{title}: {int(path['step'].iloc[-1])} updates", fontsize=10)
        ax.set(xlabel="yhat1, right class", ylabel="yhat2, wrong class", zlabel="loss")
        ax.view_init(elev=28, azim=-60)
        ax.zaxis.set_major_locator(MaxNLocator(4))
        ax.set_box_aspect(None, zoom=0.86)  # or what stands beside the vertical axis is cut off
    figure.axes[0].legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def _draw_slopes() -> Figure:
    """Why: the gradient norm of both losses over the lead of the right class, and the factor."""
    figure, (ax,) = panels(7.0, 3.4)
    lead = np.linspace(-20.0, 10.0, 301)
    right = _right(lead)
    for (loss, norm), colour in zip(_slopes(right).items(), PALETTE, strict=False):
        ax.semilogy(lead, norm, color=colour, linewidth=1.6, label=f"|g|, {LOSSES[loss]}")
    ax.semilogy(lead, right * (1 - right), "--", color="0.3", linewidth=1.2, label="y1' (1 - y1')")
    ax.axvline(-20.0, color="0.6", linewidth=0.9, linestyle=":")
    ax.annotate("start", (-19.7, 1e-3), fontsize=8, color="0.3")
    ax.set(xlabel="yhat1 - yhat2: lead of the right class", ylabel="gradient norm")
    ax.legend(frameon=False, fontsize=8, loc="lower center")
    return figure
