"""Arrays of one's own in a NumPy file: inputs of any shape, and a target for each."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optbench.data._arrays import Lists, check_task, inputs_of, lists_of, targets_of, weights_of
from optbench.data._tables import Rows, width_of
from optbench.errors import DataError
from optbench.folders import place_of
from optbench.problem.trees import mapped, shape_of


class Arrays(Rows):
    """Two arrays of an .npz file, as `numpy.savez(path, x=..., y=...)` writes it; nothing of the file is executed.

    Inputs that are floating point are numbers, whole ones tokens, uint8 bytes that are scaled to [0, 1], bool 0 or 1.
    Targets that are floating point are numbers to learn, (n,) or (n, k); whole ones or text are classes, (n,), or
    tokens, (n, t). Rows that differ in length are two arrays: all values one after another, `x=np.concatenate(rows)`,
    and where each row begins, `x_offsets=np.cumsum([0, *map(len, rows)])`; targets of their positions likewise, with
    y_offsets.

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
        x = inputs_of(found["inputs"], where, inputs)
        x = mapped(lambda part: part.double(), x) if x.dtype == torch.bool else x
        names, y = targets_of(found["target"], where, target, task)
        weighed = found.get("weight")
        weights = weights_of(weighed, where, str(weight)) if isinstance(weighed, np.ndarray) else None
        if n_targets is not None and n_targets != width_of(names, y):
            raise DataError(f"n_targets={n_targets}: {target!r} is of shape {shape_of(y)}", "leave out n_targets")
        super().__init__(path, x, y, names, validation_share, test_share, split_seed, standardize, weights=weights)


def _read(path: str, wanted: dict[str, str]) -> dict[str, NDArray[Any] | Lists]:
    """The arrays by what they are for. Raises DataError."""
    try:
        opened = np.load(place_of(path), allow_pickle=False)
        if not hasattr(opened, "files"):
            raise DataError(f"data.path={path}: one array and not several by name", "numpy.savez writes several")
        with opened as file:
            found: dict[str, NDArray[Any] | Lists] = {}
            for key, name in wanted.items():
                if name not in file.files:
                    there = ", ".join(file.files[:12]) or "none"
                    raise DataError(f"data.{key}={name}: {path} has no such array", f"it has {there}")
                found[key] = file[name]
                if (begins := f"{name}_offsets") in file.files and key != "weight":
                    found[key] = lists_of(file[name], file[begins], f"data.path={path}", begins)
    except OSError as error:
        raise DataError(f"data.path={path}: {error.strerror or 'no .npz file'}", "numpy.savez writes one") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        is_objects = "Object arrays" in str(error)  # else numpy takes what it does not know for a pickle
        why = "arrays of Python objects are not read" if is_objects else "no .npz file"
        hint = "numpy.savez writes arrays of numbers"
        if is_objects:
            hint += "; rows that differ in length as x=np.concatenate(rows), x_offsets=np.cumsum([0, *map(len, rows)])"
        raise DataError(f"data.path={path}: {why}", hint) from error
    counted = {key: len(one.lengths) if isinstance(one, Lists) else one.ndim and len(one) for key, one in found.items()}
    for key, count in counted.items():
        if not count:
            raise DataError(f"data.path={path}: {wanted[key]!r} is empty")
        if count != counted["inputs"]:
            counts = f"{counted['inputs']} rows and {wanted[key]!r} {count}"
            raise DataError(f"data.path={path}: {wanted['inputs']!r} has {counts}")
    return found
