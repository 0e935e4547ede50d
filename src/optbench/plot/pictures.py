"""Images with what a network says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.plot.style import PALETTE, legend_outside, new_figure

_COLUMNS = 6
_SHAPES = ("o", "^", "s", "D", "v", "P")
_WIDE = 20  # characters of a name in a title


def show(ax: Axes, image: npt.NDArray[Any]) -> None:
    """An image (channels, h, w), of bytes or of numbers, without axes; numbers are stretched to what can be seen."""
    pixels = np.moveaxis(np.asarray(image), 0, -1).astype(float)
    pixels = pixels / 255.0 if image.dtype == np.uint8 else (pixels - pixels.min()) / (np.ptp(pixels) or 1.0)
    ax.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3], cmap="gray", vmin=0, vmax=1)
    ax.set_axis_off()


def worst_pictures(
    images: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    class_names: Sequence[str],
    names: Sequence[str],
    most: int = 24,
) -> Figure:
    """The wrongly classified images, the surest mistakes first, with label, prediction, and the probability of each.

    Args:
        images: (n, channels, h, w).
        labels, predicted: classes (n,).
        probabilities: (n, classes).
        class_names: in label order.
        names: of the files, (n,).
        most: images to show at most.
    """
    row = np.arange(len(labels))
    wrong = np.flatnonzero(predicted != labels)
    # by how little is left for the truth, then by how much went to the mistake
    order = wrong[np.lexsort((-probabilities[row, predicted][wrong], probabilities[row, labels][wrong]))]
    shown = order[:most]
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure = new_figure(2.1 * _COLUMNS, 0.6 + 2.6 * rows)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    for ax, i in zip(axes, shown, strict=False):
        show(ax, images[i])
        true, said = (f"{_short(class_names[k[i]])} ({probabilities[i, k[i]]:.3f})" for k in (labels, predicted))
        ax.set_title(f"{_short(names[i].rpartition('/')[2])}\nlabel {true}\nsaid {said}", fontsize=7.5)
    few = f", the worst {len(shown)} of them" if len(shown) < len(wrong) else ""
    figure.suptitle(f"{len(wrong)} of {len(labels)} images are classified wrongly{few}", fontsize=11)
    return figure


def saliency_figure(
    images: npt.NDArray[Any],
    maps: npt.NDArray[Any],
    labels: npt.NDArray[np.int64] | None,
    predicted: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    class_names: Sequence[str],
    names: Sequence[str],
) -> Figure:
    """Images with the map of what the network looked at below each: bright where it answers most.

    Args:
        images: (n, channels, h, w).
        maps: (n, h, w), not negative; each is scaled by its own 99th percentile.
        labels: classes (n,); None: not known.
        predicted, probabilities, class_names, names: as worst_pictures has them.
    """
    n = len(images)
    bands = max(1, -(-n // _COLUMNS))
    figure = new_figure(2.1 * _COLUMNS, 0.3 + 4.4 * bands)
    axes = figure.subplots(2 * bands, _COLUMNS, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    for i in range(n):
        band, column = divmod(i, _COLUMNS)
        above, below = axes[2 * band, column], axes[2 * band + 1, column]
        show(above, images[i])
        said = f"said {_short(class_names[predicted[i]])} ({probabilities[i, predicted[i]]:.3f})"
        if labels is not None:
            said = f"label {_short(class_names[labels[i]])} ({probabilities[i, labels[i]]:.3f})\n{said}"
        above.set_title(f"{_short(names[i].rpartition('/')[2])}\n{said}", fontsize=7.5)
        top = float(np.percentile(maps[i], 99)) or 1.0
        below.imshow(maps[i], cmap="inferno", vmin=0, vmax=top)
    return figure


def features_figure(
    points: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64] | None,
    predicted: npt.NDArray[np.int64],
    class_names: Sequence[str],
    title: str,
) -> Figure:
    """Images as points of a plane, coloured by their class; those that are classified wrongly have a cross.

    Args:
        points: (n, 2).
        labels: classes (n,); None: not known, and the predicted ones give the colours.
        predicted: classes (n,).
        class_names: in label order; beyond the number of colours, shapes tell them apart.
        title: what is seen.
    """
    figure = new_figure(8.6, 6.4)
    ax = figure.subplots()
    by = predicted if labels is None else labels
    handles: dict[str, Artist] = {}
    for k in np.unique(by):
        own = by == k
        color, marker = PALETTE[k % len(PALETTE)], _SHAPES[k // len(PALETTE) % len(_SHAPES)]
        x, y = points[own].T
        handles[class_names[k]] = ax.scatter(x, y, s=16, alpha=0.75, linewidths=0, color=color, marker=marker)
    if labels is not None and (wrong := predicted != labels).any():
        x, y = points[wrong].T
        handles["classified wrongly"] = ax.scatter(x, y, s=26, marker="x", color="black", linewidths=0.8)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(title, fontsize=9)
    legend_outside(figure, handles)
    return figure


def _short(name: str) -> str:
    """The end of a name that is too long for a title."""
    return name if len(name) <= _WIDE else f"...{name[-_WIDE + 3 :]}"
