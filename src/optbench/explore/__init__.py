"""Questions that take thousands of runs on one surface, asked of the engine directly: nothing is recorded.

cases         overrides to the optimizers that stand side by side, and their batches
basins        where each start of a grid ends, and how fast
axis          the values of a setting that is varied
sensitivity   final loss, success and divergence over a setting
"""

from optbench.explore.axis import Axis, check_key, make_axis
from optbench.explore.basins import Basins, Ends, find_basins
from optbench.explore.cases import Case, Run, plan_cases
from optbench.explore.sensitivity import Response, Sensitivity, find_sensitivity

__all__ = [
    "Axis",
    "Basins",
    "Case",
    "Ends",
    "Response",
    "Run",
    "Sensitivity",
    "check_key",
    "find_basins",
    "find_sensitivity",
    "make_axis",
    "plan_cases",
]
