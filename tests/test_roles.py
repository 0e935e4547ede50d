"""Roles of parameters: of every packaged network, and of networks that are put together oddly."""

from __future__ import annotations

from collections import Counter

import members
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from optbench.config import Composer, build
from optbench.errors import IncompatibleError
from optbench.problem.roles import ROLES, counted, roles


def by_name(module: nn.Module, **options: object) -> dict[str, str]:
    return {one.names[0]: one.role for one in roles(module, **options)}  # type: ignore[arg-type]


def test_packaged_networks_begin_with_their_first_weight_and_end_in_their_head() -> None:
    """The head is the weight with as many rows as there are outputs, the first has as many columns as channels; biases
    and norms are vectors, whatever else a convolution or a linear layer holds is a filter or a matrix."""
    with Composer() as composer:
        for name in members.networks():
            config = composer.compose([f"model={name}"]).config
            with torch.device("meta"):
                module = build(config["model"], "model")
            found = roles(module)
            assert [one.parameter for one in found] == list(module.parameters()), name
            assert {one.role for one in found} <= set(ROLES)
            for one in found:
                layer = module.get_submodule(one.names[0].rpartition(".")[0])
                assert layer._parameters[one.names[0].rpartition(".")[2]] is one.parameter
                assert one.layers[0] == type(layer).__name__
                assert (one.role == "vector") == (one.parameter.ndim == 1), (name, one.names)
                if one.role == "filter":
                    assert isinstance(layer, nn.Conv2d)
                if one.role == "matrix":
                    assert isinstance(layer, nn.Linear)
            (head,) = [one for one in found if one.role == "head"]
            assert head.parameter.shape[0] == config["n_outputs"]
            first = [one.parameter for one in found if one.role == "first"]
            alone = all(one.role in ("head", "vector") for one in found)
            assert len(first) == (0 if alone or any(one.role == "embedding" for one in found) else 1), name
            if first and config["model"].get("image_size") != 1:
                channels = config["model"].get("in_channels", 3)
                pixels = config["model"].get("image_size", 1) ** 2
                assert first[0].shape[1] == (channels if first[0].ndim == 4 else channels * pixels), name


def test_the_homework_network_by_hand() -> None:
    from optbench.models.hw3_cnn import HW3CNN

    found = by_name(HW3CNN(width=8, image_size=32))
    weights = {name: role for name, role in found.items() if role != "vector"}
    assert weights == {
        "cnn.0.weight": "first",
        **{f"cnn.{i}.weight": "filter" for i in (4, 8, 12, 16)},
        "fc.0.weight": "matrix",
        "fc.2.weight": "matrix",
        "fc.4.weight": "head",
    }
    assert Counter(found.values())["vector"] == 5 * 3 + 3  # bias, gain and offset of five blocks, three biases


class Language(nn.Module):
    """A small language model: two tables, a block, a norm, a head that may be the table itself."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 8), nn.Embedding(16, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 32, batch_first=True)
        self.norm = nn.LayerNorm((4, 8))
        self.head = nn.Linear(8, 50, bias=False)
        if tied:
            self.head.weight = self.words.weight


def test_a_transformer_tied_and_not() -> None:
    block = {"block.self_attn.in_proj_weight", "block.self_attn.out_proj.weight", "block.linear1.weight",
             "block.linear2.weight"}  # fmt: skip
    for tied in (False, True):
        found = by_name(Language(tied))
        assert {name for name, role in found.items() if role == "matrix"} == block
        assert {name for name, role in found.items() if role == "embedding"} == {"words.weight", "places.weight"}
        assert [name for name, role in found.items() if role == "head"] == ([] if tied else ["head.weight"])
        assert "first" not in found.values()  # a table meets the input
        assert found["norm.weight"] == found["norm.bias"] == "vector"  # of two dimensions
    (table,) = [one for one in roles(Language(True)) if len(one.names) > 1]
    assert table.names == ("words.weight", "head.weight")
    assert counted(roles(Language(False))) == "2 embedding, 10 vector, 1 head, 4 matrix"


def test_odd_networks() -> None:
    shared = nn.Linear(4, 4)
    assert by_name(nn.Sequential(shared, nn.ReLU(), shared)) == {"0.weight": "head", "0.bias": "vector"}
    assert by_name(nn.Linear(3, 1)) == {"weight": "head", "bias": "vector"}
    assert by_name(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1), nn.LayerNorm(1))) == {
        "0.weight": "first", "0.bias": "vector", "1.weight": "matrix", "1.bias": "vector", "2.weight": "head",
        "2.bias": "vector", "3.weight": "vector", "3.bias": "vector",
    }  # fmt: skip
    recurrent = by_name(nn.ModuleList([nn.LSTM(3, 4, num_layers=2), nn.Linear(4, 2)]))
    assert recurrent["0.weight_ih_l0"] == "first"
    inside = [recurrent[f"0.{name}"] for name in ("weight_hh_l0", "weight_ih_l1", "bias_hh_l1")]
    assert inside == ["matrix", "matrix", "vector"]
    parted = by_name(nn.Sequential(nn.Linear(3, 4), weight_norm(nn.Linear(4, 5)), nn.Linear(5, 2)))
    assert parted["1.parametrizations.weight.original0"] == "vector"
    assert parted["1.parametrizations.weight.original1"] == "matrix"
    bare = nn.Module()
    bare.point = nn.Parameter(torch.zeros(2))
    bare.scale = nn.Parameter(torch.zeros(5, 1, 1))  # one number a channel
    bare.token = nn.Parameter(torch.zeros(1, 1, 8))
    bare.bias_table = nn.Parameter(torch.zeros(9, 2))
    assert set(by_name(bare).values()) == {"vector"}
    assert roles(nn.ReLU()) == []
    assert counted([]) == "no parameters"


def test_names_set_roles_and_lazy_layers_are_told_to_wait() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    found = by_name(net, named=[{"params": "1.*", "role": "embedding"}, {"params": "*", "role": "vector"}])
    assert list(found.values()) == ["vector", "vector", "embedding", "embedding", "vector", "vector"]
    tied = Language(True)
    assert by_name(tied, named=[{"params": "head.*", "role": "head"}])["words.weight"] == "head"  # by any of its names
    with pytest.raises(IncompatibleError, match=r"no parameter of Sequential is called \*pos\*") as refused:
        roles(net, [{"params": "*pos*", "role": "embedding"}])
    assert refused.value.hint.startswith("there are 0.weight, 0.bias")
    lazy = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    with pytest.raises(IncompatibleError, match=r"0\.weight has no shape yet: LazyLinear makes it in its first pass"):
        roles(lazy)
    lazy(torch.zeros(1, 3))
    assert list(by_name(lazy).values()) == ["first", "vector", "head", "vector"]
