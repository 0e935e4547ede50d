"""L-BFGS on networks: torch's own, for gradients in any memory layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LBFGS(torch.optim.LBFGS):
    """torch.optim.LBFGS that also takes gradients in channels-last layout.

    torch flattens each gradient with `view`, which refuses the strides of a channels-last convolution kernel; `reshape`
    takes them. Nothing else is changed, so on contiguous gradients the iterates are torch's to the bit.

    Source: D. C. Liu and J. Nocedal, Mathematical Programming 45 (1989) 503.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes a state, also from a copy or a pickle, where torch's own loses sight of its parameters."""
        super().__setstate__(state)
        self._params = self.param_groups[0]["params"]
        self._numel_cache = None

    def _gather_flat_grad(self) -> Tensor:
        return torch.cat([_flat(p) for p in self._params])


def _flat(parameter: Tensor) -> Tensor:
    """The gradient as one vector of real numbers; 0 where there is none."""
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    gradient = (gradient.to_dense() if gradient.is_sparse else gradient).reshape(-1)
    return torch.view_as_real(gradient).reshape(-1) if gradient.is_complex() else gradient
