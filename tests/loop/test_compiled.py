"""trainer.compile: the same training by compiled passes, what they cost told apart, and where they are refused."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from loop_tools import CPU, Dots, gd, loop_of, run_loop
from torch import Tensor, nn

import optbench
from optbench.errors import ConfigError, IncompatibleError
from optbench.experiment import plan_run
from optbench.problem import NetworkProblem, compiled
from optbench.report import run_lines
from optbench.settings import NetworkTrainer

DIGITS = ("model=mlp", "data=digits", "optimizer=sgd", "trainer.steps=3", "trainer.batch_size=16")
HOUR = 3600.0
CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")

OWN_WARNINGS = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
"""torch warns of its own parts while it imports its compiler."""


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def problem_of(
    how: bool | str, model: nn.Module | None = None, **options: Any
) -> tuple[NetworkProblem, NetworkTrainer]:
    trainer = NetworkTrainer(batch_size=6, epochs=3, threads=1, compile=how)
    made = NetworkProblem(model or normed(), Dots(), CROSS_ENTROPY, 6, 0, CPU, compiled=how, **options)
    return made, trainer


class Pretended(nn.Module):
    """In the place of a compiled model: the model, with the shapes that it was given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.shapes = model, []

    def forward(self, inputs: Tensor) -> Tensor:
        self.shapes.append(tuple(inputs.shape))
        outputs: Tensor = self.model(inputs)
        return outputs


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[Pretended]:
    """torch.compile that compiles nothing and takes an hour by the clock; what it was asked for."""
    made: list[Pretended] = []
    real, late = time.perf_counter, [0.0]

    def compile_(model: nn.Module, dynamic: bool, mode: str | None) -> Pretended:
        assert not dynamic
        made.append(Pretended(model))
        return made[-1]

    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setattr(time, "perf_counter", lambda: real() + sum(late))
    monkeypatch.setattr(compiled, "forget_others", lambda: late.append(HOUR))
    return made


def test_warming_up_changes_no_bit_of_the_run(pretended: list[Pretended]) -> None:
    """Batch norm's statistics, gradients, the order of the images and dropout are those of a run without it."""
    (problem, trainer), (plain, _) = problem_of(True), problem_of(False)
    summary, rows = run_loop(problem, trainer, gd(0.3))
    _, expected = run_loop(plain, trainer, gd(0.3))
    assert [row["loss"] for row in rows if "loss" in row] == [row["loss"] for row in expected if "loss" in row]
    assert [row.get("val_loss") for row in rows] == [row.get("val_loss") for row in expected]
    for name, tensor in plain.module.state_dict().items():
        assert torch.equal(problem.module.state_dict()[name], tensor)
    assert summary.compile_seconds is not None
    assert summary.compile_seconds >= HOUR > summary.seconds


def test_each_shape_of_the_training_is_compiled_once_before_it_and_no_other_comes(pretended: list[Pretended]) -> None:
    problem, trainer = problem_of(True)  # 20 images: three batches of 6 and one of 2
    problem.compile()
    assert pretended[-1].shapes == [(6, 1, 4, 4), (2, 1, 4, 4)]
    run_loop(problem, trainer, gd(0.3))
    assert set(pretended[-1].shapes) == {(6, 1, 4, 4), (2, 1, 4, 4)}
    assert all(p.grad is None for p in problem_of(True)[0].module.parameters())
    in_parts, _ = problem_of(True, accumulate=2)
    in_parts.compile()
    assert pretended[-1].shapes == [(6, 1, 4, 4), (2, 1, 4, 4)]  # of 12, and of the 8 that are left: 6 + 2


def test_a_warmed_up_problem_has_no_gradients_and_torchs_generator_stands_where_it_stood(
    pretended: list[Pretended],
) -> None:
    problem, _ = problem_of(True)
    problem.batch(0), problem.batch(problem.steps_per_epoch - 1)
    drawn, before = torch.get_rng_state(), {k: v.clone() for k, v in problem.module.state_dict().items()}
    assert problem.compile() > 0
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(p.grad is None for p in problem.module.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in problem.module.state_dict().items())
    assert problem_of(False)[0].compile() is None


def test_seconds_of_compiling_are_no_seconds_of_training_and_add_up_over_resumes(pretended: list[Pretended]) -> None:
    first, watcher = loop_of(*problem_of(True), gd(0.3), stop_after=5)
    stopped = first.run()
    assert stopped.compile_seconds is not None
    second, _ = loop_of(*problem_of(True), gd(0.3))
    second.restore(watcher.state("last"))
    ended = second.run()
    assert ended.compile_seconds is not None
    assert ended.compile_seconds >= stopped.compile_seconds + HOUR
    assert ended.seconds < HOUR
    whole, _ = loop_of(*problem_of(True), gd(0.3))
    whole.run()
    for name, tensor in whole.problem.module.state_dict().items():
        assert torch.equal(second.problem.module.state_dict()[name], tensor)


