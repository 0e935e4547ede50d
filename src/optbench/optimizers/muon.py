"""Muon for whole models: the momentum of hidden weights made orthogonal, every other parameter by AdamW.

Muon replaces the momentum of a weight matrix by the nearest semi-orthogonal matrix, U V^T of its singular value
decomposition, found approximately by Newton-Schulz iterations. The idea is about matrices inside a network: its author
gives vectors, embeddings and the head to AdamW, and of a ConvNet the first filters too; all other filters are taken as
matrices, one row for each channel that they make. Which parameters those are is not to be seen from a shape, so the
groups say it (`use_muon`; in `conf/optimizer/muon.yaml` by roles). On a surface, whose weights are one vector, what is
left is AdamW.

The iterations are made in bfloat16 on a GPU, as by the author and by torch.optim.Muon; on a CPU in single precision
(double for double parameters), which there is faster and loses nothing.

Sources: K. Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024),
https://kellerjordan.github.io/posts/muon/ and, on ConvNets, the README of the author's repository; the shared learning
rate: Liu et al., arXiv:2502.16982.
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
    """Muon on hidden weights and torch.optim.AdamW's update on all other parameters, behind one face.

    Args:
        params: parameters or parameter groups; a group may override lr, weight_decay, momentum, betas ...
        lr: learning rate of both. With adjust_lr_fn "match_rms_adamw" an update of a matrix has about the root mean
            square of an AdamW update, so that one value serves both.
        weight_decay: decoupled weight decay of both.
        momentum: of the matrices, in [0, 1].
        nesterov: of the matrices.
        ns_steps: Newton-Schulz iterations.
        adjust_lr_fn: "match_rms_adamw" (0.2 sqrt(max(rows, columns)) times lr) or "original"
            (sqrt(max(1, rows / columns)) times lr; of a filter the sides of its kernel, as in the author's code).
        betas: of AdamW.
        eps: of AdamW.
        use_muon: true: Muon for every parameter of the group, those of more than two dimensions as matrices of one row
            for each entry of the first; false: AdamW for all. None, which is for parameters of which nothing else is
            known: Muon for those of two dimensions.

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
        use_muon: bool | None = None,
    ) -> None:
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"Invalid momentum value: {momentum}, expected 0 <= momentum <= 1")
        if not 0 < ns_steps < 100:
            raise ValueError(f"Invalid ns_steps value: {ns_steps}, expected 0 < ns_steps < 100")
        if adjust_lr_fn not in ADJUSTMENTS:
            raise ValueError(f"Invalid adjust_lr_fn: {adjust_lr_fn!r}, expected one of {', '.join(ADJUSTMENTS)}")
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                    "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn, "betas": tuple(betas), "eps": eps,
                    "use_muon": use_muon}  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """As torch's; a group of Muon's has weights alone. Raises ValueError."""
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"] if self.param_groups[-1]["use_muon"] else ():
            if parameter.ndim < 2:
                raise ValueError(f"use_muon: a parameter of shape {tuple(parameter.shape)} is no matrix and no filter")

    def refuse(self, parameter: Tensor) -> None:
        """Sparse gradients, and matrices of complex numbers."""
        super().refuse(parameter)
        if parameter.ndim >= 2 and parameter.is_complex():
            raise RuntimeError("Muon does not support complex matrices")

    def update(self, parameters: Sequence[Tensor], group: Group) -> None:
        turned = [p.ndim == 2 if group["use_muon"] is None else group["use_muon"] for p in parameters]
        for parameter, is_turned in zip(parameters, turned, strict=True):
            if is_turned:
                self._turn(parameter, group)
        self._adamw([p for p, is_turned in zip(parameters, turned, strict=True) if not is_turned], group)

    def _turn(self, weight: Tensor, group: Group) -> None:
        """Moves a matrix, or a filter taken as one, by its momentum made orthogonal."""
        gradient, state = weight.grad, self.state[weight]
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average = state["momentum_buffer"].lerp_(gradient, 1.0 - group["momentum"])
        direction = gradient.lerp(average, group["momentum"]) if group["nesterov"] else average
        matrix = direction.flatten(1)
        if group["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(matrix.shape))
        else:  # of a filter the author takes the sides of its kernel
            ratio = math.sqrt(max(1.0, weight.shape[-2] / weight.shape[-1]))
        lr = float(group["lr"])
        weight.mul_(1.0 - lr * group["weight_decay"])
        weight.add_(orthogonal(matrix, group["ns_steps"]).reshape(direction.shape), alpha=-lr * ratio)

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
