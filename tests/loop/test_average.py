"""trainer.ema: the average of the weights against its definition, in evaluations, checkpoints and resumed runs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_tools import invoke
from loop_tools import gd, linear, loop_of, on_dots
from torch import Tensor, nn

import optbench
from optbench.experiment import plan_run
from optbench.loop.average import Average

DIGITS = ("model=mlp", "data=digits", "optimizer=adam", "trainer.steps=3", "trainer.batch_size=16")


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Dropout(0.2), nn.Linear(5, 2))


def weighted(history: list[Tensor], decay: float) -> Tensor:
    """The mean of what a tensor was after each update, by its definition, in float64."""
    weights = [decay ** (len(history) - 1 - i) for i in range(len(history))]
    return torch.stack([w * t.double() for w, t in zip(weights, history, strict=True)]).sum(0) / sum(weights)


@pytest.mark.parametrize("decay", [0.1, 0.9, 0.999])
def test_it_is_the_weighted_mean_of_the_weights_after_each_update(decay: float) -> None:
    """A loop written here trains the same network; batch norm's statistics are averaged, what is counted is not."""
    problem, trainer = on_dots(normed(), epochs=3, ema=decay)
    loop, watcher = loop_of(problem, trainer, gd(0.3), stop_after=9)
    loop.run()

    by_hand = normed()
    batches, _ = on_dots(by_hand, epochs=3)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.3)
    history: list[dict[str, Tensor]] = []
    for step in range(9):
        batch = batches.batch(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(by_hand(batch.inputs), batch.targets).backward()
        optimizer.step()
        history.append(copy.deepcopy(by_hand.state_dict()))
    state = watcher.state("last")
    assert state["averaged"] == 9
    for name, trained in by_hand.state_dict().items():
        assert torch.equal(state["trained"][name], trained)
        if trained.is_floating_point():
            expected = weighted([each[name] for each in history], decay).float()
            assert torch.allclose(state["model"][name], expected, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(state["model"][name], trained)


def test_what_is_trained_on_is_not_changed_and_what_is_evaluated_is_the_average() -> None:
    def rows(**settings: Any) -> tuple[Any, list[Any]]:
        problem, trainer = on_dots(normed(), epochs=3, **settings)
        loop, watcher = loop_of(problem, trainer, gd(0.3))
        loop.run()
        return loop, watcher.rows

    (plain, without), (loop, found) = rows(), rows(ema=0.9)
    for name in ("loss", "grad_norm", "lr"):
        assert [row.get(name) for row in found] == [row.get(name) for row in without]
    for name, tensor in plain.problem.module.state_dict().items():
        assert torch.equal(loop.problem.module.state_dict()[name], tensor)
    assert found[-1]["val_loss"] != without[-1]["val_loss"]
    assert found[0]["val_loss"] == without[0]["val_loss"]  # before the first update there is nothing to average
    judged, _ = on_dots(normed())
    judged.module.load_state_dict(loop.weights()["model"])
    assert judged.evaluate() == {name: found[-1][name] for name in ("val_loss", "val_accuracy")}


@pytest.mark.parametrize("stop", [1, 4, 5])
def test_it_resumes_to_the_bit(stop: int) -> None:
    def made(**options: Any) -> Any:
        problem, trainer = on_dots(normed(), epochs=3, ema=0.8)
        return loop_of(problem, trainer, lambda p: torch.optim.Adam(p, lr=0.1), **options)

    whole, all_rows = made()
    whole.run()
    first, stopped = made(stop_after=stop)
    first.run()
    second, rest = made()
    second.restore(stopped.state("last"))
    second.run()
    for kind, state in whole.weights().items():
        if kind == "averaged":
            assert second.weights()[kind] == state
            continue
        for name, tensor in state.items():
            assert torch.equal(second.weights()[kind][name], tensor)
    figures = [{**row, "seconds": 0} for row in all_rows.rows if row["step"] >= stop]
    assert [{**row, "seconds": 0} for row in rest.rows] == figures


def test_looking_seldom_changes_nothing() -> None:
    """Of a run that goes back to the state it kept, as on an accelerator, the average goes back too."""

    def made(look_every: int) -> Any:
        problem, trainer = on_dots(linear(), epochs=3, ema=0.8, divergence_factor=1.0001)
        loop, _ = loop_of(problem, trainer, gd(30.0), look_every=look_every)
        return loop.run(), loop.weights()

    (summary, weights), (other, found) = made(1), made(7)
    assert (summary.status, summary.steps) == (other.status, other.steps) == ("diverged", summary.steps)
    for kind in ("model", "trained"):
        for name, tensor in weights[kind].items():
            assert torch.equal(found[kind][name], tensor)


def test_an_evaluation_that_breaks_leaves_the_weights_in_place() -> None:
    module = linear()
    average, before = Average(module, 0.5), copy.deepcopy(module.state_dict())
    with torch.no_grad():
        module[1].weight += 1.0
    average.update()
    with pytest.raises(ZeroDivisionError), average.in_use():
        1 / 0  # noqa: B018
    assert torch.equal(module.state_dict()["1.weight"], before["1.weight"] + 1.0)


def test_evaluation_says_that_it_is_of_the_average(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_run([*DIGITS, "trainer.ema=null"]).run_id == plan_run(DIGITS).run_id
    run = optbench.run(*DIGITS, "trainer.ema=0.5", out=tmp_path)
    assert run.path is not None
    code, said, _ = invoke(capsys, "evaluate", run.path, "--checkpoint", "last")
    assert code == 0
    assert "weights averaged (trainer.ema=0.5)" in said
    assert f"{run.summary['val_accuracy']:.4f}" in said
    _, said, _ = invoke(capsys, "evaluate", run.path, "--checkpoint", "last", "--json")
    assert json.loads(said)["by"] == "checkpoint last; weights averaged (trainer.ema=0.5)"
    last = torch.load(run.path / "last.pt", weights_only=True)
    assert last["averaged"] == 3
    assert last["trained"].keys() == last["model"].keys()
    assert "moving average" in run.summary["provenance"]["evaluated"]
