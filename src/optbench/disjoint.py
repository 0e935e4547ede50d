"""Several optimizers over disjoint parameters as one, Muon on hidden matrices beside AdamW on the rest; and several
schedules over the groups of one optimizer.

Its `param_groups` are the very dictionaries of the parts, one after the other, so that a schedule, which sets `lr` of
every group, acts on all parts; an update computes the loss once and then steps each part. The state is that of the
parts.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from optbench.errors import IncompatibleError


class Together(Optimizer):
    """Optimizers over disjoint parameters.

    Args:
        parts: the optimizers, at least one.

    Raises:
        IncompatibleError: a parameter that two have, or a part that cannot step on gradients that are there, such as
            one that calls its closure several times.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = list(parts)
        for part in self.parts:
            _check_steps_alone(part)
        everything = [p for part in self.parts for group in part.param_groups for p in group["params"]]
        if len({id(p) for p in everything}) < len(everything):
            raise IncompatibleError("a parameter stands in two optimizers", "let each rule have its own parameters")
        super().__init__(everything, {})
        self._take_groups()
        for mode in ("train", "eval"):  # of methods that evaluate at other weights than they train
            if any(hasattr(part, mode) for part in self.parts):
                setattr(self, mode, lambda mode=mode: self._switch(mode))

    def _take_groups(self) -> None:
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def _switch(self, mode: str) -> None:
        for part in self.parts:
            if hasattr(part, mode):
                getattr(part, mode)()

    @property
    def state(self) -> Any:
        """The states of all parts by parameter."""
        found: defaultdict[Any, Any] = defaultdict(dict)
        for part in self.parts:
            found.update(part.state)
        return found

    @state.setter
    def state(self, value: Any) -> None:
        """Of the parts, never of the whole; torch's base class begins with an empty one."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every part by the gradients of one closure; returns what that gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave. Raises ValueError where that is of other parts."""
        states = state_dict.get("parts")
        if not isinstance(states, list) or len(states) != len(self.parts):
            raise ValueError(f"expected the states of {len(self.parts)} optimizers")
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
        self._take_groups()  # loading makes new dictionaries

    def __getstate__(self) -> dict[str, Any]:
        return {"parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["parts"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Together({', '.join(map(repr, self.parts))})"


class Some(Optimizer):
    """Some parameter groups of an optimizer, as a scheduler takes them: it reads and sets their rates and makes no
    update.

    Args:
        whole: the optimizer.
        places: of the groups among its own.
    """

    def __init__(self, whole: Optimizer, places: Sequence[int]) -> None:
        self._whole, self._places, self.defaults = whole, list(places), {}
        self._opt_called = True  # schedulers look whether there was an update, which the whole one makes

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The groups themselves; asked for each time, since loading a state makes new dictionaries."""
        return [self._whole.param_groups[place] for place in self._places]


class Apart:
    """Several schedulers, each over `Some` groups of one optimizer, as one.

    Args:
        optimizer: the whole.
        parts: the schedulers, each stepped once an update.
    """

    def __init__(self, optimizer: Optimizer, parts: Sequence[Any]) -> None:
        self.optimizer, self.parts = optimizer, list(parts)

    def step(self) -> None:
        """One step of each."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of all, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave. Raises ValueError where that is of others."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


def _check_steps_alone(part: Optimizer) -> None:
    closure = inspect.signature(inspect.unwrap(type(part).step)).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise IncompatibleError(
            f"{type(part).__name__} computes the loss as often as it needs, so it cannot share an update",
            "let it have all parameters",
        )
