"""Arrays of one's own in a NumPy file: inputs of any shape, and a target for each."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.data._tables import Rows
from optbench.errors import DataError
from optbench.folders import place_of

_TASKS = ("classification", "regression")


class Arrays(Rows):
    """Two arrays of an .npz file, as `numpy.savez(path, x=..., y=...)` writes it; nothing of the file is executed.

    Inputs that are floating point are numbers, whole ones tokens, uint8 bytes that are scaled to [0, 1]. Targets that
    are floating point are numbers to learn, (n,) or (n, k); whole ones or text are classes, (n,), or tokens, (n, t).

    Args:
        path: of the file; relative to where the program was started.
        inputs: name of the array (n, ...) of inputs.
        target: name of the array of targets.
        weight: name of an array (n,) of weights, none negative; null: all examples count alike.
        task: classification or regression; null: as the targets' type says.
        standardize: whether inputs (of a regression also targets) that are floating point are measured in standard
            deviations from the mean of the training examples, each position by itself.
        n_targets: null; the file says how many numbers a target has.
        validation_share: part of the examples (of each class) for validation, above 0.
        test_share: part for the test, 0 for no test split.
        split_seed: names the cut, which is the same for all seeds of runs.

    Raises:
        DataError: no such file or array; arrays of other lengths, types or values; one class; too few examples.
    """

    def __init__(
        self,
        path: str,
        inputs: str = "x",
        target: str = "y",
        weight: str | None = None,
        task: str | None = None,
        standardize: bool = False,
        n_targets: int | None = None,
        validation_share: float = 0.2,
        test_share: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        if task is not None and task not in _TASKS:
            raise DataError(f"task={task}: expected {' or '.join(_TASKS)}")
        wanted = {"inputs": inputs, "target": target, **({"weight": weight} if weight else {})}
        found = _read(path, wanted)
        x = torch.from_numpy(np.ascontiguousarray(_numbers(found["inputs"], path, inputs)))
        names, y = _targets(found["target"], path, target, task)
        weights = None
        if weight is not None:
            weights = torch.from_numpy(_numbers(found["weight"], path, weight).astype(np.float64))
            if weights.ndim != 1 or bool((weights < 0).any()) or not bool((weights > 0).any()):
                raise DataError(f"data.path={path}: {weight!r} has no weights (n,), or negative ones, or zeros alone")
        if n_targets is not None and n_targets != (y.shape[1] if not names and y.ndim > 1 else 1):
            raise DataError(f"n_targets={n_targets}: {target!r} is of shape {tuple(y.shape)}", "leave out n_targets")
        super().__init__(path, x, y, names, validation_share, test_share, split_seed, standardize, weights=weights)


def _read(path: str, wanted: dict[str, str]) -> dict[str, NDArray[Any]]:
    """The arrays by what they are for. Raises DataError."""
    try:
        opened = np.load(place_of(path), allow_pickle=False)
        if not hasattr(opened, "files"):
            raise DataError(f"data.path={path}: one array and not several by name", "numpy.savez writes several")
        with opened as file:
            found = {}
            for key, name in wanted.items():
                if name not in file.files:
                    there = ", ".join(file.files[:12]) or "none"
                    raise DataError(f"data.{key}={name}: {path} has no such array", f"it has {there}")
                found[key] = file[name]
    except OSError as error:
        raise DataError(f"data.path={path}: {error.strerror or 'no .npz file'}", "numpy.savez writes one") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        is_objects = "Object arrays" in str(error)  # else numpy takes what it does not know for a pickle
        why = "arrays of Python objects are not read" if is_objects else "no .npz file"
        raise DataError(f"data.path={path}: {why}", "numpy.savez writes arrays of numbers") from error
    for key, array in found.items():
        if array.ndim == 0 or not len(array):
            raise DataError(f"data.path={path}: {wanted[key]!r} is empty")
        if len(array) != len(found["inputs"]):
            counts = f"{len(found['inputs'])} rows and {wanted[key]!r} {len(array)}"
            raise DataError(f"data.path={path}: {wanted['inputs']!r} has {counts}")
    return found


def _numbers(array: NDArray[Any], path: str, name: str) -> NDArray[Any]:
    """Numbers that torch knows, and finite. Raises DataError."""
    if array.dtype.kind not in "fiub":
        raise DataError(f"data.path={path}: {name!r} is of {array.dtype}; expected numbers")
    if array.dtype.kind == "f":
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            raise DataError(f"data.path={path}: {name!r} has {array[tuple(bad[0])]} in row {bad[0][0]}")
        return array.astype(np.float64)
    if array.dtype == np.uint8 or array.dtype == np.bool_:
        return array
    return array.astype(np.int64)


def _targets(array: NDArray[Any], path: str, name: str, task: str | None) -> tuple[list[str], Tensor]:
    """Names of the classes, none of a regression, and the targets. Raises DataError."""
    if array.dtype.kind in "US":
        if task == "regression" or array.ndim > 1:
            raise DataError(f"data.path={path}: {name!r} is text of shape {array.shape}; expected classes (n,)")
        kinds, places = np.unique(array, return_inverse=True)
        return _several([str(kind) for kind in kinds], path, name), torch.from_numpy(places.astype(np.int64))
    numbers = _numbers(array, path, name)
    if task == "regression" or (task is None and numbers.dtype.kind == "f"):
        if numbers.ndim > 2:
            raise DataError(f"data.path={path}: {name!r} is of shape {array.shape}; expected numbers (n,) or (n, k)")
        if np.any(np.ptp(numbers.astype(np.float64), axis=0) == 0):
            raise DataError(f"data.path={path}: {name!r} is the same in each row: nothing to learn")
        numbers = numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers
        return [], torch.from_numpy(numbers.astype(np.float64))
    if numbers.dtype.kind == "f" and np.any(numbers != np.round(numbers)):
        raise DataError(f"data.path={path}: {name!r} has numbers that are not whole; classes are", "task=regression")
    if numbers.ndim > 2:
        raise DataError(f"data.path={path}: {name!r} is of shape {array.shape}; expected classes (n,), tokens (n, t)")
    kinds, places = np.unique(numbers, return_inverse=True)
    if numbers.ndim == 2:  # tokens: their numbers are their places in the vocabulary
        top = int(kinds[-1])
        if kinds[0] < 0:
            raise DataError(f"data.path={path}: {name!r} has tokens below 0")
        return _several([str(k) for k in range(top + 1)], path, name), torch.from_numpy(numbers.astype(np.int64))
    return _several([f"{kind:g}" for kind in kinds], path, name), torch.from_numpy(places.astype(np.int64))


def _several(kinds: list[str], path: str, name: str) -> list[str]:
    if len(kinds) < 2:
        raise DataError(f"data.path={path}: {name!r} is {kinds[0]} in each row: one class, nothing to tell")
    return kinds
