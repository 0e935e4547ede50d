"""Several processes that train one network: each has the whole of it and a share of every batch.

torch.distributed carries, torch's DistributedDataParallel adds up the gradients; this is what is asked of them. A share
is a run of consecutive rows of the batch that one process would take, and its loss counts by its rows: the sum over
processes is the mean over the batch, however uneven the shares are. So gradients, weights and losses are those of one
process but for the order in which float32 numbers are added.

All processes decide alike or they wait for each other for ever. What a decision hangs on is therefore the same in all
of them: losses are summed, the clock and the figures of evaluations are the first one's, a wish to stop is anyone's.
Small numbers go between CPUs by gloo, also where gradients go between GPUs by NCCL: so a GPU is not waited for.

A process that breaks says why in the store that torchrun keeps, then ends; the others notice that it is gone where they
next wait for it, and read there what it said (`explained`).

Li et al., PyTorch Distributed: experiences on accelerating data parallel training (VLDB 2020).
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from optbench import errors
from optbench.errors import IncompatibleError, OptbenchError, RunFailure, StoppedError, UserError, first_line, in_a_line
from optbench.ranks import Rank, last_words

T = TypeVar("T")

_PATIENCE = timedelta(hours=1)
"""How long one waits for another, which may be decoding pictures."""
_HEARS_WITHIN = 5.0
"""Seconds for which the last words of a process that is gone are waited for."""
_SYMPTOMS = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "socket")
_FAILED, _FIRST, _SPEAKS = "failed", "first", "speaks"
_GONE = "another process of this data-parallel run ended without a word (killed?)"


class Parallel:
    """The processes of a run, as one of them sees them; made by `joined`.

    Args:
        rank: what this one is.
        device: where it computes.
        backend: of torch.distributed: gloo, or nccl.
        store: in which they find each other.
    """

    def __init__(self, rank: Rank, device: torch.device, backend: str, store: Any) -> None:
        self.rank, self.size, self.is_first, self._own = rank.rank, rank.size, rank.is_first, rank
        self.device, self.backend = device, backend
        self._store = dist.PrefixStore(f"words/{next(_runs)}", store)  # type: ignore[attr-defined]

    # shares ----------------------------------------------------------------------------------------------------------

    def counts(self, rows: int) -> list[int]:
        """How many of so many rows each process has, in order: as many as another, or one more."""
        ends = [rows * k // self.size for k in range(self.size + 1)]
        return [b - a for a, b in pairwise(ends)]

    def share(self, rows: int) -> slice:
        """Which of so many rows are this process's; none of them where there are fewer rows than processes."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def blocks(self, rows: int, block: int) -> list[int]:
        """How many of so many rows each process has where they are shared out in whole blocks, in order."""
        count = -(-rows // block)
        ends = [min(rows, block * (count * k // self.size)) for k in range(self.size + 1)]
        return [b - a for a, b in pairwise(ends)]

    # sums and exchanges ----------------------------------------------------------------------------------------------

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over the processes, in its place."""
        dist.all_reduce(tensor)
        return tensor

    def any(self, holds: bool) -> bool:
        """Whether it holds in any process."""
        found = torch.tensor([float(holds)])
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return bool(found.item())

    def agreed(self, seconds: float, stops: bool, is_due: bool) -> tuple[float, bool, bool]:
        """The first process's clock, whether any wants to stop, whether the first one wants a checkpoint."""
        first = float(self.is_first)
        found = torch.tensor([first * seconds, float(stops), first * is_due], dtype=torch.float64)
        dist.all_reduce(found)
        clock, stopping, due = found.tolist()
        return clock, stopping > 0.0, due > 0.0

    def of_first(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Figures as the first process has them; all have the same names."""
        found = torch.tensor(list(figures.values()), dtype=torch.float64)
        dist.broadcast(found, 0)
        return dict(zip(figures, found.tolist(), strict=True))

    def rows_of_all(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows of all processes in order, on the CPU.

        Args:
            own: those of this process, (counts[rank], ...); of one that has none any rows of such a shape.
            counts: how many each has.
        """
        ends = [0, *accumulate(counts)]
        found = torch.empty((ends[-1], *own.shape[1:]), dtype=own.dtype)
        found[ends[self.rank] : ends[self.rank + 1]] = own[: counts[self.rank]].cpu()
        for rank, count in enumerate(counts):
            if count:
                dist.broadcast(found[ends[rank] : ends[rank + 1]], rank)
        return found

    def sent(self, data: bytes | None) -> bytes | None:
        """Bytes of the first process, or its None, in all of them."""
        length = torch.tensor([-1 if data is None else len(data)])
        dist.broadcast(length, 0)
        if length.item() < 0:
            return None
        given = bytearray(data or bytes(int(length.item())))
        found = torch.frombuffer(given, dtype=torch.uint8) if given else torch.empty(0, dtype=torch.uint8)
        dist.broadcast(found, 0)
        return found.numpy().tobytes()

    def check_same_run(self, run_id: str) -> None:
        """Raises UserError where the processes do not plan the same run."""
        firsts = (self.sent(run_id.encode()) or b"").decode()
        if self.any(firsts != run_id):
            raise UserError(
                f"the processes were given different runs ({firsts} is the first one's)",
                "give all of them the same command, conf folders and data",
            )

    def check_same(self, module: nn.Module, step: int) -> None:
        """Checks that weights and buffers are the same in all processes, to the bit.

        Raises:
            RunFailure: naming those that are not, in every process.
        """
        named = [*module.named_parameters(), *module.named_buffers()]
        sums = torch.stack([_sum_of_bits(tensor.detach()).cpu() for _, tensor in named])
        low, high = sums.clone(), sums
        dist.all_reduce(low, dist.ReduceOp.MIN)
        dist.all_reduce(high, dist.ReduceOp.MAX)
        if torch.equal(low, high):
            return
        apart = [name for (name, _), same in zip(named, (low == high).tolist(), strict=True) if not same]
        few = ", ".join(apart[:3]) + (f" and {len(apart) - 3} more" if len(apart) > 3 else "")
        raise RunFailure(
            f"after step {step} the processes do not have the same {few}",
            "the model or the optimizer sees the share of one process, or draws of its own; use one process",
        )

    # what goes wrong -------------------------------------------------------------------------------------------------

    def guarded(self, function: Callable[[], T]) -> T:
        """What a function gives; what it raises is `explained`."""
        try:
            return function()
        except Exception as error:
            raise self.explained(error) from error

    def explained(self, error: Exception) -> Exception:
        """The error, which the other processes are told of; or, where it only says that another process is gone, what
        that one said, in an error of the same kind."""
        if getattr(error, "is_told", False):
            return error
        found = error
        if not isinstance(error, OptbenchError):
            _broke.append(True)
        if _is_symptom(error):
            found = self._last_words() or StoppedError(_GONE)
        else:
            self._tell(error)
        found.is_told = True  # type: ignore[attr-defined]
        return found

    def _tell(self, error: Exception) -> None:
        """Leaves word of what broke this process."""
        is_ours = isinstance(error, OptbenchError)
        message = error.message if isinstance(error, OptbenchError) else in_a_line(error)
        words = {
            "kind": type(error).__name__ if is_ours else "RunFailure",
            "message": message,
            "hint": error.hint if isinstance(error, OptbenchError) else "",
            "log": "" if is_ours else "".join(traceback.format_exception(error)),
        }
        with contextlib.suppress(Exception):  # a store that is gone too
            self._store.set(f"{_FAILED}/{self.rank}", json.dumps(words))

    def _last_words(self) -> OptbenchError | None:
        """What a process said that is gone; None where none said anything. Where the first one is gone, which would
        tell the user, one of the others does."""
        deadline, is_first_there = time.monotonic() + _HEARS_WITHIN, self.is_first
        with contextlib.suppress(Exception):  # a store that is gone too
            if self.is_first:
                self._store.set(_FIRST, "hears")
            while time.monotonic() < deadline:
                for rank in range(self.size):
                    if self._store.check([f"{_FAILED}/{rank}"]):
                        return _said(rank, self.size, self._store.get(f"{_FAILED}/{rank}"))
                time.sleep(0.05)
            is_first_there = self._store.check([_FIRST])
            if not is_first_there and self._store.add(_SPEAKS, 1) > 1:
                return None
        if not is_first_there:
            last_words(_GONE, self._own)
        return None


def _said(rank: int, size: int, words: bytes) -> OptbenchError:
    said = json.loads(words)
    found: OptbenchError = getattr(errors, said["kind"], RunFailure)(
        f"{said['message']} (process {rank} of {size})", said["hint"]
    )
    found.log = said["log"]  # type: ignore[attr-defined]
    return found


def _is_symptom(error: Exception) -> bool:
    """Whether an error only says that another process is gone."""
    if isinstance(error, OptbenchError):
        return False
    words = str(error).lower()
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(sign in words for sign in _SYMPTOMS)
    )


_AS_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _sum_of_bits(tensor: Tensor) -> Tensor:
    """The sum of a tensor's elements read as whole numbers, int64: the same in whatever order it is added."""
    flat = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return flat.contiguous().flatten().view(_AS_WHOLE[flat.element_size()]).sum(dtype=torch.int64)


_broke: list[bool] = []
"""Not empty once something broke in one process alone: others may still wait for this one, and its end frees them."""
_met: list[tuple[Any, str]] = []
"""The store in which the processes found each other, and the backend of their group, once they have."""
_runs = itertools.count()


@contextlib.contextmanager
def joined(rank: Rank, device: torch.device) -> Iterator[Parallel]:
    """In it this process is one of several, which have found each other; what it raises is `explained`.

    They stay together until the program ends, for one run or several: torch waits for the threads of a group that is
    taken apart while it holds the lock that they need to end.

    Args:
        rank: what it is.
        device: where it computes.

    Raises:
        UserError: they could not find each other; what they did before broke in one of them.
        IncompatibleError: this torch cannot bring them together.
    """
    if _broke:
        raise UserError("what these processes did together broke in one of them", "start the program again")
    if not _met:
        _meet(rank, "nccl" if device.type == "cuda" else "gloo")
    store, backend = _met[0]
    if device.type == "cuda" and backend == "gloo":
        raise IncompatibleError("these processes met on CPUs, and this run is on GPUs", "start it by itself")
    parallel = Parallel(rank, device, backend, store)
    try:
        yield parallel
    except Exception as error:
        raise parallel.explained(error) from error


def _meet(rank: Rank, backend: str) -> None:
    """Brings the processes together, at the place that torchrun's variables name."""
    if not dist.is_available() or (backend == "nccl" and not dist.is_nccl_available()):
        raise IncompatibleError(f"this torch ({torch.__version__}) has no {backend} for several processes",
                                "start it as one process")  # fmt: skip
    both = "cpu:gloo,cuda:nccl" if backend == "nccl" else backend
    try:
        with _ends_at_once():
            found, _, _ = next(rendezvous("env://", rank.rank, rank.size, timeout=_PATIENCE))
            store = dist.PrefixStore("optbench", found)  # type: ignore[attr-defined]
            dist.init_process_group(both, store=store, rank=rank.rank, world_size=rank.size, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"process {rank.rank} of {rank.size} did not find the others: {first_line(error)}",
                        "MASTER_ADDR and MASTER_PORT say where they meet; torchrun sets both") from error  # fmt: skip
    _met.append((store, backend))
    atexit.register(_part)


def _part() -> None:
    """Takes the group apart, unless others are gone."""
    if not _broke and dist.is_initialized():
        with contextlib.suppress(Exception):
            dist.destroy_process_group()


@contextlib.contextmanager
def _ends_at_once() -> Iterator[None]:
    """In it a signal ends this process, which waits where Python would not hear of one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signal.SIG_DFL) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
