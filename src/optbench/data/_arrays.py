"""What arrays of one's own must hold: finite numbers, and targets that are classes, numbers or tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.errors import DataError
from optbench.problem import Ragged


@dataclass(frozen=True)
class Lists:
    """Rows that differ in length.

    Attributes:
        values: (total, ...), one row after another.
        lengths: int64 (n,).
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]

    def row_of(self, place: int) -> int:
        """The row of one of the values."""
        return int(np.searchsorted(np.cumsum(self.lengths), place, side="right"))

    def ragged(self, values: Tensor) -> Ragged:
        """Such rows of other values, (total, ...)."""
        return Ragged(values, torch.from_numpy(np.concatenate([[0], np.cumsum(self.lengths)])))


def lists_of(values: NDArray[Any], offsets: NDArray[Any], where: str, name: str) -> Lists:
    """Rows by where each begins, values[offsets[i]:offsets[i + 1]]. Raises DataError for offsets that are none."""
    ends = offsets.ndim == 1 and offsets.dtype.kind in "iu" and len(offsets) > 1
    if not ends or offsets[0] != 0 or offsets[-1] != len(values) or np.any(np.diff(offsets.astype(np.int64)) < 0):
        raise DataError(f"{where}: {name!r} does not say where rows begin: expected whole numbers that rise from 0 to "
                        f"{len(values)}", "np.cumsum([0, *map(len, rows)]) beside np.concatenate(rows)")  # fmt: skip
    ends_at = offsets.astype(np.int64)
    return Lists(values, ends_at[1:] - ends_at[:-1])


TASKS = ("classification", "regression")


def check_task(task: str | None) -> None:
    """Raises DataError for a task that is neither of the two, nor left to the targets (None)."""
    if task is not None and task not in TASKS:
        raise DataError(f"task={task}: expected {' or '.join(TASKS)}")


def inputs_of(array: NDArray[Any] | Lists, where: str, name: str) -> Tensor | Ragged:
    """Inputs as of `numbers_of`, of rows that differ in length a Ragged."""
    if isinstance(array, Lists):
        return array.ragged(torch.from_numpy(np.ascontiguousarray(numbers_of(array.values, where, name, array))))
    return torch.from_numpy(np.ascontiguousarray(numbers_of(array, where, name)))


def numbers_of(array: NDArray[Any], where: str, name: str, rows: Lists | None = None) -> NDArray[Any]:
    """Numbers that torch knows, and finite.

    Args:
        array: any shape.
        where: begins messages, such as data.path=a.npz.
        name: of the array.
        rows: of which the array is the values; None: its rows are the first axis.

    Returns:
        float64, int64, uint8 or bool, as the array is floating point, whole numbers, bytes or switches.

    Raises:
        DataError: no numbers, or one that is not finite, with its row.
    """
    if array.dtype.kind not in "fiub":
        raise DataError(f"{where}: {name!r} is of {array.dtype}; expected numbers")
    if array.dtype.kind == "f":
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            row = bad[0][0] if rows is None else rows.row_of(int(bad[0][0]))
            raise DataError(f"{where}: {name!r} has {array[tuple(bad[0])]} in row {row}")
        return array.astype(np.float64)
    if array.dtype == np.uint8 or array.dtype == np.bool_:
        return array
    return array.astype(np.int64)


def targets_of(
    array: NDArray[Any] | Lists, where: str, name: str, task: str | None
) -> tuple[list[str], Tensor | Ragged]:
    """Names of the classes, none of a regression, and the targets.

    Args:
        array: text (n,); floating point (n,) or (n, k); whole numbers (n,), or tokens (n, t); of rows that differ in
            length text, numbers or tokens at each position.
        where, name: as of `numbers_of`.
        task: classification or regression; None: as the type says.

    Returns:
        Names, and int64 or float64 targets of the shape of the array.

    Raises:
        DataError: other types, shapes or values; one class; numbers that are the same in each row.
    """
    if isinstance(array, Lists):
        values = array.values
        if values.dtype.kind == "f":
            numbers_of(values, where, name, array)
        tokens = values.dtype.kind in "iu" and task != "regression"
        names, found = targets_of(values[None] if tokens else values, where, name, task)
        assert isinstance(found, Tensor)
        return names, array.ragged(found[0] if tokens else found)
    if array.dtype.kind in "US":
        if task == "regression" or array.ndim > 1:
            raise DataError(f"{where}: {name!r} is text of shape {array.shape}; expected classes (n,)")
        kinds, places = np.unique(array, return_inverse=True)
        return _several([str(kind) for kind in kinds], where, name), torch.from_numpy(places.astype(np.int64))
    numbers = numbers_of(array, where, name)
    numbers = numbers.astype(np.int64) if numbers.dtype == np.bool_ else numbers
    if task == "regression" or (task is None and numbers.dtype.kind == "f"):
        if numbers.ndim > 2:
            raise DataError(f"{where}: {name!r} is of shape {array.shape}; expected numbers (n,) or (n, k)")
        if np.any(np.ptp(numbers.astype(np.float64), axis=0) == 0):
            raise DataError(f"{where}: {name!r} is the same in each row: nothing to learn")
        numbers = numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers
        return [], torch.from_numpy(numbers.astype(np.float64))
    if numbers.dtype.kind == "f" and np.any(numbers != np.round(numbers)):
        raise DataError(f"{where}: {name!r} has numbers that are not whole; classes are", "task=regression")
    if numbers.ndim > 2:
        raise DataError(f"{where}: {name!r} is of shape {array.shape}; expected classes (n,), tokens (n, t)")
    kinds, places = np.unique(numbers, return_inverse=True)
    if numbers.ndim == 2:  # tokens: their numbers are their places in the vocabulary
        top = int(kinds[-1])
        if kinds[0] < 0:
            raise DataError(f"{where}: {name!r} has tokens below 0")
        return _several([str(k) for k in range(top + 1)], where, name), torch.from_numpy(numbers.astype(np.int64))
    return _several([f"{kind:g}" for kind in kinds], where, name), torch.from_numpy(places.astype(np.int64))


def weights_of(array: NDArray[Any], where: str, name: str) -> Tensor:
    """Weights of examples, float64 (n,). Raises DataError for other shapes, negative ones, or zeros alone."""
    weights = torch.from_numpy(numbers_of(array, where, name).astype(np.float64))
    if weights.ndim != 1 or bool((weights < 0).any()) or not bool((weights > 0).any()):
        raise DataError(f"{where}: {name!r} has no weights (n,), or negative ones, or zeros alone")
    return weights


def _several(kinds: list[str], where: str, name: str) -> list[str]:
    if len(kinds) < 2:
        raise DataError(f"{where}: {name!r} is {kinds[0]} in each row: one class, nothing to tell")
    return kinds
