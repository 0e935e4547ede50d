"""What a data set hands over, checked before anything is computed from it.

A data set is anyone's code. Labels that are not class numbers, inputs that are not numbers, a class without an example:
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
from optbench.problem.ragged import Ragged
from optbench.problem.trees import leaves, mapped, shape_of

LOG = logging.getLogger(__name__)
_SCALED = 10.0
"""Floating-point images beyond this look like bytes that nobody has scaled."""


def read_split(data: AbstractData, name: str) -> Split:
    """A split of a data set: "train", "validation" or "test", its classes as int64, its numbers as float32.

    Args:
        data: the data set.
        name: of the split.

    Raises:
        DataError: there is no such split, or what came is not what the contract of AbstractData says.
    """
    split = data.load(name)
    where = f"the {name} split of {type(data).__name__}"
    if not isinstance(split, Split):
        raise DataError(f"{where} is a {type(split).__name__}", "load() returns optbench.Split(inputs, targets, names)")
    if is_pictures(data):
        _check_images(split.inputs, where)
    else:
        _check_inputs(split.inputs, where)
    if len(split.names) != len(split):
        raise DataError(f"{where} has {len(split)} {noun(data)} and {len(split.names)} names")
    if split.weights is not None:
        split = replace(split, weights=_weights(split.weights, len(split), where))
    if split.targets is None:
        return split
    several = not isinstance(split.targets, Tensor | Ragged) and any(
        isinstance(leaf, Tensor | Ragged) for leaf in leaves(split.targets)
    )
    if data.n_classes == 0 and several:
        return replace(split, targets=_tree(split.targets, len(split), where))
    if data.n_classes == 0:
        split = replace(split, targets=_numbers(split.targets, len(split), data.n_targets, where))
        _check_lengths(split, where)
        return split
    split = replace(split, targets=_class_numbers(split.targets, split, data, where))
    _check_lengths(split, where)
    _check_classes(split, data, where)
    return split


def is_pictures(data: AbstractData) -> bool:
    """Whether a data set is of pictures, or stands in the form of pictures."""
    return getattr(data, "image_size", None) is not None


def noun(data: AbstractData) -> str:
    """What its examples are called in messages."""
    return "images" if is_pictures(data) else "examples"


def scaled(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers as a model takes them, in a new tensor: bytes (uint8) in [0, 1], floating point in the dtype, other whole
    numbers as int64, bool as it is."""
    if images.dtype == torch.uint8:
        # not divided in place: what torch.func.linearize folds into constants would be divided again
        return images.to(dtype) / 255.0
    if images.is_floating_point():
        return images.to(dtype, copy=True)
    return images.to(torch.bool if images.dtype == torch.bool else torch.long, copy=True)


def _check_inputs(inputs: Any, where: str) -> None:
    """Tensors with a row an example in each, and finite."""
    found = leaves(inputs)
    for leaf in _values(found):
        if not isinstance(leaf, Tensor):
            raise DataError(f"the inputs of {where} hold a {type(leaf).__name__}",
                            "expected a tensor (n, ...), a Ragged, or mappings, tuples and lists of such")  # fmt: skip
        if leaf.ndim == 0 or leaf.is_complex():
            raise DataError(f"the inputs of {where} hold {leaf.dtype} of shape {tuple(leaf.shape)}",
                            "expected tensors (n, ...) of real numbers")  # fmt: skip
        if leaf.is_floating_point() and not leaf.isfinite().all():
            raise DataError(f"the inputs of {where} hold values that are not finite")
    counts = list(dict.fromkeys(len(leaf) for leaf in found))
    if len(counts) != 1:
        raise DataError(f"the inputs of {where} have {' and '.join(map(str, counts)) or 'no'} rows",
                        "each tensor has one row an example; of rows that differ in length Ragged.of(rows) "
                        "makes one, for collate=pad")  # fmt: skip
    ragged = [leaf for leaf in found if isinstance(leaf, Ragged)]
    if len(ragged) == len(found):
        _check_not_empty(torch.stack([leaf.lengths for leaf in ragged]).amax(dim=0), "inputs", where)


def _values(found: list[Any]) -> list[Any]:
    """The tensors of leaves, those of a Ragged its values."""
    return [leaf.values if isinstance(leaf, Ragged) else leaf for leaf in found]


def _check_not_empty(lengths: Tensor, what: str, where: str) -> None:
    """Raises DataError for a row without values."""
    if (empty := torch.nonzero(lengths == 0).flatten()).numel():
        raise DataError(f"the {what} of {where} have no value in row {int(empty[0])}", "leave out empty rows")


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


def _numbers(labels: Any, n: int, n_targets: int, where: str) -> Tensor | Ragged:
    """The targets of a regression as float32, (n,) or (n, k); where each position has one, of each row (length,) or
    (length, k)."""
    if isinstance(labels, Ragged):
        _check_rows(labels, n, where)
        return labels.with_values(_numbers(labels.values, len(labels.values), n_targets, where))  # type: ignore[arg-type]
    wanted = (n,) if n_targets == 1 else (n, n_targets)
    fits = isinstance(labels, Tensor) and (labels.shape == wanted or (n_targets == 1 and labels.shape == (n, 1)))
    if not fits or not labels.is_floating_point():
        what = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        several = "" if n_targets > 1 else "; of several numbers a target sets n_targets"
        raise DataError(f"the labels of {where} are {what}; a regression (n_classes=0) has floating-point numbers "
                        f"of shape {wanted}", f"or set data.n_classes{several}")  # fmt: skip
    if not labels.isfinite().all():
        raise DataError(f"the labels of {where} hold values that are not finite")
    numbers: Tensor = labels.float()
    return numbers.reshape(wanted)


