"""What tests of runs share: small problems made by hand, and an observer that only remembers."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from optbench.experiment.recorder import Stop
from optbench.loop import Loop, Row, Summary
from optbench.losses.surface import SurfaceLoss
from optbench.problem import (
    AbstractAugmentation,
    AbstractData,
    AbstractProblem,
    AbstractSurface,
    NetworkProblem,
    Split,
    SurfaceProblem,
)
from optbench.settings import NetworkTrainer, SurfaceTrainer

CPU = torch.device("cpu")
Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


class StopsAfter(Stop):
    """Asks for an end after some updates."""

    def __init__(self, updates: int) -> None:
        self.left = updates + 1
        super().__init__()

    @property
    def requested(self) -> bool:  # type: ignore[override]
        self.left -= 1
        return self.left <= 0

    @requested.setter
    def requested(self, value: bool) -> None: ...


class Watcher:
    """An observer that remembers; asks to stop after update number `stop_after`."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.rows: list[Row] = []
        self.states: dict[str, bytes] = {}
        self.step_now, self.stop_after = 0, stop_after
        self.checkpoint_due = False

    def row(self, row: Row) -> None:
        self.rows.append(dict(row))

    def step(self, step: int, total: int, row: Row) -> None:
        self.step_now = step

    def checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        self.states[name] = buffer.getvalue()

    def state(self, name: str) -> dict[str, Any]:
        """The last state of that name, read as tensors only."""
        found: dict[str, Any] = torch.load(io.BytesIO(self.states[name]), weights_only=True)
        return found

    @property
    def stop_requested(self) -> bool:
        return self.stop_after is not None and self.step_now >= self.stop_after


class Field(AbstractSurface):
    """Any function of coordinates, from any start."""

    def __init__(self, function: Callable[[Tensor], Tensor], *start: float) -> None:
        super().__init__([(-1e9, 1e9)] * len(start), start)
        self.function = function

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x)


def on_field(
    function: Callable[[Tensor], Tensor], start: Sequence[float], seed: int = 0, **trainer: Any
) -> tuple[SurfaceProblem, SurfaceTrainer]:
    """A surface problem with the settings."""
    settings = SurfaceTrainer(**trainer)
    return SurfaceProblem(Field(function, *start), SurfaceLoss(), settings, seed, CPU), settings


class Dots(AbstractData):
    """Random images of 4 x 4 in two classes: the brighter half is class 1."""

    def __init__(self, n: int = 20, n_validation: int = 8) -> None:
        self.n_classes, self.channels, self.image_size, self.class_names = 2, 1, 4, ("dark", "bright")
        self._sizes = {"train": n, "validation": n_validation}

    def load(self, split: str) -> Split:
        n = self._sizes[split]
        images = torch.randint(0, 256, (n, 1, 4, 4), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
        labels = (images.double().mean((1, 2, 3)) > 127.5).long()
        return Split(images, labels, tuple(f"{i}.png" for i in range(n)))


def linear() -> nn.Sequential:
    """Two logits of 16 pixels, always with the same weights."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.linspace(-0.5, 0.5, p.numel()).reshape(p.shape))
    return model


def on_dots(
    model: nn.Module | None = None,
    data: AbstractData | None = None,
    seed: int = 0,
    augmentation: AbstractAugmentation | None = None,
    **trainer: Any,
) -> tuple[NetworkProblem, NetworkTrainer]:
    """A network problem with the settings; batches of 6 unless told otherwise."""
    settings = NetworkTrainer(**{"batch_size": 6, "epochs": 2, "threads": 1} | trainer)
    loss = nn.CrossEntropyLoss(reduction="none")
    made = NetworkProblem(model or linear(), data or Dots(), loss, settings.batch_size, seed, CPU, augmentation)
    return made, settings


def gd(lr: float) -> Make:
    """Plain gradient descent."""
    return lambda parameters: torch.optim.SGD(parameters, lr=lr)


def constant(optimizer: torch.optim.Optimizer) -> Any:
    """No schedule."""
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


def loop_of(
    problem: AbstractProblem,
    trainer: SurfaceTrainer | NetworkTrainer,
    make: Make,
    schedule: Callable[[torch.optim.Optimizer], Any] = constant,
    stop_after: int | None = None,
    look_every: int | None = None,
) -> tuple[Loop, Watcher]:
    """A loop with an observer that remembers."""
    optimizer = make(list(problem.module.parameters()))
    watcher = Watcher(stop_after)
    return Loop(problem, optimizer, schedule(optimizer), trainer, watcher, look_every=look_every), watcher


def run_loop(
    problem: AbstractProblem, trainer: SurfaceTrainer | NetworkTrainer, make: Make, **options: Any
) -> tuple[Summary, list[Row]]:
    """The summary and the recorded rows of a run to its end."""
    loop, watcher = loop_of(problem, trainer, make, **options)
    return loop.run(), watcher.rows
