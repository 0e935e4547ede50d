"""A stand-in for food11 that needs no download: made-up pictures in the homework's folders, as JPEG files.

The files are real ones, of varying size, and go through the same listing, decoding, labels and cache as food11's; only
the pictures are made up. They are written once, into a temporary folder that is renamed when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from optbench.data._food_painter import paint
from optbench.data.food11 import Food11
from optbench.errors import DataError, OutputError
from optbench.folders import cache_folder, fingerprint, image_files, place_of
from optbench.images import Progress
from optbench.problem import AbstractData, Split
from optbench.problem.planning import is_planning

FOLDERS = {"train": "training", "validation": "validation", "test": "test"}
"""Folder of each split, below the root: those of the homework in 2022."""

_RECIPE = 1  # raise it when the same parameters give other pictures
_MARK = "recipe.json"
_SIDES = (96, 176)  # shortest and longest side of a picture


class SyntheticFood(AbstractData):
    """Made-up pictures of eleven dishes in the layout of food11, written where they are missing, then read as food11.

    The pictures depend on the parameters and `picture_seed` alone, never on the seed of a run.

    Args:
        root: folder to write to and read from; None for one in the cache folder, named by the parameters.
        n_classes: 2 to 11 dishes.
        channels: 3 (RGB) or 1 (grey).
        image_size: side that images are resized to.
        train_per_class: training pictures of each dish.
        validation_per_class: validation pictures of each dish.
        n_test: test pictures in all, unlabelled.
        picture_seed: names the pictures.

    Attributes:
        progress: called as progress(done, total) while files are decoded; None for silence.

    Raises:
        DataError: a value outside what is written above, or a root that holds something else.
        OutputError: from `load`: the pictures cannot be written.
    """

    progress: Progress | None = None

    def __init__(
        self,
        root: str | None = None,
        n_classes: int = 11,
        channels: int = 3,
        image_size: int = 64,
        train_per_class: int = 20,
        validation_per_class: int = 6,
        n_test: int = 33,
        picture_seed: int = 0,
    ) -> None:
        counts = {"train_per_class": train_per_class, "validation_per_class": validation_per_class, "n_test": n_test}
        for name, count in counts.items():
            if count < 1:
                raise DataError(f"{name}={count}: expected at least 1 picture")
        if picture_seed < 0:
            raise DataError(f"picture_seed={picture_seed}: expected 0 or more")
        self._recipe = {"recipe": _RECIPE, "n_classes": n_classes, **counts, "picture_seed": picture_seed}
        digest = hashlib.sha256(json.dumps(self._recipe).encode()).hexdigest()[:16]
        self._root = place_of(root) if root is not None else cache_folder() / f"synthetic-food-{digest}"
        self._named = root is not None  # then its contents are part of a run's identity, and the user's to change
        self._food = Food11(str(self._root), n_classes, channels, image_size)
        self.n_classes = n_classes
        self.channels = channels
        self.image_size = image_size
        self.class_names = self._food.class_names

    def make(self) -> Path:
        """Writes the pictures where they are missing, and returns the folder that has them.

        While a run is planned that is a copy in the cache where the root lacks them. Raises DataError, OutputError.
        """
        if self._complete():
            return self._root
        if self._named and is_planning():
            recipe = {key: value for key, value in self._recipe.items() if key != "recipe"}
            copy = SyntheticFood(None, channels=self.channels, image_size=self.image_size, **recipe)
            self._food = copy._food
            return copy.make()
        self._write()
        return self._root

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split; "test" has no labels."""
        self.make()
        self._food.progress = self.progress
        return self._food.load(split)

    def label(self, name: str) -> int | str:
        """As of Food11."""
        return self._food.label(name)

    @property
    def accounts(self) -> dict[str, Any]:
        """Of each split that was read, how many pictures there are, and of each class."""
        return self._food.accounts

    def _labels(self, split: str) -> list[int]:
        """Label of each picture of a split, in file order; those of the test split in random order."""
        if split == "test":
            rng = np.random.default_rng([self._recipe["picture_seed"], len(FOLDERS)])
            return [int(label) for label in rng.permutation(self._recipe["n_test"]) % self.n_classes]
        count = self._recipe[f"{split}_per_class"]
        return [label for label in range(self.n_classes) for _ in range(count)]

    def _complete(self) -> bool:
        """Whether the root holds these pictures, all of them and unchanged; DataError if it holds anything else."""
        if not self._root.exists():
            return False
        if not self._root.is_dir():
            raise self._foreign("a file is in the way")
        try:
            written = json.loads((self._root / _MARK).read_text(encoding="utf-8"))
        except FileNotFoundError:
            if any(self._root.iterdir()):
                raise self._foreign("not made by synthetic_food") from None
            return False
        except (OSError, ValueError) as error:
            raise self._foreign(f"{_MARK} cannot be read: {error}") from None
        contents = written.pop("contents", None) if isinstance(written, dict) else None
        if written != self._recipe:
            raise self._foreign(f"its {_MARK} has other parameters")
        try:
            whole = all(len(image_files(self._root / FOLDERS[split])) == len(self._labels(split)) for split in FOLDERS)
            return whole and (self._named or fingerprint(self._root) == contents)
        except DataError:
            return False

    def _foreign(self, why: str) -> DataError:
        return DataError(f"{self._root}: {why}", "name another data.root, or remove that one")

    def _write(self) -> None:
        """Writes all splits to a temporary folder beside the root and renames it."""
        try:
            self._root.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._root.parent, prefix=f".{self._root.name}-") as temporary:
                folder = Path(temporary) / "food"
                for place, split in enumerate(FOLDERS):
                    self._write_split(folder, place, split)
                mark = {**self._recipe, "contents": fingerprint(folder)}
                (folder / _MARK).write_text(json.dumps(mark) + "\n", encoding="utf-8")
                self._move(folder, Path(temporary) / "old")
        except OSError as error:
            raise OutputError(
                f"{self._root}: pictures cannot be written ({error.strerror or error})",
                "name a writable folder with data.root=..., or for all caches with OPTBENCH_CACHE",
            ) from None

    def _move(self, folder: Path, aside: Path) -> None:
        """Puts the written folder at the root, unless another process was first."""
        if self._root.exists():
            if self._complete():
                return
            with suppress(FileNotFoundError):  # another process is replacing it too
                os.rename(self._root, aside)
        try:
            os.rename(folder, self._root)
        except OSError:
            if not self._complete():
                raise

    def _write_split(self, folder: Path, place: int, split: str) -> None:
        """Writes one split; picture `number` has a random stream of its own, (picture_seed, place, number)."""
        target = folder / FOLDERS[split]
        target.mkdir(parents=True)
        of_label: dict[int, int] = {}
        for number, label in enumerate(self._labels(split)):
            rng = np.random.default_rng([self._recipe["picture_seed"], place, number])
            width, height = (int(side) for side in rng.integers(*_SIDES, size=2, endpoint=True))
            of_label[label] = of_label.get(label, -1) + 1
            name = f"{number + 1:04d}.jpg" if split == "test" else f"{label}_{of_label[label]}.jpg"
            Image.fromarray(paint(label, width, height, rng)).save(target / name, quality=90)
