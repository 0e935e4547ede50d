"""MNIST-1D: 5000 signals of 40 numbers, each one of ten shapes padded, stretched, moved, sheared and made noisy.

A linear model gets 32 % of them right, a network of two hidden layers 68 %, a convolutional one 94 % (the paper's
Table 1): so small a data set tells architectures apart, which MNIST does not. Made when it is loaded, by the published
recipe with its draws in their order, so that these are the published signals, to the rounding of float64.

Source: S. Greydanus and D. Kobak, Scaling down deep learning with MNIST-1D, arXiv:2011.14439, and its repository.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.data._tables import check_cut, cut
from optbench.errors import DataError
from optbench.problem import AbstractData, Split

_TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
_SIGNALS, _PUBLISHED_TRAINING, PUBLISHED_SEED = 5000, 4000, 42
_PADDING, _LONG, _LENGTH = (36, 60), 72, 40
_SCALE, _SHEAR, _SHIFTS = 0.4, 0.75, 48
_SMOOTH_NOISE, _WHITE_NOISE, _SMOOTHING = 0.25, 0.02, 2.0


@functools.cache
def signals(seed: int = PUBLISHED_SEED) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Signals (5000, 40), of mean 0 and deviation 1, and their digits (5000,); 4000 of training first.

    Args:
        seed: of NumPy's RandomState, below 2^32; 42 draws the published signals.
    """
    from scipy.ndimage import gaussian_filter1d

    shapes = np.array(_TEMPLATES)
    shapes = (shapes - shapes.mean(1, keepdims=True)) / shapes.std(1, keepdims=True)
    shapes = (shapes - shapes[:, :1]) / 6.0
    random, digits = np.random.RandomState(seed), np.repeat(np.arange(len(shapes)), _SIGNALS // len(shapes))
    long, smooth, white = (np.empty((_SIGNALS, _LONG)) for _ in range(3))
    slopes = np.empty((_SIGNALS, 1))
    at = np.linspace(0.0, 1.0, _LONG)
    for i, digit in enumerate(digits):
        low, high = _PADDING
        # the recipe's draw of a whole number: randint would take other bits, and all that follows would be others
        padded = np.concatenate([shapes[digit] + 1e-8, np.zeros(low + int(random.rand() * (high - low + 1)))])
        stretched = np.interp(at, np.linspace(0.0, 1.0, len(padded)), padded)
        stretched *= 1.0 + _SCALE * (random.rand() - 0.5)
        long[i] = np.roll(stretched, random.choice(_SHIFTS))
        smooth[i], white[i] = random.randn(_LONG), random.randn(_LONG)
        slopes[i] = _SHEAR * (random.rand() - 0.5)
    noise = gaussian_filter1d(_SMOOTH_NOISE * smooth, _SMOOTHING, axis=1)
    long = np.where(long != 0.0, long, noise) + _WHITE_NOISE * white
    long -= slopes * np.linspace(-0.5, 0.5, _LONG)
    made = np.stack([np.interp(np.linspace(0.0, 1.0, _LENGTH), at, row) for row in long])
    order = random.permutation(_SIGNALS)
    return (made[order] - made.mean()) / made.std(), digits[order].astype(np.int64)


class MNIST1D(AbstractData):
    """Signals of 40 numbers in ten classes. The published test signals are the test split; of the 4000 for training
    some of each class are for validation.

    Args:
        n_classes: 10.
        validation_share: part of the 4000 signals for validation, above 0.
        split_seed: names the cut, which is the same for all seeds of runs.
        signal_seed: of the draws, 0 to 2^32 - 1: 42 makes the published signals, another one others by the same recipe.

    Raises:
        DataError: another value than what is written above.
    """

    def __init__(
        self,
        n_classes: int = 10,
        validation_share: float = 0.2,
        split_seed: int = 0,
        signal_seed: int = PUBLISHED_SEED,
    ) -> None:
        if n_classes != 10:
            raise DataError(f"n_classes={n_classes}: the signals are of 10 digits")
        check_cut(validation_share, 0.0, split_seed)
        self.n_classes, self.class_names = n_classes, tuple(map(str, range(n_classes)))
        if not 0 <= signal_seed < 2**32:
            raise DataError(f"signal_seed={signal_seed}: expected 0 to {2**32 - 1}")
        self._share, self._split_seed, self._signal_seed = validation_share, split_seed, signal_seed

    def load(self, split: str) -> Split:
        """The "train", "validation" or "test" split, all with labels; DataError where there is none."""
        inputs, labels = (torch.from_numpy(part) for part in signals(self._signal_seed))
        index = self._parts(labels).get(split)
        if index is None:
            raise DataError(f"mnist1d: no split {split!r} (expected train, validation or test)")
        names = tuple(f"{number + 1:04d}" for number in index.tolist())
        return Split(inputs[index].float(), labels[index], names)

    def _parts(self, labels: Tensor) -> dict[str, Tensor]:
        parts = cut(labels[:_PUBLISHED_TRAINING], {"validation": self._share}, self._split_seed)
        return {**parts, "test": torch.arange(_PUBLISHED_TRAINING, _SIGNALS)}
