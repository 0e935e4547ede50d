"""One point of a network's loss, looked at from all sides: gradient, ends of the spectrum, shares, ways down, verdict.

inspection = prepare(objective, ...)      what it will cost: inspection.plan
picture = inspection.look(progress)       what is there
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from optbench.curvature.descent import Escape, Witness, escape, search_lower
from optbench.curvature.hvp import HessianOperator, random_unit
from optbench.curvature.measure import Measured, measure_by_lanczos, measure_exactly
from optbench.curvature.newton import STEPS, NewtonGain, newton_gain
from optbench.curvature.objective import FlatObjective
from optbench.curvature.picture import NetworkPicture, Plan
from optbench.curvature.proof import SECONDS, Proof, prove
from optbench.curvature.spectrum import EXACT_UP_TO, ZERO
from optbench.curvature.verdict import NOISES, Figures, criticality_of, decide, undecided_at_second_order
from optbench.errors import UserError

Progress = Callable[[int, int], None]

MEMORY = 4e9
CONFIDENCE = 0.999
_STARTS, _STEPS = 3, 50
_LEAST = 10  # products
_EXTRA = 6  # products beside spectrum and Newton gain: noise (2), Rayleigh quotients (2), trust (2)
WORTH_KEEPING = 1e9  # bytes saved in all forward passes; below, linearizing costs more than it saves (about 2 s)
_BASIS, _CHUNK = 0.45, 0.125  # of the memory: a Krylov basis, and what a chunk takes for a moment
_WORKING = 12  # vectors of weights in use at once
_PROCESS = 5e8  # bytes of Python, torch and the images
_NOISE_SEED = 20_000  # apart from the starts of Lanczos


@dataclass
class Inspection:
    """An inspection that is planned and priced, and has not started."""

    name: str
    objective: FlatObjective
    operator: HessianOperator
    plan: Plan
    seed: int
    basis_dtype: torch.dtype
    proof_seconds: float = SECONDS
    memory: float = MEMORY
    _done: int = 0
    _progress: Progress | None = None

    def look(self, progress: Progress | None = None) -> NetworkPicture:
        """Does it. `progress` is told how many of plan.products are made.

        Raises:
            UserError: the loss or its gradient is not finite.
        """
        began = time.perf_counter()
        self._progress, self._done = progress, 0
        loss, gradient = self._gradient()
        if self.plan.products * self.objective.part_bytes > WORTH_KEEPING:
            self.operator.linearize()
        found = self._measure()
        low, high = self._rayleigh(found.v_min), self._rayleigh(found.v_max)
        norm = max(abs(low[0]), abs(high[0]))
        newton = newton_gain(self.operator, loss, gradient, norm, self.basis_dtype, self.plan.gain_steps, self._tell)
        noise = self._noise(norm)
        figures = self._figures(found, newton, low[0], high[0], noise, gradient)
        witness = self._witness(figures, found, loss, gradient, ZERO * norm)
        if witness is not None:
            figures = replace(figures, witness=witness.found, order=witness.order, radius=witness.radius)
        way = self._escape(found.v_min, low[0], noise, loss, gradient)
        cost, kept_share = self.operator.cost(gradient)[0], self.operator.kept_parts / len(self.objective.parts)
        self.operator.release()
        proof = self._proof(way, found.v_max if high[0] > NOISES * noise else None)
        figures = replace(figures, proof=proof)
        return NetworkPicture(
            name=self.name,
            plan=self.plan,
            loss=loss,
            grad_norm=newton.grad_norm,
            grad_error=self.objective.sampling_error(),
            newton=newton,
            lambda_min=low[0],
            lambda_max=high[0],
            residual_min=low[1],
            residual_max=high[1],
            lower_bound=figures.lower_bound,
            upper_bound=figures.upper_bound,
            confidence=1.0 if self.plan.exact else CONFIDENCE,
            noise=noise,
            products=self.operator.products,
            gradients_a_product=cost,
            kept_share=kept_share,
            shares=found.shares(ZERO * norm),
            density=found.density(ZERO * norm),
            v_min=found.v_min,
            escape=way,
            witness=witness,
            proof=proof,
            verdict=decide(figures),
            seconds=time.perf_counter() - began,
            notes=self._notes(),
            layout=self.objective.layout,
        )

    def _gradient(self) -> tuple[float, Tensor]:
        loss, gradient = self.objective.gradient()
        if not math.isfinite(loss) or not bool(torch.isfinite(gradient).all()):
            raise UserError(f"{self.name}: the loss is {loss:g} with a gradient that is not finite; nothing to look at")
        return loss, gradient

    def _tell(self, count: int = 1) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(min(self._done, self.plan.products), self.plan.products)

    def _measure(self) -> Measured:
        if self.plan.exact:
            return measure_exactly(self.operator, self._tell)
        p = self.plan
        return measure_by_lanczos(self.operator, p.starts, p.steps, self.seed, self.basis_dtype, CONFIDENCE, self._tell)

    def _rayleigh(self, vector: Tensor) -> tuple[float, float]:
        """v'Hv and |Hv - (v'Hv) v| of a unit vector, with a product of its own."""
        v = vector / vector.norm()
        image = self.operator(v).to(v.dtype)
        self._tell()
        value = float(v @ image)
        return value, float((image - value * v).norm())

    def _noise(self, norm: float) -> float:
        op = self.operator
        u, w = (random_unit(op.n, self.seed, _NOISE_SEED + i, op.dtype, op.device) for i in (0, 1))
        self._tell(2)
        return op.noise(norm, u, w)

    def _figures(
        self, found: Measured, newton: NewtonGain, low: float, high: float, noise: float, gradient: Tensor
    ) -> Figures:
        margin = noise if found.exact else 0.0
        doubt = 0.0
        if criticality_of(newton.predicted) != "not critical" and abs(low) > NOISES * noise:
            doubt = self._doubt(found.v_min, low, float(gradient.norm()))
        return Figures(
            gain=newton.predicted,
            fall=newton.measured,
            hess_grad=newton.hess_grad,
            low=low,
            high=high,
            lower_bound=min(low, found.lower_bound) - margin,
            upper_bound=max(high, found.upper_bound) + margin,
            noise=noise,
            exact=found.exact,
            definite=low > 0 and found.definite(NOISES * noise),
            confidence=CONFIDENCE,
            doubt=doubt,
        )

    def _doubt(self, vector: Tensor, curvature: float, slope: float) -> float:
        """Kantorovich's ratio along a direction: change of v'Hv within twice the distance to the critical point.

        Below 1/4 the sign of the curvature is that of the critical point as well.
        """
        v = (vector / vector.norm()).to(self.operator.dtype)
        reach = 2.0 * min(1.0, slope / abs(curvature))
        changes = []
        for sense in (1.0, -1.0):
            there = replace(self.objective, weights=self.objective.weights + sense * reach * v)
            changes.append(abs(float(v.double() @ HessianOperator(there)(v).double()) - curvature))
        self.operator.products += 2
        self._tell(2)
        return max(changes) / (2.0 * abs(curvature))

    def _witness(self, figures: Figures, found: Measured, loss: float, gradient: Tensor, tau: float) -> Witness | None:
        """Searched only where the gradient vanishes and the curvature does not decide."""
        if criticality_of(figures.gain) == "not critical" or not undecided_at_second_order(figures):
            return None
        return search_lower(self.objective, loss, gradient, found.positive(tau), self.seed)

    def _escape(self, v_min: Tensor, low: float, noise: float, loss: float, gradient: Tensor) -> Escape | None:
        if low >= -NOISES * noise:
            return None
        return escape(self.objective, loss, gradient, v_min / v_min.norm(), low)

    def _proof(self, way: Escape | None, up: Tensor | None) -> Proof | None:
        """Tried where curvature is negative."""
        if way is None:
            return None
        step = None if way.best is None else way.best.step
        return prove(
            self.objective, way.direction, step, up, seconds=self.proof_seconds, memory=0.8 * (self.memory - _PROCESS)
        )

    def _notes(self) -> tuple[str, ...]:
        notes = ["evaluation mode: batch norm frozen at its running statistics, dropout off; no augmentation"]
        if self.objective.piecewise:
            notes.append("piecewise smooth (ReLU, max pooling or the like): the Hessian is that of the current piece")
        return (*notes, *self.objective.notes)


def prepare(
    objective: FlatObjective,
    *,
    name: str = "network",
    products: int | None = None,
    memory: float = MEMORY,
    seed: int = 0,
    proof_seconds: float = SECONDS,
) -> Inspection:
    """Plans and prices an inspection: one gradient and one product of the first chunk are made.

    Args:
        objective: the loss, at its weights.
        name: of the point, for the report.
        products: Hessian-vector products to spend on the spectrum; as many as weights: the exact Hessian. None: the
            exact Hessian up to EXACT_UP_TO weights, else 3 starts of 50 steps.
        memory: bytes in all, for vectors and kept intermediates.
        seed: of the random starts.
        proof_seconds: wall time for a proof, by interval arithmetic, that the point is not a local minimum.

    Raises:
        UserError: fewer products than a start needs.
    """
    n, weights = objective.n, objective.weights
    exact, starts, steps, dtype = _budget(n, products, memory, weights.dtype)
    gain_steps = min(STEPS, n, int(_BASIS * memory / (n * dtype.itemsize)))
    vectors = max(8 * n * n * 3 if exact else steps * n * dtype.itemsize, gain_steps * n * dtype.itemsize)
    work = _WORKING * n * weights.element_size() + _CHUNK * memory + _PROCESS
    kept = max(0.0, 0.8 * (memory - vectors - work))
    operator = HessianOperator(objective, kept)
    ratio, seconds, _ = operator.cost(random_unit(n, seed, 0, weights.dtype, weights.device), repeats=1)
    plan = Plan(
        n=n,
        examples=objective.examples,
        of=objective.of,
        dtype=str(weights.dtype).removeprefix("torch."),
        exact=exact,
        starts=starts,
        steps=steps,
        gain_steps=gain_steps,
        products=(n if exact else starts * steps) + gain_steps + _EXTRA,
        gradient_seconds=seconds,
        product_gradients=ratio,
        vector_bytes=int(vectors),
        kept_bytes=int(min(kept, operator.expected_bytes)),
        chunks=len(objective.parts),
    )
    basis = torch.float64 if exact else dtype
    return Inspection(name, objective, operator, plan, seed, basis, proof_seconds, memory)


def _budget(n: int, products: int | None, memory: float, dtype: torch.dtype) -> tuple[bool, int, int, torch.dtype]:
    """Exact or not, starts, steps of each, dtype of the basis."""
    if n <= (EXACT_UP_TO if products is None else min(products, EXACT_UP_TO)):
        return True, 0, 0, torch.float64
    if products is not None and products < _LEAST:
        raise UserError(f"--products {products}: expected at least {_LEAST}")
    starts = _STARTS if products is None else max(1, min(_STARTS, products // 30))
    steps = min(n, _STEPS if products is None else products // starts)
    room = _BASIS * memory / n  # bytes that a weight may take in the basis
    basis = torch.float64 if dtype == torch.float64 or 8 * steps <= room else torch.float32
    return False, starts, max(2, min(steps, int(room / basis.itemsize))), basis
