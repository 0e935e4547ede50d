"""Several processes of one command, in one process: what they are told, what is refused, how a batch is shared out.

What several do together is tests/experiment/test_torchrun.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from command_tools import invoke
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_tools import CPU, Dots, gd, linear, run_loop
from torch import nn

import optbench
from optbench.cli.ranked import silent_unless_first
from optbench.errors import IncompatibleError, RunFailure, StoppedError, UserError
from optbench.loop import Row
from optbench.problem import NetworkProblem
from optbench.problem import parallel as module
from optbench.problem.base import Batch
from optbench.problem.parallel import Parallel, joined
from optbench.problem.shares import Shares, shareable
from optbench.ranks import Rank, of_environment
from optbench.settings import NetworkTrainer

TOLD = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def test_a_process_is_what_torchrun_says() -> None:
    assert of_environment({**TOLD, "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}) == Rank(1, 2, 1, 2)
    assert of_environment(TOLD) == Rank(0, 2, 0, 1)
    assert of_environment({}) is None
    assert of_environment({"WORLD_SIZE": "2"}) is None  # another tool's: nobody has a number
    assert of_environment({**TOLD, "WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"RANK": "2"}, "RANK=2 beside WORLD_SIZE=2: expected 0 to 1"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two: expected a whole number"),
        ({"LOCAL_RANK": "-1"}, "LOCAL_RANK=-1: expected a whole number"),
        ({"MASTER_PORT": ""}, "MASTER_PORT not: where do they meet?"),
    ],
)
def test_what_contradicts_itself_is_refused(changed: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words.replace("?", r"\?")):
        of_environment({**TOLD, **changed})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sweep", "model=mlp"), "optbench sweep is one process, and this is one of 2 (WORLD_SIZE)"),
        (("run", "model=rosenbrock"), "model=rosenbrock is a surface"),
        (("run", "model=mlp", "--dry-run"), "--dry-run tries ten updates in one process"),
        (("run", "model=mlp", "trainer.device=cuda:0"), "trainer.device=cuda:0 is one GPU for 2 processes"),
        (("run", "model=mlp", "trainer.compile=graphs"), "trainer.compile=graphs is of one process"),
        (("run", "model=mlp", "+optimizer.protocol.backward=create_graph"), "differentiates the gradients"),
        (("run", "model=mlp", "+optimizer.protocol.backward=fused"), "updates within the backward pass"),
    ],
)
def test_what_several_processes_cannot_do_is_said_before_the_start(
    words: tuple[str, ...], said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for key, value in TOLD.items():
        monkeypatch.setenv(key, value)
    code, out, err = invoke(capsys, *words, *(("--out", tmp_path) if words[0] == "run" else ()))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert not list(tmp_path.iterdir())


def test_a_program_of_several_processes_sweeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in TOLD.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UserError, match="a sweep is one process, and this is one of 2"):
        optbench.sweep("model=sphere", "seeds=2")


def test_another_process_than_the_first_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for rank, expected in ((None, "x"), (Rank(0, 2, 0, 2), "x"), (Rank(1, 2, 1, 2), "")):
        with silent_unless_first(rank):
            print("x", end="")
        assert capsys.readouterr().out == expected


# shares, as several processes would have them -------------------------------------------------------------------------


class Alone(Parallel):
    """One of several processes, of which the others are not there."""

    def __init__(self, rank: int, size: int, device: torch.device = CPU) -> None:
        self.rank, self.size, self.device = rank, size, device


def shares_of(rank: int, size: int, model: nn.Module, least: int = 64) -> Shares:
    return Shares(Alone(rank, size), model, None, 0, "fp32", [torch.default_generator], least)


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 70))
def test_every_row_is_one_process_s(rows: int, size: int, block: int) -> None:
    slices = [Alone(k, size).share(rows) for k in range(size)]
    assert [row for one in slices for row in range(rows)[one]] == list(range(rows))
    assert [one.stop - one.start for one in slices] == Alone(0, size).counts(rows)
    assert max(Alone(0, size).counts(rows)) - min(Alone(0, size).counts(rows)) <= 1
    blocks = Alone(0, size).blocks(rows, block)
    assert sum(blocks) == rows
    ends = [sum(blocks[: k + 1]) for k in range(size)]
    assert all(end % block == 0 or end == rows for end in ends)


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(2, 6))
def test_shares_count_by_their_rows(rows: int, size: int) -> None:
    whole, values = Batch(torch.empty(rows, 1), torch.empty(rows)), torch.randn(rows, dtype=torch.float64)
    total = 0.0
    for rank in range(size):
        own, part = shares_of(rank, size, nn.Linear(1, 1)).of(whole)
        assert len(own) >= 1
        assert (part == 0.0) == (Alone(rank, size).counts(rows)[rank] == 0)
        total += part * float(values[Alone(rank, size).share(rows)].mean()) if part else 0.0
    assert total == pytest.approx(float(values.mean()), abs=1e-12)


def test_draws_are_each_process_s_own_and_leave_the_optimizer_s_alone() -> None:
    drawn = []
    for rank in (0, 1):
        shares = shares_of(rank, 2, nn.Linear(1, 1))
        for step in (0, 1, 0):
            torch.manual_seed(5)
            shares.seed(step)
            passes = []
            for _ in range(2):
                with shares.draws():
                    passes.append(torch.rand(3))
            drawn.append(torch.stack(passes))
            assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(5)))
    first, second = drawn[:3], drawn[3:]
    for one in (first, second):
        assert torch.equal(one[0], one[2])  # of a step, whatever was before
        assert not torch.equal(one[0], one[1])
        assert not torch.equal(one[0][0], one[0][1])  # each pass of an update draws anew
    assert not torch.equal(first[0], second[0])


def test_batch_norm_is_of_the_whole_batch_or_refused() -> None:
    made = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.InstanceNorm1d(3))
    with pytest.raises(IncompatibleError, match=r"BatchNorm1d \(1\) would norm each process's share"):
        shareable(made, Alone(0, 2))
    there = shareable(made, Alone(0, 2, torch.device("cuda")))
    assert isinstance(there[1], nn.SyncBatchNorm)  # type: ignore[index]
    assert [*there.state_dict()] == [*made.state_dict()]
    assert all(a is b for a, b in zip(there.parameters(), made.parameters(), strict=True))
    plain = nn.Sequential(nn.Linear(4, 3), nn.GroupNorm(1, 3))
    assert shareable(plain, Alone(0, 2)) is plain
    made[1].register_forward_hook(lambda *_: None)  # SyncBatchNorm would not have it
    with pytest.raises(IncompatibleError, match="cannot take the place"):
        shareable(nn.Sequential(made[1]), Alone(0, 2, torch.device("cuda")))


def test_a_batch_too_small_to_be_shared_is_refused() -> None:
    with pytest.raises(UserError, match="3 processes share a batch of 2"):
        shares_of(0, 3, nn.Linear(1, 1), least=2)
    shares = shares_of(0, 4, nn.BatchNorm1d(1))
    with pytest.raises(RunFailure, match="3 rows is too small for batch norm in 4"):
        shares.of(Batch(torch.empty(3, 1), torch.empty(3)))


# a group of one: the same way through torch.distributed ---------------------------------------------------------------


Group = Callable[[], AbstractContextManager[Parallel]]


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    """Joins a group of this process alone."""
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    monkeypatch.setattr(module, "_met", [(store, "gloo")])
    monkeypatch.setattr(module, "_HEARS_WITHIN", 0.1)
    monkeypatch.setattr(module, "_broke", [])
    yield lambda: joined(Rank(0, 1, 0, 1), CPU)
    time.sleep(0.2)  # its threads are done
    dist.destroy_process_group()


def curve(parallel: Parallel | None, accumulate: int) -> tuple[list[Row], dict[str, torch.Tensor]]:
    """Rows of a run of 20 images, 6 or 12 an update, so that the rest is smaller; and its last weights."""
    trainer = NetworkTrainer(batch_size=6, epochs=2, threads=1, accumulate=accumulate)
    loss = nn.CrossEntropyLoss(reduction="none")
    problem = NetworkProblem(linear(), Dots(), loss, 6, 0, CPU, accumulate=accumulate, parallel=parallel)
    _, rows = run_loop(problem, trainer, gd(0.5))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows], problem.module.state_dict()


@pytest.mark.slow
def test_a_group_of_one_makes_the_run_of_one_process(group: Group) -> None:
    rows, weights = curve(None, accumulate=2)
    with group() as parallel:
        found, there = curve(parallel, accumulate=2)
    assert len(found) == len(rows) > 4
    for one, other in zip(found, rows, strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    for name, tensor in weights.items():
        torch.testing.assert_close(there[name], tensor, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_what_is_exchanged_comes_back(group: Group) -> None:
    with group() as parallel:
        assert parallel.agreed(1.5, False, True) == (1.5, False, True)
        assert parallel.of_first({"a": 0.1, "b": float("inf")}) == {"a": 0.1, "b": float("inf")}
        assert [parallel.sent(data) for data in (b"words", b"", None)] == [b"words", b"", None]
        rows = torch.tensor([[0.0, -0.0], [1.0, float("nan")]])
        assert str(parallel.rows_of_all(rows, [2])) == str(rows)
        parallel.check_same(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).to(torch.bfloat16), 3)
        parallel.check_same_run("abc")


@pytest.mark.slow
def test_what_breaks_here_is_told_and_what_broke_elsewhere_is_heard(group: Group) -> None:
    gone = RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer")
    with group() as parallel:
        assert isinstance(parallel.explained(gone), StoppedError)  # nobody said anything
        parallel.explained(UserError("no such picture", "look"))  # as if it were another's
        heard = parallel.explained(RuntimeError("gloo: Broken pipe"))
        assert isinstance(heard, UserError)
        assert (heard.message, heard.hint) == ("no such picture (process 0 of 1)", "look")
    with pytest.raises(UserError, match="broke in one of them"), group():
        pass


@pytest.mark.slow
def test_an_error_of_this_process_is_its_own(group: Group) -> None:
    with pytest.raises(ValueError, match="mine"), group() as parallel:
        parallel.guarded(lambda: (_ for _ in ()).throw(ValueError("mine")))
    with pytest.raises(UserError, match="broke in one of them"), group():  # the others may have gone on
        pass
