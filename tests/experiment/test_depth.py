"""trainer.stochastic_depth against residual blocks written once more, and where there is nothing to leave out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

import optbench
from optbench.errors import IncompatibleError
from optbench.experiment import plan_run
from optbench.experiment.assemble import build_problem
from optbench.experiment.depth import leave_out_branches, residual_branches
from optbench.models.hw3_cnn import HW3CNN
from optbench.models.hw3_residual import HW3Residual
from optbench.vision import torchvision

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
RESIDUAL = ("model=hw3_residual", "model.width=2", "data=digits", "data.image_size=8", "trainer.batch_size=16")


def small() -> HW3Residual:
    torch.manual_seed(0)
    return HW3Residual(n_outputs=3, in_channels=3, image_size=8, width=2)


def by_hand(network: HW3Residual, images: Tensor, most: float) -> Tensor:
    """The homework's network with branches l = 1, 2, 3 left out with the probability most * l / 3, image by image."""
    x = images
    for depth, (plain, branch) in enumerate(zip("135", "246", strict=True), 1):
        x = relu(getattr(network, f"cnn_layer{plain}")(x))
        stays = torch.empty(len(x), 1, 1, 1).bernoulli_(1 - most * depth / 3)
        x = relu(x + getattr(network, f"cnn_layer{branch}")(x) * stays / (1 - most * depth / 3))
    logits: Tensor = network.fc_layer(x.flatten(1))
    return logits


def test_branches_are_left_out_as_the_paper_says() -> None:
    plain, network = small(), small()
    leave_out_branches(network, 0.5, "hw3_residual")
    torch.manual_seed(4)
    found = network(IMAGES)
    torch.manual_seed(4)
    torch.testing.assert_close(found, by_hand(plain, IMAGES, 0.5))
    torch.manual_seed(4)
    assert not torch.allclose(found, plain(IMAGES))
    assert list(network.state_dict()) == list(plain.state_dict())


def test_evaluations_use_whole_blocks_and_copies_behave_alike() -> None:
    plain, network = small().eval(), small().eval()
    leave_out_branches(network, 0.9, "hw3_residual")
    assert torch.equal(network(IMAGES), plain(IMAGES))
    copied = copy.deepcopy(network).train()
    torch.manual_seed(7)
    one = copied(IMAGES)
    torch.manual_seed(7)
    assert torch.equal(network.train()(IMAGES), one)


class Blocks(nn.Module):
    """One block whose branch is the identity: what it adds is what was left of it."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Identity() for _ in range(count))

    def residual_branches(self) -> list[nn.Module]:
        return list(self.branches)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [branch(x) for branch in self.branches]


@pytest.mark.parametrize("most", [0.3, 0.8])
def test_the_chance_grows_with_the_depth_and_the_mean_stays(most: float) -> None:
    """4 branches of 40000 images: shares left out within 5 standard errors, and means of 1."""
    network = Blocks(4)
    leave_out_branches(network, most, "blocks")
    torch.manual_seed(0)
    for depth, output in enumerate(network(torch.ones(40_000, 1)), 1):
        p = most * depth / 4
        assert (output == 0).double().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / 40_000) ** 0.5)
        assert output.double().mean().item() == pytest.approx(1.0, abs=5 * (p / (1 - p) / 40_000) ** 0.5)


@pytest.mark.parametrize(("make", "count"), [("resnet18", 8), ("resnet50", 16), ("mobilenet_v3_small", 6)])
def test_blocks_of_torchvision_are_known(make: str, count: int) -> None:
    """As many as the papers have skip connections; with the last branch always left out the block is its skip."""
    network = getattr(torchvision.models, make)(weights=None)
    assert len(residual_branches(network)) == count
    leave_out_branches(network, 1.0, make)
    last = residual_branches(network)[-1]
    seen: list[Tensor] = []
    last.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    network.train()(torch.rand(2, 3, 32, 32))
    assert not seen[0].any()


def test_a_block_of_resnet_trains_as_one_with_torchvisions_own_layer() -> None:
    torch.manual_seed(0)
    block = torchvision.models.resnet.BasicBlock(4, 4)
    ours = nn.Sequential(copy.deepcopy(block))
    leave_out_branches(ours, 0.5, "resnet")
    drop, x = torchvision.ops.StochasticDepth(0.5, "row"), torch.rand(8, 4, 5, 5)
    torch.manual_seed(3)
    found = ours(x)
    torch.manual_seed(3)
    branch = drop(block.bn2(block.conv2(relu(block.bn1(block.conv1(x))))))
    torch.testing.assert_close(found, relu(branch + x))


def test_what_has_no_branches_or_leaves_them_out_already_is_refused() -> None:
    with pytest.raises(IncompatibleError, match=r"stochastic_depth=0\.2: hw3_cnn has no residual branches"):
        leave_out_branches(HW3CNN(width=2), 0.2, "hw3_cnn")
    with pytest.raises(IncompatibleError, match="stochastic depth of its own") as refused:
        leave_out_branches(torchvision.models.efficientnet_b0(weights=None), 0.2, "efficientnet_b0")
    assert refused.value.hint == "set model.stochastic_depth_prob instead"


def test_a_run_with_it(tmp_path: Any) -> None:
    """Another run than without; null and 0 are no setting; a whole batch is no exact gradient then."""
    plain = plan_run(RESIDUAL).run_id
    assert plan_run([*RESIDUAL, "trainer.stochastic_depth=0"]).run_id == plain
    assert plan_run([*RESIDUAL, "trainer.stochastic_depth=0.2"]).run_id != plain
    words = [*RESIDUAL, "trainer.stochastic_depth=0.5", "trainer.steps=4"]
    one = optbench.run(*words, out=tmp_path / "a")
    assert one.status == "completed"
    assert optbench.run(*words, out=tmp_path / "b").losses() == one.losses()
    problem = build_problem(plan_run([*words, "trainer.batch_size=full"]).config, torch.device("cpu"))
    problem.objective(problem.batch(0))
    assert not problem.exact_gradient
    with pytest.raises(IncompatibleError, match="logistic has no residual branches"):
        optbench.run("model=logistic", "data=digits", "trainer.stochastic_depth=0.1", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()
