"""Cautious optimizers: coordinates that would move along the gradient stay (Liang, Chen, Liu & Liu 2024, algorithm 1).

With u what the optimizer subtracts from a parameter and g its gradient, what is subtracted is u where u g > 0 and 0
elsewhere, divided by the share of coordinates that move, 1/1000 at least, as in the authors' code. Decoupled weight
decay is no part of u, as there: it acts on all coordinates. That is known of torch's and this package's optimizers; of
others all that they do is u.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optbench.wrapper_base import AbstractWrapper, Closure, after, copies, with_gradients

LEAST_SHARE = 1e-3


class Cautious(AbstractWrapper):
    """Leaves out of an update what its gradient speaks against.

    Args:
        inner: the optimizer, which measures once an update.
    """

    def update(self, closure: Closure) -> None:
        seen: dict[Tensor, Tensor] = {}

        def look() -> None:
            seen.update({p: p.grad for p in with_gradients(self.parameters) if p.grad is not None})

        before = dict(zip(self.parameters, copies(self.parameters), strict=True))
        self.drive(after(closure, look))
        with torch.no_grad():
            for parameter, decay, sign in self._kept():
                if parameter in seen:
                    start = before[parameter] * decay
                    own = start - parameter
                    moves = (own * seen[parameter] * sign > 0).to(own.dtype)
                    parameter.copy_(start - own * moves / moves.mean().clamp(min=LEAST_SHARE))

    def _kept(self) -> Iterator[tuple[Tensor, float, float]]:
        """Each parameter, what decoupled decay leaves of it, and 1, or -1 where the optimizer climbs."""
        core = self.core
        for part in getattr(core, "parts", [core]):
            for group in part.param_groups:
                decay = 1.0 - group["lr"] * group["weight_decay"] if _is_decoupled(part, group) else 1.0
                for parameter in group["params"]:
                    yield parameter, decay, -1.0 if group.get("maximize") else 1.0


_DECOUPLED = ("torch.optim._muon.", "optbench.optimizers.muon.")


def _is_decoupled(optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    kind = type(optimizer)
    known = f"{kind.__module__}.".startswith(_DECOUPLED) or isinstance(optimizer, torch.optim.AdamW)
    said = group.get("decoupled_weight_decay", False) or getattr(kind, "decay", "none") == "decoupled"
    return bool(group.get("weight_decay")) and bool(known or said)
