"""Pictures of noise in any number, for `benchmarks/gpu.py`: made in a moment, and as large as real ones."""

from __future__ import annotations

import torch

from optbench.problem import AbstractData, Split


class Noise(AbstractData):
    """Uniform noise in 11 classes.

    Args:
        image_size: side of the pictures.
        n: of them to train on; an eighth of that to validate on, and one a class at least.
    """

    def __init__(self, image_size: int = 128, n: int = 8192, n_classes: int = 11, channels: int = 3) -> None:
        self.n_classes, self.channels, self.image_size = n_classes, channels, image_size
        self.class_names = tuple(map(str, range(n_classes)))
        self._sizes = {"train": n, "validation": max(n // 8, n_classes)}

    def load(self, split: str) -> Split:
        n, generator = self._sizes[split], torch.Generator().manual_seed(len(split))
        shape = (n, self.channels, self.image_size, self.image_size)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        labels = torch.arange(n) % self.n_classes
        return Split(images, labels, tuple(map(str, range(n))))
