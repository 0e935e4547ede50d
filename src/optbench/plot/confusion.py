"""The confusion matrix: which classes a classifier mistakes for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from optbench.plot.style import new_figure

_NUMBERED = 15  # classes; beyond, numbers in the cells are too small to read


def confusion(matrix: npt.ArrayLike, class_names: Sequence[str]) -> Figure:
    """The confusion matrix: counts in the cells, coloured by the share of the true class.

    Args:
        matrix: (n, n) counts; row = true class, column = predicted class.
        class_names: n names in label order.
    """
    counts = np.asarray(matrix)
    n = len(class_names)
    if counts.shape != (n, n):
        raise ValueError(f"a matrix of shape {counts.shape} for {n} class names")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = min(14.0, 3.0 + 0.45 * n)
    figure = new_figure(side + 0.8, side)
    ax = figure.subplots()
    image = ax.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    ax.set_xticks(range(n), class_names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n), class_names)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    accuracy = np.trace(counts) / counts.sum() if counts.sum() else np.nan
    ax.set_title(f"{counts.sum():.0f} images, {100 * accuracy:.1f} % right", fontsize=11)
    if n <= _NUMBERED:
        for i, j in np.argwhere(counts):
            colour = "white" if shares[i, j] > 0.55 else "black"
            ax.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=9, color=colour)
    figure.colorbar(image, ax=ax, label="% of the true class", shrink=0.8)
    return figure
