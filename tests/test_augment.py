"""Transforms on whole batches, images mixed with one another: against torchvision's own, and torch's soft labels."""

from __future__ import annotations

import math
from typing import Any

import members
import numpy as np
import pytest
import torch
from loop_tools import Dots, linear, on_dots
from scipy.stats import kstest
from torch import Tensor

from optbench import build_problem, compose
from optbench.augment.flip_crop import gathered, sliced
from optbench.augment.jitter import Jitter
from optbench.augment.whole_batch import WholeBatch, WideCrop, cut_and_mixed, mixed_up
from optbench.config import build
from optbench.errors import DataError
from optbench.problem import stream

AUGMENTATIONS = [name for name in members.names("augment") if members.read("augment", name)["_target_"] is not None]


def random_images(n: int = 6, size: int = 20) -> Tensor:
    return torch.rand((n, 3, size, size), generator=torch.Generator().manual_seed(n))


class Shade:
    """Adds a number that it draws, one for all that it is given at once."""

    def __call__(self, images: Tensor) -> Tensor:
        return images + torch.randint(1, 2**31, ())


@pytest.mark.parametrize(("n", "parts", "draws"), [(8, 4, 4), (3, 16, 3), (5, 1, 1)])
def test_every_part_of_a_batch_has_draws_of_its_own(n: int, parts: int, draws: int) -> None:
    made = WholeBatch([Shade(), Shade()], parts)(torch.zeros(n, 1, 2, 2, dtype=torch.int64), stream(0, "augment"))
    assert len(made.flatten(1)[:, 0].unique()) == draws
    assert all(len(image.unique()) == 1 for image in made)


def test_crops_are_the_same_however_they_are_cut_out() -> None:
    padded = random_images(7, 16)
    corners = torch.randint(0, 5, (7, 2), generator=torch.Generator().manual_seed(0)).tolist()
    assert torch.equal(sliced(padded, corners, (12, 11)), gathered(padded, torch.tensor(corners), (12, 11)))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup_is_torchvisions(share: float) -> None:
    from torchvision.transforms.v2 import MixUp

    images, labels = random_images(), torch.arange(6)
    ours, weight = mixed_up(images, share, np.random.default_rng(0))
    theirs = MixUp(num_classes=6)
    given = {"labels": labels, "batch_size": 6, "lam": share}
    torch.testing.assert_close(ours, theirs.transform(images, given))
    soft = weight * torch.eye(6)[labels] + (1 - weight) * torch.eye(6)[labels.roll(1)]
    torch.testing.assert_close(soft, theirs.transform(labels, given).float())


def test_cutmix_puts_a_rectangle_of_the_image_before_and_its_area_is_the_weight() -> None:
    from torchvision.transforms.v2 import CutMix

    images, areas = random_images(size=24), []
    for seed in range(200):
        wanted = float(np.random.default_rng(seed).random())
        ours, weight = cut_and_mixed(images, wanted, np.random.default_rng(seed))
        foreign = (ours != images).any(1)
        assert all(torch.equal(one, foreign[0]) for one in foreign)
        rows, columns = (foreign[0].any(axis).nonzero().flatten().tolist() for axis in (1, 0))
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if rows else (0, 0, 0, 0)
        given: dict[str, Any] = {"labels": torch.arange(6), "batch_size": 6, "box": box, "lam_adjusted": weight}
        assert torch.equal(ours, CutMix(num_classes=6).transform(images, given))
        assert weight == pytest.approx(1 - float(foreign[0].double().mean()))
        areas.append(1 - weight <= 1 - wanted + 1e-9)  # what lies outside of the image is cut off
    assert all(areas)


def test_the_weight_of_a_mixture_is_beta_distributed() -> None:
    shares = [s for k in range(300) if (m := WholeBatch(mixup=0.4).mixed(random_images(2, 2), stream(0, "mix", k)))
              for s in [m.share]]  # fmt: skip
    assert np.mean(shares) == pytest.approx(0.5, abs=0.08)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.03)
    both = [WholeBatch(mixup=1.0, cutmix=1.0).mixed(random_images(), stream(0, "mix", k)) for k in range(60)]
    cut = [bool((m.inputs == random_images()).any()) for m in both if m is not None]
    assert 15 < sum(cut) < 45


