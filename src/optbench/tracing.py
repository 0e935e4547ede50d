"""Torch's own run of a piece of code, listened to: beside the numbers lie symbols, which say what each number is.

The code cannot tell such a run from any other: its tensors are like all tensors, so `isinstance`, `is`, shapes, views
and operations in place mean what they always mean, and what does not depend on the input (constants of any type, from
anywhere) is computed by torch as always. Beside the number that torch computes, each place of each storage holds a
symbol: a float, which is the number itself, or whatever stands for a number that depends on the input. So views need
no rules: they lie in a storage that has its symbols already. Nor do operations that only move numbers: they are done to
the numbers of the places. Every other operation is asked of a subclass, which knows what its symbols are.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Symbols = NDArray[np.object_]

NO_VALUES = frozenset({"ones_like", "zeros_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full",
                       "new_empty", "new_empty_strided"})  # fmt: skip
"""Operations that see nothing of their operand but its shape."""
_EMPTY = frozenset({"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"})
_MOVES = frozenset({"cat", "clone", "concat", "contiguous", "flip", "gather", "index", "index_put", "index_select",
                    "repeat", "reshape", "_reshape_copy", "roll", "scatter", "select_backward", "slice_backward",
                    "stack", "tril", "triu", "_unsafe_view", "zero"})  # fmt: skip
_INDEX = {"index": 1, "index_put": 1, "index_select": 2, "gather": 2, "scatter": 2}
"""Which argument of a move is no number to be moved but says where to."""


class Opaque:
    """The symbol of a number that must not be used, with the reason: the place of the largest coordinate."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class SymbolTracer(TorchDispatchMode):
    """Keeps the symbols of tracked tensors up to date with what is done to these; use within `with`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler (2 s) to keep it away from here

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages: dict[int, Symbols] = {}
        self._alive: list[Tensor] = []

    @abstractmethod
    def lower(self, name: str, args: Any, kwargs: Any) -> Any:
        """What an operation returns, as symbols: an array, or one for each tensor that it returns.

        Args:
            name: of torch.ops.aten, without overload and without the underscore of operations in place.
            args, kwargs: as torch has them, with arrays of symbols in place of tensors.
        """

    @abstractmethod
    def refuse(self, name: str, words: str) -> Exception:
        """The error to raise where an operation cannot be followed; `words`: what it is."""

    def constants(self, tensor: Tensor) -> Symbols:
        """The symbols of a tensor that does not depend on the input: its numbers."""
        out = np.empty(tuple(tensor.shape), dtype=object)
        out.reshape(-1)[:] = tensor.detach().to(torch.float64).reshape(-1).tolist()
        return out

    def checked(self, name: str, tensor: Tensor, symbols: Symbols) -> Symbols:
        """The symbols of a tensor that an operation has made, in its shape."""
        return np.broadcast_to(symbols, tuple(tensor.shape))

    def track(self, tensor: Tensor, symbols: Symbols) -> None:
        """Says what a tensor that has a storage of its own holds."""
        self._storages[_key(tensor)] = np.full(_length(tensor), 0.0, dtype=object)
        self._alive.append(tensor)  # a storage must not be used again
        self._view(tensor)[...] = symbols

    def tracks(self, tensor: Tensor) -> bool:
        """Whether the tensor lies in a storage that holds symbols."""
        return _key(tensor) in self._storages

    def symbols(self, tensor: Tensor) -> Symbols:
        """What the tensor holds; numbers where it does not depend on the input."""
        return np.array(self._view(tensor)) if self.tracks(tensor) else self.constants(tensor)

    def _view(self, tensor: Tensor) -> Symbols:
        flat = self._storages[_key(tensor)]
        strides = [flat.itemsize * s for s in tensor.stride()]
        return np.lib.stride_tricks.as_strided(flat[tensor.storage_offset() :], tuple(tensor.shape), strides)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise self.refuse(name, f"a random number (torch.{name.rstrip('_')})")
        if name in NO_VALUES or not self._depends((args, kwargs)):
            if (
                name == "_efficientzerotensor"
            ):  # autograd's zeros without storage, which come out of an operation on "meta"
                return torch.zeros(*args, **kwargs)
            result = func(*args, **kwargs)
            return result.fill_(float("nan")) if name in _EMPTY and result.is_floating_point() else result
        mutates = func._schema.is_mutable
        base = name[:-1] if mutates and name.endswith("_") else name
        target = args[0] if mutates else None
        plain = self._plain(args), self._plain(kwargs)  # as they are before the operation
        if target is not None and not self.tracks(target):
            self._adopt(target)
        result = func(*args, **kwargs)
        if target is None and self._is_view(name, result, args):
            return result
        lowered = self._lowered(func, base, args, *plain)
        if target is not None:
            self._view(target)[...] = self.checked(name, target, np.asarray(lowered, dtype=object))
        elif isinstance(result, Tensor):
            self.track(result, self.checked(name, result, lowered))
        else:
            for tensor, symbols in zip(result, lowered, strict=True):
                self.track(tensor, self.checked(name, tensor, symbols))
        return result

    def _lowered(self, func: Any, name: str, args: Any, plain: Any, options: Any) -> Any:
        if "out" in func._overloadname.split("_"):
            raise self.refuse(name, f"torch.{name}")
        if name in ("copy", "fill"):
            return plain[1] if isinstance(plain[1], np.ndarray) else np.asarray(float(plain[1]), dtype=object)
        return self._moved(func, name, args, plain, options) if name in _MOVES else self.lower(name, plain, options)

    def _moved(self, func: Any, name: str, args: Any, plain: Any, options: Any) -> Symbols:
        """What an operation that only moves numbers about makes of the symbols; what it fills with is 0."""
        if name == "index_put" and (options.get("accumulate") or plain[3:4] == (True,)):
            raise self.refuse(name, "torch.index_put with accumulate=True")
        held: list[Symbols] = [np.full(1, 0.0, dtype=object)]

        def places(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(map(places, value))
            if not isinstance(value, np.ndarray):
                return value
            first = sum(map(len, held))
            held.append(value.reshape(-1))
            return torch.arange(first, first + value.size).reshape(value.shape)

        at = _INDEX.get(name)
        if at is not None and self._depends(args[at]):
            raise self.refuse(name, _why_no_index(plain[at]))
        if name == "scatter" and not isinstance(plain[3], np.ndarray):
            plain = (*plain[:3], np.full(tuple(args[2].shape), float(plain[3]), dtype=object))
        moved = func.overloadpacket(
            *(args[i] if i == at else places(value) for i, value in enumerate(plain)), **options
        )
        return np.asarray(np.concatenate(held)[moved.numpy()], dtype=object)

    def _is_view(self, name: str, result: Any, args: Any) -> bool:
        """Whether the result lies in the storage of an argument, where its symbols are already."""
        tensors = [r for r in (result if isinstance(result, list | tuple) else [result]) if isinstance(r, Tensor)]
        if not tensors or not all(map(self.tracks, tensors)):
            return False
        if any(t.dtype != args[0].dtype for t in tensors):
            raise self.refuse(name, f"a view as {tensors[0].dtype}")
        return True

    def _adopt(self, tensor: Tensor) -> None:
        """Symbols for the whole storage of a constant that something which depends on the input is written into."""
        whole = tensor.as_strided((_length(tensor),), (1,), 0)
        self.track(whole, self.constants(whole))

    def _depends(self, value: Any) -> bool:
        if isinstance(value, Tensor):
            return self.tracks(value)
        if isinstance(value, dict):
            return any(map(self._depends, value.values()))
        return isinstance(value, list | tuple) and any(map(self._depends, value))

    def _plain(self, value: Any) -> Any:
        """The same arguments with symbols in place of tensors."""
        if isinstance(value, Tensor):
            return self.symbols(value)
        if isinstance(value, dict):
            return {k: self._plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._plain(v) for v in value)
        return value


def _why_no_index(index: Any) -> str:
    arrays = [index] if isinstance(index, np.ndarray) else [a for a in index if a is not None]
    reasons = (symbol.reason for array in arrays for symbol in array.flat if isinstance(symbol, Opaque))
    return next(reasons, "an index or a mask that depends on x")


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _length(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes() // tensor.itemsize


# arrays of symbols ----------------------------------------------------------------------------------------------------


def each(function: Callable[..., Any], *arrays: Symbols) -> Symbols:
    """function of the elements of arrays that broadcast against each other."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    flat = [(a if a.shape == shape else np.broadcast_to(a, shape)).reshape(-1).tolist() for a in arrays]
    out = np.empty(math.prod(shape), dtype=object)
    out[:] = [function(*elements) for elements in zip(*flat, strict=True)]
    return out.reshape(shape)


def axes_of(x: Symbols, dim: Any) -> list[int]:
    """The axes that an argument `dim` of torch's names, counted from 0."""
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return list(range(x.ndim))
    return sorted(d % x.ndim for d in ([dim] if isinstance(dim, int) else dim)) if x.ndim else []


def fold(rule: Callable[[Any, Any], Any], x: Symbols, dim: Any, keepdim: bool = False) -> Symbols:
    """An associative operation along some axes, from the first element to the last; there must be one."""
    axes = axes_of(x, dim)
    rest = [d for d in range(x.ndim) if d not in axes]
    shape = tuple(x.shape[d] for d in rest)
    lines = x.transpose(rest + axes).reshape(*shape, -1)
    out = np.empty(shape, dtype=object)
    for place in np.ndindex(shape):
        out[place] = functools.reduce(rule, lines[place])
    return np.expand_dims(out, tuple(axes)) if keepdim else out
