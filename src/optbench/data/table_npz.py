"""Arrays of one's own in a NumPy file: inputs of any shape, and a target for each."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optbench.data._arrays import check_task, numbers_of, targets_of, weights_of
from optbench.data._tables import Rows
from optbench.errors import DataError
from optbench.folders import place_of


class Arrays(Rows):
    """Two arrays of an .npz file, as `numpy.savez(path, x=..., y=...)` writes it; nothing of the file is executed.

    Inputs that are floating point are numbers, whole ones tokens, uint8 bytes that are scaled to [0, 1], bool 0 or 1.
    Targets that are floating point are numbers to learn, (n,) or (n, k); whole ones or text are classes, (n,), or
    tokens, (n, t).

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
        check_task(task)
        wanted = {"inputs": inputs, "target": target, **({"weight": weight} if weight else {})}
        where, found = f"data.path={path}", _read(path, wanted)
        x = torch.from_numpy(np.ascontiguousarray(numbers_of(found["inputs"], where, inputs)))
        x = x.double() if x.dtype == torch.bool else x
        names, y = targets_of(found["target"], where, target, task)
        weights = None if weight is None else weights_of(found["weight"], where, weight)
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
