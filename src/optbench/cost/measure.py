"""The updates of one configuration, timed and weighed in a process that does nothing else.

An update is a batch, passes forward and backward, and the optimizer's step. The step's time is that of
`optimizer.step` without the passes that it asks for, so that L-BFGS, which asks for several, is charged for its own
work alone. On a GPU each time is taken when the device has done what it was given.

Bytes of the state are exact: the memory behind every tensor that the optimizer keeps, each piece once, without
parameters and gradients. The peak is exact on a GPU (what torch had allocated at most). On a CPU it is how far the
resident memory of the process rose while updates were made, with what libraries set up and what the allocator leaves
unused: two calls differ by some megabytes, or a twentieth. What can be set up before is: a batch is passed forward and
backward, a step of the same optimizer is made on a layer of 8 x 8, and what that freed is given back, before the
counting begins.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.protocol import protocol_of
from optbench.settings import NetworkTrainer, trainer_from

if TYPE_CHECKING:
    import torch

    from optbench.experiment import Display, Planned, Stop
    from optbench.loop.driven import Driven
    from optbench.problem import NetworkProblem

WARM_UP = 5
"""Updates before those that are timed; the state is that after the first of them."""


@dataclass(frozen=True)
class Measured:
    """What one configuration costs.

    Attributes:
        parameters: how many numbers are trained.
        parameter_bytes: of them.
        state_bytes: of the tensors in `optimizer.state` after one update.
        last_state_bytes: the same after all updates; a history may have grown.
        other_bytes: of tensors that the optimizer holds outside its state, after all updates.
        peak_bytes: on a GPU what torch had allocated at most, parameters and data included; on a CPU how far resident
            memory rose above that before the first update; None where the system does not say.
        batch_size: images in an update.
        device: where.
        threads: of torch.
        batch, passes, step: seconds of each update that was timed: its batch, forward and backward, the rest.
        evaluations: passes in an update, on average.
    """

    parameters: int
    parameter_bytes: int
    state_bytes: int
    last_state_bytes: int
    other_bytes: int
    peak_bytes: int | None
    batch_size: int
    device: str
    threads: int
    batch: tuple[float, ...]
    passes: tuple[float, ...]
    step: tuple[float, ...]
    evaluations: float


def measure(
    repeats: int, planned: Planned, stop: Stop, display: Display, force: bool, threads: int
) -> Measured | str | None:
    """What a worker does with a configuration.

    Args:
        repeats: updates that are timed.
        planned: the configuration; nothing is recorded.
        stop: asks for an end between two updates.
        display: told of each update.
        force: of no meaning here.
        threads: of torch, unless the configuration says.

    Returns:
        What was measured; why it could not be; None after an interrupt.
    """
    from optbench.errors import OptbenchError, in_a_line

    try:
        return _measured(repeats, planned, stop, display, threads)
    except OptbenchError as error:
        return error.message
    except Exception as error:  # parts are anyone's code
        return in_a_line(error)


def _measured(repeats: int, planned: Planned, stop: Stop, display: Display, threads: int) -> Measured | None:
    import torch

    from optbench.experiment.assemble import build_problem, check_serves, optimizer_of, set_up
    from optbench.loop.driven import Driven
    from optbench.problem import NetworkProblem

    trainer = trainer_from(planned.config)
    assert isinstance(trainer, NetworkTrainer)
    device = set_up(trainer, threads)
    problem = build_problem(planned.config, device, display)
    assert isinstance(problem, NetworkProblem)
    check_serves(problem, trainer, device)
    _set_up_libraries(problem, planned.config)
    weighed = Peak(device)
    optimizer = optimizer_of(planned.config, problem)
    driven = Driven(optimizer, problem, trainer, protocol_of(planned.config))
    own = list(problem.module.parameters())
    found: list[tuple[float, float, float, int]] = []
    state = 0
    for k, times in enumerate(_updates(driven, device)):
        found.append(times)
        state = state_bytes(optimizer, own) if k == 0 else state
        display.step(k + 1, WARM_UP + repeats, {})
        if stop.requested:
            return None
        if k + 1 == WARM_UP + repeats:
            break
    batch, passes, step, evaluations = zip(*found[WARM_UP:], strict=True)
    return Measured(
        parameters=sum(p.numel() for p in own),
        parameter_bytes=sum(p.numel() * p.element_size() for p in own),
        state_bytes=state,
        last_state_bytes=state_bytes(optimizer, own),
        other_bytes=other_bytes(optimizer, own),
        peak_bytes=weighed.bytes(),
        batch_size=problem.batch_size,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        threads=torch.get_num_threads(),
        batch=batch,
        passes=passes,
        step=step,
        evaluations=sum(evaluations) / len(evaluations),
    )


def _updates(driven: Driven, device: torch.device) -> Iterator[tuple[float, float, float, int]]:
    """Makes updates without end: seconds of the batch, of the passes and of the step, and how many passes.

    An update within the backward pass is all pass.
    """
    from torch import Tensor

    problem, now = driven.problem, _clock(device)
    problem.module.train()
    if driven.protocol.modes:
        driven.optimizer.train()  # type: ignore[attr-defined]
    k = 0
    while True:
        began = now()
        batch = problem.batch(k)
        had = now()
        spent: list[float] = []

        def closure() -> Tensor:
            at = now()
            driven.forget()
            loss = driven.differentiate(batch)  # noqa: B023  called before the next batch is made
            spent.append(now() - at)  # noqa: B023
            return loss

        if driven.is_extra_due(k):
            driven.extra(batch, k)
            spent.append(now() - had)
        if driven.is_fused:
            at = now()
            driven.fused(batch).make()
            spent.append(now() - at)
        else:
            driven.update(closure, len(batch))
        driven.end()
        yield had - began, sum(spent), now() - had - sum(spent), len(spent)
        k += 1


def _clock(device: torch.device) -> Callable[[], float]:
    """Seconds, at a moment at which the device has nothing left to do."""
    if device.type != "cuda":
        return time.perf_counter
    import torch

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


# memory --------------------------------------------------------------------------------------------------------------


def state_bytes(optimizer: torch.optim.Optimizer, parameters: Iterable[torch.Tensor]) -> int:
    """Bytes behind the tensors of `optimizer.state`, however deep they lie in dictionaries, lists and tuples.

    Memory that several tensors share counts once; parameters and their gradients do not count.
    """
    return sum(_storages(optimizer.state, _taken(parameters)).values())


def other_bytes(optimizer: torch.optim.Optimizer, parameters: Iterable[torch.Tensor]) -> int:
    """Bytes behind the tensors that an optimizer holds outside its state: attributes, settings, inner optimizers."""
    taken = _taken(parameters)
    inside = _storages(optimizer.state, taken)
    return sum(_storages(vars(optimizer), taken | set(inside)).values())


_Key = tuple[str, int]


def _taken(parameters: Iterable[torch.Tensor]) -> set[_Key]:
    given = list(parameters)
    return set(_storages([given, [p.grad for p in given if p.grad is not None]], set()))


def _storages(held: Any, taken: set[_Key]) -> dict[_Key, int]:
    """The pieces of memory behind all tensors of a value, those of `taken` left out: their bytes by place."""
    import torch

    found: dict[_Key, int] = {}
    seen: set[int] = set()
    waiting = [held]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            for part in _dense(one):
                storage = part.untyped_storage()
                key = str(part.device), storage.data_ptr()
                if storage.nbytes() and key not in taken:
                    found[key] = storage.nbytes()
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
        elif isinstance(one, torch.optim.Optimizer):
            waiting.append(vars(one))
    return found


def _dense(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The tensors that hold a tensor's numbers: of a sparse one its indices and values."""
    import torch

    if tensor.layout is torch.strided:
        return [tensor]
    return [tensor._indices(), tensor._values()] if tensor.layout is torch.sparse_coo else []


