"""Claim 6: how large the gradient is once the training loss has stopped falling.

Rule of the stalled stage: the epochs from the first one whose mean loss lies within 5 % of the whole fall (first epoch
to lowest) of the lowest. Gradient norms are medians over the updates of the stage, relative to the start.

Source: Apple Book, section 3.3 (figure "loss and norm of the gradient").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from applebook.evidence import Evidence
from applebook.study import Findings, Study
from optbench.metrics import Floats
from optbench.plot import PALETTE, new_figure

NEAR = 0.05  # of the whole fall: where the stalled stage begins
FULL_EPOCH = 30  # updates that stand for an epoch where the batch is full
SLOW, FAST = 0.1, 0.5
COMPARED = 3  # epochs over which the runs with and without a cut of the rate are compared


@dataclass(frozen=True)
class Stall:
    """One run.

    Attributes:
        step, loss, norm: of every update, (n,).
        begins: update with which the stalled stage begins.
        first, stalled: mean loss of the first epoch, and of the stage.
        gradient: median norm in the stage over the median of the first epoch.
        whole: norm of the gradient of the whole training loss in the stage over that at the start; NaN if not measured.
        length: updates of an epoch.
    """

    step: Floats
    loss: Floats
    norm: Floats
    begins: int
    first: float
    stalled: float
    gradient: float
    whole: float
    length: int

    def over(self, first: int) -> float:
        """Mean loss of COMPARED epochs from an update on; of the last ones for -1."""
        count = COMPARED * self.length
        first = self.loss.size - count if first < 0 else first
        return float(self.loss[first : first + count].mean())


def measure(study: Study) -> Findings:
    """The evidence for claim 6; see conf/experiment/book/stalls.yaml."""
    stalls = {
        "mini-batches": _stalls(study, "main"),
        "rate cut to a tenth": _stalls(study, "cut"),
        "full batch, rate 0.1": _stalls(study, "full", optimizer__lr=SLOW),
        "full batch, rate 0.5": _stalls(study, "full", optimizer__lr=FAST),
        "homework's CNN": _stalls(study, "cnn"),
    }
    main, cut, slow, fast, cnn = stalls.values()
    control = [s.gradient for s in slow]
    at = int(study.runs("cut")[0].config["scheduler"]["milestones"][0])
    evidence = {
        "not_small": Evidence("mean", [s.gradient for s in main], control),
        "whole_gradient": Evidence("mean", [s.whole for s in main], control),
        "without_noise": Evidence("mean", [s.gradient for s in fast], control),
        "homework_network": Evidence("mean", [s.gradient for s in cnn], control),
        "smaller_rate_falls": Evidence("wins", [s.over(at) for s in cut], [s.over(at) for s in main]),
        "smaller_rate_ends_lower": Evidence("wins", [s.over(-1) for s in cut], [s.over(-1) for s in main]),
    }
    shown = {name: stalls[name][0] for name in ("mini-batches", "full batch, rate 0.1", "homework's CNN")}
    return Findings(evidence, {"stall": _draw(shown)}, {"stage": _table(stalls)})


def _stalls(study: Study, arm: str, **where: Any) -> list[Stall]:
    return [_stall(curve) for curve in study.curves(arm, **where)]


def _stall(curve: pd.DataFrame) -> Stall:
    known = curve[curve["loss"].notna() & curve["grad_norm"].notna()]
    step, loss, norm = (known[name].to_numpy(dtype=np.float64) for name in ("step", "loss", "grad_norm"))
    length = int((known["epoch"] < 1).sum())
    length = length if length > 1 else FULL_EPOCH
    means = [float(part.mean()) for part in _parts(loss, length)]
    near = min(means) + NEAR * (means[0] - min(means))
    begins = length * next(i for i, mean in enumerate(means) if mean <= near)
    return Stall(
        step, loss, norm, begins, means[0], float(loss[begins:].mean()),
        float(np.median(norm[begins:]) / np.median(norm[:length])), _whole(curve, begins),
        length,
    )  # fmt: skip


def _parts(values: Floats, length: int) -> list[Floats]:
    """Whole pieces of a length; what is left over at the end is not a piece."""
    return [values[i : i + length] for i in range(0, len(values) - length + 1, length)]


def _whole(curve: pd.DataFrame, begins: int) -> float:
    if "full_grad_norm" not in curve:
        return np.nan
    known = curve[curve["full_grad_norm"].notna()]
    stage = known[known["step"] >= begins]["full_grad_norm"]
    return float(stage.median() / known["full_grad_norm"].iloc[0])


def _table(stalls: dict[str, list[Stall]]) -> list[dict[str, Any]]:
    rows = []
    for name, found in stalls.items():
        whole = float(np.mean([s.whole for s in found]))
        rows.append(
            {
                "runs": name,
                "seeds": len(found),
                "updates": found[0].step.size,
                "loss, first epoch": float(np.mean([s.first for s in found])),
                "loss, stalled": float(np.mean([s.stalled for s in found])),
                "begins with update": float(np.mean([s.begins for s in found])),
                "gradient of the batch": float(np.mean([s.gradient for s in found])),
                "gradient of the whole loss": None if np.isnan(whole) else whole,
            }
        )
    return rows


def _draw(stalls: dict[str, Stall]) -> Figure:
    figure = new_figure(8.4, 4.2)
    axes = figure.subplots(2, len(stalls), sharex="col", squeeze=False)
    for column, (name, s) in enumerate(stalls.items()):
        for row, (values, colour) in enumerate(((s.loss, PALETTE[0]), (s.norm, PALETTE[1]))):
            ax = axes[row, column]
            ax.plot(s.step, values, color=colour, linewidth=0.5, alpha=0.3)
            ax.plot(*_smooth(s.step, values), color=colour, linewidth=1.4)
            ax.axvspan(s.begins, s.step[-1], color="0.93", zorder=0)
            ax.set_ylim(0.0, 1.15 * float(np.quantile(values, 0.995)))
            ax.grid(True, alpha=0.25)
        axes[0, column].set_title(name, fontsize=10)
        axes[1, column].set_xlabel("update")
    axes[0, 0].set_ylabel("loss of the batch")
    axes[1, 0].set_ylabel("gradient norm")
    return figure


def _smooth(step: Floats, values: Floats) -> tuple[Sequence[float], Sequence[float]]:
    length = max(1, len(values) // 50)
    middle = [float(part.mean()) for part in _parts(step, length)]
    return middle, [float(part.mean()) for part in _parts(values, length)]
