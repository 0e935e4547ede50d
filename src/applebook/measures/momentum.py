"""Claim 5: momentum as a weighted sum of past gradients, and what its inertia passes: wells, saddles, plateaus, minima.

Source: Apple Book, section 3.2.2; the movement m_k = -eta sum_{i<k} lambda^(k-1-i) g_i in closed form.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.measures._common import gradients, panels, points, rate_of, steps_to_target, where
from applebook.study import Findings, Study
from optbench.metrics import Floats
from optbench.plot import PALETTE

PLAIN, MOMENTUM = "book_gd", "book_momentum"


def measure(study: Study) -> Findings:
    """The evidence for claim 5; see conf/experiment/book/momentum.yaml."""
    shallow = {rate: {name: _shallow(study, name, rate) for name in (PLAIN, MOMENTUM)} for rate in (0.1, 0.01)}
    crossed = {
        name: [bool((c["x0"] * c["x0"].iloc[0] < 0).any()) for c in study.curves("bowl", optimizer=name)]
        for name in (PLAIN, MOMENTUM)
    }
    evidence = {
        "weighted_sum": _weighted_sum(study),
        "leaves_shallow": _leaves(shallow[0.1]),
        "leaves_shallow_slowly": _leaves(shallow[0.01]),
        "leaves_saddle": _faster(study, "saddle"),
        "crosses_plateau": _faster(study, "plateau"),
        "overshoots": Evidence("share difference", crossed[MOMENTUM], crossed[PLAIN]),
    }
    return Findings(evidence, {"step": _draw_step(study), "wells": _draw(shallow[0.1])})


def _shallow(study: Study, optimizer: str, rate: float) -> list[Floats]:
    """First coordinate over the steps, of the starts from which exact descent ends in the shallow well (x > 0)."""
    paths = [curve["x0"].to_numpy() for curve in study.curves(optimizer=optimizer, optimizer__lr=rate)]
    return [path for path in paths if path[0] > 0]


def _leaves(paths: dict[str, list[Floats]]) -> Evidence:
    return Evidence("share difference", *([path[-1] < 0 for path in paths[name]] for name in (MOMENTUM, PLAIN)))


def _weighted_sum(study: Study) -> Evidence:
    """Movements of one run against the closed form; if the claim were wrong, the last gradient alone would do."""
    run, curve = where(study, optimizer=MOMENTUM)
    x = points(curve)
    g = gradients(run, x)
    rate, weight = rate_of(run), run.config["optimizer"]["momentum"]
    moved = np.diff(x, axis=0)
    k, i = np.indices((len(moved), len(moved)))
    weights = np.where(i <= k, weight ** np.clip(k - i, 0, None).astype(float), 0.0)
    return Evidence("agreement", moved, -rate * weights @ g[:-1], rival=-rate * g[:-1])


def _faster(study: Study, arm: str) -> Evidence:
    return Evidence("wins", *(steps_to_target(study.runs(arm, optimizer=name)) for name in (MOMENTUM, PLAIN)))


def _draw_step(study: Study) -> Figure:
    """One movement taken apart: against the gradient, the last movement, and their sum, where both count and differ."""
    run, curve = where(study, optimizer=MOMENTUM, optimizer__lr=0.01)
    x = points(curve)
    moved = np.diff(x, axis=0)
    parts = -rate_of(run) * gradients(run, x)[1:-1], run.config["optimizer"]["momentum"] * moved[:-1]
    sizes = sum((part**2).sum(axis=1) for part in parts)
    # of movements that can be seen beside the longest, not of the last digits of a run that has arrived
    across = np.where(sizes > 1e-2 * sizes.max(), np.abs(np.linalg.det(np.stack(parts, axis=1))) / sizes, 0.0)
    k = int(across.argmax()) + 1  # from x[k] to x[k + 1]
    figure, (ax,) = panels(7.0, 4.0)
    ax.plot(*x[: k + 1].T, ".-", color="0.7", linewidth=1.0, label="path", zorder=1)
    names = ("against the gradient, -eta g", "last movement, lambda m", "their sum: the movement")
    arrows = (parts[0][k - 1], parts[1][k - 1], moved[k])
    for name, arrow, colour in zip(names, arrows, PALETTE, strict=False):
        ax.quiver(*x[k], *arrow, color=colour, angles="xy", scale_units="xy", scale=1, width=0.009, label=name)
    for a, b in zip(arrows[:2], arrows[1::-1], strict=True):  # the other two sides of the parallelogram
        ax.plot(*np.stack([x[k] + a, x[k] + a + b]).T, ":", color="0.4", linewidth=1.0)
    corners = np.stack([x[k], *(x[k] + arrow for arrow in arrows)])
    middle, half = (corners.max(axis=0) + corners.min(axis=0)) / 2, 0.8 * np.ptp(corners, axis=0).max()
    ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal")
    ax.set(xlabel="x0", ylabel="x1")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw(paths: dict[str, list[Floats]]) -> Figure:
    figure, axes = panels(8.0, 3.4, 2, sharex=True, sharey=True)
    for ax, (name, lines) in zip(axes, paths.items(), strict=True):
        for line in lines:
            ax.plot(line[:150], color=PALETTE[1] if line[-1] < 0 else PALETTE[0], linewidth=0.8, alpha=0.5)
        left = sum(line[-1] < 0 for line in lines)
        title = "plain descent" if name == PLAIN else "momentum"
        ax.set_title(f"{title}: {left} of {len(lines)} leave", fontsize=10)
        ax.set_xlabel("step")
    axes[0].set_ylabel("x (shallow well 1, deep well -2)")
    return figure
