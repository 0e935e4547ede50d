"""Inputs normalised by the training data: as a part of the model, the same in training, evaluation and prediction."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loop_tools import CPU, Dots, linear, on_dots
from torch import nn

import optbench
from optbench.experiment import plan_run
from optbench.experiment.checkpoints import load_checkpoint
from optbench.experiment.rebuild import rebuild
from optbench.problem import NetworkProblem
from optbench.problem.normal import channels, normalise

DIGITS = ["model=mlp", "model.hidden=[16]", "data.image_size=8", "trainer.epochs=2", "trainer.threads=1"]


@pytest.mark.parametrize("n", [1, 700, 1024])
def test_mean_and_deviation_are_of_every_pixel_of_a_channel(n: int) -> None:
    images = torch.randint(0, 256, (n, 3, 5, 5), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
    images[:, 2] = 7
    deviation, mean = torch.std_mean(images.double() / 255, dim=(0, 2, 3), correction=0)
    ours = channels(images)
    torch.testing.assert_close(ours[0], mean.float())
    torch.testing.assert_close(ours[1][:2], deviation[:2].float())
    assert ours[1][2] == 1


def test_training_and_evaluation_see_normal_inputs() -> None:
    data = Dots()
    plain, settings = on_dots(linear(), data)
    loss = nn.CrossEntropyLoss(reduction="none")
    normal = NetworkProblem(linear(), data, loss, settings.batch_size, 0, CPU, None, normal=True)
    pixels = data.load("train").images.double() / 255
    mean, deviation = pixels.mean().float(), pixels.std(correction=0).float()
    batch = plain.batch(1)
    expected = loss(linear()((batch.inputs - mean) / deviation), batch.targets).mean()
    torch.testing.assert_close(normal.objective(normal.batch(1)), expected)
    held_out = data.load("validation")
    outputs = linear()((held_out.images / 255 - mean) / deviation)
    assert normal.evaluate()["val_loss"] == pytest.approx(loss(outputs, held_out.labels).mean().item(), rel=1e-5)
    assert [name for name, _ in normal.module.named_parameters()] == [n for n, _ in plain.module.named_parameters()]


def test_a_recorded_network_is_normal_again(tmp_path: Path) -> None:
    run = optbench.run(*DIGITS, "trainer.normalize=true", out=tmp_path)
    assert run.path is not None
    state = load_checkpoint(run.path / "last.pt")["model"]
    rebuilt = rebuild(run.path, "last")
    validation = rebuilt.data.load("validation")
    assert validation.labels is not None
    torch.testing.assert_close(state["input_mean"].flatten(), channels(rebuilt.data.load("train").images)[0])
    right = rebuilt.labels(rebuilt.outputs(validation.images)) == validation.labels
    assert float(right.double().mean()) == run.summary["val_accuracy"]


def test_without_it_a_run_is_the_one_it_was() -> None:
    first = plan_run(DIGITS).run_id
    assert plan_run([*DIGITS, "trainer.normalize=false"]).run_id == first
    assert plan_run([*DIGITS, "trainer.normalize=true"]).run_id != first


def test_a_model_in_another_precision_takes_its_mean_along() -> None:
    model = linear()
    normalise(model, torch.tensor([0.25]), torch.tensor([2.0]))
    images = torch.rand(3, 1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(model.double()(images), linear().double()((images - 0.25) / 2))
