"""Where runs stopped, and whether they were done: what their records say of why one is not the best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optbench.records import Run, Status
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
    """

    counts: dict[str, int]
    grad_norm: float | None
    steps: float | None
    start: float | None

    def in_words(self) -> str:
        """Such as `2 of 3 still falling, 1 of 3 diverged; gradient 0.2`."""
        n = sum(self.counts.values())
        parts = [(f"all {n}" if k == n > 1 else f"{k} of {n}", word) for word, k in self.counts.items()]
        said = ", ".join(f"{many} {word}" for many, word in parts)
        return said if self.grad_norm is None else f"{said}; gradient {number(self.grad_norm)}"


def endings_of(runs: Sequence[Run]) -> Endings:
    """How runs ended, the most frequent ending first. Reads their curves."""
    curves = [run.losses() for run in runs]
    counts = Counter(map(ending, runs, curves))
    starts = [losses[0] for losses in curves if losses and math.isfinite(losses[0])]
    norms = [float(v) for run in runs if (v := run.summary.get("final_grad_norm")) is not None and math.isfinite(v)]
    steps = [float(v) for run in runs if (v := run.summary.get("steps")) is not None]
    return Endings(
        dict(sorted(counts.items(), key=lambda one: (-one[1], one[0]))),
        float(np.median(norms)) if norms else None,
        float(np.median(steps)) if steps else None,
        float(np.median(starts)) if starts else None,
    )


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
