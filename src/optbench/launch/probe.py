"""What a sweep will cost, from a measured probe: a few updates of one run of each kind, extrapolated."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optbench.errors import OptbenchError
from optbench.experiment import Planned
from optbench.experiment.assemble import build_problem
from optbench.launch.rows import Rows, batch_of, startable
from optbench.launch.sweep import Division

if TYPE_CHECKING:
    import torch

    from optbench.problem import AbstractProblem

_STEPS, _PROBE_SECONDS = 20, 0.3  # updates of one run, fewer when they are long
_LOOP_SECONDS = 3e-4  # what the loop adds to an update: norms, stop rules, recording; benchmarks/launch.py
_RUN_SECONDS = 0.03  # assembling a run, and its files on a disk
_ROW_STEPS = 20
_ROWS = 2000
_BYTES_A_ROW = 130  # of metrics.csv, measured on runs of this tool
_BYTES_A_RUN = 6000  # run.json and config.yaml, likewise


@dataclass(frozen=True)
class Cost:
    """What runs will cost.

    Attributes:
        seconds: estimated, of computing on one worker.
        disk: estimated bytes.
        unable: kinds of runs that cannot start: how many, one of them, why.
    """

    seconds: float
    disk: float
    unable: tuple[str, ...] = ()


def estimate(division: Division, recorded: int) -> Cost:
    """Probes one run of each kind (its choices of parts) and each batch. Imports torch; writes nothing."""
    costs = [_rows_cost(rows, recorded) for rows in division.rows]
    kinds: dict[tuple[str, ...], list[Planned]] = defaultdict(list)
    for item in division.single:
        kinds[tuple(item.choices.values())].append(item)
    costs += [_single_cost(members) for members in kinds.values()]
    unable = tuple(why for cost in costs for why in cost.unable)
    return Cost(sum(c.seconds for c in costs), sum(c.disk for c in costs), unable)


def _unable(members: Sequence[Planned], error: Exception) -> Cost:
    reason = error.message if isinstance(error, OptbenchError) else f"{type(error).__name__}: {error}"
    return Cost(0.0, 0.0, (f"{len(members)} like {members[0].label}: {reason}",))


def _rows_cost(rows: Rows, recorded: int) -> Cost:
    from optbench.descend import descend
    from optbench.experiment import Stop

    try:
        part, unable = startable(Rows(rows.planned[:_ROWS], rows.varying))
        if not part.planned:
            return _single_cost(unable)
        batch = batch_of(part, Stop(), backend="eager")
        steps = batch.steps
        short = dataclasses.replace(batch, trainer=dataclasses.replace(batch.trainer, steps=min(_ROW_STEPS, steps)))
        seconds = descend(short).seconds
    except Exception as error:  # parts are anyone's code
        return _unable(rows.planned, error)
    scale = steps / min(_ROW_STEPS, steps) * len(rows.planned) / len(part.planned)
    curves = min(recorded, len(rows.planned)) * steps * 60
    return Cost(seconds * scale, 200 * len(rows.planned) + curves)


def _single_cost(members: Sequence[Planned]) -> Cost:
    import torch

    from optbench.config import build_optimizer, build_scheduler
    from optbench.loop import total_steps
    from optbench.settings import trainer_from

    first = members[0]
    try:
        problem = build_problem(first.config, torch.device("cpu"))
        optimizer = build_optimizer(first.config, problem.module)
        build_scheduler(first.config, optimizer, total_steps(problem, trainer_from(first.config)))
        a_step = _step_seconds(problem, optimizer)
    except Exception as error:  # parts are anyone's code
        return _unable(members, error)
    weights = 0 if problem.steps_per_epoch is None else sum(p.numel() * 4 for p in problem.module.parameters())
    seconds = disk = 0.0
    for item in members:
        steps = total_steps(problem, trainer_from(item.config))
        seconds += _RUN_SECONDS + steps * (a_step + _LOOP_SECONDS)
        disk += _BYTES_A_RUN + steps * _BYTES_A_ROW + 2 * weights
    return Cost(seconds, disk)


def _step_seconds(problem: AbstractProblem, optimizer: torch.optim.Optimizer) -> float:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = problem.objective(problem.batch(0))
        loss.backward()
        return loss

    optimizer.step(closure)  # the first one pays for what is set up lazily
    began = time.perf_counter()
    made, spent = 0, 0.0
    while made < _STEPS and spent < _PROBE_SECONDS:
        optimizer.step(closure)
        made, spent = made + 1, time.perf_counter() - began
    return spent / made
