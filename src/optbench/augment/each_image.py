"""Any transform of torchvision as an augmentation: one YAML, see conf/augment/auto.yaml."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import optbench.vision  # noqa: F401  declares, before torchvision is imported, the operators that a CPU torch lacks
from optbench.problem import AbstractAugmentation


class EachImage(AbstractAugmentation):
    """Gives each image of a batch to a transform, which draws anew for each.

    torchvision draws from torch's global generator: it is seeded from the augmentation's own stream here and put back
    afterwards, so two threads must not augment at once.

    Args:
        transform: (c, h, w) to (c, h, w), such as those of torchvision.transforms.v2.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        self._transform = transform

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        seed = int(torch.randint(0, 2**62, (1,), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return torch.stack([self._transform(image) for image in images])
