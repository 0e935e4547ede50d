"""Curvature along a run: both ends of the Hessian's spectrum at its start, at its best weights and at its end.

Measured afterwards, where the record says that the run was: on a surface at recorded points, of a network at its
checkpoints. So no run is another one for it, and what is measured costs nothing that others trained with.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optbench.errors import OptbenchError
from optbench.tuning.runs import Made

if TYPE_CHECKING:
    from optbench.problem import AbstractProblem

log = logging.getLogger(__name__)

_BATCHES = 8
"""Of a network's training data, as many as so many updates use: 20 products with its Hessian then cost what a few
hundred updates do."""


@dataclass(frozen=True)
class At:
    """The curvature at a place of a run.

    Attributes:
        step: updates before it.
        lambda_min, lambda_max: ends of the spectrum of the Hessian of the training objective, of its part where share
            is below 1; exact up to 60 weights, else extreme Ritz values of 20 Lanczos steps, which lie within it.
        share: of the training data.
    """

    step: int
    lambda_min: float
    lambda_max: float
    share: float = 1.0


def curvature_along(made: Made, left: Callable[[], float] = lambda: math.inf) -> list[At]:
    """The curvature along a run of this command, in order; none where nothing can be measured. Loads torch.

    Args:
        made: the run.
        left: seconds that it may still take. A place is left out, and those after it, where the one before took longer.
    """
    found: list[At] = []
    try:
        began = time.monotonic()
        for at in _along(made):
            found.append(at)
            took, began = time.monotonic() - began, time.monotonic()
            if took > left():
                break
        return found
    except (OptbenchError, OSError) as error:
        log.debug("curvature of %s", made.planned.label, exc_info=error)
    except Exception as error:  # parts are anyone's code
        log.warning("the curvature of %s was not measured (%s: %s)", made.planned.label, type(error).__name__, error)
    return []


def _along(made: Made) -> Iterator[At]:
    from optbench.curvature.along import measure_curvature
    from optbench.experiment.assemble import build_problem, set_up
    from optbench.experiment.kept_data import keeping_data
    from optbench.problem import NetworkProblem
    from optbench.settings import trainer_from

    trainer = trainer_from(made.planned.config)
    with keeping_data(made.planned):
        problem = build_problem(made.planned.config, set_up(trainer, None))
    share = 1.0
    if isinstance(problem, NetworkProblem):
        share = min(1.0, _BATCHES * problem.batch_size / len(problem.train))
    for step in _places(made, problem):
        found = measure_curvature(problem, share)
        if {"lambda_min", "lambda_max"} <= set(found):
            yield At(step, found["lambda_min"], found["lambda_max"], share)


def _places(made: Made, problem: AbstractProblem) -> Iterator[int]:
    """Brings a problem to each place, the start first, and gives the number of updates before it."""
    import torch

    from optbench.problem import NetworkProblem

    if isinstance(problem, NetworkProblem):
        yield 0
        yield from _checkpoints(made, problem)
        return
    columns = made.run.columns()
    x: torch.Tensor = problem.module.x  # type: ignore[assignment]
    names, steps = [f"x{i}" for i in range(x.numel())], columns.get("step")
    if steps is None or not all(name in columns for name in names):
        yield 0  # coordinates of many dimensions are not recorded
        return
    for row in sorted({0, (len(steps) - 1) // 2, len(steps) - 1}):
        with torch.no_grad():
            x.copy_(torch.tensor([float(columns[name][row]) for name in names], dtype=x.dtype).reshape(x.shape))
        yield int(steps[row])


def _checkpoints(made: Made, problem: Any) -> Iterator[int]:
    from optbench.experiment.checkpoints import load_checkpoint
    from optbench.records.chosen import CHECKPOINTS

    seen = {0}
    for name in CHECKPOINTS:
        file = made.planned.folder / f"{name}.pt"
        if not file.exists():
            continue
        state = load_checkpoint(file)
        step = int(state["step"] if "step" in state else state["progress"]["step"])
        if step not in seen:
            seen.add(step)
            problem.module.load_state_dict(state["model"])
            yield step
