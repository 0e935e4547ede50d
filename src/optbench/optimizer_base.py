"""Bases for optimizers of one's own: the mechanics of torch's optimizers once, so that a leaf is its formula.

    AbstractOptimizer       owns `step`: the closure, parameter groups, parameters without a gradient, what is refused
                            before anything has moved, complex parameters as pairs of real numbers, older states
    AbstractPureOptimizer   owns the state as well: a leaf names its memories and states one pure update on tensors

The pure update serves three users: `step` here, the rows of a sweep (many runs as one array program), and whoever reads
it. torch's conventions hold: `lr` may be a tensor, groups and defaults may be changed between two steps, state tensors
keep their storage, and `load_state_dict` takes states whose step is a plain number or whose groups lack newer options.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

Group = dict[str, Any]
Memory = Mapping[str, Tensor]
"""The memories of a leaf by name, each of the parameter's shape."""
Hyper = Mapping[str, Any]
"""The options of a group; numbers may be tensors that broadcast against the parameter, one value a run."""
Next = tuple[Tensor, dict[str, Tensor]]
"""The parameter and its memories after an update."""


class AbstractOptimizer(Optimizer, ABC):
    """An optimizer whose subclass says what one update does to the parameters of one group.

    Args:
        params: parameters or parameter groups, as for every torch optimizer.
        defaults: options of a group, with `lr`.

    Raises:
        ValueError: a learning rate, a weight decay or an eps below 0, a beta outside [0, 1), or no number.
    """

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        for key, name in (("lr", "learning rate"), ("weight_decay", "weight_decay value"), ("eps", "epsilon value")):
            if key in defaults and not defaults[key] >= 0.0:
                raise ValueError(f"Invalid {name}: {defaults[key]}, expected at least 0")
        for index, beta in enumerate(defaults.get("betas", ())):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {index}: {beta}, expected 0 <= beta < 1")
        super().__init__(params, defaults)

    @abstractmethod
    def update(self, parameters: Sequence[Tensor], group: Group) -> None:
        """Moves the parameters, all of which have a gradient; gradients are switched off.

        Args:
            parameters: of the group.
            group: its options, some of which a scheduler may have changed.
        """

    def refuse(self, parameter: Tensor) -> None:
        """Looks at a parameter and its gradient before anything moves; the default refuses sparse gradients.

        Raises:
            RuntimeError: this optimizer cannot move it.
        """
        if parameter.grad is not None and parameter.grad.is_sparse:
            raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update; returns the closure's value (the loss before the update), if there is a closure.

        Raises:
            RuntimeError: a parameter is refused; none has moved.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = [[p for p in group["params"] if p.grad is not None] for group in self.param_groups]
        for parameters in moving:
            for parameter in parameters:
                self.refuse(parameter)
        for group, parameters in zip(self.param_groups, moving, strict=True):
            self.update(parameters, group)
        return loss

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes a state, also an older one: options that it lacks are the defaults, plain numbers become tensors."""
        super().__setstate__(state)
        for group in self.param_groups:
            for key, value in self.defaults.items():
                group.setdefault(key, value)
        for own in self.state.values():
            if "step" in own and not isinstance(own["step"], Tensor):
                own["step"] = torch.tensor(own["step"])


class AbstractPureOptimizer(AbstractOptimizer):
    """An optimizer that is a pure, elementwise update.

    A subclass sets `memories`, writes `pure`, and has an `__init__` that names its options:

        class SignDescent(AbstractPureOptimizer):
            memories = ()

            def __init__(self, params, lr=1e-3):
                super().__init__(params, {"lr": lr})

            @staticmethod
            def pure(x, gradient, memory, hyper, t):
                return x - hyper["lr"] * gradient.sign(), {}

    Attributes:
        memories: names of the tensors, of the parameter's shape and 0 at the start, that it carries along.
        decay: how an option `weight_decay` (lambda) acts, before `pure` sees anything: "coupled" adds lambda x to the
            gradient, "decoupled" multiplies x by 1 - lr lambda, "none" leaves it to `pure`.

    Options that every leaf has, as entries of a group or of the defaults: `maximize`, which turns the gradient round,
    and `foreach`. Where that is not said, small parameters are updated together and, on a CPU, large ones in parts, ten
    thousands of numbers at a time: few operations, and what they make on the way stays in the cache. False: each
    parameter by itself; true: all of a group as one long vector, for a copy of them, their gradients and memories. None
    of this changes a bit, since updates are elementwise.
    """

    memories: ClassVar[tuple[str, ...]]
    decay: ClassVar[Literal["none", "coupled", "decoupled"]] = "none"

    @staticmethod
    @abstractmethod
    def pure(x: Tensor, gradient: Tensor, memory: Memory, hyper: Hyper, t: Tensor) -> Next:
        """The next x and the next memories; elementwise, and nothing is changed in place.

        Args:
            x: parameters, any shape, real.
            gradient: of x's shape.
            memory: each of x's shape.
            hyper: the options of the group; numbers may be tensors that broadcast against x, one value a run.
            t: number of the update, 0, 1, 2 ...
        """

    @classmethod
    def advance(cls, x: Tensor, gradient: Tensor, memory: Memory, hyper: Hyper, t: Tensor) -> Next:
        """`pure` with the weight decay and the direction that the options ask for; arguments as there."""
        if hyper.get("maximize", False):
            gradient = -gradient
        weight = hyper.get("weight_decay", 0.0)
        if cls.decay != "none" and (isinstance(weight, Tensor) or weight != 0.0):
            if cls.decay == "coupled":
                gradient = gradient + weight * x
            else:
                x = x * (1.0 - hyper["lr"] * weight)
        return cls.pure(x, gradient, memory, hyper, t)

    def kept(self, group: Group) -> Sequence[str]:
        """The memories that a group needs; `pure` is given an empty tensor for the others."""
        return self.memories

    def update(self, parameters: Sequence[Tensor], group: Group) -> None:
        kept, foreach = self.kept(group), group.get("foreach")
        states = [self._state_of(p, kept) for p in parameters]
        one_by_one = foreach is False or (foreach is None and len(parameters) == 1)
        for which in [[i] for i in range(len(parameters))] if one_by_one else _alike(parameters, states):
            pieces: Iterable[_Piece] = (_piece(parameters[i], states[i], kept) for i in which)
            if foreach is None and parameters[which[0]].device.type == "cpu":
                size = _FEW * torch.get_num_threads()
                pieces = (part for piece in pieces for part in _cut(piece, size))
            t = states[which[0]]["step"]
            for bundle in [list(pieces)] if foreach else _bundled(pieces):
                self._update_together(bundle, kept, group, t)
        for state in states:
            state["step"] += 1

    def _update_together(self, pieces: Sequence[_Piece], kept: Sequence[str], group: Group, t: Tensor) -> None:
        """Moves pieces that are alike: one as it is, several as one vector."""
        nothing = pieces[0][0].new_empty(0)
        xs, gradients, *olds = zip(*pieces, strict=True)
        memory = dict.fromkeys(self.memories, nothing) | {n: _joined(old) for n, old in zip(kept, olds, strict=True)}
        following, remembered = self.advance(_joined(xs), _joined(gradients), memory, group, t)
        _put(following, xs)
        for name, old in zip(kept, olds, strict=True):
            _put(remembered[name], old)

    def _state_of(self, parameter: Tensor, kept: Sequence[str]) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if "step" not in state:
            state["step"] = torch.zeros((), dtype=torch.int64, device=parameter.device)
        for name in kept:
            if name not in state:
                state[name] = torch.zeros_like(parameter)
        return state


def moved(x: Tensor, direction: Tensor, lr: float | Tensor) -> Tensor:
    """x - lr direction; with one rounding where lr is a number, as torch's own optimizers move."""
    return x - lr * direction if isinstance(lr, Tensor) else torch.sub(x, direction, alpha=lr)


