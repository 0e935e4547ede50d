"""Columns of Arrow tables as NumPy arrays: codes of distinct values, or floats.

Arrow's buffers are read directly: to_numpy and fill_null import pandas where it is installed, which takes 0.5 s.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as kind

from optbench.records.columns import Bools, Column, Floats, canonical


def _fixed(array: pa.Array, dtype: str) -> npt.NDArray[Any]:
    """The values of an array of fixed width, with anything in the places of nulls; read-only."""
    return np.frombuffer(array.buffers()[1], dtype)[array.offset : array.offset + len(array)]


def _valid(array: pa.Array) -> Bools:
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    return np.unpackbits(bits, bitorder="little")[array.offset : array.offset + len(array)].astype(np.bool_)


def is_number(type_: pa.DataType) -> bool:
    """Whether the values of a type are whole numbers or floats."""
    return bool(kind.is_integer(type_) or kind.is_floating(type_))


def is_text(type_: pa.DataType) -> bool:
    """Whether the values of a type are texts."""
    return bool(kind.is_string(type_) or kind.is_large_string(type_))


def of_arrow(column: pa.ChunkedArray) -> Column:
    """A column of a table of any type; NaN becomes None, and the codes of a constant column take no memory."""
    n = len(column)
    if kind.is_null(column.type) or not n:
        return Column(np.broadcast_to(np.uint8(0), n), [None])
    if kind.is_nested(column.type):
        return Column(np.arange(n), [canonical(value) for value in column.to_pylist()])
    if not column.null_count and is_number(column.type):
        parts = [_fixed(chunk, f"u{column.type.bit_width // 8}") for chunk in column.chunks if len(chunk)]
        if all((part == parts[0][0]).all() for part in parts):
            column = column.slice(0, 1)
    if not kind.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    values = [None if v != v else canonical(v) for v in whole.dictionary.to_pylist()]
    if not whole.null_count and len(values) == 1:
        return Column(np.broadcast_to(np.uint8(0), n), values)
    codes = _fixed(whole.indices, f"i{whole.indices.type.bit_width // 8}").astype(np.min_scalar_type(len(values)))
    if not whole.null_count:
        return Column(codes, values)
    codes[~_valid(whole.indices)] = len(values)
    return Column(codes, [*values, None])


def floats_of_arrow(column: pa.ChunkedArray) -> Floats:
    """A column of numbers as floats, (n,), NaN where there is none."""
    whole = np.empty(len(column))
    place = 0
    for chunk in column.cast("float64", safe=False).chunks:
        part = whole[place : place + len(chunk)]
        part[:] = _fixed(chunk, "f8") if chunk.null_count < len(chunk) else math.nan
        if chunk.null_count:
            part[~_valid(chunk)] = math.nan
        place += len(chunk)
    return whole
