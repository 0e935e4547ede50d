"""Training and validation data merged and divided anew: each example is held out in one fold and trains in the others.

The division is stratified: of each class every fold has as many images as the others, give or take one. It depends on
the labels and their order alone, and not on the seed of a run, so that runs of the same data agree on it, whatever else
differs between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from optbench.errors import DataError
from optbench.problem.base import AbstractData, Split, stream
from optbench.problem.ragged import Ragged
from optbench.problem.trees import chosen, joined

Progress = Callable[[int, int], None]

KEYS = ("folds", "fold")
"""Settings of data that are not those of a data set."""


def divided(data: AbstractData, settings: Mapping[str, Any]) -> AbstractData:
    """The data set, on a fold where the settings of data name one."""
    return data if settings.get("folds") is None else Folds(data, settings["folds"], settings["fold"])


def folds_of(labels: Tensor | Ragged, folds: int) -> Tensor:
    """The fold of each example, int64 (n,): stratified by label.

    Args:
        labels: (n,), of classes; those of a regression or of texts, (n, ...), are no strata, nor rows of them.
        folds: how many, at least 2.

    Raises:
        DataError: fewer examples than folds.
    """
    n = len(labels)
    if n < folds:
        raise DataError(f"{n} examples cannot be divided into {folds} folds")
    shuffled = torch.randperm(n, generator=stream(0, "folds", folds))
    if isinstance(labels, Tensor) and not labels.is_floating_point() and labels.ndim == 1:
        shuffled = shuffled[torch.argsort(labels[shuffled], stable=True)]
    found = torch.empty(n, dtype=torch.long)
    found[shuffled] = torch.arange(n) % folds  # dealt out class after class, so that the folds are equally large too
    return found


class Folds(AbstractData):
    """A data set whose validation data are one fold of its training and validation data, and whose training data are
    the other folds; its test data stay as they are.

    Args:
        data: the data set.
        folds: how many.
        fold: which one is validation data, from 0.
    """

    def __init__(self, data: AbstractData, folds: int, fold: int) -> None:
        self._data, self._folds, self._fold = data, folds, fold
        self.n_classes, self.n_targets, self.class_names = data.n_classes, data.n_targets, data.class_names

    def units(self) -> tuple[Tensor, Tensor] | None:
        """Those of the data set, whose own training data say what a deviation is."""
        return self._data.units()

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split; names say of which part an image is: train/3_100.jpg."""
        if split not in ("train", "validation"):
            return self._data.load(split)
        parts = {name: self._data.load(name) for name in ("train", "validation")}
        whole = joined([_labels(part, name) for name, part in parts.items()])
        held = folds_of(whole, self._folds) == self._fold
        wanted = held if split == "validation" else ~held
        inputs, labels, weights, names, start = [], [], [], [], 0
        for name, part in parts.items():  # part by part, so that the whole is never copied
            index = torch.nonzero(wanted[start : start + len(part)]).flatten()
            start += len(part)
            inputs.append(chosen(part.inputs, index))
            labels.append(chosen(_labels(part, name), index))
            weights.append(torch.ones(len(index)) if part.weights is None else part.weights[index])
            names += [f"{name}/{part.names[i]}" for i in index.tolist()]
        weighted = any(part.weights is not None for part in parts.values())
        return Split(joined(inputs), joined(labels), tuple(names), torch.cat(weights) if weighted else None)

    @property
    def progress(self) -> Progress | None:
        """Told how many images are decoded, where the data set tells that."""
        return getattr(self._data, "progress", None)

    @progress.setter
    def progress(self, progress: Progress | None) -> None:
        if hasattr(self._data, "progress"):
            self._data.progress = progress

    def __getattr__(self, name: str) -> object:
        """What else the data set tells, such as its accounts."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._data, name)


def _labels(part: Split, name: str) -> Tensor | Ragged:
    if part.targets is None:
        raise DataError(f"the {name} examples have no labels, so they cannot be divided into folds")
    if not isinstance(part.targets, Tensor | Ragged):
        raise DataError(f"the {name} examples have several targets each, by which they cannot be divided into folds")
    return part.targets
