"""What the steps measured, left on the device until several are fetched together.

To read a number from an accelerator is to wait until all the work that it was given is done, and it stands idle until
the next step is given to it. So a step leaves its loss and gradient norm where they are, and every few steps they are
fetched in one transfer. On a CPU there is nothing to wait for: there each step is looked at as it is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from optbench.loop.progress import Row

EVERY = 16
"""Steps between looks where looking costs a wait."""


class Readings:
    """Rows whose loss and gradient norm were not looked at yet, in order.

    Args:
        every: how many are fetched together.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.waiting: list[tuple[Row, Tensor, Tensor]] = []

    def add(self, row: Row, loss: Tensor, norm: Tensor) -> None:
        """Notes what the step of a row measured, two scalars on the device."""
        self.waiting.append((row, loss, norm))

    @property
    def full(self) -> bool:
        """Whether it is time to look."""
        return len(self.waiting) >= self.every

    def fetch(self) -> Iterator[tuple[Row, float, float]]:
        """The rows with their loss and norm, in one transfer; they no longer wait."""
        waiting, self.waiting = self.waiting, []
        if len(waiting) == 1:
            ((row, loss, norm),) = waiting
            yield row, loss.item(), norm.item()
        elif waiting:
            numbers = torch.stack([*(loss for _, loss, _ in waiting), *(norm for _, _, norm in waiting)]).tolist()
            count = len(waiting)
            yield from zip((row for row, _, _ in waiting), numbers[:count], numbers[count:], strict=True)


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients as one vector, a scalar on their device, without history."""
    if not gradients:
        return torch.zeros(())
    first = gradients[0]
    if len(gradients) == 1:  # a surface's: the general way costs more than the update
        norm = torch.linalg.vector_norm(first)
    elif first.device.type in _FUSED and all(_alike(g, first) for g in gradients):
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    else:  # the same, after sorting the gradients by device and type
        norm = get_total_norm(gradients)
    detached: Tensor = norm.detach()
    return detached


_FUSED = ("cpu", "cuda")


def _alike(a: Tensor, b: Tensor) -> bool:
    return type(a) is Tensor and a.dtype is b.dtype and a.device == b.device


def on_host(value: Any) -> Any:
    """A copy of nested mappings and lists with their tensors copied to the CPU's memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: on_host(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(on_host, value))
    return value
