"""trainer.precision: passes in fewer bits against loops written with torch.autocast and GradScaler; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loop_tools import CPU, Dots, gd, loop_of, on_dots, run_loop
from torch import Tensor, nn

import optbench
from optbench.errors import IncompatibleError
from optbench.experiment import plan_run
from optbench.problem import NetworkProblem, precision
from optbench.settings import NetworkTrainer

DIGITS = ("model=mlp", "data=digits", "optimizer=sgd", "trainer.steps=3", "trainer.batch_size=16")
CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")


def two_layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def in_bits(bits: str, model: nn.Module | None = None, accumulate: int = 1, **settings: Any) -> Any:
    trainer = NetworkTrainer(**{"batch_size": 6, "epochs": 3, "threads": 1, "precision": bits} | settings)
    problem = NetworkProblem(
        model or two_layers(), Dots(), CROSS_ENTROPY, 6, 0, CPU, accumulate=accumulate, precision=bits
    )
    return problem, trainer


@pytest.mark.parametrize("bits", ["bf16", "fp16"])
def test_it_trains_as_torch_does(bits: str) -> None:
    """To the bit, with weights of 32 bits; what is evaluated is not rounded."""
    problem, trainer = in_bits(bits)
    _, rows = run_loop(problem, trainer, gd(0.3))

    model, (batches, _) = two_layers(), on_dots(two_layers(), epochs=3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    scaler = torch.amp.GradScaler("cpu", enabled=bits == "fp16")
    losses = []
    for step in range(12):
        batch = batches.batch(step)
        optimizer.zero_grad()
        with torch.autocast("cpu", {"bf16": torch.bfloat16, "fp16": torch.float16}[bits]):
            outputs = model(batch.inputs)
        loss = CROSS_ENTROPY(outputs.float(), batch.targets).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert [row["loss"] for row in rows if "loss" in row] == losses
    for ours, theirs in zip(problem.module.parameters(), model.parameters(), strict=True):
        assert ours.dtype is torch.float32
        assert torch.equal(ours, theirs)
    judged, _ = on_dots(model)
    assert rows[-1]["val_loss"] == judged.evaluate()["val_loss"]
    plain, _ = on_dots(two_layers(), epochs=3)
    assert losses != [row["loss"] for row in run_loop(plain, NetworkTrainer(batch_size=6, epochs=3), gd(0.3))[1][:-1]]


def test_pieces_share_one_scale() -> None:
    """fp16 with accumulation: the gradients are those of fp32, to the bits of fp16."""
    (half, _), (single, _) = in_bits("fp16", accumulate=3), in_bits("fp32", accumulate=3)
    for problem in (half, single):
        problem.differentiate(problem.batch(0))
    for ours, theirs in zip(half.module.parameters(), single.module.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=0.02, atol=1e-3)


class Steep(nn.Module):
    """Undecided at first, with gradients of hundreds: they overflow in fp16 when the scale is 2 ** 16."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 2)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.flatten(1)) * 2.0**9


def test_a_gradient_that_overflows_is_left_out_and_the_scale_is_halved() -> None:
    """As GradScaler leaves out the step of an optimizer; the run is not called diverged."""
    problem, trainer = in_bits("fp16", Steep(), epochs=6)
    first = {name: tensor.clone() for name, tensor in problem.module.state_dict().items()}
    loop, watcher = loop_of(problem, trainer, gd(1e-9), stop_after=1)
    loop.run()
    assert watcher.state("last")["problem"]["scale"]["scale"] == 2.0**15
    assert loop.progress.left_out == 1
    for name, tensor in problem.module.state_dict().items():
        assert torch.equal(tensor, first[name])
    problem, trainer = in_bits("fp16", Steep(), epochs=6)
    summary, _ = run_loop(problem, trainer, gd(1e-9))
    assert summary.status == "completed"
    assert "left out" in summary.reason


@pytest.mark.parametrize("stop", [1, 5, 8])
def test_it_resumes_to_the_bit_with_its_scale(stop: int) -> None:
    def made(**options: Any) -> Any:
        torch.manual_seed(0)
        return loop_of(*in_bits("fp16", Steep(), epochs=4), lambda p: torch.optim.Adam(p, lr=0.1), **options)

    whole, _ = made()
    expected = whole.run()
    first, watcher = made(stop_after=stop)
    first.run()
    second, _ = made()
    second.restore(watcher.state("last"))
    assert second.run().reason == expected.reason
    assert second.problem.counters() == whole.problem.counters()
    for name, tensor in whole.problem.module.state_dict().items():
        assert torch.equal(second.problem.module.state_dict()[name], tensor)


class Clock:
    """In place of time: it goes on by itself a millisecond a look, whatever else the machine does."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1e-3
        return self.now


class Waits(nn.Module):
    """Takes 9 milliseconds of a clock, under autocast or without it."""

    def __init__(self, under_autocast: bool, clock: Clock) -> None:
        super().__init__()
        self.layer, self.when, self.clock = nn.Linear(16, 2), under_autocast, [clock]

    def __deepcopy__(self, memo: dict[int, Any]) -> Waits:
        return Waits(self.when, *self.clock)

    def forward(self, images: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu") == self.when:
            self.clock[0].now += 9e-3
        return self.layer(images.flatten(1))


def test_a_precision_that_is_slower_on_a_cpu_is_refused_with_the_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, images = Clock(), torch.zeros(4, 1, 4, 4)
    monkeypatch.setattr(precision, "time", clock)
    with pytest.raises(IncompatibleError, match=r"trainer.precision=bf16 makes an update take 10\.0 times as long"):
        precision.check_precision("bf16", Waits(True, clock), images, CPU)
    model = Waits(False, clock)
    precision.check_precision("bf16", model, images, CPU)
    assert model.layer.weight.grad is None
    with pytest.raises(IncompatibleError, match="tf32 is of NVIDIA GPUs; this run is on cpu"):
        precision.check_precision("tf32", model, images, CPU)


def test_one_probe_that_finds_it_quick_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe beside other work may be wrong by any factor; of three that found it slow the least factor is said."""
    found = iter([80.0, 0.5, 9.0, 3.2, 4.0])
    monkeypatch.setattr(precision, "slowdown", lambda *_: next(found))
    precision.check_precision("bf16", nn.Identity(), torch.zeros(1), CPU)
    with pytest.raises(IncompatibleError, match=r"3\.2 times"):
        precision.check_precision("bf16", nn.Identity(), torch.zeros(1), CPU)


def test_the_probe_draws_nothing_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    before, drawn = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    assert precision.slowdown("bf16", model, torch.rand(4, 1, 4, 4, generator=torch.Generator())) > 0
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_run_says_its_precision_and_fp32_is_what_runs_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plan_run(DIGITS).run_id
    assert plan_run([*DIGITS, "trainer.precision=fp32"]).run_id == plain
    assert len({plan_run([*DIGITS, f"trainer.precision={p}"]).run_id for p in ("fp32", "tf32", "bf16", "fp16")}) == 4
    monkeypatch.setattr(precision, "slowdown", lambda *_: 1.0)
    run = optbench.run(*DIGITS, "trainer.precision=bf16", out=tmp_path)
    assert run.status == "completed"
    assert run.summary["provenance"]["precision"].startswith("bf16")
    monkeypatch.setattr(precision, "slowdown", lambda *_: 3.71)
    with pytest.raises(IncompatibleError, match=r"3\.7 times as long as fp32"):
        optbench.run(*DIGITS, "trainer.precision=fp16", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()
