"""The training loop: the only one, and the only clock.

Row k of the curve is the iterate after k updates: the objective there (on a network: on the batch that update k+1
uses), measured before the step that it causes. Evaluation is off the clock. Every optimizer is called as
`step(closure)`, so L-BFGS and the sharpness-aware ones need no special case, and every call of the closure is counted
as one evaluation of objective and gradient. `evals` in row k is what it took to get there: the evaluation that measures
the iterate itself belongs to the step that follows, and where none follows it is not counted.

The loop judges one number per iterate, the *measure*: on a surface the objective, at every row; on a network the mean
of the batch losses over an epoch, at the end of each epoch, since the loss of one batch says little. Target, plateau
and best are about the measure.

A run ends for one reason, which becomes its status: budget, target, gradient norm, plateau, divergence, wall clock, or
an interrupt, which is obeyed between two updates.
"""

import importlib
from typing import TYPE_CHECKING, Any

from optbench.loop.progress import Row, Summary

if TYPE_CHECKING:
    from optbench.loop.train import Loop, Observer, total_steps

__all__ = ["Loop", "Observer", "Row", "Summary", "total_steps"]


def __getattr__(name: str) -> Any:  # what needs torch; the rules and the summary do not
    if name not in ("Loop", "Observer", "total_steps"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("optbench.loop.train"), name)
