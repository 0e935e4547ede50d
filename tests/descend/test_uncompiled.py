"""Optimizers without torch's compiler: no import of it, the same updates, and the compiler for whoever wants it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_STEPS = """
import sys, torch
from optbench.descend.uncompiled import uncompiled

def stepped(name):
    x = torch.linspace(-1.0, 2.0, 6).reshape(2, 3).requires_grad_(True)
    optimizer = getattr(torch.optim, name)([x], lr=0.1)
    def closure():
        optimizer.zero_grad()
        loss = ((x - 1.0) ** 4).sum()
        loss.backward()
        return loss
    for _ in range(3):
        optimizer.step(closure)
    optimizer.load_state_dict(optimizer.state_dict())
    return x.detach().tolist()

names = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "LBFGS"]
with uncompiled():
    without = {name: stepped(name) for name in names}
assert not {"torch._dynamo", "sympy"} & set(sys.modules), "the compiler was imported"
assert not hasattr(torch.optim.Optimizer.zero_grad.__wrapped__, "__dynamo_disable")
"""
_ASKED = """
with uncompiled():
    import torch._dynamo.config as asked
    assert torch._dynamo.is_compiling() is False
    assert sys.modules["torch._dynamo"].__file__ and asked.cache_size_limit
    assert {name: stepped(name) for name in names} == without
assert {name: stepped(name) for name in names} == without
assert "sympy" in sys.modules
"""


@pytest.mark.slow
def test_the_compiler_is_left_alone_until_it_is_asked_for() -> None:
    subprocess.run([sys.executable, "-c", _STEPS + _ASKED], check=True, timeout=300)
