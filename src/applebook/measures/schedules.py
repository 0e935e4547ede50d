"""Claim 11: what a decay of the learning rate calms, and what a warm-up waits for.

On a quadratic with curvature lambda and gradient noise of standard deviation s, a constant rate eta does not settle:
the distance x keeps the variance eta s^2 / (lambda (2 - eta lambda)). Adam divides by a scale estimated from the
gradients so far, which after one of them is that gradient alone.

Source: Apple Book, section 3.4; L. Liu et al., On the Variance of the Adaptive Learning Rate, arXiv:1908.03265.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import column, final_loss, panels, points, problem_of
from applebook.study import Findings, Study
from optbench import Run
from optbench.metrics import Floats
from optbench.plot import PALETTE

USUAL, LARGE = 1e-3, 2e-2
ARMS = {
    "adam": "plain",
    "adam with warm-up": "warmup",
    "adam with the rise alone": "rise",
    "adam with the fall alone": "fall",
    "radam": "plain",
}
"""Where the runs of each way to train are; warm-up is the book's, a rise and then a fall."""
_CURVATURE, _NOISE = 2.0, 1.0
_SETTLED = 100
"""Updates after which the start is forgotten at every rate of the grid: (1 - 0.05 * 2)^100 = 3e-5."""


def measure(study: Study) -> Findings:
    """The evidence for claim 11; see conf/experiment/book/schedules.yaml."""
    at = {"optimizer": "gd", "optimizer__lr": 0.2}
    constant, cosine = (_distances(study, "main", scheduler=name, **at) for name in ("constant", "cosine"))
    runs = {
        (name, rate): study.runs(arm, optimizer=name.split()[0], optimizer__lr=rate)
        for name, arm in ARMS.items()
        for rate in (USUAL, LARGE)
    }
    losses = {key: final_loss(found) for key, found in runs.items()}
    times, spread = _spread_of_sigma(study)
    evidence = {
        "stationary": _stationary(study),
        "cosine_calms": Evidence("ratio", constant, cosine),
        "exponential_calms": Evidence("ratio", constant, _distances(study, "exponential")),
        "calms_without_noise": Evidence(
            "wins", *(final_loss(study.runs("noiseless", scheduler=name)) for name in ("cosine", "constant"))
        ),
        "network_calms": Evidence("ratio", *(_restlessness(study, name) for name in ("constant", "cosine"))),
        "sigma_spreads": Evidence("ratio", spread[0], spread[-1]),
        "warmup_large_rate": Evidence("wins", losses["adam with warm-up", LARGE], losses["adam", LARGE]),
        "warmup_usual_rate": Evidence("wins", losses["adam with warm-up", USUAL], losses["adam", USUAL]),
        "rise_large_rate": Evidence("wins", losses["adam with the rise alone", LARGE], losses["adam", LARGE]),
        "rise_usual_rate": Evidence("wins", losses["adam with the rise alone", USUAL], losses["adam", USUAL]),
        "rise_before_fall": Evidence(
            "wins", *(losses[f"adam with {what}", LARGE] for what in ("warm-up", "the fall alone"))
        ),
        "radam_large_rate": Evidence("wins", losses["radam", LARGE], losses["adam", LARGE]),
        "radam_usual_rate": Evidence("wins", losses["radam", USUAL], losses["adam", USUAL]),
        "radam_replaces_warmup": Evidence("wins", losses["radam", LARGE], losses["adam with warm-up", LARGE]),
    }
    figures = {"decay": _draw_decay(study), "sigma": _draw_sigma(study, times, spread)}
    return Findings(evidence, figures, {"ends": _rows(runs)})


def _distances(study: Study, arm: str, **values: Any) -> Floats:
    """Final distances to the minimum: the loss is their square."""
    found: Floats = np.sqrt(final_loss(study.runs(arm, **values)))
    return found


def _variance(rate: float) -> float:
    return rate * _NOISE**2 / (_CURVATURE * (2 - rate * _CURVATURE))


def _stationary(study: Study) -> Evidence:
    """Mean squares over seeds, coordinates and the updates after _SETTLED, over the closed form.

    If the claim were wrong, the first order in the rate would do: rate x noise^2 / (2 curvature).
    """
    rates = np.unique(column(study.runs(scheduler="constant"), "optimizer.lr"))
    measured = []
    for rate in rates:
        curves = study.curves(scheduler="constant", optimizer__lr=rate)
        measured.append(np.mean([np.mean(points(c)[_SETTLED:] ** 2) for c in curves]))
    expected = np.array([_variance(rate) for rate in rates])
    first_order = rates * _NOISE**2 / (2 * _CURVATURE)
    return Evidence("agreement", measured / expected, np.ones_like(expected), rival=first_order / expected)


