"""How the outcome depends on a setting: curves with bands over one, heat maps over two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from optbench.plot.style import legend_outside, new_figure, styles
from optbench.plot.translate import as_typed

Floats = npt.NDArray[np.float64]

_FLOOR = 1e-16  # of a loss above the minimum: below, rounding decides
_LOST = "#444444"


@dataclass(frozen=True)
class Scale:
    """The values of a setting: its name, the values (n,), ascending, and whether their axis is logarithmic."""

    name: str
    values: Floats
    log: bool


@dataclass(frozen=True)
class Outcome:
    """One optimizer at each value; arrays are (n,), or (n, m) over two settings.

    Attributes:
        label: of the optimizer.
        median, low, high: final loss with its quartiles; infinite where it diverged.
        success, diverged: shares of runs, 0 to 1; success NaN where none is defined.
        working: first and last index of the range that works, or None.
    """

    label: str
    median: Floats
    low: Floats
    high: Floats
    success: Floats
    diverged: Floats
    working: tuple[int, int] | None = None


def sensitivity_figure(title: str, x: Scale, outcomes: Sequence[Outcome], minimum: float | None) -> Figure:
    """Final loss (median, band between the quartiles) and shares of success and divergence over a setting.

    Args:
        title: name of the surface.
        x: the setting.
        outcomes: one an optimizer.
        minimum: of the surface, subtracted from the loss where it is known.
    """
    figure = new_figure(8.6, 6.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
    look = styles([o.label for o in outcomes])
    handles: dict[str, Artist] = {}
    positive = minimum is not None or all(_shown(o.low, 0.0).min() > 0 for o in outcomes)
    for outcome in outcomes:
        style = look[outcome.label]
        low, median, high = (_above(v, minimum) for v in (outcome.low, outcome.median, outcome.high))
        (handles[outcome.label],) = top.plot(x.values, median, linewidth=1.6, **style)
        ceiling = np.max(_finite(np.stack([median, high])), initial=-np.inf)
        top.fill_between(x.values, low, np.where(np.isnan(high) & ~np.isnan(low), ceiling, high),
                         color=style["color"], alpha=0.15, linewidth=0)  # fmt: skip
        bottom.plot(x.values, 100 * outcome.success, linewidth=1.6, color=style["color"])
        bottom.plot(x.values, 100 * outcome.diverged, linewidth=1.1, linestyle=":", color=style["color"])
    _draw_working(bottom, x, outcomes, look)
    top.set_yscale("log" if positive else "linear")
    top.set_ylabel("final loss - minimum" if minimum is not None else "final loss")
    bottom.set_ylabel("% of runs")
    bottom.set_xlabel(x.name)
    bottom.set_xscale("log" if x.log else "linear")
    for ax in (top, bottom):
        ax.grid(True, alpha=0.25)
    as_typed(top.set_title(title, fontsize=11))
    handles["quartiles"] = Patch(color="0.5", alpha=0.25)
    handles["success"] = Line2D([], [], color="0.3", linewidth=1.6)
    handles["diverged"] = Line2D([], [], color="0.3", linewidth=1.1, linestyle=":")
    if any(o.working for o in outcomes):
        handles["works"] = Line2D([], [], color="0.3", linewidth=5, solid_capstyle="butt")
    legend_outside(figure, handles)
    return figure


def _draw_working(ax: Axes, x: Scale, outcomes: Sequence[Outcome], look: dict[str, dict[str, str]]) -> None:
    """A bar under the shares for the range that works, one below the other."""
    for i, outcome in enumerate(outcomes):
        if outcome.working is not None:
            ends = x.values[list(outcome.working)]
            height = -8.0 * (i + 1)
            ax.plot(ends, [height, height], linewidth=5, solid_capstyle="butt", color=look[outcome.label]["color"])
    ax.set_ylim(-8.0 * (len(outcomes) + 1), 105.0)
    ax.set_yticks([0, 50, 100])


def heat_figure(title: str, x: Scale, y: Scale, outcomes: Sequence[Outcome], minimum: float | None) -> Figure:
    """Median final loss and share of success over two settings, a row per optimizer; dark grey: most runs diverged."""
    figure = new_figure(10.4, 3.4 * len(outcomes) + 0.7)
    axes = figure.subplots(len(outcomes), 2, squeeze=False, sharex=True, sharey=True)
    losses = [np.ma.masked_invalid(_above(o.median, minimum)) for o in outcomes]
    together = np.ma.stack(losses).compressed()
    norm = _norm(together, minimum is not None)
    shades = colormaps["viridis_r"].with_extremes(bad=_LOST)
    for (left, right), outcome, loss in zip(axes, outcomes, losses, strict=True):
        first = left.pcolormesh(x.values, y.values, loss.T, norm=norm, cmap=shades, shading="nearest", rasterized=True)
        masked = np.ma.masked_invalid(100 * outcome.success).T
        second = right.pcolormesh(x.values, y.values, masked, vmin=0, vmax=100, cmap="cividis", shading="nearest",
                                  rasterized=True)  # fmt: skip
        left.set_ylabel(y.name)
        left.set_title(f"{outcome.label}: final loss", fontsize=10)
        right.set_title(f"{outcome.label}: success", fontsize=10)
        for ax in (left, right):
            ax.set_xscale("log" if x.log else "linear")
            ax.set_yscale("log" if y.log else "linear")
    name = "median final loss - minimum" if minimum is not None else "median final loss"
    figure.colorbar(first, ax=axes[:, 0], label=name, pad=0.02)
    figure.colorbar(second, ax=axes[:, 1], label="% of runs", pad=0.02)
    for ax in axes[-1]:
        ax.set_xlabel(x.name)
    as_typed(figure.suptitle(title, fontsize=11))
    legend_outside(figure, {"half of the runs\nor more diverged": Patch(color=_LOST)})
    return figure


def _norm(values: Floats, above: bool) -> Normalize:
    if not values.size:
        return Normalize(0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    return LogNorm(low, max(high, 1.01 * low)) if above or low > 0 else Normalize(low, high)


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _shown(values: Floats, nothing: float) -> Floats:
    """The finite values; one arbitrary number where there is none."""
    found = _finite(values)
    return found if found.size else np.array([nothing + 1.0])


def _above(values: Floats, minimum: float | None) -> Floats:
    """Loss above the minimum; NaN where it is infinite."""
    finite = np.where(np.isfinite(values), values, np.nan)
    return finite if minimum is None else np.maximum(finite - minimum, _FLOOR)
