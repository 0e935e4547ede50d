"""Columns as Arrow arrays, made from their buffers: pa.array imports pandas where it is installed, 0.5 s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_MOST_BYTES = 2**31 - 1
"""Of the texts of one array: where each begins is a number of 32 bits."""
_WHOLE = 2**63


def table_of(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """A table of columns of equal length."""
    return pa.table({name: array_of(values) for name, values in columns.items()})


def array_of(values: Any) -> pa.Array:
    """A column: of truth values, whole numbers, floating-point numbers or texts, None where there is none.

    Args:
        values: a list, a NumPy array or an Arrow array.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, np.ndarray):
        if values.dtype in (np.float64, np.int64):
            return _of_numbers(np.ascontiguousarray(values), None)
        values = values.tolist()
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    there = np.array([v is not None for v in values], dtype=bool)
    if kinds <= {int, float}:
        return _of_mixed(values, kinds, there)
    if kinds == {bool}:
        bits = np.packbits(np.array([bool(v) for v in values]), bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [_validity(there), pa.py_buffer(bits)])
    if all(issubclass(kind, str) for kind in kinds):
        return texts_of(values)
    return pa.array(values)


def texts_of(texts: Sequence[str | None]) -> pa.Array:
    """A column of texts, also where there are none."""
    encoded = [b"" if text is None else str(text).encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if ends[-1] > _MOST_BYTES:
        return pa.array(texts, pa.string())
    there = np.array([text is not None for text in texts], dtype=bool)
    buffers = [_validity(there), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def dictionary_of(texts: Sequence[str], indices: Sequence[int]) -> pa.DictionaryArray:
    """A column of few different texts: row i has texts[indices[i]], and each text is stored once."""
    places = np.array(indices, dtype=np.int32)
    which = pa.Array.from_buffers(pa.int32(), len(places), [None, pa.py_buffer(places)])
    return pa.DictionaryArray.from_arrays(which, texts_of(texts))


def _of_mixed(values: Sequence[Any], kinds: set[type], there: NDArray[np.bool_]) -> pa.Array:
    if kinds == {int} and all(v is None or -_WHOLE <= v < _WHOLE for v in values):
        return _of_numbers(np.array([0 if v is None else v for v in values], dtype=np.int64), there)
    if kinds == {float}:
        return _of_numbers(np.array([0.0 if v is None else v for v in values], dtype=np.float64), there)
    return pa.array(values)  # with its own refusal of numbers that a column cannot hold


def _of_numbers(values: NDArray[Any], there: NDArray[np.bool_] | None) -> pa.Array:
    validity = None if there is None else _validity(there)
    type_ = pa.int64() if values.dtype == np.int64 else pa.float64()
    return pa.Array.from_buffers(type_, len(values), [validity, pa.py_buffer(values)])


def _validity(there: NDArray[np.bool_]) -> pa.Buffer | None:
    return None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
