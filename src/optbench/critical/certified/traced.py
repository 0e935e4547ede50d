"""The face that intervals and jets show to plain torch code, so that a surface is written once.

A surface is a function of x, (..., dim) -> (...), in torch operations. Here x is a `Columns`: one `Scalar` a
coordinate. A scalar is whatever can be added, multiplied and put through elementary functions: an interval, a
second-order jet of intervals, a jet of Arb balls. Each of them stands for a whole batch or for one box; there is one
batch axis at most, and one more axis, that of the coordinates. Torch functions, methods and operators end in the one
table `OPERATIONS`; what is not in it raises `MissingRule` with its name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, NoReturn, Self

import torch

from optbench.critical.certified.functions import RULES
from optbench.errors import OptbenchError

LARGEST_POWER = 1000


class MissingRule(OptbenchError):
    """An operation of the surface has no interval rule: nothing can be proved about it."""

    exit_code = 2

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} has no interval rule, so nothing can be proved about this surface",
            "use --method numeric, or write the surface with the operations that have one (see `--method` in the help)",
        )


class Traced:
    """Operators, methods and torch functions, all looked up in OPERATIONS."""

    __slots__ = ()
    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to us

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(getattr(func, "__name__", func)).strip("_")
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
        return add(self, other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        return multiply(self, other)

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Any:
        return subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return subtract(other, self)

    def __truediv__(self, other: Any) -> Any:
        return divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return divide(other, self)

    def __pow__(self, other: Any) -> Any:
        return power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return power(other, self)

    def __neg__(self) -> Any:
        return multiply(self, -1.0)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Any:
        return elementary("abs", self)

    def __bool__(self) -> NoReturn:
        raise MissingRule("a decision that depends on x (if, and, or, while)")

    def __float__(self) -> NoReturn:
        raise MissingRule("float(x)")

    def __lt__(self, other: Any) -> NoReturn:
        raise MissingRule("a comparison of x")

    __le__ = __gt__ = __ge__ = __lt__


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


Operand = Any  # a Scalar, a Columns, a number or a tensor of constants


def _parts(value: Operand) -> Any:
    """Columns as they are, constants as numbers: a tensor with one axis becomes a list."""
    if isinstance(value, torch.Tensor):
        if value.requires_grad:
            raise MissingRule("a tensor that requires a gradient")
        if value.ndim > 1:
            raise MissingRule(f"a constant of shape {tuple(value.shape)}")
        return float(value) if value.ndim == 0 else value.tolist()
    return value if isinstance(value, Traced) else float(value)


def _each(function: Callable[[Any, Any], Any], a: Operand, b: Operand) -> Any:
    """function(a, b) on scalars and numbers, mapped over coordinates."""
    a, b = _parts(a), _parts(b)
    lists = [v.parts if isinstance(v, Columns) else v if isinstance(v, list) else None for v in (a, b)]
    if lists == [None, None]:
        return function(a, b)
    for value, parts in zip((a, b), lists, strict=True):
        if parts is None and isinstance(value, Scalar):
            raise MissingRule("an operation between coordinates and a value without coordinates")
    n = max(len(parts) for parts in lists if parts is not None)
    left, right = ([v] * n if p is None else list(p) * (n if len(p) == 1 else 1) for v, p in zip((a, b), lists, strict=True))
    if len(left) != len(right):
        raise MissingRule(f"an operation between {len(left)} and {len(right)} coordinates")
    return Columns([function(p, q) for p, q in zip(left, right, strict=True)])


def add(a: Operand, b: Operand, alpha: float = 1.0) -> Any:
    """a + alpha b."""
    b = b if alpha == 1.0 else multiply(b, alpha)
    return _each(lambda p, q: p.shift(q) if _number(q) else q.shift(p) if _number(p) else p.plus(q), a, b)


def subtract(a: Operand, b: Operand, alpha: float = 1.0) -> Any:
    """a - alpha b."""
    return add(a, multiply(b, -alpha))


def multiply(a: Operand, b: Operand) -> Any:
    """a b; x * x with the same x is a square."""

    def product(p: Any, q: Any) -> Any:
        if _number(q):
            return p * q if _number(p) else p.scale(q)
        if _number(p):
            return q.scale(p)
        return p.apply("square") if p is q else p.times(q)

    return _each(product, a, b)


def divide(a: Operand, b: Operand) -> Any:
    """a / b."""

    def quotient(p: Any, q: Any) -> Any:
        if _number(q):
            return p.over(q)
        inverse = q.apply("reciprocal")
        return inverse.scale(p) if _number(p) else p.times(inverse)

    return _each(quotient, a, b)


def power(a: Operand, b: Operand) -> Any:
    """a**b with a constant on one side."""

    def raised(p: Any, q: Any) -> Any:
        if _number(q):
            if q != int(q) or abs(q) > LARGEST_POWER:
                return p.apply("sqrt") if q == 0.5 else p.real_power(q)
            return p.apply("square") if q == 2 else p.power(int(q))
        if not _number(p) or p <= 0:
            raise MissingRule("a power with a variable exponent and a base that is not a positive number")
        logarithm = q.scale(0.0).shift(p).apply("log")
        return q.times(logarithm).apply("exp")

    return _each(raised, a, b)


def _number(value: Any) -> bool:
    return isinstance(value, float)


def elementary(name: str, x: Operand) -> Any:
    """An elementary function, coordinate by coordinate."""
    return Columns([part.apply(name) for part in x.parts]) if isinstance(x, Columns) else x.apply(name)


def _along(x: Operand, dim: Any, name: str) -> tuple[Scalar, ...]:
    """The parts that a reduction over the last axis sees."""
    if not isinstance(x, Columns) or dim not in (-1, (-1,), [-1]):
        raise MissingRule(f"{name} over anything but the last axis (dim=-1)")
    return x.parts


def total(x: Operand, dim: Any = None, keepdim: bool = False, axis: Any = None) -> Any:
    """Sum over the coordinates."""
    parts = _along(x, dim if axis is None else axis, "sum")
    found = reduce(lambda p, q: p.plus(q), parts) if parts else 0.0
    return Columns([found]) if keepdim else found  # type: ignore[list-item]


def mean(x: Operand, dim: Any = None, keepdim: bool = False, axis: Any = None) -> Any:
    """Mean over the coordinates."""
    return divide(total(x, dim, keepdim, axis), float(x.shape[-1]))


def product(x: Operand, dim: Any = None, keepdim: bool = False) -> Any:
    """Product over the coordinates."""
    found = reduce(lambda p, q: p.times(q), _along(x, dim, "prod"))
    return Columns([found]) if keepdim else found


def unbind(x: Operand, dim: int = 0) -> tuple[Scalar, ...]:
    """The coordinates, one by one."""
    return _along(x, dim, "unbind")


def stack(tensors: Sequence[Any], dim: int = 0) -> Columns:
    """Scalars as coordinates."""
    if dim != -1 or not all(isinstance(t, Scalar) for t in tensors):
        raise MissingRule("stack of anything but values along the last axis (dim=-1)")
    return Columns(tensors)


def concatenate(tensors: Sequence[Any], dim: int = 0) -> Columns:
    """Coordinates side by side."""
    return Columns([part for tensor in tensors for part in _along(tensor, dim, "cat")])


def reshape(x: Operand, *shape: Any) -> Any:
    """Only to the shape that x has already, -1 standing for any size."""
    wanted = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    fits = len(wanted) == len(x.shape) and all(w in (-1, s) for w, s in zip(wanted, x.shape, strict=True))
    if not fits:
        raise MissingRule(f"reshape to {tuple(wanted)}")
    return x


def constant_like(value: float) -> Callable[..., Any]:
    """torch.zeros_like and its kin."""

    def make(x: Operand, **_: Any) -> Any:
        return add(multiply(x, 0.0), value)

    return make


def same(x: Operand, *_: Any, **__: Any) -> Any:
    """What changes nothing here: contiguous(), clone(), double()."""
    return x


OPERATIONS: dict[str, Callable[..., Any]] = {
    **{name: partial(elementary, name) for name in RULES if name not in ("abs", "square")},
    **{name: partial(elementary, "abs") for name in ("abs", "absolute")},
    **{name: partial(elementary, alias) for name, alias in (("arctan", "atan"), ("square", "square"))},
    **dict.fromkeys(("add", "radd"), add),
    **dict.fromkeys(("sub", "subtract"), subtract),
    "rsub": lambda a, b: subtract(b, a),
    **dict.fromkeys(("mul", "multiply", "rmul"), multiply),
    **dict.fromkeys(("div", "divide", "true_divide", "truediv"), divide),
    "rtruediv": lambda a, b: divide(b, a),
    "rdiv": lambda a, b: divide(b, a),
    "pow": power,
    "rpow": lambda a, b: power(b, a),
    **dict.fromkeys(("neg", "negative"), lambda x: multiply(x, -1.0)),
    "rsqrt": lambda x: elementary("reciprocal", elementary("sqrt", x)),
    "sum": total,
    "mean": mean,
    "prod": product,
    "unbind": unbind,
    "select": lambda x, dim, index: _along(x, dim, "select")[index],
    "stack": stack,
    **dict.fromkeys(("cat", "concat", "concatenate"), concatenate),
    **dict.fromkeys(("reshape", "view"), reshape),
    **dict.fromkeys(("contiguous", "clone", "double"), same),
    "zeros_like": constant_like(0.0),
    "ones_like": constant_like(1.0),
    "size": lambda x, dim=None: x.shape if dim is None else x.shape[dim],
    "dim": lambda x: len(x.shape),
    "exp2": lambda x: power(2.0, x),
}
