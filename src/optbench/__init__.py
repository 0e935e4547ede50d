"""optbench: which optimizer, schedule and loss trains this, and why?

    >>> import optbench
    >>> run = optbench.run("optimizer=rmsprop", "trainer.steps=50")     # a Run: status, reason, summary, curve()
    >>> run.status, run.summary["steps"]
    (<Status.COMPLETED: 'completed'>, 50)
    >>> runs = optbench.sweep("optimizer=sgd,adam", "seeds=3", "trainer.start=random", "trainer.steps=50")
    >>> len(optbench.compare("outputs/").runs)                          # a Comparison: table, runs (DataFrames)
    7
    >>> figure = optbench.loss_curves(runs)                             # matplotlib; optbench.paths_figure on a surface

and, to derive from: AbstractSurface, AbstractPureOptimizer, AbstractOptimizer, AbstractData (which gives Splits),
AbstractAugmentation. Installed packages add functions of theirs (entry points `optbench.functions`), as applebook does
`optbench.reproduce`.

Names are imported when they are first used, so that reading results never pays for torch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.comparison import Comparison, compare
    from optbench.experiment import run
    from optbench.landscape import paths_figure
    from optbench.launch.sweep import sweep
    from optbench.optimizer_base import AbstractOptimizer, AbstractPureOptimizer
    from optbench.plot import loss_curves
    from optbench.problem import AbstractAugmentation, AbstractData, AbstractSurface, Split
    from optbench.records import Run, Status

# Read by OpenMP when torch is loaded: idle threads sleep and do not spin. Where another process holds a core, spinning
# threads wait for a thread that does not run: the HW3 CNN then trained 2.5 to 7 times as slowly (measured, 2 cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {
    "AbstractAugmentation": "optbench.problem",
    "AbstractData": "optbench.problem",
    "AbstractOptimizer": "optbench.optimizer_base",
    "AbstractPureOptimizer": "optbench.optimizer_base",
    "AbstractSurface": "optbench.problem",
    "Comparison": "optbench.comparison",
    "Run": "optbench.records",
    "Split": "optbench.problem",
    "Status": "optbench.records",
    "compare": "optbench.comparison",
    "loss_curves": "optbench.plot",
    "paths_figure": "optbench.landscape",
    "run": "optbench.experiment",
    "sweep": "optbench.launch.sweep",
}

__all__ = [
    "AbstractAugmentation",
    "AbstractData",
    "AbstractOptimizer",
    "AbstractPureOptimizer",
    "AbstractSurface",
    "Comparison",
    "Run",
    "Split",
    "Status",
    "compare",
    "loss_curves",
    "paths_figure",
    "run",
    "sweep",
]


def __getattr__(name: str) -> Any:
    value = getattr(importlib.import_module(_HOMES[name]), name) if name in _HOMES else _registered(name)
    globals()[name] = value
    return value


def _registered(name: str) -> Any:
    """What an installed package adds under the entry points `optbench.functions`. Raises AttributeError for nothing."""
    from importlib.metadata import entry_points

    for point in () if name.startswith("_") else entry_points(group="optbench.functions", name=name):
        return point.load()
    raise AttributeError(f"module 'optbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
