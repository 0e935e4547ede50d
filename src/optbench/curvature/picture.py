"""What was found at one point of a network's loss: plain values, and the few vectors and arrays worth keeping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optbench.critical.points.found import as_json, json_of
from optbench.curvature.descent import Escape, Witness
from optbench.curvature.newton import NewtonGain
from optbench.curvature.objective import cut
from optbench.curvature.proof import Proof
from optbench.curvature.spectrum import Density, Shares
from optbench.curvature.verdict import Verdict


@dataclass(frozen=True)
class Plan:
    """What an inspection will do and cost, said before it starts.

    Attributes:
        n: weights.
        examples: images used.
        of: images that there are.
        dtype: float64 or float32.
        exact: the whole Hessian will be computed.
        starts: random starts of Lanczos; 0 for an exact Hessian.
        steps: products from each start.
        gain_steps: products for the Newton gain.
        products: all products.
        gradient_seconds: measured, of the whole objective.
        product_gradients: gradients a product costs, measured without kept intermediates.
        vector_bytes: of the Krylov basis or the Hessian.
        kept_bytes: limit of the kept intermediates.
        chunks: parts of the data.
    """

    n: int
    examples: int
    of: int
    dtype: str
    exact: bool
    starts: int
    steps: int
    gain_steps: int
    products: int
    gradient_seconds: float
    product_gradients: float
    vector_bytes: int
    kept_bytes: int
    chunks: int

    @property
    def gradients(self) -> float:
        """All products, in gradients of the whole objective."""
        return self.products * self.product_gradients


@dataclass(frozen=True)
class NetworkPicture:
    """One point of a network's loss.

    Attributes:
        name: of the point.
        plan: what was done.
        loss: mean loss.
        grad_norm: |g|.
        grad_error: standard error of the gradient where only a share of the examples was used; None: all were, or one
            chunk says nothing of it.
        newton: relative Newton gain.
        lambda_min, lambda_max: v'Hv of the extreme directions, recomputed with a product of their own.
        residual_min, residual_max: |Hv - (v'Hv) v|.
        lower_bound, upper_bound: of the spectrum, with `confidence`; equal up to noise to the eigenvalues if exact;
            infinite where too few products were made to say.
        confidence: of the bounds; 1 where they are exact.
        noise: operator noise.
        products: made in all.
        gradients_a_product: measured.
        kept_share: share of the parts whose intermediates were kept.
        shares: of negative, zero and positive eigenvalues.
        density: of the spectrum.
        v_min: unit vector (n,) of lambda_min.
        escape: steps along v_min; None without negative curvature.
        witness: search for a lower point; None where none was due.
        proof: what interval arithmetic shows along `escape`; None without negative curvature.
        verdict: by the rules.
        seconds: wall time.
        notes: remarks.
        layout: names and shapes of the weights.
    """

    name: str
    plan: Plan
    loss: float
    grad_norm: float
    grad_error: float | None
    newton: NewtonGain
    lambda_min: float
    lambda_max: float
    residual_min: float
    residual_max: float
    lower_bound: float
    upper_bound: float
    confidence: float
    noise: float
    products: int
    gradients_a_product: float
    kept_share: float
    shares: Shares
    density: Density
    v_min: Tensor
    escape: Escape | None
    witness: Witness | None
    proof: Proof | None
    verdict: Verdict
    seconds: float
    notes: tuple[str, ...]
    layout: tuple[tuple[str, torch.Size], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object that `optbench curvature --json` prints; what is not finite is null."""
        witness = None
        if self.witness is not None:
            falls = [{"distance": r, "change": change} for r, change in self.witness.falls]
            witness = {**json_of(self.witness, "found", "radius", "order"), "falls": falls}
        found = {
            "name": self.name,
            "weights": self.plan.n,
            **json_of(self.plan, "examples", "of", "dtype"),
            **json_of(self, "loss", "grad_norm", "grad_error"),
            "newton_gain": json_of(self.newton, "predicted", "measured", "share"),
            "hess_grad": self.newton.hess_grad,
            "lambda_min": {"value": self.lambda_min, "residual": self.residual_min, "low": self.lower_bound},
            "lambda_max": {"value": self.lambda_max, "residual": self.residual_max, "high": self.upper_bound},
            "confidence": self.confidence,
            "exact": self.plan.exact,
            **json_of(self, "noise", "products", "gradients_a_product"),
            "shares": json_of(self.shares, "negative", "zero", "positive", "tau", "minimum_ratio"),
            "escape": None if self.escape is None else self.escape.moves,
            "witness": witness,
            "proof": self.proof,
            "criticality": self.verdict.criticality,
            "gradient_flat": self.verdict.gradient_flat,
            "type": self.verdict.kind,
            **json_of(self.verdict, "basis", "wording"),
            **json_of(self, "seconds", "notes"),
        }
        return {name: as_json(value) for name, value in found.items()}

    def way_down(self) -> dict[str, Tensor] | None:
        """The direction that leads down, as tensors of the weights' names and shapes, and `step`, the best length.

        From negative curvature, else from the witness search; None where neither found one.
        """
        if self.escape is not None and self.escape.best is not None:
            direction, step = self.escape.direction, self.escape.best.step
        elif self.witness is not None and self.witness.direction is not None:
            assert self.witness.radius is not None
            direction, step = self.witness.direction, self.witness.radius
        else:
            return None
        named = {name: piece.cpu() for name, piece in cut(direction, self.layout).items()}
        return {**named, "step": direction.new_tensor(step)}
