"""What a tracer keeps beside the numbers is what the numbers are: every symbol here knows its own number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optbench.tracing import SymbolTracer, axes_of, each, fold


@dataclass(frozen=True)
class Known:
    """A symbol for a number that depends on the input."""

    number: float


class Plain(SymbolTracer):
    """Knows sums alone."""

    def refuse(self, name: str, words: str) -> Exception:
        return NotImplementedError(words)

    def lower(self, name: str, args: Any, kwargs: Any) -> Any:
        if name != "add":
            raise self.refuse(name, name)
        return each(lambda a, b: Known(_number(a) + _number(b)), *(np.asarray(a, dtype=object) for a in args))


def _number(symbol: Any) -> float:
    return symbol.number if isinstance(symbol, Known) else symbol


def _written(x: Tensor) -> Tensor:
    out = torch.zeros(3, 4, dtype=torch.float64)
    out[:, 1] = x[0, :3]
    out.t()[3] += x[1, :3]
    out[0, 2].fill_(7.0)
    return out


def _put(x: Tensor) -> Tensor:
    out = x.clone()
    out[[0, 2], [1, 3]] = x[1, :2]
    return out


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "views": lambda x: x.t()[1:3].unsqueeze(0).expand(2, 2, 3)[..., None].squeeze(-1).permute(2, 0, 1),
    "unfold": lambda x: x.unfold(1, 2, 1),
    "stack": lambda x: torch.stack([x[0], torch.arange(4.0, dtype=torch.float64), x[2]], dim=-1),
    "cat": lambda x: torch.cat([torch.empty(0, dtype=torch.float64), x[0], x[1]]),
    "flip": lambda x: x.flip(0, 1),
    "roll": lambda x: x.roll(1),
    "roll an axis": lambda x: x.roll((1, 2), (0, 1)),
    "repeat": lambda x: x.repeat(2, 1, 2),
    "reshape": lambda x: x.t().reshape(6, 2),
    "index": lambda x: x[torch.tensor([[2, 0], [1, 1]]), torch.tensor([3, 0])],
    "mask": lambda x: x[..., torch.tensor([True, False, False, True])],
    "index_select": lambda x: x.index_select(1, torch.tensor([3, 3, 0])),
    "gather": lambda x: x.gather(1, torch.tensor([[0, 3], [1, 1], [2, 0]])),
    "scatter": lambda x: x.scatter(1, torch.tensor([[0], [1], [2]]), 5.0),
    "scatter a tensor": lambda x: x.scatter(0, torch.tensor([[2, 0, 1, 1]]), x[:1] + 1.0),
    "triangles": lambda x: x.tril(1) + x.triu(2),
    "writing in place": _written,
    "writing by an index": _put,
    "zero": lambda x: (x.clone().zero_() + x)[1],
}


@pytest.mark.parametrize("name", MOVES)
def test_symbols_go_where_the_numbers_go(name: str) -> None:
    tracer, x = Plain(), torch.linspace(0.1, 1.2, 12, dtype=torch.float64).reshape(3, 4)
    tracer.track(x, np.array([[Known(v) for v in row] for row in x.tolist()], dtype=object))
    with tracer:
        found = MOVES[name](x)
    numbers = np.vectorize(_number, otypes=[float])(tracer.symbols(found))
    assert numbers.shape == tuple(found.shape)
    assert np.array_equal(numbers, found.numpy())


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "an index or a mask that depends on x": lambda x: torch.arange(9.0)[x.long()],
    "accumulate=True": lambda x: x.index_put((torch.tensor([0]),), x[0], accumulate=True),
    "a view as torch.int64": lambda x: x.view(torch.int64),
    "a random number": lambda x: x + torch.rand(3, 4),
    "mul": lambda x: x * x,
    "_local_scalar_dense": lambda x: float(x[0, 0]),
}


class Lenient(Plain):
    """Takes a conversion for nothing."""

    def lower(self, name: str, args: Any, kwargs: Any) -> Any:
        return args[0] if name == "_to_copy" else super().lower(name, args, kwargs)


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_followed_is_refused(words: str) -> None:
    tracer, x = Lenient(), torch.ones(3, 4, dtype=torch.float64)
    tracer.track(x, np.full((3, 4), 1.0, dtype=object))
    with pytest.raises(NotImplementedError, match=words), tracer:
        REFUSED[words](x)


def test_uninitialised_memory_is_no_number() -> None:
    tracer, x = Plain(), torch.ones(2, dtype=torch.float64)
    tracer.track(x, np.full(2, 1.0, dtype=object))
    with tracer:
        found = torch.empty_like(x)
    assert np.isnan(found.numpy()).all()


def test_arrays_are_folded_in_order_along_any_axes() -> None:
    x = np.arange(24.0).astype(object).reshape(2, 3, 4)
    for dim in (None, (), 0, -1, [0, 2], (1, -1)):
        axes = tuple(axes_of(x, dim))
        for keepdim in (False, True):
            found = fold(lambda a, b: a + b, x, dim, keepdim)
            assert np.array_equal(found.astype(float), x.astype(float).sum(axis=axes, keepdims=keepdim))
    assert fold(lambda a, b: f"{a}{b}", np.array(["a", "b", "c"], dtype=object), 0)[()] == "abc"
