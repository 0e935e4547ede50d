"""The loss of a network over a whole data set, as a function of all its weights in one flat vector.

A sum of parts, one a chunk of the data, so that neither value, gradient nor Hessian-vector product ever holds more than
one chunk's activations. The model is a copy in evaluation mode: batch norm uses its running statistics, dropout is off,
and the original is left as it was.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from optbench.errors import UserError
from optbench.problem import Batch, Split, scaled, stream
from optbench.problem.collating import Collator, picked
from optbench.problem.losses import row_losses, row_weights
from optbench.problem.network import collated_targets
from optbench.problem.trees import arguments, chosen, mapped, part_of

Part = Callable[[Tensor], Tensor]
DOUBLE_UP_TO = 100_000  # weights; beyond, float64 costs twice the time and memory of float32
LARGEST_CHUNK = 512
_TRANSIENT = 6  # peak bytes of a product, in bytes that autograd saves in one forward pass (measured 2 to 5 on CNNs)
_KINKED = ("relu", "max_pool", "abs", "hardtanh", "hardswish", "hardsigmoid", "threshold", "clamp", "maximum", "amax")


@dataclass
class FlatObjective:
    """A sum of scalar functions of one vector, and the point at which it is looked at.

    Attributes:
        parts: functions of a float vector (n,) to a scalar; the objective is their sum.
        weights: the point, float (n,).
        layout: (name, shape) of the tensors that `weights` lines up; empty where it is only a vector.
        examples: how many examples the parts hold together; 0 where there are none.
        of: how many there would be without a `share`.
        piecewise: the loss has kinks (ReLU, max pooling ...): derivatives are those of the piece at the point.
        part_bytes: estimate of what autograd saves in one forward pass of a part.
        finer: of a count: the same objective in parts of so many examples at most; None where there are none.
    """

    parts: Sequence[Part]
    weights: Tensor
    layout: tuple[tuple[str, torch.Size], ...] = ()
    examples: int = 0
    of: int = 0
    piecewise: bool = False
    part_bytes: int = 0
    finer: Callable[[int], list[Part]] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Number of weights."""
        return self.weights.numel()

    @torch.no_grad()
    def value(self, weights: Tensor | None = None) -> float:
        """The objective at a point (n,); default: at `weights`."""
        at = self.weights if weights is None else weights
        return sum(part(at).item() for part in self.parts)

    def part_gradient(self, i: int, weights: Tensor) -> tuple[float, Tensor]:
        """Value and gradient (n,) of one part."""
        at = weights.detach().requires_grad_()
        value = self.parts[i](at)
        (gradient,) = torch.autograd.grad(value, at)
        return value.item(), gradient

    def gradient(self, weights: Tensor | None = None) -> tuple[float, Tensor]:
        """Value and gradient (n,) of the objective."""
        at = self.weights if weights is None else weights
        total, sum_ = 0.0, torch.zeros_like(at)
        for i in range(len(self.parts)):
            value, gradient = self.part_gradient(i, at)
            total += value
            sum_ += gradient
        return total, sum_

    def sampling_error(self) -> float | None:
        """Standard error of |gradient| as an estimate for all examples, from the spread between parts.

        None where all examples are used, or where there is only one part.
        """
        count = len(self.parts)
        if self.examples == self.of or count < 2:
            return None
        total, squares = torch.zeros_like(self.weights), 0.0
        for i in range(count):
            gradient = self.part_gradient(i, self.weights)[1]
            total += gradient
            squares += float(gradient.double().square().sum())
        spread = squares - float(total.double().square().sum()) / count
        return math.sqrt(max(0.0, spread) * count / (count - 1))


def cut(vector: Tensor, layout: Sequence[tuple[str, torch.Size]]) -> dict[str, Tensor]:
    """A vector (n,) as tensors of these names and shapes, which line up to n numbers."""
    pieces = vector.split([shape.numel() for _, shape in layout])
    return {name: piece.view(shape) for (name, shape), piece in zip(layout, pieces, strict=True)}


