"""A surface's code, run once by torch itself on ordinary tensors while every operation that reaches it is written down.

The code cannot tell this run from any other: x is a tensor like all tensors, so `isinstance`, `is`, shapes, views and
operations in place mean what they always mean, and what does not depend on x (constants of any type, from anywhere) is
computed by torch as always. Beside the number that torch computes, each place of each storage holds a symbol: what the
number is as an expression in x. An operation on symbols is looked up in `operations`; what is not found there ends the
run with its name, and so does everything that would take a number out of x (`if`, `float()`, `.item()`, NumPy): nothing
is ever answered for all x by looking at one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from optbench.critical.programs import activations, logits, shapes  # noqa: F401  they fill the table of operations
from optbench.critical.programs.operations import LOWERINGS, REFUSED, Opaque
from optbench.critical.programs.scalar import MissingRule

Symbols = NDArray[np.object_]  # of a Scalar, a float or an Opaque in each place

_NO_VALUES = frozenset({"ones_like", "zeros_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full",
                        "new_empty", "new_empty_strided"})  # fmt: skip
_EMPTY = frozenset({"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"})
_ESCAPES = frozenset({"__array__", "__cuda_array_interface__", "__deepcopy__", "__dlpack__", "__reduce_ex__",
                      "_typed_storage", "data_ptr", "numpy", "share_memory_", "storage", "tolist",
                      "untyped_storage"})  # fmt: skip
"""Ways out of a tensor that never reach the dispatcher."""
NUMBER = "a number taken out of x, or a decision that depends on it (if, float(), int(), .item(), NumPy, math)"


class Tracer(TorchDispatchMode):
    """Writes down what is done to tracked tensors; use within `with`, and `check` afterwards."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler (2 s) to keep it away from here

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages: dict[int, Symbols] = {}
        self._alive: list[Tensor] = []
        self._refused: MissingRule | None = None
        self._exits = _Exits(self)

    def __enter__(self) -> Tracer:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._exits.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._exits.__exit__(*error)  # type: ignore[no-untyped-call]
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def check(self) -> None:
        """Raises what was refused, also if the surface's code has caught it and gone on."""
        if self._refused is not None:
            raise self._refused

    def refuse(self, reason: str) -> MissingRule:
        """The error to raise; the first one is kept."""
        error = MissingRule(reason)
        self._refused = self._refused or error
        return error

    def track(self, tensor: Tensor, symbols: Symbols) -> None:
        """Says what a tensor that has a storage of its own holds."""
        self._storages[_key(tensor)] = np.full(_length(tensor), 0.0, dtype=object)
        self._alive.append(tensor)  # a storage must not be used again
        self._view(tensor)[...] = symbols

    def tracks(self, tensor: Tensor) -> bool:
        """Whether the tensor lies in a storage that holds symbols."""
        return _key(tensor) in self._storages

    def symbols(self, tensor: Tensor) -> Symbols:
        """What the tensor holds; numbers where it does not depend on x."""
        return np.array(self._view(tensor)) if self.tracks(tensor) else _constants(tensor)

    def _view(self, tensor: Tensor) -> Symbols:
        flat = self._storages[_key(tensor)]
        strides = [flat.itemsize * s for s in tensor.stride()]
        return np.lib.stride_tricks.as_strided(flat[tensor.storage_offset() :], tuple(tensor.shape), strides)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise self.refuse(f"a random number (torch.{name.rstrip('_')})")
        mutates = func._schema.is_mutable
        if name in _NO_VALUES or not (self._depends((args, kwargs))):
            result = func(*args, **kwargs)
            return result.fill_(float("nan")) if name in _EMPTY and result.is_floating_point() else result
        base = name[:-1] if mutates and name.endswith("_") else name
        plain_args, plain_kwargs = self._plain(args), self._plain(kwargs)
        target = args[0] if mutates else None
        if target is not None and not self.tracks(target):
            self._adopt(target)
        result = func(*args, **kwargs)
        if target is None and self._is_view(result, args):
            return result
        lowered = self._lower(base, func._overloadname, plain_args, plain_kwargs)
        if target is not None:
            self._view(target)[...] = self._checked(name, target, np.asarray(lowered, dtype=object))
        elif isinstance(result, Tensor):
            self.track(result, self._checked(name, result, lowered))
        else:
            for tensor, symbols in zip(result, lowered, strict=True):
                self.track(tensor, self._checked(name, tensor, symbols))
        return result

    def _lower(self, name: str, overload: str, args: Any, kwargs: Any) -> Any:
        lowering = LOWERINGS.get(name)
        if lowering is None or "out" in overload.split("_"):
            raise self.refuse(NUMBER if name == "_local_scalar_dense" else f"torch.{name}{REFUSED.get(name, '')}")
        try:
            return lowering(*args, **kwargs)
        except MissingRule as error:
            self._refused = self._refused or error
            raise

    def _is_view(self, result: Any, args: Any) -> bool:
        """Whether the result lies in the storage of an argument, where its symbols are already."""
        tensors = [r for r in (result if isinstance(result, list | tuple) else [result]) if isinstance(r, Tensor)]
        if not tensors or not all(map(self.tracks, tensors)):
            return False
        if any(t.dtype != args[0].dtype for t in tensors):
            raise self.refuse(f"a view as {tensors[0].dtype}")
        return True

    def _adopt(self, tensor: Tensor) -> None:
        """Symbols for the whole storage of a constant that something which depends on x is written into."""
        whole = tensor.as_strided((_length(tensor),), (1,), 0)
        self.track(whole, _constants(whole))

    def _checked(self, name: str, tensor: Tensor, symbols: Symbols) -> Symbols:
        """The symbols, in the tensor's shape; only float64 has rules, and 0 and 1, which are the same in any type."""
        if tensor.dtype != torch.float64 and not all(
            isinstance(s, float | Opaque) or s.is_truth() for s in np.asarray(symbols, dtype=object).flat
        ):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise self.refuse(f"a value of type {kind} that depends on x (torch.{name.strip('_')})")
        return np.broadcast_to(symbols, tuple(tensor.shape))

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


class _Exits(TorchFunctionMode):
    """Refuses what would hand out the numbers of a tracked tensor."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _ESCAPES and args and isinstance(args[0], Tensor):
            with torch._C.DisableTorchFunction():
                depends = self._tracer.tracks(args[0])
            if depends:
                raise self._tracer.refuse(f"x.{name}(): {NUMBER}")
        return func(*args, **(kwargs or {}))


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _length(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes() // tensor.itemsize


def _constants(tensor: Tensor) -> Symbols:
    if tensor.dtype.is_complex:
        raise MissingRule("a complex number")
    out = np.empty(tuple(tensor.shape), dtype=object)
    values = tensor.detach().to(torch.float64)
    if tensor.dtype == torch.int64 and bool((values.abs() > 2**53).any()):
        raise MissingRule("a whole number beyond 2**53")
    out.reshape(-1)[:] = values.reshape(-1).tolist()
    return out
