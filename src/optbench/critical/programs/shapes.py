"""Torch's operations that copy elements from place to place; views need no rule, `traced` sees through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from optbench.critical.programs.operations import Opaque, Symbols, each, lowers
from optbench.critical.programs.recorded import Recorded
from optbench.critical.programs.scalar import MissingRule


def whole(index: Any) -> Any:
    """An index that does not depend on x, as whole numbers or truth values."""
    if index is None:
        return None
    for i in index.flat:
        if isinstance(i, Recorded | Opaque):
            raise MissingRule(i.reason if isinstance(i, Opaque) else "an index that depends on x")
    return index.astype(np.int64)


@lowers("clone", "_to_copy", "lift_fresh", "contiguous", "_unsafe_view", "_reshape_copy", "reshape")
def _same(x: Symbols, *_: Any, **__: Any) -> Symbols:
    return x  # traced looks at the type and the shape of the result


@lowers("copy", "fill")
def _copy(_: Symbols, source: Any, *__: Any) -> Symbols:
    return np.asarray(source if isinstance(source, np.ndarray) else float(source), dtype=object)


@lowers("zero")
def _zero(x: Symbols) -> Symbols:
    return np.full(x.shape, 0.0, dtype=object)


@lowers("stack")
def _stack(arrays: Sequence[Symbols], dim: int = 0) -> Symbols:
    return np.stack(arrays, axis=dim)


@lowers("cat", "concat")
def _cat(arrays: Sequence[Symbols], dim: int = 0) -> Symbols:
    return np.concatenate([a for a in arrays if a.shape != (0,)], axis=dim)


@lowers("flip")
def _flip(x: Symbols, dims: Sequence[int]) -> Symbols:
    return np.flip(x, tuple(dims))


@lowers("roll")
def _roll(x: Symbols, shifts: Sequence[int], dims: Sequence[int] = ()) -> Symbols:
    return np.roll(x, tuple(shifts), tuple(dims)) if dims else np.roll(x.reshape(-1), shifts[0]).reshape(x.shape)


@lowers("repeat")
def _repeat(x: Symbols, times: Sequence[int]) -> Symbols:
    return np.tile(x, tuple(times))


@lowers("index_select")
def _index_select(x: Symbols, dim: int, index: Symbols) -> Symbols:
    return np.asarray(np.take(x, whole(index), axis=dim))


@lowers("index")
def _index(x: Symbols, indices: Sequence[Any]) -> Symbols:
    return np.asarray(x[_places(x, indices)])


@lowers("index_put")
def _index_put(x: Symbols, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Symbols:
    if accumulate:
        raise MissingRule("torch.index_put with accumulate=True")
    out = np.array(x)
    out[_places(x, indices)] = values
    return out


def _places(x: Symbols, indices: Sequence[Any]) -> Any:
    if any(index is not None and index.ndim > 1 for index in indices):
        raise MissingRule("an index of more than one axis, or a mask")
    return tuple(slice(None) if index is None else whole(index) for index in indices)


@lowers("gather")
def _gather(x: Symbols, dim: int, index: Symbols, *, sparse_grad: bool = False) -> Symbols:
    return np.asarray(np.take_along_axis(x, whole(index), axis=dim))


@lowers("scatter")
def _scatter(x: Symbols, dim: int, index: Symbols, value: Any) -> Symbols:
    out, places = np.array(x), whole(index)
    filling = value if isinstance(value, np.ndarray) else np.full(places.shape, float(value), dtype=object)
    np.put_along_axis(out, places, np.broadcast_to(filling, places.shape), axis=dim)
    return out


@lowers("select_backward")
def _select_backward(slope: Symbols, sizes: Sequence[int], dim: int, index: int) -> Symbols:
    out = np.full(tuple(sizes), 0.0, dtype=object)
    np.moveaxis(out, dim, 0)[index, ...] = slope
    return out


@lowers("slice_backward")
def _slice_backward(slope: Symbols, sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> Symbols:
    out = np.full(tuple(sizes), 0.0, dtype=object)
    np.moveaxis(out, dim, 0)[start:end:step] = np.moveaxis(slope, dim, 0)
    return out


@lowers("tril")
def _tril(x: Symbols, diagonal: int = 0) -> Symbols:
    return each(lambda keep, p: p if keep else 0.0, np.tril(np.ones(x.shape), diagonal), x)


@lowers("triu")
def _triu(x: Symbols, diagonal: int = 0) -> Symbols:
    return each(lambda keep, p: p if keep else 0.0, np.triu(np.ones(x.shape), diagonal), x)
