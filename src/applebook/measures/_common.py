"""What several measurements need: columns as arrays, and gradients and Hessians at recorded points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from applebook.study import Study
from optbench.metrics import Floats, expected_running_time
from optbench.records import Run

if TYPE_CHECKING:
    import pandas as pd

    from optbench.experiment.surface import Field


def where(study: Study, arm: str = "main", **values: Any) -> tuple[Run, pd.DataFrame]:
    """The first run of an arm with these values that kept its curve, and the curve. Raises LookupError."""
    for run, curve in zip(study.runs(arm, **values), study.curves(arm, **values), strict=True):
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


def running_time(runs: Sequence[Run]) -> float:
    """Expected running time of runs to trainer.target, see metrics.expected_running_time."""
    hits = [None if math.isinf(step) else float(step) for step in steps_to_target(runs)]
    return expected_running_time(hits, [float(run.summary["steps"]) for run in runs])


def field_of(run: Run) -> Field:
    """The scalar field that a run descended."""
    from optbench.experiment.surface import recorded_field

    return recorded_field(run)


def gradients(run: Run, points: npt.ArrayLike) -> Floats:
    """Gradients of the run's surface at points (n, dim), by autograd: (n, dim)."""
    import torch

    x = torch.tensor(np.asarray(points), dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(field_of(run).objective(x).sum(), x)
    found: Floats = g.numpy()
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


def hessian(field: Field, point: npt.ArrayLike) -> Floats:
    """Hessian of a field at one point (dim,), by autograd: (dim, dim)."""
    import torch

    at = torch.tensor(np.asarray(point), dtype=torch.float64)
    # reverse over reverse: the forward mode of torch.func.hessian warns of its own use of torch.jit when it loads
    found: Floats = torch.autograd.functional.hessian(field.objective, at).numpy()
    return found


def confusion_of(run: Run, checkpoint: str = "last") -> npt.NDArray[np.int64]:
    """Validation images of a recorded network by true class (rows) and predicted class (columns), (C, C) int64."""
    from optbench.experiment.rebuild import evaluate, rebuild

    assert run.path is not None
    return evaluate(rebuild(run.path, checkpoint)).confusion
