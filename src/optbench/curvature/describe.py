"""A network's picture in words: what it will cost, and what was found, each figure with its uncertainty beside it."""

from __future__ import annotations

import math

from optbench.critical.points.found import Range
from optbench.curvature.picture import NetworkPicture, Plan
from optbench.curvature.proof import interval
from optbench.curvature.verdict import percent

_LONG = 300.0  # seconds; beyond, the plan says what makes it shorter
_TENTH, _FEW_EXAMPLES, _PRODUCTS = 0.1, 20, 30

_CRITICALITY = {
    "not critical": "NOT a critical point",
    "near-critical": "near a critical point",
    "critical": "critical to working precision",
}


def describe_plan(plan: Plan) -> list[str]:
    """What the inspection will do, in products, gradients, time and memory; said before it starts."""
    way = "the exact Hessian" if plan.exact else f"{plan.starts} x {plan.steps} Lanczos steps"
    seconds = plan.gradients * plan.gradient_seconds
    memory = plan.vector_bytes + plan.kept_bytes
    ways = _cheaper(plan) if seconds > _LONG else []
    cheaper = f"; cheaper with {' or '.join(ways)}" if ways else ""
    return [
        f"{plan.n:,} weights, {_data(plan)} in {plan.chunks} chunk{'s' * (plan.chunks > 1)}, {plan.dtype}; {way}",
        f"{plan.products:,} Hessian-vector products of at most {plan.product_gradients:.1f} gradients each = "
        f"{plan.gradients:,.0f} gradients of {_duration(plan.gradient_seconds)}: about {_duration(seconds)}{cheaper}",
        f"memory beside the model: {_bytes(plan.vector_bytes)} of vectors, up to {_bytes(plan.kept_bytes)} of kept "
        f"intermediates, {_bytes(memory)} in all",
    ]


def _cheaper(plan: Plan) -> list[str]:
    """Options that spend less than this plan does."""
    fewer = [f"--share {_TENTH * plan.examples / plan.of:.1g}"] if plan.examples >= _FEW_EXAMPLES else []
    return fewer + ([f"--products {_PRODUCTS}"] if plan.products > 3 * _PRODUCTS else [])


def describe_network(picture: NetworkPicture) -> list[str]:
    """The picture, a line a fact, the verdict last."""
    rows = [
        ("checkpoint", _head(picture)),
        ("gradient", _gradient(picture)),
        ("curvature", _curvature(picture)),
        ("", _cost(picture)),
        ("shares", _shares(picture)),
        ("", _ratio(picture)),
        *_escape(picture),
        *_proof(picture),
        *_witness(picture),
        *(("note", note) for note in picture.notes),
        ("verdict", picture.verdict.wording),
    ]
    return [f"{label:<10}  {text}" for label, text in rows]


def _head(p: NetworkPicture) -> str:
    return f"{p.name}   n={p.plan.n:,} weights   loss {p.loss:.6g} on {_data(p.plan)}   {p.plan.dtype}, evaluation mode"


def _data(plan: Plan) -> str:
    if not plan.examples:
        return "no examples"
    whole = plan.examples == plan.of
    return f"{plan.examples:,} examples ({'all' if whole else f'{plan.examples / plan.of:.0%} of {plan.of:,}'})"


def _gradient(p: NetworkPicture) -> str:
    error = "" if p.grad_error is None else f" (+-{p.grad_error:.2g} for the examples that were drawn)"
    text = f"|g| = {p.grad_norm:.4g}{error}   relative Newton gain {percent(p.newton.predicted)}"
    if p.newton.predicted > 0:
        text += f" (checked: {percent(-p.newton.measured)} with {p.newton.share:g} of the step)"
    return f"{text}   -> {_CRITICALITY[p.verdict.criticality]}"


def _curvature(p: NetworkPicture) -> str:
    return (
        f"lambda_min = {p.lambda_min:.5g} (+-{p.residual_min:.1g})   "
        f"lambda_max = {p.lambda_max:.5g} (+-{p.residual_max:.1g})   {_missed(p)}"
    )


def _missed(p: NetworkPicture) -> str:
    if p.plan.exact:
        return "all eigenvalues, from the exact Hessian"
    if math.isinf(p.lower_bound):
        return "too few products to say what may lie beyond"
    return f"{100 * p.confidence:g} %: nothing below {p.lower_bound:.4g}, nothing above {p.upper_bound:.4g}"


def _cost(p: NetworkPicture) -> str:
    kept = f"intermediates of {p.kept_share:.0%} of the data kept"
    return (
        f"{p.products:,} products of {p.gradients_a_product:.1f} gradients ({kept}), {_duration(p.seconds)}; "
        f"operator noise {p.noise:.1g}"
    )


def _shares(p: NetworkPicture) -> str:
    s = p.shares
    how = "counted" if s.exact else "Chebyshev-Markov-Stieltjes ranges, 99.9 % over the random starts"
    return (
        f"negative {_share(s.negative)}   zero {_share(s.zero)}   positive {_share(s.positive)}   "
        f"|lambda| <= {s.tau:.2g} counted as zero ({how})"
    )


def _ratio(p: NetworkPicture) -> str:
    strict, loose = p.shares.minimum_ratio
    return f"the lecture's minimum ratio: {_plain(strict)} strictly positive, {_plain(loose)} counting zeros"


def _escape(p: NetworkPicture) -> list[tuple[str, str]]:
    if p.escape is None:
        return []
    best = p.escape.best
    if best is None:
        return [("escape", "along v_min no step lowers the loss: the negative curvature is only very near")]
    return [
        ("escape", f"along v_min: loss {best.measured:+.4g} at step {best.step:g} (predicted {best.predicted:+.4g})"),
        ("", "   ".join(f"{m.step:g}: {m.measured:+.2g}" for m in p.escape.moves)),
    ]


def _proof(p: NetworkPicture) -> list[tuple[str, str]]:
    proof = p.proof
    if proof is None:
        return []
    if not proof.not_a_minimum:
        return [("proof", f"not proved not to be a local minimum: {proof.why}")]
    assert proof.curvature is not None
    rows = [("proof", f"no local minimum, by interval arithmetic: v'Hv in {interval(proof.curvature)} along v_min")]
    if proof.indefinite:
        assert proof.upward is not None
        rows.append(("", f"v'Hv in {interval(proof.upward)} along v_max: the Hessian is indefinite"))
    if proof.falls:
        assert proof.loss is not None
        assert proof.lower is not None
        rows.append(("", f"lower at step {proof.step:g}: {interval(proof.lower)} below {interval(proof.loss)}"))
    return rows


def _witness(p: NetworkPicture) -> list[tuple[str, str]]:
    if p.witness is None:
        return []
    falls = "   ".join(f"{r:g}: {change:+.2g}" for r, change in p.witness.falls)
    order = "" if p.witness.order is None else f"   order {p.witness.order:.2f}"
    return [("spheres", f"lowest change of the loss at distance {falls}{order}" if falls else "no direction is flat")]


def _share(share: Range) -> str:
    low, high = (f"{100 * side:.2f}" for side in share)
    return f"{low} %" if low == high else f"{low}..{high} %"


def _plain(share: Range) -> str:
    low, high = (f"{side:.4f}" for side in share)
    return low if low == high else f"{low}..{high}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _bytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
