"""Images with what a network says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.plot.style import new_figure

_COLUMNS = 6
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
        ax.set_title(f"{_short(names[i])}\nlabel {true}\nsaid {said}", fontsize=7.5)
    few = f", the worst {len(shown)} of them" if len(shown) < len(wrong) else ""
    figure.suptitle(f"{len(wrong)} of {len(labels)} images are classified wrongly{few}", fontsize=11)
    return figure


def _short(name: str) -> str:
    """The end of a name that is too long for a title."""
    last = name.rpartition("/")[2]
    return last if len(last) <= _WIDE else f"...{last[-_WIDE + 3 :]}"
