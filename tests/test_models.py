"""Networks: every one in conf, sizes by hand arithmetic, the homework's networks against a second writing of them."""

from __future__ import annotations

from typing import Any

import members
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from optbench.errors import UserError
from optbench.models.hw3_cnn import HW3CNN
from optbench.models.hw3_residual import HW3Residual
from optbench.models.logistic import Logistic
from optbench.models.mlp import MLP

NETWORKS = members.networks()


def build(name: str, n_outputs: int = 10, channels: int = 3, image_size: int = 32, **changes: Any) -> nn.Module:
    """The network as the composed config would build it; small where it has a width."""
    keywords = {**members.keywords("model", name), **changes}
    if "width" in keywords:
        keywords["width"] = changes.get("width", 4)
    root = {"n_outputs": n_outputs, "data": {"channels": channels, "image_size": image_size}, "model": keywords}
    config = OmegaConf.to_container(OmegaConf.create(root), resolve=True)
    assert isinstance(config, dict)
    torch.manual_seed(0)
    network = members.target("model", name)(**config["model"])
    assert isinstance(network, nn.Module)
    return network


def images(n: int, channels: int = 3, image_size: int = 32) -> Tensor:
    return torch.rand(n, channels, image_size, image_size, generator=torch.Generator().manual_seed(1))


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_networks_are_discovered() -> None:
    assert {"hw3_cnn", "hw3_residual", "mlp", "logistic", "resnet18"} <= set(NETWORKS)


@pytest.mark.parametrize("name", members.network_cases())
@pytest.mark.parametrize("n_outputs", [1, 10])
def test_forward_and_backward(name: str, n_outputs: int) -> None:
    for channels in (1, 3) if "in_channels" in members.keywords("model", name) else (3,):
        network = build(name, n_outputs, channels)
        logits = network(images(3, channels))
        assert logits.shape == (3, n_outputs)
        assert logits.isfinite().all()
        logits.square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", members.network_cases())
def test_gradient_reaches_every_parameter(name: str) -> None:
    # In evaluation mode: batch normalisation over the batch cancels the bias before it, whose gradient is then zero.
    network = build(name).double().eval()
    cross_entropy(network(images(8).double()), torch.arange(8)).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", members.network_cases())
def test_examples_do_not_mix_in_evaluation(name: str) -> None:
    network = build(name).double().eval()
    batch = images(4).double()
    alone = torch.cat([network(image[None]) for image in batch])
    torch.testing.assert_close(network(batch), alone, rtol=1e-9, atol=1e-12)


WIDE = [name for name in NETWORKS if members.millions(name) and "width" not in members.read("model", name)]


@pytest.mark.parametrize("name", WIDE)
def test_a_network_has_as_many_parameters_as_it_says(name: str) -> None:
    with torch.device("meta"):
        found = count(build(name)) / 1e6
    said = members.millions(name)
    assert said is not None
    assert found == pytest.approx(said, abs=0.051 if said >= 1 else 0.0051)


def conv(before: int, after: int) -> int:
    """Weights and biases of a 3x3 convolution and its batch normalisation."""
    return 9 * before * after + after + 2 * after


def linear(before: int, after: int) -> int:
    return before * after + after


def test_hw3_cnn_has_the_homeworks_size() -> None:
    convolutions = conv(3, 64) + conv(64, 128) + conv(128, 256) + conv(256, 512) + conv(512, 512)
    expected = convolutions + linear(512 * 4 * 4, 1024) + linear(1024, 512) + linear(512, 11)
    assert expected == 12_833_803
    with torch.device("meta"):
        assert count(HW3CNN()) == expected


def test_hw3_residual_has_the_homeworks_size() -> None:
    convolutions = conv(3, 64) + conv(64, 64) + conv(64, 128) + conv(128, 128) + conv(128, 256) + conv(256, 256)
    expected = convolutions + linear(256 * 32 * 32, 256) + linear(256, 11)
    assert expected == 68_259_147
    with torch.device("meta"):
        assert count(HW3Residual()) == expected


