"""Muon on whole networks: which weights it takes, and that every update is the author's, worked out once more in NumPy.

Which parameter is of which kind is written here by hand, by name. Source: K. Jordan's repository Muon: `muon_update`,
`adam_update`, and the README on ConvNets: "all the convolutional filters except the first one".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from optbench.config import Composer, build_optimizer
from optbench.errors import ConfigError
from optbench.models.hw3_cnn import HW3CNN
from optbench.models.mlp import MLP
from optbench.optimizers.muon import Muon


class Small(nn.Module):
    """A transformer of one block: a table of words, attention, two dense layers, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 11)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.block(self.words(x)))
        return out


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], set[str]]] = {
    "hw3_cnn": (
        lambda: HW3CNN(width=2, image_size=32),
        lambda: torch.randn(3, 3, 32, 32, dtype=torch.float64),
        {*(f"cnn.{i}.weight" for i in (4, 8, 12, 16)), "fc.0.weight", "fc.2.weight"},
    ),
    "mlp": (
        lambda: MLP(4, 1, 5, hidden=(12, 6, 9)),
        lambda: torch.randn(3, 1, 5, 5, dtype=torch.float64),
        {"layers.3.weight", "layers.5.weight"},
    ),
    "transformer": (
        Small,
        lambda: torch.randint(11, (3, 5)),
        {f"block.{name}.weight" for name in ("self_attn.out_proj", "linear1", "linear2")}
        | {"block.self_attn.in_proj_weight"},
    ),
}
LR, DECAY, MOMENTUM, BETAS, EPS = 0.02, 0.1, 0.9, (0.8, 0.95), 1e-6


class Author:
    """The two updates of the author's SingleDeviceMuonWithAuxAdam, in double precision."""

    def __init__(self, muons: set[str]) -> None:
        self.muons, self.kept, self.t = muons, {}, 0  # type: ignore[var-annotated]

    def step(self, weights: dict[str, Any], gradients: dict[str, Any]) -> None:
        self.t += 1
        for name, x in weights.items():
            move = self.muon if name in self.muons else self.adam
            x *= 1 - LR * DECAY
            x -= LR * move(name, gradients[name])

    def muon(self, name: str, g: Any) -> Any:
        momentum = self.kept[name] = MOMENTUM * self.kept.get(name, np.zeros_like(g)) + (1 - MOMENTUM) * g
        x = ((1 - MOMENTUM) * g + MOMENTUM * momentum).reshape(len(g), -1)
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        x = x / np.linalg.norm(x)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        x = x.T if tall else x
        return x.reshape(g.shape) * max(1, g.shape[-2] / g.shape[-1]) ** 0.5

    def adam(self, name: str, g: Any) -> Any:
        m, v = self.kept.get(name, (np.zeros_like(g), np.zeros_like(g)))
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g * g
        self.kept[name] = m, v
        return m / (1 - BETAS[0] ** self.t) / (np.sqrt(v / (1 - BETAS[1] ** self.t)) + EPS)


def configured(*overrides: str) -> dict[str, Any]:
    with Composer() as composer:
        return composer.compose(["model=mlp", "data=digits", "optimizer=muon", *overrides]).config


@pytest.fixture(scope="module")
def node() -> dict[str, Any]:
    """As a run on a network has it, with numbers other than the defaults."""
    found: dict[str, Any] = configured()["optimizer"]
    return {**found, "lr": LR, "weight_decay": DECAY, "momentum": MOMENTUM, "betas": list(BETAS), "eps": EPS,
            "adjust_lr_fn": "original"}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_network_is_trained_as_by_the_author(name: str, node: dict[str, Any]) -> None:
    make, draw, muons = CASES[name]
    torch.manual_seed(1)
    module, inputs = make().double(), draw()
    optimizer = build_optimizer({"optimizer": node}, module)
    (taken,) = [group["params"] for group in optimizer.param_groups if group["use_muon"]]
    assert {n for n, p in module.named_parameters() if any(p is q for q in taken)} == muons
    author = Author(muons)
    weights = {n: p.detach().numpy().copy() for n, p in module.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        module(inputs).square().sum().backward()
        author.step(weights, {n: p.grad.numpy() for n, p in module.named_parameters() if p.grad is not None})
        optimizer.step()
        for n, p in module.named_parameters():
            np.testing.assert_allclose(p.detach().numpy(), weights[n], rtol=1e-7, atol=1e-9, err_msg=n)
            p.data.copy_(torch.from_numpy(weights[n]))  # what is compared is the update


def test_filters_in_any_layout_move_as_their_matrices_do() -> None:
    """Rows are the channels that a filter makes, whatever lies next to what; kernels that are not square, 1 by 1."""
    for shape in ((6, 2, 3, 3), (9, 2, 1, 1), (4, 3, 5, 1), (5, 2, 7)):
        torch.manual_seed(0)
        g = torch.randn(shape, dtype=torch.float64)
        moves = []
        for one in (g, g.to(memory_format=torch.channels_last) if g.ndim == 4 else g, g.flatten(1)):
            x = torch.zeros_like(one, requires_grad=True)
            x.grad = one.clone()
            Muon([{"params": [x], "use_muon": True}], lr=1.0).step()
            moves.append(x.detach().reshape(len(g), -1))
        torch.testing.assert_close(moves[0], moves[1], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(moves[0], moves[2], rtol=1e-12, atol=1e-14)
        assert np.linalg.svd(moves[0].numpy())[1].max() < 1.3 * 0.2 * max(moves[0].shape) ** 0.5


def test_what_muon_takes_is_said_by_groups_and_a_vector_is_refused() -> None:
    matrix, kernel = torch.zeros(3, 2, requires_grad=True), torch.zeros(3, 2, 1, 1, requires_grad=True)
    for p in (matrix, kernel):
        p.grad = torch.ones_like(p)
    optimizer = Muon([{"params": [matrix], "use_muon": False}, {"params": [kernel]}], lr=0.1)
    optimizer.step()
    assert "exp_avg" in optimizer.state[matrix]
    assert "exp_avg" in optimizer.state[kernel]  # of shapes alone, matrices are taken
    with pytest.raises(ValueError, match=r"of shape \(2,\) is no matrix and no filter"):
        Muon([{"params": [torch.zeros(2, requires_grad=True)], "use_muon": True}])
    config = configured("optimizer.groups=[{role:[matrix,vector],use_muon:true},{use_muon:false}]")
    with pytest.raises(ConfigError, match="is no matrix and no filter"):
        build_optimizer(config, MLP(4, 1, 5))


def test_on_a_surface_nothing_is_divided() -> None:
    with Composer() as composer:
        config = composer.compose(["model=sphere", "optimizer=muon"]).config
    assert "groups" not in config["optimizer"]
