"""A surface's code, run once by torch itself on ordinary tensors while every operation that reaches it is written down.

What `tracing` keeps beside each number is what it is as an expression in x. An operation on such symbols is looked up
in `operations`; what is not found there ends the run with its name, and so does everything that would take a number out
of x (`if`, `float()`, `.item()`, NumPy): nothing is ever answered for all x by looking at one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from optbench.critical.programs import activations, logits  # noqa: F401  they fill the table of operations
from optbench.critical.programs.operations import LOWERINGS, REFUSED
from optbench.critical.programs.scalar import MissingRule
from optbench.tracing import Opaque, Symbols, SymbolTracer

_ESCAPES = frozenset({"__array__", "__cuda_array_interface__", "__deepcopy__", "__dlpack__", "__reduce_ex__",
                      "_typed_storage", "data_ptr", "numpy", "share_memory_", "storage", "tolist",
                      "untyped_storage"})  # fmt: skip
"""Ways out of a tensor that never reach the dispatcher."""
NUMBER = "a number taken out of x, or a decision that depends on it (if, float(), int(), .item(), NumPy, math)"


class Tracer(SymbolTracer):
    """Writes down what is done to tracked tensors; use within `with`, and `check` afterwards."""

    def __init__(self) -> None:
        super().__init__()
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

    def refuse(self, name: str, words: str) -> MissingRule:
        error = MissingRule(words)
        self._refused = self._refused or error  # the first one is kept
        return error

    def lower(self, name: str, args: Any, kwargs: Any) -> Any:
        if name not in LOWERINGS:
            words = NUMBER if name == "_local_scalar_dense" else f"torch.{name}{REFUSED.get(name, '')}"
            raise self.refuse(name, words)
        try:
            return LOWERINGS[name](*args, **kwargs)
        except MissingRule as error:
            self._refused = self._refused or error
            raise

    def constants(self, tensor: Tensor) -> Symbols:
        if tensor.dtype.is_complex:
            raise MissingRule("a complex number")
        if tensor.dtype == torch.int64 and bool((tensor.detach().abs() > 2**53).any()):
            raise MissingRule("a whole number beyond 2**53")
        return super().constants(tensor)

    def checked(self, name: str, tensor: Tensor, symbols: Symbols) -> Symbols:
        """Only float64 has rules, and 0 and 1, which are the same in any type."""
        if tensor.dtype != torch.float64 and not all(
            isinstance(s, float | Opaque) or s.is_truth() for s in np.asarray(symbols, dtype=object).flat
        ):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise self.refuse(name, f"a value of type {kind} that depends on x (torch.{name.strip('_')})")
        return super().checked(name, tensor, symbols)


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
                raise self._tracer.refuse(name, f"x.{name}(): {NUMBER}")
        return func(*args, **(kwargs or {}))
