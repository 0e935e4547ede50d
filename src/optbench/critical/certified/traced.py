"""The face that intervals and jets show to plain torch code, so that a surface is written once.

A surface is a function of x, (..., dim) -> (...), in torch operations. Here x is a `Columns`: one `Scalar` a
coordinate. A scalar is whatever can be added, multiplied and put through elementary functions: an interval, a
second-order jet of intervals, a jet of Arb balls. Each of them stands for a whole batch or for one box; there is one
batch axis at most, and one more axis, that of the coordinates. Torch functions, methods and operators end in the one
table `OPERATIONS`, which `operations` and `logits` fill; what is not in it raises `MissingRule` with its name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, Self

import torch

from optbench.critical.certified.functions import RULES
from optbench.errors import OptbenchError

OPERATIONS: dict[str, Callable[..., Any]] = {}


class MissingRule(OptbenchError):
    """An operation of the surface has no interval rule: nothing can be proved about it."""

    exit_code = 2

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} has no interval rule, so nothing can be proved about this surface",
            "use --method numeric, or write the surface with + - * / **, sums over the last axis and functions that "
            f"have a rule: {', '.join(sorted(RULES))}",
        )


class Traced:
    """Operators, methods and torch functions, all looked up in OPERATIONS."""

    __slots__ = ()
    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to us

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(getattr(func, "__name__", func))
        if name.startswith("__") and name.endswith("__"):
            name = name[2:-2]  # and only then: exp_ is not exp, it changes its argument
        if name not in OPERATIONS:
            raise MissingRule(f"torch.{name}")
        return OPERATIONS[name](*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in OPERATIONS:
            raise MissingRule(f"tensor.{name}")
        return partial(OPERATIONS[name], self)

    def __add__(self, other: Any) -> Any:
        return OPERATIONS["add"](self, other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        return OPERATIONS["mul"](self, other)

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Any:
        return OPERATIONS["sub"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return OPERATIONS["sub"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return OPERATIONS["div"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return OPERATIONS["div"](other, self)

    def __pow__(self, other: Any) -> Any:
        return OPERATIONS["pow"](self, other)

    def __rpow__(self, other: Any) -> Any:
        return OPERATIONS["pow"](other, self)

    def __matmul__(self, other: Any) -> Any:
        return OPERATIONS["matmul"](self, other)

    def __iadd__(self, other: Any) -> Any:
        return self._replaced(self + other)

    def __isub__(self, other: Any) -> Any:
        return self._replaced(self - other)

    def __imul__(self, other: Any) -> Any:
        return self._replaced(self * other)

    def __itruediv__(self, other: Any) -> Any:
        return self._replaced(self / other)

    def __ipow__(self, other: Any) -> Any:
        return self._replaced(self**other)

    def _replaced(self, result: Any) -> Any:
        """What an operation in place leaves under the name it was applied to.

        A tensor would change under all its names, and under its views; here a new value takes the place under the one
        name, and whoever still looks at the old one is refused.
        """
        for part in (*(self.parts if isinstance(self, Columns) else ()), self):
            object.__setattr__(part, "__class__", _spent(type(part)))
        return result

    def __neg__(self) -> Any:
        return OPERATIONS["mul"](self, -1.0)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Any:
        return OPERATIONS["abs"](self)

    def __bool__(self) -> NoReturn:
        raise MissingRule("a decision that depends on x (if, and, or, while)")

    def __float__(self) -> NoReturn:
        raise MissingRule("float(x)")

    def __lt__(self, other: Any) -> NoReturn:
        raise MissingRule("a comparison of x")

    __le__ = __gt__ = __ge__ = __lt__


_SPENT: dict[str, type[Traced]] = {}


def _spent(kind: type[Traced]) -> type[Traced]:
    """The kind of a value that an operation in place has replaced: it cannot be looked at any more."""

    def refuse(self: Any) -> NoReturn:
        raise MissingRule("a value that was changed in place under another name (write a = a + b for a += b)")

    if kind.__name__ not in _SPENT:
        refusing: dict[str, Any] = dict.fromkeys(kind.__slots__, property(refuse))
        _SPENT[kind.__name__] = type(f"Spent{kind.__name__}", (kind,), {"__slots__": (), **refusing})
    return _SPENT[kind.__name__]


class Scalar(Traced):
    """One number a box: what an arithmetic must provide."""

    __slots__ = ()
    shape = torch.Size([1])
    dtype, device, ndim, requires_grad = torch.float64, torch.device("cpu"), 1, False

    @abstractmethod
    def plus(self, other: Self) -> Self:
        """self + other."""

    @abstractmethod
    def times(self, other: Self) -> Self:
        """self * other."""

    @abstractmethod
    def shift(self, c: float) -> Self:
        """self + c."""

    @abstractmethod
    def scale(self, c: float) -> Self:
        """self * c."""

    @abstractmethod
    def over(self, c: float) -> Self:
        """self / c."""

    @abstractmethod
    def apply(self, name: str) -> Self:
        """The elementary function `name` of functions.RULES."""

    @abstractmethod
    def power(self, n: int) -> Self:
        """self**n for whole n."""

    @abstractmethod
    def real_power(self, p: float) -> Self:
        """self**p for self > 0."""

    def __getitem__(self, index: Any) -> Any:
        if index in (..., slice(None)):
            return self
        if index == (..., None):
            return Columns([self])
        raise MissingRule(f"x[{index}] of a value without coordinates")


class Columns(Traced):
    """The last axis of a tensor: one scalar a coordinate."""

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Scalar]) -> None:
        self.parts = tuple(parts)

    dtype, device, ndim, requires_grad = torch.float64, torch.device("cpu"), 2, False

    @property
    def shape(self) -> torch.Size:
        """(batch, n): one box stands for the batch."""
        return torch.Size([1, len(self.parts)])

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple) and len(index) == 2 and index[0] in (..., slice(None)):
            if isinstance(index[1], int):
                return self.parts[index[1]]
            if isinstance(index[1], slice):
                return Columns(self.parts[index[1]])
            if isinstance(index[1], Sequence):
                return Columns([self.parts[i] for i in index[1]])
        raise MissingRule(f"x[{index}] (write x[..., i] or x[..., i:j])")
