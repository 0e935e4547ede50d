"""Critical points of surfaces: find them all, say what each one is, and prove it where that is possible.

A critical point of f is a place where the gradient vanishes: a minimum, a maximum, a saddle, or a point about which the
second derivatives do not decide. An optimizer that stops has stopped at one, or between them; which points a surface
has is therefore the map on which runs are judged. Two searches draw it. The *numerical* one starts Newton's method from
many places at once; it is fast, works for every surface and may miss points. The *certified* one cuts the box into
pieces and shows by interval arithmetic, piece by piece, that a piece holds no critical point or exactly one; when it
says COMPLETE, that is a theorem about the surface as it is programmed. `search` takes the second where it can and the
first elsewhere, and every result says which it was.

    critical_points         every critical point in a box (`search`): CriticalSet
    find_critical           the same by the numerical search alone (`numeric.find`)
    certified.certify       the same by proof alone
    bifurcation.sweep.sweep the critical points of f(x, a) as curves over a: Diagram
    inspect_point           one point: gradient, Hessian, v'Hv, predicted against measured change: TaylorPicture

The rooms, from the ground up (each knows only rooms that stand before it; a contract of import-linter holds the order):

    budget        what a search may spend: seconds, memory, and the patience of whoever pressed Ctrl-C
    points        what is found, as plain values, and the words for it: no torch
    typed         what users type: boxes, points, formulas, functions in files
    numeric       the numerical search, and one point looked at closely
    programs      a surface's torch code as a straight-line program, and whether it is a function at all
    arithmetic    what a program can be run in: intervals, jets, Arb balls, fractions, power series
    proofs        what is proved of one box or point: existence, uniqueness, signs of eigenvalues, an index
    germs         degenerate points with simple coordinates, known exactly
    certified     branch and bound over the whole box, and what is said of what it leaves
    bifurcation   the same over one parameter
    second_proof  the result proved again: in another arithmetic, and by a checker that shares no code
    search        certified where possible, numerical elsewhere

What to trust. `proved` in a result rests on `programs` (what torch's functions are), on the outward rounding of
`arithmetic.ends` and on one assumption about the mathematical library, which `second_proof` does without. `numerical`
rests on floating point and on thresholds. Nothing that is `undecided` is given a type. What each printed word stands
for is one list, `points.verdicts`.

All is loaded when first used: `points` and `typed.parse` do not need torch, so that a wrong --box costs no second.

Sources: R. E. Moore, R. B. Kearfott & M. J. Cloud, Introduction to Interval Analysis, 2009; A. Neumaier, Interval
Methods for Systems of Equations, 1990; Hung-yi Lee, Machine Learning 2022, lecture 3, for the question itself.
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
