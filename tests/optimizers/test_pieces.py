"""Parameters that are updated in pieces and in bundles: the same bits as each by itself."""

from __future__ import annotations

import copy

import members
import pytest
import torch
from torch import Tensor

from optbench import AbstractPureOptimizer, optimizer_base

PURE = [
    name
    for name in members.own("optimizer")
    if isinstance(members.make("optimizer", name, [torch.zeros(1)]), AbstractPureOptimizer)
]
SHAPES = [(1003,), (), (37, 61), (8, 5, 3, 3), (4,), (0,), (3, 1, 7, 2), (900,), (2, 2)]


def weights(dtype: torch.dtype) -> list[Tensor]:
    drawn = torch.Generator().manual_seed(0)
    found = [torch.randn(shape, generator=drawn, dtype=dtype) for shape in SHAPES]
    found[3] = found[3].to(memory_format=torch.channels_last)
    found[2] = found[2].T.contiguous().T  # the other way round in memory
    found[7] = torch.randn(1800, generator=drawn, dtype=dtype)[::2]  # with gaps
    return [w.requires_grad_() for w in found]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("few", [7, 256, 1 << 15])
@pytest.mark.parametrize("name", PURE)
def test_pieces_and_bundles_change_no_bit(
    name: str, few: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through states, with parameters that join later, that have gaps, and gradients in another layout than theirs."""
    monkeypatch.setattr(optimizer_base, "_FEW", few)
    runs = []
    for foreach in (None, False):
        params = weights(dtype)
        optimizer = members.make("optimizer", name, params)
        optimizer.param_groups[0]["foreach"] = foreach
        drawn = torch.Generator().manual_seed(1)
        for k in range(5):
            for i, w in enumerate(params):
                g = torch.randn(w.shape, generator=drawn, dtype=dtype)
                w.grad = None if k == 0 and i % 3 == 1 else g.to(memory_format=torch.channels_last) if i == 6 else g
            optimizer.step()
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        runs.append([w.detach().clone() for w in params] + [t for s in optimizer.state.values() for t in s.values()])
    start = weights(dtype)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(runs[0], start, strict=False) if b.numel() > 50)


def test_lion_sees_no_number_and_infinity() -> None:
    x = torch.zeros(6, requires_grad=True)
    x.grad = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e-45, -3.0, 0.0])
    members.make("optimizer", "lion", [x], lr=1.0).step()
    assert x[0].isnan()
    assert x[1:].tolist() == [-1.0, 1.0, 0.0, 1.0, 0.0]  # 0.1 times the least number there is rounds to 0
