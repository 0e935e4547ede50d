"""Paths of runs over the contours of a surface of two coordinates, with its critical points, ready to be played."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.comparison.learning import extremes
from optbench.errors import OptbenchError
from optbench.pages.curves import Curved, rounded, without
from optbench.pages.words import Words, clean
from optbench.records import Run
from optbench.records.columns import Floats, Ints
from optbench.records.curves import Columns

Plain = dict[str, Any]
_MOST_PATHS = 24  # beyond, they hide each other
_MOST_POINTS = 400  # of a path
_FLOOR = 1e-4  # of the typical height: contours are no closer to the minimum
_STEPS = 65_535  # heights of a picture


@dataclass(frozen=True)
class Spot:
    """A critical point: its two coordinates, its type, and whether that is proved."""

    x: tuple[float, float]
    type: str
    proved: bool


@dataclass(frozen=True)
class Ground:
    """A surface of two coordinates as arrays.

    Attributes:
        x, y: (nx,), (ny,) grids, ascending.
        z: (ny, nx) values, z[j, i] at (x[i], y[j]).
        spots: its critical points; None where there is no list of them.
    """

    x: Floats
    y: Floats
    z: Floats
    spots: tuple[Spot, ...] | None


GroundOf = Callable[[Run], Ground]
"""The surface that a run descended. Raises OptbenchError where that cannot be had."""


def is_surface(shown: Sequence[Curved]) -> bool:
    """Whether runs recorded coordinates."""
    return any("x0" in curve for one in shown for curve in one.curves)


def paths_figure(shown: Sequence[Curved], ground_of: GroundOf | None, words: Words) -> Plain:
    """The path of one run of each configuration, and the surface that they went over, or why there is none.

    Args:
        shown: configurations of one problem with curves that hold coordinates.
        ground_of: gives the surface; None: it cannot be had.
        words: of the page.
    """
    title = words("Paths over the surface")
    columns = {tuple(curve) for one in shown for curve in one.curves}
    dims = {sum(name[0] == "x" and name[1:].isdecimal() for name in names) for names in columns}
    if not dims <= {2}:
        return without(title, words("contours need two coordinates; these runs have {0}", ", ".join(map(str, dims))))
    if ground_of is None:
        return without(title, words("the surface cannot be had here"))
    drawn = shown[:_MOST_PATHS]
    try:
        ground = ground_of(drawn[0].rows.take(slice(0, 1)).runs()[0])
    except OptbenchError as error:
        return without(title, words.sentence(error.message))
    fewer = len(drawn) < len(shown)
    notes = [words("{0} of {1} configurations are drawn", len(drawn), len(shown))] if fewer else []
    seed = _shared_seed(drawn)
    told = "one run of each configuration, of seed {0} where it has a curve; circle: start, square: where it is"
    notes.append(words(told, seed))
    if ground.spots is None:
        notes.append(words("the critical points of this surface are not listed"))
    elif all(spot.proved for spot in ground.spots):
        notes.append(words("the critical points are certified: each is proved to be there, and to be of its type"))
    return {
        "kind": "paths", "title": title, "notes": notes, **_picture(ground),
        "spots": [{"x": list(spot.x), "type": spot.type, "proved": spot.proved} for spot in ground.spots or ()],
        "paths": [_path(one, seed) for one in drawn],
    }  # fmt: skip


def _picture(ground: Ground) -> Plain:
    """Heights above the lowest, logarithmic, as whole numbers in base64: what contours are drawn from."""
    finite = np.isfinite(ground.z)
    above = np.where(finite, ground.z, np.nan) - np.nanmin(np.where(finite, ground.z, np.nan))
    typical = float(np.nanmedian(above)) or 1.0
    log = np.log10(above + _FLOOR * typical)
    low, high = float(np.nanmin(log)), float(np.nanmax(log))
    scaled = np.nan_to_num((log - low) / ((high - low) or 1.0), nan=1.0)
    heights = np.round(_STEPS * scaled).astype("<u2")
    return {
        "box": [[float(ground.x[0]), float(ground.x[-1])], [float(ground.y[0]), float(ground.y[-1])]],
        "size": [len(ground.x), len(ground.y)],
        "heights": base64.b64encode(heights.tobytes()).decode(),
    }  # fmt: skip


def _shared_seed(shown: Sequence[Curved]) -> Any:
    """The seed of which the most configurations have a curve, the lowest of equals: their starts are comparable."""
    counts = Counter(seed for one in shown for seed in set(one.rows.values("seed")))
    return min(counts, key=lambda seed: (-counts[seed], str(seed).zfill(12)))


def _path(one: Curved, seed: Any) -> Plain:
    seeds = one.rows.values("seed")
    first = seeds.index(seed) if seed in seeds else 0
    curve = one.curves[first]
    at = _thinned(curve)
    step, x, y, loss = (np.asarray(curve[name], dtype=float)[at] for name in ("step", "x0", "x1", "loss"))
    return {
        "label": clean(one.label), "seed": seeds[first], "step": rounded(step, 9), "x": rounded(x, 6),
        "y": rounded(y, 6), "loss": rounded(loss, 4),
    }  # fmt: skip


def _thinned(curve: Columns) -> Ints:
    """The steps of a path that are drawn: where it turns in either coordinate."""
    x, y = (np.asarray(curve[name], dtype=float) for name in ("x0", "x1"))
    return np.union1d(extremes(x, _MOST_POINTS // 2), extremes(y, _MOST_POINTS // 2))
