"""A regression: 442 patients that come with scikit-learn, ten numbers each, and a number to be learnt from them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from optbench.errors import DataError
from optbench.problem import AbstractData, Split, stream

_FILES = ("datasets/data/diabetes_data_raw.csv.gz", "datasets/data/diabetes_target.csv.gz")
_FEATURES = 10


def _read() -> tuple[Tensor, Tensor]:
    """Features (442, 10) and targets (442,) as measured, float64; from scikit-learn's files without its slow import."""
    spec = find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        files = [Path(folder) / name for name in _FILES]
        if all(file.is_file() for file in files):
            x, y = (np.loadtxt(file) for file in files)
            return torch.from_numpy(x), torch.from_numpy(y)
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    return torch.from_numpy(bunch.data), torch.from_numpy(bunch.target)


class Diabetes(AbstractData):
    """x: age, sex, body mass index, blood pressure and six blood values; y: how far the disease went in a year.

    All eleven are measured in standard deviations from the mean of the training patients, so that a loss of 1 is what
    the mean alone would give. There are no classes: n_classes is 0, and a patient is a row of ten numbers.

    Args:
        n_classes, channels, image_size: 0, 10 and 1, part of the identity of runs of when a row stood as an image.
        validation_share: part of the patients for validation, above 0.
        test_share: part for the test, 0 for no test split.
        split_seed: names the cut, which is the same for all seeds of runs.

    Raises:
        DataError: another value than what is written above.

    Source: B. Efron et al., Least Angle Regression, Annals of Statistics 32 (2004) 407; scikit-learn's load_diabetes.
    """

    def __init__(
        self,
        n_classes: int = 0,
        channels: int = _FEATURES,
        image_size: int = 1,
        validation_share: float = 0.2,
        test_share: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        given = {"n_classes": n_classes, "channels": channels, "image_size": image_size}
        for (name, value), only in zip(given.items(), (0, _FEATURES, 1), strict=True):
            if value != only:
                raise DataError(f"{name}={value}: the patients are ten numbers each, {name} is {only}")
        if not (validation_share > 0 and test_share >= 0 and validation_share + test_share < 1):
            raise DataError(f"validation_share={validation_share}, test_share={test_share}: expected shares of the "
                            "patients that leave some for training and for validation")  # fmt: skip
        if split_seed < 0:
            raise DataError(f"split_seed={split_seed}: expected 0 or more")
        self._shares = {"test": test_share, "validation": validation_share}
        self._split_seed = split_seed

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split, all with labels; DataError where there is none."""
        x, y = _read()
        parts = self._parts(len(y))
        chosen, train = parts.get(split), parts["train"]
        if chosen is None or not len(chosen) or not len(train) > 1:
            raise DataError(f"diabetes: no patients in split {split!r} (expected train, validation or test)")
        chosen = chosen.sort().values
        x, y = ((v[chosen] - v[train].mean(dim=0)) / v[train].std(dim=0) for v in (x, y))
        names = tuple(f"{index + 1:04d}" for index in chosen.tolist())
        return Split(x.float(), y.float(), names)

    def _parts(self, n: int) -> dict[str, Tensor]:
        """The numbers of the patients in each split."""
        order = torch.randperm(n, generator=stream(self._split_seed, "split"))
        parts, begin = {}, 0
        for name, share in self._shares.items():
            count = round(share * n)
            parts[name], begin = order[begin : begin + count], begin + count
        return {**parts, "train": order[begin:]}

    def units(self) -> tuple[Tensor, Tensor] | None:
        _, y = _read()
        train = y[self._parts(len(y))["train"]]
        return train.mean().reshape(1), train.std().reshape(1)
