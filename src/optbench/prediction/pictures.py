"""The images that a network is asked about, in natural order, with labels where their place or their name says them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from optbench.catalogue import makes_its_root
from optbench.errors import DataError, UserError
from optbench.experiment.rebuild import SPLITS, Rebuilt
from optbench.folders import EXTENSIONS, place_of
from optbench.images import read
from optbench.pictures import Splits, files_at, place_at
from optbench.prediction.runs import natural
from optbench.problem import AbstractData, Split, read_split
from optbench.problem.splits import is_pictures

Progress = Callable[[int, int], None]

_LABELLED = re.compile(r"(\d+)_\d+\.\w+", re.ASCII)


@dataclass(frozen=True)
class Pictures:
    """Images to classify.

    Attributes:
        images: (n, channels, image_size, image_size), as `problem.Split` has them.
        names: of the n files, in natural order: 2 before 10.
        labels: int64 (n,); None where nothing says them.
        what: what they are, for a sentence: "validation images", "images in food/test".
        bad: what is wrong with files that are no readable picture, by name; their images are black.
    """

    images: Tensor
    names: tuple[str, ...]
    labels: Tensor | None
    what: str
    bad: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_readable(self) -> Tensor:
        """Which of them are readable pictures, bool (n,)."""
        return torch.tensor([name not in self.bad for name in self.names], dtype=torch.bool)

    def readable(self) -> Pictures:
        """Those that are readable pictures. Raises DataError where none is."""
        if not self.bad:
            return self
        kept = self.is_readable
        if not kept.any():
            name, why = next(iter(self.bad.items()))
            raise DataError(f"none of the {len(self)} {self.what} is a readable picture", f"the first, {name}: {why}")
        names = tuple(name for name in self.names if name not in self.bad)
        return Pictures(self.images[kept], names, None if self.labels is None else self.labels[kept], self.what)


def pictures(
    member: Rebuilt,
    place: Path | None = None,
    split: str | None = None,
    progress: Progress | None = None,
    usual: str = "test",
) -> Pictures:
    """What a network is to be asked about.

    Args:
        member: the network, whose data set says size and channels.
        place: a folder of images; a folder of class folders, or of others; or the root of a data set, of which the
            split is taken. None: the data set that the run was trained on, where its configuration says that it lies.
        split: train, validation or test; None: the usual one. A folder of images has none.
        progress: told how many images are decoded.
        usual: split that is taken of a data set where none is named.

    Raises:
        UserError: another split, or one named for a folder of images; data without pictures.
        DataError: what cannot be read.
    """
    if split is not None and split not in SPLITS:
        raise UserError(f"--split {split}: expected {', '.join(SPLITS)}")
    if place is None:
        data = _where_it_was(member)
        if not is_pictures(data):
            raise UserError(f"data={member.config['choices']['data']} has no pictures to look at",
                            "optbench evaluate and predict take tables, signals and text")  # fmt: skip
        return _of_split(data, split or usual, progress)
    place = place.expanduser()
    if (by_folder := _is_class_folders(place, member)) or not member.has_root or not _is_root(place):
        if split is not None:
            raise UserError(f"--split {split}: {place} is a folder of images, not a data set", "leave out --split")
        size, channels = member.setting("image_size"), member.setting("channels")
        inside = by_folder or not _has_images(place)  # test/unknown/0001.jpg, as ImageFolder wants test pictures
        found = read(files_at(place, inside), size, channels, on_bad="keep", progress=progress)
        labels = _labels(found.names, member, by_folder)
        return _in_order(Split(found.images, labels, found.names), f"images in {place}", found.bad)
    return _of_split(member.at(place), split or usual, progress)


def _where_it_was(member: Rebuilt) -> AbstractData:
    """The data set that a run was trained on. Raises DataError, saying what to do, where it does not lie there now."""
    node = member.config["data"]
    made = makes_its_root(str(member.config["choices"].get("data")), str(node["_target_"]))
    if node.get("root") and not made and not place_of(node["root"]).exists():
        raise DataError(
            f"{node['root']}: no such folder now; the run was trained on it", "say where it is: --data PATH"
        )
    return member.data


def _of_split(data: object, split: str, progress: Progress | None) -> Pictures:
    if progress is not None and hasattr(data, "progress"):
        data.progress = progress
    found = read_split(data, split)  # type: ignore[arg-type]
    return _in_order(found, f"{split} images", getattr(data, "bad", {}).get(split, {}))


def _in_order(split: Split, what: str, of_files: Mapping[str, str]) -> Pictures:
    bad = {name: of_files[name] for name in split.names if name in of_files}  # without those that were left out
    order = sorted(range(len(split.names)), key=lambda i: natural(split.names[i]))
    if order == list(range(len(order))):
        return Pictures(split.images, split.names, split.labels, what, bad)
    index = torch.tensor(order)
    labels = None if split.labels is None else split.labels[index]
    return Pictures(split.images[index], tuple(split.names[i] for i in order), labels, what, bad)


def _subfolders(place: Path) -> set[str]:
    """Folders right in a folder or a zip; none where it is neither."""
    try:
        return set(place_at(place).folders(""))
    except DataError:
        return set()


def _has_images(place: Path) -> bool:
    try:
        return any(name.lower().endswith(EXTENSIONS) for name in place_at(place).files("", recursive=False))
    except DataError:
        return False


def _is_class_folders(place: Path, member: Rebuilt) -> bool:
    """Whether the images lie in folders that are named as the classes are."""
    folders = _subfolders(place)
    return bool(folders) and folders <= set(member.class_names) and not _has_images(place)


def _is_root(place: Path) -> bool:
    """Whether a folder or a zip has parts and no images of its own."""
    return bool(_subfolders(place)) and not _has_images(place) and bool(Splits(place).names)


def _labels(names: Sequence[str], member: Rebuilt, by_folder: bool) -> Tensor | None:
    """The labels that folders of classes say, or names such as 3_100.jpg, if all do."""
    if by_folder:
        place = {name: i for i, name in enumerate(member.class_names)}
        return torch.tensor([place[name.partition("/")[0]] for name in names])
    found = [_LABELLED.fullmatch(name) for name in names]
    labels = [int(match[1]) for match in found if match]
    return torch.tensor(labels) if len(labels) == len(names) and max(labels) < len(member.class_names) else None
