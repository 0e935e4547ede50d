"""What convolutions and pools see of a picture: windows, and which of them are alike.

A picture has many equal patches: a wall, a border, units that are off. What a network makes of equal patches are equal
functions of its weights, and between equal functions a maximum has no kink. `twins` says so: whole numbers (n,
*positions) that are equal where all channels are the same functions at both positions. They follow from the pictures'
own numbers and from what each layer sees, never from values that happen to agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from optbench.critical.arithmetic.ends import Array

Index = npt.NDArray[np.int64]
OFF, EDGE = -2, -1  # numbers of twins: all channels are exactly 0; outside, below everything


def alike(*columns: npt.NDArray[Any]) -> Index:
    """Numbers (*shape) that are equal where the rows of all columns (*shape, k) are."""
    rows = np.concatenate([c.reshape(-1, c.shape[-1]) for c in columns], axis=1)
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(columns[0].shape[:-1]).astype(np.int64)


def pictures(values: Array) -> Index:
    """Twins of constants (n, channels, *positions)."""
    return np.where((values == 0).all(axis=1), OFF, alike(np.moveaxis(values, 1, -1)))


def patches(
    twins: Index,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    outside: int = OFF,
) -> Index:
    """The numbers in every window, (n, *positions, k); `outside` is the number of what pads: 0, unless it says EDGE."""
    padded = np.pad(twins, ((0, 0), *((p, p) for p in padding)), constant_values=outside)
    found = windows(padded[:, None], size, stride, dilation)[:, 0]
    return np.asarray(found.reshape(*found.shape[: 1 + len(size)], -1))


def windows(
    x: npt.NDArray[Any], size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> npt.NDArray[Any]:
    """Views of an array (n, c, *spatial): (n, c, *positions, *size)."""
    d = len(size)
    spans = [(k - 1) * step + 1 for k, step in zip(size, dilation, strict=True)]
    found = np.lib.stride_tricks.sliding_window_view(x, spans, axis=tuple(range(2, 2 + d)))
    steps = (*(slice(None, None, s) for s in stride), *(slice(None, None, s) for s in dilation))
    return found[(slice(None), slice(None), *steps)]


def convolution(
    stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Callable[[Array, Array], Array]:
    """x (n, c, *spatial), weights (o, c / groups, *size) -> (n, o, *positions), as a matrix product of patches."""

    def product(x: Array, w: Array) -> Array:
        d = w.ndim - 2
        x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
        patches = windows(x, w.shape[2:], stride, dilation)
        channels, outputs = w.shape[1], w.shape[0] // groups
        found = []
        for g in range(groups):
            piece = patches[:, g * channels : (g + 1) * channels]
            over = (1, *range(2 + d, 2 + 2 * d))
            found.append(np.tensordot(piece, w[g * outputs : (g + 1) * outputs], (over, tuple(range(1, 2 + d)))))
        return np.moveaxis(np.concatenate(found, axis=-1), -1, 1)

    return product