def _tree(targets: Any, n: int, where: str) -> Any:
    """Targets that are several tensors, numbers as float32 and whole numbers as int64: what they mean is known to the
    loss alone. Raises DataError."""
    found = leaves(targets)
    for part, leaf in zip(found, _values(found), strict=True):
        if not isinstance(leaf, Tensor) or leaf.ndim == 0 or len(part) != n or leaf.is_complex():
            what = f"{leaf.dtype} {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else f"a {type(leaf).__name__}"
            raise DataError(f"the labels of {where} hold {what}; expected tensors of real numbers with {n} rows")
        if leaf.is_floating_point() and not leaf.isfinite().all():
            raise DataError(f"the labels of {where} hold values that are not finite")
    return mapped(lambda leaf: leaf.float() if leaf.is_floating_point() else leaf.long(), targets)


def _check_rows(targets: Ragged, n: int, where: str) -> None:
    """Raises DataError for targets of another number of rows, or a row without any."""
    if len(targets) != n:
        raise DataError(f"the labels of {where} have {len(targets)} rows and the inputs {n}")
    _check_not_empty(targets.lengths, "labels", where)


def _check_lengths(split: Split, where: str) -> None:
    """Raises DataError where each position of a row has a target, and no input has as many positions."""
    wanted = split.targets
    if not isinstance(wanted, Ragged):
        return
    found = [leaf for leaf in leaves(split.inputs) if isinstance(leaf, Ragged)]
    if not found or any(leaf.offsets.equal(wanted.offsets) for leaf in found):
        return
    row = int(torch.nonzero(found[0].lengths != wanted.lengths).flatten()[0])
    has = f"{int(found[0].lengths[row])} inputs and {int(wanted.lengths[row])} targets"
    raise DataError(f"{where} has {has} in row {row}; expected a target for each position, or one for each row")


def _class_numbers(labels: Any, split: Split, data: AbstractData, where: str) -> Tensor | Ragged:
    """The labels as int64, (n,), or (n, length) where a model gives outputs for each position."""
    n, n_classes = len(split), data.n_classes
    if n_classes == 1:
        raise DataError(f"{where} is of one class: there is nothing to tell", "a classification has two or more")
    if isinstance(labels, Ragged):
        _check_rows(labels, n, where)
        if labels.values.ndim > 1:
            raise DataError(f"the labels of {where} are rows {shape_of(labels)}; expected (length,), one a position")
        return labels.with_values(_whole(labels.values, n_classes, where))
    alone = isinstance(labels, Tensor) and labels.shape == (n,)
    in_rows = isinstance(labels, Tensor) and not is_pictures(data) and labels.ndim == 2 and len(labels) == n
    if not alone and not (in_rows and labels.shape[1]):
        shape = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        one = noun(data).removesuffix("s")
        raise DataError(
            f"the labels of {where} are {shape}; expected a tensor of shape ({n},), one an {one}",
            "" if is_pictures(data) else f"or ({n}, length), one a token",
        )
    return _whole(labels, n_classes, where)


def _whole(labels: Tensor, n_classes: int, where: str) -> Tensor:
    """Labels as int64, checked to be numbers of classes. Raises DataError."""
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
    classes: Tensor = labels.long()
    return classes


def _weights(weights: Any, n: int, where: str) -> Tensor:
    """Weights of examples as float32 (n,)."""
    if not isinstance(weights, Tensor) or weights.shape != (n,) or weights.is_complex():
        what = f"{weights.dtype} {tuple(weights.shape)}" if isinstance(weights, Tensor) else type(weights).__name__
        raise DataError(f"the weights of {where} are {what}; expected numbers of shape ({n},), one an example")
    if not weights.isfinite().all() or (weights < 0).any():
        raise DataError(f"the weights of {where} hold values that are negative or not finite")
    if n and not (weights > 0).any():
        raise DataError(f"the weights of {where} are all 0: there is nothing to learn or to judge by")
    return weights.float()


def _check_classes(split: Split, data: AbstractData, where: str) -> None:
    """Warns of classes without training images, or without images to evaluate."""
    assert split.labels is not None
    if isinstance(split.targets, Ragged) or split.labels.ndim > 1:
        return  # of tokens a split may well lack some
    missing = (torch.bincount(split.labels, minlength=data.n_classes) == 0).nonzero().flatten().tolist()
    if not missing or not len(split):
        return
    named = ", ".join(data.class_names[i] if i < len(data.class_names) else str(i) for i in missing[:5])
    named += f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    kind = noun(data).removesuffix("s")
    LOG.warning("%s has no %s of %s %s", where, kind, "class" if len(missing) == 1 else "the classes", named)
