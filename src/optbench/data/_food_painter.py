"""Eleven kinds of made-up food: what `synthetic_food` paints, one picture at a time.

A dish is a shape and a pattern of two colours on it. Position, size, rotation, colours, light, background and noise
vary from picture to picture, so that no single pixel or mean colour tells the classes apart; shape and texture do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
Colour = tuple[int, int, int]
# (u, v, rng) -> where the dish is and where its second colour is, both in [0, 1]; (u, v) are the plate's coordinates,
# the dish fills about the unit disc.
Pattern = Callable[[Plane, Plane, np.random.Generator], tuple[Plane, Plane]]


def _inside(signed: Plane, sharpness: float = 25.0) -> Plane:
    """Soft step: 1 where `signed` is well above 0, 0 well below."""
    return np.clip(0.5 + sharpness * signed, 0.0, 1.0)


def _wave(phase: Plane) -> Plane:
    return _inside(np.sin(phase), 2.0)


def _blobs(u: Plane, v: Plane, rng: np.random.Generator, n: int, length: float, breadth: float) -> Plane:
    """n ellipses at random places and angles, with half axes `length` and `breadth`."""
    covered = np.zeros_like(u)
    for _ in range(n):
        radius, place, turn = 0.85 * np.sqrt(rng.random()), *(2 * np.pi * rng.random(2))
        du, dv = u - radius * np.cos(place), v - radius * np.sin(place)
        along, across = du * np.cos(turn) + dv * np.sin(turn), dv * np.cos(turn) - du * np.sin(turn)
        covered = np.maximum(covered, _inside(1.0 - np.hypot(along / length, across / breadth), 4.0))
    return covered


def _bread(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    return _inside(1.0 - np.hypot(u, v / 0.55)), _wave(9 * u + 3 * v) * _inside(0.3 - abs(v))


def _dairy(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    return _inside(0.7 - np.maximum(abs(u), abs(v))), _blobs(u, v, rng, 9, 0.13, 0.13)


def _dessert(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    return _inside(0.28 - abs(np.hypot(u, v) - 0.62)), _blobs(u, v, rng, 25, 0.1, 0.04)


def _egg(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    edge = 0.75 + 0.12 * np.sin(3 * np.arctan2(v, u) + 6 * rng.random())
    return _inside(edge - np.hypot(u, v)), _inside(0.33 - np.hypot(u - 0.15, v))


def _fried(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    sticks = _wave(11 * v) * _inside(0.9 - 0.25 * np.sin(40 * v.round(1)) - abs(u)) * _inside(0.8 - abs(v))
    return sticks, rng.random(u.shape) ** 2


def _meat(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    return _inside(np.minimum(0.85 - np.hypot(u, v), v + 0.25)), _wave(8 * u + 3 * np.sin(5 * v)) * 0.7


def _noodles(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    return _inside(0.9 - np.hypot(u, v)), _wave(22 * v + 4 * np.sin(5 * u + 6 * rng.random()))


def _rice(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    return _blobs(u, v, rng, 60, 0.12, 0.05), _inside(v - 0.5, 1.0)


def _seafood(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    angle = np.arctan2(v, u)
    return _inside(np.minimum(0.22 - abs(np.hypot(u, v) - 0.6), 2.1 - abs(angle))), _wave(12 * angle)


def _soup(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    radius = np.hypot(u, v)
    return _inside(0.95 - radius), np.maximum(_inside(radius - 0.7), _blobs(u, v, rng, 5, 0.1, 0.1) * (radius < 0.6))


def _vegetable(u: Plane, v: Plane, rng: np.random.Generator) -> tuple[Plane, Plane]:
    return _blobs(u, v, rng, 10, 0.4, 0.18), _blobs(u, v, rng, 6, 0.2, 0.2)


DISHES: tuple[tuple[Pattern, Colour, Colour], ...] = (
    (_bread, (190, 130, 70), (120, 70, 30)),
    (_dairy, (240, 225, 150), (200, 170, 80)),
    (_dessert, (230, 150, 180), (120, 70, 60)),
    (_egg, (245, 245, 235), (240, 170, 30)),
    (_fried, (225, 170, 60), (150, 95, 30)),
    (_meat, (150, 60, 50), (215, 150, 130)),
    (_noodles, (235, 205, 110), (170, 125, 50)),
    (_rice, (245, 240, 225), (215, 205, 180)),
    (_seafood, (235, 130, 90), (250, 205, 180)),
    (_soup, (200, 110, 40), (225, 225, 220)),
    (_vegetable, (70, 150, 60), (200, 60, 50)),
)
"""Pattern and two colours of each label, in the order of `food11.CLASS_NAMES`."""


def paint(label: int, width: int, height: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One picture of a dish: uint8 (height, width, 3), drawn from `rng` alone."""
    pattern, first, second = DISHES[label]
    y, x = np.mgrid[0:height, 0:width] / (0.5 * min(height, width))
    shift = rng.uniform(-0.15, 0.15, 2)
    x, y = x - x.mean() - shift[0], y - y.mean() - shift[1]
    angle, zoom = rng.uniform(0.0, 2 * np.pi), rng.uniform(1.05, 1.5)
    u, v = zoom * (np.cos(angle) * x + np.sin(angle) * y), zoom * (np.cos(angle) * y - np.sin(angle) * x)
    cover, mix = (plane[..., None] for plane in pattern(u, v, rng))
    colours = [np.array(colour) + rng.uniform(-35, 35, 3) for colour in (first, second)]
    dish = colours[0] * (1 - mix) + colours[1] * mix
    picture = rng.uniform(40, 220, 3) * (1 - cover) + dish * cover
    light = rng.uniform(0.75, 1.15) + rng.uniform(-0.15, 0.15) * x + rng.uniform(-0.15, 0.15) * y
    noise = rng.normal(0.0, 7.0, picture.shape)
    pixels: NDArray[np.uint8] = np.clip(picture * light[..., None] + noise, 0, 255).astype(np.uint8)
    return pixels
