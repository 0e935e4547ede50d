"""What a data set of one's own hands over: read as it is meant, or refused in a line; never trained on by mistake."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from loop_tools import CPU, Dots, linear, run_loop
from torch import Tensor, nn

from optbench.errors import DataError, IncompatibleError
from optbench.problem import AbstractData, NetworkProblem, Split, read_split, scaled
from optbench.settings import NetworkTrainer


@dataclass
class Given(AbstractData):
    """The same split for all purposes."""

    images: Any
    labels: Any
    n_classes: int = 2
    names: tuple[str, ...] | None = None
    channels, image_size, class_names = 1, 4, ("dark", "bright")

    def load(self, split: str) -> Split:
        names = tuple(map(str, range(len(self.images)))) if self.names is None else self.names
        return Split(self.images, self.labels, names)


BYTES = torch.randint(0, 256, (20, 1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
LABELS = torch.arange(20) % 2


@pytest.mark.parametrize(("images", "labels", "named"), [
    (BYTES.long(), LABELS, "the images of the train split of Given are torch.int64"),
    (BYTES.numpy(), LABELS, "are a ndarray"),
    (BYTES[:, 0, 0, 0], LABELS, r"of shape \(20,\)"),
    (torch.full((20, 1, 4, 4), float("nan")), LABELS, "not finite"),
    (BYTES, LABELS.float(), "the labels of the train split of Given are torch.float32; expected whole numbers, 0 to 1"),
    (BYTES, LABELS.bool(), "are torch.bool"),
    (BYTES, LABELS[:, None], r"\(20, 1\); expected a tensor of shape \(20,\)"),
    (BYTES, LABELS[:5], r"\(5,\); expected a tensor of shape \(20,\)"),
    (BYTES, LABELS.tolist(), "are list"),
    (BYTES, LABELS + 1, "hold 2; expected 0 to 1"),
    (BYTES, LABELS - 1, "hold -1; expected 0 to 1"),
])  # fmt: skip
def test_what_is_not_the_contract_is_refused(images: Any, labels: Any, named: str) -> None:
    with pytest.raises(DataError, match=named):
        read_split(Given(images, labels), "train")


def test_names_are_counted() -> None:
    with pytest.raises(DataError, match="20 images and 1 names"):
        read_split(Given(BYTES, LABELS, names=("a",)), "test")


def test_not_a_split_at_all() -> None:
    data = Given(BYTES, LABELS)
    data.load = lambda split: (BYTES, LABELS)  # type: ignore[assignment,method-assign,return-value]
    with pytest.raises(DataError, match="is a tuple"):
        read_split(data, "train")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_whole_type_are_class_numbers(dtype: torch.dtype) -> None:
    labels = read_split(Given(BYTES, LABELS.to(dtype)), "train").labels
    assert labels is not None
    assert labels.dtype == torch.int64
    assert torch.equal(labels, LABELS)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_class_without_images_is_told(split: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_split(Given(BYTES, torch.zeros(20, dtype=torch.long)), split)
        read_split(Given(BYTES, LABELS), split)
    assert caplog.messages == [f"the {split} split of Given has no image of class bright"]


def test_floats_that_look_like_bytes_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_split(Given(BYTES.float(), LABELS), "train")
        read_split(Given(BYTES.float() / 255.0, LABELS), "train")
    (line,) = caplog.messages
    assert "taken as they are; uint8 images are scaled to [0, 1]" in line


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_float_images_are_taken_as_they_are_and_left_alone(dtype: torch.dtype) -> None:
    """The same run from bytes and from the same numbers as floats, and nothing is written into the user's memory."""
    given = (BYTES.double() / 255.0).to(dtype)
    before = given.clone()

    def train(images: Tensor) -> list[dict[str, Any]]:
        settings = NetworkTrainer(batch_size=6, epochs=2, threads=1)
        model = nn.Sequential(nn.ReLU(inplace=True), linear())
        problem = NetworkProblem(model, Given(images, LABELS), nn.CrossEntropyLoss(reduction="none"), 6, 0, CPU)
        rows = run_loop(problem, settings, lambda p: torch.optim.SGD(p, lr=0.1))[1]
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    found = train(given)
    assert torch.equal(given, before)
    if dtype != torch.float16:
        assert found == train(BYTES)
    assert found == train(given)


def test_scaled_never_shares_memory() -> None:
    for images in (BYTES, BYTES.float(), BYTES.double()):
        assert scaled(images, torch.float32).data_ptr() != images.data_ptr()
    assert float(scaled(torch.tensor([[255]], dtype=torch.uint8), torch.float64)) == 1.0


def test_a_table_of_rows_reaches_a_model_that_takes_it() -> None:
    rows = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    problem = NetworkProblem(nn.Linear(3, 2), Given(rows, LABELS), nn.CrossEntropyLoss(reduction="none"), 6, 0, CPU)
    assert problem.batch(0).inputs.shape == (6, 3)
    with pytest.raises(IncompatibleError, match="does not take 3 images"):
        NetworkProblem(nn.Linear(4, 2), Given(rows, LABELS), nn.CrossEntropyLoss(reduction="none"), 6, 0, CPU)


def test_a_sound_data_set_passes_unchanged() -> None:
    data = Dots()
    split = read_split(data, "train")
    assert torch.equal(split.images, data.load("train").images)
