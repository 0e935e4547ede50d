"""The parameters of all rows as one matrix (rows, n): the optimizer sees it whole, the layers see their parts of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from optbench.stacked.chain import Chain
from optbench.stacked.columns import Columns


class Form:
    """Where the parameters of a network lie in a row of the matrix.

    Args:
        model: of any row.
        chain: its layers.
        columns: of its inputs, where some are the same; None: all are trained as they are.

    Attributes:
        names: of the parameters, in the order of the model.
        first: the weights on the inputs, where the first layer is a linear one.
        width: numbers in a row.
        counts: (width,) float32, how many weights move as one; None: each by itself.
    """

    def __init__(self, model: nn.Module, chain: Chain, columns: Columns | None) -> None:
        self._columns, self.first = columns, f"{chain.layers[0][0]}.weight"
        found = {name: tuple(p.shape) for name, p in model.named_parameters()}
        if columns is not None:
            found[self.first] = (found[self.first][0], len(columns.first))
        self.names, self._shapes = list(found), list(found.values())
        self._sizes = [torch.Size(shape).numel() for shape in self._shapes]
        self.width = sum(self._sizes)
        self.buffers = [name for name, b in model.named_buffers() if _is_statistic(name, b, chain)]
        self.counts = None if columns is None else self._counts(columns)

    def _counts(self, columns: Columns) -> Tensor:
        parts = [torch.ones(size, device=columns.counts.device) for size in self._sizes]
        place = self.names.index(self.first)
        parts[place] = columns.counts.repeat(self._shapes[place][0])
        return torch.cat(parts)

    def taken(self, states: Sequence[Mapping[str, Tensor]], device: torch.device) -> Tensor:
        """(rows, width) float32, from the state_dict of each row."""
        return torch.stack([torch.cat([self._part(state, name, device) for name in self.names]) for state in states])

    def _part(self, state: Mapping[str, Tensor], name: str, device: torch.device) -> Tensor:
        part = state[name].to(device)
        if self._columns is not None and name == self.first:
            part = self._columns.summed(part)
        return part.reshape(-1)

    def spans(self) -> dict[str, tuple[int, int]]:
        """Where each parameter begins and ends in a row."""
        ends = [0, *itertools.accumulate(self._sizes)]
        return dict(zip(self.names, itertools.pairwise(ends), strict=True))

    def leaves(self, flat: Tensor) -> dict[str, Tensor]:
        """The parameters by name, (rows, ...), as leaves of a graph; they share the matrix's memory."""
        return {name: part.requires_grad_() for name, part in self.views(flat).items()}

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The parameters by name, (rows, ...), views of the matrix."""
        parts = flat.detach().split(self._sizes, dim=1)
        return {n: p.unflatten(1, s) for n, p, s in zip(self.names, parts, self._shapes, strict=True)}

    def state(self, row: Tensor, start: Mapping[str, Tensor], decay: float) -> dict[str, Tensor]:
        """The parameters of one row (width,) as in the model's state_dict.

        Args:
            row: a row of the matrix.
            start: the state_dict that it began with.
            decay: product of its factors of decoupled weight decay.
        """
        found = {name: part[0].clone() for name, part in self.views(row[None]).items()}
        if self._columns is not None:
            weight = start[self.first].to(row.device)
            found[self.first] = self._columns.apart(found[self.first], weight, decay)
        return found


def _is_statistic(name: str, buffer: Tensor, chain: Chain) -> bool:
    """Whether a buffer is a statistic of a layer, which each row has for itself."""
    return name.rpartition(".")[0] in dict(chain.layers) and buffer.is_floating_point()


def counted(name: str) -> bool:
    """Whether a buffer counts the batches that batch norm has seen."""
    return name.endswith(".num_batches_tracked")
