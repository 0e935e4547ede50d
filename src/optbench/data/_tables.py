"""What data sets of rows have in common: the cut into splits by split_seed, and columns measured in deviations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from optbench.errors import DataError
from optbench.problem import AbstractData, Ragged, Split, stream
from optbench.problem.trees import mapped

SPLITS = ("train", "validation", "test")
MOST_KINDS = 20
"""Different whole numbers in a column up to which they count as classes, where nobody says; kinds of words in a column
of inputs."""


def check_cut(validation_share: float, test_share: float, split_seed: int) -> None:
    """Raises DataError for shares that leave nothing to train or to validate on, or a negative split_seed."""
    if not (validation_share > 0 and test_share >= 0 and validation_share + test_share < 1):
        raise DataError(f"validation_share={validation_share}, test_share={test_share}: expected shares of the "
                        "examples that leave some for training and for validation")  # fmt: skip
    if split_seed < 0:
        raise DataError(f"split_seed={split_seed}: expected 0 or more")


def cut(targets: Tensor | Ragged, shares: dict[str, float], split_seed: int) -> dict[str, Tensor]:
    """Indices of the splits, rising, stratified where the targets (n,) are classes; each example stands in one.

    Args:
        targets: (n,) whole numbers, or (n, ...) numbers or tokens, which are no strata, nor rows that differ in length.
        shares: of the splits beside "train".
        split_seed: names the cut.
    """
    strata: list[Tensor | None] = [None]
    if isinstance(targets, Tensor) and not targets.is_floating_point() and targets.ndim == 1:
        strata = [torch.nonzero(targets == k).flatten() for k in targets.unique()]
    parts: dict[str, list[Tensor]] = {name: [] for name in (*shares, "train")}
    for number, members in enumerate(strata):
        members = torch.arange(len(targets)) if members is None else members
        members = members[torch.randperm(len(members), generator=stream(split_seed, "split", number))]
        start = 0
        for name, share in shares.items():
            count = round(share * len(members))
            parts[name].append(members[start : start + count])
            start += count
        parts["train"].append(members[start:])
    return {name: torch.cat(indices).sort().values for name, indices in parts.items()}


def parts_of(
    targets: Tensor | Ragged, shares: dict[str, float], split_seed: int, sizes: Mapping[str, int] | None
) -> dict[str, Tensor]:
    """Indices of the splits, as of `cut`, where some of them may be there already.

    Args:
        targets, shares, split_seed: as of `cut`.
        sizes: of the splits that are there, in the order of their rows; those of `shares` that are not among them are
            cut from the rows of "train". None: none is there.
    """
    if sizes is None:
        return cut(targets, shares, split_seed)
    ends = dict(zip(sizes, torch.tensor(list(sizes.values())).cumsum(0).tolist(), strict=True))
    parts = {name: torch.arange(end - sizes[name], end) for name, end in ends.items()}
    train = parts["train"]
    lacking = {name: share for name, share in shares.items() if name not in sizes}
    return parts | {name: train[at] for name, at in cut(targets[train], lacking, split_seed).items()}


class Rows(AbstractData):
    """Rows of numbers with a target each, cut into splits.

    Args:
        name: for messages.
        inputs: (n, ...), floating point, or tokens; or rows of them that differ in length.
        targets: whole numbers below n_classes, or floating point (n,) or (n, k); or rows of these.
        class_names: in the order of their numbers; none of a regression.
        names: n names; None: the numbers of the rows, from 1.
        weights: (n,) of the examples; None: all alike.
        sizes: of the splits that are there, as of `parts_of`; None: all are cut.
        unlabelled: splits whose targets are no targets.
        validation_share, test_share, split_seed: of the cut.
        standardize: whether inputs that are numbers, and targets that are, are measured in standard deviations from the
            mean of the training data, column by column.

    Raises:
        DataError: fewer rows than splits.
    """

    def __init__(
        self,
        name: str,
        inputs: Tensor | Ragged,
        targets: Tensor | Ragged,
        class_names: Sequence[str],
        validation_share: float,
        test_share: float,
        split_seed: int,
        standardize: bool,
        names: Sequence[str] | None = None,
        weights: Tensor | None = None,
        sizes: Mapping[str, int] | None = None,
        unlabelled: Sequence[str] = (),
    ) -> None:
        check_cut(validation_share, test_share, split_seed)
        self.n_classes, self.class_names = len(class_names), tuple(class_names)
        self.n_targets = width_of(class_names, targets)
        self._name, self._inputs, self._targets, self._weights = name, inputs, targets, weights
        self._names = tuple(names) if names is not None else tuple(f"{row + 1:04d}" for row in range(len(inputs)))
        self._parts = parts_of(targets, {"test": test_share, "validation": validation_share}, split_seed, sizes)
        self._unlabelled = frozenset(unlabelled)
        wanted = [split for split in SPLITS if split != "test" or test_share]
        if empty := [split for split in wanted if not len(self._parts[split])]:
            of_classes = f" of {self.n_classes} classes" if self.n_classes else ""
            hint = "change data.validation_share or data.test_share, or give more rows"
            if 2 * self.n_classes > len(inputs):  # each class gives its share, and few have two rows
                hint = "is the target a number, or a name of each row? data.task=regression learns numbers"
            came = f"{name}: {len(inputs)} rows{of_classes}"
            raise DataError(f"{came} are too few for a {empty[0]} split of these shares", hint)
        self._standardize = standardize

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split, with targets where it has some; DataError where there is none."""
        chosen = self._parts.get(split)
        if chosen is None or not len(chosen):
            raise DataError(
                f"{self._name}: no rows in split {split!r} (expected a non-empty train, validation or test)"
            )
        inputs = self._measured(self._inputs, chosen)
        targets = None if split in self._unlabelled else self._measured(self._targets, chosen)
        names = tuple(self._names[index] for index in chosen.tolist())
        return Split(inputs, targets, names, None if self._weights is None else self._weights[chosen])

    def _measured(self, values: Tensor | Ragged, chosen: Tensor) -> Tensor | Ragged:
        """Some rows; of numbers in float32, in standard deviations of the training rows where that is asked for."""
        if not values.is_floating_point():
            return values[chosen]
        if not self._standardize:
            found: Tensor | Ragged = mapped(lambda part: part.float(), values[chosen])
            return found
        mean, deviation = self._scale(values)
        measured: Tensor | Ragged = mapped(lambda part: ((part.double() - mean) / deviation).float(), values[chosen])
        return measured

    def _scale(self, values: Tensor | Ragged) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the training rows, the latter 1 where they do not differ; over the positions of rows
        that differ in length."""
        rows = values[self._parts["train"]]
        train = (rows.values if isinstance(rows, Ragged) else rows).double()
        mean, deviation = train.mean(dim=0), train.std(dim=0, correction=0)
        differs = deviation > 1e-9 * mean.abs().clamp(min=1.0)  # beyond the rounding of the mean
        return mean, torch.where(differs, deviation, 1.0)

    def units(self) -> tuple[Tensor, Tensor] | None:
        if not (self._standardize and self._targets.is_floating_point()):
            return None
        mean, deviation = self._scale(self._targets)
        return mean.reshape(-1), deviation.reshape(-1)


def width_of(class_names: Sequence[str], targets: Tensor | Ragged) -> int:
    """Numbers that a target has: 1 of classes, and of numbers by themselves."""
    of_one = targets.values if isinstance(targets, Ragged) else targets
    return of_one.shape[1] if not class_names and of_one.ndim > 1 else 1


def scikit_learns(file: str) -> tuple[Tensor, Tensor, list[str]]:
    """A table that comes with scikit-learn: inputs float64 (n, d), labels int64 (n,) and the names of the classes.

    Its file is read without scikit-learn, whose import takes longer than most runs on it.

    Raises:
        DataError: scikit-learn is not installed, or keeps the file elsewhere.
    """
    spec = find_spec("sklearn")
    places = [Path(folder, "datasets", "data", file) for folder in (spec and spec.submodule_search_locations) or ()]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DataError(f"{file} is not where scikit-learn keeps it", "install scikit-learn 1.x")
    with found.open(encoding="utf-8") as lines:
        n, d, *class_names = next(lines).strip().split(",")
        table = np.loadtxt(lines, delimiter=",")
    both = torch.from_numpy(table)
    assert both.shape == (int(n), int(d) + 1)
    return both[:, :-1], both[:, -1].long(), class_names
