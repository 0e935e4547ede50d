"""Your own images: a folder a class, as torchvision's ImageFolder reads them."""

from __future__ import annotations

from pathlib import Path

import torch

from optbench.errors import DataError
from optbench.folders import place_of
from optbench.images import Progress, check_size, read_folder
from optbench.problem import AbstractData, Split

_FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
_LAYOUT = "data.root must hold train/CLASS/*, validation/CLASS/* (or val/CLASS/*) and, to predict, test/*"


class ImageFolder(AbstractData):
    """Images below root/train/CLASS, root/validation/CLASS (or root/val/CLASS) and root/test.

    Classes are the folders of root/train in alphabetical order. The test split has labels if its images lie in class
    folders, none if they lie in root/test itself. A split is read when it is asked for.

    Args:
        root: folder that holds the splits; relative to where the program was started.
        n_classes: number of class folders, checked against what is there.
        channels: 3 (RGB) or 1 (grey).
        image_size: side that images are resized to.

    Attributes:
        progress: called as progress(done, total) while files are decoded; None for silence.

    Raises:
        DataError: a missing folder, another number of classes, an unreadable image, an image outside a class folder.
    """

    progress: Progress | None = None

    def __init__(
        self,
        root: str = "data/images",
        n_classes: int = 10,
        channels: int = 3,
        image_size: int = 64,
    ) -> None:
        check_size(image_size, channels)
        self._root = place_of(root)
        self.class_names = _subfolders(self._folder("train"))
        if len(self.class_names) != n_classes:
            raise DataError(
                f"{self._folder('train')}: {len(self.class_names)} class folders, but n_classes={n_classes}",
                f"set data.n_classes={len(self.class_names)}" if len(self.class_names) > 1 else _LAYOUT,
            )
        self.n_classes = n_classes
        self.channels = channels
        self.image_size = image_size

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split; DataError where it cannot be read."""
        folder = self._folder(split)
        images, names = read_folder(folder, self.image_size, self.channels, recursive=True, progress=self.progress)
        if split == "test" and not any("/" in name for name in names):
            return Split(images, None, names)
        labels = torch.tensor([self._label(folder, name) for name in names])
        if split == "train" and (empty := set(range(self.n_classes)) - set(labels.tolist())):
            first = folder / self.class_names[min(empty)]
            raise DataError(f"{first}: no images in this class folder", "add some, or remove the folder")
        return Split(images, labels, names)

    def _folder(self, split: str) -> Path:
        """Folder of a split."""
        if split not in _FOLDERS:
            raise DataError(f"image_folder: no split {split!r} (expected {', '.join(_FOLDERS)})")
        choices = [self._root / name for name in _FOLDERS[split]]
        for folder in choices:
            if folder.is_dir():
                return folder
        raise DataError(f"{choices[0]}: no such folder", _LAYOUT)

    def _label(self, folder: Path, name: str) -> int:
        """Place of the image's first folder among the classes."""
        first, slash, _ = name.partition("/")
        if not slash:
            raise DataError(f"{folder / name}: an image outside the class folders", _LAYOUT)
        if first not in self.class_names:
            raise DataError(f"{folder / name}: class {first!r} is not among the folders of {self._folder('train')}")
        return self.class_names.index(first)


def _subfolders(folder: Path) -> tuple[str, ...]:
    """Names of the visible folders in a folder, sorted."""
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