def test_small_networks_have_the_sizes_of_their_formulas() -> None:
    pixels = 3 * 8 * 8
    assert count(Logistic(10, 3, 8)) == linear(pixels, 10)
    assert count(MLP(10, 3, 8, hidden=[7, 5])) == linear(pixels, 7) + linear(7, 5) + linear(5, 10)


class ReferenceCNN(nn.Module):
    """The homework's `Classifier`, with ReLU before the pooling, at width w."""

    def __init__(self, w: int, side: int) -> None:
        super().__init__()
        channels = [3, w, 2 * w, 4 * w, 8 * w, 8 * w]
        layers: list[nn.Module] = []
        for i in range(5):
            layers += [nn.Conv2d(channels[i], channels[i + 1], 3, 1, 1), nn.BatchNorm2d(channels[i + 1])]
            layers += [nn.ReLU(), nn.MaxPool2d(2, 2, 0)]
        self.cnn = nn.Sequential(*layers)
        self.fc = nn.Sequential(
            nn.Linear(8 * w * side * side, 16 * w), nn.ReLU(), nn.Linear(16 * w, 8 * w), nn.ReLU(), nn.Linear(8 * w, 11)
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.cnn(x)
        return self.fc(out.view(out.size()[0], -1))


@pytest.mark.parametrize("training", [True, False])
def test_hw3_cnn_is_the_reference_function(training: bool) -> None:
    torch.manual_seed(0)
    reference = ReferenceCNN(4, 2).double().train(training)
    network = HW3CNN(11, 3, 64, width=4).double().train(training)
    assert list(network.state_dict()) == list(reference.state_dict())
    network.load_state_dict(reference.state_dict())
    batch = images(6, 3, 64).double()
    expected, got = reference(batch), network(batch)
    assert torch.equal(expected, got)
    for loss in (expected, got):
        cross_entropy(loss, torch.arange(6)).backward()
    for (name, a), b in zip(reference.named_parameters(), network.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, rtol=1e-12, atol=1e-14), name
    for (name, a), b in zip(reference.named_buffers(), network.buffers(), strict=True):
        assert torch.equal(a, b), name


def test_hw3_cnn_loads_the_homeworks_keys() -> None:
    keys = list(HW3CNN(11, 3, 32, width=1).state_dict())
    assert keys[0] == "cnn.0.weight"
    assert keys[-1] == "fc.4.bias"
    assert {key.split(".")[1] for key in keys if key.startswith("cnn.") and key.endswith("running_mean")} == {
        str(4 * block + 1) for block in range(5)
    }


def reference_residual(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The homework's residual network by functions, batch normalisation in evaluation mode written out."""

    def layer(i: int, x: Tensor, stride: int = 1) -> Tensor:
        part = {k.removeprefix(f"cnn_layer{i}."): v for k, v in state.items()}
        x = nn.functional.conv2d(x, part["0.weight"], part["0.bias"], stride=stride, padding=1)
        mean, variance = (part[f"1.running_{k}"][:, None, None] for k in ("mean", "var"))
        scale, shift = (part[f"1.{k}"][:, None, None] for k in ("weight", "bias"))
        return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift

    x1 = layer(1, x).relu()
    x2 = (layer(2, x1) + x1).relu()
    x3 = layer(3, x2, stride=2).relu()
    x4 = (layer(4, x3) + x3).relu()
    x5 = layer(5, x4, stride=2).relu()
    x6 = (layer(6, x5) + x5).relu()
    h = (x6.flatten(1) @ state["fc_layer.0.weight"].T + state["fc_layer.0.bias"]).relu()
    return h @ state["fc_layer.2.weight"].T + state["fc_layer.2.bias"]


@pytest.mark.parametrize("image_size", [32, 33, 34, 35])
def test_hw3_residual_is_the_reference_function(image_size: int) -> None:
    torch.manual_seed(0)
    network = HW3Residual(11, 3, image_size, width=3).double()
    network(images(4, 3, image_size).double())  # moves the running statistics away from 0 and 1
    network.eval()
    batch = images(2, 3, image_size).double()
    expected = reference_residual({k: v.detach() for k, v in network.state_dict().items()}, batch)
    torch.testing.assert_close(network(batch), expected, rtol=1e-10, atol=1e-12)


def test_mlp_is_its_formula() -> None:
    network = MLP(2, 1, 2, hidden=[3], activation="tanh").double()
    weights = list(network.state_dict().values())
    x = images(5, 1, 2).double()
    expected = torch.tanh(x.flatten(1) @ weights[0].T + weights[1]) @ weights[2].T + weights[3]
    torch.testing.assert_close(network(x), expected)


def test_mlp_without_norm_is_what_it_was() -> None:
    """Keys and weights by the seed, from layers made here in the order in which they were always made."""
    torch.manual_seed(3)
    expected = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)
    ).state_dict()
    for keywords in ({}, {"norm": "none"}):
        torch.manual_seed(3)
        state = MLP(2, 3, 2, hidden=[5, 4], **keywords).state_dict()
        assert list(state) == [f"layers.{key}" for key in expected]
        assert all(torch.equal(a, b) for a, b in zip(state.values(), expected.values(), strict=True))


