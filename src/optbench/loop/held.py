"""What an optimizer keeps beside its `state_dict()`: counters, random generators, memories as attributes, an optimizer
within.

torch's protocol for going on is `state_dict()` and `load_state_dict()`, and people forget in it what they keep as
attributes: the run goes on, and its numbers are others. So attributes that are plain values, tensors, random generators
and optimizers are part of a checkpoint too. What belongs to the module or stands in the state already is left out, and
so is what never changes by itself (functions, modules).

And torch's `load_state_dict` gives floating-point state the dtype of its parameter: a sum that is kept in double
precision beside weights in single precision comes back rounded. Here it comes back as it was.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optbench.disjoint import Together
from optbench.wrapper_base import AbstractWrapper

_KNOWN = ("torch.optim.", "optbench.")
_TORCHS = frozenset({"defaults", "state", "param_groups", "_patch_step_function", "_opt_called"})
_PLAIN = (bool, int, float, str, type(None))
_NOTHING = object()
_PYTHON, _TORCH, _NUMPY, _INNER = "random.Random", "torch.Generator", "numpy.random", "optimizer"


def held(optimizer: torch.optim.Optimizer, within: frozenset[int] = frozenset()) -> dict[str, Any]:
    """The attributes of an optimizer that a checkpoint has to have, as tensors and plain values.

    Args:
        optimizer: of torch's and this package's classes it is known that there are none.
        within: addresses of the optimizers that hold it.
    """
    if isinstance(optimizer, Together):
        kept = {str(i): held(part) for i, part in enumerate(optimizer.parts)}
        return kept if any(kept.values()) else {}
    if isinstance(optimizer, AbstractWrapper):
        inside = held(optimizer.inner, within | {id(optimizer)})
        own = _of_wrapper(optimizer)
        return ({"inner": inside} if inside else {}) | ({"own": own} if own else {})
    if type(optimizer).__module__.startswith(_KNOWN):
        return {}
    taken, within = _taken(optimizer), within | {id(optimizer)}
    own = {k: v for k, v in vars(optimizer).items() if k not in _TORCHS and not k.startswith(("_optimizer_", "_zero_"))}
    packed = {key: _packed(value, taken, within) for key, value in own.items()}
    return {key: value for key, value in packed.items() if value is not _NOTHING}


def restore_state(optimizer: torch.optim.Optimizer, kept: Mapping[str, Any]) -> None:
    """Goes on from a `state_dict()`, each tensor of it in the dtype that it had."""
    optimizer.load_state_dict(dict(kept))
    _keep_dtypes(optimizer, kept)


def _keep_dtypes(optimizer: torch.optim.Optimizer, kept: Mapping[str, Any]) -> None:
    if isinstance(optimizer, Together):
        for part, state in zip(optimizer.parts, kept["parts"], strict=True):
            _keep_dtypes(part, state)
    elif isinstance(optimizer, AbstractWrapper):
        _keep_dtypes(optimizer.inner, kept["inner"])
    elif isinstance(kept.get("state"), Mapping) and isinstance(kept.get("param_groups"), list):  # torch's form
        numbers = [number for group in kept["param_groups"] for number in group["params"]]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for number, parameter in zip(numbers, parameters, strict=False):
            if number in kept["state"] and parameter in optimizer.state:
                _as_kept(optimizer.state[parameter], kept["state"][number])


def _as_kept(loaded: Any, kept: Any) -> Any:
    """What was loaded, with the tensors of another dtype than was kept in place of those."""
    if isinstance(loaded, Tensor) and isinstance(kept, Tensor):
        rounded = loaded.dtype != kept.dtype and loaded.shape == kept.shape
        return kept.detach().to(loaded.device, copy=True) if rounded else loaded
    if isinstance(loaded, dict) and isinstance(kept, Mapping):
        loaded |= {key: _as_kept(loaded[key], kept[key]) for key in loaded.keys() & kept.keys()}
    elif type(loaded) in (list, tuple) and type(kept) is type(loaded) and len(loaded) == len(kept):
        parts = [_as_kept(one, other) for one, other in zip(loaded, kept, strict=True)]
        if isinstance(loaded, tuple):
            return tuple(parts)
        loaded[:] = parts
    return loaded


def restore_held(optimizer: torch.optim.Optimizer, kept: Mapping[str, Any]) -> None:
    """Goes on from what `held` gave."""
    if isinstance(optimizer, Together):
        for key, value in kept.items():
            restore_held(optimizer.parts[int(key)], value)
        return
    if isinstance(optimizer, AbstractWrapper):
        restore_held(optimizer.inner, kept.get("inner", {}))
        kept = kept.get("own", {})
    own = vars(optimizer)
    for key, value in kept.items():
        if key in own:
            own[key] = _unpacked(own[key], value, optimizer)
        elif not isinstance(value, dict) or "kind" not in value:
            own[key] = value


def _of_wrapper(wrapper: AbstractWrapper) -> dict[str, Any]:
    """What a wrapper that is not this package's keeps beside its memory and the optimizer within."""
    if type(wrapper).__module__.startswith(_KNOWN):
        return {}
    elsewhere = {*_TORCHS, "inner", "memory", "drive", "asked", "_away"}
    own = {k: v for k, v in vars(wrapper).items() if k not in elsewhere and not k.startswith(("_optimizer_", "_zero_"))}
    packed = {key: _packed(value, _taken(wrapper), frozenset({id(wrapper)})) for key, value in own.items()}
    return {key: value for key, value in packed.items() if value is not _NOTHING}


