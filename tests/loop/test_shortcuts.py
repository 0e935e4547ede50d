"""What the loop does not compute a second time is what it would have computed, to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loop_tools import Dots, on_dots, run_loop
from torch import Tensor, nn

from optbench.problem import network


class Twice(torch.optim.SGD):
    """Measures before its step and once more after it, at another point, and then steps again."""

    def step(self, closure: Any = None) -> Any:
        for _ in range(2):
            loss = closure()
            super().step()
        return loss


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 2))


@pytest.mark.parametrize("model", [two_layers, lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False))])
@pytest.mark.parametrize("measures", [1, 2])
@pytest.mark.parametrize("clip", [0.05, 0.6, 1e3])
def test_gradients_are_clipped_as_torch_clips_them(model: Any, measures: int, clip: float) -> None:
    """The norm that a row records serves the clipping too; of a second closure of the update it is another."""
    kind = torch.optim.SGD if measures == 1 else Twice
    torch.manual_seed(0)
    problem, trainer = on_dots(model(), epochs=2, clip_norm=clip)
    run_loop(problem, trainer, lambda parameters: kind(parameters, lr=0.3))

    torch.manual_seed(0)
    by_hand = model()
    batches, _ = on_dots(by_hand, epochs=2)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.3)
    for step in range(2 * batches.steps_per_epoch):
        batch = batches.batch(step)
        for _ in range(measures):
            optimizer.zero_grad()
            nn.functional.cross_entropy(by_hand(batch.inputs), batch.targets).backward()
            torch.nn.utils.clip_grad_norm_(by_hand.parameters(), clip)
            optimizer.step()
    for ours, theirs in zip(problem.module.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(ours, theirs)


class WritesIntoItsInputs(nn.Module):
    """Darkens the images that it was given, in place, through a view of them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 2)

    def forward(self, images: Tensor) -> Tensor:
        images.flatten(1).detach().mul_(0.5)
        logits: Tensor = self.layer(images.flatten(1))
        return logits


@pytest.mark.parametrize(
    "make", [two_layers, WritesIntoItsInputs, lambda: nn.Sequential(nn.Hardswish(True), two_layers())]
)
@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_every_evaluation_is_of_the_same_images(make: Any, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they are kept as numbers, made anew each time because they are many, or spoilt by the model."""
    monkeypatch.setattr(network, "_KEPT_BYTES", limit)
    monkeypatch.setattr(network, "_EVALUATION_BATCH", 7)
    model = make()
    problem, _ = on_dots(model, data=Dots(20, n_validation=30))
    images, labels = problem.validation.images.float() / 255.0, problem.validation.labels
    assert labels is not None
    for _ in range(3):
        with torch.no_grad():
            logits = torch.cat([model(part.clone()) for part in images.split(7)])
            assert problem.evaluate() == {
                "val_loss": nn.functional.cross_entropy(logits, labels, reduction="none").mean().item(),
                "val_accuracy": (logits.argmax(-1) == labels).double().mean().item(),
            }
            for weights in model.parameters():
                weights.mul_(1.3)
