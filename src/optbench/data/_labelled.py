"""What data sets of picture files have in common: splits in a folder or a zip, a label for each name, bad files."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from functools import cached_property
from typing import Any

import torch

from optbench.errors import DataError
from optbench.folders import place_of
from optbench.images import Progress, check_size, read
from optbench.pictures import SPLITS, Files, Splits
from optbench.problem import AbstractData, Split


class LabelledPictures(AbstractData):
    """Pictures whose label is in their name. A split is read when it is asked for.

    Args:
        root: folder or zip that holds the splits; relative to where the program was started.
        n_classes: number of classes.
        channels: 3 (RGB) or 1 (grey).
        image_size: side that images are resized to.
        on_bad: "error" or "skip": what becomes of files that are no readable picture, or have no label. A picture of an
            unlabelled split is never left out: a broken one is black.

    Attributes:
        layout: what the root must hold, in words.
        progress: called as progress(done, total) while files are decoded; None for silence.
        accounts: of each split that was read, how many pictures are used, left out, converted, and of each class.
        bad: of each split that was read, what is wrong with which file.

    Raises:
        DataError: a value outside what is written above.
    """

    layout: str
    progress: Progress | None = None

    def __init__(self, root: str, n_classes: int, channels: int, image_size: int, on_bad: str) -> None:
        check_size(image_size, channels)
        if on_bad not in ("error", "skip"):
            raise DataError(f"on_bad={on_bad}: expected error or skip")
        self.n_classes, self.channels, self.image_size = n_classes, channels, image_size
        self.accounts: dict[str, Any] = {}
        self.bad: dict[str, Any] = {}
        self._root, self._on_bad = place_of(root), on_bad

    @abstractmethod
    def label(self, name: str) -> int | str:
        """The label of a file, or why it has none."""

    @abstractmethod
    def has_labels(self, split: str, files: Files) -> bool:
        """Whether the pictures of a split are labelled."""

    @cached_property
    def splits(self) -> Splits:
        """Where the splits are. Raises DataError."""
        try:
            return Splits(self._root)
        except DataError as error:
            raise DataError(error.message, error.hint or self.layout) from None

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split. Raises DataError where it is missing, empty or unreadable."""
        if split not in SPLITS:
            raise DataError(f"no split {split!r} (expected {', '.join(SPLITS)})")
        try:
            files = self.splits.files(split)
        except DataError as error:
            raise DataError(error.message, error.hint or self.layout) from None
        labelled = self.has_labels(split, files)
        labels = {name: self.label(name) for name in files.names} if labelled else {}
        wrong = {i: why for i, name in enumerate(files.names) if isinstance(why := labels.get(name), str)}
        on_bad = self._on_bad if labelled else "keep"
        found = read(files, self.image_size, self.channels, on_bad=on_bad, wrong=wrong, progress=self.progress)
        self.accounts[split], self.bad[split] = found.account, found.bad
        if not labelled:
            return Split(found.images, None, found.names)
        numbers = [int(labels[name]) for name in found.names]
        counted = Counter(numbers)
        self.accounts[split]["classes"] = [counted[k] for k in range(self.n_classes)]
        return Split(found.images, torch.tensor(numbers), found.names)
