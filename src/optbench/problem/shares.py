"""The passes of a network's training of which this process makes a share, through DistributedDataParallel.

What torch does: the gradients of the processes are averaged while the backward pass runs. What is done here: the share
of a batch and what it counts; random numbers; and what cannot be shared, which is refused.

Dropout draws from a stream of each process, (seed, "model", step, rank), and afterwards torch's generators are where
they were: an optimizer that draws from them draws the same in all processes. Batch norm is of the whole batch, by
torch's SyncBatchNorm, which is for GPUs; on a CPU each process would norm by its share, another network.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from optbench.errors import IncompatibleError, RunFailure, UserError
from optbench.problem.base import Batch, seed_torch
from optbench.problem.compiled import Compiled, unchanged
from optbench.problem.parallel import Parallel
from optbench.problem.precision import forward
from optbench.problem.streams import stream_seed
from optbench.problem.trees import total


def shareable(model: nn.Module, parallel: Parallel) -> nn.Module:
    """The model with what norms over the rows of a batch doing so over those of all processes.

    Raises:
        IncompatibleError: that cannot be.
    """
    normed = {name: m for name, m in model.named_modules() if _is_of_batch(m)}
    if not normed:
        return model
    name, first = next(iter(normed.items()))
    what = f"{type(first).__name__} ({name})"
    if parallel.device.type != "cuda":
        raise IncompatibleError(
            f"{what} would norm each process's share of a batch by itself, which is another network",
            "use one process, GPUs (SyncBatchNorm is for them alone), or a model without batch norm",
        )
    for name, module in normed.items():
        if not isinstance(module, _BatchNorm) or module._forward_hooks or module._forward_pre_hooks:
            why = "torch.nn.SyncBatchNorm cannot take the place of"
            raise IncompatibleError(f"{why} {type(module).__name__} ({name}) in several processes", "use one process")
    made: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return made


def _is_of_batch(module: nn.Module) -> bool:
    """Whether what a module makes of a row hangs on the others."""
    return isinstance(module, _BatchNorm) or bool(getattr(module, "track_running_stats", False))


def check_hooks(module: nn.Module, optimizer: str) -> None:
    """Raises IncompatibleError where someone listens to the gradients of a parameter, before they are added up."""
    for name, parameter in module.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            why = f"{optimizer} has a hook on the gradient of {name}, which is of one process's share there"
            raise IncompatibleError(why, "use one process")


class Shares:
    """This process's part in the passes of an update.

    Args:
        parallel: the processes.
        model: that is trained.
        compiled: its compiled passes, where there are some.
        seed: root seed of the run.
        precision: of the passes, see `problem.precision`.
        generators: from which code on the device draws.
        least: rows of a mini-batch.

    Raises:
        UserError: a mini-batch has fewer rows than there are processes.
    """

    def __init__(
        self,
        parallel: Parallel,
        model: nn.Module,
        compiled: Compiled | None,
        seed: int,
        precision: str,
        generators: list[torch.Generator],
        least: int,
    ) -> None:
        if least < parallel.size:
            raise UserError(f"{parallel.size} processes share a batch of {least}: at least one would have nothing",
                            f"use trainer.batch_size={parallel.size} or more, or fewer processes")  # fmt: skip
        self.parallel, self._model, self._compiled = parallel, model, compiled
        self._seed, self._precision, self._generators = seed, precision, generators
        self._has_norm = any(map(_is_of_batch, model.modules()))
        self._ddp: DistributedDataParallel | None = None
        self._states: list[Tensor] | int = 0
        self.model: DistributedDataParallel | None = None
        """What a pass goes through that is added up; None outside of such a pass."""

    def seed(self, step: int) -> None:
        """From now on the passes of update `step` are made."""
        self._states = stream_seed(self._seed, "model", step, self.parallel.rank)

    def of(self, piece: Batch) -> tuple[Batch, float]:
        """This process's share of a mini-batch, and what it counts in its objective; a row of another's that counts
        nothing where there are fewer rows than processes, since all have to take part."""
        rows = self.parallel.share(len(piece))
        own = piece.part(rows)
        if rows.start < rows.stop and (mass := own.mass) > 0.0:
            return own, mass / piece.mass
        if self._has_norm:
            raise RunFailure(
                f"a batch of {len(piece)} rows is too small for batch norm in {self.parallel.size} processes",
                "choose a batch size that leaves a larger rest, or fewer processes",
            )
        return piece.part(slice(0, 1)), 0.0

    @contextlib.contextmanager
    def draws(self) -> Iterator[None]:
        """In it torch's generators are this process's own; afterwards they are where they were."""
        before = [generator.get_state() for generator in self._generators]
        if isinstance(self._states, int):
            seed_torch(self._states, self.parallel.device)
        else:
            for generator, state in zip(self._generators, self._states, strict=True):
                generator.set_state(state)
        try:
            yield
        finally:
            self._states = [generator.get_state() for generator in self._generators]
            for generator, state in zip(self._generators, before, strict=True):
                generator.set_state(state)

    @contextlib.contextmanager
    def passes(self, own: Batch, is_last: bool) -> Iterator[None]:
        """In it a forward and a backward pass are made of this process's share of a mini-batch; after those of the last
        one of an update the gradients are added up."""
        ddp = self.prepared(own)
        self.model = ddp
        try:
            with contextlib.nullcontext() if is_last else ddp.no_sync():
                yield
        finally:
            self.model = None

    def prepared(self, own: Batch) -> DistributedDataParallel:
        """torch's wrapper, made when it is first wanted; `own`: this process's share of a mini-batch, to try."""
        if self._ddp is None:
            self._ddp = self._made(own)
        return self._ddp

    def _made(self, own: Batch) -> DistributedDataParallel:
        """torch's wrapper, told by a trial whether some weights have no part in the outputs.

        After its first backward pass it lays the gradients out anew, and with that adds them up in another order: that
        pass is made here, so that a run that goes on adds as the one that it goes on from.
        """
        with unchanged(self._model):
            total(forward(self._precision, self._model, own.inputs)).backward()
            unused = any(p.grad is None for p in self._model.parameters() if p.requires_grad)
            made = self._wrapped(self.parallel.any(unused))
            total(forward(self._precision, made, own.inputs)).backward()
        return made

    def _wrapped(self, unused: bool) -> DistributedDataParallel:
        on_gpu: dict[str, Any] = {"device_ids": [self.parallel.device]} if self.parallel.device.type == "cuda" else {}
        through = self._model if self._compiled is None else self._compiled.module
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a later torch has another word for broadcast_buffers
            return DistributedDataParallel(through, broadcast_buffers=False, find_unused_parameters=unused, **on_gpu)
