"""What a data set hands over, checked before anything is computed from it.

A data set is anyone's code. Labels that are not class numbers, images that are not numbers, a class without a picture:
each would train, and print an accuracy that means something else.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from optbench.errors import DataError
from optbench.problem.base import AbstractData, Split

LOG = logging.getLogger(__name__)
_SCALED = 10.0
"""Floating-point images beyond this look like bytes that nobody has scaled."""


def read_split(data: AbstractData, name: str) -> Split:
    """A split of a data set: "train", "validation" or "test", its labels as int64; as float32 where they are numbers.

    Args:
        data: the data set.
        name: of the split.

    Raises:
        DataError: there is no such split, or what came is not what the contract of AbstractData says.
    """
    split = data.load(name)
    where = f"the {name} split of {type(data).__name__}"
    if not isinstance(split, Split):
        raise DataError(f"{where} is a {type(split).__name__}", "load() returns optbench.Split(images, labels, names)")
    _check_images(split.images, where)
    if len(split.names) != len(split.images):
        raise DataError(f"{where} has {len(split.images)} images and {len(split.names)} names")
    if split.labels is None:
        return split
    if data.n_classes == 0:
        return replace(split, labels=_numbers(split.labels, len(split), where))
    split = replace(split, labels=_class_numbers(split.labels, len(split), data.n_classes, where))
    _check_classes(split, data, where)
    return split


def scaled(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images as a model takes them, in a new tensor: bytes (uint8) in [0, 1], others as they are."""
    # not divided in place: what torch.func.linearize folds into constants would be divided again
    return images.to(dtype) / 255.0 if images.dtype == torch.uint8 else images.to(dtype, copy=True)


def _check_images(images: Any, where: str) -> None:
    if not isinstance(images, Tensor) or images.ndim < 2:
        what = f"of shape {tuple(images.shape)}" if isinstance(images, Tensor) else f"a {type(images).__name__}"
        raise DataError(f"the images of {where} are {what}", "expected a tensor (n, channels, height, width)")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise DataError(f"the images of {where} are {images.dtype}", "expected uint8 (0 to 255) or floating point")
    if not images.isfinite().all():
        raise DataError(f"the images of {where} hold values that are not finite")
    if len(images) and float(images.abs().max()) > _SCALED:
        LOG.warning(
            "the images of %s are %s up to %.3g and taken as they are; uint8 images are scaled to [0, 1]",
            where, images.dtype, float(images.abs().max()),
        )  # fmt: skip


def _numbers(labels: Any, n: int, where: str) -> Tensor:
    """The labels of a regression as float32."""
    if not isinstance(labels, Tensor) or labels.shape != (n,) or not labels.is_floating_point():
        what = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError(f"the labels of {where} are {what}; a regression (n_classes=0) has floating-point numbers "
                        f"of shape ({n},)", "or set data.n_classes")  # fmt: skip
    if not labels.isfinite().all():
        raise DataError(f"the labels of {where} hold values that are not finite")
    return labels.float()


def _class_numbers(labels: Any, n: int, n_classes: int, where: str) -> Tensor:
    """The labels as int64."""
    if not isinstance(labels, Tensor) or labels.shape != (n,):
        shape = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError(f"the labels of {where} are {shape}; expected a tensor of shape ({n},), one an image")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DataError(
            f"the labels of {where} are {labels.dtype}; expected whole numbers, 0 to {n_classes - 1}",
            "classes are int64 (labels.long()); a regression has n_classes=0",
        )
    wrong = labels[(labels < 0) | (labels >= n_classes)]
    if len(wrong):
        raise DataError(
            f"the labels of {where} hold {int(wrong[0])}; expected 0 to {n_classes - 1}", "or set data.n_classes"
        )
    return labels.long()


def _check_classes(split: Split, data: AbstractData, where: str) -> None:
    """Warns of classes without training images, or without images to evaluate."""
    assert split.labels is not None
    missing = (torch.bincount(split.labels, minlength=data.n_classes) == 0).nonzero().flatten().tolist()
    if not missing or not len(split):
        return
    named = ", ".join(data.class_names[i] if i < len(data.class_names) else str(i) for i in missing[:5])
    named += f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    LOG.warning("%s has no image of %s %s", where, "class" if len(missing) == 1 else "the classes", named)
