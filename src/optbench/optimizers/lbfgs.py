"""L-BFGS on networks: torch's own, for gradients in any memory layout."""

from __future__ import annotations

import torch
from torch import Tensor


class LBFGS(torch.optim.LBFGS):
    """torch.optim.LBFGS that also takes gradients in channels-last layout.

    torch flattens each gradient with `view`, which refuses the strides of a channels-last convolution kernel; `reshape`
    takes them. Nothing else is changed, so on contiguous gradients the iterates are torch's to the bit.

    Source: D. C. Liu and J. Nocedal, Mathematical Programming 45 (1989) 503.
    """

    def _gather_flat_grad(self) -> Tensor:
        return torch.cat(
            [torch.zeros_like(p).reshape(-1) if p.grad is None else p.grad.reshape(-1) for p in self._params]
        )