def _taken(optimizer: torch.optim.Optimizer) -> set[int]:
    """Addresses of tensors that lie elsewhere: parameters, their gradients, the state."""
    found: set[int] = set()
    for group in optimizer.param_groups:
        for p in group["params"]:
            found |= {id(p), p.data_ptr()} | (set() if p.grad is None else {id(p.grad)})
    return found | {address for t in _tensors(list(optimizer.state.values())) for address in (id(t), t.data_ptr())}


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _packed(value: Any, taken: set[int], within: frozenset[int]) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Tensor):
        own = id(value) in taken or (value.numel() and value.data_ptr() in taken) or value.grad_fn is not None
        return _NOTHING if own else value.detach()
    if isinstance(value, torch.optim.Optimizer):
        if id(value) in within:
            return _NOTHING
        return {"kind": _INNER, "state": value.state_dict(), "held": held(value, within)}
    if isinstance(value, torch.Generator):
        return {"kind": _TORCH, "state": value.get_state()}
    if isinstance(value, random.Random):
        return {"kind": _PYTHON, "state": json.dumps(value.getstate())}
    if isinstance(value, np.random.Generator | np.random.RandomState):
        state = value.bit_generator.state if isinstance(value, np.random.Generator) else value.get_state(legacy=False)
        return {"kind": _NUMPY, "state": json.dumps(state, default=lambda array: array.tolist())}
    return _packed_all(value, taken, within)


def _packed_all(value: Any, taken: set[int], within: frozenset[int]) -> Any:
    """Lists and dictionaries of plain values and tensors; nothing of what holds anything else."""
    if isinstance(value, dict) and all(isinstance(key, str | int) for key in value):
        inside = {key: _packed(each, taken, within) for key, each in value.items()}
        return _NOTHING if any(each is _NOTHING for each in inside.values()) else inside
    if type(value) in (list, tuple):
        parts = [_packed(each, taken, within) for each in value]
        return _NOTHING if any(each is _NOTHING for each in parts) else type(value)(parts)
    return _NOTHING


def _unpacked(own: Any, kept: Any, outer: torch.optim.Optimizer) -> Any:
    """The value of an attribute that goes on from what was kept; objects stay the same objects."""
    kind = kept.get("kind") if isinstance(kept, dict) else None
    if kind == _INNER:
        shared = own.param_groups is outer.param_groups or own.state is outer.state
        restore_state(own, kept["state"])
        restore_held(own, kept["held"])
        if shared:  # the two have one list of groups, whose rates a schedule sets
            own.param_groups = outer.param_groups
    elif kind == _PYTHON:
        version, numbers, gauss = json.loads(kept["state"])
        own.setstate((version, tuple(numbers), gauss))
    elif kind == _TORCH:
        own.set_state(kept["state"].cpu())
    elif kind == _NUMPY and isinstance(own, np.random.Generator):
        own.bit_generator.state = json.loads(kept["state"])
    elif kind == _NUMPY:
        own.set_state(json.loads(kept["state"]))
    elif isinstance(kept, Tensor) and isinstance(own, Tensor) and own.shape == kept.shape:
        with torch.no_grad():
            own.copy_(kept)
    elif isinstance(kept, Tensor):
        return kept.to(outer.param_groups[0]["params"][0].device)
    else:
        return kept
    return own
