"""Padding: rows that differ in length as one tensor, filled up behind each row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optbench.errors import DataError
from optbench.problem.collating import IGNORED
from optbench.problem.ragged import Ragged
from optbench.problem.trees import Tree, ragged_in

_BESIDE = ("mask", "lengths", "nothing")


class Pad:
    """Pads each Ragged of the inputs, and of the targets, behind its rows; what else there is stays as it is.

    Where the model is to know what is padding it is told as further inputs. Of a Ragged (padded, mask) is made, which a
    model is called with as `model(padded, mask)`; in a tuple or a list the masks follow after its parts, in order; in a
    mapping the mask of NAME is NAME_mask. Targets are padded with -100, numbers with NaN, which are never counted.

    Args:
        value: of the padding in the inputs.
        length: to which rows are padded; null: to the longest of the batch.
        multiple: the longest of the batch is rounded up to a multiple of this, so that batches have fewer shapes.
        beside: mask, bool (b, length), True where a value is real; lengths, int64 (b,); or nothing.

    Raises:
        DataError: another value than what is written above.
    """

    def __init__(self, value: float = 0.0, length: int | None = None, multiple: int = 1, beside: str = "mask") -> None:
        if beside not in _BESIDE:
            raise DataError(f"collate.beside={beside}: expected {', '.join(_BESIDE)}")
        for name, given in (("length", length), ("multiple", multiple)):
            if given is not None and given < 1:
                raise DataError(f"collate.{name}={given}: expected a whole number of at least 1")
        if length is not None and multiple > 1:
            raise DataError(f"collate.length={length} beside collate.multiple={multiple}: both say how long a batch is",
                            "leave one of them out")  # fmt: skip
        self._value, self._length, self._multiple, self._beside = value, length, multiple, beside

    def check(self, inputs: Tree, targets: Tree | None) -> None:
        """Raises DataError for a whole split that cannot be padded: nothing is, a row is too long, or the padding is no
        value of its type; before anything is trained on it."""
        found = [*ragged_in(inputs), *(() if targets is None else ragged_in(targets))]
        if not found:
            raise DataError("the rows have one length: there is nothing to pad", "use collate=stack")
        for leaf in ragged_in(inputs):
            self._check_value(leaf)
        for leaf in found:
            if self._length is not None and int(leaf.lengths.max()) > self._length:
                row, most = int(leaf.lengths.argmax()), int(leaf.lengths.max())
                raise DataError(f"row {row} has {most} values, more than collate.length={self._length}",
                                f"collate.length={most}, or null")  # fmt: skip

    def __call__(self, inputs: Tree, targets: Tree | None) -> tuple[Tree, Tree | None]:
        """The batch of some rows: see `problem.collating`."""
        return self._padded(inputs), None if targets is None else self._marked(targets)

    def _padded(self, tree: Tree) -> Tree:
        if isinstance(tree, Tensor):
            return tree
        if isinstance(tree, Ragged):
            padded, *told = self._of(tree)
            return (padded, *told) if told else padded
        if isinstance(tree, Mapping):
            made: dict[Any, Any] = {}
            for name, part in tree.items():
                both = self._of(part) if isinstance(part, Ragged) else (self._padded(part),)
                more = [f"{name}_{self._beside}"] if len(both) > 1 else []
                if any(one in tree for one in more):
                    raise DataError(f"the inputs have {more[0]} already", "collate.beside=nothing")
                made |= dict(zip([name, *more], both, strict=True))
            return made
        each = [self._of(part) if isinstance(part, Ragged) else (self._padded(part),) for part in tree]
        parts = [first for first, *_ in each] + [more for _, *told in each for more in told]
        return tuple(parts) if isinstance(tree, tuple) else parts

    def _of(self, rows: Ragged) -> tuple[Tensor, ...]:
        """The padded tensor, and what is told beside it."""
        length = self._length_of(rows)
        padded = rows.padded(length, self._value)
        if self._beside == "nothing":
            return (padded,)
        return padded, rows.real(length) if self._beside == "mask" else rows.lengths

    def _marked(self, targets: Tree) -> Tree:
        if isinstance(targets, Ragged):
            mark = math.nan if targets.is_floating_point() else IGNORED
            return targets.padded(self._length_of(targets), mark)
        if not ragged_in(targets):
            return targets
        if isinstance(targets, Mapping):
            return {name: self._marked(part) for name, part in targets.items()}
        return type(targets)(map(self._marked, targets))

    def _length_of(self, rows: Ragged) -> int:
        if self._length is not None:
            return self._length
        longest = max(1, int(rows.lengths.max()))
        return -(-longest // self._multiple) * self._multiple

    def _check_value(self, rows: Ragged) -> None:
        """Raises DataError where the padding is no value of the inputs' type."""
        dtype, value = rows.dtype, self._value
        if dtype.is_floating_point:
            return
        low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
        if value != int(value) or not low <= value <= high:
            raise DataError(f"collate.value={value:g} is no {str(dtype).removeprefix('torch.')}, which the inputs are",
                            "collate.value=0")  # fmt: skip
