"""What interval arithmetic proves of a checkpoint: that it is not a local minimum, and that a lower point lies near.

Let phi(t) = L(w + t v), for the weights w and the saved direction v as they are, to the bit. A second-order expansion
phi(0) + a t + b t^2 / 2 + o(t^2) with b < 0 excludes a local minimum of L at w, whatever a is: for a /= 0 the loss
falls to first order on one side, for a = 0 it falls to second order on both. So an enclosure of b = v'Hv below 0, over
all the data, is the proof. With a second direction along which it is above 0, the Hessian is indefinite. Two enclosures
of the value, at w and a step away, one below the other, prove that the way down leads down.

What is proved is about the loss as a function of real numbers (see `enclosure`), over the examples that were used.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from optbench.critical.points.found import json_of
from optbench.curvature import series
from optbench.curvature.enclosure import enclose_part
from optbench.curvature.objective import FlatObjective, Part
from optbench.curvature.operands import NoRule
from optbench.curvature.series import Series

SECONDS, MEMORY = 60.0, 3e9
_SAVED, _WEIGHT = 10, 200  # peak bytes of an enclosure: of each that autograd saves in float64, and of each weight
_CHUNK = 64  # examples: more at once are not faster

Ends = tuple[float, float]


@dataclass(frozen=True)
class Proof:
    """Enclosures along the way down, and along the direction of the largest curvature.

    Attributes:
        loss: L(w); None: not evaluated.
        slope: the derivative of L along v.
        curvature: the second derivative, v'Hv; infinite where nothing is known.
        upward: the second derivative along the direction of the largest curvature; None: not evaluated.
        step: length of the step whose end is compared.
        lower: L at that end; None: not evaluated.
        why: why it is not proved that w is not a local minimum; empty where it is.
        seconds: wall time.
    """

    loss: Ends | None = None
    slope: Ends | None = None
    curvature: Ends | None = None
    upward: Ends | None = None
    step: float | None = None
    lower: Ends | None = None
    why: str = ""
    seconds: float = 0.0

    @property
    def not_a_minimum(self) -> bool:
        """w is proved to be no local minimum."""
        return self.curvature is not None and self.curvature[1] < 0

    @property
    def indefinite(self) -> bool:
        """The Hessian at w is proved to have curvature of both signs."""
        return self.not_a_minimum and self.upward is not None and self.upward[0] > 0

    @property
    def falls(self) -> bool:
        """The end of the step is proved to be lower."""
        return self.loss is not None and self.lower is not None and self.lower[1] < self.loss[0]

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not finite is null."""
        verdicts = {"not_a_minimum": self.not_a_minimum, "indefinite": self.indefinite, "lower_point": self.falls}
        enclosed = ("loss", "slope", "curvature", "upward", "lower")
        return {**verdicts, **json_of(self, *enclosed, "step", "why", "seconds")}


class _Stopped(Exception):
    """Nothing will be proved; the message says why."""


def prove(
    objective: FlatObjective,
    down: Tensor,
    step: float | None,
    up: Tensor | None,
    *,
    seconds: float = SECONDS,
    memory: float = MEMORY,
) -> Proof:
    """Tries to prove that objective.weights is not a local minimum.

    Args:
        objective: the loss, at its weights.
        down: direction of negative curvature, (n,), taken as it is.
        step: length of a step along it whose end is compared with the start; None: none.
        up: direction of positive curvature, (n,); None: none.
        seconds: wall time that may be spent; what would take longer is given up as soon as that is seen.
        memory: bytes that may be taken for a moment.
    """
    began = time.perf_counter()
    found = Proof(step=step)
    try:
        work = _Work(objective, began + seconds, memory)
        value, slope, curvature = work.enclose(objective.weights, down, 2)
        found = replace(found, loss=value, slope=slope, curvature=curvature)
        if not found.not_a_minimum:
            raise _Stopped(work.unproved(curvature))
        if step is not None:
            end = objective.weights + step * down.to(objective.weights.dtype)
            found = replace(found, lower=work.enclose(end, None, 0)[0])
        if up is not None:
            found = replace(found, upward=work.enclose(objective.weights, up, 2)[2])
    except NoRule as error:
        found = replace(found, why=f"{error} has no interval rule")
    except _Stopped as stopped:
        found = replace(found, why="" if found.not_a_minimum else str(stopped))
    return replace(found, seconds=time.perf_counter() - began)


class _Work:
    """Sums of enclosures over the parts of a loss, against a deadline."""

    def __init__(self, objective: FlatObjective, deadline: float, memory: float) -> None:
        self.parts = _parts(objective, memory)
        self.deadline = deadline
        self.unknown: Counter[str] = Counter()

    def enclose(self, weights: Tensor, direction: Tensor | None, order: int) -> Sequence[Ends]:
        """Value and derivatives up to `order` of the whole loss."""
        total, began = None, time.perf_counter()
        for i, part in enumerate(self.parts):
            found, unknown = enclose_part(part, weights, direction, order)
            self.unknown += unknown
            with np.errstate(all="ignore"):
                total = found if total is None else series.plus(total, found)
            if not total.known().all():
                raise _Stopped(self.unproved((-math.inf, math.inf)))
            left = (time.perf_counter() - began) / (i + 1) * (len(self.parts) - i - 1)
            if left > self.deadline - time.perf_counter():
                raise _Stopped(f"it would take about {left:.2g} s more; {self._budget()}")
        assert total is not None
        return [_ends(total, k) for k in range(order + 1)]

    def _budget(self) -> str:
        return "allow more with --budget, or take a --share of the data"

    def unproved(self, curvature: Ends) -> str:
        """Why an enclosure of the curvature is not below 0."""
        if self.unknown:
            what, count = self.unknown.most_common(1)[0]
            return f"{count:,} numbers may lie at a kink, or are unbounded ({what}): there is no second derivative"
        return f"v'Hv lies in {interval(curvature)}"


def _parts(objective: FlatObjective, memory: float) -> Sequence[Part]:
    """The loss in parts that fit the memory."""
    if objective.finer is None:
        return objective.parts
    examples = -(-objective.examples // len(objective.parts))
    saved = objective.part_bytes / max(1, examples) * (8 / objective.weights.element_size())
    room, one = memory - _WEIGHT * objective.n, _SAVED * max(saved, 1.0)
    if one > room:
        raise _Stopped(f"one example would take about {(memory - room + one) / 1e9:.2g} GB")
    return objective.finer(max(1, min(_CHUNK, int(room / one))))


def _ends(total: Series, k: int) -> Ends:
    """Natural ends of part k of a single number."""
    part = total.parts[k]
    return (0.0, 0.0) if part is None else (float(-part[0].item()), float(part[1].item()))


def interval(ends: Ends) -> str:
    """An interval to print: as many digits as its ends share and two more, rounded outward."""
    low, high = ends
    if not (math.isfinite(low) and math.isfinite(high)):
        return "an unbounded interval"
    size, width = max(abs(low), abs(high)), high - low
    digits = 17 if width == 0 else min(17, max(3, math.ceil(math.log10(size / width)) + 2)) if width <= size else 3
    return f"[{_rounded(low, digits, -1)}, {_rounded(high, digits, 1)}]"


def _rounded(x: float, digits: int, side: int) -> str:
    """x to so many digits, moved to the side until it is not short of x."""
    text = f"{x:.{digits}g}"
    while side * float(text) < side * x:
        x = x + side * abs(x) * 10.0 ** (1 - digits) / 2
        text = f"{x:.{digits}g}"
    return text