def _set_up_libraries(problem: NetworkProblem, config: Mapping[str, Any]) -> None:
    """What is set up lazily by a pass of this network and by a step of this optimizer, before memory is counted."""
    import torch

    from optbench.config import build_optimizer
    from optbench.config.groups import KEYS

    batch = problem.batch(0)
    with contextlib.suppress(Exception):  # what breaks here breaks again in the first update, and is said there
        problem.differentiate(batch)
    problem.module.zero_grad()
    with contextlib.suppress(Exception):
        layer = torch.nn.Linear(8, 8).to(batch.targets.device)
        bare = {key: value for key, value in config["optimizer"].items() if key not in KEYS}
        optimizer = build_optimizer({**config, "optimizer": bare}, layer)

        def closure() -> Any:
            loss = layer(torch.ones(1, 8, device=batch.targets.device)).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)


class Peak:
    """The most memory from now on.

    Args:
        device: whose.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            return
        from optbench.device import give_back_freed_memory

        give_back_freed_memory()  # else what was freed before is used again, and nothing seems to rise
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten (Linux, proc(5))
        self._before = _resident()

    def bytes(self) -> int | None:
        """On a GPU all that torch had allocated at most; else the rise of resident memory; None where nobody knows."""
        if self._device.type == "cuda":
            import torch

            return torch.cuda.max_memory_allocated(self._device)
        after = _resident()
        if self._before is None or after is None:
            return None
        return max(0, after[1] - self._before[0])


def _resident() -> tuple[int, int] | None:
    """Resident bytes of this process, now and at most; on macOS both are the most so far; None elsewhere."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        now, most = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        return now, most
    if sys.platform == "darwin":
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most, most
    return None
