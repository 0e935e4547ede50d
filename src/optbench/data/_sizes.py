"""What data sets know of themselves before torch is there: the classes of a folder, the sizes of a set by its name.

The functions that YAMLs name (`# sizes:`) take the node of a data set and give what it has where a setting is null;
what is set and contradicts the data they refuse. The classes ask the same when they are built.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from optbench.errors import DataError
from optbench.folders import place_of
from optbench.pictures import Splits

FOLDERS = "data.root must hold train/CLASS/*, validation/CLASS/* (or val/CLASS/*) and, to predict, test/*"
"""How pictures lie in folders, a folder a class."""


class Sizes(NamedTuple):
    """Of a data set of torchvision's: number of classes, channels and side of the images as they are published."""

    n_classes: int
    channels: int
    image_size: int


TORCHVISION: Mapping[str, Sizes] = MappingProxyType(
    {
        "MNIST": Sizes(10, 1, 28),
        "FashionMNIST": Sizes(10, 1, 28),
        "KMNIST": Sizes(10, 1, 28),
        "USPS": Sizes(10, 1, 16),
        "CIFAR10": Sizes(10, 3, 32),
        "CIFAR100": Sizes(100, 3, 32),
        "SVHN": Sizes(10, 3, 32),
    }
)
"""The data sets of torchvision's that are read, by name."""


def class_folders(splits: Splits, n_classes: int | None) -> tuple[str, ...]:
    """The classes of pictures in folders: those of the training split, in order.

    Args:
        splits: where the pictures lie.
        n_classes: how many were said to be there; None: as many as there are.

    Raises:
        DataError: no training folder, fewer than two classes, or another number than was said.
    """
    found, where = splits.folders("train"), splits.where("train")
    if len(found) < 2:
        what = f"one class folder, {found[0]}/, and nothing to tell it from" if found else "no class folders"
        raise DataError(f"{where}: {what}", FOLDERS)
    if n_classes not in (None, len(found)):
        hint = f"leave out data.n_classes, or set data.n_classes={len(found)}"
        raise DataError(f"{where}: {len(found)} class folders, but n_classes={n_classes}", hint)
    return found


def published(name: str, n_classes: int | None) -> Sizes:
    """The sizes of a data set of torchvision's. Raises DataError for another name, or another number of classes."""
    if name not in TORCHVISION:
        raise DataError(
            f"name={name}: expected {', '.join(TORCHVISION)}", "others: a class of your own, or image_folder"
        )
    if n_classes not in (None, TORCHVISION[name].n_classes):
        hint = f"leave out data.n_classes, or set data.n_classes={TORCHVISION[name].n_classes}"
        raise DataError(f"n_classes={n_classes}: {name} has {TORCHVISION[name].n_classes}", hint)
    return TORCHVISION[name]


def of_folders(node: Mapping[str, Any]) -> dict[str, Any]:
    """Of data=image_folder. Raises DataError; nothing is known where there are no folders, which is said elsewhere."""
    try:
        splits = Splits(place_of(str(node.get("root"))))
        splits.where("train")
    except DataError:
        return {}
    return {"n_classes": len(class_folders(splits, node.get("n_classes")))}


def of_torchvision(node: Mapping[str, Any]) -> dict[str, Any]:
    """Of data=torchvision. Raises DataError."""
    return published(str(node.get("name")), node.get("n_classes"))._asdict()
