"""Labels that a network gives itself: pictures without labels join the training where it is sure enough of them.

At the beginning of an epoch the weights that are evaluated look at each unlabelled picture as it is. Where the largest
probability reaches a threshold, that class is taken for the label until labels are made anew. An update then sees,
beside its labelled pictures, its share of those that were taken, augmented as the others are, so that an epoch passes
over each of them once (where they are more than the labelled ones, over as many, drawn at random). In the mean loss of
the update such a picture weighs `weight`, approached in equal steps, one an epoch; a labelled one weighs 1.

The labels are a function of the weights at the beginning of an epoch, the order in which they are seen of (seed,
"pseudo order", epoch). They lie in the checkpoints: a run that goes on within an epoch has those it had.

Source: D.-H. Lee, "Pseudo-Label: the simple and efficient semi-supervised learning method for deep neural networks"
(ICML workshop 2013), equations 15 and 16; there the two means are added, here it is one weighted mean, so that the
learning rate keeps its meaning, as in the notebook of homework 3, which appends what it took to the training data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optbench.problem.base import Split, stream


@dataclass(frozen=True)
class Rule:
    """When labels are made, and what they count.

    Attributes:
        threshold: probability from which on a label is taken.
        start: epoch before which none is made, counted from 0.
        every: epochs for which labels last.
        weight: of a picture with such a label in the end.
        ramp: epochs with a smaller weight, the first of them with weight / (ramp + 1).
    """

    threshold: float
    start: int
    every: int
    weight: float
    ramp: int

    def is_due(self, epoch: int) -> bool:
        """Whether labels are made at the beginning of an epoch."""
        return epoch >= self.start and (epoch - self.start) % self.every == 0

    def weight_at(self, epoch: int) -> float:
        """Weight of a picture in an epoch from `start` on."""
        return self.weight * min(1.0, (epoch - self.start + 1) / (self.ramp + 1))


class Taken(NamedTuple):
    """Pictures with labels that the network gave them, of one update.

    Attributes:
        images: (k, channels, height, width), as the data set has them.
        labels: int64 (k,).
        weight: of each of them.
    """

    images: Tensor
    labels: Tensor
    weight: float


class PseudoLabels:
    """Unlabelled pictures and the labels that they have at the moment.

    Args:
        pictures: unlabelled; where labels are known all the same, they serve to tell how many were right, and nothing
            else.
        rule: when labels are made.
        seed: root seed of the run.
    """

    def __init__(self, pictures: Split, rule: Rule, seed: int) -> None:
        self.images, self.rule = pictures.images, rule
        self._truth, self._seed = pictures.labels, seed
        self._index = self._labels = torch.empty(0, dtype=torch.long)
        self._order: tuple[int, Tensor] = (-1, self._index)
        self._made: list[list[int]] = []

    def make(self, epoch: int, shares: Tensor) -> None:
        """Makes the labels anew at the beginning of an epoch, from probabilities (n, classes)."""
        most, labels = shares.max(dim=-1)
        self._index = torch.nonzero(most >= self.rule.threshold).flatten()
        self._labels = labels[self._index]
        self._order = (-1, self._index)
        right = [] if self._truth is None else [int((self._labels == self._truth[self._index]).sum())]
        before = [row for row in self._made if row[0] < epoch]  # a run that goes on may begin an epoch once more
        self._made = [*before, [epoch, len(self._index), *right]]

    def taken(self, epoch: int, position: int, updates: int, most: int) -> Taken | None:
        """What one update of an epoch sees; None where it sees none.

        Args:
            epoch: of the update.
            position: of the update in it.
            updates: in an epoch.
            most: pictures in one update.
        """
        if not len(self._index):
            return None
        if self._order[0] != epoch:
            generator = stream(self._seed, "pseudo order", epoch)
            self._order = epoch, torch.randperm(len(self._index), generator=generator)[: updates * most]
        order = self._order[1]
        part = order[position * len(order) // updates : (position + 1) * len(order) // updates]
        if not len(part):
            return None
        images = self.images.index_select(0, self._index[part])
        return Taken(images, self._labels[part], self.rule.weight_at(epoch))

    def account(self) -> dict[str, Any]:
        """What a record says: how many pictures there are, and at the beginning of which epochs how many were taken;
        where labels are known, how many of these were right; and how many of each class the last time."""
        columns = list(zip(*self._made, strict=True))
        named = dict(zip(("epochs", "taken", "right"), map(list, columns), strict=False))
        classes = torch.bincount(self._labels).tolist()
        return {"pictures": len(self.images), "threshold": self.rule.threshold, **named, "classes": classes}

    def state(self) -> dict[str, Any]:
        """For a checkpoint: tensors and plain values."""
        return {"index": self._index, "labels": self._labels, "made": self._made}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from state()."""
        self._index, self._labels = state["index"].cpu(), state["labels"].cpu()
        self._order, self._made = (-1, self._index), [list(row) for row in state["made"]]
