"""Muon for whole models: matrices by torch.optim.Muon, every other parameter by torch.optim.AdamW.

Muon replaces the momentum of a weight matrix by the nearest semi-orthogonal matrix, U V^T of its singular value
decomposition, found approximately by Newton-Schulz iterations. The idea is about matrices, and torch's implementation
refuses anything else; its author gives vectors and scalars to AdamW. Here convolution kernels (4-D) go to AdamW as
well. On a surface, whose weights are one vector, what is left is AdamW.

Sources: K. Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024),
https://kellerjordan.github.io/posts/muon/; the shared learning rate: Liu et al., arXiv:2502.16982.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class Muon(Optimizer):
    """torch.optim.Muon on 2-D parameters and torch.optim.AdamW on all others, behind one face.

    A group of parameters is split in two where it has both kinds; `param_groups[i]["method"]` says which update it
    gets. Groups and state are ordinary, so schedulers act on all groups and checkpoints hold everything.

    Args:
        params: parameters or parameter groups; a group may override lr, weight_decay, momentum, betas ...
        lr: learning rate of both. With adjust_lr_fn "match_rms_adamw" an update of a matrix has about the root mean
            square of an AdamW update, so that one value serves both.
        weight_decay: decoupled weight decay of both.
        momentum: of the matrices.
        nesterov: of the matrices.
        ns_steps: Newton-Schulz iterations.
        adjust_lr_fn: "match_rms_adamw" (0.2 sqrt(max(rows, columns)) times lr) or "original"
            (sqrt(max(1, rows / columns)) times lr).
        betas: of AdamW.
        eps: of AdamW.

    Raises:
        ValueError: a hyperparameter that torch.optim.Muon or torch.optim.AdamW refuses.
    """

    on_vectors = "torch.optim.AdamW"  # what is left of it on a surface; see optbench.descend.rules

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
        # Built on a placeholder: they check the hyperparameters here and get the real groups at each step.
        self._workers: dict[str, Optimizer] = {
            "muon": torch.optim.Muon(
                [torch.zeros(1, 1)],
                lr=lr,
                weight_decay=weight_decay,
                momentum=momentum,
                nesterov=nesterov,
                ns_steps=ns_steps,
                adjust_lr_fn=adjust_lr_fn,
            ),
            "adamw": torch.optim.AdamW([torch.zeros(1)], lr=lr, betas=betas, eps=eps, weight_decay=weight_decay),
        }
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, as one group of matrices and one of the other parameters."""
        own = {key: value for key, value in param_group.items() if key != "method"}
        super().add_param_group(param_group)  # torch's own checks and normal form
        added = self.param_groups.pop()
        aligned = [key for key in ("params", "param_names") if key in added]
        for method, worker in self._workers.items():
            chosen = [i for i, p in enumerate(added["params"]) if (p.ndim == 2) == (method == "muon")]
            if chosen:
                lists: dict[str, Any] = {key: [added[key][i] for i in chosen] for key in aligned}
                self.param_groups.append({**worker.defaults, **own, "method": method, **lists})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update; returns the closure's value (the loss before the update), if there is a closure.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for method, worker in self._workers.items():
            # Linked anew each time: load_state_dict replaces both objects.
            worker.param_groups = [group for group in self.param_groups if group["method"] == method]
            worker.state = self.state
            worker.step()
        return loss

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_workers": self._workers}
