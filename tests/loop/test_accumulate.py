"""trainer.accumulate: gradients of several mini-batches make one update, that of one batch of all their images."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from loop_tools import CPU, Dots, gd, linear, loop_of, on_dots, run_loop
from torch import nn

import optbench
from optbench.errors import UserError
from optbench.experiment import plan_run
from optbench.problem import Batch, NetworkProblem
from optbench.settings import NetworkTrainer

DIGITS = ("model=mlp", "data=digits", "optimizer=sgd", "trainer.steps=4")


def on_pieces(
    model: nn.Module, size: int | str, accumulate: int, n: int = 20, **settings: Any
) -> tuple[NetworkProblem, NetworkTrainer]:
    trainer = NetworkTrainer(**{"batch_size": size, "accumulate": accumulate, "epochs": 2, "threads": 1} | settings)
    loss = nn.CrossEntropyLoss(reduction="none")
    return NetworkProblem(model, Dots(n), loss, size, 0, CPU, accumulate=accumulate), trainer


@pytest.mark.parametrize(("size", "accumulate", "n"), [(3, 2, 20), (2, 4, 20), (1, 5, 20), (3, 3, 19), ("full", 3, 20)])
def test_the_numbers_are_those_of_one_large_batch(size: int | str, accumulate: int, n: int) -> None:
    """To rounding, in every row: loss, norm of the gradient, epochs, evaluations, figures of the evaluation."""
    parts = on_pieces(linear(), size, accumulate, n)
    whole = on_dots(linear(), Dots(n), batch_size=size if isinstance(size, str) else size * accumulate)
    (summary, rows), (expected, wanted) = (run_loop(*each, gd(0.5)) for each in (parts, whole))
    assert len(rows) == len(wanted)
    for row, other in zip(rows, wanted, strict=True):
        names = set(row) - {"seconds"}
        assert names == set(other) - {"seconds"}
        assert [row[name] for name in names] == pytest.approx([other[name] for name in names], rel=1e-5)
    assert (summary.steps, summary.evals, summary.epochs) == (expected.steps, expected.evals, expected.epochs)


def test_every_image_weighs_the_same_and_batch_norm_sees_mini_batches() -> None:
    """Pieces of 4, 4 and 2 images: the mean by images of what each piece alone gives."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    problem, _ = on_pieces(model, "full", 3, n=10)
    by_hand = copy.deepcopy(model)
    batch = problem.batch(0)
    loss = problem.differentiate(batch)
    expected = torch.zeros(())
    for start, end in ((0, 4), (4, 8), (8, 10)):
        part = nn.functional.cross_entropy(by_hand(batch.inputs[start:end]), batch.targets[start:end], reduction="sum")
        (part / 10).backward()
        expected += part.detach() / 10
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    for ours, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "size", "lengths"), [(9, 4, [4, 5]), (10, 4, [4, 4, 2]), (3, 1, [1, 1, 1]), (4, 9, [4])])
def test_a_piece_of_one_image_joins_the_piece_before_it(n: int, size: int, lengths: list[int]) -> None:
    batch = Batch(torch.arange(n).float(), torch.arange(n), torch.arange(n).flip(0), 0.25)
    pieces = list(batch.pieces(size))
    assert [len(piece) for piece in pieces] == lengths
    assert torch.equal(torch.cat([piece.inputs for piece in pieces]), batch.inputs)
    assert torch.equal(torch.cat([piece.targets for piece in pieces]), batch.targets)
    assert torch.equal(torch.cat([p.others for p in pieces if p.others is not None]), batch.others)  # type: ignore[arg-type]
    assert {piece.share for piece in pieces} == {0.25}


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_it_resumes_to_the_bit(stop: int) -> None:
    def model() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(16, 2))

    def made(**options: Any) -> Any:
        return loop_of(*on_pieces(model(), 2, 3), lambda p: torch.optim.Adam(p, lr=0.1), **options)

    whole, _ = made()
    whole.run()
    first, watcher = made(stop_after=stop)
    first.run()
    second, _ = made()
    second.restore(watcher.state("last"))
    second.run()
    for name, tensor in whole.problem.module.state_dict().items():
        assert torch.equal(tensor, second.problem.module.state_dict()[name])


def test_more_images_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"trainer.batch_size=6 times trainer.accumulate=4 is larger than the 20 train"):
        on_pieces(linear(), 6, 4)
    with pytest.raises(UserError, match=r"trainer.accumulate=21 is larger than the 20 training images"):
        on_pieces(linear(), "full", 21)


def test_the_record_says_what_a_step_is_and_one_mini_batch_is_no_other_run(tmp_path: Path) -> None:
    plain = plan_run(DIGITS).run_id
    assert plan_run([*DIGITS, "trainer.accumulate=1"]).run_id == plain
    assert plan_run([*DIGITS, "trainer.accumulate=2"]).run_id != plain
    run = optbench.run(*DIGITS, "trainer.batch_size=8", "trainer.accumulate=3", out=tmp_path)
    assert run.path is not None
    said = json.loads((run.path / "run.json").read_text())["provenance"]["accumulation"]
    assert (said["images_per_mini_batch"], said["images_per_step"]) == (8, 24)
    assert "3 mini-batches" in said["step"]
    assert run.summary["evals"] == 4
