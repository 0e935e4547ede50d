"""Muon for whole models: the momentum of every matrix made orthogonal, every other parameter by AdamW.

Muon replaces the momentum of a weight matrix by the nearest semi-orthogonal matrix, U V^T of its singular value
decomposition, found approximately by Newton-Schulz iterations. The idea is about matrices; its author gives vectors
and scalars to AdamW. Here convolution kernels (4-D) go to AdamW as well. On a surface, whose weights are one vector,
what is left is AdamW.

The iterations are made in bfloat16 on a GPU, as by the author and by torch.optim.Muon; on a CPU in single precision
(double for double parameters), which there is faster and loses nothing.

Sources: K. Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024),
https://kellerjordan.github.io/posts/muon/; the shared learning rate: Liu et al., arXiv:2502.16982.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.optimizer import ParamsT

from optbench.optimizer_base import AbstractOptimizer, Group

QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b, c of the iteration X <- a X + (b A + c A^2) X with A = X X^T: steepest at singular values near 0 (Jordan)."""
SMALLEST_NORM = 1e-7
ADJUSTMENTS = ("match_rms_adamw", "original")


def orthogonal(matrix: Tensor, steps: int) -> Tensor:
    """Approximately U V^T of the matrix: singular values between about 0.7 and 1.2 after five steps.

    Args:
        matrix: (rows, columns), real.
        steps: Newton-Schulz iterations.

    Returns:
        (rows, columns), bfloat16 on a GPU, else of the matrix's precision, single at least.
    """
    a, b, c = QUINTIC
    x = matrix.bfloat16() if matrix.is_cuda else matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    tall = len(x) > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp(min=SMALLEST_NORM)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(AbstractOptimizer):
    """Muon on 2-D parameters and torch.optim.AdamW's update on all others, behind one face.

    Groups are ordinary: one may hold parameters of both kinds, and its options serve both.

    Args:
        params: parameters or parameter groups; a group may override lr, weight_decay, momentum, betas ...
        lr: learning rate of both. With adjust_lr_fn "match_rms_adamw" an update of a matrix has about the root mean
            square of an AdamW update, so that one value serves both.
        weight_decay: decoupled weight decay of both.
        momentum: of the matrices, in [0, 1].
        nesterov: of the matrices.
        ns_steps: Newton-Schulz iterations.
        adjust_lr_fn: "match_rms_adamw" (0.2 sqrt(max(rows, columns)) times lr) or "original"
            (sqrt(max(1, rows / columns)) times lr).
        betas: of AdamW.
        eps: of AdamW.

    Raises:
        ValueError: a hyperparameter outside its range.
    """

    on_vectors = "torch.optim.AdamW"  # what is left of it on a surface; see optbench.descend.rule

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        adjust_lr_fn: str = "match_rms_adamw",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"Invalid momentum value: {momentum}, expected 0 <= momentum <= 1")
        if not 0 < ns_steps < 100:
            raise ValueError(f"Invalid ns_steps value: {ns_steps}, expected 0 < ns_steps < 100")
        if adjust_lr_fn not in ADJUSTMENTS:
            raise ValueError(f"Invalid adjust_lr_fn: {adjust_lr_fn!r}, expected one of {', '.join(ADJUSTMENTS)}")
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                    "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn, "betas": tuple(betas), "eps": eps}  # fmt: skip
        super().__init__(params, defaults)

    def refuse(self, parameter: Tensor) -> None:
        """Sparse gradients, and matrices of complex numbers."""
        super().refuse(parameter)
        if parameter.ndim == 2 and parameter.is_complex():
            raise RuntimeError("Muon does not support complex matrices")

    def update(self, parameters: Sequence[Tensor], group: Group) -> None:
        for parameter in parameters:
            if parameter.ndim == 2:
                self._turn(parameter, group)
        self._adamw([p for p in parameters if p.ndim != 2], group)

    def _turn(self, matrix: Tensor, group: Group) -> None:
        """Moves a matrix by its momentum made orthogonal."""
        gradient, state = matrix.grad, self.state[matrix]
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average = state["momentum_buffer"].lerp_(gradient, 1.0 - group["momentum"])
        direction = gradient.lerp(average, group["momentum"]) if group["nesterov"] else average
        rows, columns = matrix.shape
        matched = group["adjust_lr_fn"] == "match_rms_adamw"
        ratio = 0.2 * math.sqrt(max(rows, columns)) if matched else math.sqrt(max(1.0, rows / columns))
        lr = float(group["lr"])
        matrix.mul_(1.0 - lr * group["weight_decay"])
        matrix.add_(orthogonal(direction, group["ns_steps"]), alpha=-lr * ratio)

    def _adamw(self, parameters: Sequence[Tensor], group: Group) -> None:
        """torch.optim.AdamW's update."""
        states = [self._adam_state(p) for p in parameters]
        beta1, beta2 = group["betas"]
        adamw(
            params=list(parameters), grads=[p.grad for p in parameters if p.grad is not None],
            exp_avgs=[state["exp_avg"] for state in states], exp_avg_sqs=[state["exp_avg_sq"] for state in states],
            max_exp_avg_sqs=[], state_steps=[state["step"] for state in states],
            has_complex=any(p.is_complex() for p in parameters), amsgrad=False, maximize=False,
            beta1=beta1, beta2=beta2, lr=float(group["lr"]), weight_decay=group["weight_decay"], eps=group["eps"],
        )  # fmt: skip

    def _adam_state(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if "step" not in state:
            state["step"] = torch.tensor(0.0)
        for name in ("exp_avg", "exp_avg_sq"):
            if name not in state:
                state[name] = torch.zeros_like(parameter)
        return state
