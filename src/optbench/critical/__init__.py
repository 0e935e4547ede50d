"""Critical points of surfaces: find them all, say what each one is, and look at one of them the way the lecture does.

    critical_points every critical point in a box, with proof where that can be (`search`): CriticalSet
    find_critical   the same, numerically (`numeric`); `certified.certify`: with proof or not at all
    bifurcation.sweep.sweep     the critical points of a family over one parameter, with proof: Diagram
    inspect_point   one point: gradient, Hessian, v'Hv, predicted against measured change (`taylor`): TaylorPicture

Both are loaded when first used: the result types (`points`), the words (`describe`) and the parsers of
command-line values (`parse`) do not need torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.critical.numeric.find import find_critical
    from optbench.critical.numeric.taylor import inspect_point
    from optbench.critical.points.found import Cluster, CriticalPoint, CriticalSet
    from optbench.critical.points.picture import TaylorPicture
    from optbench.critical.search import critical_points
    from optbench.critical.typed.function import load_function

_HOME = {
    "critical_points": "search",
    "find_critical": "numeric.find",
    "inspect_point": "numeric.taylor",
    "TaylorPicture": "points.picture",
    "load_function": "typed.function",
    "CriticalPoint": "points.found",
    "CriticalSet": "points.found",
    "Cluster": "points.found",
}

__all__ = [
    "Cluster",
    "CriticalPoint",
    "CriticalSet",
    "TaylorPicture",
    "critical_points",
    "find_critical",
    "inspect_point",
    "load_function",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
