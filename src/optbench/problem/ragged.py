"""Rows of different lengths in one piece: their values one after another, and where each row begins.

A list of tensors costs an object and an allocation a row; so held, the rows of a batch are gathered by one index, and
a data set of a million short texts is two tensors. torch's nested tensors (layout jagged) have the same two, and
`Ragged.of` takes them; they have no index_select.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import torch
from torch import Tensor

from optbench.errors import DataError


class Ragged:
    """n rows, each a tensor (length, ...) of its own length; all of one dtype and alike beyond the first axis.

    Args:
        values: (total, ...), the rows one after another.
        offsets: int64 (n + 1,) on the CPU, rising from 0 to total: row i is values[offsets[i]:offsets[i + 1]].

    Raises:
        DataError: offsets that are none of these values.
    """

    def __init__(self, values: Tensor, offsets: Tensor) -> None:
        fits = isinstance(offsets, Tensor) and offsets.ndim == 1 and offsets.dtype == torch.int64 and len(offsets)
        if not isinstance(values, Tensor) or values.ndim == 0 or not fits:
            raise DataError("Ragged(values, offsets): expected a tensor (total, ...) and int64 offsets (n + 1,)")
        if offsets[0] != 0 or offsets[-1] != len(values) or bool((offsets.diff() < 0).any()):
            raise DataError(
                f"offsets of {len(values)} values: expected whole numbers that rise from 0 to {len(values)}"
            )
        self.values, self.offsets = values, offsets

    @classmethod
    def of(cls, rows: Iterable[Any]) -> Ragged:
        """Of tensors (length, ...), or what `torch.as_tensor` makes one of; of a nested tensor its rows.

        Raises:
            DataError: no row, one that is a single number, or rows of several types or shapes.
        """
        made = list(rows.unbind()) if isinstance(rows, Tensor) and rows.is_nested else list(map(torch.as_tensor, rows))
        if not made:
            raise DataError("no rows")
        first = next((row for row in made if row.numel()), made[0])
        for number, row in enumerate(made):
            if row.ndim == 0:
                raise DataError(f"row {number} is a single number; expected a tensor (length, ...)")
            if not row.numel() and row.ndim == 1:  # of an empty list nothing else is known
                made[number] = row = first.new_empty((0, *first.shape[1:]))
            if row.dtype != first.dtype or row.shape[1:] != first.shape[1:]:
                raise DataError(f"row {number} is {row.dtype} {tuple(row.shape)}, and others are {first.dtype} "
                                f"(length{''.join(f', {k}' for k in first.shape[1:])})")  # fmt: skip
        return cls(torch.cat(made), _offsets(torch.tensor([len(row) for row in made])))

    @cached_property
    def lengths(self) -> Tensor:
        """int64 (n,), on the CPU."""
        return self.offsets.diff()

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.values.device

    @property
    def ndim(self) -> int:
        """Axes, as of a tensor (n, length, ...)."""
        return self.values.ndim + 1

    def is_floating_point(self) -> bool:
        """Whether the values are."""
        return self.values.is_floating_point()

    def numel(self) -> int:
        """How many numbers there are."""
        return self.values.numel()

    def element_size(self) -> int:
        """Bytes of a number."""
        return self.values.element_size()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Tensor]:
        """The rows, views."""
        return iter(self.values.split(self.lengths.tolist()))

    @overload
    def __getitem__(self, which: int) -> Tensor: ...

    @overload
    def __getitem__(self, which: slice | Tensor) -> Ragged: ...

    def __getitem__(self, which: int | slice | Tensor) -> Tensor | Ragged:
        """A row, (length, ...), rows that follow one another (both are views), or those of an index, int64 (k,)."""
        if isinstance(which, Tensor):
            return self.chosen(which)
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            if step != 1:
                return self.chosen(torch.arange(len(self))[which])
            offsets = self.offsets[start : max(start, stop) + 1]
            return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])
        place = range(len(self))[which]
        return self.values[self.offsets[place] : self.offsets[place + 1]]

    def chosen(self, index: Tensor) -> Ragged:
        """The rows of an index, int64 (k,), in its order."""
        index = index.cpu()
        lengths = self.lengths.index_select(0, index)
        offsets = _offsets(lengths)
        shift = (self.offsets.index_select(0, index) - offsets[:-1]).repeat_interleave(lengths)
        places = torch.arange(len(shift)).add_(shift)
        return Ragged(self.values.index_select(0, places.to(self.device)), offsets)

    def with_values(self, values: Tensor) -> Ragged:
        """Rows of the same lengths with these values, (total, ...)."""
        return Ragged(values, self.offsets)

    @cached_property
    def row_of(self) -> Tensor:
        """The row of each value, int64 (total,), on the CPU."""
        return torch.arange(len(self)).repeat_interleave(self.lengths)

    def padded(self, length: int, value: float) -> Tensor:
        """(n, length, ...) with `value` behind each row; no row is longer.

        Raises:
            DataError: one is.
        """
        if len(self) and int(self.lengths.max()) > length:
            raise DataError(f"a row of {int(self.lengths.max())} values is longer than {length}")
        made = self.values.new_full((len(self), length, *self.values.shape[1:]), value)
        made[self.real(length).to(self.device)] = self.values
        return made

    def real(self, length: int) -> Tensor:
        """Which places of rows padded behind to a length are values of theirs: bool (n, length), on the CPU."""
        return torch.arange(length) < self.lengths[:, None]


def _offsets(lengths: Tensor) -> Tensor:
    return torch.cat([lengths.new_zeros(1, dtype=torch.int64), lengths.cumsum(0)])


def joined(parts: Sequence[Ragged]) -> Ragged:
    """The rows of several, one after the other."""
    return Ragged(torch.cat([part.values for part in parts]), _offsets(torch.cat([part.lengths for part in parts])))


def row_means(values: Tensor, rows: Ragged) -> Tensor:
    """The mean of the values (total,) of each row, (n,); 0 of a row that has none."""
    row_of, lengths = (part.to(values.device, non_blocking=True) for part in (rows.row_of, rows.lengths))
    return values.new_zeros(len(rows)).index_add(0, row_of, values) / lengths.clamp(min=1)
