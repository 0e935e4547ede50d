"""The base of callbacks: who is told of runs and changes nothing about them.

A callback is no part of a run: it is in no configuration and no identity, and the numbers are the same bits with it and
without. It is told three things: that a run begins, each row of its curve as it is recorded, and how it ended. What it
raises ends the telling and not the run.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from optbench.errors import UserError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from optbench.records import Run


@dataclass(frozen=True)
class RunStart:
    """What is known of a run as it begins, or goes on.

    Attributes:
        run_id: its identity.
        name: of its folder, also where it is a row of a sweep's table: model, optimizer, scheduler, seed, run_id.
        sweep: name of its sweep, None for a single run.
        config: the resolved configuration.
        folder: the run's; None where it has none.
        goes_on_from: the step from which an interrupted run goes on; None: it begins.
        module: what trains, to be looked at and not changed; its weights are those that train, where an optimizer has
            others for evaluations. None: told from the record, or a surface's compiled program.
        optimizer: likewise.
        began: seconds since the epoch.
    """

    run_id: str
    name: str
    sweep: str | None
    config: Mapping[str, Any]
    folder: Path | None = None
    goes_on_from: int | None = None
    module: nn.Module | None = None
    optimizer: Optimizer | None = None
    began: float = field(default_factory=time.time)


class Callback:
    """Told of one run, in this order: `begin`, `row` at every recorded row, `end`. One object serves one run.

    Single runs and networks are followed live, in the process that trains them. Rows of a surface's array program and
    stacked networks, which run by thousands, are told from their records when the sweep has ended.

    Attributes:
        needs_module: it looks into `RunStart.module`: runs go one by one through the training loop, which is slower on
            surfaces and for many small networks.
    """

    needs_module: ClassVar[bool] = False

    def begin(self, start: RunStart) -> None:
        """The run begins, or goes on."""

    def row(self, row: Mapping[str, Any]) -> None:
        """A row of the curve, under the names of metrics.csv (`step`, `loss`, ...); what does not apply is absent."""

    def end(self, run: Run) -> None:
        """The run ended, however; `run` is its record. Not told where the process is killed."""


def check_extra(module: str, extra: str, name: str) -> None:
    """Raises UserError where the package that a callback writes with is not installed.

    Args:
        module: what would be imported.
        extra: of optbench, which brings it.
        name: of the callback.
    """
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        found = None
    if found is None:
        raise UserError(f"{name} needs the package {module.partition('.')[0]}", f"pip install 'optbench[{extra}]'")
