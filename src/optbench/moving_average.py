"""The exponential moving average of weights, the rule of it, which `trainer.ema` and `wrap=ema` share.

Of two updates that follow one another, the earlier one counts `decay` times as much. The weights before the first do
not count, as in Adam's means: after k updates the average is sum_i decay^(k - i) w_i / sum_i decay^(k - i).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def follow(means: Sequence[Tensor], now: Sequence[Tensor], decay: float, count: int) -> None:
    """Takes the values after one more update into the means, in place.

    Args:
        means: of the updates before; of no account where this is the first.
        now: tensors of the same shapes.
        decay: in (0, 1).
        count: number of this update, from 1.
    """
    share = (1.0 - decay) / (1.0 - decay**count)
    torch._foreach_lerp_(list(means), [t.detach() for t in now], share)
