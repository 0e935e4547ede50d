"""One run by several processes, which torchrun started: who does what.

Each plans the run, builds the problem and trains it, with a share of every batch (`problem.shares`). The first one
looks whether the run is done, holds its folder, writes its record, tells callbacks and the user; the others read
nothing of the folder, which may lie on another machine: from where the run goes on they are sent.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optbench.errors import IncompatibleError, UserError
from optbench.protocol import around_name, check_shared, wrapped
from optbench.records import Run
from optbench.settings import NetworkTrainer, trainer_from

if TYPE_CHECKING:
    import torch

    from optbench.experiment.plan import Planned
    from optbench.experiment.recorder import Stop
    from optbench.loop import Loop, Row
    from optbench.problem.parallel import Parallel
    from optbench.ranks import Rank


def check_can_share(planned: Planned, rank: Rank) -> NetworkTrainer:
    """Checks, without torch, that a run can be one of several processes; gives its trainer.

    Raises:
        IncompatibleError, UserError: it cannot.
    """
    config, trainer = planned.config, trainer_from(planned.config)
    if not isinstance(trainer, NetworkTrainer):
        raise IncompatibleError(
            f"model={planned.choices['model']} is a surface, and {rank.size} processes share batches of data",
            "start it as one process; a sweep uses all cores",
        )
    check_shared(wrapped(config), around_name(config["choices"]))
    if trainer.compile == "graphs":
        raise IncompatibleError("trainer.compile=graphs is of one process: a graph would hold its part of a sum",
                                "use trainer.compile=true, or one process")  # fmt: skip
    if str(trainer.device).startswith("cuda:"):
        raise UserError(f"trainer.device={trainer.device} is one GPU for {rank.size} processes",
                        "use trainer.device=cuda: each process takes the GPU of its number")  # fmt: skip
    return trainer


def set_up_one(trainer: NetworkTrainer, rank: Rank, threads: int | None = None) -> torch.device:
    """Sets up this process as `assemble.set_up` does; its GPU is that of its number, its threads are its share of the
    cores unless trainer.threads says how many each has.

    Raises:
        UserError: there is no such device.
    """
    import torch

    from optbench.experiment.assemble import set_up

    name = trainer.device
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        if rank.local_rank >= torch.cuda.device_count():
            raise UserError(
                f"process {rank.rank} has no GPU: {rank.local_size} on a machine with {torch.cuda.device_count()} GPUs",
                "start as many as it has GPUs, or use trainer.device=cpu",
            )
        name = f"cuda:{rank.local_rank}"
        torch.cuda.set_device(rank.local_rank)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return set_up(replace(trainer, device=name), threads or max(1, cores // rank.local_size))


def done_by(parallel: Parallel | None, found: Run | None) -> Run | None:
    """The record of a run that is done, of which the first process knows; in the others how it ended alone."""
    if parallel is None or not parallel.any(found is not None):
        return found
    told = None if found is None else {"run_id": found.run_id, "status": found.status, "reason": found.reason}
    words = parallel.sent(None if told is None else json.dumps(told).encode())
    return found or Run(json.loads(words or b"{}"))


def send_state(parallel: Parallel | None, state: Mapping[str, Any] | None) -> None:
    """Sends what the first process goes on from to the others."""
    if parallel is not None:
        from optbench.experiment.recorder import saved

        parallel.sent(None if state is None else bytes(saved({k: v for k, v in state.items() if k != "best"})))


def take_state(parallel: Parallel, loop: Loop) -> None:
    """Goes on from what the first process goes on from."""
    import torch

    if (data := parallel.sent(None)) is not None:
        loop.restore(torch.load(io.BytesIO(data), weights_only=True, map_location="cpu"))


class Silent:
    """What the loop of another process than the first one reports to.

    Args:
        stop: whether this process was asked to stop.
    """

    checkpoint_due = False

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def row(self, row: Row) -> None:
        """Nothing."""

    def step(self, step: int, total: int, row: Row) -> None:
        """Nothing."""

    def checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        """Nothing."""

    @property
    def stop_requested(self) -> bool:
        """Whether the user asked this process to stop."""
        return self._stop.requested


def facts_of_processes(parallel: Parallel | None) -> dict[str, Any]:
    """What a record says of the processes; nothing of one."""
    if parallel is None:
        return {}
    return {
        "processes": parallel.size,
        "backend": parallel.backend,
        "data_parallel": "each process has a share of every batch; loss and gradients are of the whole batch",
    }


def other_size(before: Run | None, parallel: Parallel | None) -> str | None:
    """What to say where a run goes on in another number of processes than it began in."""
    now = 1 if parallel is None else parallel.size
    with contextlib.suppress(TypeError, ValueError):
        began = int(before.provenance.get("processes", 1)) if before is not None else now
        if began != now:
            return f"began in {_counted(began)}, goes on in {_counted(now)}: from here rounding differs"
    return None


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"
