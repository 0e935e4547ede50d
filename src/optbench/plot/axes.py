"""Axes as somebody wants them: scale, limits and names, put onto a figure that is drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.errors import UserError
from optbench.plot.translate import as_typed, chinese_font

SCALES = ("log", "linear")
_EXPECTED = "expected log, linear, limits such as 1e-6:1 or 0: or :100, or a scale and limits, log,1e-6:1"
_BAR = "<colorbar>"  # what matplotlib calls the axes of a colour bar


@dataclass(frozen=True)
class Asked:
    """What is asked of an axis.

    Attributes:
        scale: log or linear; "" as it is.
        low, high: limits; None as it is.
        label: its name; "" as it is.
    """

    scale: str = ""
    low: float | None = None
    high: float | None = None
    label: str = ""

    def __bool__(self) -> bool:
        return self != Asked()


def parse_axis(option: str, given: str | None, label: str = "") -> Asked:
    """What "log,1e-6:1" and a name ask for.

    Args:
        option: where it stands, for messages.
        given: a scale, limits, or both; None: neither.
        label: the name of the axis.

    Raises:
        UserError: neither a scale nor limits, limits that are no numbers or in no order, or not positive on a
            logarithmic axis.
    """
    scale = ""
    ends: list[float | None] = [None, None]
    for part in () if given is None else given.lower().split(","):
        word = part.strip()
        if word in SCALES and not scale:
            scale = word
        elif word.count(":") == 1 and ends == [None, None] and word != ":":
            ends = [_number(option, given, end) for end in word.split(":")]
        else:
            raise UserError(f"{option} {given}: {_EXPECTED}")
    low, high = ends
    if low is not None and high is not None and low >= high:
        raise UserError(f"{option} {given}: {low:g} is not below {high:g}")
    if scale == "log" and any(end is not None and end <= 0 for end in ends):
        raise UserError(f"{option} {given}: a logarithmic axis has no 0 and nothing below")
    return Asked(scale, low, high, label)


def _number(option: str, given: str | None, text: str) -> float | None:
    if not text.strip():
        return None
    if not re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*", text) or not math.isfinite(float(text)):
        raise UserError(f"{option} {given}: {text.strip()!r} is no number", _EXPECTED)
    return float(text)


def set_axes(figure: Figure, x: Asked, y: Asked) -> list[str]:
    """Puts onto a figure what is asked of its axes: of x for all of them, of y for those that show what the first ones
    show. Names stay as typed in every language. Call it before the figure gets its size and its title.

    Returns:
        What is not seen for that, a sentence each: points that have no place on a logarithmic axis.

    Raises:
        UserError: a logarithmic axis of a surface or a picture, limits on it that are not positive.
    """
    found = [ax for ax in figure.axes if ax.get_label() != _BAR]
    above = [ax for ax in found if _alike(found[0], ax)]
    notes = []
    for axes, asked, letter in ((found, x, "x"), (above, y, "y")):
        if asked:
            notes += _set(axes, asked, letter)
    return notes


def _alike(first: Axes, ax: Axes) -> bool:
    """Whether two axes show the same measure upwards: their name says so, or that they share it."""
    return ax.get_ylabel() == first.get_ylabel() or first.get_shared_y_axes().joined(first, ax)


def _set(axes: Sequence[Axes], asked: Asked, letter: str) -> list[str]:
    lost = False
    for ax in axes:
        limits: Callable[..., Any] = getattr(ax, f"set_{letter}lim")
        is_log = getattr(ax, f"get_{letter}scale")() == "log"
        if asked.scale:
            if asked.scale == "log" and (ax.name == "3d" or ax.images or _has_contours(ax)):
                raise UserError(f"--{letter}-axis log: the axes of a surface or a picture are linear")
            is_log = asked.scale == "log"
            scale: Callable[..., Any] = getattr(ax, f"set_{letter}scale")
            scale("log", nonpositive="mask") if is_log else scale("linear")
            ax.autoscale(axis="x" if letter == "x" else "y")
            lost |= is_log and _has_nonpositive(ax, letter)
        if is_log and any(end is not None and end <= 0 for end in (asked.low, asked.high)):
            raise UserError(f"--{letter}-axis: this axis is logarithmic, and has no 0", f"--{letter}-axis linear,...")
        if asked.low is not None or asked.high is not None:
            limits(asked.low, asked.high)
        name = getattr(ax, f"{letter}axis").label
        if asked.label and name.get_text():
            name.set_text(asked.label)
            as_typed(name, whole=True)
            if not asked.label.isascii() and (font := chinese_font()):
                name.set_fontfamily([*name.get_fontfamily(), font])
    return [f"what is 0 or below has no place on the logarithmic {letter} axis"] if lost else []


def _has_contours(ax: Axes) -> bool:
    return any(type(artist).__name__ == "QuadContourSet" for artist in ax.collections)


def _has_nonpositive(ax: Axes, letter: str) -> bool:
    values = [np.asarray(getattr(line, f"get_{letter}data")(), dtype=float) for line in ax.lines]
    return any((own[np.isfinite(own)] <= 0).any() for own in values)
