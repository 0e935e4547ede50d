"""Where runs stopped, and whether they were done: what their records say of why one is not the best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.records import Run, Status
from optbench.records.run import read_columns
from optbench.statistics.numbers import number

_LEVEL = 0.01  # of the loss: a last tenth that lowers it by less is a plateau


@dataclass(frozen=True)
class Endings:
    """How the runs of a setting ended.

    Attributes:
        counts: of each ending: a status, a critical point, "still falling", "on a plateau", "rising".
        grad_norm: median norm of the last gradient, of those that have one.
        steps: median number of updates.
        start: median loss at the start, of those that have a curve.
        gradient: median norm of the gradient in the first, the middle and the last tenth of training.
    """

    counts: dict[str, int]
    grad_norm: float | None
    steps: float | None
    start: float | None
    gradient: tuple[float, float, float] | None = None

    def in_words(self) -> str:
        """Such as `2 of 3 still falling, 1 of 3 diverged`, in the case of one run just how it ended."""
        n = sum(self.counts.values())
        parts = [(f"all {n} " if k == n > 1 else f"{k} of {n} " * (n > 1), word) for word, k in self.counts.items()]
        return ", ".join(f"{many}{word}" for many, word in parts)

    def gradient_in_words(self) -> str:
        """Such as `gradient 21, half way 0.4, at the end 0.02`; empty where there is nothing to say."""
        if self.gradient is None:
            return "" if self.grad_norm is None else f"gradient {number(self.grad_norm)} at the end"
        first, middle, last = map(number, self.gradient)
        return f"gradient {first}, half way {middle}, at the end {last}"


def endings_of(runs: Sequence[Run]) -> Endings:
    """How runs ended, the most frequent ending first. Reads their curves."""
    columns = read_columns(runs, ("loss", "grad_norm"))
    curves = [one["loss"].tolist() if "loss" in one else [] for one in columns]
    counts = Counter(map(ending, runs, curves))
    starts = [losses[0] for losses in curves if losses and math.isfinite(losses[0])]
    norms = [float(v) for run in runs if (v := run.summary.get("final_grad_norm")) is not None and math.isfinite(v)]
    steps = [float(v) for run in runs if (v := run.summary.get("steps")) is not None]
    return Endings(
        dict(sorted(counts.items(), key=lambda one: (-one[1], one[0]))),
        float(np.median(norms)) if norms else None,
        float(np.median(steps)) if steps else None,
        float(np.median(starts)) if starts else None,
        _course([one["grad_norm"] for one in columns if "grad_norm" in one]),
    )


def _course(norms: Sequence[np.ndarray[Any, np.dtype[np.float64]]]) -> tuple[float, float, float] | None:
    """Medians of the norm of the gradient in the first, the middle and the last tenth of its records, which even out
    what batches differ by; None where there is none."""
    whole = [one[np.isfinite(one)] for one in norms]
    whole = [one for one in whole if len(one) > 2]
    if not whole:
        return None

    def at(share: float) -> float:
        parts = []
        for one in whole:
            width = max(1, len(one) // 10)
            first = round(share * (len(one) - width))
            parts.append(float(np.median(one[first : first + width])))
        return float(np.median(parts))

    return at(0.0), at(0.5), at(1.0)


def ending(run: Run, curve: Sequence[float]) -> str:
    """How a run ended: at a critical point where it is at one, else by its status (and reason, where it failed or did
    not start), else by the last tenth of its curve.

    That is "still falling" where its mean is more than 1 % below that of the tenth before, "rising" where it is above,
    and "on a plateau" within that, or within two standard errors of the two means.
    """
    if (at := run.summary.get("stopped_at")) is not None:
        return f"at {at}"
    if run.status is not Status.COMPLETED:
        why = f" ({run.reason})" if run.status in (Status.FAILED, Status.SKIPPED) else ""
        return f"{run.status.value.replace('_', ' ')}{why}"
    losses = np.asarray(curve, dtype=float)
    losses = losses[np.isfinite(losses)]
    width = len(losses) // 10
    if not width:
        return "completed"
    before, last = losses[-2 * width : -width].mean(), losses[-width:].mean()
    spread = losses[-2 * width : -width].var() + losses[-width:].var()  # of batches: noise is no trend
    if abs(before - last) <= max(_LEVEL * abs(before), 2 * math.sqrt(spread / width)):
        return "on a plateau"
    return "still falling" if last < before else "rising"
