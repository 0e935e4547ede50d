"""The loss and the accuracy of a network over data, at any weights.

The model is a copy in evaluation mode. Batch norm's running statistics belong to the weights that they were recorded
at: between two checkpoints, or beside one, those of neither are right, and a barrier that they make is none. So they
are made anew at every point, from the training data at these weights: layer by layer in one pass, the mean over batches
of equal size of each batch's own statistics, as torch's `update_bn` has it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from optbench.curvature.objective import DOUBLE_UP_TO
from optbench.errors import UserError
from optbench.problem import Split, predicted_labels, row_losses, scaled
from optbench.problem.collating import Collated, Collator, picked
from optbench.problem.losses import row_weights
from optbench.problem.measures import in_rows
from optbench.problem.ragged import Ragged
from optbench.problem.trees import called, mapped, part_of, rows

BATCH = 256

Layout = tuple[tuple[str, torch.Size], ...]


class Reading(NamedTuple):
    """What a split says at some weights: mean loss, and of classes the share that is right, else None; of examples with
    weights both are the weighted means that a run records."""

    loss: float
    accuracy: float | None


class NetworkLoss:
    """A network's loss over splits, as a function of all its weights.

    Attributes:
        weights: those that the model had, (n,) float64.
        layout: name and shape of each of the parameters that a vector of weights lines up, in order.
        normed: whether it has batch norm, whose statistics are made anew at every point.
        splits: the names of the splits.

    Args:
        model: inputs by the rule of `problem.trees` to outputs (b, ...); copied.
        loss: (outputs, targets) to (b,), see `problem.losses`; copied.
        splits: labelled examples by name; where they have weights, means are weighted.
        statistics: the inputs that batch norm's statistics are of; None: those of the split "train".
        batch: examples at a time.
        dtype: float64 or float32; None: float64 up to 100,000 weights.
        collator: makes batches of rows that differ in length; means are then over positions that have targets.

    Raises:
        UserError: no labelled examples.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        splits: Mapping[str, Split],
        *,
        statistics: Any = None,
        batch: int = BATCH,
        dtype: torch.dtype | None = None,
        collator: Collator | None = None,
    ) -> None:
        for name, split in splits.items():
            if split.targets is None or not len(split):
                raise UserError(f"the {name} split has no labelled examples: there is no loss to look at")
        own = list(model.named_parameters())
        self.layout: Layout = tuple((name, p.shape) for name, p in own)
        self.weights = flattened(dict(own), self.layout)
        self._dtype = dtype or (torch.float64 if len(self.weights) <= DOUBLE_UP_TO else torch.float32)
        self._model = copy.deepcopy(model).eval().requires_grad_(False).to(self._dtype)
        self._loss = copy.deepcopy(loss).eval().to(self._dtype)
        self._splits, self._batch, self._collator = dict(splits), batch, collator
        self._device = next((p.device for p in self._model.parameters()), torch.device("cpu"))
        self._norms = [m for m in self._model.modules() if getattr(m, "track_running_stats", False)]
        self._statistics = statistics if statistics is not None or "train" not in splits else splits["train"].inputs

    @property
    def normed(self) -> bool:
        """See the class."""
        return bool(self._norms)

    @property
    def splits(self) -> tuple[str, ...]:
        """See the class."""
        return tuple(self._splits)

    @torch.no_grad()
    def __call__(self, weights: Tensor) -> dict[str, Reading]:
        """Loss and accuracy on each split at weights (n,)."""
        nn.utils.vector_to_parameters(weights.to(self._device, self._dtype), self._model.parameters())
        self._refresh()
        return {name: self._read(split) for name, split in self._splits.items()}

    def _refresh(self) -> None:
        """Makes batch norm's statistics those of the training data at the present weights."""
        if not self._norms or self._statistics is None:
            return
        before = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.reset_running_stats()  # type: ignore[operator]
            norm.momentum = None  # type: ignore[assignment]  # the mean over all batches
            norm.train()  # dropout stays off
        for made in self._batches(self._statistics):
            called(self._model, made.inputs)
        for norm, momentum in zip(self._norms, before, strict=True):
            norm.momentum = momentum
            norm.eval()

    def _batches(self, inputs: Any, targets: Any = None) -> Iterator[Collated]:
        """Inputs, and targets where there are some, in parts of nearly equal size, each made when it is asked for."""
        for start, end in pairwise(_edges(rows(inputs), self._batch)):
            which = slice(start, end)
            made = Collated(part_of(inputs, which), None if targets is None else part_of(targets, which), None)
            if self._collator is not None:
                made = self._collator(made.inputs, made.targets)
            wanted = None if made.targets is None else mapped(self._as_wanted, made.targets)
            yield Collated(mapped(self._as_input, made.inputs), wanted, made.real)

    def _as_input(self, inputs: Tensor) -> Tensor:
        made = scaled(inputs.to(self._device), self._dtype)
        return made.contiguous(memory_format=torch.channels_last) if made.ndim == 4 else made

    def _as_wanted(self, targets: Tensor) -> Tensor:
        there = targets.to(self._device)
        return there.to(self._dtype) if there.is_floating_point() else there

    def _read(self, split: Split) -> Reading:
        total, mass, right, judged = 0.0, 0.0, 0.0, 0.0
        targets = split.targets
        of_classes = isinstance(targets, Tensor | Ragged) and not targets.is_floating_point()
        edges = pairwise(_edges(len(split), self._batch))
        for made, (start, end) in zip(self._batches(split.inputs, targets), edges, strict=True):
            outputs: Any = picked(called(self._model, made.inputs), made.real)
            wanted: Any = made.targets
            losses = row_losses(self._loss, outputs, wanted).double()
            own = row_weights(wanted, None if split.weights is None else split.weights[start:end])
            total += float(losses.sum() if own is None else (losses * own.to(losses)).sum())
            mass += float(end - start if own is None else own.sum())
            if of_classes:
                weights = None if split.weights is None else split.weights[start:end].to(losses)
                flat, labels, counts = in_rows(outputs, wanted, weights)
                hits = (predicted_labels(self._loss, flat) == labels).double()
                right += float(hits.sum() if counts is None else (hits * counts).sum())
                judged += float(len(hits) if counts is None else counts.sum())
        return Reading(total / mass, right / judged if judged else None)


def _edges(count: int, size: int) -> list[int]:
    # parts of nearly equal size: each counts alike in batch norm's statistics
    pieces = -(-count // size)
    return [count * i // pieces for i in range(pieces + 1)]


def flattened(state: Mapping[str, Tensor], layout: Layout) -> Tensor:
    """The tensors of a state that a layout names, in its order, as one vector (n,) float64 on the CPU."""
    return torch.cat([state[name].detach().double().cpu().reshape(-1) for name, _ in layout])