def test_mixed_images_are_trained_on_soft_labels() -> None:
    problem, _ = on_dots(linear(), Dots(), augmentation=WholeBatch(mixup=1.0))
    batch = problem.batch(3)
    assert batch.others is not None
    soft = batch.share * torch.eye(2)[batch.targets] + (1 - batch.share) * torch.eye(2)[batch.others]
    expected = torch.nn.functional.cross_entropy(problem.module(batch.inputs), soft)
    torch.testing.assert_close(problem.objective(batch), expected)
    shown = soft.argmax(1)
    right = (problem.module(batch.inputs).argmax(1) == shown).double().mean()
    assert math.isclose(problem.epoch_figures()["train_accuracy"], float(right))
    plain, _ = on_dots(linear(), Dots())
    unmixed = plain.batch(3)
    assert torch.equal(unmixed.targets, batch.targets)
    torch.testing.assert_close(batch.inputs, mixed_up(unmixed.inputs, batch.share, np.random.default_rng(0))[0])
    assert torch.equal(batch.others, unmixed.targets.roll(1))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_batch_of_an_update_depends_on_its_number_alone(name: str) -> None:
    """So a run that goes on from a checkpoint sees what the uninterrupted one saw, to the bit."""
    one, other = (on_dots(linear(), Dots(), augmentation=build(members.read("augment", name), "augment"))[0]
                  for _ in range(2))  # fmt: skip
    for step in range(5):
        last = one.batch(step)
    torch.manual_seed(99)
    again = other.batch(4)
    assert torch.equal(last.inputs, again.inputs)
    assert torch.equal(last.targets, again.targets)
    assert (last.share, last.others is None) == (again.share, again.others is None)
    assert torch.equal(one.batch(2).inputs, other.batch(2).inputs)


def test_noise_on_any_inputs_is_normal_and_leaves_tokens_alone() -> None:
    tree = {"x": torch.zeros(400, 5), "pair": (torch.full((400, 3), 128, dtype=torch.uint8), torch.arange(400))}
    made = Jitter(0.25)(tree, stream(0, "augment"))
    drawn = made["x"].flatten().numpy()
    assert kstest(drawn, "norm", args=(0, 0.25)).pvalue > 0.01
    assert torch.equal(made["pair"][1], tree["pair"][1])
    levels = (made["pair"][0].double() - 128) / 255
    assert made["pair"][0].dtype == torch.uint8
    assert float(levels.std()) == pytest.approx(0.25, abs=0.02)
    with pytest.raises(DataError, match="nothing to add noise to"):
        Jitter()({"tokens": torch.arange(4)}, stream(0, "augment"))
    words = ["model=mlp", "model.hidden=[4]", "data=wine", "augment=jitter", "trainer.steps=2"]
    one, other = (build_problem(compose(*words), torch.device("cpu")).batch(1) for _ in range(2))
    plain = build_problem(compose(*words, "augment=none"), torch.device("cpu")).batch(1)
    assert torch.equal(one.inputs, other.inputs)
    assert 0.05 < float((one.inputs - plain.inputs).std()) < 0.2
    assert torch.equal(one.targets, plain.targets)


def test_a_wide_crop_shows_a_part_of_the_picture_as_the_whole() -> None:
    from torchvision.transforms.v2.functional import resized_crop

    ramp = torch.arange(32 * 32, dtype=torch.float32).reshape(1, 1, 32, 32)
    torch.manual_seed(0)
    for _ in range(20):
        made = WideCrop((0.2, 0.5), (1.0, 1.0))(ramp)
        assert made.shape == ramp.shape
        right, down = float(made[0, 0].diff(dim=1).median()), float(made[0, 0].diff(dim=0).median()) / 32
        assert right * down * 1.02 >= 0.2
        assert right * down <= 0.5 * 1.1
    torch.manual_seed(1)
    whole = WideCrop((1.0, 1.0), (1.0, 1.0))(ramp)
    assert torch.equal(whole, resized_crop(ramp, 0, 0, 32, 32, [32, 32]))
