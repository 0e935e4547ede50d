"""Figures that are shown and not written, as in a notebook: in the language that is meant, from the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optbench.language import language
from optbench.plot import curves
from optbench.plot.translate import translate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from optbench.records import Run


def in_language(figure: Figure) -> Figure:
    """The figure, its texts in the language that OPTBENCH_LANG or the locale says; for good, unlike while it is saved.

    Raises:
        UserError: OPTBENCH_LANG names a language that there is not.
    """
    translate(figure, language())
    return figure


def loss_curves(runs: Sequence[Run], labels: Sequence[str] | None = None) -> Figure:
    """Loss curves to be shown; see `optbench.plot.loss_curves`."""
    return in_language(curves.loss_curves(runs, labels))
