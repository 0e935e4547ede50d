"""Claim 7: on a narrow ellipse one learning rate for all axes either bounces across the valley or crawls along it.

Source: Apple Book, section 3.3; on a quadratic, gradient descent multiplies axis i by 1 - eta lambda_i at every update.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import (
    arrivals,
    at_best,
    column,
    final_loss,
    hessian,
    panels,
    points,
    rate_of,
    steps_to_target,
)
from applebook.study import Findings, Study
from optbench import recorded_field
from optbench.metrics import Floats
from optbench.plot import PALETTE

PLAIN = "gd"
ADAPTIVE = ("book_adagrad", "book_rmsprop", "book_adam", "adam")
CENTRE = np.array([-4.0, 2.0])
_HALF_LIMIT = 0.005
"""1 / (largest curvature): above it plain descent changes sides."""
_SETTLED = 1e-9
"""So near to the floor rounding decides on which side of it a point is."""


def measure(study: Study) -> Findings:
    """The evidence for claim 7; see conf/experiment/book/narrow_ellipse.yaml."""
    curvature = np.diag(hessian(recorded_field(study.runs("edge")[0]), CENTRE))
    crosses: dict[bool, list[bool]] = {True: [], False: []}
    for rate, path in _paths(study):
        moving = np.abs(path[:-1, 1]) > _SETTLED
        crosses[rate > _HALF_LIMIT].append(bool((path[1:, 1] * path[:-1, 1] < 0)[moving].all()))
    best = {name: at_best(study.runs(optimizer=name), "optimizer.lr") for name in (PLAIN, *ADAPTIVE)}
    arrived = {name: np.isfinite(steps_to_target(runs)) for name, runs in best.items()}
    adaptive = np.concatenate([arrived[name] for name in ADAPTIVE])
    slow, quick = (study.runs("patient", optimizer__lr=rate) for rate in (1e-7, 9.9e-3))
    left = np.array([_left(curve) for curve in study.curves("patient", optimizer__lr=1e-7)])
    everywhere = [np.isfinite(steps_to_target(study.runs(optimizer=name))) for name in (PLAIN, "book_adam")]
    evidence = {
        "closed_form": _closed_form(study, curvature),
        "limit": Evidence("agreement", [_limit(study)], [2 / curvature.max()], rival=[1 / curvature.max()]),
        "oscillates": Evidence("share difference", crosses[True], crosses[False]),
        "crawls": Evidence("mean", left[:, 0], left[:, 1]),
        "no_rate_arrives": Evidence("share", *everywhere),
        "adaptive_arrive": Evidence("share difference", adaptive, arrived[PLAIN]),
        "patience_does_not_help": Evidence("share", *(np.isfinite(steps_to_target(runs)) for runs in (quick, slow))),
    }
    rows = [_row(name, runs) for name, runs in best.items()]
    return Findings(evidence, {"axes": _draw_axes(study), "rates": _draw_rates(study)}, {"arrivals": rows})


def _paths(study: Study) -> list[tuple[float, Floats]]:
    """Learning rate and displacement from the minimum, (steps + 1, 2), of each run of plain descent."""
    return [(rate_of(run), points(curve) - CENTRE) for run, curve in study.with_curves("paths")]


def _closed_form(study: Study, curvature: Floats) -> Evidence:
    """If the claim were wrong, one factor would do for both axes: that of their mean curvature."""
    measured, expected, shared = [], [], []
    for rate, path in _paths(study):
        k = np.arange(len(path))[:, None]
        measured.append(path)
        expected.append(path[0] * (1 - rate * curvature) ** k)
        shared.append(path[0] * (1 - rate * curvature.mean()) ** k)
    return Evidence("agreement", np.concatenate(measured), np.concatenate(expected), rival=np.concatenate(shared))


def _limit(study: Study) -> float:
    """The middle between the largest rate at which the loss fell and the smallest at which it grew."""
    fell: dict[bool, list[float]] = {True: [], False: []}
    for run, curve in study.with_curves("edge"):
        across = np.abs(curve["x1"].to_numpy() - CENTRE[1])
        fell[bool(across[-1] < across[0])].append(rate_of(run))
    return 0.5 * (max(fell[True]) + min(fell[False]))


def _left(curve: Any) -> Floats:
    """Share of the way to the minimum that is left at the end, along each axis."""
    path = np.abs(points(curve) - CENTRE)
    found: Floats = path[-1] / path[0]
    return found


def _row(name: str, runs: list[Any]) -> dict[str, Any]:
    steps = steps_to_target(runs)
    arrived, median = arrivals(steps)
    return {
        "optimizer": name, "learning rate": rate_of(runs[0]), "starts": steps.size,
        "arrive": arrived / steps.size, "median updates": median,
        "median final loss": float(np.median(final_loss(runs))),
    }  # fmt: skip


def _draw_axes(study: Study) -> Figure:
    figure, both = panels(8.0, 3.4, 2)
    shown = [("paths", 1e-4), ("paths", 4e-3), ("paths", 9.5e-3), ("edge", 1.005e-2)]
    for colour, (arm, rate) in zip(PALETTE, shown, strict=False):
        path = points(study.curves(arm, optimizer__lr=rate)[0]) - CENTRE
        for ax, axis, length in zip(both, (1, 0), (31, 301), strict=True):
            scaled = path[:length, axis] / abs(path[0, axis]) * np.sign(path[0, axis])
            ax.plot(scaled, color=colour, linewidth=1.3, label=f"rate {rate:g}")
    for ax, title in zip(both, ("across, curvature 200", "along, curvature 0.02"), strict=True):
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("update")
    both[0].set_ylabel("distance to the minimum / at the start")
    both[1].set_ylim(0.0, 1.05)
    both[1].legend(fontsize=8, loc="lower left")
    return figure


def _draw_rates(study: Study) -> Figure:
    figure, (ax,) = panels(8.0, 3.4)
    for colour, name in zip(PALETTE, (PLAIN, *ADAPTIVE), strict=False):
        rates = np.unique(column(study.runs(optimizer=name), "optimizer.lr"))
        losses = [np.median(final_loss(study.runs(optimizer=name, optimizer__lr=rate))) for rate in rates]
        shown = np.where(np.asarray(losses) < 1e4, losses, np.nan)
        ax.loglog(rates, shown, "o-", color=colour, markersize=3, linewidth=1.3, label=name)
    ax.axhline(1e-3, color="0.3", linestyle="--", linewidth=0.9)
    ax.axvline(1e-2, color=PALETTE[0], linestyle=":", linewidth=1.2)
    ax.annotate("plain descent\ndiverges beyond", (1.1e-2, 300), fontsize=8, color=PALETTE[0])
    ax.set(xlabel="learning rate", ylabel="median final loss")
    ax.legend(fontsize=8, loc="lower left")
    return figure
