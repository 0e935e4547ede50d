"""Configurations to rows: each in a process of its own, one after another, so that neither memory nor a warm cache of
one is another's, and no two disturb each other's time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any, cast

from optbench.cost.measure import Measured, measure
from optbench.errors import UserError
from optbench.experiment import Planned, Stop, plan_sweep
from optbench.folders import Progress
from optbench.launch.base import TICK_SECONDS, Work, available_cores
from optbench.launch.crew import Worker, dismiss
from optbench.launch.local import gpus_for, is_network
from optbench.protocol import around_name

GROUPS = ("model", "data", "loss", "scheduler", "augment")


@dataclass(frozen=True)
class Row:
    """One configuration of the table.

    Attributes:
        label: the optimizer, and what else sets it apart from the other rows.
        planned: the configuration.
        measured: what it costs; None where that could not be measured.
        reason: why not; else empty.
    """

    label: str
    planned: Planned
    measured: Measured | None
    reason: str = ""

    @property
    def setting(self) -> str:
        """What rows must share for their times to stand in one table: problem, batch, precision, device, threads."""
        config, found = self.planned.config, self.measured
        trainer = config["trainer"]
        names = f"{config['choices']['model']} on {config['choices']['data']}"
        bits = "" if trainer["precision"] == "fp32" else f", {trainer['precision']}"
        if found is None:
            return f"{names}{bits}"
        threads = f", {found.threads} thread{'s' * (found.threads != 1)}" if found.device == "cpu" else ""
        weights = f"{found.parameters:,} parameters ({found.parameter_bytes / 1e6:.4g} MB)"
        return f"{names}: {weights}, batches of {found.batch_size}{bits}, {found.device}{threads}"


def plan_costs(
    overrides: Sequence[str], config_dirs: Sequence[Path] = (), progress: Progress | None = None
) -> list[Planned]:
    """The configurations that overrides in the grammar of a sweep describe. No torch here.

    Raises:
        ConfigError, DataError: as a sweep's.
        UserError: a surface among them.
    """
    plan = list(plan_sweep(overrides, config_dirs, progress=progress))
    for item in plan:
        if not is_network(item):
            raise UserError(
                f"model={item.choices['model']} is a surface, and costs are measured on networks",
                "choose a network, e.g. optbench cost model=mlp optimizer=sgd,adam; optbench list model has them all",
            )
    return plan


def cost_rows(
    planned: Sequence[Planned], repeats: int, stop: Stop, told: Callable[[str, int, int], None] = lambda *_: None
) -> Iterator[Row]:
    """The row of each configuration as soon as it is measured; ends early after an interrupt.

    Args:
        planned: see plan_costs.
        repeats: updates that are timed.
        stop: asks for an end.
        told: label, update and number of updates, a few times a second.
    """
    for item in planned:
        label = _label(item)
        found = _alone(item, repeats, stop, functools.partial(told, label))
        if found is None:
            return
        if isinstance(found, str):
            yield Row(label, item, None, found)
        else:
            yield Row(label, item, found)


def _label(item: Planned) -> str:
    others = {key: value for key, value in item.swept.items() if key not in ("optimizer", "wrap")}
    words = [str(v) if k in GROUPS else f"{k.rpartition('.')[2]}={v}" for k, v in others.items()]
    return " ".join([around_name(item.choices), *words])


def _alone(item: Planned, repeats: int, stop: Stop, told: Callable[[int, int], None]) -> Measured | str | None:
    """What `measure` answers in a process of its own, or how that died."""
    gpus = gpus_for([item])
    worker = Worker(cast("Work", functools.partial(measure, repeats)), gpus[0] if gpus else None)
    given = wound_up = False
    try:
        while True:
            connection.wait([cast("Any", worker.pipe), worker.process.sentinel], timeout=TICK_SECONDS)
            if stop.requested and not wound_up:
                worker.wind_up()
                wound_up = True
            for kind, *rest in worker.messages():
                if kind == "ready" and not given:
                    worker.give(item, False, available_cores())
                    given = True
                elif kind == "step":
                    told(rest[0], rest[1])
                elif kind == "done":
                    return cast("Measured | str | None", rest[0])
            if wound_up and not given:
                return None
            if worker.lost:
                return None if wound_up else worker.epitaph().replace("worker died", "its process died")
    except KeyboardInterrupt:  # the second Ctrl-C: now
        worker.process.kill()
        raise
    finally:
        dismiss([worker])
