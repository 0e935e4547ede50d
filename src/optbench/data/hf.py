"""A data set of Hugging Face's `datasets` from local disk: columns of numbers, words, arrays or tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.data._arrays import Lists, check_task, inputs_of, weights_of
from optbench.data._saved_sets import SavedSet, classes_of, joined, joined_lists, learnt, read
from optbench.data._tables import MOST_KINDS, Rows, width_of
from optbench.errors import DataError
from optbench.problem import Ragged
from optbench.problem.trees import shape_of


class HuggingFace(Rows):
    """Rows of a data set that save_to_disk wrote, or of parquet, arrow, json or csv files.

    One column of arrays is taken as it is: floating point as numbers, whole ones as tokens, uint8 as bytes that are
    scaled to [0, 1]; lists alone, and targets of their positions, may differ in length. Several columns stand beside
    each other as numbers; one of words, or a ClassLabel, of at most 20 kinds is an input for each kind. The splits
    train, validation and test are taken as they are; one of the latter two that is not there is cut from the training
    rows, and splits of other names are left alone. A test split may lack targets.

    Args:
        path: a folder of save_to_disk, a folder of files, or a file; relative to where the program was started.
        target: column of what is to be learnt; of a regression also a list of them.
        inputs: column or columns to learn from; null: all others.
        task: classification or regression; null: classification where the target is text, a ClassLabel, or whole
            numbers of at most 20 different ones.
        drop: columns that are left out.
        weight: column of weights, one a row, none negative; null: all rows count alike.
        standardize: whether inputs (of a regression also targets) that are floating point are measured in standard
            deviations from the mean of the training rows, each position by itself.
        n_targets: null; the columns say how many numbers a target has.
        validation_share: part of the training rows (of each class) for validation where there is no such split.
        test_share: part for the test where there is no such split, 0 for none.
        split_seed: names the cut, which is the same for all seeds of runs.

    Raises:
        DataError: nothing at the path, or no data set; no such column or split; a missing value, with its row; columns
            of other types or shapes; one class; too few rows.

    Source: https://huggingface.co/docs/datasets
    """

    def __init__(
        self,
        path: str,
        target: str | Sequence[str],
        inputs: str | Sequence[str] | None = None,
        task: str | None = None,
        drop: Sequence[str] = (),
        weight: str | None = None,
        standardize: bool = True,
        n_targets: int | None = None,
        validation_share: float = 0.2,
        test_share: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        check_task(task)
        saved = read(path)
        wanted = [target] if isinstance(target, str) else list(target)
        used = [inputs] if isinstance(inputs, str) else list(inputs or ())
        given = {"target": wanted, "inputs": used, "drop": list(drop), "weight": [weight] if weight else []}
        saved.check(given)
        everything = [name for names in given.values() for name in names]
        if twice := [name for name in everything if everything.count(name) > 1]:
            settings = "data.target, data.inputs, data.drop and data.weight"
            raise DataError(f"column {twice[0]!r} is named twice in {settings}")
        used = used or [name for name in saved.features if name not in everything]
        if not used:
            raise DataError(f"data.path={path}: no column is left to learn {', '.join(wanted)} from")
        saved.check({"inputs": used})
        names, targets, unlabelled = learnt(saved, wanted, task)
        if n_targets is not None and n_targets != width_of(names, targets):
            raise DataError(f"n_targets={n_targets}: {target!r} is of shape {shape_of(targets)}", "leave out n_targets")
        weights = None if weight is None else weights_of(joined(saved, weight), f"data.path={path}", weight)
        super().__init__(
            path, _inputs(saved, used), targets, names, validation_share, test_share, split_seed, standardize,
            saved.names, weights, saved.sizes, unlabelled,
        )  # fmt: skip


def _inputs(saved: SavedSet, used: Sequence[str]) -> Tensor | Ragged:
    """The inputs of all rows, (n, ...): a column of arrays as it is, else numbers beside each other, float64 (n, d).
    Lists may differ in length where they stand alone.

    Raises:
        DataError: as of `joined`; pictures; more than 20 kinds of words; arrays that are no vectors beside others.
    """
    if len(used) == 1 and isinstance(rows := joined_lists(saved, used[0]), Lists):
        return inputs_of(rows, f"data.path={saved.path}", used[0])
    found = {name: joined(saved, name) for name in used}
    if len(used) == 1 and found[used[0]].ndim > 1:
        return torch.from_numpy(np.ascontiguousarray(found[used[0]]))
    columns = []
    for name, values in found.items():
        kinds = classes_of(saved, name) or (
            sorted(set(values)) if values.dtype == object and values.ndim == 1 else None
        )
        if kinds is not None:
            columns.append(_kinds(saved, name, values, kinds))
        elif values.ndim > 2 or values.dtype == object:
            what = f"column {name!r} is of shape {values.shape}; beside others, numbers or vectors are inputs"
            raise DataError(f"data.path={saved.path}: {what}", f"data.inputs={name} takes it alone")
        else:
            columns.append(values.reshape(len(values), -1).astype(np.float64))
    return torch.from_numpy(np.concatenate(columns, axis=1))


def _kinds(saved: SavedSet, name: str, values: NDArray[Any], kinds: Sequence[str]) -> NDArray[Any]:
    """A column for each kind, float64 (n, kinds): 1 where it is that and else 0. Raises DataError."""
    if len(kinds) > MOST_KINDS:
        raise DataError(
            f"data.path={saved.path}: column {name!r} has {len(kinds)} different words; up to {MOST_KINDS} are inputs",
            f"leave it out: data.drop=[{name}]; of text a tokenizer makes whole numbers of one length",
        )
    places = np.arange(len(kinds)) if values.dtype != object else np.asarray(kinds, dtype=object)
    if values.dtype != object and (values.min() < 0 or values.max() >= len(kinds)):
        raise DataError(f"data.path={saved.path}: column {name!r} has rows of no class", f"data.drop=[{name}]")
    chosen: NDArray[np.float64] = (values[:, None] == places[None, :]).astype(np.float64)
    return chosen
