"""What has been shown when a word is printed: the one list that defines the words of every search.

A word of this list is printed only where its sentence holds. The sentences of words that ask for one are printed once
under the table (`legend`).
"""

from __future__ import annotations

from optbench.critical.points.found import CriticalPoint, CriticalSet

SHOWN = {
    "proved": "the point exists, is the only one in its enclosure x +- radius, and is of this type: by Krawczyk's "
    "operator and eigenvalue bounds in arithmetic rounded outward, or in exact arithmetic",
    "proved (or several)": "(or several): what its line says is proved of the region x +- radius; not proved is that "
    "it holds one point only, or that the Hessian there is singular",
    "numerical": "Newton's method in floating point converged here, and the type follows from computed eigenvalues or "
    "values of f; nothing is proved",
    "undecided": "undecided: what the point is has been left open by every test that was made",
    "inside": "the point is proved to lie in the closed box",
    "near the edge": "on or within r of the edge: the point exists, and may lie on either side of the edge",
    "complete": "every part of the box is proved to hold exactly one of the points listed, or none",
    "exhaustive": "the box is proved to hold no critical point besides those listed; a type or a side may be open",
    "continuum": "not isolated: boxes that may hold a critical point multiply along the region, and Newton's method "
    "finds vanishing gradients all along it, as on a curve or surface of critical points; it is not proved to be one",
    "flat": "numerically flat: the derivatives are, or are proved to be, too small to be told from 0 in float64; "
    "f need not be constant",
    "kinks": "kinks: no bound on the second derivatives was found, as on a curve of points without derivative",
    "undecided region": "undecided region: it may hold none, one or several critical points; outside of all regions "
    "and points listed there are none unless the search ended early",
}
_OF_CLUSTERS = {"continuum": "continuum", "flat": "flat", "kinks": "kinks", "undecided": "undecided region"}


def word_of(point: CriticalPoint) -> str:
    """The entry of SHOWN that a point is listed under."""
    return "proved (or several)" if not point.resolved else point.basis


def legend(found: CriticalSet) -> list[str]:
    """The sentences of what was found and is not simply proved, or simply numerical, each once."""
    words = [word_of(point) for point in found.points]
    words += ["near the edge"] * bool(found.at_edge) + [_OF_CLUSTERS[cluster.kind] for cluster in found.clusters]
    plain = ("proved", "numerical")
    return [SHOWN[word] for word in dict.fromkeys(words) if word not in plain]
