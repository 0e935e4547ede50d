"""The passes of a network's training compiled by torch.compile: its forward pass, and through it the backward pass.

What is compiled is made for one shape of batch, where a collate pads batches to lengths of their own for any. So every
shape that the training has, of padded ones some, goes through the passes once before its clock starts; what that took
is the price, told apart from the time of training. Nothing of the run changes: gradients, batch norm's statistics and
random numbers are put back. Evaluations use the model as it is.

Numbers differ from uncompiled ones by rounding, since operations are fused and sums ordered otherwise, and dropout
draws other numbers from the same seed. Compiled again by the same torch on the same machine they are the same to the
bit; on a GPU the compiler chooses some kernels by timing them.

Ansel et al., PyTorch 2 (2024), https://doi.org/10.1145/3620665.3640366.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from optbench.errors import IncompatibleError, in_a_line

GRAPHS = "graphs"
"""What `trainer.compile` is called where a GPU is also to repeat the passes as CUDA graphs."""

_HINT = "leave trainer.compile=false"


def check_compiles(compiled: bool | str, accumulate: int, device: torch.device) -> None:
    """Checks that passes can be compiled for a device.

    Args:
        compiled: trainer.compile.
        accumulate: trainer.accumulate.
        device: of the run.

    Raises:
        IncompatibleError: saying what is missing.
    """
    if compiled == GRAPHS and device.type != "cuda":
        raise IncompatibleError(f"trainer.compile=graphs is of NVIDIA GPUs; this run is on {device.type}",
                                "use trainer.compile=true")  # fmt: skip
    if compiled == GRAPHS and accumulate > 1:  # gradients of the first mini-batch lie where those of the second come
        raise IncompatibleError(f"trainer.compile=graphs beside trainer.accumulate={accumulate}: a graph writes its "
                                "gradients over those before", "use trainer.compile=true")  # fmt: skip
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise IncompatibleError("trainer.compile=true needs Triton on a GPU, which is not installed", _HINT)
    if device.type == "cpu" and shutil.which(cpp_compiler()) is None:
        raise IncompatibleError(f"trainer.compile=true needs a C++ compiler on a CPU; no {cpp_compiler()} is here",
                                f"install one (or name it in CXX), or {_HINT}")  # fmt: skip


def cpp_compiler() -> str:
    """The C++ compiler that torch.compile calls."""
    usual = {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
    return os.environ.get("CXX") or usual


class Compiled:
    """A model's outputs of a batch, by compiled passes.

    Args:
        model: that is trained; its weights stay its own.
        graphs: whether a GPU repeats the passes as CUDA graphs: one launch in the place of hundreds.
        any_length: whether batches differ in shape: one form is compiled for all of them.
    """

    def __init__(self, model: nn.Module, graphs: bool = False, any_length: bool = False) -> None:
        self._model, self._graphs, self._any_length = model, graphs, any_length

    @cached_property
    def module(self) -> nn.Module:
        """The compiled model; made when it is first called: already this imports the compiler."""
        mode = "reduce-overhead" if self._graphs else None
        made: nn.Module = torch.compile(self._model, dynamic=self._any_length, mode=mode)  # type: ignore[assignment]
        return made

    def __call__(self, *inputs: Any, **named: Any) -> Tensor:
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()  # what the last update left in the graphs' memory is done with
        outputs: Tensor = self.module(*inputs, **named)
        return outputs

    def warm_up(self, passes: Iterable[Callable[[], Tensor]]) -> float:
        """Compiles, by making these forward passes and a backward pass after each; gives the seconds of it.

        Args:
            passes: each makes a scalar from outputs of this model.

        Raises:
            IncompatibleError: torch.compile failed.
        """
        began = time.perf_counter()
        try:
            forget_others()
            with unchanged(self._model), warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")  # of its own parts
                for forward in passes:
                    forward().backward()
        except Exception as error:  # the compiler raises its own errors, and those of the tools that it calls
            raise IncompatibleError(f"torch.compile cannot compile the model ({in_a_line(error)})", _HINT) from error
        finally:
            _let_workers_go()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - began


def forget_others() -> None:
    """Forgets what this process compiled for other runs: of one model's code torch compiles eight forms and then, with
    a warning, no further one."""
    torch._dynamo.reset()
    if importlib.util.find_spec("tqdm") is not None:  # the compiler makes a bar of it that is not shown; a lock between
        tqdm = importlib.import_module("tqdm").tqdm  # processes would be left behind by those that end without clearing
        tqdm.set_lock(threading.RLock())


def _let_workers_go() -> None:
    """Ends the processes in which torch compiled, which would stay as long as this one."""
    workers = sys.modules.get("torch._inductor.async_compile")
    if workers is not None:
        workers.shutdown_compile_workers()


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """In it the model is trained; afterwards its gradients are none, its buffers and torch's generators as before."""
    training, before = model.training, [buffer.clone() for buffer in model.buffers()]
    device = next(model.parameters()).device
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        model.train(training)
        for parameter in model.parameters():
            parameter.grad = None
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), before, strict=True):
                buffer.copy_(value)