def network_objective(
    model: nn.Module,
    loss: nn.Module,
    split: Split,
    *,
    share: float = 1.0,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    chunk: int | None = None,
    chunk_bytes: float = 5e8,
    collator: Collator | None = None,
) -> FlatObjective:
    """The mean loss of a model over a split.

    Args:
        model: inputs by the rule of `problem.trees` to outputs (b, ...); copied.
        loss: (outputs, targets) to (b,), see `problem.losses`; copied.
        split: labelled examples; where they have weights, the mean is weighted.
        share: part of the examples to use, in (0, 1]; which ones is decided by `seed`.
        seed: see share.
        dtype: float64 or float32; None: float64 up to DOUBLE_UP_TO weights.
        chunk: examples a part; None: as many as keep a product's peak memory below `chunk_bytes`, at most
            LARGEST_CHUNK.
        chunk_bytes: see chunk.
        collator: makes batches of rows that differ in length; the mean is then over positions that have targets.

    Raises:
        UserError: no labels, no trainable weights, a share outside (0, 1].
    """
    if split.labels is None or not len(split):
        raise UserError("this split has no labelled examples: there is no loss to look at")
    if not 0 < share <= 1:
        raise UserError(f"share={share:g}: expected a number above 0 and at most 1")
    n = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if not n:
        raise UserError("the model has no trainable weights")
    dtype = dtype or (torch.float64 if n <= DOUBLE_UP_TO else torch.float32)
    model, loss = copy.deepcopy(model).eval().to(dtype), copy.deepcopy(loss).eval().to(dtype)
    used = share_of(split, share, seed)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    layout = tuple((name, p.shape) for name, p in trained.items())
    weights = torch.cat([p.detach().reshape(-1) for p in trained.values()])
    model.requires_grad_(False)
    counted = row_weights(collated_targets(used, collator), used.weights)
    mass = float(len(used)) if counted is None else float(counted.double().sum())
    loss_of = partial(_loss, model, loss, layout, mass)
    one = _rows(used, 0, 1, collator)
    inputs, targets = (mapped(torch.clone, tree) for tree in (one.inputs, one.targets))
    one = replace(one, inputs=inputs, targets=targets)  # what autograd keeps of a view is the whole
    saved, piecewise = _probe(partial(loss_of, one), weights)
    size = chunk or max(1, min(LARGEST_CHUNK, int(chunk_bytes / (_TRANSIENT * max(saved, 1)))))

    def parts(most: int) -> list[Part]:
        return [partial(loss_of, _rows(used, a, b, collator)) for a, b in pairwise(_edges(len(used), most))]

    part_bytes = saved * min(size, len(used))
    return FlatObjective(parts(size), weights, layout, len(used), len(split), piecewise, part_bytes, parts)


def _rows(split: Split, start: int, end: int, collator: Collator | None) -> Batch:
    """Consecutive examples."""
    rows = slice(start, end)
    inputs, targets = part_of(split.inputs, rows), part_of(split.targets, rows)
    weights = None if split.weights is None else split.weights[rows]
    if collator is None:
        return Batch(inputs, targets, weights=weights)
    made = collator(inputs, targets)
    return Batch(made.inputs, made.targets, weights=weights, real=made.real)


def share_of(split: Split, share: float, seed: int = 0) -> Split:
    """So large a part of a split, at least one example; which ones is decided by `seed`."""
    count = max(1, round(share * len(split)))
    if count == len(split):
        return split
    index = torch.randperm(len(split), generator=stream(seed, "curvature share"))[:count].sort().values
    targets, names = chosen(split.targets, index), tuple(split.names[i] for i in index.tolist())
    return Split(chosen(split.inputs, index), targets, names, None if split.weights is None else split.weights[index])


def _edges(count: int, size: int) -> list[int]:
    # parts of nearly equal size: their gradients are comparable, and no last part is tiny
    pieces = -(-count // size)
    return [count * i // pieces for i in range(pieces + 1)]


def _loss(
    model: nn.Module,
    loss: nn.Module,
    layout: Sequence[tuple[str, torch.Size]],
    mass: float,
    examples: Batch,
    weights: Tensor,
) -> Tensor:
    """Sum of the losses of these examples, over what all examples weigh."""
    inputs = mapped(partial(_as_input, like=weights), examples.inputs)
    outputs = picked(functional_call(model, cut(weights, layout), *arguments(inputs)), examples.real)
    losses = row_losses(loss, outputs, mapped(partial(_as_wanted, like=weights), examples.targets))
    if (counted := row_weights(examples.targets, examples.weights)) is not None:
        losses = losses * counted.to(weights)
    return losses.sum() / mass


def _as_input(images: Tensor, like: Tensor) -> Tensor:
    inputs = scaled(images.to(like.device), like.dtype)
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs


def _as_wanted(targets: Tensor, like: Tensor) -> Tensor:
    # numbers in the precision of the outputs: not every loss of torch goes backward through two of them
    return targets.to(like) if targets.is_floating_point() else targets.to(like.device)


class _Operations(TorchDispatchMode):
    """Notes the names of the tensor operations that run under it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def _probe(one: Part, weights: Tensor) -> tuple[int, bool]:
    """Bytes that autograd saves for one image beside the weights, and whether the loss has kinks."""
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() != weights.untyped_storage().data_ptr():
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    operations = _Operations()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), operations:
        value = one(weights.detach().requires_grad_())
    del value
    # "softmax" and "log_softmax" contain none of the words; "relu" also finds leaky_relu, and gelu is smooth
    kinked = any(word in name for name in operations.names for word in _KINKED)
    return sum(saved.values()), kinked
