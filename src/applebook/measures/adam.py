"""Claim 10: Adam as RMSProp with momentum; what bias correction does to the first step; the parts raced against it.

The first gradient alone decides the first movement: with bias correction |eta m_hat / sigma_hat| = eta; the book's
sigma_0 = |g_0| with m_0 = (1 - beta1) g_0 gives (1 - beta1) eta; moving averages from zero without correction would
give (1 - beta1) / sqrt(1 - beta2) eta.

Source: Apple Book, section 3.3.3; D. P. Kingma & J. Ba, Adam, ICLR 2015, arXiv:1412.6980.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import arrivals, at_best, panels, points, rate_of, running_time, steps_to_target
from applebook.study import Findings, Study
from optbench import Run
from optbench.metrics import Floats
from optbench.plot import PALETTE

RACERS = {
    "book_momentum": "momentum",
    "book_rmsprop": "RMSProp",
    "book_adam": "Adam, as in the book",
    "adam": "Adam, bias corrected",
}
SETTINGS = ("optimizer.lr", "optimizer.alpha")


def measure(study: Study) -> Findings:
    """The evidence for claim 10; see conf/experiment/book/adam.yaml."""
    best = _best(study)
    times = {name: np.concatenate([steps_to_target(best[model, name]) for model in _models(study)]) for name in RACERS}
    evidence = {
        "identity": _identity(study),
        "first_step_corrected": _first_step(study, "adam"),
        "first_step_book": _first_step(study, "book_adam"),
        "beats_rmsprop": Evidence("wins", times["book_adam"], times["book_rmsprop"]),
        "beats_momentum": Evidence("wins", times["book_adam"], times["book_momentum"]),
        "corrected_beats_rmsprop": Evidence("wins", times["adam"], times["book_rmsprop"]),
        "corrected_beats_momentum": Evidence("wins", times["adam"], times["book_momentum"]),
    }
    rows = [_row(model, name, runs) for (model, name), runs in best.items()]
    return Findings(evidence, {"race": _draw_race(study, best), "first_steps": _draw_first(study)}, {"race": rows})


def _models(study: Study) -> list[str]:
    return list(dict.fromkeys(str(run.summary["model"]) for run in study.runs()))


def _best(study: Study) -> dict[tuple[str, str], list[Run]]:
    """By surface and optimizer, the runs at the best setting."""
    found = {}
    for model in _models(study):
        for name in RACERS:
            arm = "main" if name in ("book_momentum", "adam") else "alpha"
            found[model, name] = at_best(study.runs(arm, model=model, optimizer=name), *SETTINGS)
    return found


def _paths(study: Study, arm: str, **values: Any) -> Floats:
    return np.concatenate([points(curve) for curve in study.curves(arm, **values)])


def _identity(study: Study) -> Evidence:
    """If the claim were wrong, momentum would be no part that can be taken out: beta1 = 0.9 in its place."""
    without, with_momentum = (_paths(study, "adam", optimizer__beta1=beta1) for beta1 in (0.0, 0.9))
    return Evidence("agreement", without, _paths(study, "rmsprop"), rival=with_momentum)


def _first_step(study: Study, optimizer: str) -> Evidence:
    """Lengths of the first movement, one per coordinate; the rival is what the other way to begin would give."""
    runs = study.runs("first", optimizer=optimizer)
    curves = study.curves("first", optimizer=optimizer)
    moved = np.array([np.abs(np.diff(points(curve)[:2], axis=0))[0] for curve in curves])
    node = runs[0].config["optimizer"]
    beta1, beta2 = node["betas"] if optimizer == "adam" else (node["beta1"], node["alpha"])
    uncorrected = (1 - beta1) / math.sqrt(1 - beta2)
    expected, rival = (1.0, uncorrected) if optimizer == "adam" else (1 - beta1, 1.0)
    return Evidence(
        "agreement", moved, np.full(moved.shape, expected * node["lr"]), np.full(moved.shape, rival * node["lr"])
    )


def _row(model: str, name: str, runs: Sequence[Run]) -> dict[str, Any]:
    steps = steps_to_target(runs)
    arrived, median = arrivals(steps)
    node = runs[0].config["optimizer"]
    alpha = node.get("alpha", node["betas"][1] if "betas" in node else "-")
    return {
        "surface": model, "optimizer": RACERS[name], "learning rate": node["lr"], "alpha": alpha, "starts": steps.size,
        "arrive": arrived, "median updates": median,
    }  # fmt: skip


def _draw_race(study: Study, best: dict[tuple[str, str], list[Run]]) -> Figure:
    figure, (ax,) = panels(8.0, 3.4, grid=False)
    models = _models(study)
    for i, (name, label) in enumerate(RACERS.items()):
        times = [running_time(best[model, name]) for model in models]
        at = np.arange(len(models)) + 0.2 * (i - 1.5)
        ax.bar(at, [time if math.isfinite(time) else 0.0 for time in times], 0.18, color=PALETTE[i], label=label)
        for x, time in zip(at, times, strict=True):
            if not math.isfinite(time):
                ax.annotate("never", (x, 1.5), rotation=90, ha="center", va="bottom", fontsize=8, color=PALETTE[i])
    ax.set(yscale="log", ylim=(1.0, None), ylabel="expected updates until arrival")
    ax.set_xticks(np.arange(len(models)), models)
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.38, 1.0))
    ax.grid(True, axis="y", alpha=0.25)
    return figure


def _draw_first(study: Study) -> Figure:
    figure, (ax,) = panels(8.0, 3.0)
    for colour, name in zip(PALETTE[2:], ("book_adam", "adam"), strict=False):
        run, curve = study.with_curves("first", optimizer=name)[0]
        moved = np.abs(np.diff(points(curve), axis=0)) / rate_of(run)
        for axis, line in enumerate("-:"):
            ax.plot(np.arange(1, len(moved) + 1), moved[:, axis], line, color=colour, label=f"{RACERS[name]}, x{axis}")
    ax.set(xlabel="update", ylabel="|movement| / learning rate")
    ax.legend(fontsize=8)
    return figure
