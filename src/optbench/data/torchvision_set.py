"""Data sets of torchvision's, read from local files by its own classes; fetched only where that is asked for."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from optbench.data._sizes import published
from optbench.data._tables import cut
from optbench.errors import DataError
from optbench.folders import place_of
from optbench.images import check_size
from optbench.problem import AbstractData, Split

_BY_SPLIT = frozenset({"SVHN"})  # whose parts have names; the others have train=True and train=False


class TorchvisionSet(AbstractData):
    """Images of a data set of torchvision's, uint8, brought to channels and image_size.

    Its training images are cut into training and validation images, each class in the same proportion, by split_seed
    alone; its test images are the test split.

    Args:
        name: of the class in torchvision.datasets, one of TORCHVISION.
        path: the folder that the class calls root; relative to where the program was started.
        download: whether files that are not there are fetched. None are without it.
        n_classes: as many as the data set has; None: those.
        channels: 1 or 3; None: as the images are published.
        image_size: side of the images; None: as they are published.
        validation_share: part of each class of the training images for validation, between 0 and 1.
        split_seed: names the cut, which is the same for all seeds of runs.

    Raises:
        DataError: another name or number of classes; no such folder or files, or broken ones; one class.

    Source: https://docs.pytorch.org/vision/stable/datasets.html
    """

    def __init__(
        self,
        name: str,
        path: str,
        download: bool = False,
        n_classes: int | None = None,
        channels: int | None = None,
        image_size: int | None = None,
        validation_share: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        usual = published(name, n_classes)
        channels = usual.channels if channels is None else channels
        image_size = usual.image_size if image_size is None else image_size
        check_size(image_size, channels)
        if not 0 < validation_share < 1:
            raise DataError(f"validation_share={validation_share}: expected a number between 0 and 1")
        if split_seed < 0:
            raise DataError(f"split_seed={split_seed}: expected 0 or more")
        self._name, self._path, self._download = name, path, download
        self.n_classes, self.channels, self.image_size = usual.n_classes, channels, image_size
        self._share, self._split_seed = validation_share, split_seed
        if not download and not place_of(path).is_dir():
            raise DataError(f"data.path={path}: no such folder", f"data.download=true fetches {name} into it")

    @functools.cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """As torchvision has them, else their numbers."""
        known = tuple(map(str, getattr(self._source(True), "classes", ())))
        return known if len(set(known)) == self.n_classes else tuple(map(str, range(self.n_classes)))

    def fetch(self) -> None:
        """Fetches what is not there, where that was asked for. Raises DataError where it cannot be fetched."""
        self._source(True)

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split, all with labels; DataError where there is none."""
        if split not in ("train", "validation", "test"):
            raise DataError(f"{self._name}: no images in split {split!r} (expected train, validation or test)")
        images, labels = self._read(split != "test")
        index = torch.arange(len(labels))
        if split != "test":
            index = cut(labels, {"validation": self._share}, self._split_seed)[split]
        if not len(index):
            raise DataError(f"{self._name}: {len(labels)} images are too few for a {split} split of this share",
                            "change data.validation_share")  # fmt: skip
        pixels = np.ascontiguousarray(np.stack([self._scaled(images[i]) for i in index.tolist()]))
        part = "test" if split == "test" else "train"
        return Split(torch.from_numpy(pixels), labels[index], tuple(f"{part}/{i + 1:05d}" for i in index.tolist()))

    def _scaled(self, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(h, w) or (h, w, 3) uint8 to (channels, image_size, image_size)."""
        size = (self.image_size, self.image_size)
        picture = Image.fromarray(image).convert("L" if self.channels == 1 else "RGB")
        square = picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(square, dtype=np.uint8).reshape(*size, self.channels).transpose(2, 0, 1)

    @functools.cache  # noqa: B019  data sets live as long as their runs
    def _read(self, train: bool) -> tuple[np.ndarray[Any, Any], Tensor]:
        """The images of a part as they are, (n, h, w) or (n, h, w, 3) uint8, and their labels, int64 (n,)."""
        source = self._source(train)
        images = np.asarray(source.data)
        if self._name in _BY_SPLIT:
            images = images.transpose(0, 2, 3, 1)
        labels = torch.as_tensor(np.asarray(getattr(source, "targets", getattr(source, "labels", None)))).long()
        part = "training" if train else "test"
        if len(images) != len(labels) or not len(labels):
            raise DataError(
                f"data.path={self._path}: {len(images)} {part} images of {self._name}, {len(labels)} labels"
            )
        if int(labels.min()) < 0 or int(labels.max()) >= self.n_classes:
            raise DataError(f"data.path={self._path}: {part} labels of {self._name} from {int(labels.min())} to "
                            f"{int(labels.max())}; expected 0 to {self.n_classes - 1}")  # fmt: skip
        if train and len(labels.unique()) < 2:
            raise DataError(
                f"data.path={self._path}: every image has label {int(labels[0])}: one class, nothing to tell"
            )
        return images, labels

    @functools.cache  # noqa: B019
    def _source(self, train: bool) -> Any:
        """torchvision's object. Raises DataError for files that are not there, cannot be fetched, or are broken."""
        from optbench.vision import torchvision

        made = getattr(torchvision.datasets, self._name)
        part: dict[str, Any] = {"train": train}
        if self._name in _BY_SPLIT:
            part = {"split": "train" if train else "test"}
        try:
            return made(str(place_of(self._path)), download=self._download, **part)
        except Exception as error:  # of files, of the network, of what is in the files
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> DataError:
        text = " ".join(str(error).split())[:120] or type(error).__name__
        if self._download and isinstance(error, OSError | RuntimeError):
            return DataError(f"{self._name} cannot be fetched into data.path={self._path}: {text}")
        if "not found" in text.lower():
            hint = "data.download=true fetches it; the folder is the one that torchvision calls root"
            return DataError(f"data.path={self._path}: {self._name} is not there", hint)
        return DataError(
            f"data.path={self._path}: broken files of {self._name}: {text}", "data.download=true fetches them"
        )
