"""Transforms of torchvision on whole batches, and images mixed with one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

import optbench.vision  # noqa: F401  declares, before torchvision is imported, the operators that a CPU torch lacks
from optbench.problem import AbstractAugmentation
from optbench.problem.base import Mixture

Transform = Callable[[Tensor], Tensor]


class WholeBatch(AbstractAugmentation):
    """Gives a batch to transforms of torchvision in a few parts, on the device that the model is on, and mixes images.

    What a transform draws is the same for all images of a part: more parts are more variety, fewer are faster on a GPU.
    It draws from torch's global generators: they are seeded from the augmentation's own stream here and put back
    afterwards, so two threads must not augment at once.

    Args:
        transforms: one after the other, (n, c, h, w) to the same shape, such as those of torchvision.transforms.v2.
        parts: that a batch is cut into; a batch of fewer images has one for each.
        mixup: alpha of the Beta distribution from which the weight of an image in its mixture with another is drawn,
            once a batch; 0: none (Zhang et al. 2018, arXiv:1710.09412).
        cutmix: the same for a rectangle of another image in its place, whose area is the weight; 0: none (Yun et al.
            2019, arXiv:1905.04899). With both, each batch has one of the two, with equal chances.
    """

    on_device = True

    def __init__(
        self, transforms: Sequence[Transform] = (), parts: int = 16, mixup: float = 0.0, cutmix: float = 0.0
    ) -> None:
        self._transforms, self._parts = tuple(transforms), parts
        self._mixing = [(mix, alpha) for mix, alpha in ((mixed_up, mixup), (cut_and_mixed, cutmix)) if alpha > 0]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        seed = int(torch.randint(0, 2**62, (1,), generator=generator))
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed) if devices else torch.default_generator.manual_seed(seed)
            parts = images.chunk(min(self._parts, len(images)))
            return torch.cat([self._transformed(part) for part in parts])

    def _transformed(self, images: Tensor) -> Tensor:
        for transform in self._transforms:
            images = transform(images)
        return images

    def mixed(self, inputs: Tensor, generator: torch.Generator) -> Mixture | None:
        """Each image mixed with the one before it, all with the same weight, as torchvision does it."""
        if not self._mixing:
            return None
        rng = np.random.default_rng(int(torch.randint(0, 2**62, (1,), generator=generator)))
        mix, alpha = self._mixing[int(rng.integers(len(self._mixing)))]
        mixture, share = mix(inputs, float(rng.beta(alpha, alpha)), rng)
        return Mixture(mixture, torch.arange(len(inputs)).roll(1), share)


def homework(parts: int = 16, mixup: float = 0.0, cutmix: float = 0.0) -> WholeBatch:
    """AutoAugment's policy for ImageNet (Cubuk et al. 2019, arXiv:1805.09501)."""
    from torchvision.transforms import v2

    return WholeBatch([v2.AutoAugment()], parts, mixup, cutmix)


def trivial(parts: int = 16, mixup: float = 0.0, cutmix: float = 0.0) -> WholeBatch:
    """One random change of random strength (Mueller & Hutter 2021, arXiv:2103.10158)."""
    from torchvision.transforms import v2

    return WholeBatch([v2.TrivialAugmentWide()], parts, mixup, cutmix)


def rand(parts: int = 16, mixup: float = 0.0, cutmix: float = 0.0) -> WholeBatch:
    """Mirrored half of the time, then two random changes of medium strength (Cubuk et al. 2020, arXiv:1909.13719)."""
    from torchvision.transforms import v2

    return WholeBatch([v2.RandomHorizontalFlip(), v2.RandAugment()], parts, mixup, cutmix)


def strong(
    parts: int = 16,
    mixup: float = 0.1,
    cutmix: float = 1.0,
    scale: tuple[float, float] = (0.08, 1.0),
    colour: float = 0.4,
    erasing: float = 0.25,
) -> WholeBatch:
    """Wide crops, mirrored, brightness, contrast and saturation, a random rectangle erased, and mixed.

    Args:
        parts, mixup, cutmix: as of WholeBatch.
        scale: smallest and largest share of the picture in a crop.
        colour: how far brightness, contrast and saturation go up or down, as a share.
        erasing: how often a rectangle is erased (Zhong et al. 2017, arXiv:1708.04896).

    Source: the ingredients of Wightman et al. 2021, arXiv:2110.00476.
    """
    from torchvision.transforms import v2

    jitter = v2.ColorJitter(brightness=colour, contrast=colour, saturation=colour)
    transforms = [WideCrop((scale[0], scale[1])), v2.RandomHorizontalFlip(), jitter, v2.RandomErasing(p=erasing)]
    return WholeBatch(transforms, parts, mixup, cutmix)


class WideCrop:
    """torchvision's RandomResizedCrop to the size that the images have, which it wants to be told.

    Args:
        scale: smallest and largest share of the area.
        ratio: smallest and largest width by height.

    Source: Szegedy et al. 2015, arXiv:1409.4842, section 6.
    """

    def __init__(self, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)) -> None:
        self._scale, self._ratio = scale, ratio

    def __call__(self, images: Tensor) -> Tensor:
        from torchvision.transforms.v2 import RandomResizedCrop

        crop = RandomResizedCrop(tuple(images.shape[-2:]), self._scale, self._ratio, antialias=True)
        cropped: Tensor = crop(images)
        return cropped


def mixed_up(inputs: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """The weighted mean of each image, with the weight `share`, and the one before it; and that weight."""
    return inputs.mul(share).add_(inputs.roll(1, 0), alpha=1.0 - share), share


def cut_and_mixed(inputs: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Each image with a rectangle of the one before it, around a random point; and what is left of its own area."""
    height, width = inputs.shape[-2:]
    x, y = int(rng.integers(width)), int(rng.integers(height))
    half = 0.5 * (1.0 - share) ** 0.5
    left, right = max(0, x - int(half * width)), min(width, x + int(half * width))
    top, bottom = max(0, y - int(half * height)), min(height, y + int(half * height))
    made = inputs.clone()
    made[..., top:bottom, left:right] = inputs.roll(1, 0)[..., top:bottom, left:right]
    return made, 1.0 - (right - left) * (bottom - top) / (width * height)
