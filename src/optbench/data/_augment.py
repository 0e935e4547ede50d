"""Augmentations that data sets offer: batches of bytes in, batches of bytes out, driven by the given generator only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from optbench.errors import DataError


def _none(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images as they are."""
    return images


def _flip_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors every second image left to right, on average, and shifts each by up to an eighth of its side.

    The edge that a shift uncovers is black: zero padding and a random crop, 4 pixels at size 32 as in He et al. (2016),
    section 4.2, and in proportion at other sizes.
    """
    n, _, height, width = images.shape
    margin = max(1, height // 8)
    corners = torch.randint(0, 2 * margin + 1, (n, 2), generator=generator).tolist()
    mirrored = torch.randint(0, 2, (n,), generator=generator).bool().to(images.device)
    padded = pad(images, (margin, margin, margin, margin))
    # Slices copy whole rows: on a CPU several times faster than one gather by row and column indices.
    crops = [padded[i, :, y : y + height, x : x + width] for i, (y, x) in enumerate(corners)]
    result = torch.stack(crops)
    result[mirrored] = result[mirrored].flip(-1)
    return result


def _auto(images: Tensor, generator: torch.Generator) -> Tensor:
    """AutoAugment, ImageNet policy, for each image by itself (Cubuk et al. 2019, arXiv:1805.09501).

    torchvision draws from torch's global generator: it is seeded from `generator` here and put back afterwards, so
    two threads must not augment at once.
    """
    import optbench.vision  # noqa: F401  before torchvision

    # isort: split
    from torchvision.transforms import v2

    transform = v2.AutoAugment()
    seed = int(torch.randint(0, 2**62, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return torch.stack([transform(image) for image in images])


_AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "none": _none,
    "flip_crop": _flip_crop,
    "auto": _auto,
}


def check_augmentation(name: str) -> str:
    """Returns `name` if it is an augmentation; raises DataError otherwise."""
    if name not in _AUGMENTATIONS:
        raise DataError(f"augment={name}: expected one of {', '.join(_AUGMENTATIONS)}")
    return name


def augmented(name: str, images: Tensor, generator: torch.Generator) -> Tensor:
    """Augments a batch, uint8 (b, c, h, w) -> uint8 (b, c, h, w), by the augmentation called `name`."""
    return _AUGMENTATIONS[name](images, generator)