class Untraceable(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        raise RuntimeError("cannot be lowered\nand more")


def test_a_model_that_cannot_be_compiled_is_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, **_: Untraceable())
    monkeypatch.setattr(compiled, "forget_others", lambda: None)
    problem, _ = problem_of(True)
    with pytest.raises(IncompatibleError, match=r"cannot compile the model \(RuntimeError: cannot be lowered\)"):
        problem.compile()
    with pytest.raises(IncompatibleError, match="cannot compile the model"):
        optbench.run(*DIGITS, "trainer.compile=true", out=tmp_path / "none")
    assert list(tmp_path.rglob("run.json")) == []


def test_what_is_missing_is_said_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(IncompatibleError, match="no no-such-compiler is here"):
        compiled.check_compiles(True, 1, CPU)
    with pytest.raises(IncompatibleError, match="graphs is of NVIDIA GPUs; this run is on cpu"):
        compiled.check_compiles("graphs", 1, CPU)
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(IncompatibleError, match="needs Triton"):
        compiled.check_compiles(True, 1, torch.device("cuda"))
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: name)
    compiled.check_compiles("graphs", 1, torch.device("cuda"))
    with pytest.raises(IncompatibleError, match=r"graphs beside trainer.accumulate=2"):
        compiled.check_compiles("graphs", 2, torch.device("cuda"))


def test_no_compiler_no_run_and_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        IncompatibleError, match="needs a C\\+\\+ compiler on a CPU; no no-such-compiler is here"
    ) as refused:
        optbench.run(*DIGITS, "trainer.compile=true", out=tmp_path / "out")
    assert refused.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_it_is_part_of_the_identity_and_off_is_what_runs_were() -> None:
    plain = plan_run(DIGITS).run_id
    assert plan_run([*DIGITS, "trainer.compile=false"]).run_id == plain
    assert len({plan_run([*DIGITS, f"trainer.compile={how}"]).run_id for how in ("false", "true", "graphs")}) == 3
    with pytest.raises(ConfigError):
        plan_run(["model=sphere", "trainer.compile=true"])


def test_a_record_has_a_column_for_it(tmp_path: Path, pretended: list[Pretended]) -> None:
    run = optbench.run(*DIGITS, "trainer.compile=true", out=tmp_path)
    assert run.status == "completed"
    assert run.summary["compile_seconds"] >= HOUR > run.summary["seconds"]
    assert run.summary["provenance"]["compiled"].startswith("the passes of the training")
    assert any("s of compiling" in line for line in run_lines(run))
    plain = optbench.run(*DIGITS, out=tmp_path)
    assert plain.summary["compile_seconds"] is None
    assert "compiled" not in plain.summary["provenance"]
    assert not any("compiling" in line for line in run_lines(plain))


class Convolves(nn.Module):
    """A convolution, batch norm, pooling and a layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.norm, self.layer = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.layer(self.norm(self.convolution(images)).relu().amax((2, 3)))
        return outputs


@pytest.mark.slow
@OWN_WARNINGS
def test_compiled_losses_are_those_of_eager_to_rounding() -> None:
    """With the real compiler: 1e-5 of each loss over twelve updates, at which they fell."""
    ended, found = [], []
    for how in (False, True):
        summary, rows = run_loop(*problem_of(how, Convolves()), gd(0.3))
        ended.append(summary)
        found.append([row["loss"] for row in rows if "loss" in row])
    assert [summary.compile_seconds is None for summary in ended] == [True, False]
    assert ended[1].compile_seconds > 0
    assert found[0][-1] < found[0][0]
    assert all(math.isclose(one, other, rel_tol=1e-5) for one, other in zip(*found, strict=True))


@pytest.mark.slow
@OWN_WARNINGS
def test_a_compiled_run_with_dropout_goes_on_to_the_bit() -> None:
    whole, _ = loop_of(*problem_of(True), gd(0.3))
    whole.run()
    first, watcher = loop_of(*problem_of(True), gd(0.3), stop_after=5)
    first.run()
    second, _ = loop_of(*problem_of(True), gd(0.3))
    second.restore(watcher.state("last"))
    second.run()
    for name, tensor in whole.problem.module.state_dict().items():
        assert torch.equal(second.problem.module.state_dict()[name], tensor)
