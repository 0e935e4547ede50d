"""Weights that an optimizer trains at and others that it is judged at: `train()` and `eval()` of an optimizer.

Schedule-free methods take gradients at y, between an average x of what was and the iterate z, and only x is the answer
(Defazio et al., The Road Less Scheduled, 2024). Their `eval()` puts x in the place of y and `train()` puts y back,
computed in floating point: to look twice would leave other weights than to look once. So the weights are kept while
something looks at those of `eval()`, and are put back to the bit: how often a run is evaluated does not change it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


class Modes:
    """An optimizer with `train()` and `eval()`.

    Args:
        optimizer: in either mode.
        module: whose weights it changes.
    """

    def __init__(self, optimizer: Any, module: nn.Module) -> None:
        self._optimizer, self._module = optimizer, module
        self._is_looking = False

    def train(self) -> None:
        """From now on updates are made."""
        self._optimizer.train()

    def end(self) -> None:
        """No update will be made any more: the weights stay those of `eval()`."""
        self._optimizer.eval()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """In it the module has the weights of `eval()`; afterwards it has its own, to the bit."""
        if self._is_looking:
            yield
            return
        own = [p.detach().clone() for p in self._module.parameters()]
        self._is_looking = True
        self._optimizer.eval()
        try:
            yield
        finally:
            self._is_looking = False
            self._optimizer.train()
            with torch.no_grad():
                for parameter, before in zip(self._module.parameters(), own, strict=True):
                    parameter.copy_(before)


@contextlib.contextmanager
def kept_buffers(module: nn.Module) -> Iterator[None]:
    """In it the buffers of a module may be changed; afterwards they are what they were."""
    before = [b.clone() for b in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(module.buffers(), before, strict=True):
                buffer.copy_(value)
