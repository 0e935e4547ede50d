"""The images of homework 3: eleven kinds of food, in the folders that the course hands out."""

from __future__ import annotations

from pathlib import Path

import torch

from optbench.errors import DataError
from optbench.folders import place_of
from optbench.images import Progress, check_size, read_folder
from optbench.problem import AbstractData, Split

CLASS_NAMES = (
    "Bread",
    "Dairy product",
    "Dessert",
    "Egg",
    "Fried food",
    "Meat",
    "Noodles/Pasta",
    "Rice",
    "Seafood",
    "Soup",
    "Vegetable/Fruit",
)
"""Names of the labels 0 to 10, in the order of Food-11."""

FOLDERS = {"train": "training", "validation": "validation", "test": "test"}
"""Folder of each split, below the root."""


class Food11(AbstractData):
    """Food-11 as the homework lays it out: root/training and root/validation with the label before the underscore of
    the file name ("3_100.jpg"), root/test without labels ("0001.jpg"). A split is read when it is asked for.

    Args:
        root: folder that holds training, validation and test; relative to where the program was started.
        n_classes: 2 to 11; a label at or above it is an error.
        channels: 3 (RGB) or 1 (grey).
        image_size: side that images are resized to.

    Attributes:
        progress: called as progress(done, total) while files are decoded; None for silence.

    Raises:
        DataError: a value outside what is written above; from `load`: a missing or empty folder, an unreadable image,
            a file name without a valid label.

    Source: Singla, Yuan and Ebrahimi, "Food/non-food image classification and food categorization" (MADiMa 2016); NTU
    ML 2022 Spring, homework 3.
    """

    progress: Progress | None = None

    def __init__(
        self,
        root: str = "data/food11",
        n_classes: int = 11,
        channels: int = 3,
        image_size: int = 128,
    ) -> None:
        check_size(image_size, channels)
        if not 2 <= n_classes <= len(CLASS_NAMES):
            raise DataError(f"n_classes={n_classes}: expected 2 to {len(CLASS_NAMES)} kinds of food")
        self.n_classes = n_classes
        self.channels = channels
        self.image_size = image_size
        self.class_names = CLASS_NAMES[:n_classes]
        self._root = place_of(root)

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split; "test" has no labels. DataError where it cannot be read."""
        if split not in FOLDERS:
            raise DataError(f"food11: no split {split!r} (expected {', '.join(FOLDERS)})")
        folder = self._root / FOLDERS[split]
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such folder",
                "data.root must hold training/ and validation/ (files like 3_100.jpg) and test/ (files like 0001.jpg); "
                "data=synthetic_food makes a stand-in",
            )
        images, names = read_folder(folder, self.image_size, self.channels, progress=self.progress)
        if split == "test":
            return Split(images, None, names)
        return Split(images, torch.tensor([self._label(folder, name) for name in names]), names)

    def _label(self, folder: Path, name: str) -> int:
        """Label in a file name, 0 to n_classes - 1."""
        label, underscore, _ = name.partition("_")
        if not underscore or not (label.isascii() and label.isdecimal()):
            raise DataError(f"{folder / name}: no label in the name; expected LABEL_NUMBER.jpg, for example 3_100.jpg")
        if int(label) >= self.n_classes:
            raise DataError(f"{folder / name}: label {label}; expected 0 to {self.n_classes - 1}")
        return int(label)