def test_mlp_with_batch_norm_starts_from_the_same_weights() -> None:
    linears = []
    for norm in ("none", "batch"):
        torch.manual_seed(3)
        network = MLP(2, 3, 2, hidden=[5, 4], norm=norm)
        linears.append([m for m in network.modules() if isinstance(m, nn.Linear)])
    for plain, normalised in zip(*linears, strict=True):
        assert torch.equal(plain.weight, normalised.weight)
        assert torch.equal(plain.bias, normalised.bias)
    assert count(network) == count(MLP(2, 3, 2, hidden=[5, 4])) + 2 * (5 + 4)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_mlp_with_batch_norm_is_its_formula(activation: str) -> None:
    """In training the batch's own mean and deviation; in evaluation the moving averages, a tenth of each batch."""
    network = MLP(2, 1, 2, hidden=[3, 4], activation=activation, norm="batch").double()
    for p in network.parameters():
        nn.init.normal_(p)
    act = torch.relu if activation == "relu" else torch.tanh
    x = images(6, 1, 2).double()
    moving = [(torch.zeros(units).double(), torch.ones(units).double()) for units in (3, 4)]

    def formula(training: bool) -> Tensor:
        weights, h = list(network.parameters()), x.flatten(1)
        for i, (mean, variance) in enumerate(moving):
            weight, bias, scale, shift = weights[4 * i : 4 * i + 4]
            h = h @ weight.T + bias
            if training:
                mean, variance = h.mean(dim=0), h.var(dim=0, unbiased=False)
                moving[i] = (0.9 * moving[i][0] + 0.1 * mean.detach(), 0.9 * moving[i][1] + 0.1 * h.var(dim=0).detach())
            h = act((h - mean) / torch.sqrt(variance + 1e-5) * scale + shift)
        return h @ weights[-2].T + weights[-1]

    for training in (True, True, False):
        torch.testing.assert_close(network.train(training)(x), formula(training), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: HW3CNN(image_size=31), "image_size=31"),
        (lambda: HW3CNN(image_size=0), "image_size=0"),
        (lambda: HW3CNN(width=0), "width=0"),
        (lambda: HW3CNN(n_outputs=0), "n_outputs=0"),
        (lambda: HW3Residual(image_size=3), "image_size=3"),
        (lambda: MLP(image_size=-1), "image_size=-1"),
        (lambda: MLP(hidden=[]), "hidden"),
        (lambda: MLP(hidden=[8, 0]), "hidden=0"),
        (lambda: MLP(activation="swish"), "activation=swish"),
        (lambda: MLP(norm="layer"), "norm=layer: expected none or batch"),
        (lambda: Logistic(in_channels=0), "in_channels=0"),
    ],
)
def test_wrong_sizes_are_named(call: Any, named: str) -> None:
    with pytest.raises(UserError, match=named):
        call()


@pytest.mark.parametrize("name", [n for n in NETWORKS if "image_size" in members.keywords("model", n)])
@pytest.mark.parametrize("shape", [(2, 3, 40, 40), (2, 1, 32, 32), (2, 3, 32, 40), (3, 32, 32)])
def test_images_of_another_shape_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="built for images"):
        build(name)(torch.zeros(shape))
