"""From the figures of one point to a verdict: rules on plain numbers, the first that holds.

"shown" is kept for what a saved vector or an exact Hessian shows beyond rounding noise; "proved" for what interval
arithmetic proves of the curvature along saved vectors (`proof`): that of one sign for "not a minimum", of both for
"saddle". That every direction curves up is never proved here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from optbench.curvature.proof import Proof, interval

NOT_CRITICAL, CRITICAL = 1e-2, 1e-6  # relative Newton gain: above the first, below the second
FLAT = 0.02  # |Hg| / (|g| lambda_max) below which the gradient lies almost in the kernel
NOISES = 3.0
DOUBT = 0.25  # Kantorovich's ratio: above, the curvature at the critical point may have the other sign
MILD = 1e-3  # of the largest |lambda|

Criticality = Literal["not critical", "near-critical", "critical"]
Kind = Literal["minimum", "maximum", "saddle", "not a minimum", "degenerate"]
Basis = Literal["proved", "shown", "probable", "undecided"]


@dataclass(frozen=True)
class Figures:
    """What the rules look at.

    Attributes:
        gain: relative Newton gain, predicted.
        fall: relative fall of the loss that the step was measured to bring.
        hess_grad: |Hg| / (|g| lambda_max).
        low: v'Hv of the most negative curvature found, an upper bound of lambda_min.
        high: of the most positive, a lower bound of lambda_max.
        lower_bound: lambda_min is not below; holds for sure (exact) or with `confidence`.
        upper_bound: lambda_max is not above.
        noise: of the operator.
        exact: from all eigenvalues.
        definite: exact, and H - 3 noise I has a Cholesky factorization.
        confidence: of the bounds where they are not exact.
        doubt: Kantorovich's ratio along the most negative curvature: whether what remains of the gradient is small
            enough for the curvature to be the critical point's; 0 away from critical points.
        witness: a search found a lower point at a degenerate point; None: not searched.
        order: order of its fall.
        radius: its distance.
        proof: what interval arithmetic shows along the most negative curvature; None: not tried.
    """

    gain: float
    fall: float
    hess_grad: float
    low: float
    high: float
    lower_bound: float
    upper_bound: float
    noise: float
    exact: bool = False
    definite: bool = False
    confidence: float = 0.999
    doubt: float = 0.0
    witness: bool | None = None
    order: float | None = None
    radius: float | None = None
    proof: Proof | None = None


@dataclass(frozen=True)
class Verdict:
    """What a point is.

    Attributes:
        criticality: whether the gradient vanishes, by the Newton gain.
        gradient_flat: the gradient is small because the Hessian hardly sees it, not because the point is critical.
        kind: what the curvature says, critical or not.
        basis: how sure `kind` is.
        mild: the negative curvature is below 1e-3 of the largest.
        wording: one sentence.
    """

    criticality: Criticality
    gradient_flat: bool
    kind: Kind
    basis: Basis
    mild: bool
    wording: str


def decide(f: Figures) -> Verdict:
    """The verdict on these figures."""
    criticality = criticality_of(f.gain)
    flat = f.gain > CRITICAL and f.hess_grad < FLAT
    kind, basis = _kind(f)
    mild = kind == "saddle" and abs(f.low) < MILD * abs(f.high)
    words = _gradient_words(f, criticality, flat) + "; " + _curvature_words(f, criticality, kind, mild)
    return Verdict(criticality, flat, kind, basis, mild, words)


def criticality_of(gain: float) -> Criticality:
    """By the relative Newton gain."""
    if not gain <= NOT_CRITICAL:
        return "not critical"
    return "near-critical" if gain > CRITICAL else "critical"


def undecided_at_second_order(f: Figures) -> bool:
    """Whether neither negative curvature nor a positive lower bound is there."""
    return _kind(f)[0] == "degenerate"


def _kind(f: Figures) -> tuple[Kind, Basis]:
    sure: Basis = "shown" if f.exact else "probable"
    doubtful = f.doubt > DOUBT and criticality_of(f.gain) != "not critical"
    if f.low < -NOISES * f.noise and not doubtful:
        if f.upper_bound < -NOISES * f.noise:
            return "maximum", sure
        if f.high > NOISES * f.noise:
            return "saddle", "proved" if f.proof is not None and f.proof.indefinite else "shown"
        return "not a minimum", "proved" if f.proof is not None and f.proof.not_a_minimum else "shown"
    if not doubtful and f.lower_bound > NOISES * f.noise and (f.definite or not f.exact):
        return "minimum", sure
    return ("not a minimum", "shown") if f.witness else ("degenerate", "undecided")


def _gradient_words(f: Figures, criticality: Criticality, flat: bool) -> str:
    if criticality == "critical":
        return "critical to working precision"
    if f.fall > 0:
        words = f"{criticality}: a damped Newton step lowers the loss by {percent(f.fall)}"
    else:
        words = f"{criticality} by the quadratic model, whose step does not lower the loss"
    if flat:
        words += "; gradient-flat: g lies almost in the Hessian's kernel; a small |g| is not criticality"
    return words


def _curvature_words(f: Figures, criticality: Criticality, kind: Kind, mild: bool) -> str:
    sure = "shown, all eigenvalues" if f.exact else f"confidence {100 * f.confidence:g} %"
    # away from critical points the words are about the curvature, not about a kind of critical point
    point = criticality != "not critical"
    if kind == "saddle":
        shown = _negative(f)
        return f"{'mild ' * mild}saddle: {shown}" if point else f"{'mild ' * mild}{shown}"
    if kind == "maximum":
        return f"local maximum ({sure})" if point else f"every direction curves down ({sure})"
    if kind == "minimum":
        cholesky = "; the Hessian, shifted down by three times its noise, has a Cholesky factorization"
        words = f"local minimum ({sure}{cholesky * f.definite})"
        return words if point else f"every direction curves up ({sure})"
    if kind == "not a minimum" and f.witness:
        order = "" if f.order is None else f", falling with order {f.order:.1f} of the distance"
        return f"degenerate, and not a minimum: a lower point lies at distance {f.radius:g}{order}"
    if kind == "not a minimum":
        return f"not a minimum: {_negative(f)}; no positive curvature was found"
    return _degenerate_words(f)


def _negative(f: Figures) -> str:
    if f.proof is not None and f.proof.not_a_minimum:
        assert f.proof.curvature is not None
        return f"negative curvature proved: v'Hv in {interval(f.proof.curvature)}"
    return f"negative curvature shown: v'Hv = {f.low:.3g}, {_times(f)}"


def _degenerate_words(f: Figures) -> str:
    if abs(f.low) > NOISES * f.noise and f.doubt > DOUBT:
        words = (
            f"degenerate: the curvature {f.low:.3g} is smaller than its change on the way to the critical point "
            f"(ratio {f.doubt:.2g}); the second order cannot decide"
        )
    elif f.exact:
        words = f"minimum-like or degenerate: no negative curvature beyond the noise of {f.noise:.1g} (all eigenvalues)"
    elif math.isinf(f.lower_bound):
        words = "minimum-like or degenerate: no negative curvature found, and too few products to say what was missed"
    else:
        words = (
            f"minimum-like or degenerate: no negative curvature below {f.lower_bound:.3g} "
            f"({100 * f.confidence:g} %); the second order cannot decide"
        )
    return words if f.witness is None else f"{words}; no lower point was found on spheres round it"


def _times(f: Figures) -> str:
    return f"{abs(f.low) / f.noise:.1g} times the operator noise" if f.noise else "the operator has no noise"


def percent(share: float) -> str:
    """A share in percent, two digits; powers of ten below a hundredth of a percent."""
    return f"{100 * share:.2g} %"
