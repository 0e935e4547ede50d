"""What is done for a GPU, seen without one: tensors that only pretend, flags that are only set, names that are made up.

Nothing here ran on a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loop_tools import CPU, Dots
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.nn.functional import pad
from torch.utils._python_dispatch import TorchDispatchMode

import optbench
from optbench.augment.flip_crop import FlipCrop, flipped, gathered
from optbench.experiment import plan_run
from optbench.experiment.assemble import choose_algorithms, deterministic, set_up
from optbench.experiment.provenance import device_column, processor, provenance
from optbench.problem import AbstractAugmentation, NetworkProblem
from optbench.problem.base import Mixture
from optbench.settings import NetworkTrainer

GPU = torch.device("cuda", 0)
DIGITS = ("model=mlp", "data=digits", "optimizer=sgd", "trainer.steps=3", "trainer.batch_size=16")


class Waits(TorchDispatchMode):
    """Notes every operation after which the host waits for the GPU: copies that block, numbers that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = str(func), kwargs or {}
        given = [a for a in args if isinstance(a, Tensor)]
        crosses = bool(given) and str(kwargs.get("device", given[0].device)).split(":")[0] != given[0].device.type
        if "_to_copy" in name and crosses and not kwargs.get("non_blocking"):
            self.found.append(name)
        if any(read in name for read in ("_local_scalar_dense", "nonzero", "aten.item")) and given[0].is_cuda:
            self.found.append(name)
        return func(*args, **kwargs)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU with room, whose tensors have shapes and no numbers."""
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 40, 1 << 40))


class Mixed(AbstractAugmentation):
    """Labels of each image and of the one before it; the images as they are."""

    on_device = True

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images

    def mixed(self, inputs: Tensor, generator: torch.Generator) -> Mixture:
        return Mixture(inputs, torch.arange(len(inputs)).roll(1), 0.3)


def moved_to_a_gpu(augmentation: AbstractAugmentation | None = None) -> NetworkProblem:
    """A problem made on the CPU that believes that it is on a GPU."""
    model, loss = (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)),
        nn.CrossEntropyLoss(reduction="none"),
    )
    problem = NetworkProblem(model, Dots(), loss, 6, 0, CPU, augmentation)
    problem._device = GPU
    return problem


@pytest.mark.parametrize("augmentation", [None, Mixed()])
def test_no_update_waits_for_the_gpu_to_get_its_batch(
    pretended: None, augmentation: AbstractAugmentation | None
) -> None:
    problem = moved_to_a_gpu(augmentation)
    assert problem.train.labels is not None
    with FakeTensorMode(allow_non_fake_inputs=True):
        problem.batch(0)  # the images go there, once
        with Waits() as waits:
            for step in (1, 2, 5):  # of two epochs
                batch = problem.batch(step)
    assert waits.found == []
    parts = (batch.inputs, batch.targets, *(() if batch.others is None else (batch.others,)))
    assert {part.device.type for part in parts} == {"cuda"}
    assert (batch.others is None) == (augmentation is None)
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
    assert problem._source[0].device.type == problem._order[1].device.type == "cuda"


def test_the_mode_above_notices_a_copy_that_waits_and_a_number_that_is_read(pretended: None) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True), Waits() as waits:
        there = torch.zeros(3).to(GPU)
        torch.zeros(3).to(GPU, non_blocking=True)
        with pytest.raises(DataDependentOutputException):
            there.sum().item()
    assert [name.split(".")[1] for name in waits.found] == ["_to_copy", "_local_scalar_dense"]


def test_images_that_a_gpu_has_no_room_for_stay_and_are_copied_from_pinned_memory(
    pretended: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: list[Tensor] = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 1 << 40))
    problem = moved_to_a_gpu()
    with FakeTensorMode(allow_non_fake_inputs=True), Waits() as waits:
        batch = problem.batch(0)
    assert waits.found == []
    assert batch.inputs.device.type == "cuda"
    assert problem._source[0].device.type == "cpu"
    assert {tuple(tensor.shape) for tensor in pinned} == {(6, 1, 4, 4), (6,)}


def test_on_a_gpu_pictures_are_mirrored_and_shifted_alike_and_without_a_look_at_the_draws() -> None:
    """The GPU's operations on a CPU, where the numbers are those of slices; and on tensors that have no numbers."""
    images = torch.randint(0, 256, (9, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = FlipCrop()(images, torch.Generator().manual_seed(5))
    draws = torch.Generator().manual_seed(5)
    corners = torch.randint(0, 5, (9, 2), generator=draws)
    mirrored = torch.randint(0, 2, (9,), generator=draws).bool()
    assert torch.equal(flipped(gathered(pad(images, (2, 2, 2, 2)), corners, (16, 16)), mirrored), expected)
    blind = [tensor.to("meta") for tensor in (pad(images, (2, 2, 2, 2)), corners, mirrored)]
    assert flipped(gathered(blind[0], blind[1], (16, 16)), blind[2]).shape == images.shape
    with pytest.raises(NotImplementedError):  # which looks
        blind[0][blind[2]]


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's flags, put back afterwards."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    for place, name in ((cudnn, "deterministic"), (cudnn, "benchmark"), (cudnn, "allow_tf32")):
        monkeypatch.setattr(place, name, getattr(place, name))
    before = cuda.matmul.allow_tf32, torch.are_deterministic_algorithms_enabled()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    cuda.matmul.allow_tf32 = before[0]
    torch.use_deterministic_algorithms(before[1])


@pytest.mark.parametrize("repeat", [False, True])
def test_deterministic_is_a_choice_on_a_gpu_and_nothing_to_choose_on_a_cpu(flags: None, repeat: bool) -> None:
    choose_algorithms(GPU, repeat)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (repeat, not repeat)
    assert torch.are_deterministic_algorithms_enabled() is repeat
    assert (deterministic(GPU), deterministic(CPU)) == (repeat, True)
    choose_algorithms(CPU, False)  # the next run of this process
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("precision", "products"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_tf32_is_what_the_settings_say(
    flags: None, monkeypatch: pytest.MonkeyPatch, precision: str, products: bool
) -> None:
    from optbench import device

    monkeypatch.setattr(device, "pick_device", lambda name: GPU)
    set_up(NetworkTrainer(precision=precision, threads=1), None)
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (products, True)


def test_a_record_names_its_gpu_and_its_processor(tmp_path: Path) -> None:
    on_gpu = provenance("cuda:0", 8, "float32", False, "NVIDIA H200")
    assert (on_gpu["device"], on_gpu["device_name"], on_gpu["deterministic"]) == ("cuda:0", "NVIDIA H200", False)
    assert on_gpu["processor"] == processor()
    assert device_column(on_gpu) == "NVIDIA H200"
    assert device_column({}) is None
    run = optbench.run(*DIGITS, out=tmp_path)
    assert (run.summary["device"], run.summary["provenance"]["device_name"]) == ("cpu", processor())
    assert optbench.run("model=sphere", "trainer.steps=2", out=tmp_path).summary["device"] == "cpu"


def test_a_deterministic_run_is_another_one_and_on_a_cpu_has_the_same_bits(tmp_path: Path, flags: None) -> None:
    plain = optbench.run(*DIGITS, out=tmp_path)
    same = optbench.run(*DIGITS, "trainer.deterministic=true", out=tmp_path)
    assert plain.run_id != same.run_id
    assert plain.losses() == same.losses()
    assert plan_run([*DIGITS, "trainer.deterministic=false"]).run_id == plain.run_id