def _real(x: Tensor) -> Tensor:
    """x, or a view of its real and imaginary parts."""
    return torch.view_as_real(x) if x.is_complex() else x


_Piece = Sequence[Tensor]
"""Numbers of a parameter, of its gradient and of its memories, in the same order."""
_FEW = 1 << 15
"""Numbers that a thread updates together, so that what an update makes on the way stays in the cache of a core. torch
begins to share an operation among threads at as many."""


def _piece(parameter: Tensor, state: Mapping[str, Any], kept: Sequence[str]) -> _Piece:
    gradient = parameter.grad
    assert gradient is not None
    return [_real(one) for one in (parameter, gradient, *(state[name] for name in kept))]


def _cut(piece: _Piece, size: int) -> Iterable[_Piece]:
    """A large piece as vectors of so many numbers, if all that it is of lie in memory in one way; else as it is."""
    if piece[0].numel() <= size:
        return [piece]
    order = _order(piece[0])
    if order is None or any(one.stride() != piece[0].stride() for one in piece):
        return [piece]
    return zip(*(one.permute(order).view(-1).split(size) for one in piece), strict=True)


def _order(x: Tensor) -> list[int] | None:
    """The dimensions in the order in which the numbers lie in memory; None where there are gaps."""
    order = sorted(range(x.ndim), key=lambda i: x.stride(i), reverse=True)
    return order if x.permute(order).is_contiguous() else None


def _bundled(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Small pieces put together, up to _FEW numbers; larger ones by themselves."""
    bundle: list[_Piece] = []
    count = 0
    for piece in pieces:
        size = piece[0].numel()
        if bundle and count + size > _FEW:
            yield bundle
            bundle, count = [], 0
        bundle.append(piece)
        count += size
    if bundle:
        yield bundle


def _alike(parameters: Sequence[Tensor], states: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Numbers of the parameters that one vector can hold: of one kind, and with as many updates behind them."""
    found: dict[Any, list[int]] = {}
    made = torch.stack([state["step"].cpu() for state in states]).tolist() if states else []
    for i, (parameter, t) in enumerate(zip(parameters, made, strict=True)):
        found.setdefault((_real(parameter).dtype, parameter.device, t), []).append(i)
    return list(found.values())


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat([one.reshape(-1) for one in tensors])


def _put(vector: Tensor, places: Sequence[Tensor]) -> None:
    """Takes apart what `_joined` made, in place."""
    if len(places) == 1:
        if vector.shape != places[0].shape:  # copy_ would spread it
            raise RuntimeError(f"an update gave {tuple(vector.shape)} for {tuple(places[0].shape)}")
        places[0].copy_(vector)
        return
    for part, place in zip(vector.split([one.numel() for one in places]), places, strict=True):
        place.copy_(part.view(place.shape))
