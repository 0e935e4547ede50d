"""Torch operations on what a surface sees: the table behind `traced`, operation by operation.

Every rule is a composition of what a `Scalar` can do, coordinate by coordinate or along the last axis. What would need
a decision that depends on x, another axis, or a function without interval rule is refused with its name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import torch

from optbench.critical.certified.functions import RULES
from optbench.critical.certified.traced import OPERATIONS, Columns, MissingRule, Scalar, Traced

LARGEST_POWER = 1000

Operand = Any  # a Scalar, a Columns, a number or a tensor of constants


def _parts(value: Operand) -> Any:
    """Columns as they are, constants as numbers: a tensor with one axis becomes a list."""
    if isinstance(value, torch.Tensor):
        if value.requires_grad:
            raise MissingRule("a tensor that requires a gradient")
        if value.numel() == 1:
            return float(value)
        if value.ndim == 2 and len(value) == 1:
            value = value[0]
        if value.ndim > 1:
            raise MissingRule(f"a constant of shape {tuple(value.shape)}")
        return value.tolist()
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
    left, right = (
        [v] * n if p is None else list(p) * (n if len(p) == 1 else 1) for v, p in zip((a, b), lists, strict=True)
    )
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


def along(x: Operand, dim: Any, name: str) -> tuple[Scalar, ...]:
    """The parts that a reduction over the last axis sees."""
    if not isinstance(x, Columns) or dim not in (-1, (-1,), [-1]):
        raise MissingRule(f"{name} over anything but the last axis (dim=-1)")
    return x.parts


def total(x: Operand, dim: Any = None, keepdim: bool = False, axis: Any = None) -> Any:
    """Sum over the coordinates."""
    parts = along(x, dim if axis is None else axis, "sum")
    found = reduce(lambda p, q: p.plus(q), parts) if parts else 0.0
    return Columns([found]) if keepdim else found  # type: ignore[list-item]


def mean(x: Operand, dim: Any = None, keepdim: bool = False, axis: Any = None) -> Any:
    """Mean over the coordinates."""
    return divide(total(x, dim, keepdim, axis), float(x.shape[-1]))


def product(x: Operand, dim: Any = None, keepdim: bool = False) -> Any:
    """Product over the coordinates."""
    found = reduce(lambda p, q: p.times(q), along(x, dim, "prod"))
    return Columns([found]) if keepdim else found


def unbind(x: Operand, dim: int = 0) -> tuple[Scalar, ...]:
    """The coordinates, one by one."""
    return along(x, dim, "unbind")


def stack(tensors: Sequence[Any], dim: int = 0) -> Columns:
    """Scalars as coordinates."""
    if dim != -1 or not all(isinstance(t, Scalar) for t in tensors):
        raise MissingRule("stack of anything but values along the last axis (dim=-1)")
    return Columns(tensors)


def concatenate(tensors: Sequence[Any], dim: int = 0) -> Columns:
    """Coordinates side by side."""
    return Columns([part for tensor in tensors for part in along(tensor, dim, "cat")])


def double_only(dtype: Any) -> None:
    """Refuses what would compute in another format than float64."""
    if dtype not in (None, torch.float64):
        raise MissingRule(f"dtype={dtype}")


def norm(
    x: Operand, p: Any = 2, dim: Any = None, keepdim: bool = False, out: None = None, dtype: Any = None, **other: Any
) -> Any:
    """Euclidean norm over the coordinates; torch.linalg calls its order `ord`."""
    double_only(dtype)
    p = other.pop("ord", p)
    if other or out is not None:
        raise MissingRule(f"a norm with {', '.join(other) or 'out'}")
    if p not in (2, 2.0, "fro", None):
        raise MissingRule(f"a norm of order {p}")
    return elementary("sqrt", total(elementary("square", x), dim, keepdim))


def matmul(x: Operand, matrix: Any) -> Any:
    """x @ W with a constant W of shape (n,) or (n, m)."""
    if not isinstance(x, Columns) or not isinstance(matrix, torch.Tensor) or matrix.requires_grad:
        raise MissingRule("a matrix product of anything but coordinates with a constant")
    if matrix.ndim not in (1, 2) or len(matrix) != len(x.parts):
        raise MissingRule(f"a matrix product of {len(x.parts)} coordinates with a constant of {tuple(matrix.shape)}")
    columns = matrix.reshape(len(matrix), -1).T
    sums = [total(multiply(x, column), dim=-1) for column in columns]
    return sums[0] if matrix.ndim == 1 else Columns(sums)


def linear(x: Operand, weight: Any, bias: Any = None) -> Any:
    """x W^T + b, as in torch.nn.functional."""
    found = matmul(x, weight.T)
    return found if bias is None else add(found, bias)


def reshape(x: Operand, *shape: Any) -> Any:
    """Only to the shape that x has already, -1 standing for any size."""
    wanted = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    fits = len(wanted) == len(x.shape) and all(w in (-1, s) for w, s in zip(wanted, x.shape, strict=True))
    if not fits:
        raise MissingRule(f"reshape to {tuple(wanted)}")
    return x


def constant_like(value: float) -> Callable[..., Any]:
    """torch.zeros_like and its kin."""

    def make(x: Operand, dtype: Any = None, **_: Any) -> Any:
        double_only(dtype)
        return add(multiply(x, 0.0), value)

    return make


def same(x: Operand, *_: Any, **__: Any) -> Any:
    """What changes nothing here: contiguous(), double()."""
    return x


def clone(x: Operand, **_: Any) -> Any:
    """The same value under a name of its own: an operation in place on one does not concern the other."""
    return Columns([copy.copy(part) for part in x.parts]) if isinstance(x, Columns) else copy.copy(x)


def new_tensor(_: Operand, data: Any, dtype: Any = None, **__: Any) -> torch.Tensor:
    """A constant."""
    double_only(dtype)
    return torch.tensor(data, dtype=torch.float64)


OPERATIONS |= {
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
    **dict.fromkeys(("norm", "linalg_norm", "linalg_vector_norm"), norm),
    "matmul": matmul,
    "linear": linear,
    "unbind": unbind,
    "new_tensor": new_tensor,
    "select": lambda x, dim, index: along(x, dim, "select")[index],
    "stack": stack,
    **dict.fromkeys(("cat", "concat", "concatenate"), concatenate),
    **dict.fromkeys(("reshape", "view"), reshape),
    **dict.fromkeys(("contiguous", "double"), same),
    "clone": clone,
    "zeros_like": constant_like(0.0),
    "ones_like": constant_like(1.0),
    "size": lambda x, dim=None: x.shape if dim is None else x.shape[dim],
    "dim": lambda x: len(x.shape),
    "exp2": lambda x: power(2.0, x),
}
