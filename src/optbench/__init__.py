"""optbench: which optimizer, schedule and loss trains this, and why?

    >>> import optbench
    >>> run = optbench.run("optimizer=rmsprop", "trainer.steps=50")     # a Run: status, reason, summary, curve()
    >>> run.status, run.summary["steps"]
    (<Status.COMPLETED: 'completed'>, 50)
    >>> runs = optbench.sweep("optimizer=sgd,adam", "seeds=3", "trainer.start=random", "trainer.steps=50")
    >>> len(optbench.compare("outputs/").runs)                          # a Comparison: table, runs (DataFrames)
    7
    >>> figure = optbench.loss_curves(runs)                             # matplotlib; optbench.paths_figure on a surface

To derive from: AbstractSurface, AbstractPureOptimizer, AbstractOptimizer, AbstractWrapper, AbstractData (which gives
Splits, of Ragged rows where these differ in length) and AbstractAugmentation; Callback, which is told of runs
(RunStart, Run).
And what applications are built of, as applebook is (ARCHITECTURE, What is public):

    run and stop        run, sweep; Stop, interruptible, SweepWatcher, Crew (workers kept between sweeps)
    records             Run, Status, read_curves, compare, provenance; to_json, check_place, write_bytes
    what a run was of   compose; build_field, build_problem, build_optimizer; recorded_field, rebuild; stream
    networks            rebuild, evaluate, predict, submission, network_objective
    surfaces            surface_names, critical_points, find_critical

Names are imported when they are first used, so that reading results never pays for torch. Installed packages add
functions of theirs (entry points `optbench.functions`), as applebook does `optbench.reproduce`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.callback_base import Callback, RunStart
    from optbench.catalogue import surface_names
    from optbench.comparison import Comparison, compare
    from optbench.config import build_optimizer
    from optbench.critical import critical_points, find_critical
    from optbench.curvature import network_objective
    from optbench.experiment import Stop, compose, interruptible, paths_of, run
    from optbench.experiment.assemble import build_problem
    from optbench.experiment.provenance import provenance
    from optbench.experiment.rebuild import Rebuilt, rebuild
    from optbench.experiment.surface import Field, build_field, recorded_field
    from optbench.landscape import paths_figure
    from optbench.launch.base import available_cores
    from optbench.launch.crew import Crew
    from optbench.launch.sweep import SweepWatcher, sweep
    from optbench.optimizer_base import AbstractOptimizer, AbstractPureOptimizer
    from optbench.paths import conf_folder
    from optbench.plot.shown import loss_curves
    from optbench.prediction import evaluate, predict, submission
    from optbench.problem import AbstractAugmentation, AbstractData, AbstractSurface, Ragged, Split, stream
    from optbench.records import Run, Status, check_place, read_curves, to_json, write_bytes
    from optbench.settings import SurfaceTrainer, did_you_mean
    from optbench.wrapper_base import AbstractWrapper

# Read by OpenMP when torch is loaded: idle threads sleep and do not spin. Where another process holds a core, spinning
# threads wait for a thread that does not run: the HW3 CNN then trained 2.5 to 7 times as slowly (measured, 2 cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_NAMES = {
    "callback_base": ("Callback", "RunStart"),
    "catalogue": ("surface_names",),
    "comparison": ("Comparison", "compare"),
    "config": ("build_optimizer",),
    "critical": ("critical_points", "find_critical"),
    "curvature": ("network_objective",),
    "experiment": ("Stop", "compose", "interruptible", "paths_of", "run"),
    "experiment.assemble": ("build_problem",),
    "experiment.provenance": ("provenance",),
    "experiment.rebuild": ("Rebuilt", "rebuild"),
    "prediction": ("evaluate", "predict", "submission"),
    "experiment.surface": ("Field", "build_field", "recorded_field"),
    "landscape": ("paths_figure",),
    "launch.base": ("available_cores",),
    "launch.crew": ("Crew",),
    "launch.sweep": ("SweepWatcher", "sweep"),
    "optimizer_base": ("AbstractOptimizer", "AbstractPureOptimizer"),
    "paths": ("conf_folder",),
    "plot.shown": ("loss_curves",),
    "problem": ("AbstractAugmentation", "AbstractData", "AbstractSurface", "Ragged", "Split", "stream"),
    "records": ("Run", "Status", "check_place", "read_curves", "to_json", "write_bytes"),
    "settings": ("SurfaceTrainer", "did_you_mean"),
    "wrapper_base": ("AbstractWrapper",),
}
_HOMES = {name: f"optbench.{home}" for home, names in _NAMES.items() for name in names}

__all__ = [
    "AbstractAugmentation",
    "AbstractData",
    "AbstractOptimizer",
    "AbstractPureOptimizer",
    "AbstractSurface",
    "AbstractWrapper",
    "Callback",
    "Comparison",
    "Crew",
    "Field",
    "Ragged",
    "Rebuilt",
    "Run",
    "RunStart",
    "Split",
    "Status",
    "Stop",
    "SurfaceTrainer",
    "SweepWatcher",
    "available_cores",
    "build_field",
    "build_optimizer",
    "build_problem",
    "check_place",
    "compare",
    "compose",
    "conf_folder",
    "critical_points",
    "did_you_mean",
    "evaluate",
    "find_critical",
    "interruptible",
    "loss_curves",
    "network_objective",
    "paths_figure",
    "paths_of",
    "predict",
    "provenance",
    "read_curves",
    "rebuild",
    "recorded_field",
    "run",
    "stream",
    "submission",
    "surface_names",
    "sweep",
    "to_json",
    "write_bytes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES and importlib.util.find_spec(f"{__name__}.{name}") is not None:
        raise AttributeError(f"module 'optbench' has no attribute {name!r} yet")  # a room, before it is imported
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
