"""Inputs that are equal in every example, as one input each.

Weights on equal inputs have equal gradients. So where an optimizer works element by element and moves a weight by an
amount that does not depend on it (but for decoupled weight decay, which multiplies all by one factor), the weights
on c equal inputs stay what they were plus one common amount d, and their sum is all that the outputs see:

    sum_j w_j  =  k sum_j w_j(0) + c d,        w_j = k w_j(0) + d

with k the product of the decays. A stack trains the sum and knows the weights. Digits enlarged to 32 x 32 in three
equal channels have 900 inputs that differ of 3072.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Columns:
    """Which inputs differ.

    Attributes:
        first: (d,) int64, the first input of each kind.
        kind: (features,) int64, of each input.
        counts: (d,) float32, inputs of each kind.
    """

    first: Tensor
    kind: Tensor
    counts: Tensor

    def summed(self, weight: Tensor) -> Tensor:
        """(out, features) to (out, d): the sum over the inputs of each kind, in float64 rounded once."""
        whole = torch.zeros(len(weight), len(self.first), dtype=torch.float64, device=weight.device)
        return whole.index_add_(1, self.kind, weight.double()).to(weight.dtype)

    def apart(self, sums: Tensor, start: Tensor, decay: float) -> Tensor:
        """The weights (out, features) whose sums these are.

        Args:
            sums: (out, d).
            start: (out, features) the weights at the start.
            decay: k, product of the factors of decoupled weight decay.
        """
        moved = (sums.double() - decay * self.summed(start).double()) / self.counts
        return (decay * start.double() + moved.index_select(1, self.kind)).to(start.dtype)


def columns_of(*tables: Tensor) -> Columns | None:
    """The inputs that differ in some example of any table (n, features); None where all do."""
    kept = torch.cat([table.cpu() for table in tables])
    rows, kind, counts = torch.unique(kept.mT.contiguous(), dim=0, return_inverse=True, return_counts=True)
    if len(rows) == kept.shape[1]:
        return None
    first = torch.full((len(rows),), kept.shape[1], dtype=torch.int64)
    first.scatter_reduce_(0, kind, torch.arange(kept.shape[1]), "amin")
    device = tables[0].device
    return Columns(first.to(device), kind.to(device), counts.float().to(device))
