"""torchvision beside any torch, and without torch's compiler until something asks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
import torch

disable = torch.compiler.disable
from optbench.vision import torchvision, without_compiler

with without_compiler():
    from torchvision.transforms import v2
assert not {"torch._dynamo", "torch._dynamo.utils", "sympy"} & set(sys.modules)
assert torch.compiler.disable is disable

pixels = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
image = torchvision.tv_tensors.Image(pixels)
turned = v2.RandomHorizontalFlip(1.0)(image)  # the function that is kept from the compiler
assert type(turned) is torchvision.tv_tensors.Image and torch.equal(turned, pixels.flip(-1))

import importlib
asked = importlib.import_module("torchvision.ops.roi_align").is_compile_supported("cpu")
from torch._dynamo.utils import is_compile_supported  # the real one, and not what stood there meanwhile
assert asked == is_compile_supported("cpu") and hasattr(sys.modules["torch._dynamo.utils"], "counters")
with without_compiler():
    assert torch.compiler.disable is disable  # once it is there, nothing is put off
"""


@pytest.mark.slow
def test_torchvision_is_imported_without_the_compiler_and_works_with_it() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
