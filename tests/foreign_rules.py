"""Optimizers and schedules as a researcher writes them: each changes what its class computes in a way of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from optbench.optimizers.lion import Lion
from optbench.optimizers.muon import Muon
from optbench.optimizers.nadam import NAdam


class HalfLion(Lion):
    """A tenth of the step; the pure update is inherited."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        before = [p.clone() for p in self.param_groups[0]["params"]]
        loss = super().step(closure)
        for old, p in zip(before, self.param_groups[0]["params"], strict=True):
            p.copy_(old + 0.1 * (p - old))
        return loss


class LateLion(Lion):
    """Another step after a thousand updates: no trial of a few dozen updates shows it."""

    made = 0

    def step(self, closure: Any = None) -> Any:
        self.made += 1
        if self.made > 1000:
            self.param_groups[0]["lr"] = 0.0
        return super().step(closure)


class SlowMuon(Muon):
    def step(self, closure: Any = None) -> Any:
        self.param_groups[0]["lr"] *= 0.5
        return super().step(closure)


class RoundNAdam(NAdam):
    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)


class InitGroupSGD(torch.optim.SGD):
    """The sign of the gradient, by the helper that collects the gradients."""

    def _init_group(self, group: Any, params: Any, grads: Any, momentum_buffer_list: Any) -> Any:
        found = super()._init_group(group, params, grads, momentum_buffer_list)  # type: ignore[misc]
        grads[:] = [g.sign() for g in grads]
        return found


class GroupedAdam(torch.optim.Adam):
    """Half of the learning rate, set where the group is added."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group({**param_group, "lr": 0.5 * param_group.get("lr", self.defaults["lr"])})


class DecayedSGD(torch.optim.SGD):
    """A property in the place of a value."""

    @property
    def param_groups(self) -> Any:
        return self._groups

    @param_groups.setter
    def param_groups(self, groups: Any) -> None:
        self._groups = groups


class PlainSGD(torch.optim.SGD):
    """Nothing but a name of its own."""

    nickname = "plain"


def hooked_lion(params: Any, lr: float) -> Lion:
    optimizer = Lion(params, lr=lr)
    optimizer.register_step_post_hook(lambda *_: None)
    return optimizer


def watching_lion(params: Any, lr: float) -> Lion:
    params = list(params)
    for p in params:
        p.register_hook(lambda g: 2.0 * g)
    return Lion(params, lr=lr)


def patched_lion(params: Any, lr: float) -> Lion:
    optimizer = Lion(params, lr=lr)
    step = optimizer.step
    optimizer.step = lambda closure=None: step(closure)  # type: ignore[method-assign, assignment]
    return optimizer


class Damped(torch.optim.Optimizer):
    """Momentum whose step is halved where gradient and momentum disagree."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.9, agree: float = 0.5) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "agree": agree})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        assert closure is not None
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                m.mul_(group["momentum"]).add_(p.grad)
                scale = torch.where(m * p.grad > 0, 1.0, group["agree"])  # single precision
                p.sub_(group["lr"] * scale * m)
        return loss


class RightDamped(Damped):
    memories = ("m",)

    @staticmethod
    def pure(
        x: Tensor, gradient: Tensor, memory: Mapping[str, Tensor], hyper: Mapping[str, Any], t: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        m = hyper["momentum"] * memory["m"] + gradient
        return x - hyper["lr"] * torch.where(m * gradient > 0, 1.0, hyper["agree"]) * m, {"m": m}


class WrongDamped(Damped):
    """Takes the momentum before this gradient: the same first sign, another update from the second on."""

    memories = ("m",)

    @staticmethod
    def pure(
        x: Tensor, gradient: Tensor, memory: Mapping[str, Tensor], hyper: Mapping[str, Any], t: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        m = hyper["momentum"] * memory["m"] + gradient
        return x - hyper["lr"] * torch.where(memory["m"] * gradient >= 0, 1.0, hyper["agree"]) * m, {"m": m}


class Stateful(RightDamped):
    """Agrees in every update; its state differs only where a gradient pauses."""

    @staticmethod
    def pure(
        x: Tensor, gradient: Tensor, memory: Mapping[str, Tensor], hyper: Mapping[str, Any], t: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x, after = RightDamped.pure(x, gradient, memory, hyper, t)
        return x, {"m": torch.where(gradient == 0, memory["m"], after["m"])}


class Random(torch.optim.lr_scheduler.LambdaLR):
    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer, lambda t: float(torch.rand(())))


class Decaying(torch.optim.lr_scheduler.LambdaLR):
    """Touches the weight decay at the tenth update."""

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer, lambda t: 1.0)

    def step(self, epoch: int | None = None) -> None:
        super().step(epoch)
        if self.last_epoch == 10:
            self.optimizer.param_groups[0]["weight_decay"] = 0.5


class Clamped(torch.optim.lr_scheduler.LambdaLR):
    """Proportional to the learning rate as long as it is above 0.05."""

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer, lambda t: 0.98**t)

    def get_lr(self) -> list[float]:
        return [max(rate, 0.05) for rate in super().get_lr()]  # type: ignore[misc]
