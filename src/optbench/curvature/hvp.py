"""Hessian-vector products of a sum of parts, at one point, as cheaply as memory allows.

The Hessian never changes here, only the vector does. So the gradient of each part is linearized once
(`torch.func.linearize`): everything that does not depend on the vector is computed and kept, and a product is one pass
over what is kept (1.3 to 2.2 gradients). Parts whose intermediates do not fit the budget are differentiated twice at
every product (3 to 4 gradients).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, linearize

from optbench.curvature.objective import FlatObjective
from optbench.problem import stream

Product = Callable[[Tensor], Tensor]
Tell = Callable[[int, int], None]
_TOLERANCE = 1e4  # rounding errors by which two ways to a product may differ; float32: 0.1 %
_KEPT = 6  # bytes that a linearized part keeps, in bytes that autograd saves in one forward pass (measured 2.4 to 5.4)


class HessianOperator:
    """v -> H v at objective.weights.

    Args:
        objective: what is differentiated.
        memory: bytes that intermediates may take; 0: nothing is kept.

    Attributes:
        products: how many products were made so far.
        kept_parts: parts whose intermediates are kept.
        kept_bytes: what they take.
    """

    def __init__(self, objective: FlatObjective, memory: float = 0.0) -> None:
        self.objective = objective
        self.n, self.dtype, self.device = objective.n, objective.weights.dtype, objective.weights.device
        self.products = 0
        self.kept_parts = 0
        self.kept_bytes = 0
        self._memory = memory
        self._kept: list[Product | None] = [None] * len(objective.parts)

    @property
    def expected_bytes(self) -> int:
        """Estimate of what the intermediates of all parts take."""
        return _KEPT * self.objective.part_bytes * len(self.objective.parts)

    def linearize(self, tell: Tell | None = None) -> None:
        """Linearizes as many parts as fit the budget; the rest is left to double backward."""
        for i in range(len(self._kept)):
            room = self._memory - self.kept_bytes
            expected = max(_KEPT * self.objective.part_bytes, self.kept_bytes // max(1, self.kept_parts))
            if expected > room or not self._linearize_part(i, room):
                return
            if tell is not None:
                tell(i + 1, len(self._kept))

    def release(self) -> None:
        """Lets go of the intermediates: later products are differentiated twice."""
        self._kept = [None] * len(self._kept)
        self.kept_parts = self.kept_bytes = 0

    def _linearize_part(self, i: int, room: float) -> bool:
        product = _linearized(self.objective, i)
        size = None if product is None else _held_bytes(product)
        if product is None or size is None or size > room or not self._agrees(product, i):
            return False
        self._kept[i] = product
        self.kept_parts += 1
        self.kept_bytes += size
        return True

    def _agrees(self, product: Product, i: int) -> bool:
        """Whether a linearized part gives what double backward gives; it does not where a model works in place."""
        v = random_unit(self.n, 0, i, self.dtype, self.device)
        wanted = self._twice(i, v)
        return float((product(v) - wanted).norm()) <= _TOLERANCE * torch.finfo(self.dtype).eps * float(wanted.norm())

    def __call__(self, vector: Tensor) -> Tensor:
        """H v: float (n,) -> (n,) in the objective's dtype."""
        v = vector.to(self.dtype)
        total = torch.zeros_like(v)
        for i, product in enumerate(self._kept):
            total += self._twice(i, v) if product is None else product(v)
        self.products += 1
        return total

    def _twice(self, i: int, v: Tensor) -> Tensor:
        """Double backward through one part."""
        weights = self.objective.weights.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.objective.parts[i](weights), weights, create_graph=True)
        if not gradient.requires_grad:  # a linear part
            return torch.zeros_like(v)
        (product,) = torch.autograd.grad(gradient, weights, v, allow_unused=True)
        return product.detach() if isinstance(product, Tensor) else torch.zeros_like(v)

    def cost(self, vector: Tensor, repeats: int = 2) -> tuple[float, float, float]:
        """What a product costs, measured on the first part that stands for most of them.

        Returns:
            Gradients a product (CPU time); wall seconds of a gradient and of a product, all parts.
        """
        gradient = _fastest(lambda: self.objective.part_gradient(0, self.objective.weights), repeats)
        fresh = _fastest(lambda: self._twice(0, vector.to(self.dtype)), repeats)
        first = self._kept[0]
        kept = fresh if first is None else _fastest(lambda: first(vector.to(self.dtype)), repeats)
        count, share = len(self._kept), self.kept_parts / len(self._kept)
        ratio = (share * kept[0] + (1 - share) * fresh[0]) / max(gradient[0], 1e-9)
        return ratio, count * gradient[1], count * (share * kept[1] + (1 - share) * fresh[1])

    def noise(self, norm: float, u: Tensor, w: Tensor) -> float:
        """How far the operator is from symmetric, |u'Hw - w'Hu| for unit vectors, at least 8 eps |H|."""
        gap = abs(float(u.double() @ self(w).double()) - float(w.double() @ self(u).double()))
        return max(gap, 8.0 * torch.finfo(self.dtype).eps * norm)


def random_unit(n: int, seed: int, index: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A vector uniform on the unit sphere, (n,); number `index` of the seed's sequence."""
    v = torch.randn(n, generator=stream(seed, "lanczos", index), dtype=torch.float64).to(device)
    unit: Tensor = (v / v.norm()).to(dtype)
    return unit


def _fastest(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Smallest CPU seconds and wall seconds of some repeats."""
    best = (float("inf"), float("inf"))
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        best = (min(best[0], time.process_time() - cpu), min(best[1], time.perf_counter() - wall))
    return best


def _linearized(objective: FlatObjective, i: int) -> Product | None:
    """The linear map of a part's gradient; None where an operation has no forward derivative."""
    try:
        with warnings.catch_warnings():
            # torch's own: a note of its constant folding, and its use of its deprecated jit.script
            warnings.filterwarnings("ignore", message=".*get_attr Node with no underlying reference")
            warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
            _, product = linearize(grad(objective.parts[i]), objective.weights)
            product(torch.zeros_like(objective.weights))  # folds the constants
    except (RuntimeError, NotImplementedError):
        return None
    return product


def _held_bytes(product: Product) -> int | None:
    """Bytes of the tensors that a linear map keeps; what its constants were folded from is let go first.

    None where torch keeps them in a way that is not known here.
    """
    cells = getattr(product, "__closure__", None) or ()
    graphs = [c.cell_contents for c in cells if isinstance(c.cell_contents, torch.nn.Module)]
    if len(graphs) != 1:
        return None
    if getattr(graphs[0], "has_folding_been_run", False):
        graphs[0].register_module("const_subgraph_module", None)
    held: dict[int, int] = {}
    for module in graphs[0].modules():
        for value in (*vars(module).values(), *module.parameters(recurse=False), *module.buffers(recurse=False)):
            if isinstance(value, Tensor):
                held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
    return sum(held.values())
