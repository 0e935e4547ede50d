"""What an optimizer does not declare and cannot do without: seen as its first step looks at gradients too early, or
found by trying when that step broke.

`step(closure)` computes gradients by calling its closure, and before that there are none of the current weights. A
class that looks at them earlier wants them ready (SAM of pytorch_optimizer), and who drives it as if it did not trains
with another method than its name says, without a word. And where the first step of a class raises something of its own,
the other ways of driving it are tried, so that the run ends with the one that it lacks.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from optbench.protocol import KEY, OptimizerProtocol

_GRAD: Any = torch.Tensor.grad
_FORGETTING = "zero_grad"


@dataclass
class Look:
    """Whether gradients were looked at.

    Attributes:
        open: whether that counts now.
        found: whether they were, other than to forget them.
    """

    open: bool = True
    found: bool = False


@functools.cache
def _watched_class(kind: type[Tensor]) -> Any:
    """A class of parameters whose looks at `grad` are noted in `look`, an attribute of each."""

    def read(self: Any) -> Tensor | None:
        look: Look | None = vars(self).get("_look")
        if look is not None and look.open and sys._getframe(1).f_code.co_name != _FORGETTING:
            look.found = True
        found: Tensor | None = _GRAD.__get__(self)
        return found

    def write(self: Any, value: Tensor | None) -> None:
        _GRAD.__set__(self, value)

    def delete(self: Any) -> None:
        _GRAD.__delete__(self)

    return type(kind.__name__, (kind,), {"grad": property(read, write, delete)})


@contextlib.contextmanager
def looking(optimizer: torch.optim.Optimizer) -> Iterator[Look]:
    """Notes looks at the gradients of an optimizer's parameters; the parameters are then what they were."""
    look, before = Look(), []
    try:
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            before.append((parameter, parameter.__class__))
            parameter.__class__ = _watched_class(parameter.__class__)
            parameter._look = look
        yield look
    finally:
        for parameter, kind in before:
            parameter.__class__ = kind
            del parameter._look


_WAYS: tuple[Mapping[str, Any], ...] = (
    {"backward": "create_graph"},
    {"closure": "again"},
    {"closure": "loss"},
    {"closure": "float"},
    {"closure": "none"},
    {"closure": "again", "backward": "create_graph"},
)
_LAYOUT = "view size is not compatible"
_NEVER: tuple[tuple[str, str, str], ...] = (
    (
        "backward through the graph a second time",
        "goes backward through the loss itself, and its closure has done that",
        "leave its own backward pass out: the gradients are there once closure() returns",
    ),
    (
        "measured() got an unexpected keyword",
        "calls its closure with arguments, and a closure takes none",
        "call closure(), which computes loss and gradients",
    ),
    (
        "measured() takes 0 positional arguments",
        "calls its closure with arguments, and a closure takes none",
        "call closure(), which computes loss and gradients",
    ),
)
"""What no declaration helps: words of the error, what that is, and what to do."""


def wants_graph(error: Exception, protocol: OptimizerProtocol) -> bool:
    """Whether an update broke since it differentiates the gradients, and nothing declares that."""
    words = str(error)
    graph = "does not have a grad_fn" in words or "does not have grad_fn" in words or "create_graph" in words
    return protocol.backward == "plain" and isinstance(error, RuntimeError) and graph


Again = Callable[[OptimizerProtocol], bool]
"""Makes a first step of an optimizer, driven as a protocol says; whether that moved the weights. May raise."""


def explained(name: str, said: OptimizerProtocol, error: Exception, again: Again) -> tuple[str, str] | None:
    """Why the first step of an optimizer broke, and what to do; None: that is not known.

    Args:
        name: of its class.
        said: its protocol, as far as it was declared and seen.
        error: that the step raised.
        again: tries another one.
    """
    words = str(error)
    for signs, what, hint in _NEVER:
        if signs in words:
            return f"{name}.step {what}", hint
    if (lacks := _declaration(said, error, again)) is None:
        return None
    first = (words.strip().splitlines() or [""])[0][:160]
    what = f"{name}.step broke ({type(error).__name__}: {first})"
    return what, f"with {lacks} it does not: declare it if that is meant"


def _declaration(said: OptimizerProtocol, error: Exception, again: Again) -> str | None:
    """What an optimizer has to declare, as overrides; None: nothing that was tried serves."""
    if _LAYOUT in str(error) and said.layout == "any":
        return f"optimizer.{KEY}.layout=contiguous"
    for way in _WAYS:
        tried = replace(said, **way)
        with contextlib.suppress(Exception):  # anyone's code, driven as it was not meant
            if tried != said and again(tried):
                return " ".join(f"optimizer.{KEY}.{key}={value}" for key, value in way.items())
    return None
