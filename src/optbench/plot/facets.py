"""Small multiples of paths: a panel a configuration, on the same axes, at the same levels, in its own colour.

On one pair of axes paths hide each other where they went the same way; here each is seen whole, and places are compared
across panels.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from optbench.comparison import label_runs
from optbench.errors import UserError
from optbench.plot.landscape import (
    Floats,
    Landscape,
    draw_ground,
    draw_marks,
    draw_path,
    drawable,
    named,
    recorded_paths,
    terminals,
)
from optbench.plot.style import footnote, legend_outside, new_figure, styles
from optbench.plot.translate import as_typed
from optbench.records import Run

MOST = 24
"""Panels; beyond, each is too small to be read."""
_WIDTH, _HEIGHT = 2.9, 2.75  # inches of a panel
_MARK = 0.5  # of a critical point's area in a figure of one panel
_TITLE = 30  # characters in a line


def path_facets(landscape: Landscape, runs: Sequence[Run], labels: Sequence[str] | None = None) -> Figure:
    """The paths of runs over a surface, each configuration in a panel of its own.

    Axes, levels and colours are those of `path_on_contours`. Beyond 24 configurations the first are drawn, and a note
    below the figure says so.

    Args:
        landscape: the surface, with its critical points.
        runs: runs that recorded x0 (and x1); others are not drawn.
        labels: one a run; runs with the same label share a panel. None: what differs.

    Raises:
        UserError: no run has such a path.
    """
    labels = label_runs(runs) if labels is None else labels
    style, paths = styles(labels), recorded_paths(landscape, runs, labels)
    names = list(dict.fromkeys(label for label, _ in paths))
    if not names:
        raise UserError("none of these runs recorded a path over the surface")
    shown = names[:MOST]
    columns = min(len(shown), max(2, math.ceil(math.sqrt(len(shown)))))
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(_WIDTH * columns + 2.6, _HEIGHT * rows + 0.5)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in axes[len(shown) :]:
        ax.remove()
    axes = axes[: len(shown)]
    draw_ground(figure, list(axes), landscape)
    for i, (ax, label) in enumerate(zip(axes, shown, strict=True)):
        own = [path for name, path in paths if name == label]
        for path in own:
            draw_path(ax, drawable(path, landscape), style[label])
        handles = draw_marks(ax, landscape, ends=True, scale=_MARK)
        ax.set_title(textwrap.fill(_title(label, own, landscape), _TITLE), fontsize=9, color=style[label]["color"])
        ax.label_outer()
        if i + columns >= len(shown):  # nothing is below it
            ax.xaxis.set_tick_params(labelbottom=True)
            ax.set_xlabel("x0")
    as_typed(figure.suptitle(landscape.title, fontsize=11))
    if len(shown) < len(names):
        footnote(figure, f"{len(shown)} of {len(names)} configurations are drawn")
    legend_outside(figure, terminals() | handles)
    return figure


def _title(label: str, paths: Sequence[Floats], landscape: Landscape) -> str:
    """The label of paths, and how many of them left the box for good."""
    left = sum(named(label, path, landscape) != label for path in paths)
    return (
        f"{label} ({left} of {len(paths)} left the box)" if 0 < left < len(paths) else named(label, paths[0], landscape)
    )
