"""What a worker needs for its first run, imported once by the server that workers are forked from.

Nothing here may start a thread or touch a card. What cannot be imported is left to the worker, which says why. All that
is imported lasts: Python's collector of cycles does not look at it, neither now nor in a worker, which would copy its
pages.
"""

from __future__ import annotations

import contextlib
import gc
import importlib

gc.disable()
for _name in (
    "torch",
    "torch.profiler",  # by the first step of an optimizer
    "torch.utils.data",
    "numpy.random",
    "optbench.launch.worker",
    "optbench.experiment",
    "optbench.loop.train",  # the modules themselves: what a room names is imported when it is first used
    "optbench.problem.network",
    "optbench.problem.surface",
    "optbench.images",
    "optbench.device",
    "optbench.descend.uncompiled",
    "optbench.landmarks.columns",
    "hydra.utils",
):
    with contextlib.suppress(Exception):
        importlib.import_module(_name)
gc.freeze()
gc.enable()
