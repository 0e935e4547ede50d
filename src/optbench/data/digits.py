"""The handwritten digits that come with scikit-learn: 1797 real images, nothing to download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from optbench.errors import DataError
from optbench.images import check_size
from optbench.problem import AbstractData, Split, stream

_FILE = "datasets/data/digits.csv.gz"


def _read() -> tuple[Tensor, Tensor]:
    """Levels, uint8 (1797, 8, 8) in 0..16, and labels, int64 (1797,).

    scikit-learn's file is read without scikit-learn, whose import takes longer than the reading of all the images and
    than many a run on them; a release that keeps the file elsewhere is asked for it.
    """
    spec = find_spec("sklearn")
    places = [Path(folder) / _FILE for folder in (spec and spec.submodule_search_locations) or ()]
    file = next((place for place in places if place.is_file()), None)
    if file is not None:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    else:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        table = np.column_stack([bunch.data, bunch.target]).astype(np.uint8)
    both = torch.from_numpy(table)
    return both[:, :-1].reshape(-1, 8, 8), both[:, -1].long()


_FEWEST = 174
"""Images of the rarest digit."""


class Digits(AbstractData):
    """Digits of 8x8 pixels in 17 grey levels, enlarged to image_size; about 180 images a class.

    Levels 0..16 become 0..255; the enlargement is bilinear. Each class is shuffled and cut into test, validation and
    training images, so that every split has the classes in the same proportion. The cut depends on `split_seed` alone,
    never on the seed of a run: runs with different seeds train and judge on the same images.

    Args:
        n_classes: 2 to 10; fewer than 10 keeps the digits below n_classes.
        channels: 1, or 3 equal ones.
        image_size: side of the images.
        validation_share: part of each class for validation, above 0.
        test_share: part of each class for the test, 0 for no test split.
        split_seed: names the cut.

    Raises:
        DataError: a value outside what is written above.

    Source: E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI repository (1998), test set.
    """

    def __init__(
        self,
        n_classes: int = 10,
        channels: int = 3,
        image_size: int = 32,
        validation_share: float = 0.2,
        test_share: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        check_size(image_size, channels)
        if not 2 <= n_classes <= 10:
            raise DataError(f"n_classes={n_classes}: expected 2 to 10 digits")
        leaves_some = validation_share > 0 and test_share >= 0 and validation_share + test_share < 1
        if not (
            leaves_some and round(validation_share * _FEWEST) and _FEWEST * (1 - validation_share - test_share) > 2
        ):
            raise DataError(
                f"validation_share={validation_share}, test_share={test_share}: expected shares of the images that "
                f"leave some for training and for validation, of each digit's {_FEWEST} or more"
            )
        if split_seed < 0:
            raise DataError(f"split_seed={split_seed}: expected 0 or more")
        self.n_classes = n_classes
        self.channels = channels
        self.image_size = image_size
        self.class_names = tuple(str(digit) for digit in range(n_classes))
        self._shares = {"test": test_share, "validation": validation_share}
        self._split_seed = split_seed

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split, all with labels; DataError where there is none."""
        levels, labels = _read()
        chosen = self._cut(labels).get(split)
        if chosen is None or len(chosen) == 0:
            raise DataError(f"digits: no images in split {split!r} (expected a non-empty train, validation or test)")
        names = tuple(f"{index + 1:04d}.png" for index in chosen.tolist())
        return Split(self._enlarge(levels[chosen]), labels[chosen], names)

    def _cut(self, labels: Tensor) -> dict[str, Tensor]:
        """Indices of each split, ascending."""
        parts: dict[str, list[Tensor]] = {"test": [], "validation": [], "train": []}
        for digit in range(self.n_classes):
            members = torch.nonzero(labels == digit).flatten()
            members = members[torch.randperm(len(members), generator=stream(self._split_seed, "split", digit))]
            start = 0
            for name, share in self._shares.items():
                count = round(share * len(members))
                parts[name].append(members[start : start + count])
                start += count
            parts["train"].append(members[start:])
        return {name: torch.cat(indices).sort().values for name, indices in parts.items()}

    def _enlarge(self, levels: Tensor) -> Tensor:
        """Levels 0..16, (n, 8, 8) -> uint8 (n, channels, image_size, image_size)."""
        size = (self.image_size, self.image_size)
        images = interpolate(levels[:, None].float() * (255 / 16), size, mode="bilinear", antialias=True)
        return images.round().clamp(0, 255).to(torch.uint8).expand(-1, self.channels, -1, -1).contiguous()