def _restlessness(study: Study, scheduler: str) -> Floats:
    """Mean change of the validation loss from epoch to epoch over the last third, one value a seed."""
    found = []
    for curve in study.curves("digits", scheduler=scheduler):
        losses = curve["val_loss"].dropna().to_numpy()
        found.append(np.abs(np.diff(losses))[-max(1, len(losses) // 3) :].mean())
    return np.array(found)


def _spread_of_sigma(study: Study) -> tuple[list[int], list[Floats]]:
    """Standard deviation of log sigma over streams of batches, at fixed weights, after so many updates.

    Returns:
        Numbers of updates, and for each the mean spread of every parameter tensor, (tensors,). Coordinates without a
        gradient (units that are off) do not count.
    """
    run = study.runs("plain", optimizer="adam")[0]
    problem, beta2 = problem_of(run), run.config["optimizer"]["betas"][1]
    parameters = list(problem.module.parameters())
    streams, length = study.pick(6, 12), study.pick(30, 100)
    times = [t for t in (1, 2, 5, 10, 20, 30, 50, 100) if t <= length]
    seen: dict[int, list[list[torch.Tensor]]] = {t: [] for t in times}
    for stream in range(streams):
        squares = [torch.zeros_like(p) for p in parameters]
        for t in range(1, length + 1):
            loss = problem.objective(problem.batch(stream * length + t - 1))
            for square, g in zip(squares, torch.autograd.grad(loss, parameters), strict=True):
                square.mul_(beta2).add_((1 - beta2) * g * g)
            if t in seen:
                seen[t].append([(s / (1 - beta2**t)).sqrt() for s in squares])
    alive = [torch.stack(sigmas).gt(0).all(dim=0) for sigmas in zip(*seen[1], strict=True)]
    spread = []
    for t in times:
        tensors = zip(*seen[t], strict=True)
        logs = [torch.stack(sigmas).log().std(dim=0)[on] for sigmas, on in zip(tensors, alive, strict=True)]
        spread.append(np.array([float(each.mean()) for each in logs if each.numel()]))
    return times, spread


def _rows(found: dict[tuple[str, float], list[Run]]) -> list[dict[str, Any]]:
    rows = []
    for (name, rate), runs in found.items():
        accuracy = float(np.nanmedian(column(runs, "val_accuracy")))
        rows.append({"optimizer": name, "learning rate": rate, "seeds": len(runs),
                     "training loss": float(np.median(final_loss(runs))), "validation accuracy": accuracy})  # fmt: skip
    return rows


def _draw_decay(study: Study) -> Figure:
    figure, both = panels(8.0, 3.2, 2, sharey=True)
    for ax, name, colour in zip(both, ("constant", "cosine"), PALETTE, strict=False):
        for curve in study.curves(scheduler=name, optimizer__lr=0.2)[:5]:
            ax.semilogy(np.hypot(curve["x0"], curve["x1"]), color=colour, linewidth=0.7, alpha=0.7)
        ax.axhline(np.sqrt(2 * _variance(0.2)), color="0.2", linestyle="--", linewidth=1.0)
        ax.set_title("constant rate" if name == "constant" else "cosine decay to 0", fontsize=10)
        ax.set_xlabel("update")
    both[0].set_ylabel("distance to the minimum")
    return figure


def _draw_sigma(study: Study, times: list[int], spread: list[Floats]) -> Figure:
    figure, (left, right) = panels(8.5, 3.4, 2)
    left.loglog(times, [each.mean() for each in spread], "o-", color=PALETTE[6], linewidth=1.3)
    left.set(xlabel="gradients seen", ylabel="standard deviation of log sigma")
    left.grid(True, which="both", alpha=0.25)
    _lines(right, study, "plain", "adam", PALETTE[1], "Adam")
    _lines(right, study, "warmup", "adam", PALETTE[0], "Adam, warm-up")
    _lines(right, study, "plain", "radam", PALETTE[2], "RAdam")
    right.set(xlabel="epoch", ylabel="training loss")
    right.legend(fontsize=8)
    return figure


def _lines(ax: Axes, study: Study, arm: str, optimizer: str, colour: str, label: str) -> None:
    for i, curve in enumerate(study.curves(arm, optimizer=optimizer, optimizer__lr=LARGE)):
        epochs = curve.dropna(subset=["loss"]).groupby(np.ceil(curve["epoch"] + 1e-9))["loss"].mean()
        ax.semilogy(epochs.index, epochs, color=colour, linewidth=0.8, alpha=0.8, label=label if not i else None)
