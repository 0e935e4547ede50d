"""What several measurements need: runs by setting, columns as arrays, derivatives at recorded points, panels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from applebook.study import Study, value_of
from optbench import Field, Rebuilt, Run, build_problem, evaluate, rebuild, recorded_field
from optbench.metrics import Floats, expected_running_time
from optbench.plot import new_figure


def where(study: Study, arm: str = "main", **values: Any) -> tuple[Run, pd.DataFrame]:
    """The first run of an arm with these values that kept its curve, and the curve. Raises LookupError."""
    for run, curve in study.with_curves(arm, **values):
        if len(curve):
            return run, curve
    raise LookupError(f"{study.claim.id}, {arm}: no curve of a run with {values}")


def column(runs: Sequence[Run], name: str) -> Floats:
    """A column of the runs table, (n,); runs without a value have NaN."""
    return np.array([math.nan if r.summary.get(name) is None else float(r.summary[name]) for r in runs])


def final_loss(runs: Sequence[Run]) -> Floats:
    """Final losses, (n,); +inf for a run that diverged or has none."""
    losses = column(runs, "final_loss")
    diverged = np.array([run.status == "diverged" for run in runs])
    return np.where(np.isnan(losses) | diverged, np.inf, losses)


def steps_to_target(runs: Sequence[Run]) -> Floats:
    """Steps until trainer.target, (n,); +inf for a run that missed it."""
    steps = column(runs, "steps_to_target")
    return np.where(np.isnan(steps), np.inf, steps)


def arrivals(steps: Floats) -> tuple[int, float | str]:
    """How many of these numbers of steps are finite, and their median: "-" where none is."""
    arrived = steps[np.isfinite(steps)]
    return arrived.size, float(np.median(arrived)) if arrived.size else "-"


def rate_of(run: Run) -> float:
    """The learning rate of a run."""
    return float(value_of(run, "optimizer.lr"))


def by_rate(runs: Sequence[Run]) -> dict[float, list[Run]]:
    """Runs by learning rate, rising."""
    rates = [rate_of(run) for run in runs]
    return {rate: [r for r, own in zip(runs, rates, strict=True) if own == rate] for rate in sorted(set(rates))}


def at_best(runs: Sequence[Run], *settings: str) -> list[Run]:
    """The runs of the setting with the lowest expected running time to trainer.target (COCO's); else, median loss.

    Args:
        runs: of one optimizer.
        settings: columns that tell settings apart, e.g. "optimizer.lr".
    """
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(run.summary.get(name) for name in settings), []).append(run)
    return min(groups.values(), key=lambda group: (running_time(group), float(np.median(final_loss(group)))))


def most_accurate(runs: Sequence[Run]) -> list[Run]:
    """The runs of the learning rate with the highest mean validation accuracy."""
    return max(by_rate(runs).values(), key=lambda group: float(column(group, "val_accuracy").mean()))


def running_time(runs: Sequence[Run]) -> float:
    """Expected running time of runs to trainer.target, see metrics.expected_running_time."""
    hits = [None if math.isinf(step) else float(step) for step in steps_to_target(runs)]
    return expected_running_time(hits, [float(run.summary["steps"]) for run in runs])


# on surfaces ----------------------------------------------------------------------------------------------------------


def points(curve: pd.DataFrame) -> Floats:
    """The path of a curve on two coordinates, (steps + 1, 2)."""
    found: Floats = curve[["x0", "x1"]].to_numpy()
    return found


def gradients(run: Run, at: npt.ArrayLike) -> Floats:
    """Gradients of the run's surface at points (n, dim), by autograd: (n, dim)."""
    x = torch.tensor(np.asarray(at), dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(recorded_field(run).objective(x).sum(), x)
    found: Floats = g.numpy()
    return found


def hessian(field: Field, point: npt.ArrayLike) -> Floats:
    """Hessian of a field at one point (dim,), by autograd: (dim, dim)."""
    at = torch.tensor(np.asarray(point), dtype=torch.float64)
    # reverse over reverse: the forward mode of torch.func.hessian warns of its own use of torch.jit when it loads
    found: Floats = torch.autograd.functional.hessian(field.objective, at).numpy()
    return found


def all_mean_square(g: Floats) -> Floats:
    """AdaGrad's sigma^2 after each gradient of g (steps, dim): the mean of all squares so far."""
    found: Floats = np.cumsum(g**2, axis=0) / np.arange(1, len(g) + 1)[:, None]
    return found


def recent_mean_square(g: Floats, alpha: float) -> Floats:
    """RMSProp's sigma^2 after each gradient of g (steps, dim): g_0^2, then alpha sigma^2 + (1 - alpha) g^2."""
    squares = [g[0] ** 2]
    for one in g[1:]:
        squares.append(alpha * squares[-1] + (1 - alpha) * one**2)
    return np.array(squares)


# of networks ----------------------------------------------------------------------------------------------------------


def network(run: Run, checkpoint: str = "last") -> Rebuilt:
    """The network of a run with the weights of a checkpoint."""
    assert run.path is not None
    return rebuild(run.path, checkpoint)


def problem_of(run: Run, **trainer: Any) -> Any:
    """The problem of a run as it was at its start, on the CPU; with some settings of the trainer changed."""
    config = run.config
    return build_problem({**config, "trainer": {**config["trainer"], **trainer}}, torch.device("cpu"))


def confusion_of(run: Run) -> npt.NDArray[np.int64]:
    """Validation images of a recorded network by true class (rows) and predicted class (columns), (C, C) int64."""
    return evaluate(network(run)).confusion


# figures --------------------------------------------------------------------------------------------------------------


def panels(width: float, height: float, count: int = 1, grid: bool = True, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches with panels side by side; `options` as of matplotlib's `Figure.subplots`."""
    figure = new_figure(width, height)
    axes = [figure.subplots(**options)] if count == 1 else list(figure.subplots(1, count, **options))
    for ax in axes if grid else ():
        ax.grid(True, alpha=0.25)
    return figure, axes
