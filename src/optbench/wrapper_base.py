"""The base for what is put around an optimizer: another gradient, another step, other weights to be judged at.

A wrapper owns no parameters. Its groups are the very dictionaries of the optimizer within, so that schedules act on
that, and its update makes the update of that: `update(closure)` calls `self.drive(closure)` once, with a closure that
it may have changed. Three kinds follow from this:

    the closure is changed      the gradient is another one: cut, or taken elsewhere
    what was moved is changed   before and after `drive`
    weights beside              `answer()` gives those that are judged; `eval()` puts them in place, `train()` back

What it remembers stands in `memory`, which its `state_dict()` has. What it asks of the loop (several closures,
`train()` and `eval()`, batch norm's statistics) stands in its YAML, under `protocol`, as an optimizer's does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

Closure = Callable[[], Any]
_TORCHS = frozenset(("defaults", "param_groups", "drive", "step", "_opt_called"))


class AbstractWrapper(Optimizer, ABC):
    """Something around an optimizer; its `memory` holds lists of one tensor a parameter, in their order, and numbers.

    Args:
        inner: the optimizer within, or another wrapper.

    Attributes:
        drive: makes the update of the optimizer within by a closure; the loop puts its own here, which knows how that
            one is called.
        asked: what it asks of the loop, as its YAML says: keys of `protocol.OptimizerProtocol`.
        name: what it is called.
    """

    asked: Mapping[str, Any] = {}
    name = ""

    def __init__(self, inner: Optimizer) -> None:
        self.inner = inner
        self.memory: dict[str, Any] = {}
        self._away: list[Tensor] | None = None
        super().__init__([p for group in inner.param_groups for p in group["params"]], {})
        self._take_groups()
        self.drive: Callable[[Closure], Any] = lambda closure: inner.step(closure)

    def _take_groups(self) -> None:
        self.param_groups, self.defaults = self.inner.param_groups, self.inner.defaults

    @abstractmethod
    def update(self, closure: Closure) -> None:
        """Makes one update; gradients are switched on.

        Args:
            closure: finds the gradients at the weights as they are; called by `drive`, or by a closure given to it.
        """

    def answer(self) -> list[Tensor] | None:
        """The weights that are judged, one tensor a parameter; None: those that are trained."""
        return None

    def rate(self, group: Mapping[str, Any]) -> float:
        """The learning rate that the next update of a group uses."""
        within = self.inner
        return within.rate(group) if isinstance(within, AbstractWrapper) else group["lr"]

    def step(self, closure: Closure | None = None) -> Any:
        """One update; returns the closure's value at the weights before it. Without a closure the gradients are there
        already."""
        values: list[Any] = []

        def noted() -> Any:
            values.append(None if closure is None else closure())
            return values[-1]

        with torch.enable_grad():
            self.update(noted)
        return values[0] if values else None

    @property
    def parameters(self) -> list[Tensor]:
        """All parameters, in order."""
        return [p for group in self.param_groups for p in group["params"]]

    @property
    def layers(self) -> list[AbstractWrapper]:
        """This one and the wrappers within, the outermost first."""
        within = self.inner
        return [self, *(within.layers if isinstance(within, AbstractWrapper) else ())]

    @property
    def core(self) -> Optimizer:
        """The optimizer within all wrappers."""
        return self.layers[-1].inner

    @torch.no_grad()
    def eval(self) -> None:
        """Puts the weights that are judged in the place of those that are trained."""
        if self._away is not None:
            return
        if isinstance(self.inner, AbstractWrapper) or hasattr(self.inner, "eval"):
            self.inner.eval()
        if (answer := self.answer()) is not None:
            self._away = [p.detach().clone() for p in self.parameters]
            _put(self.parameters, answer)

    @torch.no_grad()
    def train(self) -> None:
        """Puts those that are trained back."""
        if self._away is not None:
            _put(self.parameters, self._away)
            self._away = None
        if isinstance(self.inner, AbstractWrapper) or hasattr(self.inner, "train"):
            self.inner.train()

    @property
    def state(self) -> Any:
        """What is kept of each parameter, by this one and by the optimizer within."""
        found: defaultdict[Any, Any] = defaultdict(dict)
        for parameter, own in self.inner.state.items():
            found[parameter] = dict(own)
        for key, tensors in self.memory.items():
            for parameter, tensor in zip(self.parameters, tensors, strict=True) if isinstance(tensors, list) else ():
                found[parameter][f"{self.name or type(self).__name__}.{key}"] = tensor
        return found

    @state.setter
    def state(self, value: Any) -> None:
        """Of the optimizer within, and `memory`; torch's base class begins with an empty one."""

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimizer within, and what is remembered here."""
        return {"inner": self.inner.state_dict(), "memory": dict(self.memory)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave. Raises ValueError where that is of something else."""
        if not isinstance(state_dict, dict) or set(state_dict) != {"inner", "memory"}:
            raise ValueError(f"expected the state of {type(self).__name__}, with an optimizer's within")
        self.inner.load_state_dict(state_dict["inner"])
        self._take_groups()  # loading makes new dictionaries
        own = self.parameters
        self.memory = {
            key: [_like(t, p) for t, p in zip(kept, own, strict=True)] if isinstance(kept, list) else kept
            for key, kept in state_dict["memory"].items()
        }

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in _TORCHS and not k.startswith(("_optimizer_", "_zero_"))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        AbstractWrapper.__init__(self, state["inner"])
        vars(self).update(state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"


def after(closure: Closure, change: Callable[[], None]) -> Closure:
    """A closure whose gradients are changed once it has found them; `change` is called without gradients."""

    def changed() -> Any:
        loss = closure()
        with torch.no_grad():
            change()
        return loss

    return changed


def with_gradients(parameters: list[Tensor]) -> list[Tensor]:
    """Those that have a gradient."""
    return [p for p in parameters if p.grad is not None]


def copies(tensors: list[Tensor]) -> list[Tensor]:
    """What lies in them now."""
    return [t.detach().clone() for t in tensors]


def _put(places: list[Tensor], values: list[Tensor]) -> None:
    for place, value in zip(places, values, strict=True):
        place.copy_(value)


def _like(kept: Tensor, parameter: Tensor) -> Tensor:
    return kept.detach().to(parameter.device, parameter.dtype, copy=True)
